//! What an operator says of tenants and of their campaigns.
//!
//! In: what is said of each. Out: what holds for a flow: what is said of its campaign, else of its
//! tenant, else the node's. Lives on: all shards, shared; a reload makes another.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::base::limits::{CAMPAIGN_WEIGHT_DEFAULT, TENANT_QUEUED_DEFAULT, TENANT_WEIGHT_DEFAULT};
use crate::base::rate::Rate;
use crate::base::share::Share;
use crate::base::window::Window;
use crate::mail::campaigns::Campaigns;
use crate::mail::durability::Durability;
use crate::mail::handling::{CampaignName, Handling, TenantName};
use crate::queue::flows::Band;

/// What is said of a tenant or of a campaign, and holds for the node's mail where it is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// From acceptance to the bounce of what could not be delivered.
    pub lifetime: Option<Duration>,
    /// What stands behind the 250 to a message.
    pub durability: Option<Durability>,
}

/// What holds for a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TenantTerms {
    /// Recipients a turn, where tenants share a destination.
    pub weight: u16,
    /// Recipients that it may have in the queue.
    pub queued_max: u64,
    /// Messages that leave the queue, over all shards.
    pub rate: Option<Rate>,
    /// What it may have of what a site takes at once.
    pub share: Option<Share>,
    /// What holds for its campaigns, where nothing else is said of them.
    pub terms: Terms,
}

/// What holds for a campaign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CampaignTerms {
    /// Its share beside others of its tenant; `CAMPAIGN_WEIGHT_DEFAULT` where nothing is said.
    pub weight: u16,
    /// Messages that leave the queue, over all shards, beside its tenant's rate.
    pub rate: Option<Rate>,
    /// When they may.
    pub window: Option<Arc<Window>>,
    /// What it may have of what a site takes at once, of its tenant's share.
    pub share: Option<Share>,
    /// What holds instead of its tenant's.
    pub terms: Terms,
}

impl Default for TenantTerms {
    fn default() -> Self {
        let (weight, queued_max) = (TENANT_WEIGHT_DEFAULT, TENANT_QUEUED_DEFAULT);
        Self { weight, queued_max, rate: None, share: None, terms: Terms::default() }
    }
}

impl Default for CampaignTerms {
    fn default() -> Self {
        let (weight, terms) = (CAMPAIGN_WEIGHT_DEFAULT, Terms::default());
        Self { weight, rate: None, window: None, share: None, terms }
    }
}

impl Terms {
    /// These, and `others` where they say nothing.
    pub(super) fn or(self, others: Self) -> Self {
        Self {
            lifetime: self.lifetime.or(others.lifetime),
            durability: self.durability.or(others.durability),
        }
    }
}

/// All that is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllTerms {
    /// Of tenants; there may be others.
    pub tenants: HashMap<TenantName, TenantTerms>,
    /// Of campaigns.
    pub campaigns: Campaigns<CampaignTerms>,
    /// Whether anyone has a share.
    pub has_shares: bool,
}

/// All that is said, as shards share it.
pub type Tenants = Arc<AllTerms>;

impl AllTerms {
    /// What holds for a tenant, or for mail without one.
    pub fn of_tenant(&self, tenant: Option<&TenantName>) -> TenantTerms {
        tenant.and_then(|tenant| self.tenants.get(tenant).copied()).unwrap_or_default()
    }

    /// What is said of a campaign.
    pub fn of_campaign(
        &self,
        tenant: Option<&TenantName>,
        campaign: Option<&CampaignName>,
    ) -> Option<&CampaignTerms> {
        self.campaigns.find(tenant?, campaign?)
    }

    /// What holds for what is handled so: the campaign's terms, else the tenant's.
    pub fn of(&self, handling: &Handling) -> Terms {
        let (tenant, campaign) = (handling.tenant.as_ref(), handling.campaign.as_ref());
        let of_campaign = self.of_campaign(tenant, campaign);
        let of_campaign = of_campaign.map_or_else(Terms::default, |terms| terms.terms);
        of_campaign.or(self.of_tenant(tenant).terms)
    }

