//! Keep virtual time, and what is to happen when: the same seed, the same order.

use std::collections::BTreeMap;

use relay_fast::base::prng::Prng;
use relay_fast::base::time::{Monotonic, Now, WallTime};

use crate::net::Wire;
use crate::node::Arrival;
use crate::peer::Reach;

/// Where both clocks begin.
const MONO_START: u64 = 1_000_000_000;
const WALL_START_MS: i64 = 1_795_491_661_000;

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000 * MS;

/// Something that will happen.
#[derive(Debug)]
pub(crate) enum Happening {
    /// At an end of a connection.
    Wire(Wire),
    /// In this life of the process, at a shard; `None`: only a look whether a turn is due.
    Shard { life: u32, shard: usize, arrival: Arrival },
    /// A client goes on with its mail, unless it woke since it asked for this.
    Client { index: usize, wakes: u64 },
    /// A next hop goes down until then: what is open to it breaks, or falls silent.
    Down { host: usize, reach: Reach, until: u64 },
    /// Step so many of the plan.
    Plan(usize),
}

/// The clock, the calendar and the dice.
#[derive(Debug)]
pub(crate) struct Agenda {
    /// Nanoseconds since the beginning.
    pub(crate) now: u64,
    /// By what the wall clock was set ahead, in seconds; back, if negative.
    pub(crate) set_ahead: i64,
    pub(crate) prng: Prng,
    entries: BTreeMap<(u64, u64), Happening>,
    sequence: u64,
}

impl Agenda {
    pub(crate) fn new(seed: u64) -> Self {
        let prng = Prng::from_number(seed);
        Self { now: 0, set_ahead: 0, prng, entries: BTreeMap::new(), sequence: 0 }
    }

    pub(crate) fn at(&mut self, time: u64, happening: Happening) {
        assert!(time >= self.now, "nothing happens in the past");
        self.sequence += 1;
        self.entries.insert((time, self.sequence), happening);
    }

    pub(crate) fn after(&mut self, delay: u64, happening: Happening) {
        self.at(self.now + delay, happening);
    }

    pub(crate) fn next(&self) -> Option<u64> {
        self.entries.keys().next().map(|(time, _)| *time)
    }

    /// The next thing that happens by now.
    pub(crate) fn take_due(&mut self) -> Option<Happening> {
        let entry = self.entries.first_entry()?;
        (entry.key().0 <= self.now).then(|| entry.remove())
    }

    pub(crate) fn clocks(&self) -> Now {
        let ms = i64::try_from(self.now / MS).expect("runs are short") + self.set_ahead * 1_000;
        Now { mono: Monotonic(MONO_START + self.now), wall: WallTime(WALL_START_MS + ms) }
    }

    /// When a shard's deadline comes, on this clock.
    pub(crate) fn time_of(deadline: Monotonic) -> u64 {
        deadline.0.saturating_sub(MONO_START)
    }

    /// From `least` to `most`, both included.
    pub(crate) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.prng.below(most - least + 1)
    }

    pub(crate) fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.prng.below(bound as u64)).expect("below a length")
    }

    /// Whether something happens that does so many times in a thousand.
    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        per_mille > 0 && self.prng.below(1_000) < per_mille
    }
}
