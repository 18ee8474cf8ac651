//! Understand what comes back about mail that has left: bounces, complaints, automatic replies.
//!
//! In: the content of a message, or its beginning. Out: what it says of which recipients, and what
//! it has that may tell which message it is about. Invariant: at most `FEEDBACK_BYTES_MAX` octets
//! are looked at, in time that grows with them alone; nothing of what is told has control
//! characters or is longer than its bound. Nobody vouches for any of it: whoever believes it first
//! holds a signed token against it (`policy::verp`).
//! Lives on: the home shard.
//!
//! What machines write for machines goes first: feedback reports (RFC 5965), delivery status
//! notifications (RFC 3464, RFC 6533), QSBMF (D. J. Bernstein, 1997). Then what is written for
//! people, which is only looked into where a mail system has written it; a person's vacation notice
//! that quotes a bounce is none.

mod automatic;
mod complaint;
mod fields;
mod parts;
mod returned;
mod status;
#[cfg(test)]
mod tests;
mod words;

use std::fmt;

use crate::base::limits::{FEEDBACK_BYTES_MAX, FEEDBACK_TOLD_MAX, FEEDBACK_WORDS_MAX};
use crate::base::text::head;
use crate::mail::address::Mailbox;
use crate::mail::status::EnhancedStatus;
use crate::outcome::feedback::fields::Fields;
use crate::outcome::feedback::parts::{Part, Parts};

pub use returned::Traces;

/// What a complaint is about (RFC 5965 §7.3, RFC 6430, RFC 6591 and IANA's registry).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Complaint {
    /// Unsolicited mail.
    Abuse,
    /// Fraud or phishing.
    Fraud,
    /// A virus.
    Virus,
    /// The recipient wants no more of it; not registered, and in use all the same.
    OptOut,
    /// It was taken for spam, and is none.
    NotSpam,
    /// SPF, DKIM or DMARC did not hold.
    AuthFailure,
    /// Anything else.
    Other,
}

impl Complaint {
    /// As events write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Abuse => "abuse",
            Self::Fraud => "fraud",
            Self::Virus => "virus",
            Self::OptOut => "opt-out",
            Self::NotSpam => "not-spam",
            Self::AuthFailure => "auth-failure",
            Self::Other => "other",
        }
    }

    /// Whether its recipient wants no more mail of this kind.
    pub const fn is_objection(self) -> bool {
        match self {
            Self::Abuse | Self::Fraud | Self::Virus | Self::OptOut | Self::Other => true,
            Self::NotSpam | Self::AuthFailure => false,
        }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a message says of a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Not delivered, and it will not be.
    Bounced,
    /// Not delivered yet.
    Delayed,
    /// Delivered.
    Delivered,
    /// Handed to a host that will not report on it.
    Relayed,
    /// Delivered to a list, which sent it on.
    Expanded,
    /// Somebody complains.
    Complaint(Complaint),
    /// It was shown to its recipient, or thrown away by them (RFC 8098).
    Receipt,
    /// Nobody is there, or a machine says that the message has come (RFC 3834).
    AutoReply,
    /// Its sender is to prove to be a person.
    Challenge,
    /// Nothing that is understood.
    Unknown,
}

impl Kind {
    /// As events write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bounced => "bounced",
            Self::Delayed => "delayed",
            Self::Delivered => "delivered",
            Self::Relayed => "relayed",
            Self::Expanded => "expanded",
            Self::Complaint(complaint) => complaint.as_str(),
            Self::Receipt => "receipt",
            Self::AutoReply => "auto-reply",
            Self::Challenge => "challenge",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is told of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// What.
    pub kind: Kind,
    /// Of whom, as the reporting host knows them; `None` where it does not say.
    pub recipient: Option<Mailbox>,
    /// Whom the sender wrote to, where the report tells that apart (RFC 3464 §2.3.1).
    pub original: Option<Mailbox>,
    /// The status, where one is given.
    pub status: Option<EnhancedStatus>,
    /// The reply code that the reporting host was given: 400 to 599.
    pub code: Option<u16>,
    /// Its words; at most `FEEDBACK_WORDS_MAX` octets, without control characters.
    pub text: Box<str>,
    /// The host that said them; empty where it is not named.
    pub peer: Box<str>,
}

