//! Where mail goes, and how much of it, as the configuration says.

use crate::config::options::{self, Config, DomainPattern};
use crate::egress::nexthop::Router;
use crate::egress::throttle::{Rate, SiteLimits};
use crate::egress::upstream::{Group, Member};
use crate::mail::route::Route;
use crate::shard::settings::GroupSettings;

/// From destination domain to next hop.
pub(super) fn router(config: &Config) -> Router {
    let mut router = Router::new(config.default_route);
    let relayed = config.relay_domains.iter().map(|one| (&one.domain, Route::Group(one.group)));
    let routed = config.routes.iter().map(|rule| (&rule.domain, rule.route));
    for (pattern, route) in relayed.chain(routed) {
        let added = match pattern {
            DomainPattern::Exact(domain) => router.add_exact(domain, route),
            DomainPattern::Suffix(domain) => router.add_below(domain, route),
        };
        added.expect("the configuration names no domain twice");
    }
    router
}

/// An upstream group.
pub(super) fn group(group: &options::Group) -> GroupSettings {
    let member =
        |one: &options::Upstream| Member::new(one.host.clone(), one.weight, one.preference);
    GroupSettings {
        name: group.name.clone(),
        group: Group::new(group.upstreams.iter().map(member).collect()),
        limits: site_limits(&group.limits),
        tls: group.tls,
    }
}

/// What holds for a site.
pub(super) fn site_limits(limits: &options::SiteLimits) -> SiteLimits {
    SiteLimits {
        connections: limits.connections,
        messages_per_connection: limits.messages_per_connection,
        rate: limits.rate.map(|rate| Rate { messages: rate.messages, per: rate.per }),
    }
}
