//! Floor 2: the mail filter protocol of sendmail (milter), version 6, as the one who asks.
//!
//! ```text
//! Letter ─► Client (negotiate · connect · helo · mail · rcpt · data · header · eoh · body · end)
//!              └─► Opinion: accept, refuse or discard, and the changes that the milter asks for
//! ```
//! There is no RFC: what holds is `libmilter/mfdef.h` of sendmail and what its `engine.c` does. All
//! numbers are in network order; a packet is its length, then an octet that says what it is, then
//! data. The version, and which steps the milter wants to see or to answer, are agreed on first.

mod address;
mod changes;
mod client;
mod flags;
mod letter;
mod packet;
mod reply;
#[cfg(test)]
mod tests;

pub use address::{Address, NoAddress};
pub use changes::{Change, Changes};
pub use client::{Client, Event, Fit, Options};
pub use letter::{Body, Field, Letter, Visitor};
pub use reply::{Opinion, Verdict};

/// Where in its conversation a milter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The options are being agreed on.
    Negotiation,
    /// Who the client is.
    Connect,
    /// EHLO or HELO.
    Hello,
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
    /// DATA.
    Data,
    /// One field of the header section.
    Header,
    /// The end of the header section.
    EndOfHeader,
    /// A chunk of the body.
    Body,
    /// The end of the message.
    End,
}

/// Why a milter has no opinion: it, or the way to it, is broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No connection came about, or it broke.
    #[error("{0}")]
    Lost(Box<str>),
    /// It took too long.
    #[error("no answer in time ({0:?})")]
    TimedOut(Stage),
    /// What it said is not the protocol.
    #[error("broken protocol: {0} ({1:?})")]
    Protocol(&'static str, Stage),
}
