//! Limits of a site that hold over all shards, exactly, without a message between them.
//!
//! A number of connections (`seats`) and a pace (`base::rate`). Invariant: at most `limit`
//! connections are granted at a time; in any span of time T at most `burst + T / interval`
//! messages. Shards that wait for either have turns.

use std::sync::Arc;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;

use crate::base::ids::ShardId;
use crate::base::rate::Cell;
use crate::base::time::Monotonic;
use crate::egress::seats::Seats;
use crate::egress::shaping::outlets::AllOutlets;
use crate::egress::site::SiteKey;
use crate::egress::warm_up::Ledger;

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
    connections: Seats,
    arrival: Cell,
    /// Messages of tenants and campaigns that have a share, by name.
    senders: Mutex<HashMap<u64, Arc<Seats>>>,
}

impl SharedSite {
    /// Ask for a connection for `shard`, which holds `held` now. Refused, a shard below its share
    /// is noted as waiting until it is granted one or says [`SharedSite::stop_waiting`]: until then
    /// it is to ask again soon, since others leave it what becomes free.
    pub fn try_connection(&self, shard: ShardId, held: u32, limit: u32) -> bool {
        self.connections.take(shard, held, limit)
    }

    /// A connection of `shard` is gone; it holds `left` more.
    pub fn release(&self, shard: ShardId, left: u32) {
        self.connections.release(shard, left);
    }

    /// `shard` needs no connection any more.
    pub fn stop_waiting(&self, shard: ShardId) {
        self.connections.stop_waiting(shard);
    }

    /// Whether a shard other than `shard` waits for a connection.
    pub fn others_wait(&self, shard: ShardId) -> bool {
        self.connections.others_wait(shard)
    }

    /// What `shard` may keep while others wait: 0 where there are more shards than connections,
    /// else all shares add up to `limit`.
    pub fn share(&self, shard: ShardId, limit: u32) -> u32 {
        self.connections.share(shard, limit)
    }

    /// `shard` gives a connection up: the next one of those that wait is to have it.
    pub fn give_way(&self, shard: ShardId) {
        self.connections.give_way(shard);
    }

    /// Connections open or being opened, over all shards.
    pub fn connections(&self) -> u32 {
        self.connections.taken()
    }

    fn senders(&self) -> MutexGuard<'_, HashMap<u64, Arc<Seats>>> {
        // It is whole between any two of its calls.
        self.senders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The seats of a tenant or a campaign.
    pub(super) fn seats(&self, sender: u64) -> Arc<Seats> {
        self.senders().entry(sender).or_default().clone()
    }

    /// A shard parts with them: forget them if no other holds them.
    pub(super) fn forget_seats(&self, sender: u64, seats: &Arc<Seats>) {
        let mut senders = self.senders();
        // While it is locked nobody can take new ones out: these are the map's and the caller's.
        if Arc::strong_count(seats) == 2 {
            senders.remove(&sender);
        }
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
    /// What sources have sent that are warmed up.
    pub warm_up: Arc<Ledger>,
}

impl Default for SharedSites {
    fn default() -> Self {
        let parts = std::array::from_fn(|_| Mutex::default());
        let hasher = hashbrown::DefaultHashBuilder::default();
        Self { parts, hasher, outlets: AllOutlets::default(), warm_up: Arc::default() }
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

    fn part(&self, key: &SiteKey) -> MutexGuard<'_, HashMap<SiteKey, Arc<SharedSite>>> {
        use std::hash::BuildHasher;
        let part = self.hasher.hash_one(key) % PARTS as u64;
        let part = usize::try_from(part).expect("below PARTS");
        // A map is whole between any two of its calls, even where a holder of the lock panicked.
        self.parts[part].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
