//! The paces of tenants and campaigns, which all shards keep together.
//!
//! A pace is remembered for as long as it says something: a tenant whose queue is empty may not
//! send at once what an hour allows. Cost: about 400 bytes a tenant or campaign that has a rate and
//! sent of late. Locked only when a shard begins to hold mail of such a one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::rate::Cell;
use crate::base::time::Monotonic;
use crate::mail::handling::{CampaignName, TenantName};

/// All of them; one for the process.
#[derive(Debug, Default)]
pub struct SharedPaces(Mutex<Paces>);

#[derive(Debug, Default)]
struct Paces {
    cells: HashMap<(TenantName, Option<CampaignName>), Arc<Cell>>,
    /// With so many, those that say nothing any more are looked for.
    sweep_at: usize,
}

/// Fewer are never looked through.
const SWEEP_LEAST: usize = 64;

impl SharedPaces {
    /// The pace of a tenant, or of one campaign of it.
    pub(super) fn share(
        &self,
        tenant: &TenantName,
        campaign: Option<&CampaignName>,
        now: Monotonic,
    ) -> Arc<Cell> {
        // The map is whole between any two of its calls, even where a holder of the lock panicked.
        let paces = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if paces.cells.len() >= paces.sweep_at.max(SWEEP_LEAST) {
            paces.cells.retain(|_, cell| Arc::strong_count(cell) > 1 || !cell.is_idle(now));
            paces.sweep_at = paces.cells.len() * 2;
        }
        let key = (tenant.clone(), campaign.cloned());
        paces.cells.entry(key).or_default().clone()
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).cells.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::ids::ShardId;
    use crate::base::rate::Rate;

    #[test]
    fn a_pace_is_forgotten_once_it_says_nothing_and_nobody_holds_it() {
        let (paces, now) = (SharedPaces::default(), Monotonic(1_000_000_000));
        let tenant = |number: usize| TenantName::parse(&format!("t{number}")).expect("a name");
        let hourly = Rate { messages: 1, per: Duration::from_secs(3_600) };
        let held = paces.share(&tenant(0), None, now);
        let used = paces.share(&tenant(1), None, now);
        assert_eq!(used.try_message(ShardId(0), hourly, now), Ok(()));
        drop(used);
        for number in 2..10 * SWEEP_LEAST {
            paces.share(&tenant(number), CampaignName::parse("news").ok().as_ref(), now);
        }
        assert!(paces.len() <= SWEEP_LEAST, "{}", paces.len());
        let again = paces.share(&tenant(1), None, now);
        assert!(again.try_message(ShardId(1), hourly, now).is_err(), "an hour is not over");
        assert!(Arc::ptr_eq(&held, &paces.share(&tenant(0), None, now)));
    }
}
