//! Walk through one segment: its groups, its records, and the holes between what is valid.
//!
//! In: a segment's octets and nonce. Out: everything valid in it, in order, contents skipped.
//! Invariant: each step is further into the segment; nothing invalid is given out as valid. After
//! a hole the walk goes on at the next valid record; a message's content, which could not know the
//! nonce, is never taken for one.

use memchr::memmem;

use crate::spool::format::{
    GROUP_RECORD_BYTES, GroupHead, NONCE_OFFSET, RECORD_ALIGN, Record, RecordKind,
    SEGMENT_HEADER_BYTES, group_start,
};
use crate::spool::index::Index;
use crate::spool::record::MessageView;
use crate::spool::record::state::StateBlock;
use crate::spool::recovery::Fault;

/// Something in a segment.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found<'a> {
    /// A commit group starts at this offset.
    Group { offset: u32, head: GroupHead },
    /// A valid record that is no Group.
    Record(Record<'a>),
    /// Octets that should be a group's head or a record, and are not. If a head: what follows,
    /// until the next `Group`, is of a group that is not known.
    Hole { offset: u32, bytes: u32, fault: Fault },
}

/// The walk through one segment.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    bytes: &'a [u8],
    limit: u32,
    number: u32,
    nonce: [u8; 8],
    /// Of the last valid record.
    sequence: u64,
    position: u32,
    place: Place,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// At the start of a group, or at the end.
    Between,
    /// Among the records of a group whose head ends here, and itself there.
    Head { end: u32, group_end: u32 },
    /// After a hole where a group should have started.
    Lost,
}

impl<'a> Scan<'a> {
    /// Walk segment `number` from its first group on.
    pub(super) fn new(bytes: &'a [u8], number: u32, nonce: u64) -> Self {
        // Positions are 32 bits wide with room to round up; no file of ours is that large.
        let limit = u32::try_from(bytes.len()).unwrap_or(u32::MAX).min(u32::MAX / 2);
        let (nonce, position) = (nonce.to_le_bytes(), SEGMENT_HEADER_BYTES);
        Self { bytes, limit, number, nonce, sequence: 0, position, place: Place::Between }
    }

    /// The valid record at `offset` that ends by `end`.
    fn record_at(&self, offset: u32, end: u32) -> Option<Record<'a>> {
        let record = Record::decode(self.bytes, offset, end)?;
        let is_next = record.header.sequence > self.sequence;
        let is_ours = record.header.nonce == u64::from_le_bytes(self.nonce);
        (is_next && is_ours && self.payload_decodes(&record)).then_some(record)
    }

    fn payload_decodes(&self, record: &Record<'_>) -> bool {
        match record.header.kind {
            RecordKind::Group => {
                let room = self.limit - record.offset;
                let is_aligned = record.offset == group_start(record.offset);
                is_aligned && GroupHead::decode(record, room).is_some()
            }
            RecordKind::Message => MessageView::decode(record.payload).is_some(),
            RecordKind::State => {
                let block = StateBlock::split(record.payload);
                block.is_some_and(|(block, rest)| rest.is_empty() && block.summary().is_some())
            }
            RecordKind::Done => record.payload.is_empty(),
            RecordKind::Index => Index::decode(record).is_some(),
        }
    }

    /// The first valid record that starts in `from..end` and ends by `end`.
    fn seek(&self, from: u32, end: u32) -> Option<u32> {
        let first = from.next_multiple_of(RECORD_ALIGN);
        let start = first as usize + NONCE_OFFSET;
        let searched = self.bytes.get(start..(end as usize).min(self.bytes.len()))?;
        memmem::find_iter(searched, &self.nonce)
            .filter_map(|hit| u32::try_from(hit).ok())
            .filter(|hit| hit.is_multiple_of(RECORD_ALIGN))
            .map(|hit| first + hit)
            .find(|offset| self.record_at(*offset, end).is_some())
    }

    /// Take in the group that starts where the walk is.
    fn enter(&mut self) -> Option<Found<'a>> {
        let record = self.record_at(self.position, self.limit)?;
        let head = GroupHead::decode(&record, self.limit - self.position)?;
        let offset = self.position;
        self.sequence = record.header.sequence;
        self.place = Place::Head { end: offset + head.head_bytes, group_end: offset + head.bytes };
        self.position = offset + GROUP_RECORD_BYTES;
        Some(Found::Group { offset, head })
    }

    fn step_over(&mut self, record: Record<'a>) -> Found<'a> {
        self.sequence = record.header.sequence;
        self.position = record.end();
        Found::Record(record)
    }

    fn skip_to(&mut self, next: u32, fault: Fault) -> Found<'a> {
        let offset = self.position;
        self.position = next;
        Found::Hole { offset, bytes: next - offset, fault }
    }

    fn next_between(&mut self) -> Option<Found<'a>> {
        if self.position >= self.limit {
            return None;
        }
        if let Some(group) = self.enter() {
            return Some(group);
        }
        if let Some(next) = self.seek(self.position, self.limit) {
            self.place = Place::Lost;
            return Some(self.skip_to(next, Fault::Group));
        }
        // Nothing valid after this place: the segment ends here, perhaps amid a group.
        let next = (self.position + GROUP_RECORD_BYTES).min(self.limit);
        let was_begun = self.was_begun(self.position);
        self.limit = self.position;
        was_begun.then(|| self.skip_to(next, Fault::Group))
    }

    /// Whether the invalid octets at `offset` were a Group record of this segment's present life:
    /// by its nonce or, where just that is broken, by its payload.
    fn was_begun(&self, offset: u32) -> bool {
        let end = offset as usize + GROUP_RECORD_BYTES as usize;
        let Some(record) = self.bytes.get(offset as usize..end) else {
            return false;
        };
        let has_nonce = record[NONCE_OFFSET..].starts_with(&self.nonce);
        has_nonce || GroupHead::segment_of(record) == Some(self.number)
    }

    fn next_in_head(&mut self, end: u32) -> Found<'a> {
        let is_inner = |record: &Record<'_>| record.header.kind != RecordKind::Group;
        match self.record_at(self.position, end).filter(is_inner) {
            Some(record) => self.step_over(record),
            None => {
                let next = self.seek(self.position + RECORD_ALIGN, end).unwrap_or(end);
                self.skip_to(next, Fault::Record)
            }
        }
    }

    fn next_lost(&mut self) -> Option<Found<'a>> {
        if self.record_at(self.position, self.limit).is_none() {
            self.position = self.seek(self.position, self.limit)?;
        }
        if let Some(group) = self.enter() {
            return Some(group);
        }
        let record = self.record_at(self.position, self.limit)?;
        Some(self.step_over(record))
    }
}

impl<'a> Iterator for Scan<'a> {
    type Item = Found<'a>;

    fn next(&mut self) -> Option<Found<'a>> {
        loop {
            return match self.place {
                Place::Between => self.next_between(),
                Place::Head { end, .. } if self.position < end => Some(self.next_in_head(end)),
                Place::Head { group_end, .. } => {
                    self.position = group_start(group_end);
                    self.place = Place::Between;
                    continue;
                }
                Place::Lost => self.next_lost(),
            };
        }
    }
}
