//! What kind of refusal a reply is, in few, standard words. `outcome::classes` finds out which.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a recipient was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// There is no such mailbox.
    BadMailbox,
    /// It is there, and takes nothing any more: disabled, suspended, abandoned.
    Inactive,
    /// It is full, or over its quota.
    Quota,
    /// The domain is none, or takes no mail.
    BadDomain,
    /// Nobody answers: connection, greeting, DNS.
    NoAnswer,
    /// The host is the wrong one: relaying denied, a loop.
    Routing,
    /// For who sends: a block list, a bad reputation.
    Reputation,
    /// For what is in it: it is taken for spam or phishing.
    Spam,
    /// There is malware in it.
    Virus,
    /// SPF, DKIM, DMARC, a PTR record, or that they are missing.
    Authentication,
    /// Too many messages or connections in too short a time.
    RateLimit,
    /// First come, then come again.
    Greylisted,
    /// It cannot be taken as it is: size, form, attachments.
    Content,
    /// Another rule of the recipient's.
    Policy,
    /// TLS did not come about.
    Tls,
    /// The sides did not understand each other.
    Protocol,
    /// The peer's own trouble, which passes.
    Transient,
    /// It is on a suppression list, ours or an upstream relay's.
    Suppressed,
    /// Its lifetime was over, or an operator took it out, before anyone said anything.
    GivenUp,
    /// Nothing that is known.
    Other,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::BadMailbox,
        Self::Inactive,
        Self::Quota,
        Self::BadDomain,
        Self::NoAnswer,
        Self::Routing,
        Self::Reputation,
        Self::Spam,
        Self::Virus,
        Self::Authentication,
        Self::RateLimit,
        Self::Greylisted,
        Self::Content,
        Self::Policy,
        Self::Tls,
        Self::Protocol,
        Self::Transient,
        Self::Suppressed,
        Self::GivenUp,
        Self::Other,
    ];

    /// As rules, events and metrics write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadMailbox => "bad-mailbox",
            Self::Inactive => "inactive",
            Self::Quota => "quota",
            Self::BadDomain => "bad-domain",
            Self::NoAnswer => "no-answer",
            Self::Routing => "routing",
            Self::Reputation => "reputation",
            Self::Spam => "spam",
            Self::Virus => "virus",
            Self::Authentication => "authentication",
            Self::RateLimit => "rate-limit",
            Self::Greylisted => "greylisted",
            Self::Content => "content",
            Self::Policy => "policy",
            Self::Tls => "tls",
            Self::Protocol => "protocol",
            Self::Transient => "transient",
            Self::Suppressed => "suppressed",
            Self::GivenUp => "given-up",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
