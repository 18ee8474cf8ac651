//! What the queue keeps in RAM of a message and of each of its recipients, and no more.
//!
//! Addresses, headers and replies stay in the spool; the queue holds where they are. A message with
//! one recipient costs 110 bytes here: a [`Message`] row, an [`Entry`] row, its share of the index
//! by id (`tests.rs` adds it up). What differs by destination domain is held once for each domain
//! (`domains.rs`).
//!
//! Unit: times are those of the queue's own clock (`clock.rs`), due times whole seconds of it; a
//! time between two is moved to the later one.

use std::num::NonZeroU32;

use crate::base::ids::MessageId;
use crate::base::time::WallTime;
use crate::mail::handling::Handling;
use crate::queue::clock::Clock;
use crate::queue::list::{Links, NONE};
use crate::queue::table::{Named, Table};
use crate::queue::tag::Tag;

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
    /// How its sender wants it handled: whose turn is its turn.
    pub handling: Option<Box<Handling>>,
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
    /// The record with the last reply, in the spool directory of its message.
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

/// A message's row. 64 bytes, and no more.
#[derive(Debug)]
pub(super) struct Message {
    id: Halves,
    reverse_path: Halves,
    /// Seconds of the own clock.
    pub(super) received: u32,
    segment: NonZeroU32,
    offset: u32,
    bytes: u32,
    pub(super) content_bytes: u32,
    /// The entry before the one that was asked for last, in the ring of the message's entries.
    pub(super) cursor: u32,
    /// Whose it is (`flows.rs`), or `NONE`.
    pub(super) flow: u32,
    /// The next one in its bucket of the index by id, or `NONE`.
    pub(super) same_bucket: u32,
    /// Its place among the messages that were received in the same second.
    age: Links,
    generation: u32,
    /// The spool directory, of which there are fewer than 1,024, and four flags.
    log_and_flags: u16,
    /// Recipients that are not final.
    pub(super) remaining: u16,
}

/// A recipient's row. 44 bytes, and no more.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) message: u32,
    pub(super) domain: u32,
    /// The next entry of the same message, in a ring.
    pub(super) sibling: u32,
    /// Seconds of the own clock.
    pub(super) due: u32,
    /// Where the last reply is in the message's spool directory; segment 0 for none.
    reason_segment: u32,
    reason_offset: u32,
    /// Ready and first of its run: its place in the domain's line. Otherwise, unless it is ready:
    /// its place in the domain's list of those that are not.
    lane: Links,
    /// Ready: the ring of its run. Deferred: its place among those that are due in the same second.
    chain: Links,
    pub(super) tag: Tag,
}

/// 64 bits that may stand at any word: a row of whole words takes no more than they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Halves([u32; 2]);

impl From<u64> for Halves {
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of the number")]
    fn from(whole: u64) -> Self {
        Self([whole as u32, (whole >> 32) as u32])
    }
}

impl From<Halves> for u64 {
    fn from(Halves([low, high]): Halves) -> Self {
        Self::from(high) << 32 | Self::from(low)
    }
}

// The budget of 128 bytes a recipient stands on these two.
const _: () = assert!(Table::<Message>::ROW_BYTES == 64);
const _: () = assert!(Table::<Entry>::ROW_BYTES == 44);

const DELAY_REPORTED: u16 = 1 << 14;
const EXPIRED: u16 = 1 << 15;
const LAST_ATTEMPT: u16 = 1 << 13;
const OWN_END: u16 = 1 << 12;
const FLAGS: u16 = DELAY_REPORTED | EXPIRED | LAST_ATTEMPT | OWN_END;

impl Message {
    /// `clock` tells the own time of what is received.
    pub(super) fn new<H>(message: &NewMessage<H>, generation: u32, clock: Clock) -> Self {
        let mut row = Self {
            id: message.id.0.into(),
            received: to_seconds(clock.own(message.received)),
            reverse_path: message.reverse_path.into(),
            segment: NonZeroU32::MIN,
            offset: 0,
            bytes: 0,
            content_bytes: u32::try_from(message.content_bytes).unwrap_or(u32::MAX),
            cursor: NONE,
            flow: NONE,
            same_bucket: NONE,
            age: Links::default(),
            generation,
            log_and_flags: 0,
            remaining: 0,
        };
        row.lies_at(message.envelope);
        row.set(DELAY_REPORTED, message.delay_reported);
        row.set(LAST_ATTEMPT, message.last_attempt);
        row
    }

