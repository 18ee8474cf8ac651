//! Append to a directory's log, commit in groups, and tell what is on stable storage.
//!
//! In: messages, states and ends to append; what came of the I/O. Out: I/O to be done
//! ([`Log::poll_io`]) and what it proved ([`Log::poll_event`]).
//! Invariant: only a group whose commit succeeded yields [`Accepted`]; a segment whose commit
//! failed is never written again. One commit is under way at most; all that is appended
//! meanwhile goes into the next.
//! Unit: octets. Lives on: the shard that owns the directory.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::base::ids::MessageId;
use crate::base::limits::COMMIT_FAILURES_MAX;
use crate::base::limits::{COMMIT_GROUP_MAX, COMMIT_PENDING_MAX, GATHERED_MAX, RECORD_CONTENT_MAX};
use crate::base::prng::Prng;
use crate::base::time::WallTime;
use crate::spool::format::{LogEnd, first_sequence};
use crate::spool::group::{Chunk, Group};
use crate::spool::live::Live;
use crate::spool::recovery::LogStart;
use crate::spool::segment::SegmentName;
use crate::spool::space::Space;
use crate::spool::stored::{EnvelopeAt, StateAt};

mod append;
mod commit;
mod moves;
mod read;
mod recovered;

use commit::InFlight;
use moves::Moves;

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
        /// It is for new messages: not to be made at the cost of the disk that is kept free.
        is_for_admission: bool,
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
        /// The oldest segment of the directory, or one of which the first commit failed.
        segment: SegmentName,
    },
}

