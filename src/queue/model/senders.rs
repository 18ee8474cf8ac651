//! Whose the naive model's messages are, by their numbers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::mail::campaigns::CampaignPattern;
use crate::mail::handling::{CampaignName, Handling, Priority, TenantName};
use crate::queue::model::rows::ModelMessage;
use crate::queue::{
    AllTerms, Campaign, CampaignTerms, Pause, Queue, State, TenantTerms, Tenants, Terms,
};

pub(super) fn tenant(number: u8) -> TenantName {
    TenantName::parse(["acme", "globex"][usize::from(number)]).expect("a name")
}

/// What can be stopped: both tenants, and a campaign of the first.
pub(super) fn stop(which: u8) -> Pause {
    let campaign = (which == 2).then(|| CampaignName::parse("news").expect("a name"));
    Pause { tenant: tenant(which % 2), campaign }
}

/// Whose a message is.
pub(super) fn tenant_of(id: u64) -> Option<u8> {
    [None, Some(0), Some(0), Some(1), None, Some(0)][usize::try_from(id % 6).expect("small")]
}

/// Nobody, a tenant, its campaign, another's at high priority, nobody's at a low one, and the same
/// campaign at a low one.
pub(super) fn handling(id: u64) -> Handling {
    let news = || CampaignName::parse("news").ok();
    let (campaign, priority) = match id % 6 {
        2 => (news(), 0),
        3 => (None, 5),
        4 => (None, -2),
        5 => (news(), -9),
        _ => (None, 0),
    };
    let priority = Priority::new(priority).expect("in range");
    Handling { tenant: tenant_of(id).map(tenant), campaign, priority, ..Handling::default() }
}

/// Whether a message is not to depart, where these of `stop(0..)` are stopped.
pub(super) fn is_stopped(id: u64, [first, second, campaign]: [bool; 3]) -> bool {
    let is_news = id % 6 == 2 || id % 6 == 5;
    match tenant_of(id) {
        Some(0) => first || (campaign && is_news),
        Some(_) => second,
        None => false,
    }
}

/// How long a message lives: that campaign's shortly, less than it takes to report a delay; all of
/// the second tenant's longer than others.
pub(super) fn lifetime(id: u64) -> u64 {
    match id % 6 {
        2 | 5 => 35,
        3 => 150,
        _ => 100,
    }
}

/// Terms that say so.
pub(super) fn terms() -> Tenants {
    let mut all = AllTerms::default();
    let lifetime =
        |seconds| Terms { lifetime: Some(Duration::from_secs(seconds)), ..Terms::default() };
    let of_tenant = TenantTerms { terms: lifetime(150), ..TenantTerms::default() };
    let of_campaign = CampaignTerms { terms: lifetime(35), ..CampaignTerms::default() };
    let news = CampaignPattern::parse("news").expect("a pattern");
    all.campaigns.insert(Some(&tenant(0)), news, of_campaign);
    all.tenants.insert(tenant(1), of_tenant);
    Arc::new(all)
}

/// The queue counts of each campaign what the messages are.
pub(super) fn check_campaigns(queue: &Queue<u64>, messages: &BTreeMap<u64, ModelMessage>) {
    let mut all: BTreeMap<Campaign, [u64; 4]> = BTreeMap::new();
    for (id, message) in messages {
        let Handling { tenant: Some(tenant), campaign: name, .. } = handling(*id) else { continue };
        let counts = all.entry(Campaign { tenant, name }).or_default();
        for row in message.recipients.values() {
            let place = match row.state {
                State::Ready => 0,
                State::Dispatched => 1,
                State::Deferred => 2,
                State::Held => 3,
            };
            counts[place] += 1;
        }
    }
    let told = |campaign: &Campaign| {
        let of = queue.campaign(campaign).expect("it is queued");
        [of.ready, of.dispatched, of.deferred, of.held]
    };
    let top = queue.top_campaigns(None, 9);
    let seen: BTreeMap<Campaign, _> = top.iter().map(|one| (one.clone(), told(one))).collect();
    assert_eq!((seen, top.len()), (all.clone(), all.len()));
    let of_first = queue.top_campaigns(Some(&tenant(0)), 9);
    assert_eq!(of_first.len(), all.keys().filter(|one| one.tenant == tenant(0)).count());
}
