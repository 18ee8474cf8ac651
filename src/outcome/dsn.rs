//! Tell the reverse-path what became of its mail (RFC 3461, 3464, 6522, 6533).
//!
//! In: plain data about a message and some of its recipients. Out: a message about it, and its
//! envelope, which has the null reverse-path. Unit: `original_bytes` counts octets of content.

use crate::base::ids::MessageId;
use crate::base::time::WallTime;
use crate::mail::envelope::{Envelope, Recipient};
use crate::mail::outcome::Reason;

/// What is reported (RFC 3464 §2.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Given up.
    Failed,
    /// Not delivered yet; still being tried.
    Delayed,
    /// Handed to a host that will not report on it.
    Relayed,
    /// Delivered.
    Delivered,
}

/// A recipient that is reported on.
#[derive(Clone, Copy, Debug)]
pub struct DsnRecipient<'a> {
    /// Of the envelope.
    pub recipient: &'a Recipient,
    /// What the last attempt came to.
    pub reason: &'a Reason,
    /// When that was.
    pub attempted: WallTime,
}

/// Everything that a DSN is made of.
#[derive(Clone, Copy, Debug)]
pub struct DsnRequest<'a> {
    /// The same for all `recipients`.
    pub action: Action,
    /// This node's name: reporting MTA, and the domain that the DSN comes from.
    pub hostname: &'a str,
    /// The DSN's own id.
    pub id: MessageId,
    /// The id of the message that it is about.
    pub original_id: MessageId,
    /// The envelope of the message that it is about; its reverse-path is not null.
    pub envelope: &'a Envelope,
    /// At least one.
    pub recipients: &'a [DsnRecipient<'a>],
    /// The content's beginning: the header, better all of it, at most `DSN_ORIGINAL_MAX` is used.
    pub original: &'a [u8],
    /// Octets of the whole content.
    pub original_bytes: u64,
    /// When the message came in.
    pub arrival: WallTime,
    /// When the DSN is written.
    pub now: WallTime,
    /// When the queue lifetime ends.
    pub expires: WallTime,
}

/// A DSN, ready for the spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dsn {
    /// From the null reverse-path to the original's reverse-path.
    pub envelope: Envelope,
    /// Header and body, CRLF only.
    pub content: Vec<u8>,
}

/// Whether the reverse-path of `envelope` is to be told of `action` for `recipient`.
pub fn due(envelope: &Envelope, recipient: &Recipient, action: Action) -> bool {
    !envelope.reverse_path.is_null()
        && match action {
            Action::Failed => recipient.notify.on_failure(),
            Action::Delayed => recipient.notify.on_delay(),
            Action::Relayed | Action::Delivered => recipient.notify.on_success(),
        }
}

/// Write the DSN.
pub fn compose(request: &DsnRequest<'_>) -> Dsn {
    Dsn { envelope: request.envelope.clone(), content: Vec::new() }
}