    /// What the tenant, and the campaign, of what is handled so may have of what a site takes at
    /// once.
    pub fn shares(&self, handling: &Handling) -> [Option<Share>; 2] {
        let (tenant, campaign) = (handling.tenant.as_ref(), handling.campaign.as_ref());
        if !self.has_shares {
            return [None; 2];
        }
        let of_campaign = self.of_campaign(tenant, campaign).and_then(|terms| terms.share);
        [self.of_tenant(tenant).share, of_campaign]
    }

    /// The share of what is handled so beside all other senders; 40 is usual.
    pub fn share(&self, handling: &Handling) -> u32 {
        let (tenant, campaign) = (handling.tenant.as_ref(), handling.campaign.as_ref());
        let of_tenant = u32::from(self.of_tenant(tenant).weight);
        let of_campaign = self.of_campaign(tenant, campaign);
        let of_campaign = of_campaign.map_or(CAMPAIGN_WEIGHT_DEFAULT, |terms| terms.weight);
        let of_band = Band::of(handling.priority).quantum().unsigned_abs();
        (of_tenant * u32::from(of_campaign) * of_band / u32::from(CAMPAIGN_WEIGHT_DEFAULT)).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::campaigns::CampaignPattern;
    use crate::mail::handling::Priority;

    fn handling(tenant: &str, campaign: &str, priority: i8) -> Handling {
        Handling {
            tenant: TenantName::parse(tenant).ok(),
            campaign: CampaignName::parse(campaign).ok(),
            priority: Priority::new(priority).expect("in range"),
            ..Handling::default()
        }
    }

    fn hours(hours: u64) -> Option<Duration> {
        Some(Duration::from_secs(hours * 3_600))
    }

    /// `acme` of weight 20, whose mail lives a day and is committed; of its codes an hour, and no
    /// more is said, and of its news the weight alone.
    fn all() -> AllTerms {
        let mut all = AllTerms::default();
        let acme = TenantName::parse("acme").expect("a name");
        let terms = Terms { lifetime: hours(24), durability: Some(Durability::Commit) };
        let of_acme = TenantTerms { weight: 20, terms, ..TenantTerms::default() };
        all.tenants.insert(acme.clone(), of_acme);
        let mut say = |tenant, pattern, weight, terms| {
            let pattern = CampaignPattern::parse(pattern).expect("a pattern");
            assert!(all.campaigns.insert(
                tenant,
                pattern,
                CampaignTerms { weight, terms, ..CampaignTerms::default() }
            ));
        };
        let usual = CAMPAIGN_WEIGHT_DEFAULT;
        say(Some(&acme), "code*", usual, Terms { lifetime: hours(1), durability: None });
        say(Some(&acme), "news", 1, Terms::default());
        say(None, "news", 40, Terms { durability: Some(Durability::Memory), ..Terms::default() });
        all
    }

    #[test]
    fn a_campaign_goes_before_its_tenant_and_that_before_the_node() {
        let (all, commit, memory) = (all(), Some(Durability::Commit), Some(Durability::Memory));
        for (tenant, campaign, lifetime, durability) in [
            ("acme", "codes", hours(1), commit),
            ("acme", "news", hours(24), commit),
            ("acme", "other", hours(24), commit),
            ("acme", "", hours(24), commit),
            ("globex", "news", None, memory),
            ("globex", "codes", None, None),
            ("", "", None, None),
        ] {
            let of = all.of(&handling(tenant, campaign, 0));
            assert_eq!(of, Terms { lifetime, durability }, "{tenant} {campaign}");
        }
    }

    #[test]
    fn a_share_is_made_of_tenant_campaign_and_priority() {
        let all = all();
        let share = |tenant, campaign, priority| all.share(&handling(tenant, campaign, priority));
        assert_eq!([share("", "", 0), share("globex", "", 0), share("acme", "", 0)], [40, 40, 80]);
        assert_eq!([share("globex", "news", 0), share("acme", "news", 0)], [160, 8]);
        assert_eq!([share("acme", "codes", 9), share("", "", -9)], [320, 10]);
    }
}
