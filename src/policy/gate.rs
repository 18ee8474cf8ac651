//! Keep out domains of which DNS does not say what it must, until it does.
//!
//! In: reports of checks. Out: whether a domain is used, and why not. Invariant: what could not be
//! checked changes nothing; what was never checked is used; what others say of a node's own
//! addresses and names keeps no domain out, since it would keep out all of them.
//! Lives on: one value, which the checks replace and all shards read.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::mail::address::Domain;
use crate::mail::status::Reply;
use crate::policy::domain_check::{Finding, Report, Status, Topic, Verdict};
use crate::policy::reply;

/// What is done about domains that fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// They are not checked.
    #[default]
    Off,
    /// It is told.
    Warn,
    /// And they are not used.
    Enforce,
}

/// What a domain is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Its mail is signed here.
    Signing,
    /// Mail for it is taken from anyone.
    Relay,
}

/// What is known of a domain that fails.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Failing {
    /// Everything, for operators.
    all: Box<str>,
    /// What keeps mail from it out.
    signing: Option<Box<str>>,
    /// What keeps mail for it out.
    relay: Option<Box<str>>,
}

/// The domains that fail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standings(BTreeMap<Domain, Failing>);

impl Standings {
    /// Take in what a check came to; whether the domain stands otherwise than before.
    pub fn learn(&mut self, domain: &Domain, report: &Report) -> bool {
        match (report.verdict(), failing(report)) {
            (Verdict::Failed, Some(now)) => {
                self.0.insert(domain.clone(), now.clone()).is_none_or(|before| before != now)
            }
            (Verdict::Well, _) => self.0.remove(domain).is_some(),
            (Verdict::Failed | Verdict::Unchecked, _) => false,
        }
    }

    /// Forget domains that are not among these.
    pub fn keep(&mut self, domains: &[Domain]) {
        self.0.retain(|domain, _| domains.contains(domain));
    }

    /// Why this domain is not fit for such a use, in one line.
    pub fn why(&self, domain: &Domain, of: Use) -> Option<&str> {
        let failing = self.0.get(domain)?;
        match of {
            Use::Signing => failing.signing.as_deref(),
            Use::Relay => failing.relay.as_deref(),
        }
    }

    /// Each domain that fails, and all of why.
    pub fn iter(&self) -> impl Iterator<Item = (&Domain, &str)> {
        self.0.iter().map(|(domain, failing)| (domain, &*failing.all))
    }

    /// Whether none fails.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What a report says against a domain; `None` where nothing fails.
fn failing(report: &Report) -> Option<Failing> {
    let failing = || report.findings.iter().filter(|finding| finding.status == Status::Fail);
    let first = |is: &dyn Fn(&Finding) -> bool| failing().find(|one| is(one)).map(line);
    let all: Vec<String> = failing().map(|finding| line(finding).into()).collect();
    (!all.is_empty()).then(|| Failing {
        all: all.join("; ").into(),
        signing: first(&|finding| concerns_senders(finding, &report.domain)),
        relay: first(&concerns_takers),
    })
}

fn line(finding: &Finding) -> Box<str> {
    format!("{} {}: {}", finding.topic.as_str(), finding.of, finding.found).into()
}

/// Whether mail from the domain is refused or believed less for this, and its own records can mend
/// that.
fn concerns_senders(finding: &Finding, domain: &str) -> bool {
    match finding.topic {
        Topic::Mx | Topic::Dkim | Topic::Dmarc => true,
        // Else it is of an EHLO name.
        Topic::Spf => *finding.of == *domain,
        Topic::Address | Topic::Ptr => false,
        Topic::MtaSts | Topic::TlsRpt | Topic::Dane | Topic::Bimi => false,
    }
}

/// Whether mail for the domain is kept back by senders for this.
fn concerns_takers(finding: &Finding) -> bool {
    match finding.topic {
        Topic::Mx | Topic::MtaSts | Topic::Dane => true,
        Topic::TlsRpt | Topic::Bimi => false,
        Topic::Address | Topic::Ptr | Topic::Spf | Topic::Dkim | Topic::Dmarc => false,
    }
}

/// Where the standings hang for all to see.
#[derive(Debug, Default)]
pub struct Board(ArcSwap<Standings>);

impl Board {
    /// As they are now.
    pub fn read(&self) -> Arc<Standings> {
        self.0.load_full()
    }

    /// Hang up others.
    pub fn write(&self, standings: Standings) {
        self.0.store(Arc::new(standings));
    }
}

/// The board, and what is done by it.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    /// What is done.
    pub mode: Mode,
    /// About whom.
    pub board: Arc<Board>,
}

