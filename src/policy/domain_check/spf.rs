//! SPF (RFC 7208): one record, by which each source may send for the domain; and for the name that
//! it says in EHLO, which is what counts where the reverse-path is null.
//!
//! What a record comes to for an address is [`SpfCheck`]'s to say; here it is only asked.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use crate::dns::Question;
use crate::mail::address::Domain;
use crate::policy::authenticity::{Session, Spf, SpfCheck, SpfProgress, Verifier};
use crate::policy::domain_check::finding::{Finding, Status, Topic};
use crate::policy::domain_check::known::{Found, Known};
use crate::policy::domain_check::{Source, Subject};
use crate::policy::zone::Record;

const ONE_RECORD: &str = "RFC 7208 §3.2";
const RESULT: &str = "RFC 7208 §2.6";
const HELO: &str = "RFC 7208 §2.3";
const LOOKUPS: &str = "RFC 7208 §4.6";

/// The word that a record begins with.
const VERSION: &str = "v=spf1";

/// One check for each source, of the domain and of its EHLO name.
#[derive(Debug)]
pub(super) struct Senders(Vec<Sender>);

#[derive(Debug)]
struct Sender {
    /// Whose record it is.
    domain: Domain,
    address: IpAddr,
    check: SpfCheck,
    /// What it waits for.
    open: Vec<Question>,
    result: Option<Spf>,
}

impl Senders {
    pub(super) fn new(verifier: &Arc<Verifier>, subject: &Subject) -> Self {
        let sources = if subject.sends { subject.sources.as_slice() } else { &[] };
        let sender = |domain: &Domain, reverse_path: String, source: &Source| Sender {
            domain: domain.clone(),
            address: source.address,
            check: SpfCheck::new(
                verifier.clone(),
                Session {
                    client: source.address,
                    hello: source.hello.as_str().into(),
                    reverse_path: reverse_path.into(),
                    hostname: subject.hostname.clone(),
                },
            ),
            open: Vec::new(),
            result: None,
        };
        let of_domain = sources.iter().map(|source| {
            sender(&subject.domain, format!("postmaster@{}", subject.domain), source)
        });
        let named =
            |source: &&Source| source.hello.literal().is_none() && source.hello != subject.domain;
        let of_hello =
            sources.iter().filter(named).map(|source| sender(&source.hello, String::new(), source));
        Self(of_domain.chain(of_hello).collect())
    }

    /// Let each come as far as it can by what is known.
    pub(super) fn advance(&mut self, known: &Known) {
        self.0.iter_mut().filter(|sender| sender.result.is_none()).for_each(|it| it.advance(known));
    }

    pub(super) fn give_up(&mut self) {
        self.0.iter_mut().for_each(|sender| sender.check.give_up());
    }

    fn of<'s>(&'s self, domain: &'s Domain) -> impl Iterator<Item = &'s Sender> {
        self.0.iter().filter(move |sender| sender.domain == *domain)
    }

    pub(super) fn check(&self, subject: &Subject, known: &Known) -> Option<Vec<Finding>> {
        let mut findings = vec![self.judge(&subject.domain, subject, known)];
        let mut hellos: Vec<&Domain> = self.0.iter().map(|sender| &sender.domain).collect();
        hellos.sort();
        hellos.dedup();
        let others = hellos.into_iter().filter(|hello| **hello != subject.domain);
        findings.extend(others.map(|hello| self.judge(hello, subject, known)));
        findings.into_iter().collect()
    }

    /// What is to be said of one domain's record.
    fn judge(&self, domain: &Domain, subject: &Subject, known: &Known) -> Option<Finding> {
        let is_hello = *domain != subject.domain;
        let finding =
            |status, found: &str, rfc| Finding::new(Topic::Spf, domain, status, found, rfc);
        let texts = known.texts(domain.as_str())?;
        let results: Option<Vec<_>> =
            self.of(domain).map(|sender| Some((sender.address, sender.result?))).collect();
        let results = results?;
        let texts = match texts {
            Err(reason) => return Some(finding(Status::Unchecked, reason, RESULT)),
            Ok(texts) => texts,
        };
        let records: Vec<_> = texts.iter().filter_map(|text| record(text)).collect();
        let mut records: Vec<&str> = records.iter().map(|record| &**record).collect();
        // Name servers give them in any order.
        records.sort_unstable();
        let terms = Terms::new(&results, subject);
        Some(match records.as_slice() {
            [] if is_hello => {
                let found = "no SPF record for the name in EHLO, which counts for bounces";
                let own = Record::txt(domain.as_str(), "v=spf1 a -all");
                finding(Status::Warn, found, HELO).add([own])
            }
            [] => finding(Status::Fail, "no SPF record", RESULT)
                .add([Record::txt(domain.as_str(), &terms.alone())]),
            [one] => judge_one(one, &results, &terms, domain, finding),
            //= RFC 7208 §3.2
            //# A domain name MUST NOT have multiple records that would cause an authorization check
            //# to select more than one record.
            several => {
                let found = format!("{} SPF records: permerror for all", several.len());
                let merged = terms.within(several);
                finding(Status::Fail, &found, ONE_RECORD)
                    .instead(Record::txt(domain.as_str(), &merged))
            }
        })
    }
}

impl Sender {
    /// Learn what it has asked for, and ask on, as far as that is known.
    fn advance(&mut self, known: &Known) {
        loop {
            let mut pending = Vec::new();
            for question in std::mem::take(&mut self.open) {
                match known.find(&question) {
                    Found::Known(answer) => self.check.handle_answer(answer),
                    Found::Pending => pending.push(question),
                    Found::Never(_) => self.check.give_up(),
                }
            }
            if !pending.is_empty() {
                self.open = pending;
                return;
            }
            match self.check.advance() {
                SpfProgress::Ask(questions) => self.open = questions,
                SpfProgress::Done(result) => {
                    self.result = Some(result);
                    return;
                }
            }
        }
    }
}

