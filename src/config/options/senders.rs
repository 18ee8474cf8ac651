//! For whom the node sends.

use std::sync::Arc;
use std::time::Duration;

use crate::base::share::Share;
use crate::base::window::Window;
use crate::config::options::{LinkOptions, Rate};
use crate::mail::campaigns::CampaignPattern;
use crate::mail::durability::Durability;
use crate::mail::handling::TenantName;
use crate::mail::route::PoolId;
use crate::policy::senders::labels::FieldNames;
use crate::smtp::sasl::Name;

/// Who sends, and how it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SenderOptions {
    /// The header fields that say so; `None`: none is read.
    pub fields: Option<FieldNames>,
    /// Those of whom something is said; there may be others. Their names are unique.
    pub tenants: Vec<Tenant>,
    /// Campaigns of which something is said; no two have the same pattern and tenant.
    pub campaigns: Vec<Campaign>,
}

/// A customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// What it is called.
    pub name: TenantName,
    /// Recipients a turn, where tenants share a destination.
    pub weight: u16,
    /// Who logs in as one of these sends for it; no other tenant has them.
    pub logins: Vec<Name>,
    /// What comes in here is its: places in `listeners`, of which no other tenant has any.
    pub listeners: Vec<u16>,
    /// Recipients in the queue, a shard: with more, it is told to come again later.
    pub queued_max: u64,
    /// Where its mail leaves from.
    pub pool: Option<PoolId>,
    /// Messages that leave the queue, over all shards; `None` is without limit.
    pub rate: Option<Rate>,
    /// What it may have of what a site takes at once; `None`: all of it.
    pub share: Option<Share>,
    /// What holds for its messages.
    pub terms: SenderTerms,
    /// What it wants of its messages' links.
    pub links: LinkOptions,
}

/// What tenants send for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Campaign {
    /// What it is called, or how its name begins.
    pub pattern: CampaignPattern,
    /// Whose it is; `None`: anyone's.
    pub tenant: Option<TenantName>,
    /// Its part of its tenant's share, beside others of it.
    pub weight: u16,
    /// Where its mail leaves from, if that is not its tenant's.
    pub pool: Option<PoolId>,
    /// Messages that leave the queue, over all shards; `None` is without limit but its tenant's.
    pub rate: Option<Rate>,
    /// When they may; `None`: always.
    pub window: Option<Arc<Window>>,
    /// What it may have of what a site takes at once; `None`: its tenant's share.
    pub share: Option<Share>,
    /// What holds for its messages.
    pub terms: SenderTerms,
}

/// What is said of the messages of a tenant or a campaign.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SenderTerms {
    /// From acceptance to the bounce, if that is not the node's.
    pub lifetime: Option<Duration>,
    /// When they get their 250, if that is not as their listener has it.
    pub durability: Option<Durability>,
}
