//! Keep the books: what was submitted, acknowledged, delivered, refused and told; and audit them.
//!
//! Every message has a number, which is in its reverse-path and, as a mark, at both ends of its
//! content. What is wrong with a delivery is found when it comes, what is missing at the end.

use std::collections::{BTreeMap, BTreeSet};

use crate::agenda::SECOND;
use crate::store::Store;

/// A report that was on its way home, or on its way to the disk, is lost in a crash: so long.
const IN_FLIGHT: u64 = 10 * SECOND;

/// What its client was told of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Not submitted to its end.
    Unsent,
    /// Submitted to its end, and nothing was heard.
    Unknown,
    Acknowledged(u64),
    /// After its end.
    Refused(u16),
}

/// Whom its sender wants to hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notify {
    Default,
    Never,
    Success,
}

#[derive(Clone, Debug)]
pub(crate) struct Addressee {
    pub(crate) address: String,
    pub(crate) notify: Notify,
    /// The relay said 250 to it.
    pub(crate) taken: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Mail {
    pub(crate) number: u64,
    /// Where a DSN goes; empty: nowhere.
    pub(crate) reverse_path: String,
    pub(crate) to: Vec<Addressee>,
    pub(crate) content: Vec<u8>,
    pub(crate) verdict: Verdict,
}

/// A message that a next hop took, for one recipient.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) at: u64,
    pub(crate) host: usize,
    /// The relay got the reply.
    pub(crate) heard: bool,
}

/// What a DSN says of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) at: u64,
    pub(crate) action: String,
    /// The DSN's own name, to tell one that came twice from two.
    pub(crate) dsn: String,
}

/// The books of a run.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) mail: Vec<Mail>,
    /// What the results of verification are to say in each message, if there are to be any.
    pub(crate) results: Option<&'static str>,
    /// Signatures that each message is to have.
    pub(crate) signatures: usize,
    /// One for each recipient of each content taken, in order.
    pub(crate) deliveries: Vec<(u64, String, Delivery)>,
    pub(crate) notices: Vec<(u64, String, Notice)>,
    /// What a next hop refused for good, or what has no next hop: a bounce is right.
    pub(crate) refusals: BTreeSet<(u64, String)>,
    pub(crate) crashes: Vec<u64>,
    /// Spans of time in which the disk did not work.
    pub(crate) disk_trouble: Vec<(u64, u64)>,
    /// Domains whose mail bounces at once.
    pub(crate) hopeless: BTreeSet<String>,
    /// Domains whose next hop is never up.
    pub(crate) dead: BTreeSet<String>,
    /// The listener's `durability` is `memory`.
    pub(crate) answers_from_memory: bool,
    /// Recipients may be refused before there is content.
    pub(crate) refuses_recipients: bool,
    /// Acknowledged mail that was not on stable storage when the process died: what may be lost.
    pub(crate) unsaved: BTreeSet<u64>,
    /// From acceptance to expiry.
    pub(crate) lifetime: u64,
    /// By what the wall clock was set ahead in all: a restart takes it for age.
    pub(crate) set_ahead: u64,
    /// How long things go wrong.
    pub(crate) storm: u64,
}

impl Ledger {
    /// The process dies: what of the acknowledged mail `store` has not may be lost.
    pub(crate) fn crashed(&mut self, now: u64, store: &Store) {
        self.crashes.push(now);
        if self.answers_from_memory {
            let saved = |mail: &Mail| store.synced_since(mail.number).is_some();
            let unsaved = self.mail.iter().filter(|mail| !saved(mail));
            let acknowledged =
                unsaved.filter(|mail| matches!(mail.verdict, Verdict::Acknowledged(_)));
            self.unsaved.extend(acknowledged.map(|mail| mail.number));
        }
    }

    /// A message is acknowledged by words that were sent at `sent_at`, and not synced by now: if
    /// the process died meanwhile, it may be lost.
    pub(crate) fn acknowledged_unsynced(&mut self, number: u64, sent_at: u64) {
        if self.crashes.last().is_some_and(|crash| *crash >= sent_at) {
            self.unsaved.insert(number);
        }
    }

    pub(crate) fn mail(&mut self, number: u64) -> &mut Mail {
        let index = usize::try_from(number).expect("small");
        &mut self.mail[index]
    }

