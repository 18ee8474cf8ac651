//! Keep events of many to a pace: so many at once, then one each so often (GCRA, as in
//! `egress/throttle.rs`).
//!
//! In: who, and when. Out: whether there is room, in a table of bounded length: who has not been
//! heard of for longest is forgotten first. Invariant: nobody gets more than `burst + T / every` in
//! any span of time T, unless it is forgotten meanwhile. Lives on: the shard whose events are
//! counted.

use std::hash::Hash;
use std::time::Duration;

use lru::LruCache;

use crate::base::time::Monotonic;

/// How many events in how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// At once; at least 1.
    pub burst: u32,
    /// From one to the next from then on.
    pub every: Duration,
}

/// When the next event of each would come on schedule.
#[derive(Debug)]
pub(super) struct Table<K: Hash + Eq> {
    rows: LruCache<K, Monotonic>,
    rows_max: usize,
}

impl<K: Hash + Eq> Table<K> {
    pub(super) fn new(rows_max: usize) -> Self {
        Self { rows: LruCache::unbounded(), rows_max }
    }

    /// Whether another one may come now.
    pub(super) fn has_room(&self, key: &K, pace: Pace, now: Monotonic) -> bool {
        let ahead = self.rows.peek(key).map_or(Duration::ZERO, |due| due.since(now));
        ahead <= pace.every * (pace.burst - 1)
    }

    /// One has come.
    pub(super) fn charge(&mut self, key: K, pace: Pace, now: Monotonic) {
        let due = self.rows.peek(&key).map_or(now, |due| (*due).max(now));
        self.rows.put(key, due + pace.every);
        if self.rows.len() > self.rows_max {
            self.rows.pop_lru();
        }
    }

    /// One that was charged does not count.
    pub(super) fn give_back(&mut self, key: &K, pace: Pace) {
        if let Some(due) = self.rows.peek_mut(key) {
            let every = u64::try_from(pace.every.as_nanos()).unwrap_or(u64::MAX);
            *due = Monotonic(due.0.saturating_sub(every));
        }
    }

    /// How many are remembered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }
}
