//! Stop in good order: finish what is in flight within a deadline, then leave together.
//!
//! A shard that has nothing left keeps answering until all others have nothing left either: until
//! then one of them may hand it a dispatch, which it gives back.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::base::limits::DRAIN_LOOK_EVERY;
use crate::base::time::Monotonic;
use crate::shard::context::Context;
use crate::shard::delivery::{Delivery, JobId, SiteId};
use crate::shard::platform::Platform;

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

impl Delivery {
    /// Take no more work, give back what waits, finish what is under way.
    pub(crate) fn drain<P: Platform>(&mut self, cx: &mut Context<'_, P>) {
        self.draining = true;
        let ids: Vec<SiteId> = self.sites.iter().map(|(slot, _)| SiteId(slot)).collect();
        for id in ids {
            if let Some(row) = self.sites.get_mut(id.0) {
                row.site.leave(cx.mono());
            }
            self.stir(id);
        }
        self.give_back_asking("the node drains", cx);
    }

    /// The drain's deadline has come: cut connections; their jobs go back to their homes.
    pub(crate) fn cut<P: Platform>(&mut self, cx: &mut Context<'_, P>) {
        for id in self.outbound.ids() {
            cx.platform.abort(id);
            self.outbound.remove(id);
        }
        let jobs: Vec<JobId> = self.jobs.iter().map(|(slot, _)| JobId(slot)).collect();
        for job in jobs {
            self.give_back(job, "the node drains", Duration::ZERO, cx);
        }
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
