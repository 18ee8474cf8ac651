//! Count what is queued of each campaign, and how fast it leaves.
//!
//! In: recipients of flows (`flows.rs`) that move between states and leave. Out: counts of a
//! campaign, all priorities together; those with the most in the queue. Messages of no flow cost
//! nothing here. Invariant: a flow's counts are those of its recipients, one state each.

use std::collections::BTreeSet;

use crate::base::limits::{CAMPAIGN_PACE_OVER, CAMPAIGNS_LOOKED_MAX};
use crate::base::time::Monotonic;
use crate::mail::handling::{CampaignName, TenantName};
use crate::queue::flows::{Band, Flows};
use crate::queue::{Queue, State};

/// What a tenant sends for one purpose; without a name, what it sends and says nothing of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Campaign {
    /// Whose.
    pub tenant: TenantName,
    /// Its name.
    pub name: Option<CampaignName>,
}

/// A campaign in numbers: recipients, where nothing else is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CampaignCounts {
    /// In line.
    pub ready: u64,
    /// With the shard or an owner.
    pub dispatched: u64,
    /// Until their due time.
    pub deferred: u64,
    /// By an operator.
    pub held: u64,
    /// That left the queue since the first of those that are in it came, whatever became of them.
    pub left: u64,
    /// That leave in a thousand seconds, by what left in the last minute or two.
    pub per_kilosecond: u64,
    /// What keeps those in line, where it is its rate or its window.
    pub why: Option<Box<str>>,
}

impl CampaignCounts {
    /// In the queue.
    pub fn recipients(&self) -> u64 {
        self.ready + self.dispatched + self.deferred + self.held
    }

    /// Add what another part of the campaign counts.
    pub fn merge(&mut self, other: Self) {
        self.ready += other.ready;
        self.dispatched += other.dispatched;
        self.deferred += other.deferred;
        self.held += other.held;
        self.left += other.left;
        self.per_kilosecond += other.per_kilosecond;
        self.why = self.why.take().or(other.why);
    }
}

/// The recipients of a flow.
#[derive(Debug)]
pub(super) struct Waiting {
    ready: u32,
    dispatched: u32,
    deferred: u32,
    held: u32,
    left: u64,
    pace: Recent,
}

/// What left, by spans of `CAMPAIGN_PACE_OVER`.
#[derive(Clone, Copy, Debug)]
struct Recent {
    /// When the flow came.
    since: Monotonic,
    /// When the present span began.
    span: Monotonic,
    now: u32,
    before: u32,
}

impl Recent {
    fn roll(&mut self, now: Monotonic) {
        let passed = now.since(self.span);
        if passed < CAMPAIGN_PACE_OVER {
            return;
        }
        let follows = passed < 2 * CAMPAIGN_PACE_OVER;
        self.before = if follows { self.now } else { 0 };
        self.span = if follows { self.span + CAMPAIGN_PACE_OVER } else { now };
        self.now = 0;
    }

    /// What leaves in a thousand seconds.
    fn per_kilosecond(mut self, now: Monotonic) -> u64 {
        self.roll(now);
        let known = now.since(self.since).min(CAMPAIGN_PACE_OVER + now.since(self.span));
        let milliseconds = u64::try_from(known.as_millis()).unwrap_or(u64::MAX).max(1_000);
        (u64::from(self.now) + u64::from(self.before)) * 1_000_000 / milliseconds
    }
}

impl Waiting {
    /// Nobody yet.
    pub(super) fn new(now: Monotonic) -> Self {
        let pace = Recent { since: now, span: now, now: 0, before: 0 };
        Self { ready: 0, dispatched: 0, deferred: 0, held: 0, left: 0, pace }
    }

    fn recipients(&self) -> u64 {
        [self.ready, self.dispatched, self.deferred, self.held].into_iter().map(u64::from).sum()
    }

    /// One left the queue.
    pub(super) fn left(&mut self, now: Monotonic) {
        self.left += 1;
        self.pace.roll(now);
        self.pace.now += 1;
    }

    fn counts(&self, now: Monotonic) -> CampaignCounts {
        CampaignCounts {
            ready: self.ready.into(),
            dispatched: self.dispatched.into(),
            deferred: self.deferred.into(),
            held: self.held.into(),
            left: self.left,
            per_kilosecond: self.pace.per_kilosecond(now),
            why: None,
        }
    }
}

