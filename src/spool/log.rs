//! Append to a directory's log, commit in groups, and tell what is on stable storage.
//!
//! In: messages, states and ends to append; what came of the I/O. Out: I/O to be done
//! ([`Log::poll_io`]) and what it proved ([`Log::poll_event`]).
//! Invariant: only a group whose commit succeeded yields [`Accepted`]; a segment whose commit
//! failed is never written again. One commit is under way at most; all that is appended
//! meanwhile goes into the next.
//! Unit: octets. Lives on: the shard that owns the directory.

use std::sync::Arc;

use crate::base::ids::MessageId;
use crate::base::prng::Prng;
use crate::spool::recovery::{Damage, LogStart};
use crate::spool::segment::{SegmentBytes, SegmentName};
use crate::spool::stored::{EnvelopeAt, NewMessage, RecipientState, Span, StateAt, Stored};

/// How a log is to be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Octets of each new segment file.
    pub segment_bytes: u32,
    /// Prepared segments that are kept back for outcomes and DSNs.
    pub reserve: u32,
    /// New messages are appended here. Otherwise (a directory adopted after `--cores` shrank)
    /// segments are made only once an outcome must be appended, and `room` is `Closed`.
    pub admits: bool,
}

/// Proof that a message is on stable storage. Private fields: only the spool can make one.
#[derive(Debug)]
pub struct Accepted {
    id: MessageId,
    at: EnvelopeAt,
}

impl Accepted {
    /// The message.
    pub fn id(&self) -> MessageId {
        self.id
    }

    /// Where its record is.
    pub fn at(&self) -> EnvelopeAt {
        self.at
    }
}

/// What the log asks of the disk.
#[derive(Debug)]
pub enum Io {
    /// Preallocate and sync a file and its directory; `handle_segment_ready` when done.
    Create {
        /// A name that was not used before.
        segment: SegmentName,
        /// Octets of the file.
        bytes: u32,
    },
    /// Write the buffers one after another at `offset`, then sync; `handle_committed` when done.
    Commit {
        /// One that is ready.
        segment: SegmentName,
        /// The first octet written; a multiple of `GROUP_ALIGN`, or 0.
        offset: u32,
        /// At most `COMMIT_BUFFERS_MAX`.
        buffers: Vec<Arc<Vec<u8>>>,
    },
    /// Nothing in the segment is live: take the file away. No answer.
    Remove {
        /// The oldest segment of the directory.
        segment: SegmentName,
    },
}

/// What the log tells the shard.
#[derive(Debug)]
pub enum LogEvent {
    /// The message is on stable storage: answer 250.
    Accepted(Accepted),
    /// The message's commit failed, nothing is kept of it: answer 451 4.3.0. A DSN: append it
    /// again later.
    Refused {
        /// The message.
        id: MessageId,
    },
    /// The state given to `append_state` is on stable storage, to be read at `at`.
    Noted {
        /// The message.
        id: MessageId,
        /// The recipient's place in the envelope.
        recipient: u16,
        /// Where, for `load_state`. Not given for final states.
        at: StateAt,
    },
    /// Move this message to the head of the log, so that its old segment becomes free: populate
    /// `Log::spans`, then call `append_move`; `append_done` if it cannot be read (damage), and
    /// nothing at all if its `append_done` was called before.
    Move {
        /// The message.
        id: MessageId,
        /// Where it is now.
        at: EnvelopeAt,
    },
    /// The message was moved; what the queue keeps of it changes so.
    Moved {
        /// The message.
        id: MessageId,
        /// Its new place.
        at: EnvelopeAt,
        /// Recipient and new place of each pending state that was given to `append_move` with a
        /// place.
        states: Vec<(u16, StateAt)>,
    },
    /// A commit failed: its messages are refused, its segment is sealed. Say so.
    Unhealthy {
        /// The segment that is sealed.
        segment: SegmentName,
        /// As in errno.h.
        errno: i32,
    },
    /// A commit succeeded after one that failed.
    Healthy,
}

/// Why an append was not taken. Nothing is kept of the message after any of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// No disk space but what is kept back for outcomes: 452 4.3.1.
    #[error("the spool's disk is full")]
    Full,
    /// `COMMIT_PENDING_MAX` octets wait for the disk already: 452 4.3.1.
    #[error("the spool's disk is too slow")]
    Busy,
    /// Larger than one record or one group can be: 552 5.3.4.
    #[error("too large for the spool")]
    TooLarge,
    /// The commit of an earlier part of the content failed: 451 4.3.0.
    #[error("a part of the content could not be stored")]
    Lost,
}

/// Whether new messages may be admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Not yet: this run's epoch is not on disk. Soon.
    Opening,
    /// Yes.
    Open,
    /// Too much waits for the disk: 452 4.3.1.
    Busy,
    /// No space but the reserve: 452 4.3.1. Call `retry` each second.
    Full,
    /// Commits fail one after another: 451 4.3.0. Call `retry` each second.
    Failing,
    /// Never: an adopted directory.
    Closed,
}