impl Told {
    /// Of nobody in particular.
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            recipient: None,
            original: None,
            status: None,
            code: None,
            text: "".into(),
            peer: "".into(),
        }
    }
}

/// How a message says what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// A delivery status notification (RFC 3464).
    Dsn,
    /// A feedback report (RFC 5965).
    Arf,
    /// A receipt (RFC 8098).
    Mdn,
    /// QSBMF: what qmail writes.
    Qsbmf,
    /// Words for people.
    Words,
    /// The header's fields alone: an automatic reply, a challenge.
    Header,
    /// None that is known.
    Unknown,
}

impl Form {
    /// As events write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dsn => "dsn",
            Self::Arf => "arf",
            Self::Mdn => "mdn",
            Self::Qsbmf => "qsbmf",
            Self::Words => "words",
            Self::Header => "header",
            Self::Unknown => "unknown",
        }
    }
}

/// All that a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feedback {
    /// How.
    pub form: Form,
    /// Of whom what: one to `FEEDBACK_TOLD_MAX`.
    pub told: Vec<Told>,
    /// What may tell which message it is about.
    pub traces: Traces,
}

/// What is looked at.
struct Report<'a> {
    fields: Fields<'a>,
    parts: Vec<Part<'a>>,
}

/// Understand `content`: a whole message, or its beginning.
pub fn read(content: &[u8]) -> Feedback {
    let content = &content[..content.len().min(FEEDBACK_BYTES_MAX)];
    let parts = Parts::of(content);
    let report = Report { fields: parts.fields, parts: parts.leaves };
    let mut traces = Traces::find(&report);
    let (form, mut told) = understand(&report, &mut traces);
    told.truncate(FEEDBACK_TOLD_MAX);
    if told.is_empty() {
        told.push(Told::new(Kind::Unknown));
    }
    Feedback { form, told, traces }
}

fn understand(report: &Report<'_>, traces: &mut Traces) -> (Form, Vec<Told>) {
    if let Some(told) = complaint::read(report, traces) {
        return (Form::Arf, told);
    }
    if let Some(told) = status::read(report, traces) {
        return (Form::Dsn, told);
    }
    if report.part("message/disposition-notification").is_some() {
        return (Form::Mdn, automatic::told(Kind::Receipt, report));
    }
    let is_daemon = automatic::is_from_daemon(report);
    if !is_daemon && let Some(kind) = automatic::kind(report) {
        return (Form::Header, automatic::told(kind, report));
    }
    if let Some(found) = words::read(report, is_daemon) {
        return found;
    }
    match automatic::kind(report) {
        Some(kind) => (Form::Header, automatic::told(kind, report)),
        None => (Form::Unknown, Vec::new()),
    }
}

impl<'a> Report<'a> {
    /// The first part of this type.
    fn part(&self, kind: &str) -> Option<&Part<'a>> {
        self.parts.iter().find(|part| &*part.kind == kind)
    }
}

/// Words as they are told: bounded, on one line, without control characters.
fn clean(text: &str, max: usize) -> Box<str> {
    // What is cut off would not be told; twice as much leaves room for runs of blanks.
    let text = head(text, max * 2);
    let mut words = String::with_capacity(text.len());
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        if !word.is_empty() {
            if !words.is_empty() {
                words.push(' ');
            }
            words.push_str(word);
        }
    }
    head(&words, max).trim_end().into()
}

/// Words about a recipient.
fn words_of(text: &str) -> Box<str> {
    clean(text, FEEDBACK_WORDS_MAX)
}