impl Flows {
    /// A recipient of `flow` enters a state, or leaves it.
    pub(super) fn moved(&mut self, flow: u32, state: State, change: i32) {
        let Some(row) = self.row_mut(flow) else { return };
        let before = row.waiting.recipients();
        let count = match state {
            State::Ready => &mut row.waiting.ready,
            State::Dispatched => &mut row.waiting.dispatched,
            State::Deferred => &mut row.waiting.deferred,
            State::Held => &mut row.waiting.held,
        };
        *count = count.checked_add_signed(change).expect("as many leave a state as entered it");
        let now = row.waiting.recipients();
        self.sizes.resized(&mut self.rows, flow, (before, now), |row| &mut row.peers);
    }

    /// Whose a flow is, if it has a tenant.
    fn campaign(&self, flow: u32) -> Option<Campaign> {
        let row = &self.rows[flow];
        let tenant = self.tenants[row.tenant].name.clone()?;
        Some(Campaign { tenant, name: row.campaign.clone() })
    }
}

impl<H> Queue<H> {
    /// The campaigns with the most recipients in the queue, of all tenants or of one, most first.
    /// Looks at about `CAMPAIGNS_LOOKED_MAX` however many there are, as [`Queue::top_domains`]
    /// does; of one tenant, at those that came first.
    pub fn top_campaigns(&self, tenant: Option<&TenantName>, count: usize) -> Vec<Campaign> {
        let mut flows: Vec<u32> = Vec::new();
        match tenant {
            Some(tenant) => flows.extend(self.flows.flows_named(tenant).take(CAMPAIGNS_LOOKED_MAX)),
            None => {
                for size in self.flows.sizes.rows(&self.flows.rows, |row| row.peers) {
                    flows.extend(size.take(CAMPAIGNS_LOOKED_MAX));
                    // Each may have a flow for each priority.
                    if flows.len() >= count.saturating_mul(Band::ALL.len()) {
                        break;
                    }
                }
            }
        }
        flows.sort_by_key(|flow| std::cmp::Reverse(self.flows.rows[*flow].waiting.recipients()));
        let (mut told, mut top) = (BTreeSet::new(), Vec::new());
        for campaign in flows.into_iter().filter_map(|flow| self.flows.campaign(flow)) {
            if top.len() < count && told.insert(campaign.clone()) {
                top.push(campaign);
            }
        }
        top
    }

    /// A campaign in numbers, if something of it is queued.
    pub fn campaign(&self, campaign: &Campaign) -> Option<CampaignCounts> {
        let Campaign { tenant, name } = campaign;
        let find = |band| self.flows.find(Some(tenant), name.as_ref(), band);
        let counts = |flow: u32| {
            let why = self.flows.aside.contains(&flow);
            let why = why.then(|| self.flows.limit(flow, self.clock)).flatten();
            CampaignCounts { why, ..self.flows.rows[flow].waiting.counts(self.flows.now) }
        };
        Band::ALL.into_iter().filter_map(find).map(counts).reduce(|mut sum, one| {
            sum.merge(one);
            sum
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic(0) + Duration::from_secs(seconds)
    }

    #[test]
    fn a_pace_is_that_of_the_last_minute_or_two() {
        let mut waiting = Waiting::new(at(100));
        let pace = |waiting: &Waiting, seconds| waiting.counts(at(seconds)).per_kilosecond;
        assert_eq!(pace(&waiting, 100), 0);
        (0..10).for_each(|_| waiting.left(at(110)));
        assert_eq!(pace(&waiting, 110), 1_000, "ten in ten seconds");
        assert_eq!(pace(&waiting, 159), 10_000 / 59);
        (0..20).for_each(|_| waiting.left(at(165)));
        assert_eq!(pace(&waiting, 180), 30_000 / 80, "over both spans");
        assert_eq!(pace(&waiting, 220), 20_000 / 60, "the first is over");
        assert_eq!(pace(&waiting, 500), 0, "and nothing left since");
        assert_eq!(waiting.counts(at(500)).left, 30);
    }
}
