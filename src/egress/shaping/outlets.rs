//! What all shards know of a source at a site: its pace, its connections, what peers said.
//!
//! An *outlet* is one source at one site. What every message asks is atomic; what a refusal asks is
//! behind a lock. Invariant: an outlet lives as long as a shard uses it, or something is known of
//! it that another has not. Lives on: the process; one for all shards.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hashbrown::HashMap;

use crate::base::ids::ShardId;
use crate::base::limits::{MEASURED_FOR, OUTLETS_MAX, PACE_LEAST_MEASURED, SHAPED_SITES_MAX};
use crate::base::rate::{Cell, Rate};
use crate::base::time::Monotonic;
use crate::egress::line::Sender;
use crate::egress::shaping::Shape;
use crate::egress::shaping::automation::{Effect, Trigger, Triggers};
use crate::egress::shaping::pace::{Bounds, Pace, Slowed, rate_of, units};
use crate::egress::shaping::together::AllTogether;

mod held;
mod senders;

use held::Held;

/// What an outlet may do where an operator said so, whatever the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Override {
    /// This rate.
    Rate(Rate),
    /// Any rate.
    Unlimited,
}

/// Whose rate it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The shape's.
    Shape,
    /// What is left of it since the peer said that it is too much.
    Peer,
    /// What an operator set.
    Operator,
}

/// One source at one site, over all shards.
#[derive(Debug, Default)]
pub struct Outlet {
    /// The source, by its name.
    source: Box<str>,
    cell: Cell,
    /// How many there are, over all shards and pools.
    pub(in crate::egress) held: Held,
    /// [`Slowed`], and what it climbs to where no rate is set; as the book has them.
    slowed: AtomicU64,
    from: AtomicU32,
    /// What an operator set: 0 nothing, `u32::MAX` any rate, else a rate.
    fixed: AtomicU32,
    /// Left alone until then; 0: it is not.
    suspended: AtomicU64,
    /// Where no rate is set: since when messages are counted (in seconds), and how many there were.
    sent: AtomicU64,
    /// What it went at in the span before.
    measured: AtomicU32,
    /// Something is other than when it was last written down.
    is_changed: AtomicBool,
    book: Mutex<Book>,
}

/// What only refusals and operators ask.
#[derive(Debug, Default)]
struct Book {
    pace: Pace,
    /// What the pace goes by.
    bounds: Option<Bounds>,
    /// As the rules in force have it.
    shape: Option<Shape>,
    triggers: Triggers,
    /// Why it is suspended.
    why: Option<Arc<str>>,
}

impl Outlet {
    fn new(source: &str) -> Self {
        Self { source: source.into(), ..Self::default() }
    }