/// A message for `append_move`: one of its recipients that is still pending, as the queue has it.
/// Recipients that are not listed are final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MovedRecipient {
    /// The recipient's place in the envelope.
    pub recipient: u16,
    /// Attempts made.
    pub attempts: u32,
    /// When the next one is due.
    pub due: crate::base::time::WallTime,
    /// An operator holds it.
    pub held: bool,
    /// Where its last reason is, copied from there.
    pub last: Option<StateAt>,
}

/// Figures for `/metrics`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Octets of live messages on disk: records and content.
    pub live_bytes: u64,
    /// Messages that are live on disk.
    pub live_messages: u64,
    /// Octets of all segment files, prepared ones included.
    pub disk_bytes: u64,
    /// Segment files, prepared ones included.
    pub segments: u64,
    /// Octets appended and not yet committed.
    pub pending_bytes: u64,
    /// Groups committed in this run.
    pub groups: u64,
    /// Messages accepted in this run.
    pub accepted: u64,
    /// Messages moved in this run.
    pub moved: u64,
    /// Commits that failed in this run.
    pub failures: u64,
}

/// The log of one spool directory.
#[derive(Debug)]
pub struct Log {}

impl Log {
    /// Go on from what `recover` found. `prng` names segments so that no old record and no content
    /// can be taken for a record of theirs.
    pub fn new(start: LogStart, options: Options, prng: Prng) -> Self {
        let _ = (start, options, prng);
        unimplemented!()
    }

    /// A name for a message to come; never given before in this directory.
    pub fn next_id(&mut self) -> MessageId {
        unimplemented!()
    }

    /// Append a chunk of a message's content, at most `RECORD_CONTENT_MAX` octets. The log keeps
    /// the order; nothing refers to the chunk until `append_message`.
    pub fn append_content(&mut self, id: MessageId, content: Vec<u8>) -> Result<(), LogError> {
        let _ = (id, content);
        unimplemented!()
    }

    /// Append a message's last chunk and its envelope: `Accepted` or `Refused` follows. What comes
    /// back serves first attempts from RAM (chunks that are committed already: from the map).
    pub fn append_message(&mut self, message: NewMessage) -> Result<Arc<Stored>, LogError> {
        let _ = message;
        unimplemented!()
    }

    /// Forget the chunks of a transaction that came to nothing.
    pub fn abandon(&mut self, id: MessageId) {
        let _ = id;
        unimplemented!()
    }

    /// Append how a recipient stands now; `Noted` follows for a pending one. For a bounced one only
    /// after its DSN was accepted, or both may be lost.
    pub fn append_state(&mut self, id: MessageId, state: &RecipientState) {
        let _ = (id, state);
        unimplemented!()
    }

    /// Append the end of a message: every recipient is final (states of the last ones need not be
    /// appended). `at` is where it was accepted, recovered or last moved.
    pub fn append_done(&mut self, id: MessageId, at: EnvelopeAt) {
        let _ = (id, at);
        unimplemented!()
    }

    /// Append a copy of a message with its states, as `LogEvent::Move` asked; the old copy's octets
    /// are read here, so populate them first. On an error end the message with `append_done`.
    pub fn append_move(
        &mut self,
        id: MessageId,
        at: EnvelopeAt,
        pending: &[MovedRecipient],
    ) -> Result<(), Damage> {
        let _ = (id, at, pending);
        unimplemented!()
    }

    /// The next thing to ask of the disk, until `None`.
    pub fn poll_io(&mut self) -> Option<Io> {
        unimplemented!()
    }

    /// A `Create` came to its end: the map of the new file, or errno.
    pub fn handle_segment_ready(
        &mut self,
        segment: SegmentName,
        result: Result<Arc<dyn SegmentBytes>, i32>,
    ) {
        let _ = (segment, result);
        unimplemented!()
    }

    /// A `Commit` came to its end: all its octets are on stable storage, or errno.
    pub fn handle_committed(&mut self, segment: SegmentName, result: Result<(), i32>) {
        let _ = (segment, result);
        unimplemented!()
    }

    /// Try again what failed for want of space or by I/O errors: once a second while `room` says
    /// `Full` or `Failing`.
    pub fn retry(&mut self) {
        unimplemented!()
    }

    /// The next thing that is known, until `None`.
    pub fn poll_event(&mut self) -> Option<LogEvent> {
        unimplemented!()
    }

    /// The octets that `load` and `append_move` will read, content included. Reads the record
    /// itself: populate `at` first.
    pub fn spans(&self, id: MessageId, at: EnvelopeAt) -> Result<Vec<Span>, Damage> {
        let _ = (id, at);
        unimplemented!()
    }

    /// A cold message from the map, record and content verified. Populate `spans` first.
    pub fn load(&self, id: MessageId, at: EnvelopeAt) -> Result<Stored, Damage> {
        let _ = (id, at);
        unimplemented!()
    }

    /// A recipient's last state, for `queue show`, events and DSNs.
    pub fn load_state(&self, at: StateAt) -> Result<RecipientState, Damage> {
        let _ = at;
        unimplemented!()
    }

    /// Whether new messages may be admitted.
    pub fn room(&self) -> Room {
        unimplemented!()
    }

    /// Whether all that was appended is committed: a drain may end.
    pub fn is_idle(&self) -> bool {
        unimplemented!()
    }

    /// Figures for `/metrics`.
    pub fn stats(&self) -> Stats {
        unimplemented!()
    }
}
