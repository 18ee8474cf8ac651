//! Run the server's side of a SASL exchange: who is it that speaks (RFC 4422, 4954).
//!
//! In: a mechanism, lines of base64, the caller's answer to one question. Out: challenges, that
//! question, and at last who it is, or why nobody. PLAIN (RFC 4616), LOGIN, SCRAM-SHA-256 and
//! SCRAM-SHA-256-PLUS (RFC 5802, 7677) over `tls-exporter` (RFC 9266).
//! Invariant: each step takes the exchange and gives another, or its end: nothing can be said out
//! of turn. What a client calls itself and its password are prepared (SASLprep, RFC 4013), so that
//! no control character goes further. Lives on: the home shard, one a session.
//!
//! ```text
//! Exchange::begin ─► Next::Challenge ─► handle_line ─► …
//!                ├─► Next::Check     the caller verifies name and password: the end
//!                ├─► Next::Lookup    the caller gives the name's verifier ─► Next::Challenge
//!                └─► Next::Proved, Next::Disproved, Next::Refused: the end
//! ```

mod message;
mod prepare;
mod scram;
mod verifier;

#[cfg(test)]
mod tests;

use crate::smtp::sasl::message::{decode, encode};
use crate::smtp::sasl::scram::{Final, First, Proof};

pub use prepare::{Name, Password};
pub use scram::{Lookup, Nonce};
pub use verifier::{Malformed, ScramVerifier};

/// A mechanism that we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// Never standardized; old clients know nothing better.
    Login,
    /// RFC 7677.
    ScramSha256,
    /// RFC 7677, bound to the TLS connection.
    ScramSha256Plus,
}

impl Mechanism {
    /// Every mechanism, the best first.
    pub const ALL: [Self; 4] = [Self::ScramSha256Plus, Self::ScramSha256, Self::Plain, Self::Login];

    /// As in the SASL registry.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
        }
    }

    /// Read a name, in either case (RFC 4422 §3.1 has upper case; clients have both).
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name().eq_ignore_ascii_case(word))
    }
}

/// What binds an exchange to its TLS connection: 32 octets of `EXPORTER-Channel-Binding` (RFC 9266
/// §2). `None` where there is no TLS 1.3, and no -PLUS mechanism is offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Channel(pub Option<[u8; 32]>);

/// The label under which a TLS connection exports what a [`Channel`] holds.
pub const CHANNEL_LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// Why an exchange came to nothing, but for wrong credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The client said `*`.
    Cancelled,
    /// A line that is not base64, to the letter of RFC 4648 §4.
    NotBase64,
    /// Not what the mechanism wants to hear.
    Malformed,
    /// Name or password that no file can hold: empty, too long, or with what SASLprep prohibits.
    Unfit,
    /// It would act as somebody else.
    ActsForOther,
    /// The channel is bound otherwise than it was said or offered: perhaps somebody is between.
    WrongChannel,
}

/// An exchange that waits for the client's line.
#[derive(Debug)]
pub struct Exchange(Awaited);

/// What the next line is.
#[derive(Debug)]
enum Awaited {
    Plain,
    LoginName,
    LoginPassword(Name),
    First(First),
    Proof(Proof),
    Final(Final),
}

/// What follows a line.
#[derive(Debug)]
pub enum Next {
    /// Say 334 with this text, and await a line.
    Challenge(String, Exchange),
    /// Verify these; there is no more to the exchange.
    Check(Name, Password),
    /// Give the verifier of a name.
    Lookup(Lookup),
    /// It is this name.
    Proved(Name),
    /// It is not this name.
    Disproved(Name),
    /// It is nobody.
    Refused(Fault),
}

impl Exchange {
    /// What follows `AUTH mechanism [initial]`. An initial response `=` is an empty one (RFC 4954
    /// §4).
    pub fn begin(mechanism: Mechanism, channel: Channel, initial: Option<&[u8]>) -> Next {
        let awaited = match mechanism {
            Mechanism::Plain => Awaited::Plain,
            Mechanism::Login => Awaited::LoginName,
            Mechanism::ScramSha256 => Awaited::First(First { channel, plus: false }),
            Mechanism::ScramSha256Plus => Awaited::First(First { channel, plus: true }),
        };
        match initial {
            Some(b"=") => awaited.take(b""),
            Some(initial) => Self(awaited).handle_line(initial),
            None if mechanism == Mechanism::Login => awaited.asked_for(b"Username:"),
            None => awaited.asked_for(b""),
        }
    }

    /// Take a line of the client, without its CRLF.
    pub fn handle_line(self, line: &[u8]) -> Next {
        if line == b"*" {
            return Next::Refused(Fault::Cancelled);
        }
        match decode(line) {
            Some(response) => self.0.take(&response),
            None => Next::Refused(Fault::NotBase64),
        }
    }
}

impl Awaited {
    fn asked_for(self, challenge: &[u8]) -> Next {
        Next::Challenge(encode(challenge), Exchange(self))
    }

    fn take(self, response: &[u8]) -> Next {
        let next = match self {
            Self::Plain => plain(response),
            Self::LoginName => Name::prepare(response)
                .map(|name| Self::LoginPassword(name).asked_for(b"Password:")),
            Self::LoginPassword(name) => {
                Password::prepare(response).map(|password| Next::Check(name, password))
            }
            Self::First(first) => first.take(response).map(Next::Lookup),
            Self::Proof(proof) => proof.take(response),
            Self::Final(last) => last.take(response),
        };
        next.unwrap_or_else(Next::Refused)
    }
}

/// `[authzid] NUL authcid NUL passwd` (RFC 4616 §2).
fn plain(message: &[u8]) -> Result<Next, Fault> {
    let mut parts = message.split(|octet| *octet == 0);
    let (Some(acts_as), Some(name), Some(password), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Fault::Malformed);
    };
    let name = Name::prepare(name)?;
    if !acts_as.is_empty() && Name::prepare(acts_as)? != name {
        return Err(Fault::ActsForOther);
    }
    Ok(Next::Check(name, Password::prepare(password)?))
}
