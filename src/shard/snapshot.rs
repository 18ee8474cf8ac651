//! Say how a shard stands: its counters, and what they cannot tell.

use crate::base::ids::ShardId;
use crate::outcome::counters::Count;
use crate::shard::Shard;
use crate::shard::commands::Snapshot;
use crate::shard::platform::Platform;
use crate::spool::log::Room;

impl Shard {
    /// How this shard stands.
    pub(super) fn snapshot<P: Platform>(&mut self, platform: &P) -> Snapshot {
        let stats = self.home.queue.stats();
        let dns = self.lookups.counts();
        let mut counters = self.common.counters.clone();
        counters.set(Count::SessionsOpen, self.ingress.len() as u64);
        counters.set(Count::ConnectionsOpen, self.delivery.connections() as u64);
        counters.set(Count::QueueReady, stats.ready + stats.parked);
        counters.set(Count::QueueAttempting, stats.dispatched);
        counters.set(Count::QueueDeferred, stats.deferred);
        counters.set(Count::QueueHeld, stats.held);
        counters.set(Count::InMemoryOnly, self.commit.in_memory_only() as u64);
        counters
            .set(Count::SpoolSegments, self.commit.logs().map(|log| log.stats().segments).sum());
        counters.set(Count::RecipientsRemembered, self.common.callouts.remembered() as u64);
        counters.set(Count::Recovering, self.recovering.left() as u64);
        counters.add(Count::DnsQuestions, dns.traffic.udp_queries + dns.traffic.tcp_queries);
        counters.add(Count::DnsCacheHits, dns.cached);
        counters.add(Count::DnsFailures, dns.failed);
        // All shards know the same: one tells it.
        if self.common.id == ShardId(0) && self.settings.shaping.is_some() {
            let (slowed, suspended) = self.shared.sites.outlets.held_up(platform.now().mono);
            counters.set(Count::OutletsSlowed, slowed);
            counters.set(Count::OutletsSuspended, suspended);
        }
        if self.common.id == ShardId(0)
            && let Some(roster) = &self.settings.warm_up
        {
            let (sources, used_up) = self.shared.sites.warm_up.standing(roster);
            counters.set(Count::WarmUpSources, sources);
            counters.set(Count::WarmUpUsedUp, used_up);
        }
        Snapshot {
            counters,
            platform: platform.counters(),
            admits: self.commit.room() == Room::Open,
            failing: self.commit.is_failing(),
            owed: self.commit.owed(),
            domains: self.settings.gate.lines(),
        }
    }
}