    /// The source.
    pub fn source(&self) -> &str {
        &self.source
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // It is whole between any two of its calls.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It has this shape from now on.
    pub fn take_shape(&self, shape: &Shape) {
        let mut book = self.book();
        (book.bounds, book.shape) = (Some(bounds(shape)), Some(shape.clone()));
    }

    /// The shape that it has.
    pub fn shape(&self) -> Option<Shape> {
        self.book().shape.clone()
    }

    fn changed(&self) {
        self.is_changed.store(true, Ordering::Release);
    }

    /// Connections, over all shards.
    pub fn connections(&self) -> u32 {
        self.held.open()
    }

    /// The rate in force.
    pub fn rate(&self, shape: &Shape, now: Monotonic) -> (Option<Rate>, By) {
        match self.fixed.load(Ordering::Relaxed) {
            0 => {}
            u32::MAX => return (None, By::Operator),
            fixed => return (Some(rate_of(fixed)), By::Operator),
        }
        let bits = self.slowed.load(Ordering::Relaxed);
        if bits == 0 {
            return (shape.rate, By::Shape);
        }
        let from = || match self.from.load(Ordering::Relaxed) {
            0 => None,
            from => Some(rate_of(from)),
        };
        let ceiling = shape.rate.or_else(from);
        let slowed = |top| Slowed::from_bits(bits).rate(top, shape.recovery, now);
        match ceiling.and_then(slowed) {
            Some(rate) => (Some(rate), By::Peer),
            None => (shape.rate, By::Shape),
        }
    }

    /// Ask to send a message of `shard` now; refused, it may be asked again at the time given.
    pub(in crate::egress) fn try_message(
        &self,
        shard: ShardId,
        shape: &Shape,
        now: Monotonic,
    ) -> Result<(), (Rate, By, Monotonic)> {
        let (rate, by) = self.rate(shape, now);
        if shape.rate.is_none() {
            self.count(now);
        }
        let Some(rate) = rate else { return Ok(()) };
        self.cell.try_message(shard, rate, now).map_err(|at| (rate, by, at))
    }

    /// A message that was granted is not sent after all.
    pub(in crate::egress) fn give_back(&self, shape: &Shape, now: Monotonic) {
        if let (Some(rate), _) = self.rate(shape, now) {
            self.cell.give_back(rate);
        }
    }

    /// Whether a message could be sent now.
    pub(in crate::egress) fn would_send(&self, shape: &Shape, now: Monotonic) -> bool {
        self.rate(shape, now).0.is_none_or(|rate| self.cell.would_send(rate, now))
    }

    fn count(&self, now: Monotonic) {
        let second = now.0 / 1_000_000_000;
        let before = self.sent.load(Ordering::Relaxed);
        let (since, count) = (before >> 32, before & u64::from(u32::MAX));
        let is_over = second.saturating_sub(since) >= MEASURED_FOR.as_secs();
        let next = if is_over { second << 32 | 1 } else { since << 32 | (count + 1) };
        let changed =
            self.sent.compare_exchange(before, next, Ordering::Relaxed, Ordering::Relaxed);
        // Whoever was quicker has counted; one message more or less does not matter here.
        if changed.is_ok() && is_over {
            self.measured.store(measured(before, second), Ordering::Relaxed);
        }
    }

    /// What messages go at.
    fn goes_at(&self, now: Monotonic) -> Rate {
        let second = now.0 / 1_000_000_000;
        let present = measured(self.sent.load(Ordering::Relaxed), second);
        let messages = PACE_LEAST_MEASURED;
        let least = units(Rate { messages, per: Duration::from_secs(1) });
        rate_of(present.max(self.measured.load(Ordering::Relaxed)).max(least))
    }

    /// The site was too much for.
    pub fn slow_down(
        &self,
        shape: &Shape,
        to: Option<Rate>,
        hold: Duration,
        now: Monotonic,
    ) -> bool {
        let mut book = self.book();
        let bounds = bounds(shape);
        let slower = book.pace.slow_down(&bounds, self.goes_at(now), to, hold, now);
        book.bounds = Some(bounds);
        self.publish(&book);
        if slower {
            self.changed();
        }
        slower
    }

    fn publish(&self, book: &Book) {
        let (slowed, from) = book.pace.published();
        self.from.store(from, Ordering::Relaxed);
        self.slowed.store(slowed, Ordering::Release);
    }

    /// A reply that `trigger` fits came; where it is about one sender, it is remembered by `name`.
    pub fn note(&self, trigger: &Trigger, name: &Arc<str>, now: Monotonic) -> Effect {
        self.book().triggers.note(trigger, name, now)
    }

    /// Leave the site alone until then, because of `why`.
    pub fn suspend(&self, until: Monotonic, why: &Arc<str>) {
        self.book().why = Some(why.clone());
        self.suspended.fetch_max(until.0, Ordering::Relaxed);
        self.changed();
    }

    /// Until when the site is left alone.
    pub fn suspended(&self, now: Monotonic) -> Option<Monotonic> {
        let until = self.suspended.load(Ordering::Relaxed);
        (until > now.0).then_some(Monotonic(until))
    }

    /// Why it is.
    pub fn why(&self) -> Option<Arc<str>> {
        self.book().why.clone()
    }

    /// An operator says what rate it has, whatever the rules and the peer say; `None`: no more.
    pub fn set(&self, rate: Option<Override>) {
        let fixed = match rate {
            None => 0,
            Some(Override::Unlimited) => u32::MAX,
            Some(Override::Rate(rate)) => units(rate).min(u32::MAX - 1),
        };
        self.fixed.store(fixed, Ordering::Relaxed);
        self.changed();
    }

    /// What an operator set.
    pub fn fixed(&self) -> Option<Override> {
        match self.fixed.load(Ordering::Relaxed) {
            0 => None,
            u32::MAX => Some(Override::Unlimited),
            fixed => Some(Override::Rate(rate_of(fixed))),
        }
    }

    /// Forget what peers said, and what an operator set.
    pub fn reset(&self) {
        let mut book = self.book();
        let (bounds, shape) = (book.bounds, book.shape.take());
        *book = Book { bounds, shape, ..Book::default() };
        self.publish(&book);
        self.suspended.store(0, Ordering::Relaxed);
        self.set(None);
    }

    /// What another run left: so slow, held for a while, between what was in force then.
    pub fn restore(
        &self,
        (rate, from): (Rate, Option<Rate>),
        hold: Duration,
        bounds: Bounds,
        now: Monotonic,
    ) {
        let mut book = self.book();
        book.pace = Pace::restored(rate, from, now + hold);
        book.bounds = Some(bounds);
        self.publish(&book);
    }

    /// For another run, if it is slowed down now: the rate, what it climbs to where no rate is set,
    /// how long it is held, and between what.
    pub fn slowed(&self, now: Monotonic) -> Option<(Rate, Option<Rate>, Duration, Bounds)> {
        let book = self.book();
        let bounds = book.bounds?;
        let rate = book.pace.rate(&bounds, now)?;
        Some((rate, book.pace.from(), book.pace.held(now), bounds))
    }

    /// The rules that are in force for what peers said, and until when.
    pub fn in_force(&self, now: Monotonic) -> Vec<(String, Monotonic)> {
        let book = self.book();
        book.triggers.in_force(now).map(|(name, until)| (name.to_owned(), until)).collect()
    }

    /// Whether nothing is known of it that another has not.
    fn is_plain(&self, now: Monotonic) -> bool {
        self.fixed.load(Ordering::Relaxed) == 0
            && self.suspended(now).is_none()
            && (self.slowed.load(Ordering::Relaxed) == 0 || self.slowed(now).is_none())
    }
}

/// From the count of messages and its begin; in `pace`'s units.
fn measured(sent: u64, second: u64) -> u32 {
    let (since, count) = (sent >> 32, sent & u64::from(u32::MAX));
    let span = second.saturating_sub(since).clamp(1, MEASURED_FOR.as_secs());
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    match count {
        0 => 0,
        messages => units(Rate { messages, per: Duration::from_secs(span) }),
    }
}

/// The bounds of a shape's rate.
pub fn bounds(shape: &Shape) -> Bounds {
    Bounds { ceiling: shape.rate, floor: shape.rate_floor, recovery: shape.recovery }
}

/// A site, over all shards.
#[derive(Debug, Default)]
pub struct SiteOutlets {
    name: Box<str>,
    /// Left alone until then, from all sources; 0: it is not.
    suspended: AtomicU64,
    is_changed: AtomicBool,
    state: Mutex<SiteState>,
    senders: senders::Suspended,
}

#[derive(Debug, Default)]
struct SiteState {
    outlets: Vec<Arc<Outlet>>,
    why: Option<Arc<str>>,
}

impl SiteOutlets {
    /// Its name: its hosts in order, with commas; `domain@` before them where it is its own.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn state(&self) -> MutexGuard<'_, SiteState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The outlet of a source; beyond `OUTLETS_MAX` one that others do not share.
    pub fn outlet(&self, source: &str) -> Arc<Outlet> {
        let mut state = self.state();
        if let Some(outlet) = state.outlets.iter().find(|outlet| *outlet.source == *source) {
            return outlet.clone();
        }
        let outlet = Arc::new(Outlet::new(source));
        if state.outlets.len() < OUTLETS_MAX {
            state.outlets.push(outlet.clone());
        }
        outlet
    }

