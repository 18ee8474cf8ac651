//! Floor 3: what waits on its home shard, for what, and until when.
//!
//! In: messages that are committed; what the shard learns of their recipients. Out: departures
//! (recipients of one message at one destination domain, for the domain's owner) and what has come
//! due. A recipient is *ready* (in its domain's line), *dispatched* (in the shard's hands),
//! *deferred* (until its due time) or *held* (by an operator):
//!
//! ```text
//!  insert ──► ready ──pop_ready──► dispatched ──finish──► gone
//!               ▲ ▲                  │     │
//!               │ └──────park────────┘   defer
//!               └────────due───── deferred ◄┘        hold ⇄ release from any of the three
//! ```
//!
//! Invariant: each recipient is in exactly one of these; a dispatched one stays so until the shard
//! says what came of it. All steps cost O(1) or what they touch, never the length of the queue.
//! Lives on: the home shard.

mod ages;
mod calendar;
mod campaigns;
mod clock;
mod domains;
mod ends;
mod entry;
mod flows;
mod gates;
mod hot;
mod index;
mod lanes;
mod list;
mod operator;
mod paces;
mod pausing;
mod ready;
mod relocate;
mod resting;
mod sizes;
mod table;
mod tag;
mod terms;
mod view;

pub mod backoff;
pub mod deferred;

use crate::base::ids::{MessageId, ShardId};
use crate::base::limits::TRANSACTION_RECIPIENTS_MAX;
use crate::base::slots::Slot;
use crate::base::time::{Now, WallTime};
use crate::mail::address::Domain;
use crate::mail::handling::TenantName;

pub use crate::queue::campaigns::{Campaign, CampaignCounts};
pub use crate::queue::deferred::{Deferral, Due};
pub use crate::queue::domains::DomainId;
pub use crate::queue::entry::{EnvelopeAt, NewMessage, RecipientState, RecordAt, State};
pub use crate::queue::flows::Pause;
pub use crate::queue::operator::{Operated, Place, Selector, Verb};
pub use crate::queue::paces::SharedPaces;
pub use crate::queue::ready::{Departure, Recipients};
pub use crate::queue::terms::{AllTerms, CampaignTerms, TenantTerms, Tenants, Terms};
pub use crate::queue::view::{DomainStats, MessageView, Queued, RecipientView, Stats};

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::queue::ages::Ages;
use crate::queue::calendar::Calendar;
use crate::queue::clock::Clock;
use crate::queue::domains::Domains;
use crate::queue::entry::{Entry, Message};
use crate::queue::flows::Flows;
use crate::queue::hot::Hot;
use crate::queue::index::IdIndex;
use crate::queue::lanes::Lanes;
use crate::queue::list::{List, NONE};
use crate::queue::resting::Rests;
use crate::queue::table::Table;
use crate::queue::view::Counts;

/// All that waits on one shard. `H` holds a message in RAM, as an `Arc` of it.
#[derive(Debug)]
pub struct Queue<H> {
    here: ShardId,
    clock: Clock,
    messages: Table<Message>,
    entries: Table<Entry>,
    domains: Domains,
    flows: Flows,
    lanes: Lanes,
    rests: Rests,
    ids: IdIndex,
    hot: Hot<H>,
    /// Domains that may depart. Linked by `DomainRow::ring`.
    ring: List,
    deferred: Calendar,
    ages: Ages,
    /// Parked domains by when, on the own clock, they are tried again.
    parks: BTreeSet<(i64, u32)>,
    /// Recipients of a departure.
    run_max: usize,
    counts: Counts,
}

/// What `finish` left of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// So many of its recipients are not final yet.
    Left(u16),
    /// All are final; the message has left the queue and its slot is invalid.
    Done {
        /// Its id.
        id: MessageId,
        /// Where its envelope is, for reclaim.
        envelope: EnvelopeAt,
    },
}

impl<H> Queue<H> {
    /// An empty queue that keeps at most `hot_bytes_max` octets of messages in RAM.
    pub fn new(delay_report_after: Duration, lifetime: Duration, hot_bytes_max: usize) -> Self {
        Self {
            here: ShardId(0),
            clock: Clock::default(),
            messages: Table::default(),
            entries: Table::default(),
            domains: Domains::default(),
            flows: Flows::default(),
            lanes: Lanes::default(),
            rests: Rests::default(),
            ids: IdIndex::default(),
            hot: Hot::new(hot_bytes_max),
            ring: List::default(),
            deferred: Calendar::default(),
            ages: Ages::new(delay_report_after, lifetime),
            parks: BTreeSet::new(),
            run_max: TRANSACTION_RECIPIENTS_MAX,
            counts: Counts::default(),
        }
    }

