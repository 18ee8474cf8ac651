//! Choose the shard that delivers to a destination domain: sticky, but no shard carries too much.
//!
//! Rendezvous hashing with bounded loads (Mirrokni, Thorup & Zadimoghaddam 2018): the first shard
//! in the domain's own order whose load is at most `(1 + ε) × mean + slack`. Unlike there, a domain
//! with little in flight always stays with its first shard and that one's connections: only what is
//! hot spills, in its own order over as many shards as it needs, since it is what fills them.
//!
//! Unit of load: recipients dispatched and not reported. Exactness is not needed: loads are read
//! while others change them.

use std::sync::atomic::{AtomicU32, Ordering};

use crossbeam_utils::CachePadded;

use crate::base::ids::ShardId;
use crate::base::limits::COLD_DOMAIN_MAX;
use crate::base::limits::SHARDS_MAX;
use crate::egress::rendezvous::draw;

/// ε, until somebody says otherwise: a shard may carry a quarter more than the mean.
const EXCESS_PERCENT: u32 = 25;
/// So many on top of it, so that little traffic never spills.
const SLACK: u64 = 16;

/// What each shard carries as an owner; one for the process.
#[derive(Debug)]
pub struct Loads {
    shards: Box<[CachePadded<AtomicU32>]>,
    /// ε in hundredths.
    excess_percent: AtomicU32,
}

impl Loads {
    /// For a process of `shards` shards: 1 to `SHARDS_MAX`.
    pub fn new(shards: usize) -> Self {
        assert!((1..=SHARDS_MAX).contains(&shards), "{shards} shards");
        let shards = (0..shards).map(|_| CachePadded::default()).collect();
        Self { shards, excess_percent: AtomicU32::new(EXCESS_PERCENT) }
    }

