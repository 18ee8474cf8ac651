//! Know to whom nothing is sent any more: hard bounces, complaints, unsubscribes, others by hand.
//!
//! In: a recipient and the lists that hold for its sender. Out: whether it is on one, since when
//! and why. Invariant: a recipient that is on a list is found, whatever else goes on; one that is
//! on none costs a hash and a line or two of cache ([`filter`]), but for one in some thousands, who
//! is looked up in vain. Lives on: all shards, shared; entries lie in a store that only threads
//! beside the shards ask ([`Entries`]).
//!
//! Addresses are compared without regard to ASCII case, local parts too: RFC 5321 §2.4 lets a host
//! tell cases apart, hardly any does, and whoever asked to be let alone meant all of them.

mod address;
mod entry;
mod filter;
mod registry;
pub mod rows;
#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

use crate::base::time::WallTime;
use crate::mail::address::Mailbox;
use crate::mail::handling::TenantName;
use crate::mail::outcome::{Reason, Stage};
use crate::mail::status::{EnhancedStatus, Reply};
use crate::policy::reply;

pub use address::{Key, Subject};
pub use entry::{Entry, Kind, ListName, Located};
pub use filter::Filter;
pub use registry::{Change, Done, Registry, Totals};

/// When a recipient is looked for on the lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum At {
    /// Never.
    #[default]
    Off,
    /// At RCPT: whoever is on a list is refused.
    Rcpt,
    /// Before each attempt: whoever is on a list is given up without one, and without a DSN.
    Queue,
}

/// The lists that hold for a sender: the node's own, and one more where it has one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lists<'a> {
    /// Whose.
    pub tenant: Option<&'a TenantName>,
}

/// The store cannot say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the suppression list cannot be read: {0}")]
pub struct Unreadable(pub String);

/// Where entries lie.
pub trait Entries: Debug + Send + Sync {
    /// The entry of exactly this address or domain on this list, expired or not.
    fn entry(&self, list: &ListName, subject: &str) -> Result<Option<Entry>, Unreadable>;
}

/// The lists, as shards see them.
#[derive(Debug)]
pub struct Suppression {
    entries: Arc<dyn Entries>,
    /// `None` until it is built: everybody is looked up then.
    filter: ArcSwapOption<Filter>,
    /// Entries, those that have expired included.
    count: AtomicU64,
    /// There may be an entry of a whole domain.
    has_domains: AtomicBool,
}

/// A recipient that the filter does not rule out.
#[derive(Clone, Debug)]
pub struct Lookup {
    suppression: Arc<Suppression>,
    tenant: Option<ListName>,
    key: Box<Key>,
    now: WallTime,
}

/// What a lookup came to.
pub type Found = Result<Option<Located>, Unreadable>;

/// Which recipients of a message are on a list.
pub type AllFound = Result<Vec<(u16, Located)>, Unreadable>;

impl Suppression {
    /// Of so many `entries`; without a filter.
    pub fn new(entries: Arc<dyn Entries>, count: u64) -> Self {
        Self {
            entries,
            filter: ArcSwapOption::empty(),
            count: AtomicU64::new(count),
            has_domains: AtomicBool::new(true),
        }
    }

    /// How `recipient` is to be looked up; `None`: it is on none of these lists. Costs nothing
    /// where there is no entry.
    pub fn suspects(
        self: &Arc<Self>,
        recipient: &Mailbox,
        lists: Lists<'_>,
        now: WallTime,
    ) -> Option<Lookup> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let key = Key::new(recipient);
        let may_be_on = |list: &str| self.may_hold(list, &key);
        let tenant = lists.tenant.map(TenantName::as_str);
        if !may_be_on(ListName::GLOBAL.as_str()) && !tenant.is_some_and(may_be_on) {
            return None;
        }
        let tenant = lists.tenant.map(ListName::from);
        Some(Lookup { suppression: self.clone(), tenant, key: Box::new(key), now })
    }

    fn may_hold(&self, list: &str, key: &Key) -> bool {
        let filter = self.filter.load();
        let Some(filter) = filter.as_ref() else { return true };
        filter.may_hold(list, key.address())
            || self.has_domains.load(Ordering::Relaxed) && filter.may_hold(list, key.domain())
    }

    /// Put a filter in force that holds all entries. `has_domains`: one is of a whole domain.
    pub fn set_filter(&self, filter: Filter, has_domains: bool) {
        self.filter.store(Some(Arc::new(filter)));
        self.has_domains.store(has_domains, Ordering::Relaxed);
    }

    /// An entry is about to be in the store.
    pub fn on_adding(&self, list: &ListName, subject: &Subject) {
        if subject.is_domain() {
            self.has_domains.store(true, Ordering::Relaxed);
        }
        if let Some(filter) = self.filter.load().as_ref() {
            filter.insert(list.as_str(), subject.as_str());
        }
    }

    /// So many entries are in the store.
    pub fn set_count(&self, count: u64) {
        self.count.store(count, Ordering::Relaxed);
    }

    /// Entries, those that have expired included.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Octets of the filter; 0 where there is none.
    pub fn filter_bytes(&self) -> usize {
        self.filter.load().as_ref().map_or(0, |filter| filter.memory())
    }

    /// Whether the filter is to be built anew: there is none, or it holds too many.
    pub fn wants_filter(&self) -> bool {
        self.filter.load().as_ref().is_none_or(|filter| filter.is_full())
    }
}

/// Look up recipients of a message: blocks.
pub fn run_all(lookups: &[(u16, Lookup)]) -> AllFound {
    let found = lookups.iter().map(|(recipient, lookup)| {
        let found = lookup.run()?;
        Ok(found.map(|located| (*recipient, located)))
    });
    found.filter_map(Result::transpose).collect()
}

impl Lookup {
    /// Look it up: blocks.
    pub fn run(&self) -> Found {
        for list in [Some(&ListName::GLOBAL), self.tenant.as_ref()].into_iter().flatten() {
            for subject in [self.key.address(), self.key.domain()] {
                let entry = self.suppression.entries.entry(list, subject)?;
                if let Some(entry) = entry.filter(|entry| entry.holds(self.now)) {
                    let subject = Subject::known(subject);
                    return Ok(Some(Located { list: list.clone(), subject, entry }));
                }
            }
        }
        Ok(None)
    }
}

//= RFC 3463 §3.8
//# X.7.1 Delivery not authorized, message refused
/// What a client is told of a recipient that is on a list.
pub fn refused(found: &Located) -> Reply {
    reply(550, (5, 7, 1), &why(found))
}

/// Why such a recipient is given up.
pub fn given_up(found: &Located) -> Reason {
    let status = EnhancedStatus::new(5, 7, 1);
    Reason { stage: Stage::Route, status, reply: None, detail: why(found).into(), peer: "".into() }
}

fn why(found: &Located) -> String {
    let Located { list, subject, entry } = found;
    let since = &entry.when.to_rfc3339()[..10];
    let what = if subject.is_domain() { "The domain" } else { "The recipient" };
    format!("{what} is on the suppression list {list}: {} of {since}", entry.kind)
}

//= RFC 3463 §3.4
//# X.3.0 Other or undefined mail system status
/// What a client is told where the store cannot say.
pub fn unreadable() -> Reply {
    reply(451, (4, 3, 0), "The suppression list cannot be read, try again later")
}

//= RFC 3463 §3.4
//# X.3.2 System not accepting network messages
/// What a client is told where too many are being looked up.
pub fn busy() -> Reply {
    reply(451, (4, 3, 2), "Too many recipients are being looked up, try again later")
}
