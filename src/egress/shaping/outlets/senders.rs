//! Which tenants and campaigns a site is to have nothing of, and until when.
//!
//! Invariant: what every job asks is one atomic; a lock is taken only while somebody is suspended.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;

use crate::base::limits::SUSPENDED_SENDERS_MAX;
use crate::base::time::Monotonic;
use crate::egress::line::Sender;

/// Those of one site, over all shards.
#[derive(Debug, Default)]
pub(super) struct Suspended {
    /// The last end.
    until: AtomicU64,
    /// How often somebody was suspended.
    times: AtomicU32,
    senders: Mutex<HashMap<u64, (Monotonic, Arc<str>)>>,
}

impl Suspended {
    fn senders(&self) -> MutexGuard<'_, HashMap<u64, (Monotonic, Arc<str>)>> {
        self.senders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The site is to have nothing of a tenant or a campaign until then. Beyond
    /// `SUSPENDED_SENDERS_MAX` whoever would be free first is.
    pub(super) fn add(&self, name: u64, until: Monotonic, why: &Arc<str>, now: Monotonic) {
        let mut senders = self.senders();
        senders.retain(|_, (until, _)| *until > now);
        if senders.len() >= SUSPENDED_SENDERS_MAX {
            let first = senders.iter().min_by_key(|(_, (until, _))| *until).map(|(name, _)| *name);
            first.map(|name| senders.remove(&name));
        }
        senders.insert(name, (until, why.clone()));
        self.until.fetch_max(until.0, Ordering::Relaxed);
        self.times.fetch_add(1, Ordering::Release);
    }

    /// Why the site is to have nothing of a sender, and until when.
    pub(super) fn of(&self, sender: Sender, now: Monotonic) -> Option<(Arc<str>, Monotonic)> {
        if !self.has_any(now) {
            return None;
        }
        let senders = self.senders();
        let of = |name: u64| senders.get(&name).filter(|(until, _)| *until > now && name != 0);
        let longest = [of(sender.name), of(sender.tenant)].into_iter().flatten();
        longest.max_by_key(|(until, _)| *until).map(|(until, why)| (why.clone(), *until))
    }

    pub(super) fn has_any(&self, now: Monotonic) -> bool {
        self.until.load(Ordering::Relaxed) > now.0
    }

    /// Other than before whenever somebody was suspended.
    pub(super) fn times(&self) -> u32 {
        self.times.load(Ordering::Acquire)
    }

    /// Nobody is any more.
    pub(super) fn clear(&self) {
        self.senders().clear();
        self.until.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_all_of_its_campaigns_and_a_campaign_itself() {
        let suspended = Suspended::default();
        let at = |seconds: u64| Monotonic(seconds * 1_000_000_000);
        let sender = |name, tenant| Sender { name, tenant, ..Sender::NOBODY };
        let why = |name: u64, tenant: u64, now: u64| {
            suspended.of(sender(name, tenant), at(now)).map(|(why, until)| (why.to_string(), until))
        };
        assert_eq!((why(7, 1, 0), suspended.times()), (None, 0));
        suspended.add(7, at(10), &"campaign".into(), at(0));
        suspended.add(2, at(20), &"tenant".into(), at(0));
        assert_eq!(why(7, 1, 9), Some(("campaign".to_owned(), at(10))));
        assert_eq!((why(8, 1, 9), why(0, 0, 9)), (None, None));
        assert_eq!(why(9, 2, 9), Some(("tenant".to_owned(), at(20))));
        assert_eq!((why(7, 1, 10), suspended.has_any(at(19))), (None, true));
        assert_eq!((suspended.has_any(at(20)), suspended.times()), (false, 2));
        for name in 100..100 + 2 * SUSPENDED_SENDERS_MAX as u64 {
            suspended.add(name, at(50 + name), &"many".into(), at(30));
        }
        assert_eq!(suspended.senders().len(), SUSPENDED_SENDERS_MAX);
        suspended.clear();
        assert!(!suspended.has_any(at(0)));
    }
}
