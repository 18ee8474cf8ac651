//! Where mail leaves from, as the configuration says.

use std::sync::Arc;

use crate::config::options::{self, Config, DomainPattern, ProxyKind};
use crate::egress::nexthop::ByDomain;
use crate::egress::pools::Pools;
use crate::egress::source::{Member, Pool, Proxy, Source, Speaks};
use crate::egress::warm_up::{Plan, Planned, Roster};
use crate::mail::campaigns::Campaigns;
use crate::mail::route::PoolId;
use crate::shard::settings::Surroundings;

/// The egress sources; without any, the kernel chooses the address.
pub(super) fn sources(config: &Config, around: &Surroundings) -> Vec<Source> {
    if config.sources.is_empty() {
        let hello: Arc<str> = config.hostname.as_str().into();
        return vec![Source { name: hello.clone(), address: None, hello, proxy: None }];
    }
    let login = |place: usize| around.source_logins.get(place).cloned().flatten();
    let proxy = |place: usize, proxy: &options::EgressProxy| {
        let speaks = match proxy.kind {
            ProxyKind::Socks(_) => Speaks::Socks(login(place)),
            ProxyKind::Header => Speaks::Header,
        };
        Arc::new(Proxy { at: proxy.at, speaks })
    };
    let source = |(place, one): (usize, &options::EgressSource)| Source {
        name: one.name.as_ref().into(),
        address: Some(one.address),
        hello: one.hello.as_str().into(),
        proxy: one.proxy.as_ref().map(|one| proxy(place, one)),
    };
    config.sources.iter().enumerate().map(source).collect()
}

/// The pools of them, and whose mail leaves from which.
pub(super) fn pools(config: &Config, around: &Surroundings) -> Pools {
    let sources = sources(config, around);
    let pool = |pool: &options::EgressPool| {
        let member = |(place, weight): &(u16, u32)| {
            let place = usize::from(*place);
            Member { source: sources[place].clone(), place, weight: *weight }
        };
        let members = match pool.sources.as_slice() {
            // What the kernel chooses.
            [] => [member(&(0, 1))].into(),
            sources => sources.iter().map(member).collect(),
        };
        Arc::new(Pool { name: pool.name.as_ref().into(), members })
    };
    let tenants = config.senders.tenants.iter();
    let tenants = tenants.filter_map(|tenant| Some((tenant.name.clone(), tenant.pool?)));
    let mut campaigns = Campaigns::default();
    for campaign in &config.senders.campaigns {
        campaigns.insert(campaign.tenant.as_ref(), campaign.pattern.clone(), campaign.pool);
    }
    Pools {
        all: config.pools.iter().map(pool).collect(),
        tenants: tenants.collect(),
        campaigns,
        domains: domains(config),
    }
}

fn domains(config: &Config) -> ByDomain<PoolId> {
    let mut domains = ByDomain::default();
    let rules = config.routes.iter().filter_map(|rule| Some((&rule.domain, rule.pool?)));
    for (pattern, pool) in rules {
        match pattern {
            DomainPattern::Exact(domain) => domains.insert(domain, pool),
            DomainPattern::Suffix(domain) => domains.insert_below(domain, pool),
        };
    }
    domains
}

/// The sources that are to be warmed up, if there are any.
pub(super) fn warm_up(config: &Config) -> Option<Roster> {
    let plans: Vec<Arc<Plan>> =
        config.warm_up.plans.iter().map(|plan| Arc::new(plan.clone())).collect();
    let planned = |source: &options::EgressSource| {
        let (plan, from) = source.warm_up?;
        let plan = plans[usize::from(plan)].clone();
        Some(Planned { source: source.name.clone(), plan, from })
    };
    let sources: Vec<Planned> = config.sources.iter().filter_map(planned).collect();
    let days = config.warm_up.days.clone();
    (!sources.is_empty()).then(|| Roster::new(sources, days))
}
