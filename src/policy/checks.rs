//! Check content by its form: the fields of its header section (RFC 5322 §3.6), and what its
//! attachments are called.
//!
//! In: content in pieces cut anywhere, [`Rules`]. Out: [`Fault`]s, the same wherever the pieces are
//! cut; the reply that refuses for them. Invariant: a few octets of work for each octet of content,
//! and one field and `CHECK_DEPTH_MAX` boundaries of memory, whatever comes. What cannot be looked
//! through is a fault. Lives on: the home shard, one a message.
//!
//! Parts are found as RFC 2046 has them, and where readers of mail differ, in every way that one of
//! them might: a name that some reader would show is seen. Of contents text alone is decoded, for
//! the domains of its URLs where block lists are asked about these; what is in an archive, or in a
//! part that calls itself something else, is for milters.

mod names;
mod parameters;
mod scan;
#[cfg(test)]
mod tests;
mod urls;

use std::collections::BTreeSet;
use std::fmt;

use crate::mail::status::Reply;
use crate::policy::reply;

pub use scan::ContentCheck;

/// What is done about a message with faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It is told.
    Log,
    /// It is refused.
    Reject,
}

/// What is not taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// The last extensions of attachments' names, without the dot, in lower case.
    pub types: BTreeSet<Box<str>>,
}

/// What is wrong with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A field that has to be there is not.
    Missing(&'static str),
    /// A field that may be there once is there again.
    Repeated(&'static str),
    /// A line of the header section is no field.
    NotAField,
    /// `From:` names nobody.
    NoAuthor,
    /// `From:` names several mailboxes, and no `Sender:` says which of them sent it.
    NoSender,
    /// A field that has to be read is longer than `CHECK_FIELD_MAX`.
    TooLong(&'static str),
    /// Multiparts within more than `CHECK_DEPTH_MAX` others.
    TooDeep,
    /// An attachment of this type.
    Attachment(Box<str>),
}

impl Fault {
    /// Whether it is against a type of attachment, not against a form.
    pub fn is_attachment(&self) -> bool {
        matches!(self, Self::Attachment(_))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(field) => write!(f, "{field}: is missing"),
            Self::Repeated(field) => write!(f, "more than one {field}:"),
            Self::NotAField => f.write_str("a line of the header section is no field"),
            Self::NoAuthor => f.write_str("From: names no address"),
            Self::NoSender => f.write_str("From: names several, and Sender: is missing"),
            Self::TooLong(field) => write!(f, "{field}: is too long"),
            Self::TooDeep => f.write_str("parts are nested too deep"),
            Self::Attachment(name) => write!(f, "attachments of type {name} are not taken here"),
        }
    }
}

/// All of them in a line.
pub fn told(faults: &[Fault]) -> String {
    faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("; ")
}

//= RFC 3463 §3.7
//# X.6.0 Other or undefined media error
//= RFC 3463 §3.8
//# X.7.1 Delivery not authorized, message refused
/// What the client of a message with these faults is told; `None` where there is none.
pub fn refusal(faults: &[Fault]) -> Option<Reply> {
    let first = faults.first()?;
    let status = if first.is_attachment() { (5, 7, 1) } else { (5, 6, 0) };
    Some(reply(550, status, &told(faults)))
}
