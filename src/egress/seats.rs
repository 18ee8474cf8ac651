//! Keep a number that holds over all who share it, exactly, without a message between them.
//!
//! One atomic count, and masks with a bit each: who holds some, and who waits for one. Invariant:
//! at most `limit` are taken at a time. Where one below its fair share (`limit / those that hold or
//! wait`) waits, those above theirs give one up when they next could, to those that wait in turn,
//! so none starves. Each in a cache line of its own.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

use crate::base::ids::ShardId;
use crate::base::rate::{bit, note};

/// Such a number. Who shares it is a shard, or whatever else is numbered so.
#[derive(Debug, Default)]
pub(super) struct Seats {
    taken: CachePadded<AtomicU32>,
    holders: CachePadded<AtomicU64>,
    waiters: CachePadded<AtomicU64>,
    /// Whose turn it is, if it waits.
    next: CachePadded<AtomicU32>,
}

impl Seats {
    /// Ask for one for `who`, who holds `held` now. Refused, one below its share is noted as
    /// waiting until it is granted one or says [`Seats::stop_waiting`]: until then it is to ask
    /// again soon, since others leave it what becomes free.
    pub(super) fn take(&self, who: ShardId, held: u32, limit: u32) -> bool {
        let below_share = held == 0 || held < self.share(who, limit);
        let first = if below_share { self.is_others_turn(who) } else { self.others_wait(who) };
        if !first && self.take_any(limit) {
            note(&self.holders, who);
            self.stop_waiting(who);
            return true;
        }
        if below_share {
            self.wait(who);
        } else {
            self.stop_waiting(who);
        }
        false
    }

    fn take_any(&self, limit: u32) -> bool {
        let more = |open| (open < limit).then_some(open + 1);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Relaxed, more).is_ok()
    }

    /// `who` waits for one: it is to ask again soon.
    pub(super) fn wait(&self, who: ShardId) {
        note(&self.waiters, who);
    }

    /// `who` holds one already, whatever the limit is.
    pub(super) fn adopt(&self, who: ShardId) {
        self.taken.fetch_add(1, Ordering::AcqRel);
        note(&self.holders, who);
    }

    /// One of `who` is gone; it holds `left` more.
    pub(super) fn release(&self, who: ShardId, left: u32) {
        let before = self.taken.fetch_sub(1, Ordering::AcqRel);
        assert!(before > 0, "a connection released twice");
        if left == 0 {
            self.holders.fetch_and(!bit(who), Ordering::Relaxed);
        }
    }

    /// `who` needs none any more.
    pub(super) fn stop_waiting(&self, who: ShardId) {
        if self.waiters.load(Ordering::Relaxed) & bit(who) != 0 {
            self.waiters.fetch_and(!bit(who), Ordering::Relaxed);
        }
    }

    /// Whether another than `who` waits for one.
    pub(super) fn others_wait(&self, who: ShardId) -> bool {
        self.waiters.load(Ordering::Relaxed) & !bit(who) != 0
    }

    /// What `who` may keep while others wait: 0 where there are more of them than `limit`, else all
    /// shares add up to it.
    pub(super) fn share(&self, who: ShardId, limit: u32) -> u32 {
        let sharing = self.holders.load(Ordering::Relaxed) | self.waiters.load(Ordering::Relaxed);
        let sharing = sharing | bit(who);
        let (all, before) = (sharing.count_ones(), (sharing & (bit(who) - 1)).count_ones());
        if limit < all { 0 } else { limit / all + u32::from(before < limit % all) }
    }

    /// `who` gives one up: the next one of those that wait is to have it, so that who asks more
    /// often does not have more of them.
    pub(super) fn give_way(&self, who: ShardId) {
        let waiters = self.waiters.load(Ordering::Relaxed) & !bit(who);
        let after = u32::from(who.0) + 1;
        let next = (after + waiters.rotate_right(after).trailing_zeros()) % u64::BITS;
        if waiters != 0 {
            self.next.store(next, Ordering::Relaxed);
        }
    }

    /// Whether one that becomes free is to go to another, who waits for it.
    fn is_others_turn(&self, who: ShardId) -> bool {
        let next = 1 << self.next.load(Ordering::Relaxed);
        next != bit(who) && self.waiters.load(Ordering::Relaxed) & next != 0
    }

    /// How many are taken.
    pub(super) fn taken(&self) -> u32 {
        self.taken.load(Ordering::Relaxed)
    }
}