impl Gate {
    //= RFC 3463 §3.8
    //# X.7.1 Delivery not authorized, message refused
    /// What a client is told whose message would use a domain so that is not to be used so. It may
    /// try again: the domain's records can be mended.
    pub fn refusal(&self, domain: &Domain, of: Use) -> Option<Reply> {
        if self.mode != Mode::Enforce {
            return None;
        }
        let standings = self.board.read();
        let why = standings.why(domain, of)?;
        let text = format!("{domain} is not used until DNS is right: {why}");
        Some(reply(451, (4, 7, 1), &text))
    }

    /// What operators are told: a line for each domain that fails.
    pub fn lines(&self) -> Vec<String> {
        let done = match self.mode {
            Mode::Off => return Vec::new(),
            Mode::Warn => "fails its check",
            Mode::Enforce => "fails its check and is not used",
        };
        let standings = self.board.read();
        standings.iter().map(|(domain, why)| format!("{domain} {done}: {why}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(findings: &[(Topic, &str, Status)]) -> Report {
        let finding = |(topic, of, status): &(Topic, &str, Status)| Finding {
            topic: *topic,
            of: (*of).into(),
            status: *status,
            found: "found".to_owned(),
            reference: "",
            publish: Vec::new(),
            replaces: false,
            serve: None,
        };
        let findings = findings.iter().map(finding).collect();
        Report { domain: "a.example".into(), findings }
    }

    fn domain() -> Domain {
        Domain::parse("a.example").unwrap()
    }

    #[test]
    fn what_could_not_be_checked_changes_nothing() {
        let mut standings = Standings::default();
        let failed = report(&[(Topic::Spf, "a.example", Status::Fail)]);
        let unchecked = report(&[(Topic::Spf, "a.example", Status::Unchecked)]);
        let well = report(&[(Topic::Spf, "a.example", Status::Warn)]);
        assert!(!standings.learn(&domain(), &unchecked) && standings.is_empty());
        assert!(standings.learn(&domain(), &failed) && !standings.learn(&domain(), &failed));
        assert!(!standings.learn(&domain(), &unchecked));
        assert_eq!(standings.why(&domain(), Use::Signing), Some("spf a.example: found"));
        assert!(standings.learn(&domain(), &well) && standings.is_empty());
        assert!(standings.learn(&domain(), &failed));
        standings.keep(&[]);
        assert!(standings.is_empty());
    }

    #[test]
    fn each_use_is_kept_out_by_what_concerns_it() {
        for (topic, of, signing, relay) in [
            (Topic::Mx, "a.example", true, true),
            (Topic::Spf, "a.example", true, false),
            (Topic::Spf, "relay.example", false, false),
            (Topic::Dkim, "s._domainkey.a.example", true, false),
            (Topic::Dmarc, "_dmarc.a.example", true, false),
            (Topic::Ptr, "192.0.2.1", false, false),
            (Topic::Address, "relay.example", false, false),
            (Topic::MtaSts, "_mta-sts.a.example", false, true),
            (Topic::Dane, "mx.a.example", false, true),
            (Topic::TlsRpt, "_smtp._tls.a.example", false, false),
        ] {
            let mut standings = Standings::default();
            assert!(standings.learn(&domain(), &report(&[(topic, of, Status::Fail)])), "{topic:?}");
            let is = |of| standings.why(&domain(), of).is_some();
            assert_eq!((is(Use::Signing), is(Use::Relay)), (signing, relay), "{topic:?}");
        }
    }

    #[test]
    fn only_what_is_enforced_refuses() {
        let mut standings = Standings::default();
        standings.learn(&domain(), &report(&[(Topic::Mx, "a.example", Status::Fail)]));
        for (mode, is_refused, lines) in
            [(Mode::Off, false, 0), (Mode::Warn, false, 1), (Mode::Enforce, true, 1)]
        {
            let gate = Gate { mode, ..Gate::default() };
            assert_eq!(gate.refusal(&domain(), Use::Signing), None);
            gate.board.write(standings.clone());
            let refusal = gate.refusal(&domain(), Use::Relay);
            assert_eq!(refusal.is_some(), is_refused, "{mode:?}");
            let text = "451 4.7.1 a.example is not used until DNS is right: mx a.example: found";
            assert!(refusal.is_none_or(|reply| reply.to_string() == text));
            assert_eq!(gate.lines().len(), lines, "{mode:?}");
        }
    }
}
