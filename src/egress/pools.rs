//! Choose the pool of sources that a message leaves from: by who sends it, or by where it goes.
//!
//! Precedence: its campaign's, its tenant's, its destination domain's, its provider's (a rule of
//! the shaping file), the default. Lives on: all shards, shared; a reload makes another.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::egress::nexthop::ByDomain;
use crate::egress::source::Pool;
use crate::mail::address::Domain;
use crate::mail::campaigns::Campaigns;
use crate::mail::handling::{Handling, TenantName};
use crate::mail::route::PoolId;

/// All pools, and whose mail leaves from which.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pools {
    /// By `PoolId`: the default one first.
    pub all: Vec<Arc<Pool>>,
    /// Of those tenants that have one.
    pub tenants: HashMap<TenantName, PoolId>,
    /// Of the campaigns of which something is said; `None`: not where they leave from.
    pub campaigns: Campaigns<Option<PoolId>>,
    /// Of those destination domains that have one.
    pub domains: ByDomain<PoolId>,
}

impl Pools {
    /// The pool with this id.
    pub fn pool(&self, id: PoolId) -> &Arc<Pool> {
        &self.all[usize::from(id.0)]
    }

    /// The pool of this name.
    pub fn named(&self, name: &str) -> Option<PoolId> {
        let place = self.all.iter().position(|pool| *pool.name == *name)?;
        u16::try_from(place).ok().map(PoolId)
    }

    /// Where mail to `domain` leaves from, if the domain says so.
    pub fn of_domain(&self, domain: &Domain) -> Option<PoolId> {
        self.domains.find(domain)
    }

    /// Where a message leaves from that is handled so; `destination`: what its domain or its
    /// provider says.
    pub fn choose(&self, handling: Option<&Handling>, destination: Option<PoolId>) -> PoolId {
        // Most nodes have one pool.
        match self.all.len() {
            1 => PoolId::DEFAULT,
            _ => self.of_sender(handling).or(destination).unwrap_or_default(),
        }
    }

    /// Where a message leaves from that is handled so, if who sends it says so.
    pub fn of_sender(&self, handling: Option<&Handling>) -> Option<PoolId> {
        let Handling { tenant, campaign, .. } = handling?;
        let tenant = tenant.as_ref()?;
        let of_campaign = campaign.as_ref().and_then(|name| self.campaigns.find(tenant, name));
        of_campaign.copied().flatten().or_else(|| self.tenants.get(tenant).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::campaigns::CampaignPattern;
    use crate::mail::handling::CampaignName;

    fn handling(tenant: &str) -> Handling {
        Handling { tenant: TenantName::parse(tenant).ok(), ..Handling::default() }
    }

    #[test]
    fn the_sender_goes_before_the_destination_and_that_before_the_default() {
        let pool = |name: &str| Arc::new(Pool { name: name.into(), members: [].into() });
        let mut pools = Pools {
            all: ["default", "one", "two"].map(pool).into(),
            tenants: [(TenantName::parse("acme").expect("a name"), PoolId(2))].into(),
            ..Pools::default()
        };
        let pattern = |text| CampaignPattern::parse(text).expect("a pattern");
        pools.campaigns.insert(None, pattern("news*"), Some(PoolId(1)));
        pools.campaigns.insert(None, pattern("newsletter"), None);
        let domain = |text: &str| Domain::parse(text).expect("a domain");
        pools.domains.insert_below(&domain("example"), PoolId(1));
        let (acme, globex) = (handling("acme"), handling("globex"));
        let of = |name| Handling { campaign: CampaignName::parse(name).ok(), ..handling("acme") };
        let (news, letter) = (of("news/7"), of("newsletter"));
        let there = pools.of_domain(&domain("b.example"));
        assert_eq!((there, pools.of_domain(&domain("example"))), (Some(PoolId(1)), None));
        for (who, to, from) in [
            (None, None, 0),
            (None, there, 1),
            (Some(&globex), there, 1),
            (Some(&globex), None, 0),
            (Some(&acme), there, 2),
            (Some(&acme), None, 2),
            (Some(&news), there, 1),
            (Some(&letter), there, 2),
        ] {
            assert_eq!(pools.choose(who, to), PoolId(from), "{who:?} to {to:?}");
        }
        assert_eq!((pools.named("two"), pools.named("three")), (Some(PoolId(2)), None));
        pools.all.truncate(1);
        assert_eq!(pools.choose(Some(&acme), there), PoolId::DEFAULT, "there is one");
    }
}
