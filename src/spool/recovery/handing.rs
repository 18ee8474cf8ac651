//! Hand over the messages that are left once everything was read, in the order of the log.
//!
//! Invariant: a message comes out once, at the copy that counts, and is counted as live then.

use crate::base::ids::MessageId;
use crate::spool::format::Record;
use crate::spool::index::Entry;
use crate::spool::letter::Segments;
use crate::spool::live::Live;
use crate::spool::record::{Extent, MessageView};
use crate::spool::recovery::messages::{Found, Source};
use crate::spool::recovery::reading::{Named, Recovery};
use crate::spool::stored::EnvelopeAt;

/// How far handing over has come.
#[derive(Debug, Default)]
pub(super) struct Handing {
    /// So many segments are over.
    segments: usize,
    /// In the next one: octets of entries, or records.
    place: usize,
    /// Should be in the queue, and are not whole.
    pub(super) lost: Vec<Found>,
}

/// A copy of a message.
struct Copy {
    id: MessageId,
    at: EnvelopeAt,
    source: Source,
}

impl Recovery {
    /// Look at the records of `budget` messages and ends; whether all were looked at.
    pub(super) fn hand_over(
        &mut self,
        budget: usize,
        live: &mut Live,
        found: &mut impl FnMut(Found, &Segments),
    ) -> bool {
        let mut left = budget;
        while let Some(number) = self.numbers.get(self.handing.segments).copied() {
            while let Some((copy, next)) = self.next_named(number) {
                if left == 0 {
                    return false;
                }
                left -= 1;
                self.handing.place = next;
                if let Some(one) = copy.and_then(|copy| self.claim(copy)) {
                    add(&one, live, &self.segments);
                    found(one, &self.segments);
                }
            }
            self.handing.segments += 1;
            self.handing.place = 0;
            self.named.remove(&number);
        }
        true
    }

    /// What is named next in a segment, if it is a message, and where to go on.
    fn next_named(&self, number: u32) -> Option<(Option<Copy>, usize)> {
        let (named, place) = (self.named.get(&number)?, self.handing.place);
        let bytes = self.segments.get(&number)?.bytes();
        match named {
            Named::Entries(entries) => {
                let start = entries.start as usize + place;
                let (entry, rest) = Entry::split(&bytes[start..entries.end as usize])?;
                let copy = match entry {
                    Entry::Message(message) => Some(Copy {
                        id: message.id,
                        at: message.at(number),
                        source: if message.see_record {
                            Source::Record
                        } else {
                            Source::Entry(start)
                        },
                    }),
                    Entry::State { .. } | Entry::Done { .. } => None,
                };
                Some((copy, entries.end as usize - entries.start as usize - rest.len()))
            }
            Named::Records(offsets) => {
                let record = Record::decode(bytes, *offsets.get(place)?, u32::MAX);
                let copy = record.map(|record| Copy {
                    id: record.header.id,
                    at: EnvelopeAt {
                        segment: number,
                        offset: record.offset,
                        bytes: record.bytes(),
                    },
                    source: Source::Record,
                });
                Some((copy, place + 1))
            }
        }
    }

    /// The message, if this is the copy of it that counts, and it is whole and not ended.
    fn claim(&mut self, copy: Copy) -> Option<Found> {
        let Copy { id, at, source } = copy;
        let draft = self.drafts.take(id, at)?;
        if draft.is_ended() {
            self.drafts.done += 1;
            return None;
        }
        let is_complete = draft.is_complete;
        let found = Found { id, draft, source };
        if is_complete {
            return Some(found);
        }
        self.handing.lost.push(found);
        None
    }
}

/// A message lives from now on.
fn add(found: &Found, live: &mut Live, segments: &Segments) {
    let (id, at) = (found.id, found.draft.at);
    match found.entry(segments) {
        Some(entry) => {
            let bytes = entry.live.saturating_sub(entry.bytes);
            let content = Extent { segment: at.segment, offset: 0, bytes, crc: 0 };
            live.add(id, at, std::iter::once(content));
        }
        None => {
            let record = segments.get(&at.segment).and_then(|map| {
                Record::decode(map.bytes(), at.offset, at.offset.saturating_add(at.bytes))
            });
            let view = record.and_then(|record| MessageView::decode(record.payload));
            live.add(id, at, view.into_iter().flat_map(|view| view.extents()));
        }
    }
}
