//! Send what an operator chooses by another way than the configuration says: to another upstream
//! group or to MX hosts, from another pool of sources.
//!
//! In: orders, by destination domain, tenant and campaign; the groups and pools there are. Out: the
//! way of a message, if it is another. Precedence: campaign and domain, campaign, tenant and
//! domain, tenant, domain: who sends goes before where it goes, as for pools. An order that names a
//! group or a pool that there is not, or not any more, is void: the configuration holds. Lives on:
//! each shard.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::time::WallTime;
use crate::mail::address::Domain;
use crate::mail::handling::{CampaignName, Handling, TenantName};
use crate::mail::route::{PoolId, Route};

/// Whose mail: that meets all that is given. Something is; a campaign with its tenant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diverted {
    /// To this domain.
    pub domain: Option<Domain>,
    /// Of this tenant.
    pub tenant: Option<TenantName>,
    /// Of this campaign of it.
    pub campaign: Option<CampaignName>,
}

/// The way that it goes instead; something is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// An upstream group by its name, or `mx`.
    pub to: Option<Box<str>>,
    /// A pool of sources by its name.
    pub pool: Option<Box<str>>,
    /// Since when, of what was ordered last.
    pub since: WallTime,
}

impl Way {
    /// Whether it says nothing any more.
    pub fn is_none(&self) -> bool {
        self.to.is_none() && self.pool.is_none()
    }
}

/// All that is ordered.
pub type Orders = BTreeMap<Diverted, Way>;

/// What stands for MX hosts where a group's name could.
pub const MX: &str = "mx";

impl Diverted {
    /// Whether something is chosen, and no campaign without its tenant.
    pub fn is_valid(&self) -> bool {
        let Self { domain, tenant, campaign } = self;
        (domain.is_some() || tenant.is_some()) && (campaign.is_none() || tenant.is_some())
    }

    fn takes(&self, to: &Domain, handling: Option<&Handling>) -> bool {
        let Self { domain, tenant, campaign } = self;
        let of = |handling: &Handling| {
            (tenant.is_none() || handling.tenant == *tenant)
                && (campaign.is_none() || handling.campaign == *campaign)
        };
        domain.as_ref().is_none_or(|domain| domain == to)
            && (tenant.is_none() || handling.is_some_and(of))
    }

    fn rank(&self) -> (bool, bool, bool) {
        (self.campaign.is_some(), self.tenant.is_some(), self.domain.is_some())
    }
}

/// An order, and what it means by the configuration in force.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    whose: Diverted,
    route: Option<Route>,
    pool: Option<PoolId>,
}

/// The orders that are not void.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diversions {
    orders: Arc<Orders>,
    /// What goes before others comes first.
    rows: Vec<Row>,
}

impl Diversions {
    /// What is ordered.
    pub fn orders(&self) -> Arc<Orders> {
        self.orders.clone()
    }

    /// What `orders` mean where `route` and `pool` know names.
    pub fn new(
        orders: Arc<Orders>,
        route: impl Fn(&str) -> Option<Route>,
        pool: impl Fn(&str) -> Option<PoolId>,
    ) -> Self {
        let row = |(whose, way): (&Diverted, &Way)| Row {
            whose: whose.clone(),
            route: way.to.as_deref().and_then(&route),
            pool: way.pool.as_deref().and_then(&pool),
        };
        let mut rows: Vec<Row> = orders.iter().map(row).collect();
        rows.retain(|row| row.route.is_some() || row.pool.is_some());
        rows.sort_by_key(|row| Reverse(row.whose.rank()));
        Self { orders, rows }
    }

    /// Where mail to `domain` goes that is handled so, and from which pool, where that is ordered.
    /// Where nothing is this costs a look.
    pub fn way(
        &self,
        domain: &Domain,
        handling: Option<&Handling>,
    ) -> (Option<Route>, Option<PoolId>) {
        let mut way = (None, None);
        for row in self.rows.iter().filter(|row| row.whose.takes(domain, handling)) {
            way = (way.0.or(row.route), way.1.or(row.pool));
        }
        way
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::route::{GroupId, TlsLevel};

    fn whose(domain: &str, tenant: &str, campaign: &str) -> Diverted {
        Diverted {
            domain: Domain::parse(domain).ok(),
            tenant: TenantName::parse(tenant).ok(),
            campaign: CampaignName::parse(campaign).ok(),
        }
    }

    fn way(to: &str, pool: &str) -> Way {
        let name = |text: &str| (!text.is_empty()).then(|| text.into());
        Way { to: name(to), pool: name(pool), since: WallTime(0) }
    }

    fn route(name: &str) -> Option<Route> {
        match name {
            MX => Some(Route::Mx(TlsLevel::Opportunistic)),
            name => Some(Route::Group(GroupId(name.strip_prefix('g')?.parse().ok()?))),
        }
    }

    fn pool(name: &str) -> Option<PoolId> {
        Some(PoolId(name.strip_prefix('p')?.parse().ok()?))
    }

    #[test]
    fn what_says_more_goes_before_what_says_less_each_for_its_part() {
        let orders = Orders::from([
            (whose("a.example", "", ""), way("g1", "p1")),
            (whose("", "acme", ""), way("g2", "")),
            (whose("a.example", "acme", ""), way("g3", "")),
            (whose("", "acme", "news"), way("mx", "p4")),
            (whose("b.example", "", ""), way("gone", "p5")),
        ]);
        let diversions = Diversions::new(Arc::new(orders), route, pool);
        let group = |number| Some(Route::Group(GroupId(number)));
        let mx = Some(Route::Mx(TlsLevel::Opportunistic));
        for (domain, tenant, campaign, to, from) in [
            ("a.example", "", "", group(1), Some(1)),
            ("a.example", "acme", "", group(3), Some(1)),
            ("c.example", "acme", "", group(2), None),
            ("a.example", "acme", "news", mx, Some(4)),
            ("c.example", "globex", "news", None, None),
            // A group that is not there; its pool is.
            ("b.example", "", "", None, Some(5)),
            ("below.a.example", "", "", None, None),
        ] {
            let Diverted { domain: Some(domain), tenant, campaign } =
                whose(domain, tenant, campaign)
            else {
                unreachable!()
            };
            let handling = Handling { tenant, campaign, ..Handling::default() }.boxed();
            let said = diversions.way(&domain, handling.as_deref());
            assert_eq!(said, (to, from.map(PoolId)), "{domain} {handling:?}");
        }
        assert_eq!(
            Diversions::default().way(&Domain::parse("a.example").unwrap(), None),
            (None, None)
        );
    }

    #[test]
    fn an_order_is_about_something() {
        for (valid, whose) in [
            (true, whose("a.example", "", "")),
            (true, whose("", "acme", "news")),
            (false, whose("", "", "")),
            (false, whose("a.example", "", "news")),
        ] {
            assert_eq!(whose.is_valid(), valid, "{whose:?}");
        }
    }
}
