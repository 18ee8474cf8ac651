//! How sources stand at sites, for operators; and what these may change.
//!
//! In: [`Order`]s. Out: [`OutletStatus`] rows. What an operator sets goes over rules and replies
//! until it is reset, also in later runs.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::limits::SHAPING_ROWS_MAX;
use crate::base::time::Monotonic;
use crate::egress::shaping::figures::{show_pace, show_rate};
use crate::egress::shaping::outlets::{AllOutlets, By, Outlet, Override, SiteOutlets};

/// What is asked, of which sites and sources; all, if none is named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// A site's name, its domain, or one of its hosts.
    pub site: Option<String>,
    /// A source's name.
    pub source: Option<String>,
    /// What is to be done.
    pub verb: Verb,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Verb {
    /// Tell.
    #[default]
    Status,
    /// Set a rate, or leave the site alone from there for a time.
    Set {
        /// The rate.
        rate: Option<Override>,
        /// How long.
        suspend: Option<Duration>,
    },
    /// Forget what peers said, and what was set.
    Reset,
}

/// One source at one site.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutletStatus {
    /// The site: its hosts, or its domain and them.
    pub site: String,
    /// The source, by its name.
    pub source: String,
    /// Connections, over all shards.
    pub connections: u32,
    /// What the rules let it have; `None`: no shard uses it now.
    pub connections_max: Option<u32>,
    /// Messages a time, as it is now.
    pub rate: String,
    /// Whose rate that is: `rules`, `peer`, `operator`.
    pub by: String,
    /// What it climbs back to, where that is not its rate now.
    pub rate_max: Option<String>,
    /// Seconds for which nothing is sent.
    pub suspended_s: Option<u64>,
    /// Why.
    pub why: Option<String>,
    /// Rules that replies have set off.
    pub rules: Vec<String>,
    /// What it has at all sites of its provider together, where a rule says something of that.
    pub provider: Option<ProviderStatus>,
}

/// One source at all sites of a provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderStatus {
    /// The provider.
    pub name: String,
    /// Connections, over all shards.
    pub connections: u32,
    /// What the rules let it have; `None`: as many as its sites.
    pub connections_max: Option<u32>,
    /// Messages a time.
    pub rate: String,
}

impl OutletStatus {
    /// Whether it is other than its rules have it.
    pub fn is_special(&self) -> bool {
        self.by != "rules" || self.suspended_s.is_some() || !self.rules.is_empty()
    }
}

impl AllOutlets {
    /// Do what is asked; how those that it is about stand then, `SHAPING_ROWS_MAX` at most.
    pub fn order(&self, order: &Order, now: Monotonic) -> Vec<OutletStatus> {
        let mut rows = Vec::new();
        for site in self.sites() {
            if order.site.as_ref().is_some_and(|name| !site.is_called(name)) {
                continue;
            }
            if order.verb == Verb::Reset && order.source.is_none() {
                site.resume();
            }
            for outlet in site.outlets() {
                if order.source.as_ref().is_some_and(|name| *outlet.source() != **name) {
                    continue;
                }
                order.verb.apply(&outlet, now);
                if rows.len() < SHAPING_ROWS_MAX {
                    let provider = self.of_provider(&outlet);
                    rows.push(OutletStatus { provider, ..status(&site, &outlet, now) });
                }
            }
        }
        rows
    }

    fn of_provider(&self, outlet: &Outlet) -> Option<ProviderStatus> {
        let said = outlet.shape()?.of_provider?;
        let together = self.together.find(&said.provider, outlet.source());
        Some(ProviderStatus {
            name: said.provider.to_string(),
            connections: together.map_or(0, |together| together.connections()),
            connections_max: said.connections,
            rate: show_rate(said.rate),
        })
    }
}

impl Verb {
    fn apply(&self, outlet: &Outlet, now: Monotonic) {
        match self {
            Self::Status => {}
            Self::Set { rate, suspend } => {
                if rate.is_some() {
                    outlet.set(*rate);
                }
                if let Some(time) = suspend {
                    outlet.suspend(now + *time, &Arc::from("an operator"));
                }
            }
            Self::Reset => outlet.reset(),
        }
    }
}