    /// A next hop took `content` for `to`; the place of the first delivery, and how many.
    pub(crate) fn delivered(
        &mut self,
        reverse_path: &str,
        to: &[String],
        content: &[u8],
        (host, at): (usize, u64),
    ) -> std::ops::Range<usize> {
        let first = self.deliveries.len();
        let (own, rest) = signatures(content);
        if reverse_path.is_empty() && rest.starts_with(b"From: Mail Delivery System") {
            assert_eq!(own, usize::from(self.signatures > 0), "DSNs are signed once");
            self.read_dsn(to, content, at);
            return first..first;
        }
        let number = number_in(content);
        let mail = self.mail(number);
        assert_eq!(mail.reverse_path, reverse_path, "mail {number}");
        assert_ne!(mail.verdict, Verdict::Unsent, "mail {number} was not submitted to its end");
        let added = content.len() - mail.content.len();
        let (prefix, rest) = content.split_at(added);
        assert!(rest == mail.content, "the content of mail {number} was changed");
        let end = memchr::memmem::find(prefix, b"Authentication-Results: ");
        let (prefix, results) = prefix.split_at(end.unwrap_or(prefix.len()));
        let results = String::from_utf8_lossy(results);
        assert_eq!(results.is_empty(), self.results.is_none(), "mail {number}: {results}");
        assert!(self.results.is_none_or(|word| results.contains(word)), "{number}: {results}");
        let signatures = assert_is_received_field(prefix);
        assert_eq!(signatures, self.signatures, "mail {number}");
        for address in to {
            let addressee = self.mail(number).to.iter().find(|one| one.address == *address);
            let addressee = addressee.unwrap_or_else(|| panic!("{address} of mail {number}"));
            let addressee = addressee.clone();
            let maybe = addressee.taken || self.mail(number).verdict == Verdict::Unknown;
            assert!(maybe, "{address} of mail {number} was not accepted");
            let delivery = Delivery { at, host, heard: false };
            self.deliveries.push((number, address.clone(), delivery));
        }
        first..self.deliveries.len()
    }

    /// RFC 3464: who is told what.
    fn read_dsn(&mut self, to: &[String], content: &[u8], at: u64) {
        let text = String::from_utf8_lossy(content);
        let [reverse_path] = to else { panic!("a DSN for {to:?}") };
        let number = reverse_path.trim_start_matches("sender").split('@').next().unwrap_or("");
        let number: u64 = number.parse().unwrap_or_else(|_| panic!("a DSN for {reverse_path}"));
        assert_eq!(self.mail(number).reverse_path, *reverse_path);
        let field = |name: &str| -> Vec<String> {
            let lines = text.split("\r\n");
            lines.filter_map(|line| line.strip_prefix(name)).map(str::to_owned).collect()
        };
        let dsn = field("Message-ID: ").swap_remove(0);
        let (addresses, actions) = (field("Final-Recipient: rfc822; "), field("Action: "));
        assert!(!addresses.is_empty() && addresses.len() == actions.len(), "{text}");
        for (address, action) in addresses.into_iter().zip(actions) {
            let known = self.mail(number).to.iter().any(|one| one.address == address);
            assert!(known, "a DSN on {address} of mail {number}");
            self.notices.push((number, address, Notice { at, action, dsn: dsn.clone() }));
        }
    }

    /// All recipients of acknowledged mail, with what came of them.
    pub(crate) fn audit(&self) {
        let mut accounts: BTreeMap<(u64, &str), Account<'_>> = BTreeMap::new();
        for (number, address, delivery) in &self.deliveries {
            accounts.entry((*number, address)).or_default().deliveries.push(delivery);
        }
        for (number, address, notice) in &self.notices {
            accounts.entry((*number, address)).or_default().notices.push(notice);
        }
        for mail in &self.mail {
            for addressee in &mail.to {
                let key = (mail.number, addressee.address.as_str());
                let account = accounts.remove(&key).unwrap_or_default();
                self.audit_one(mail, addressee, &account);
            }
        }
        assert!(accounts.is_empty(), "nobody's: {accounts:?}");
    }

