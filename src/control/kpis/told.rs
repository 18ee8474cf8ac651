//! Tell what came back and is counted from what came back since: a node that is killed tells the
//! reports of its last `RETURN_KEPT_FOR` again.
//!
//! In: events of what came back. Out: whether each is told for the first time. Invariant: what is
//! counted is on disk with the figures, so that it counts once over any number of kills. Kept for
//! `KPI_TOLD_KEPT` after it was read, or after a start, and `KPI_TOLD_MAX` at most, the latest.

use std::collections::VecDeque;
use std::mem;

use hashbrown::HashSet;
use xxhash_rust::xxh3::Xxh3;

use crate::base::limits::{KPI_TOLD_KEPT, KPI_TOLD_MAX};
use crate::base::time::Monotonic;
use crate::outcome::event::Event;
use crate::outcome::kpi::Figure;

/// What is known, by a number for a report, what it says, and of whom.
#[derive(Debug, Default)]
pub(super) struct Told {
    known: HashSet<u64>,
    /// The same, with when they came to be known.
    order: VecDeque<(Monotonic, u64)>,
    changes: Changes,
}

/// What is to be changed on disk.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Known now.
    pub(super) new: Vec<u64>,
    /// Not any more.
    pub(super) gone: Vec<u64>,
}

impl Told {
    /// As an earlier run knew it.
    pub(super) fn restore(kept: Vec<u64>, now: Monotonic) -> Self {
        let order = kept.iter().map(|number| (now, *number)).collect();
        Self { known: kept.into_iter().collect(), order, changes: Changes::default() }
    }

    /// Whether an event of what came back was counted as this before; it is from now on.
    pub(super) fn is_repeat(&mut self, figure: Figure, event: &Event<'_>, now: Monotonic) -> bool {
        let number = number(figure, event);
        if !self.known.insert(number) {
            return true;
        }
        self.order.push_back((now, number));
        self.changes.new.push(number);
        self.forget(now);
        false
    }

    /// What has changed since it was last asked.
    pub(super) fn take_changes(&mut self, now: Monotonic) -> Changes {
        self.forget(now);
        mem::take(&mut self.changes)
    }

    fn forget(&mut self, now: Monotonic) {
        while let Some((since, number)) = self.order.front()
            && (now.since(*since) >= KPI_TOLD_KEPT || self.order.len() > KPI_TOLD_MAX)
        {
            self.known.remove(number);
            self.changes.gone.push(*number);
            self.order.pop_front();
        }
    }
}

fn number(figure: Figure, event: &Event<'_>) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(&event.id.0.to_be_bytes());
    hash.update(&[figure as u8]);
    hash.update(event.recipient.as_bytes());
    hash.digest()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::ids::{MessageId, ShardId};
    use crate::base::time::WallTime;
    use crate::outcome::event::Kind;

    const BOUNCED: Figure = Figure::BouncedLater;

    fn event(id: u64, recipient: &str) -> Event<'_> {
        let event = Event::new(Kind::Returned, MessageId(id), WallTime(0), ShardId(0));
        Event { recipient: recipient.into(), ..event }
    }

    fn at(seconds: u64) -> Monotonic {
        Monotonic(0) + Duration::from_secs(seconds)
    }

    #[test]
    fn what_is_told_again_is_known_also_by_the_next_run() {
        let mut told = Told::default();
        let all = [(BOUNCED, 1, "u@x"), (BOUNCED, 1, "v@x"), (BOUNCED, 2, "u@x")];
        let all = all.into_iter().chain([(Figure::Complaints, 1, "u@x")]);
        for (figure, id, recipient) in all.clone() {
            assert!(!told.is_repeat(figure, &event(id, recipient), at(0)));
            assert!(told.is_repeat(figure, &event(id, recipient), at(0)));
        }
        let changes = told.take_changes(at(0));
        assert_eq!((changes.new.len(), changes.gone.len()), (4, 0));
        assert_eq!(told.take_changes(at(0)), Changes::default(), "it was told");
        let mut next = Told::restore(changes.new, at(1_000));
        for (figure, id, recipient) in all {
            assert!(next.is_repeat(figure, &event(id, recipient), at(1_000)));
        }
        assert_eq!(next.take_changes(at(1_000)), Changes::default());
    }

    #[test]
    fn what_is_old_or_too_much_is_forgotten() {
        let mut told = Told::default();
        let first = event(1, "u@x");
        assert!(!told.is_repeat(BOUNCED, &first, at(0)));
        let late = Monotonic(0) + KPI_TOLD_KEPT;
        assert_eq!(told.take_changes(late).gone, [number(BOUNCED, &first)]);
        for id in 0..=KPI_TOLD_MAX as u64 {
            assert!(!told.is_repeat(BOUNCED, &event(id, "u@x"), late), "{id}");
        }
        assert_eq!(told.known.len(), KPI_TOLD_MAX);
        assert_eq!(told.take_changes(late).gone.len(), 1);
    }
}