fn status(site: &SiteOutlets, outlet: &Outlet, now: Monotonic) -> OutletStatus {
    let shape = outlet.shape();
    let (rate, by, rate_max) = match (&shape, outlet.slowed(now)) {
        (Some(shape), slowed) => {
            let (rate, by) = outlet.rate(shape, now);
            let ceiling = slowed.and_then(|(_, from, ..)| shape.rate.or(from));
            (rate, by, ceiling.filter(|_| by == By::Peer))
        }
        // No shard uses it: what another run left.
        (None, Some((rate, from, _, bounds))) => (Some(rate), By::Peer, bounds.ceiling.or(from)),
        (None, None) => (None, By::Shape, None),
    };
    let (rate, by) = match outlet.fixed() {
        None => (rate, by),
        Some(Override::Unlimited) => (None, By::Operator),
        Some(Override::Rate(rate)) => (Some(rate), By::Operator),
    };
    let here = outlet.suspended(now).map(|until| (until, outlet.why()));
    let there = site.suspended(now).map(|until| (until, site.why()));
    let suspended = [here, there].into_iter().flatten().max_by_key(|(until, _)| *until);
    let rules = outlet.in_force(now).into_iter().map(|(rule, _)| rule).collect();
    OutletStatus {
        site: site.name().to_owned(),
        source: outlet.source().to_owned(),
        connections: outlet.connections(),
        connections_max: shape.map(|shape| shape.connections),
        rate: match (rate, by) {
            (Some(rate), By::Peer | By::Operator) => show_pace(rate),
            (rate, _) => show_rate(rate),
        },
        by: match by {
            By::Shape => "rules",
            By::Peer => "peer",
            By::Operator => "operator",
        }
        .to_owned(),
        rate_max: rate_max.map(show_pace),
        suspended_s: suspended.as_ref().map(|(until, _)| until.since(now).as_secs()),
        why: suspended.and_then(|(_, why)| why).map(|why| why.to_string()),
        rules,
        provider: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egress::shaping::Shape;
    use crate::egress::shaping::together::OfProvider;
    use crate::egress::throttle::Rate;

    const NOW: Monotonic = Monotonic(1_000_000_000_000);

    fn per_second(messages: u32) -> Rate {
        Rate { messages, per: Duration::from_secs(1) }
    }

    /// Two sources at each of two sites, at 10 a second.
    fn world() -> AllOutlets {
        let all = AllOutlets::default();
        for name in ["a.mx.example,b.mx.example", "own.example@mx.other"] {
            for source in ["192.0.2.1", "192.0.2.2"] {
                let shape = Shape::new(5, 5, Some(per_second(10)));
                all.site(name, NOW).outlet(source).take_shape(&shape);
            }
        }
        all
    }

    fn order(site: &str, source: Option<&str>, verb: Verb) -> Order {
        let site = (!site.is_empty()).then(|| site.to_owned());
        Order { site, source: source.map(str::to_owned), verb }
    }

    #[test]
    fn a_site_is_called_by_a_host_by_its_domain_or_by_all_of_its_name() {
        let all = world();
        let rows = |site: &str| all.order(&order(site, None, Verb::Status), NOW).len();
        assert_eq!(
            ["", "b.mx.example", "own.example", "own.example@mx.other"].map(rows),
            [4, 2, 2, 2]
        );
        assert_eq!(["mx.example", "own.example@"].map(rows), [0, 0]);
        let one = all.order(&order("mx.other", Some("192.0.2.2"), Verb::Status), NOW);
        let expected = OutletStatus {
            site: "own.example@mx.other".into(),
            source: "192.0.2.2".into(),
            connections_max: Some(5),
            rate: "10/s".into(),
            by: "rules".into(),
            ..OutletStatus::default()
        };
        assert_eq!(one, [expected]);
        assert!(!one[0].is_special());
    }

    #[test]
    fn what_a_source_has_at_all_sites_of_its_provider_is_told_with_each() {
        let all = world();
        let rate = Some(per_second(20));
        let said = OfProvider { provider: "big".into(), connections: Some(7), rate };
        let shape = Shape { of_provider: Some(said.clone()), ..Shape::new(5, 5, None) };
        all.site("a.mx.example,b.mx.example", NOW).outlet("192.0.2.1").take_shape(&shape);
        let member = all.together.join(&said, "192.0.2.1", NOW);
        assert!(member.take());
        let rows = all.order(&order("", None, Verb::Status), NOW);
        let told: Vec<_> = rows.iter().filter_map(|row| row.provider.clone()).collect();
        let (name, connections_max) = ("big".to_owned(), Some(7));
        let rate = "20/s".to_owned();
        assert_eq!(told, [ProviderStatus { name, connections: 1, connections_max, rate }]);
    }

    #[test]
    fn what_is_set_is_told_and_reset() {
        let all = world();
        let outlet = all.site("own.example@mx.other", NOW).outlet("192.0.2.1");
        let shape = outlet.shape().expect("it has one");
        outlet.slow_down(&shape, None, Duration::ZERO, NOW);
        let told = |all: &AllOutlets, verb| {
            let rows = all.order(&order("mx.other", Some("192.0.2.1"), verb), NOW);
            let OutletStatus { rate, by, rate_max, suspended_s, why, .. } = rows[0].clone();
            (rate, by, rate_max, suspended_s, why)
        };
        let words = |rate: &str, by: &str| (rate.to_owned(), by.to_owned(), None, None, None);
        let slowed = ("5/s".into(), "peer".into(), Some("10/s".into()), None, None);
        assert_eq!(told(&all, Verb::Status), slowed);
        let rate = Some(Override::Rate(per_second(2)));
        let set = Verb::Set { rate, suspend: None };
        assert_eq!(told(&all, set), words("2/s", "operator"));
        let set = Verb::Set { rate: Some(Override::Unlimited), suspend: None };
        assert_eq!(told(&all, set), words("unlimited", "operator"));
        let suspend = Verb::Set { rate: None, suspend: Some(Duration::from_secs(60)) };
        let (.., suspended_s, why) = told(&all, suspend);
        assert_eq!((suspended_s, why.as_deref()), (Some(60), Some("an operator")));
        assert_eq!(told(&all, Verb::Reset), words("10/s", "rules"));
    }
}