    pub(super) fn id(&self) -> MessageId {
        MessageId(self.id.into())
    }

    pub(super) fn reverse_path(&self) -> u64 {
        self.reverse_path.into()
    }

    pub(super) fn log(&self) -> u16 {
        self.log_and_flags & !FLAGS
    }

    pub(super) fn delay_reported(&self) -> bool {
        self.log_and_flags & DELAY_REPORTED != 0
    }

    pub(super) fn tell_delay_reported(&mut self) {
        self.set(DELAY_REPORTED, true);
    }

    /// Its lifetime is over; its recipients are the shard's to finish.
    pub(super) fn expired(&self) -> bool {
        self.log_and_flags & EXPIRED != 0
    }

    pub(super) fn expire(&mut self) {
        self.set(EXPIRED, true);
    }

    /// The next attempt of each of its recipients is its last.
    pub(super) fn last_attempt(&self) -> bool {
        self.log_and_flags & LAST_ATTEMPT != 0
    }

    /// Its lifetime is not the node's: `ends.rs` knows when it is over.
    pub(super) fn has_own_end(&self) -> bool {
        self.log_and_flags & OWN_END != 0
    }

    pub(super) fn set_own_end(&mut self) {
        self.set(OWN_END, true);
    }

    fn set(&mut self, flag: u16, value: bool) {
        self.log_and_flags = self.log_and_flags & !flag | if value { flag } else { 0 };
    }

    pub(super) fn envelope(&self) -> EnvelopeAt {
        let (log, segment, offset) = (self.log(), self.segment.get(), self.offset);
        EnvelopeAt { record: RecordAt { log, segment, offset }, bytes: self.bytes }
    }

    /// Its envelope lies here.
    pub(super) fn lies_at(&mut self, envelope: EnvelopeAt) {
        let EnvelopeAt { record: RecordAt { log, segment, offset }, bytes } = envelope;
        assert!(log & FLAGS == 0, "spool directory {log}");
        self.log_and_flags = self.log_and_flags & FLAGS | log;
        self.segment = NonZeroU32::new(segment).expect("segments are numbered from 1");
        (self.offset, self.bytes) = (offset, bytes);
    }

    pub(super) fn age(&mut self) -> &mut Links {
        &mut self.age
    }
}

impl Named for Message {
    fn generation(&self) -> u32 {
        self.generation
    }
}

impl Entry {
    /// `due` in own time.
    pub(super) fn new(
        message: u32,
        domain: u32,
        index: u16,
        due: WallTime,
        state: &RecipientState,
    ) -> Self {
        let mut entry = Self {
            message,
            domain,
            sibling: NONE,
            due: to_seconds(due),
            reason_segment: 0,
            reason_offset: 0,
            lane: Links::default(),
            chain: Links::default(),
            tag: Tag::new(index, state.attempts),
        };
        entry.set_reason(state.reason_at);
        entry
    }

    pub(super) fn state(&self) -> State {
        self.tag.state()
    }

    /// Where the last reply is, of a message in spool directory `log`.
    pub(super) fn reason_at(&self, log: u16) -> Option<RecordAt> {
        let (segment, offset) = (self.reason_segment, self.reason_offset);
        (segment != 0).then_some(RecordAt { log, segment, offset })
    }

    pub(super) fn set_reason(&mut self, reason_at: Option<RecordAt>) {
        let at = reason_at.map_or((0, 0), |at| (at.segment, at.offset));
        (self.reason_segment, self.reason_offset) = at;
    }

    pub(super) fn lane(&mut self) -> &mut Links {
        &mut self.lane
    }

    pub(super) fn lane_next(&self) -> u32 {
        self.lane.next
    }

    pub(super) fn chain(&mut self) -> &mut Links {
        &mut self.chain
    }

    pub(super) fn chain_next(&self) -> u32 {
        self.chain.next
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
