//! Compare a segment's index with its records.
//!
//! In: what a scan finds, in order. Out: where the index is not what the records make it.

use crate::spool::format::{RecordKind, TRAILER_BYTES, trailer};
use crate::spool::index::Builder;
use crate::spool::scan::Found;

/// What the index of a segment should be.
#[derive(Debug)]
pub(super) struct Audit {
    number: u32,
    nonce: u64,
    expected: Builder,
    /// Something is missing: what the index should be cannot be known.
    has_holes: bool,
}

impl Audit {
    pub(super) fn new(number: u32, nonce: u64) -> Self {
        Self { number, nonce, expected: Builder::default(), has_holes: false }
    }

    /// Take in what was found next; the stretch, offset and octets, of the index that is wrong.
    pub(super) fn see(&mut self, found: &Found<'_>, segment: &[u8]) -> Option<(u32, u32)> {
        match found {
            Found::Group { head, .. } => {
                if self.expected.facts.groups == 0 {
                    self.expected = Builder::new(head.epoch, head.committed);
                }
                self.expected.facts.groups += 1;
            }
            Found::Hole { .. } => self.has_holes = true,
            Found::Record(record) if record.header.kind == RecordKind::Index => {
                let mut payload = Vec::new();
                // Its own group is none of those that it tells of; a second index in one group,
                // which nobody wrote, has none.
                let groups = self.expected.facts.groups;
                self.expected.facts.groups = groups.saturating_sub(1);
                self.expected.encode(&mut payload);
                if payload != record.payload && !self.has_holes {
                    return Some((record.offset, record.bytes()));
                }
                if trailer(segment, self.nonce) != Some(record.offset) {
                    let bytes = u32::try_from(segment.len()).ok()?;
                    return Some((bytes.saturating_sub(TRAILER_BYTES), TRAILER_BYTES));
                }
            }
            Found::Record(record) => {
                let (id, kind) = (record.header.id, record.header.kind);
                self.expected.push(self.number, id, kind, record.offset, record.payload);
            }
        }
        None
    }
}
