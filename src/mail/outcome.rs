//! What an attempt came to, for one recipient.

use std::fmt;

use crate::mail::status::{EnhancedStatus, Reply};

/// The step of a delivery at which a peer answered or a failure struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// Deciding where to send: routing and DNS.
    Route,
    /// TCP connect.
    Connect,
    /// Waiting for the peer's 220.
    Greeting,
    /// EHLO, and HELO after it.
    Hello,
    /// STARTTLS and the handshake after it.
    Tls,
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
    /// DATA until 354.
    Data,
    /// The content itself, its end, and the reply to it.
    Content,
    /// After the transaction: RSET, QUIT.
    Quit,
}

impl Stage {
    /// All of them, in order.
    pub const ALL: [Self; 10] = [
        Self::Route,
        Self::Connect,
        Self::Greeting,
        Self::Hello,
        Self::Tls,
        Self::Mail,
        Self::Rcpt,
        Self::Data,
        Self::Content,
        Self::Quit,
    ];
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Route => "route",
            Self::Connect => "connect",
            Self::Greeting => "greeting",
            Self::Hello => "EHLO",
            Self::Tls => "STARTTLS",
            Self::Mail => "MAIL",
            Self::Rcpt => "RCPT",
            Self::Data => "DATA",
            Self::Content => "content",
            Self::Quit => "QUIT",
        })
    }
}

/// Why a recipient is where it is: what was said, by whom, at which stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// How far the attempt came.
    pub stage: Stage,
    /// The peer's enhanced status, or ours where it gave none.
    pub status: EnhancedStatus,
    /// The peer's words, verbatim; `None` when no peer spoke.
    pub reply: Option<Reply>,
    /// Our words, for people, where no peer spoke: `connection refused`, `no such domain`.
    pub detail: Box<str>,
    /// The next hop's name and address, as `mx1.example.net[192.0.2.1]:25`; empty if none yet.
    pub peer: Box<str>,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reply {
            Some(reply) => write!(f, "{} said at {}: {reply}", self.peer, self.stage),
            None if self.peer.is_empty() => write!(f, "{}", self.detail),
            None => write!(f, "{} at {}: {}", self.peer, self.stage, self.detail),
        }
    }
}

/// What one attempt came to for one recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The next hop has taken the message.
    Delivered,
    /// To be tried again.
    Deferred,
    /// Will not be tried again; the reverse-path is told.
    Bounced,
}

/// Everything that can go wrong with an attempt. `outcome/judge.rs` alone says what follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The peer said so.
    Reply(Reply),
    /// The connection was refused, reset before a greeting, or no route leads there.
    Connect(Box<str>),
    /// No answer within the deadline of the stage.
    TimedOut,
    /// The connection ended in the middle.
    Closed,
    /// The peer's words were no SMTP: too long, no reply code, out of step.
    Protocol(Box<str>),
    /// TLS did not come about: not offered, no common version, a certificate that is not right.
    Tls(Box<str>),
    /// TLS did not come about as the sender requires it (RFC 8689 §4.2.1).
    RequireTls {
        /// 5.7.10, 5.7.30.
        status: EnhancedStatus,
        /// What is missing.
        detail: Box<str>,
    },
    /// The domain does not exist (NXDOMAIN), or has neither MX nor address.
    NoSuchDomain,
    /// All that DNS says of where its mail goes is where none may go.
    Unroutable(Box<str>),
    /// Null MX: the domain takes no mail (RFC 7505).
    NullMx,
    /// Its MX is this node itself (RFC 5321 §5.1).
    Loop,
    /// DNS gave no answer: SERVFAIL, timeout, broken answer.
    Dns(Box<str>),
    /// The peer cannot take the message as it is (8BITMIME, SMTPUTF8, BINARYMIME, SIZE).
    Incapable {
        /// 5.6.3, 5.6.7, 5.3.4.
        status: EnhancedStatus,
        /// What is missing.
        detail: Box<str>,
    },
    /// The queue lifetime is over (4.4.7); the reason is that of the last attempt.
    Expired,
    /// An operator removed it.
    Removed,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reply(reply) => write!(f, "{reply}"),
            Self::Connect(words)
            | Self::Protocol(words)
            | Self::Tls(words)
            | Self::Unroutable(words)
            | Self::Dns(words) => f.write_str(words),
            Self::Incapable { detail, .. } | Self::RequireTls { detail, .. } => f.write_str(detail),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Closed => f.write_str("connection closed"),
            Self::NoSuchDomain => f.write_str("no such domain, or no host that takes its mail"),
            Self::NullMx => f.write_str("the domain takes no mail"),
            Self::Loop => f.write_str("mail loops back to this node"),
            Self::Expired => f.write_str("queue lifetime is over"),
            Self::Removed => f.write_str("removed by an operator"),
        }
    }
}