/// What is to be said of the one record that there is.
fn judge_one(
    record: &str,
    results: &[(IpAddr, Spf)],
    terms: &Terms,
    domain: &Domain,
    finding: impl Fn(Status, &str, &'static str) -> Finding,
) -> Finding {
    let having = |result: Spf| results.iter().find(move |(_, one)| *one == result);
    let instead = |text: &str| Record::txt(domain.as_str(), text);
    if let Some((address, result)) = having(Spf::TempError) {
        return finding(Status::Unchecked, &format!("{address} gets {}", result.as_str()), RESULT);
    }
    if having(Spf::PermError).is_some() {
        let found = "permerror: it is malformed, or takes too many lookups";
        return finding(Status::Fail, found, LOOKUPS).instead(instead(&terms.alone()));
    }
    let others = results.iter().filter(|(_, result)| *result != Spf::Pass);
    let others: Vec<_> =
        others.map(|(address, result)| format!("{address} gets {}", result.as_str())).collect();
    if !others.is_empty() {
        let right = terms.within(&[record]);
        return finding(Status::Fail, &others.join(", "), RESULT).instead(instead(&right));
    }
    if words(record).any(is_anyone) {
        let right = terms.within(&[record]);
        let found = "anyone passes, by +all";
        return finding(Status::Warn, found, "RFC 7208 §5.1").instead(instead(&right));
    }
    //= RFC 7208 §5.5
    //# This mechanism SHOULD NOT be published.
    if words(record).any(is_ptr) {
        let right = terms.within(&[record]);
        let found = "it has the mechanism ptr, which many do not follow";
        return finding(Status::Warn, found, "RFC 7208 §5.5").instead(instead(&right));
    }
    match results {
        [] => {
            let found = "which address mail leaves from is not known here";
            finding(Status::Unchecked, found, RESULT)
        }
        [(address, _)] => finding(Status::Pass, &format!("{address}: {record}"), RESULT),
        all => finding(Status::Pass, &format!("{} sources: {record}", all.len()), RESULT),
    }
}

/// The record that a text is, if it is one (RFC 7208 §4.5).
fn record(text: &[u8]) -> Option<Cow<'_, str>> {
    let (head, rest) = text.split_at_checked(VERSION.len())?;
    let is_one = head.eq_ignore_ascii_case(VERSION.as_bytes())
        && rest.first().is_none_or(|octet| *octet == b' ');
    is_one.then(|| String::from_utf8_lossy(text))
}

/// The terms of a record.
fn words(record: &str) -> impl Iterator<Item = &str> {
    record.split(' ').skip(1).filter(|term| !term.is_empty())
}

/// The mechanism of a term, without qualifier.
fn mechanism(term: &str) -> &str {
    term.trim_start_matches(['+', '-', '~', '?'])
}

fn is_all(term: &str) -> bool {
    mechanism(term).eq_ignore_ascii_case("all")
}

fn is_anyone(term: &str) -> bool {
    is_all(term) && !term.starts_with(['-', '~', '?'])
}

fn is_ptr(term: &str) -> bool {
    let name = mechanism(term).split([':', '/']).next().unwrap_or_default();
    name.eq_ignore_ascii_case("ptr")
}

/// What a record must have for the sources of this node.
struct Terms {
    all: Vec<String>,
    /// Of those that do not pass.
    missing: Vec<String>,
}

impl Terms {
    fn new(results: &[(IpAddr, Spf)], subject: &Subject) -> Self {
        let term = |(address, _): &(IpAddr, Spf)| match address {
            IpAddr::V4(v4) => format!("ip4:{v4}"),
            IpAddr::V6(v6) => format!("ip6:{v6}"),
        };
        let missing = results.iter().filter(|(_, result)| *result != Spf::Pass).map(term).collect();
        let mut all: Vec<String> = results.iter().map(term).collect();
        if all.is_empty() {
            all.push(format!("a:{}", subject.hostname));
        }
        Self { all, missing }
    }

    /// A record for them and nobody else. Others get softfail: a domain that has forgotten a sender
    /// shall see that in reports, not lose mail.
    fn alone(&self) -> String {
        format!("{VERSION} {} ~all", self.all.join(" "))
    }

    /// What these records say together, for them too, and without what should not be in it.
    fn within(&self, records: &[&str]) -> String {
        let has_ptr = records.iter().copied().flat_map(words).any(is_ptr);
        let own = if has_ptr { &self.all } else { &self.missing };
        let mut terms: Vec<&str> = own.iter().map(String::as_str).collect();
        for term in records.iter().copied().flat_map(words) {
            let is_last = is_all(term) || mechanism(term).starts_with("redirect=");
            if !is_last && !is_ptr(term) && !terms.contains(&term) {
                terms.push(term);
            }
        }
        let ends = || records.iter().copied().flat_map(words).filter(|term| !is_anyone(term));
        let all = |qualifier: char| ends().find(|term| is_all(term) && term.starts_with(qualifier));
        // Where they differ, what loses no mail.
        let end = all('~').or_else(|| all('-')).or_else(|| all('?'));
        let end = end.or_else(|| ends().find(|term| term.starts_with("redirect=")));
        terms.push(end.unwrap_or("~all"));
        format!("{VERSION} {}", terms.join(" "))
    }
}