    fn audit_one(&self, mail: &Mail, addressee: &Addressee, account: &Account<'_>) {
        let name = format!("{} of mail {} ({:?})", addressee.address, mail.number, mail.verdict);
        let key = (mail.number, addressee.address.clone());
        let address = addressee.address.as_str();
        let domain = address.split('@').nth(1).unwrap_or("");
        let refused = self.refusals.contains(&key) || self.hopeless.contains(domain);
        let failures = || account.notices.iter().filter(|notice| notice.action == "failed");
        let can_be_told = !mail.reverse_path.is_empty() && addressee.notify != Notify::Never;
        let can_be_told = can_be_told && addressee.notify != Notify::Success;
        match mail.verdict {
            Verdict::Acknowledged(_) if !addressee.taken => {
                assert!(account.is_empty(), "not accepted: {name}: {account:?}");
            }
            Verdict::Acknowledged(at) => {
                // What the storm outlives may expire.
                let is_dead = self.lifetime < self.storm + self.set_ahead
                    || address.starts_with("full")
                    || self.dead.contains(domain);
                let ends_silently = !can_be_told && (refused || is_dead);
                let is_told = failures().next().is_some() || ends_silently;
                let is_lost = account.deliveries.is_empty() && !is_told;
                let is_given_up = self.unsaved.contains(&mail.number);
                assert!(!is_lost || is_given_up, "lost: {name}: {account:?}");
                for notice in failures() {
                    let age = notice.at + SECOND + self.set_ahead;
                    let expired = age >= at + self.lifetime;
                    assert!(refused || expired, "bounced for nothing: {name}: {notice:?}");
                }
            }
            // Its octets may have reached the disk before the commit failed.
            Verdict::Refused(_) if !self.crashes.is_empty() => {}
            Verdict::Refused(_) | Verdict::Unsent => {
                assert!(account.is_empty(), "not accepted: {name}: {account:?}");
            }
            Verdict::Unknown => {}
        }
        if !can_be_told {
            assert!(failures().next().is_none(), "told against its will: {name}: {account:?}");
        }
        self.audit_repeats(&name, account);
    }

    /// Nothing comes twice but what was in flight in a crash, or whose reply was lost.
    fn audit_repeats(&self, name: &str, account: &Account<'_>) {
        for (before, after) in account.deliveries.iter().zip(account.deliveries.iter().skip(1)) {
            let excused = !before.heard || self.in_flight(before.at, after.at);
            assert!(excused, "delivered twice: {name}: {account:?}");
        }
        for failure in account.notices.iter().filter(|notice| notice.action == "failed") {
            let heard = account.deliveries.iter().find(|delivery| delivery.heard);
            if let Some(delivery) = heard.filter(|delivery| delivery.at < failure.at) {
                let excused = self.in_flight(delivery.at, failure.at);
                assert!(excused, "delivered and bounced: {name}: {account:?}");
            }
        }
        let names: BTreeSet<&str> = account.failures().map(|one| one.dsn.as_str()).collect();
        assert!(names.len() <= 1 + self.crashes.len(), "told twice: {name}: {account:?}");
    }

    /// Whether what happened at `at` may have been forgotten in a crash before `until`.
    fn in_flight(&self, at: u64, until: u64) -> bool {
        self.crashes.iter().filter(|crash| (at..=until).contains(*crash)).any(|crash| {
            let in_trouble = |(from, to): &(u64, u64)| *from <= *crash && at <= *to + IN_FLIGHT;
            crash - at <= IN_FLIGHT || self.disk_trouble.iter().any(in_trouble)
        })
    }
}

/// What came of one recipient.
#[derive(Debug, Default)]
struct Account<'a> {
    deliveries: Vec<&'a Delivery>,
    notices: Vec<&'a Notice>,
}

impl Account<'_> {
    fn is_empty(&self) -> bool {
        self.deliveries.is_empty() && self.notices.is_empty()
    }

    fn failures(&self) -> impl Iterator<Item = &Notice> {
        self.notices.iter().copied().filter(|notice| notice.action == "failed")
    }
}

/// The number that the mark in a content gives.
fn number_in(content: &[u8]) -> u64 {
    let at = memchr::memmem::find(content, crate::store::MARK).expect("a mark");
    let digits = content[at + crate::store::MARK.len()..].iter();
    let digits = digits.take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, byte| number * 10 + u64::from(byte - b'0'))
}

//= RFC 5321 §4.4, type=test
//# an SMTP server … MUST insert trace or "time stamp" information … at the beginning of the message
fn assert_is_received_field(prefix: &[u8]) -> usize {
    let end = memchr::memmem::find(prefix, SIGNATURE).unwrap_or(prefix.len());
    let text = String::from_utf8_lossy(&prefix[..end]);
    assert!(text.starts_with("Received: ") && text.ends_with("\r\n"), "{text:?}");
    let mut lines = text.split_terminator("\r\n").skip(1);
    assert!(lines.all(|line| line.starts_with([' ', '\t'])), "more than one field: {text:?}");
    let (count, rest) = signatures(&prefix[end..]);
    assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(rest));
    count
}

const SIGNATURE: &[u8] = b"DKIM-Signature: ";

/// How many signatures stand at the beginning, and what follows them.
fn signatures(text: &[u8]) -> (usize, &[u8]) {
    let (mut count, mut rest) = (0, text);
    while rest.starts_with(SIGNATURE) {
        count += 1;
        let ends = memchr::memmem::find_iter(rest, b"\r\n").map(|at| at + 2);
        let end = ends.into_iter().find(|end| !rest[*end..].starts_with(b"\t"));
        rest = &rest[end.expect("a whole field")..];
    }
    (count, rest)
}
