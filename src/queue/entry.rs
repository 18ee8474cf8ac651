//! What the queue keeps in RAM of a message and of each of its recipients, and no more.
//!
//! Addresses, headers and replies stay in the spool; the queue holds where they are. A message with
//! one recipient costs 128 bytes all in: a [`Message`] row, an [`Entry`] row, its share of the
//! index by id (`tests` in `mod.rs` adds it up). What differs by destination domain is held once
//! for each domain (`domains.rs`).
//!
//! Unit: times are those of the queue's own clock (`clock.rs`), due times whole seconds of it; a
//! time between two is moved to the later one.

use crate::base::ids::MessageId;
use crate::base::time::WallTime;
use crate::queue::list::Links;

/// Where a record of the spool is; opaque to the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecordAt {
    /// The spool directory.
    pub log: u16,
    /// The segment in it; never 0.
    pub segment: u32,
    /// The record's first octet.
    pub offset: u32,
}

/// Where a message's envelope is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EnvelopeAt {
    /// Its record.
    pub record: RecordAt,
    /// Octets of the record.
    pub bytes: u32,
}

/// A message as it enters the queue: just committed, or found by recovery.
#[derive(Clone, Debug)]
pub struct NewMessage<H> {
    /// Its name for life.
    pub id: MessageId,
    /// Where its envelope is.
    pub envelope: EnvelopeAt,
    /// When it was accepted; its lifetime counts from here.
    pub received: WallTime,
    /// Whether a delay report has been sent already.
    pub delay_reported: bool,
    /// Its recipients have one more attempt each, whatever is left of its lifetime.
    pub last_attempt: bool,
    /// A hash of the reverse-path, by which operators select.
    pub reverse_path: u64,
    /// Octets of content, for people; more than `u32::MAX` counts as `u32::MAX`.
    pub content_bytes: u64,
    /// The message in RAM and its octets there, for the first attempt.
    pub hot: Option<(H, usize)>,
}

/// How far one recipient has come, as the spool remembers it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecipientState {
    /// Attempts made.
    pub attempts: u16,
    /// When to try next; past or zero: at once.
    pub due: WallTime,
    /// Held by an operator: not tried until released.
    pub held: bool,
    /// The record with the last reply.
    pub reason_at: Option<RecordAt>,
}

/// Where a recipient waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// For its turn, in the line of its domain.
    Ready,
    /// For the shard: it was handed out and is to come back by `defer`, `park` or `finish`.
    Dispatched,
    /// For its due time.
    Deferred,
    /// For an operator.
    Held,
}

/// A message's row. 64 bytes, and no more: `Table` adds four.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) id: MessageId,
    pub(super) received: WallTime,
    pub(super) reverse_path: u64,
    pub(super) segment: u32,
    pub(super) offset: u32,
    pub(super) bytes: u32,
    pub(super) content_bytes: u32,
    /// The entry before the one that was asked for last, in the ring of the message's entries.
    pub(super) cursor: u32,
    /// Its place among the hot ones, or `NONE`.
    pub(super) hot: u32,
    /// Its place among the messages that were received in the same second.
    pub(super) age: Links,
    pub(super) log: u16,
    /// Recipients that are not final.
    pub(super) remaining: u16,
    pub(super) delay_reported: bool,
    /// Its lifetime is over; its recipients are the shard's to finish.
    pub(super) expired: bool,
    /// The next attempt of each recipient is its last.
    pub(super) last_attempt: bool,
}

/// A recipient's row. 48 bytes, and no more.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) message: u32,
    pub(super) domain: u32,
    /// The next entry of the same message, in a ring.
    pub(super) sibling: u32,
    /// Seconds of the own clock.
    pub(super) due: u32,
    pub(super) reason_segment: u32,
    pub(super) reason_offset: u32,
    /// Ready and first of its run: its place in the domain's line. Otherwise, unless it is ready:
    /// its place in the domain's list of those that are not.
    pub(super) lane: Links,
    /// Ready: the ring of its run. Deferred: its place among those that are due in the same second.
    pub(super) chain: Links,
    /// The recipient's place in the envelope.
    pub(super) index: u16,
    pub(super) attempts: u16,
    pub(super) reason_log: u16,
    pub(super) state: State,
    pub(super) marks: Marks,
}

/// What is remembered of a ready or dispatched entry beside its state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks(u8);

impl Marks {
    /// Ready, and first of its run.
    pub(super) const HEAD: Self = Self(1);
    /// Dispatched; an operator wants it held when it comes back.
    pub(super) const HOLD: Self = Self(2);
    /// Dispatched; an operator wants it gone when it comes back.
    pub(super) const REMOVE: Self = Self(4);

    pub(super) fn has(self, mark: Self) -> bool {
        self.0 & mark.0 != 0
    }

    pub(super) fn set(&mut self, mark: Self) {
        self.0 |= mark.0;
    }

    pub(super) fn clear(&mut self, mark: Self) {
        self.0 &= !mark.0;
    }
}

// The budget of 128 bytes a recipient stands on these two.
const _: () = assert!(size_of::<Option<Message>>() == 64);
const _: () = assert!(size_of::<Option<Entry>>() == 48);

impl Message {
    pub(super) fn envelope(&self) -> EnvelopeAt {
        let record = RecordAt { log: self.log, segment: self.segment, offset: self.offset };
        EnvelopeAt { record, bytes: self.bytes }
    }

    pub(super) fn age(&mut self) -> &mut Links {
        &mut self.age
    }
}

impl Entry {
    pub(super) fn reason_at(&self) -> Option<RecordAt> {
        let (log, segment, offset) = (self.reason_log, self.reason_segment, self.reason_offset);
        (segment != 0).then_some(RecordAt { log, segment, offset })
    }

    pub(super) fn set_reason(&mut self, reason_at: Option<RecordAt>) {
        let none = RecordAt { log: 0, segment: 0, offset: 0 };
        let at = reason_at.unwrap_or(none);
        (self.reason_log, self.reason_segment, self.reason_offset) =
            (at.log, at.segment, at.offset);
    }

    pub(super) fn lane(&mut self) -> &mut Links {
        &mut self.lane
    }

    pub(super) fn chain(&mut self) -> &mut Links {
        &mut self.chain
    }
}

/// The first whole second at or after `time`.
pub(super) fn to_seconds(time: WallTime) -> u32 {
    let seconds = time.0.max(0).div_euclid(1_000) + i64::from(time.0.max(0) % 1_000 != 0);
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

/// The second as a time.
pub(super) fn from_seconds(seconds: u32) -> WallTime {
    WallTime(i64::from(seconds) * 1_000)
}
