//! Count an outlet's connections over all shards, and let pools that share it have turns.
//!
//! Invariant: at most the limit are open. What becomes free is left to the pool that was refused
//! last, as long as it asks again; one that holds connections gives them up after some messages.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_utils::CachePadded;

use crate::base::limits::{OUTLET_WANTED_FOR, POOLS_MAX};
use crate::base::time::Monotonic;
use crate::mail::route::PoolId;

/// The connections of an outlet.
#[derive(Debug, Default)]
pub(in crate::egress) struct Held {
    open: CachePadded<AtomicU32>,
    /// The pool that was refused one last, from 1 on, above when that was, in milliseconds of the
    /// process's clock; 0: none.
    wanted: AtomicU64,
}

// A pool's number has its place there.
const _: () = assert!(POOLS_MAX < u16::MAX as usize);
/// Bits of the time: eight thousand years.
const BITS: u32 = 48;

impl Held {
    /// Ask for one for mail of `pool`. Refused, it is to ask again soon.
    pub(in crate::egress) fn take(&self, limit: u32, pool: PoolId, now: Monotonic) -> bool {
        let is_kept = self.is_wanted_beside(pool, now);
        let more = |open| (open + u32::from(is_kept) < limit).then_some(open + 1);
        let taken = self.open.fetch_update(Ordering::AcqRel, Ordering::Relaxed, more).is_ok();
        if !taken && !is_kept {
            self.wanted.store(number(pool) << BITS | millis(now.since(ZERO)), Ordering::Relaxed);
        } else if taken && self.wanted.load(Ordering::Relaxed) >> BITS == number(pool) {
            self.wanted.store(0, Ordering::Relaxed);
        }
        taken
    }

    /// Whether another pool than `pool` waits for one.
    pub(in crate::egress) fn is_wanted_beside(&self, pool: PoolId, now: Monotonic) -> bool {
        let wanted = self.wanted.load(Ordering::Relaxed);
        let at = wanted & ((1 << BITS) - 1);
        let is_over = millis(now.since(ZERO)) > at + millis(OUTLET_WANTED_FOR);
        wanted != 0 && wanted >> BITS != number(pool) && !is_over
    }

    /// One is gone.
    pub(in crate::egress) fn release(&self) {
        let before = self.open.fetch_sub(1, Ordering::AcqRel);
        assert!(before > 0, "a connection released twice");
    }

    /// How many there are.
    pub(in crate::egress) fn open(&self) -> u32 {
        self.open.load(Ordering::Relaxed)
    }
}

const ZERO: Monotonic = Monotonic(0);

fn number(pool: PoolId) -> u64 {
    u64::from(pool.0) + 1
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: PoolId = PoolId(0);
    const B: PoolId = PoolId(7);

    fn at(milliseconds: u64) -> Monotonic {
        Monotonic(milliseconds * 1_000_000)
    }

    #[test]
    fn what_becomes_free_is_left_to_the_pool_that_waits() {
        let held = Held::default();
        assert!(held.take(2, A, at(0)) && held.take(2, A, at(0)));
        assert!(!held.take(2, B, at(1)) && held.is_wanted_beside(A, at(1)));
        assert!(!held.is_wanted_beside(B, at(1)), "not beside itself");
        held.release();
        assert!(!held.take(2, A, at(2)), "it is the other's");
        assert!(held.take(2, B, at(20)) && !held.is_wanted_beside(A, at(20)));
        assert!(!held.take(2, A, at(21)) && held.is_wanted_beside(B, at(21)));
        assert_eq!(held.open(), 2);
    }

    #[test]
    fn who_does_not_come_again_has_waited() {
        let held = Held::default();
        assert!(held.take(1, A, at(0)) && !held.take(1, B, at(1)));
        held.release();
        assert!(!held.take(1, A, at(101)));
        assert!(held.take(1, A, at(102)));
    }

    #[test]
    fn what_is_free_beside_that_is_anybodys() {
        let held = Held::default();
        assert!(held.take(1, A, at(0)) && !held.take(1, B, at(0)));
        assert!(held.take(3, A, at(0)), "one is left to the other");
        assert!(!held.take(3, A, at(0)));
        assert!(held.take(3, B, at(0)));
    }
}