    /// How much more than the mean a shard may carry, in hundredths, from now on.
    pub fn set_excess(&self, percent: u32) {
        self.excess_percent.store(percent, Ordering::Relaxed);
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// `recipients` were dispatched to `owner`.
    pub fn add(&self, owner: ShardId, recipients: u32) {
        self.shards[owner.index()].fetch_add(recipients, Ordering::Relaxed);
    }

    /// `recipients` came back from `owner`: reported, refused or given back.
    pub fn subtract(&self, owner: ShardId, recipients: u32) {
        let before = self.shards[owner.index()].fetch_sub(recipients, Ordering::Relaxed);
        assert!(before >= recipients, "more came back from shard {owner} than went there");
    }

    /// What `owner` carries at the moment.
    pub fn load(&self, owner: ShardId) -> u32 {
        self.shards[owner.index()].load(Ordering::Relaxed)
    }

    /// The owner of the domain with this hash, as loads are. `in_flight`: the domain's recipients
    /// that the asking home has dispatched.
    pub fn owner_of(&self, domain_hash: u64, in_flight: u32) -> ShardId {
        let mut scores = [0u64; SHARDS_MAX];
        let scores = &mut scores[..self.shards.len()];
        let mut sum = 0;
        for (index, score) in scores.iter_mut().enumerate() {
            sum += u64::from(self.shards[index].load(Ordering::Relaxed));
            *score = draw(domain_hash, index as u64).max(1);
        }
        let excess = u64::from(self.excess_percent.load(Ordering::Relaxed));
        let mean_percent = sum * (100 + excess) / self.shards.len() as u64;
        let bound = u32::try_from(mean_percent / 100 + SLACK).unwrap_or(u32::MAX);
        let first = highest(scores);
        // Homes share a campaign evenly, so that others have about as many in flight.
        if in_flight as usize * self.shards.len() <= COLD_DOMAIN_MAX {
            return shard(first);
        }
        let mut next = first;
        while self.shards[next].load(Ordering::Relaxed) > bound {
            // Not this one: its score is spent.
            scores[next] = 0;
            next = highest(scores);
            if scores[next] == 0 {
                // All were over the bound when looked at, as loads rose meanwhile.
                return shard(first);
            }
        }
        shard(next)
    }
}

fn highest(scores: &[u64]) -> usize {
    (0..scores.len()).max_by_key(|index| scores[*index]).expect("at least one shard")
}

fn shard(index: usize) -> ShardId {
    ShardId(u8::try_from(index).expect("at most SHARDS_MAX"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;

    /// Keep 16,000 recipients in flight, six in ten to one domain, and let each that comes end a
    /// random one; then every shard's load over the mean.
    fn shares_beside_a_hot_domain(seed: u64) -> Vec<f64> {
        let (loads, mut prng) = (Loads::new(16), Prng::from_number(seed));
        let mut in_flight: Vec<(bool, ShardId)> = Vec::new();
        for _ in 0..100_000 {
            let hot = prng.unit() < 0.6;
            let hot_in_flight = in_flight.iter().take(100).filter(|(hot, _)| *hot).count();
            let (domain, outstanding) = match hot {
                true => (0, u32::try_from(hot_in_flight).expect("at most 100")),
                false => (prng.next_u64(), 1),
            };
            let owner = loads.owner_of(domain, outstanding);
            loads.add(owner, 1);
            in_flight.push((hot, owner));
            if in_flight.len() > 16_000 {
                let ended = prng.below(16_000) as usize;
                loads.subtract(in_flight.swap_remove(ended).1, 1);
            }
        }
        (0..16).map(|owner| f64::from(loads.load(ShardId(owner))) / 1_000.0).collect()
    }

    #[test]
    fn a_domain_with_most_of_the_traffic_uses_every_shard() {
        for seed in 0..3 {
            let shares = shares_beside_a_hot_domain(seed);
            let fair = shares.iter().all(|share| (0.3..1.4).contains(share));
            let used = shares.iter().filter(|share| **share > 0.8).count();
            assert!(fair && used >= 11, "seed {seed}: {shares:.2?}");
        }
    }

    #[test]
    fn cold_domains_stay_where_they_are_beside_a_hot_one() {
        let (loads, mut prng) = (Loads::new(16), Prng::from_number(2));
        let cold: Vec<u64> = (0..1_000).map(|_| prng.next_u64()).collect();
        let before: Vec<ShardId> = cold.iter().map(|domain| loads.owner_of(*domain, 2)).collect();
        (0..20_000).for_each(|in_flight| loads.add(loads.owner_of(7, in_flight), 1));
        let stayed = |(domain, was): (&u64, &ShardId)| loads.owner_of(*domain, 2) == *was;
        assert!(cold.iter().zip(&before).all(stayed));
        let hot = (0..16).filter(|owner| loads.load(ShardId(*owner)) > 1_000).count();
        assert!(hot >= 12, "the hot one uses {hot} shards");
    }

    #[test]
    fn the_excess_allowed_is_what_a_shard_gets() {
        for (percent, most) in [(10, 1_116), (50, 1_516)] {
            let loads = Loads::new(16);
            loads.set_excess(percent);
            (0..16).for_each(|owner| loads.add(ShardId(owner), 1_000));
            // Others end what they have as it gets more, so that the mean stays.
            let first = loads.owner_of(7, 1_000);
            let other = if first == ShardId(0) { ShardId(1) } else { ShardId(0) };
            while loads.owner_of(7, 1_000) == first {
                loads.add(first, 1);
                loads.subtract(other, 1);
            }
            assert_eq!(loads.load(first), most + 1);
        }
    }

    #[test]
    fn with_little_traffic_each_domain_has_one_owner() {
        let loads = Loads::new(8);
        for domain in 0..50u64 {
            let owner = loads.owner_of(domain, 50);
            (0..10).for_each(|_| assert_eq!(loads.owner_of(domain, 50), owner));
            loads.add(owner, 1);
        }
    }

    #[test]
    fn one_shard_owns_everything_and_gives_back_what_it_took() {
        let loads = Loads::new(1);
        (0..1_000).for_each(|domain| loads.add(loads.owner_of(domain, 99), 3));
        assert_eq!(loads.load(ShardId(0)), 3_000);
        loads.subtract(ShardId(0), 3_000);
        assert_eq!(loads.load(ShardId(0)), 0);
    }
}