    /// All outlets.
    pub fn outlets(&self) -> Vec<Arc<Outlet>> {
        self.state().outlets.clone()
    }

    /// Leave it alone until then, because of `why`.
    pub fn suspend(&self, until: Monotonic, why: &Arc<str>) {
        self.state().why = Some(why.clone());
        self.suspended.fetch_max(until.0, Ordering::Relaxed);
        self.is_changed.store(true, Ordering::Release);
    }

    /// Until when it is left alone.
    pub fn suspended(&self, now: Monotonic) -> Option<Monotonic> {
        let until = self.suspended.load(Ordering::Relaxed);
        (until > now.0).then_some(Monotonic(until))
    }

    /// Why it is.
    pub fn why(&self) -> Option<Arc<str>> {
        self.state().why.clone()
    }

    /// It is to have nothing of a tenant or a campaign until then, because of `why`.
    pub fn suspend_sender(&self, name: u64, until: Monotonic, why: &Arc<str>, now: Monotonic) {
        self.senders.add(name, until, why, now);
    }

    /// Why it is to have nothing of a sender, and until when.
    pub fn sender_suspended(
        &self,
        sender: Sender,
        now: Monotonic,
    ) -> Option<(Arc<str>, Monotonic)> {
        self.senders.of(sender, now)
    }

