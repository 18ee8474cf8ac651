//! Warm sources up: so many messages a day to each provider, more from day to day.
//!
//! A mailbox provider trusts an address that it has seen for a while. So a new source has a *plan*:
//! how many messages a day it may send to each provider, from its first day on. What is beyond that
//! leaves from other sources of the pool; where there are none, it waits for the next day. After
//! the plan's last day the source is warm.
//!
//! A *ration* is one source's day at one provider, or at one site of no provider. A message counts
//! when it is given to a connection, whatever the peer says to it.
//!
//! In: plans, the days that they began, what operators say; messages to be sent. Out: whether one
//! may go, and until when not. Invariant: never more than the day's number is sent, over all shards
//! and across kill -9: see [`ledger`]. Days go on whether anything is sent or not, by the clocks of
//! one time zone.

pub mod ledger;
pub mod saved;
pub mod status;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use hashbrown::HashMap;

use crate::base::days::{Day, Days};

pub use ledger::{Ledger, Ration};

/// What the plan that comes with the program is called.
pub const DEFAULT_PLAN: &str = "default";

/// The plan that comes with the program: from day to day 1.4 times as many, rounded, as in the
/// automatic warm-up of SendGrid, whose numbers are of an hour and of all providers together: on
/// sendgrid.kke.co.jp, `/docs/API_Reference/Web_API_v3/IP_Management/ip_warmup_schedule.html`.
pub const DEFAULT_DAYS: [u32; 24] = [
    50, 70, 100, 140, 200, 270, 380, 530, 740, 1_000, 1_400, 2_000, 2_800, 4_000, 5_600, 7_800,
    11_000, 15_000, 21_000, 30_000, 42_000, 59_000, 82_000, 100_000,
];

/// How many messages on each day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What operators call it.
    pub name: Box<str>,
    /// Wherever nothing else is said: the first day's number first.
    pub usual: Arc<[u32]>,
    /// For single providers, by name.
    pub providers: Vec<(Box<str>, Arc<[u32]>)>,
}

impl Plan {
    /// The one that comes with the program.
    pub fn shipped() -> Self {
        Self { name: DEFAULT_PLAN.into(), usual: DEFAULT_DAYS.into(), providers: Vec::new() }
    }

    /// The numbers for a provider.
    pub fn days(&self, provider: &str) -> &Arc<[u32]> {
        let own = self.providers.iter().find(|(name, _)| **name == *provider);
        own.map_or(&self.usual, |(_, days)| days)
    }

    /// Days after which a source is warm everywhere.
    pub fn length(&self) -> usize {
        let all = self.providers.iter().map(|(_, days)| days).chain([&self.usual]);
        all.map(|days| days.len()).max().unwrap_or(0)
    }
}

/// A source that is to be warmed up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// By its name.
    pub source: Box<str>,
    /// How.
    pub plan: Arc<Plan>,
    /// Day 1, unless an operator says otherwise. Before that nothing is sent from there.
    pub from: Day,
}

/// All sources that are to be warmed up, by the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    sources: Vec<Planned>,
    /// Places there, by name.
    places: HashMap<Box<str>, usize>,
    /// By whose clocks days begin.
    pub days: Days,
}

impl Roster {
    /// Of these sources.
    pub fn new(sources: Vec<Planned>, days: Days) -> Self {
        let places = sources.iter().enumerate().map(|(place, one)| (one.source.clone(), place));
        Self { places: places.collect(), sources, days }
    }

    /// In the order of the configuration.
    pub fn sources(&self) -> &[Planned] {
        &self.sources
    }

    /// What is to be done with a source; `None`: it is warm.
    pub fn of(&self, source: &str) -> Option<&Planned> {
        self.places.get(source).map(|place| &self.sources[*place])
    }
}
