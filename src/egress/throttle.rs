//! Limits of a site that hold over all shards, exactly, without a message between them.
//!
//! One atomic count of connections, one pace (`base::rate`), and masks with a bit a shard: who
//! holds connections, and who waits for one. Each in a cache line of its own.
//!
//! Invariant: at most `limit` connections are granted at a time; in any span of time T at most
//! `burst + T / interval` messages. Where a shard below its fair share (`limit / shards that hold
//! or wait`) waits for a connection, those above theirs give one up when they next could, to those
//! that wait in turn, so none starves. Shards that a rate makes wait send in turn as well.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crossbeam_utils::CachePadded;
use hashbrown::HashMap;

use crate::base::ids::ShardId;
use crate::base::rate::{Cell, bit, note};
use crate::base::time::Monotonic;
use crate::egress::shaping::outlets::AllOutlets;
use crate::egress::site::SiteKey;

pub use crate::base::rate::Rate;

/// What a site allows, over all shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SiteLimits {
    /// Connections at a time; at least 1.
    pub connections: u32,
    /// Messages before a connection is closed; at least 1.
    pub messages_per_connection: u32,
    /// Messages a time; `None` is without limit.
    pub rate: Option<Rate>,
}

/// What all shards know of one site.
#[derive(Debug, Default)]
pub struct SharedSite {
    connections: CachePadded<AtomicU32>,
    arrival: Cell,
    holders: CachePadded<AtomicU64>,
    waiters: CachePadded<AtomicU64>,
    /// The shard whose turn it is, if it waits.
    next: CachePadded<AtomicU32>,
}

impl SharedSite {
    /// Ask for a connection for `shard`, which holds `held` now. Refused, a shard below its share
    /// is noted as waiting until it is granted one or says [`SharedSite::stop_waiting`]: until then
    /// it is to ask again soon, since others leave it what becomes free.
    pub fn try_connection(&self, shard: ShardId, held: u32, limit: u32) -> bool {
        let below_share = held == 0 || held < self.share(shard, limit);
        let first = if below_share { self.is_others_turn(shard) } else { self.others_wait(shard) };
        if !first && self.take(limit) {
            note(&self.holders, shard);
            self.stop_waiting(shard);
            return true;
        }
        if below_share {
            note(&self.waiters, shard);
        } else {
            self.stop_waiting(shard);
        }
        false
    }

    fn take(&self, limit: u32) -> bool {
        let more = |open| (open < limit).then_some(open + 1);
        self.connections.fetch_update(Ordering::AcqRel, Ordering::Relaxed, more).is_ok()
    }

    /// A connection of `shard` is gone; it holds `left` more.
    pub fn release(&self, shard: ShardId, left: u32) {
        let before = self.connections.fetch_sub(1, Ordering::AcqRel);
        assert!(before > 0, "a connection released twice");
        if left == 0 {
            self.holders.fetch_and(!bit(shard), Ordering::Relaxed);
        }
    }

    /// `shard` needs no connection any more.
    pub fn stop_waiting(&self, shard: ShardId) {
        if self.waiters.load(Ordering::Relaxed) & bit(shard) != 0 {
            self.waiters.fetch_and(!bit(shard), Ordering::Relaxed);
        }
    }

    /// Whether a shard other than `shard` waits for a connection.
    pub fn others_wait(&self, shard: ShardId) -> bool {
        self.waiters.load(Ordering::Relaxed) & !bit(shard) != 0
    }

    /// What `shard` may keep while others wait: 0 where there are more shards than connections,
    /// else all shares add up to `limit`.
    pub fn share(&self, shard: ShardId, limit: u32) -> u32 {
        let sharing = self.holders.load(Ordering::Relaxed) | self.waiters.load(Ordering::Relaxed);
        let sharing = sharing | bit(shard);
        let (all, before) = (sharing.count_ones(), (sharing & (bit(shard) - 1)).count_ones());
        if limit < all { 0 } else { limit / all + u32::from(before < limit % all) }
    }

    /// `shard` gives a connection up: the next one of those that wait is to have it, so that who
    /// asks more often does not have more of them.
    pub fn give_way(&self, shard: ShardId) {
        let waiters = self.waiters.load(Ordering::Relaxed) & !bit(shard);
        let after = u32::from(shard.0) + 1;
        let next = (after + waiters.rotate_right(after).trailing_zeros()) % u64::BITS;
        if waiters != 0 {
            self.next.store(next, Ordering::Relaxed);
        }
    }

    /// Whether a connection that becomes free is to go to another shard, which waits for it.
    fn is_others_turn(&self, shard: ShardId) -> bool {
        let next = 1 << self.next.load(Ordering::Relaxed);
        next != bit(shard) && self.waiters.load(Ordering::Relaxed) & next != 0
    }

    /// Connections open or being opened, over all shards.
    pub fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Ask to send a message of `shard` now; refused, it may be asked again at the time given.
    pub fn try_message(&self, shard: ShardId, rate: Rate, now: Monotonic) -> Result<(), Monotonic> {
        self.arrival.try_message(shard, rate, now)
    }
}

const PARTS: usize = 64;

/// Every site that some shard knows; one for the process. Locked only when a shard begins or ceases
/// to know a site.
#[derive(Debug)]
pub struct SharedSites {
    parts: [Mutex<HashMap<SiteKey, Arc<SharedSite>>>; PARTS],
    hasher: hashbrown::DefaultHashBuilder,
    /// What is known of sources at them, where they are shaped.
    pub outlets: AllOutlets,
}

impl Default for SharedSites {
    fn default() -> Self {
        let parts = std::array::from_fn(|_| Mutex::default());
        let hasher = hashbrown::DefaultHashBuilder::default();
        Self { parts, hasher, outlets: AllOutlets::default() }
    }
}

impl SharedSites {
    /// What all shards know of the site with this key.
    pub fn share(&self, key: &SiteKey) -> Arc<SharedSite> {
        self.part(key).entry(key.clone()).or_default().clone()
    }

    /// Forget the site if no shard holds it any more: drop what `share` gave first. Its pace is
    /// forgotten with it, so a site is to be forgotten only when it was idle for a while.
    pub fn forget(&self, key: &SiteKey) {
        let mut sites = self.part(key);
        // While the part is locked nobody can take a new one out.
        if sites.get(key).is_some_and(|site| Arc::strong_count(site) == 1) {
            sites.remove(key);
        }
    }

    /// Sites that some shard knows.
    pub fn len(&self) -> usize {
        self.parts
            .iter()
            .map(|part| part.lock().unwrap_or_else(PoisonError::into_inner).len())
            .sum()
    }

    /// Whether no shard knows any site.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn part(&self, key: &SiteKey) -> std::sync::MutexGuard<'_, HashMap<SiteKey, Arc<SharedSite>>> {
        use std::hash::BuildHasher;
        let part = self.hasher.hash_one(key) % PARTS as u64;
        let part = usize::try_from(part).expect("below PARTS");
        // A map is whole between any two of its calls, even where a holder of the lock panicked.
        self.parts[part].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