    /// These terms hold for tenants and campaigns from now on, and the defaults for all others;
    /// lifetimes for messages that come in.
    pub fn set_tenants(&mut self, tenants: Tenants) {
        if !self.flows.has_terms(&tenants) {
            self.open_all_gates();
            self.flows.set_terms(tenants);
        }
    }

    /// The same, empty, of shard `here` of those that keep `paces` together.
    #[must_use]
    pub fn sharing(mut self, here: ShardId, paces: Arc<SharedPaces>) -> Self {
        self.here = here;
        self.flows.paces = paces;
        self
    }

    /// The tenants that have more in the queue than they may, if they are others than when this was
    /// asked before.
    pub fn over(&mut self) -> Option<&BTreeSet<TenantName>> {
        self.flows.over()
    }

    /// The time is `now`: to be said before anything else of a moment is. By how many milliseconds
    /// the wall clock was set since it was last said, if it was; what waits moves with it.
    pub fn follow(&mut self, now: Now) -> Option<i64> {
        let step = self.clock.follow(now);
        self.flows.now = now.mono;
        if step.is_some() {
            self.look_at_windows();
        }
        step
    }

    /// Queue a message with those of its recipients that are not final, each with its place in the
    /// envelope. `None`, and nothing is queued, if there are no recipients or the id is here.
    pub fn insert<'a>(
        &mut self,
        message: NewMessage<H>,
        recipients: impl IntoIterator<Item = (u16, &'a Domain, RecipientState)>,
        now: WallTime,
    ) -> Option<Slot> {
        let mut recipients = recipients.into_iter().peekable();
        recipients.peek()?;
        if self.ids.find(message.id, &self.messages).is_some() {
            return None;
        }
        let row = Message::new(&message, self.messages.generation(), self.clock);
        let row = self.messages.insert(row);
        self.messages[row].flow = self.flows.enter(message.handling.as_deref());
        self.counts.content_bytes += u64::from(self.messages[row].content_bytes);
        self.ids.insert(row, &mut self.messages);
        let by = message.handling.as_ref().and_then(|handling| handling.deliver_by);
        let lifetime = self.flows.lifetime(self.messages[row].flow);
        if by.is_some() || lifetime.is_some() {
            self.limit_age(row, lifetime, by);
        }
        self.keep_age(row);
        if let Some((handle, bytes)) = message.hot {
            self.hot.insert(handle, bytes, row);
        }
        for (index, domain, state) in recipients {
            self.insert_entry(row, index, domain, state, now);
        }
        Some(self.messages.slot(row))
    }

    fn insert_entry(
        &mut self,
        message: u32,
        index: u16,
        domain: &Domain,
        state: RecipientState,
        now: WallTime,
    ) {
        let domain = self.domains.intern(domain);
        let due = self.clock.own(state.due);
        let entry = self.entries.insert(Entry::new(message, domain, index, due, &state));
        self.join_siblings(message, entry);
        self.flows.count(self.messages[message].flow, 1);
        let state = match state {
            RecipientState { held: true, .. } => State::Held,
            RecipientState { due, .. } if due > now => State::Deferred,
            _ => State::Ready,
        };
        self.attach(entry, state);
        self.domains.resized(domain, self.domains.rows[domain].recipients() - 1);
        self.settle(domain);
    }

    /// A dispatched recipient is final: delivered, bounced, expired or removed, and that is on disk
    /// or on its way there. `None`: no such recipient.
    pub fn finish(&mut self, message: Slot, recipient: u16) -> Option<Finished> {
        let entry = self.find_entry(message, recipient)?;
        let row = &self.entries[entry];
        assert_eq!(row.state(), State::Dispatched, "finished without departure");
        let (domain, message) = (row.domain, row.message);
        self.returned(domain);
        self.answered(domain, self.messages[message].flow);
        self.detach(entry);
        self.settle(domain);
        self.leave_siblings(message, entry);
        self.entries.remove(entry);
        self.flows.count(self.messages[message].flow, -1);
        let left = self.domains.rows[domain].recipients();
        self.domains.resized(domain, left + 1);
        if left == 0 {
            self.forget_domain(domain);
        }
        match self.messages[message].remaining {
            0 => Some(self.forget_message(message)),
            left => Some(Finished::Left(left)),
        }
    }

    fn forget_domain(&mut self, domain: u32) {
        self.parks.remove(&(self.domains.rows[domain].parked_until, domain));
        self.domains.forget(domain);
    }

    fn forget_message(&mut self, message: u32) -> Finished {
        self.forget_age(message);
        self.hot.remove(message);
        let id = self.messages[message].id();
        self.ids.remove(message, &mut self.messages);
        let row = self.messages.remove(message);
        if self.flows.is_last_of(row.flow) {
            self.drop_leaves_of(row.flow);
        }
        self.flows.leave(row.flow);
        self.counts.content_bytes -= u64::from(row.content_bytes);
        Finished::Done { id, envelope: row.envelope() }
    }

