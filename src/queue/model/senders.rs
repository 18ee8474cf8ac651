//! Whose the naive model's messages are, by their numbers.

use crate::mail::handling::{CampaignName, Handling, Priority, TenantName};
use crate::queue::Pause;

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
