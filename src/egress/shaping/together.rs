//! What a provider takes from one source at all of its sites together.
//!
//! A provider has many sites: one for each set of MX hosts, each with limits of its own. In: sites
//! that ask for a connection or a message. Out: whether it is granted, beside what the site itself
//! allows. Invariant: over all sites and shards at most so many connections are open, and messages
//! keep to the pace. Sites have turns and equal shares, as shards have of a site.
//! Lives on: the process; one a provider and source of which a rule says so.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::ids::ShardId;
use crate::base::limits::{OUTLET_TURN_MESSAGES, SHARDS_MAX, TOGETHER_SWEEP_LEAST};
use crate::base::prng::Prng;
use crate::base::rate::{Cell, Rate};
use crate::base::time::Monotonic;
use crate::egress::seats::Seats;

/// What a rule says of all sites of a provider together, for one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfProvider {
    /// The provider.
    pub provider: Arc<str>,
    /// Connections at a time; `None` is without limit.
    pub connections: Option<u32>,
    /// Messages a time; `None` is without limit.
    pub rate: Option<Rate>,
}

impl OfProvider {
    /// Nothing is said yet.
    pub(super) fn of(provider: &str) -> Self {
        Self { provider: provider.into(), connections: None, rate: None }
    }
}

/// What all shards know of a source at all sites of a provider.
#[derive(Debug, Default)]
pub struct Together {
    connections: Seats,
    cell: Cell,
    /// How many sites, each on each shard, have joined.
    joined: AtomicU32,
}

impl Together {
    /// Connections, over all shards and sites.
    pub fn connections(&self) -> u32 {
        self.connections.taken()
    }
}

/// One site of those, as one shard has it.
#[derive(Debug)]
pub struct Member {
    all: Arc<Together>,
    said: OfProvider,
    /// Connections of its own.
    held: AtomicU32,
    /// Its number among those that wait for a connection, and among those that wait for the pace.
    slot: AtomicU8,
    turn: AtomicU8,
    /// From what other numbers are drawn.
    draws: AtomicU64,
}

impl Member {
    /// What is said of all of them.
    pub fn said(&self) -> &OfProvider {
        &self.said
    }

    fn limit(&self) -> u32 {
        self.said.connections.unwrap_or(u32::MAX)
    }

    fn slot(&self) -> ShardId {
        ShardId(self.slot.load(Ordering::Relaxed))
    }

    /// Where more have joined than there are slots some have the same one, and the first of them to
    /// ask would always be before the others: have another one.
    fn move_on(&self, slot: &AtomicU8) {
        if self.all.joined.load(Ordering::Relaxed) > u32::from(SLOTS) {
            let mut prng = Prng::from_number(self.draws.fetch_add(1, Ordering::Relaxed));
            let drawn = prng.below(u64::from(SLOTS));
            slot.store(u8::try_from(drawn).unwrap_or(0), Ordering::Relaxed);
        }
    }

    /// Ask for a connection. Refused, it is to ask again soon, or to say that it needs none.
    pub(in crate::egress) fn take(&self) -> bool {
        let held = self.held.load(Ordering::Relaxed);
        let taken = self.all.connections.take(self.slot(), held, self.limit());
        if taken {
            self.held.fetch_add(1, Ordering::Relaxed);
        } else if held == 0 && self.all.joined.load(Ordering::Relaxed) > u32::from(SLOTS) {
            // Whoever is counted by the same number notes again that it waits.
            self.stop_waiting();
            self.move_on(&self.slot);
            self.all.connections.wait(self.slot());
        }
        taken
    }

    /// One that is open counts from now on.
    pub(in crate::egress) fn adopt(&self) {
        self.held.fetch_add(1, Ordering::Relaxed);
        self.all.connections.adopt(self.slot());
    }

    /// One is gone: it is for whoever waits next.
    pub(in crate::egress) fn release(&self) {
        let left = self.held.fetch_sub(1, Ordering::Relaxed) - 1;
        self.all.connections.give_way(self.slot());
        self.all.connections.release(self.slot(), left);
    }

    /// It needs no connection any more.
    pub(in crate::egress) fn stop_waiting(&self) {
        self.all.connections.stop_waiting(self.slot());
    }

    /// Whether no more can be opened.
    pub(in crate::egress) fn is_full(&self) -> bool {
        self.all.connections.taken() >= self.limit()
    }

    /// Whether there are more than there may be.
    pub(in crate::egress) fn is_above(&self) -> bool {
        self.all.connections.taken() > self.limit()
    }

    /// Whether another site waits for one that has to be given up first.
    pub(in crate::egress) fn is_wanted(&self) -> bool {
        self.is_full() && self.all.connections.others_wait(self.slot())
    }

    /// Whether it is this site that has to give one up, which has carried so many messages.
    pub(in crate::egress) fn makes_room(&self, messages: u32) -> bool {
        let held = || self.held.load(Ordering::Relaxed);
        self.is_wanted()
            && match self.all.connections.share(self.slot(), self.limit()) {
                0 => held() > 1 || messages >= OUTLET_TURN_MESSAGES,
                share => held() > share,
            }
    }

    /// Ask to send a message now; refused, it may be asked again at the time given.
    pub(in crate::egress) fn try_message(&self, now: Monotonic) -> Result<(), (Rate, Monotonic)> {
        let Some(rate) = self.said.rate else { return Ok(()) };
        let turn = ShardId(self.turn.load(Ordering::Relaxed));
        self.all.cell.try_message(turn, rate, now).map_err(|at| (rate, at))?;
        self.move_on(&self.turn);
        Ok(())
    }

    /// Whether a message could be sent now.
    pub(in crate::egress) fn would_send(&self, now: Monotonic) -> bool {
        self.said.rate.is_none_or(|rate| self.all.cell.would_send(rate, now))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "asserted below")]
const SLOTS: u8 = SHARDS_MAX as u8;
const _: () = assert!(SHARDS_MAX <= u8::MAX as usize / 2);

/// All of them; one for the process. Locked when a site gets its shapes.
#[derive(Debug, Default)]
pub struct AllTogether(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    by_name: HashMap<(Arc<str>, Box<str>), Arc<Together>>,
    /// With so many, those that say nothing any more are looked for.
    sweep_at: usize,
}

impl AllTogether {
    /// A site of a provider has joined, for one source.
    pub fn join(&self, said: &OfProvider, source: &str, now: Monotonic) -> Member {
        // It is whole between any two of its calls.
        let known = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.by_name.len() >= known.sweep_at.max(TOGETHER_SWEEP_LEAST) {
            known.by_name.retain(|_, one| Arc::strong_count(one) > 1 || !one.cell.is_idle(now));
            known.sweep_at = known.by_name.len() * 2;
        }
        let all = known.by_name.entry((said.provider.clone(), source.into())).or_default().clone();
        let joined = all.joined.fetch_add(1, Ordering::Relaxed);
        let slot = || AtomicU8::new(u8::try_from(joined % u32::from(SLOTS)).unwrap_or(0));
        Member {
            all,
            said: said.clone(),
            held: AtomicU32::new(0),
            slot: slot(),
            turn: slot(),
            draws: AtomicU64::new(u64::from(joined) << 32),
        }
    }

    /// What is known of a source at a provider.
    pub fn find(&self, provider: &Arc<str>, source: &str) -> Option<Arc<Together>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.by_name.get(&(provider.clone(), source.into())).cloned()
    }
}

#[cfg(test)]
mod tests;