    /// The message in RAM, as long as it is hot.
    pub fn hot(&self, message: Slot) -> Option<&H> {
        let row = self.messages.find(message)?;
        self.hot.handle(row)
    }

    /// Drop the message from RAM, if it is hot: its first attempt is over.
    pub fn cool(&mut self, message: Slot) {
        if let Some(row) = self.messages.find(message) {
            self.hot.remove(row);
        }
    }

    /// Put `entry` among those that are in `state`. It is in none.
    fn attach(&mut self, entry: u32, state: State) {
        let Entry { domain, due, .. } = self.entries[entry];
        self.entries[entry].tag.enter(state);
        self.count((entry, domain), state, 1);
        match state {
            State::Ready => return self.line_up(entry),
            State::Deferred => {
                self.deferred.insert(due, &mut self.entries, entry, Entry::chain);
            }
            State::Dispatched | State::Held => {}
        }
        let rest = &mut self.domains.rows[domain].rest;
        rest.push_back(&mut self.entries, entry, Entry::lane);
    }

    /// Put `entry`, which is in no state, at the front of its domain's line.
    fn attach_front(&mut self, entry: u32) {
        self.entries[entry].tag.enter(State::Ready);
        self.count((entry, self.entries[entry].domain), State::Ready, 1);
        self.line_up_front(entry);
    }

    /// Take `entry` out of the state that it is in.
    fn detach(&mut self, entry: u32) {
        let Entry { domain, due, tag, .. } = self.entries[entry];
        let state = tag.state();
        self.count((entry, domain), state, -1);
        match state {
            State::Ready => return self.leave_line(entry),
            State::Deferred => {
                self.deferred.remove(due, &mut self.entries, entry, Entry::chain);
            }
            State::Dispatched | State::Held => {}
        }
        let rest = &mut self.domains.rows[domain].rest;
        rest.remove(&mut self.entries, entry, Entry::lane);
    }

    /// An entry enters a state, or leaves it; `domain` is its own.
    fn count(&mut self, (entry, domain): (u32, u32), state: State, change: i32) {
        if self.flows.rows.len() > 0 {
            let message = self.entries[entry].message;
            self.flows.moved(self.messages[message].flow, state, change);
        }
        let row = &mut self.domains.rows[domain];
        let (here, all) = match state {
            State::Ready if row.in_ring => (&mut row.ready, &mut self.counts.ready),
            State::Ready => (&mut row.ready, &mut self.counts.parked),
            State::Dispatched => (&mut row.dispatched, &mut self.counts.dispatched),
            State::Deferred => (&mut row.deferred, &mut self.counts.deferred),
            State::Held => (&mut row.held, &mut self.counts.held),
        };
        *here = here.checked_add_signed(change).expect("as many leave a state as entered it");
        *all = all.checked_add_signed(change.into()).expect("the sum over the domains");
    }

    /// The entry of a recipient: found at once if it comes after the one asked for before.
    fn find_entry(&mut self, message: Slot, recipient: u16) -> Option<u32> {
        let row = self.messages.find(message)?;
        let start = self.messages[row].cursor;
        let mut before = start;
        loop {
            let entry = self.entries[before].sibling;
            if self.entries[entry].tag.index() == recipient {
                self.messages[row].cursor = before;
                return Some(entry);
            }
            before = entry;
            if before == start {
                return None;
            }
        }
    }

    /// The message's entries, in the order in which they were queued.
    fn entries_of(&self, message: u32) -> Vec<u32> {
        let start = self.messages[message].cursor;
        let after = |entry: &u32| Some(self.entries[*entry].sibling).filter(|next| *next != start);
        let mut entries: Vec<u32> = std::iter::successors(Some(start), after).collect();
        entries.sort_by_key(|entry| self.entries[*entry].tag.index());
        entries
    }

    /// Put `entry` behind the last of its message's ring.
    fn join_siblings(&mut self, message: u32, entry: u32) {
        let row = &mut self.messages[message];
        row.remaining += 1;
        let last = std::mem::replace(&mut row.cursor, entry);
        let first = match last {
            NONE => entry,
            last => std::mem::replace(&mut self.entries[last].sibling, entry),
        };
        self.entries[entry].sibling = first;
    }

    /// Take `entry`, which `find_entry` found last, out of its message's ring.
    fn leave_siblings(&mut self, message: u32, entry: u32) {
        let before = self.messages[message].cursor;
        let next = self.entries[entry].sibling;
        assert_eq!(self.entries[before].sibling, entry, "the cursor stands before it");
        self.entries[before].sibling = next;
        let row = &mut self.messages[message];
        row.remaining -= 1;
        if row.remaining == 0 {
            row.cursor = NONE;
        }
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