    /// Other than before whenever a sender was suspended.
    pub(in crate::egress) fn times_suspended(&self) -> u32 {
        self.senders.times()
    }

    /// Forget that it is to be left alone, or to have nothing of some.
    pub fn resume(&self) {
        self.senders.clear();
        self.suspended.store(0, Ordering::Relaxed);
        self.is_changed.store(true, Ordering::Release);
    }

    /// Whether something is other than when this was last asked.
    pub(super) fn take_changed(&self) -> bool {
        let of = |is_changed: &AtomicBool| is_changed.swap(false, Ordering::Acquire);
        let outlets = self.outlets().iter().filter(|outlet| of(&outlet.is_changed)).count();
        of(&self.is_changed) || outlets > 0
    }

    /// Whether an operator means it by `name`: all of its name, its domain, or one of its hosts.
    pub fn is_called(&self, name: &str) -> bool {
        let (domain, hosts) = self.name.split_once('@').unwrap_or(("", &self.name));
        let is_host = |host: &str| {
            host == name || host.rsplit_once(':').is_some_and(|(host, _)| host == name)
        };
        *self.name == *name || domain == name || hosts.split(',').any(is_host)
    }

    fn is_plain(&self, now: Monotonic) -> bool {
        self.suspended(now).is_none()
            && !self.senders.has_any(now)
            && self.state().outlets.iter().all(|outlet| outlet.is_plain(now))
    }
}

/// Every site of which something is known.
#[derive(Debug, Default)]
pub struct AllOutlets {
    sites: Mutex<HashMap<Box<str>, Arc<SiteOutlets>>>,
    /// What is known of all sites of a provider together.
    pub together: AllTogether,
}

impl AllOutlets {
    fn map(&self) -> MutexGuard<'_, HashMap<Box<str>, Arc<SiteOutlets>>> {
        self.sites.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of a site. Where there are too many, it is remembered as long as it is used.
    pub fn site(&self, name: &str, now: Monotonic) -> Arc<SiteOutlets> {
        let mut map = self.map();
        if let Some(site) = map.get(name) {
            return site.clone();
        }
        let site = Arc::new(SiteOutlets { name: name.into(), ..SiteOutlets::default() });
        if map.len() >= SHAPED_SITES_MAX {
            map.retain(|_, site| Arc::strong_count(site) > 1 || !site.is_plain(now));
        }
        if map.len() < SHAPED_SITES_MAX {
            map.insert(name.into(), site.clone());
        }
        site
    }

    /// All sites, by name.
    pub fn sites(&self) -> Vec<Arc<SiteOutlets>> {
        let mut sites: Vec<_> = self.map().values().cloned().collect();
        sites.sort_by(|a, b| a.name.cmp(&b.name));
        sites
    }

    /// How many sources are slowed down at a site, and how many suspended; once for each site.
    pub fn held_up(&self, now: Monotonic) -> (u64, u64) {
        let (mut slowed, mut suspended) = (0, 0);
        for site in self.sites() {
            let all = site.suspended(now).is_some();
            for outlet in site.outlets() {
                slowed += u64::from(outlet.slowed(now).is_some());
                suspended += u64::from(all || outlet.suspended(now).is_some());
            }
        }
        (slowed, suspended)
    }

    /// Forget a site that no shard uses any more, if nothing is known of it: drop what `site` gave
    /// first.
    pub fn forget(&self, name: &str, now: Monotonic) {
        let mut map = self.map();
        if map.get(name).is_some_and(|site| Arc::strong_count(site) == 1 && site.is_plain(now)) {
            map.remove(name);
        }
    }
}

#[cfg(test)]
mod tests;
