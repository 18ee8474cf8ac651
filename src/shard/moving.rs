//! Bring messages that a log wants moved into memory, a batch at a time, and hand it their states.
//!
//! In: what `LogEvent::Move` asks for. Out: `Log::append_move`. Old messages lie side by side: one
//! range brings a whole batch, and a few more what their records point to: content in other places,
//! and last replies. Invariant: one batch at a time is on its way. Lives on: the home shard.

use crate::base::ids::MessageId;
use crate::base::limits::{POPULATE_BYTES_MAX, POPULATE_GAP_MAX, REASON_BYTES};
use crate::base::slots::Slot;
use crate::shard::commit::Commit;
use crate::shard::context::Context;
use crate::shard::dispatch::Home;
use crate::shard::load::{Lies, populate};
use crate::shard::platform::Platform;
use crate::spool::stored::{EnvelopeAt, Span};

/// What is to be moved. A log asks for at most `MOVES_MAX` messages at a time.
#[derive(Debug, Default)]
pub(crate) struct Moving {
    asked: Vec<Mover>,
    batch: Option<Batch>,
}

/// A message to be moved, by its place in the queue.
#[derive(Clone, Copy, Debug)]
struct Mover {
    slot: Slot,
    lies: Lies,
}

#[derive(Debug)]
struct Batch {
    ticket: u64,
    movers: Vec<Mover>,
    /// What was brought, and how many ranges of it are not there yet.
    brought: Vec<Place>,
    left: usize,
    /// What records point to was asked for as well.
    is_last: bool,
}

/// A range of a segment of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    directory: u16,
    segment: u32,
    start: u32,
    end: u32,
}

impl Place {
    fn of(directory: u16, span: Span) -> Self {
        let Span { segment, offset: start, bytes } = span;
        Self { directory, segment, start, end: start.saturating_add(bytes) }
    }

    fn holds(&self, other: &Self) -> bool {
        let same = (self.directory, self.segment) == (other.directory, other.segment);
        same && self.start <= other.start && other.end <= self.end
    }

    /// Take in a place that begins later, if what lies between is worth bringing too.
    fn join(&mut self, other: &Self) -> bool {
        let same = (self.directory, self.segment) == (other.directory, other.segment);
        let is_near = other.start <= self.end.saturating_add(POPULATE_GAP_MAX);
        let is_short = other.end.saturating_sub(self.start) <= POPULATE_BYTES_MAX;
        let joins = same && is_near && is_short;
        if joins {
            self.end = self.end.max(other.end);
        }
        joins
    }
}

/// As few ranges as it takes to cover `places`, in order.
fn joined(mut places: Vec<Place>) -> Vec<Place> {
    places.sort_unstable();
    places.dedup_by(|next, last| last.join(next));
    places
}

impl Home {
    /// A log wants a message moved.
    pub(crate) fn move_message(&mut self, id: MessageId) {
        let slot = self.queue.slot_of(id);
        let mover = slot.and_then(|slot| Some(Mover { slot, lies: self.lies(slot)? }));
        self.moving.asked.extend(mover);
    }

    /// Begin a batch with all that was asked for.
    pub(super) fn start_moves<P: Platform>(&mut self, cx: &mut Context<'_, P>) {
        if self.moving.batch.is_some() || self.moving.asked.is_empty() {
            return;
        }
        let movers = std::mem::take(&mut self.moving.asked);
        let record = |mover: &Mover| {
            let EnvelopeAt { segment, offset, bytes } = mover.lies.at;
            Place::of(mover.lies.directory, Span { segment, offset, bytes })
        };
        let places = joined(movers.iter().map(record).collect());
        let ticket = self.loader.next_ticket();
        let left = places.len();
        bring(ticket, &places, cx);
        let batch = Batch { ticket, movers, brought: places, left, is_last: false };
        self.moving.batch = Some(batch);
    }

    /// A range is in memory: whether it was of the batch. Once all of it is, move it.
    pub(super) fn moves_populated<P: Platform>(
        &mut self,
        ticket: u64,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) -> bool {
        let Some(mut batch) = self.moving.batch.take_if(|batch| batch.ticket == ticket) else {
            return false;
        };
        batch.left -= 1;
        if batch.left == 0 && !batch.is_last {
            batch.is_last = true;
            let places = self.pointed_to(&batch, commit);
            batch.left = places.len();
            bring(ticket, &places, cx);
        }
        if batch.left > 0 {
            self.moving.batch = Some(batch);
            return true;
        }
        for Mover { slot, lies } in batch.movers {
            self.move_now(slot, lies, commit);
        }
        true
    }

    /// What the records of a batch point to, less what was brought with them.
    fn pointed_to(&self, batch: &Batch, commit: &mut Commit) -> Vec<Place> {
        let mut places = Vec::new();
        for &Mover { slot, lies } in &batch.movers {
            let Lies { id, directory, at } = lies;
            // Where the record cannot be read, moving it will say so.
            let content = commit.log(directory).spans(id, at).unwrap_or_default();
            places.extend(content.into_iter().map(|span| Place::of(directory, span)));
            places.extend(self.queue.reasons_of(slot).map(|reason| {
                let (segment, offset) = (reason.segment, reason.offset);
                Place::of(reason.log, Span { segment, offset, bytes: REASON_BYTES })
            }));
        }
        places.retain(|place| !batch.brought.iter().any(|brought| brought.holds(place)));
        joined(places)
    }
}

fn bring<P: Platform>(ticket: u64, places: &[Place], cx: &mut Context<'_, P>) {
    for &Place { directory, segment, start, end } in places {
        populate(ticket, directory, Span { segment, offset: start, bytes: end - start }, cx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(segment: u32, start: u32, end: u32) -> Place {
        Place { directory: 0, segment, start, end }
    }

    #[test]
    fn what_lies_near_is_brought_together_and_no_range_is_long() {
        let (gap, most) = (POPULATE_GAP_MAX, POPULATE_BYTES_MAX);
        let near = vec![place(1, 100 + gap, 200 + gap), place(1, 0, 100), place(1, 10, 20)];
        assert_eq!(joined(near), [place(1, 0, 200 + gap)]);
        for (first, second) in [
            (place(1, 0, 100), place(1, 101 + gap, 200 + gap)),
            (place(1, 0, 100), place(2, 100, 200)),
            (place(1, 0, 100), Place { directory: 1, ..place(1, 100, 200) }),
            (place(1, 0, most), place(1, most, most + 1)),
        ] {
            assert_eq!(joined(vec![second, first]), [first, second]);
        }
        assert!(place(1, 0, 100).holds(&place(1, 0, 100)));
        assert!(!place(1, 0, 100).holds(&place(1, 50, 101)));
        assert!(!place(1, 0, 100).holds(&place(2, 50, 60)));
    }
}
