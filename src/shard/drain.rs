//! Stop in good order: finish what is in flight within a deadline, then leave together.
//!
//! A shard that has nothing left keeps answering until all others have nothing left either: until
//! then one of them may hand it a dispatch, which it gives back.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::base::limits::DRAIN_LOOK_EVERY;
use crate::base::time::Monotonic;

/// How many shards have nothing left; shared by all.
#[derive(Debug)]
pub(super) struct Drained {
    done: AtomicUsize,
    shards: usize,
}

impl Drained {
    pub(super) fn new(shards: usize) -> Self {
        Self { done: AtomicUsize::new(0), shards }
    }
}

/// A drain under way on one shard.
#[derive(Debug)]
pub(super) struct Drain {
    deadline: Monotonic,
    done: bool,
}

impl Drain {
    /// A drain that is to end by `deadline`.
    pub(super) fn new(deadline: Monotonic) -> Self {
        Self { deadline, done: false }
    }

    /// Whether what is left is to be cut.
    pub(super) fn is_late(&self, now: Monotonic) -> bool {
        now >= self.deadline
    }

    /// When to look again.
    pub(super) fn look_again(&self, now: Monotonic) -> Monotonic {
        now + DRAIN_LOOK_EVERY
    }

    /// Whether all shards are done, given whether this one is idle now.
    pub(super) fn is_over(&mut self, idle: bool, drained: &Drained) -> bool {
        if idle && !self.done {
            self.done = true;
            drained.done.fetch_add(1, Ordering::SeqCst);
        }
        idle && drained.done.load(Ordering::SeqCst) == drained.shards
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shards_leave_together() {
        let drained = Drained::new(2);
        let (mut a, mut b) = (Drain::new(Monotonic(9)), Drain::new(Monotonic(9)));
        assert!(!a.is_over(false, &drained) && !a.is_over(true, &drained));
        assert!(!a.is_over(true, &drained));
        assert!(b.is_over(true, &drained) && a.is_over(true, &drained));
    }
}
