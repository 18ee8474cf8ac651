//! Read a directory's segments after a start and say what is in the queue.

use std::sync::Arc;

use crate::base::ids::MessageId;
use crate::base::time::WallTime;
use crate::mail::address::Domain;
use crate::spool::segment::{SegmentBytes, SegmentName};
use crate::spool::stored::{EnvelopeAt, StateAt};

/// Octets that are not what they were when they were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{segment} at {offset}, {bytes} octets: {fault}")]
pub struct Damage {
    /// Where.
    pub segment: SegmentName,
    /// The first octet.
    pub offset: u32,
    /// How many.
    pub bytes: u32,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with damaged octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A segment's header block.
    #[error("the segment's header is invalid")]
    Header,
    /// A segment of another spool, or of another directory.
    #[error("the segment belongs to another spool directory")]
    Foreign,
    /// The head of a commit group.
    #[error("a commit group's header is invalid")]
    Group,
    /// A record.
    #[error("a record is invalid")]
    Record,
    /// A message's content.
    #[error("the content of message {0} is invalid")]
    Content(MessageId),
}

/// Why a directory cannot be opened at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoverError {
    /// Written by another version of the relay.
    #[error("{segment}: format {found} is not known to this version")]
    Version {
        /// The segment.
        segment: SegmentName,
        /// Its version.
        found: u32,
    },
    /// Segment numbers or directory epochs are used up.
    #[error("spool directory {directory:03} was opened too often: start with an empty one")]
    Spent {
        /// The directory.
        directory: u16,
    },
}

/// What `recover` found.
#[derive(Debug)]
pub struct Recovered {
    /// Every message that is not done, in order of its record.
    pub messages: Vec<RecoveredMessage>,
    /// Damage in what was committed: to be reported as an error. At most `DAMAGE_MAX`.
    pub damage: Vec<Damage>,
    /// What a commit that never ended left behind: harmless, nothing of it was acknowledged. At
    /// most `DAMAGE_MAX`.
    pub torn: Vec<Damage>,
    /// What the log goes on from.
    pub start: LogStart,
}

/// A message of the queue.
#[derive(Debug)]
pub struct RecoveredMessage {
    /// Its name.
    pub id: MessageId,
    /// Where its record is.
    pub at: EnvelopeAt,
    /// When it was received.
    pub received: WallTime,
    /// Octets of the message as it is sent.
    pub bytes: u64,
    /// The recipients that are not final, in the envelope's order; at least one.
    pub pending: Vec<PendingRecipient>,
}

/// A recipient that is not final.
#[derive(Debug)]
pub struct PendingRecipient {
    /// Its place in the envelope.
    pub recipient: u16,
    /// Where it goes; `None` for the domainless `<Postmaster>`.
    pub domain: Option<Domain>,
    /// Attempts made.
    pub attempts: u32,
    /// When the next one is due; when it was received, if none was made.
    pub due: WallTime,
    /// An operator holds it.
    pub held: bool,
    /// Where its last state is; `None` if it has none yet.
    pub last: Option<StateAt>,
}

/// What a log goes on from: made by `recover` alone.
#[derive(Debug)]
pub struct LogStart {}

/// Read all segments of `directory`, empty and foreign ones included, in any order. They must have
/// been synced since they were opened: what a power cut could still take back must not be trusted.
pub fn recover(
    directory: u16,
    segments: &[(u32, Arc<dyn SegmentBytes>)],
) -> Result<Recovered, RecoverError> {
    let _ = (directory, segments);
    unimplemented!()
}
