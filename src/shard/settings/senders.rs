//! Who sends, as the configuration says.

use std::sync::Arc;

use crate::base::rate::Rate;
use crate::config::options::{self, Config, SenderTerms};
use crate::policy::senders::Senders;
use crate::queue::{AllTerms, CampaignTerms, TenantTerms, Tenants, Terms};

/// How it is known who sends.
pub(super) fn senders(config: &Config) -> Senders {
    let mut senders = Senders::new(config.senders.fields.clone());
    for tenant in &config.senders.tenants {
        for login in &tenant.logins {
            senders.insert_login(login.clone(), tenant.name.clone());
        }
        for listener in &tenant.listeners {
            senders.insert_listener(*listener, tenant.name.clone());
        }
    }
    senders
}

/// What holds for those of whom something is said.
pub(super) fn tenants(config: &Config) -> Tenants {
    let mut all = AllTerms::default();
    for tenant in &config.senders.tenants {
        let terms = TenantTerms {
            weight: tenant.weight,
            queued_max: tenant.queued_max,
            rate: tenant.rate.map(rate),
            share: tenant.share,
            terms: terms(&tenant.terms),
        };
        all.has_shares |= tenant.share.is_some();
        all.tenants.insert(tenant.name.clone(), terms);
    }
    for campaign in &config.senders.campaigns {
        all.has_shares |= campaign.share.is_some();
        let terms = CampaignTerms {
            weight: campaign.weight,
            rate: campaign.rate.map(rate),
            window: campaign.window.clone(),
            share: campaign.share,
            terms: terms(&campaign.terms),
        };
        all.campaigns.insert(campaign.tenant.as_ref(), campaign.pattern.clone(), terms);
    }
    Arc::new(all)
}

fn terms(options: &SenderTerms) -> Terms {
    Terms { lifetime: options.lifetime, durability: options.durability }
}

fn rate(rate: options::Rate) -> Rate {
    Rate { messages: rate.messages, per: rate.per }
}