/// What the log tells the shard.
#[derive(Debug)]
pub enum LogEvent {
    /// The message is on stable storage: answer 250.
    Accepted(Accepted),
    /// The message could not be committed, nothing is kept of it. A DSN: append it again later.
    /// One that was answered from memory: `append_again`, until it is accepted.
    Refused {
        /// The message.
        id: MessageId,
        /// What to answer.
        why: Refusal,
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

/// Why a message that was appended is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The commit of some of it failed: 451 4.3.0.
    Failed,
    /// The disk filled up meanwhile: 452 4.3.1.
    Full,
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
    /// Commits fail one after another: 451 4.3.0.
    #[error("the spool's disk does not work")]
    Failing,
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
    /// No space but the reserve: 452 4.3.1.
    Full,
    /// Commits fail one after another: 451 4.3.0.
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
    pub due: WallTime,
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

/// Content of a message whose envelope is still to come.
#[derive(Debug, Default)]
struct Transaction {
    chunks: Vec<Chunk>,
    /// Some of it will not reach the disk.
    lost: Option<Refusal>,
}

impl Transaction {
    fn lose(&mut self, why: Refusal) {
        self.lost.get_or_insert(why);
        self.chunks.clear();
    }
}

/// The log of one spool directory.
#[derive(Debug)]
pub struct Log {
    directory: u16,
    epoch: u32,
    identity: u64,
    options: Options,
    prng: Prng,
    /// Of the next message in this epoch.
    counter: u64,
    /// Of the next record.
    sequence: u64,
    /// Of the next group.
    serial: u64,
    space: Space,
    live: Live,
    moves: Moves,
    transactions: HashMap<MessageId, Transaction>,
    /// What waits for the commit under way; the last one is still being filled.
    queue: VecDeque<Group>,
    in_flight: Option<InFlight>,
    /// How far this run's commits succeeded.
    committed: LogEnd,
    events: VecDeque<LogEvent>,
    /// This run's epoch is on disk.
    is_open: bool,
    failures_in_a_row: u32,
    /// Segments of which the first commit failed, to be removed.
    spoiled: Vec<u32>,
    /// Nothing is written until `retry`.
    is_paused: bool,
    /// Segments up to this one are to be emptied, and no other is removed.
    evacuated: Option<u32>,
    /// What earlier runs left is not all known yet: nothing is moved and nothing removed.
    is_recovering: bool,
    /// Where payloads are encoded.
    scratch: Vec<u8>,
    counters: Stats,
}

/// Below this a segment is all header and alignment.
const SEGMENT_BYTES_MIN: u32 = 32 * 1024;

impl Log {
    /// Go on from what `recover` found. `prng` names segments so that no old record and no content
    /// can be taken for a record of theirs: seed it from the kernel.
    ///
    /// Panics when `segment_bytes` is below 32 KiB or no multiple of 4,096.
    pub fn new(start: LogStart, options: Options, mut prng: Prng) -> Self {
        let bytes = options.segment_bytes;
        assert!(bytes >= SEGMENT_BYTES_MIN && bytes.is_multiple_of(4_096), "segments of {bytes}");
        let identity = start.identity.unwrap_or_else(|| prng.next_u64());
        let reserve = if options.admits { options.reserve } else { 0 };
        let space = Space::new(bytes, reserve, start.files, start.next_number);
        let mut log = Self {
            directory: start.directory,
            epoch: start.epoch,
            identity,
            options,
            prng,
            counter: 0,
            sequence: first_sequence(start.epoch),
            serial: 0,
            space,
            live: start.live,
            moves: Moves::default(),
            transactions: HashMap::new(),
            queue: VecDeque::new(),
            in_flight: None,
            committed: LogEnd::default(),
            events: VecDeque::new(),
            is_open: false,
            failures_in_a_row: 0,
            spoiled: Vec::new(),
            is_paused: false,
            evacuated: None,
            is_recovering: start.is_partial,
            scratch: Vec::new(),
            counters: Stats::default(),
        };
        log.ask_moves();
        log
    }

    /// A name for a message to come; never given before in this directory. Not to be told to
    /// anyone while `room` says `Opening`.
    pub fn next_id(&mut self) -> MessageId {
        let id = MessageId::new(self.directory, self.epoch, self.counter);
        self.counter += 1;
        id
    }

    /// Whether something failed for want of space or by I/O errors that `retry` would try again.
    pub fn wants_retry(&self) -> bool {
        self.is_paused || self.space.is_stuck()
    }

    /// Try again what failed: once a second while `wants_retry`. No effect otherwise.
    pub fn retry(&mut self) {
        self.space.retry();
        self.is_paused = false;
    }

    /// The next thing that is known, until `None`. Act on it before the next call into the log.
    pub fn poll_event(&mut self) -> Option<LogEvent> {
        let event = self.events.pop_front()?;
        if let LogEvent::Moved { id, .. } = &event {
            self.moves.told(*id);
        }
        Some(event)
    }

    /// Whether new messages may be admitted.
    pub fn room(&self) -> Room {
        if !self.options.admits {
            return Room::Closed;
        }
        if self.failures_in_a_row >= COMMIT_FAILURES_MAX {
            return Room::Failing;
        }
        let typical = self.options.segment_bytes / 8;
        match self.admit(u64::from(typical).min(RECORD_CONTENT_MAX as u64)) {
            Err(LogError::Busy) => Room::Busy,
            Err(_) => Room::Full,
            Ok(()) if self.is_open => Room::Open,
            Ok(()) => Room::Opening,
        }
    }

    /// Whether all that was appended is committed and told: a drain may end.
    pub fn is_idle(&self) -> bool {
        let nothing_waits = self.queue.iter().all(Group::is_empty);
        nothing_waits && self.in_flight.is_none() && self.events.is_empty()
    }

    /// Whether all that waits for a commit is outcomes and the like, for which no client waits:
    /// more of them may come before it begins. Full groups are not kept waiting.
    pub fn is_patient(&self) -> bool {
        self.only_group().is_some_and(|group| !group.is_awaited)
    }

    /// Whether clients' messages wait for a commit, which others that are about to come could join.
    pub fn is_gathering(&self) -> bool {
        let few = |group: &Group| group.bytes() <= GATHERED_MAX;
        self.only_group().is_some_and(|group| group.is_awaited && few(group))
    }

    /// The group that could be committed now, if no other waits behind it.
    fn only_group(&self) -> Option<&Group> {
        let works = self.is_open && self.failures_in_a_row == 0 && self.evacuated.is_none();
        let only = works && self.in_flight.is_none() && self.queue.len() == 1;
        self.queue.front().filter(|group| only && !group.is_empty())
    }

    /// Whether the last commit failed.
    pub fn is_failing(&self) -> bool {
        self.failures_in_a_row > 0
    }

    /// Figures for `/metrics`.
    pub fn stats(&self) -> Stats {
        Stats {
            live_bytes: self.live.bytes(),
            live_messages: self.live.messages(),
            disk_bytes: self.space.disk_bytes(),
            segments: self.space.segments() as u64,
            pending_bytes: self.pending_bytes(),
            ..self.counters
        }
    }

    fn name(&self, number: u32) -> SegmentName {
        SegmentName { directory: self.directory, number }
    }

    /// Octets that wait to be written, and those being written.
    pub fn pending_bytes(&self) -> u64 {
        let flying = self.in_flight.as_ref().map(|flight| &flight.group);
        self.queue.iter().chain(flying).map(|group| u64::from(group.bytes())).sum()
    }

    /// Octets that a group may have.
    fn group_max(&self) -> u32 {
        let most = u32::try_from(COMMIT_GROUP_MAX).expect("a limit of 4 MiB");
        self.space.group_max().min(most)
    }

    /// Whether `bytes` more may come in from clients.
    fn admit(&self, bytes: u64) -> Result<(), LogError> {
        let is_busy = self.pending_bytes() + bytes > COMMIT_PENDING_MAX as u64;
        match self.has_room(bytes) {
            Err(LogError::Failing) => Err(LogError::Failing),
            _ if is_busy => Err(LogError::Busy),
            other => other,
        }
    }

    /// Whether the disk works and takes `bytes` more from clients, however much waits for it.
    fn has_room(&self, bytes: u64) -> Result<(), LogError> {
        if self.failures_in_a_row >= COMMIT_FAILURES_MAX {
            return Err(LogError::Failing);
        }
        if !self.space.is_full() {
            return Ok(());
        }
        let waiting: u64 = self.queue.iter().map(|group| u64::from(group.bytes())).sum();
        // What is left at the end of a segment, because the next group is larger, is lost: so a
        // group's worth must be left over.
        let needed =
            waiting + bytes + u64::from(self.group_max().min(self.options.segment_bytes / 4));
        if needed > self.space.admissible() { Err(LogError::Full) } else { Ok(()) }
    }
}
