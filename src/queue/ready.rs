//! Choose what departs next: fair between domains, and inside a domain between senders
//! (`lanes.rs`) and messages.
//!
//! Domains that may depart stand in a ring; each turn takes one *run* from the next domain's line:
//! up to `TRANSACTION_RECIPIENTS_MAX` recipients of one message. What is left of a run goes to the
//! end of its domain's line, so a message with 1,000 recipients has one departure a turn like any
//! other. A domain whose owner refuses leaves the ring, and what waits in its line, however much,
//! costs nothing until it is back.
//!
//! The owner's refusals set the domain's window: the recipients that it took at a time. While some
//! are with the owner, each that comes back makes room for the next, and the window grows: by one
//! each while it is small, by one in `WINDOW_GROWTH` after. So a line keeps moving at the pace of
//! its site without being told. Only where the owner took nothing is the domain parked, until
//! `unpark` or a time.

use crate::base::limits::TRANSACTION_RECIPIENTS_MAX;
use crate::base::slots::Slot;
use crate::base::time::WallTime;
use crate::queue::domains::DomainRow;
use crate::queue::entry::{Entry, State};
use crate::queue::lanes::End;
use crate::queue::list::{ring_insert, ring_remove};
use crate::queue::tag::Mark;
use crate::queue::{Deferral, DomainId, Queue};

/// So many recipients come back before a window that is not small grows by one.
const WINDOW_GROWTH: u32 = 8;
/// Below this a window doubles in a round trip.
const WINDOW_SMALL: u32 = 32;

/// Recipients of one message, by their places in its envelope; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipients {
    /// The usual case, which allocates nothing.
    One(u16),
    /// In the order in which they became ready.
    Many(Box<[u16]>),
}

impl Recipients {
    /// All of them.
    pub fn as_slice(&self) -> &[u16] {
        match self {
            Self::One(index) => std::slice::from_ref(index),
            Self::Many(indices) => indices,
        }
    }

    /// How many.
    fn count(&self) -> i32 {
        i32::try_from(self.as_slice().len()).expect("at most TRANSACTION_RECIPIENTS_MAX")
    }
}

/// What goes to the owner of `domain` next. Each recipient is to come back by `finish` or `defer`,
/// or all together by `park`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departure {
    /// The message.
    pub message: Slot,
    /// Where all of these recipients go.
    pub domain: DomainId,
    /// At most `TRANSACTION_RECIPIENTS_MAX`.
    pub recipients: Recipients,
    /// Recipients of the domain that are dispatched now, these included.
    pub in_flight: u32,
}

impl<H> Queue<H> {
    /// Let a departure have so many recipients at most: one, where each is to have a transaction of
    /// its own.
    pub fn set_run_max(&mut self, recipients: usize) {
        self.run_max = recipients.clamp(1, TRANSACTION_RECIPIENTS_MAX);
    }

    /// The next departure, if any domain may have one.
    pub fn pop_ready(&mut self) -> Option<Departure> {
        let (domain, leaf) = self.turn()?;
        let first = leaf.map_or(self.domains.rows[domain].line.head, |leaf| self.first_of(leaf));
        let message = self.entries[first].message;
        let recipients = self.take_run(first);
        if let Some(leaf) = leaf {
            self.charge(leaf, recipients.count());
            self.probed(domain, leaf);
        }
        self.settle(domain);
        self.rotate(domain);
        Some(Departure {
            message: self.messages.slot(message),
            domain: DomainId(self.domains.rows.slot(domain)),
            recipients,
            in_flight: self.domains.rows[domain].dispatched,
        })
    }

    /// Dispatch the first of the run that `first` heads.
    fn take_run(&mut self, first: u32) -> Recipients {
        let index = self.entries[first].tag.index();
        let mut next = self.dispatch(first);
        if next.is_none() {
            return Recipients::One(index);
        }
        let mut indices = vec![index];
        while let Some(entry) = next.filter(|_| indices.len() < self.run_max) {
            indices.push(self.entries[entry].tag.index());
            next = self.dispatch(entry);
        }
        if let Some(left) = next {
            let (line, entries) = self.line_at(self.stands(left));
            line.remove(entries, left, Entry::lane);
            line.push_back(entries, left, Entry::lane);
        }
        Recipients::Many(indices.into())
    }

    /// Hand out `entry`, the head of a run; who heads it now.
    fn dispatch(&mut self, entry: u32) -> Option<u32> {
        let next = Some(self.entries[entry].chain_next()).filter(|next| *next != entry);
        self.detach(entry);
        self.attach(entry, State::Dispatched);
        next
    }

    /// The owner of its domain refused `departure`: put it back to the front of its line.
    ///
    /// Where nothing else of the domain is with the owner, no departure follows until `unpark`, or
    /// until `until` if given. A recipient that is not to wait any more comes back in the answer,
    /// for the shard to finish (`Expired`, `Removed`).
    pub fn park(&mut self, departure: &Departure, until: Option<WallTime>) -> Vec<(u16, Deferral)> {
        let over = self.put_all_back(departure);
        if let Some(domain) = self.domains.rows.find(departure.domain.0) {
            if let Some(message) = self.messages.find(departure.message) {
                self.answered(domain, self.messages[message].flow);
            }
            self.narrow(domain, until);
        }
        over
    }

    pub(super) fn put_all_back(&mut self, departure: &Departure) -> Vec<(u16, Deferral)> {
        let mut over = Vec::new();
        for &index in departure.recipients.as_slice().iter().rev() {
            match self.put_back(departure.message, index) {
                None | Some(Deferral::Waiting | Deferral::Held) => {}
                Some(end @ (Deferral::Expired | Deferral::Removed)) => over.push((index, end)),
            }
        }
        if let Some(message) = self.messages.find(departure.message) {
            self.flows.give_back(self.messages[message].flow);
        }
        over
    }

    fn put_back(&mut self, message: Slot, index: u16) -> Option<Deferral> {
        let entry = self.find_entry(message, index)?;
        assert_eq!(self.entries[entry].state(), State::Dispatched, "parked without departure");
        let fate = self.fate(entry);
        match fate {
            Deferral::Waiting => {
                self.detach(entry);
                self.attach_front(entry);
            }
            Deferral::Held => self.hold_returned(entry),
            Deferral::Expired | Deferral::Removed => {}
        }
        Some(fate)
    }

    /// Let no more be with the owner of `domain` than is now.
    fn narrow(&mut self, domain: u32, until: Option<WallTime>) {
        let until = until.map_or(0, |until| self.clock.own(until).0.max(1));
        let row = &mut self.domains.rows[domain];
        row.window = row.dispatched.max(1);
        row.returned = 0;
        if row.dispatched == 0 {
            self.parks.remove(&(row.parked_until, domain));
            row.parked = true;
            row.parked_until = until;
            if row.parked_until != 0 {
                self.parks.insert((row.parked_until, domain));
            }
        }
        self.settle(domain);
    }

    /// Keep in words why the owner of `domain` takes nothing, or forget it.
    pub fn explain(&mut self, domain: DomainId, why: Option<Box<str>>) {
        if let Some(domain) = self.domains.rows.find(domain.0) {
            self.domains.rows[domain].why = why;
        }
    }

    /// The owner of `domain` has room again for `up_to` recipients (at least one is tried).
    pub fn unpark(&mut self, domain: DomainId, up_to: u32) {
        if let Some(domain) = self.domains.rows.find(domain.0) {
            self.widen(domain, up_to);
        }
    }

    /// All that owners took nothing of is tried now: it may have another way.
    pub fn try_again(&mut self) {
        for (_, domain) in self.parks.clone() {
            self.widen(domain, 1);
        }
        self.probe_rested(WallTime(i64::MAX));
    }

    pub(super) fn widen(&mut self, domain: u32, up_to: u32) {
        let row = &mut self.domains.rows[domain];
        self.parks.remove(&(row.parked_until, domain));
        row.parked = false;
        row.parked_until = 0;
        row.window = row.window.max(up_to).max(1);
        self.settle(domain);
    }

    /// A recipient of `domain` came back from its owner with an outcome.
    pub(super) fn returned(&mut self, domain: u32) {
        let row = &mut self.domains.rows[domain];
        row.returned += 1;
        if row.window < WINDOW_SMALL || row.returned >= WINDOW_GROWTH {
            row.returned = 0;
            row.window = row.window.saturating_add(1);
        }
    }

    /// Give the other domains their turn.
    fn rotate(&mut self, domain: u32) {
        if self.domains.rows[domain].in_ring {
            self.ring.remove(&mut self.domains.rows, domain, DomainRow::ring);
            self.ring.push_back(&mut self.domains.rows, domain, DomainRow::ring);
        }
    }

    /// Let `domain` into the ring, or out of it, as its state has it.
    pub(super) fn settle(&mut self, domain: u32) {
        let row = &mut self.domains.rows[domain];
        if row.in_ring == row.may_depart() {
            return;
        }
        row.in_ring = !row.in_ring;
        let (entered, ready) = (row.in_ring, u64::from(row.ready));
        if entered {
            self.ring.push_back(&mut self.domains.rows, domain, DomainRow::ring);
            self.counts.parked -= ready;
            self.counts.ready += ready;
        } else {
            self.ring.remove(&mut self.domains.rows, domain, DomainRow::ring);
            self.counts.ready -= ready;
            self.counts.parked += ready;
        }
    }

    /// Put `entry` at the end of its domain's line: into the last run if that is its message's.
    pub(super) fn line_up(&mut self, entry: u32) {
        let stand = self.stand(entry);
        let (line, entries) = self.line_at(stand);
        let message = entries[entry].message;
        let last =
            Some(line.tail).filter(|last| entries.get(*last).is_some_and(|e| e.message == message));
        match last {
            Some(head) => ring_insert(entries, entry, head, Entry::chain),
            None => {
                ring_insert(entries, entry, entry, Entry::chain);
                line.push_back(entries, entry, Entry::lane);
                entries[entry].tag.set(Mark::HEAD);
            }
        }
        self.stood(stand, End::Back);
    }

    /// Put `entry` at the front of its domain's line.
    pub(super) fn line_up_front(&mut self, entry: u32) {
        let stand = self.stand(entry);
        let (line, entries) = self.line_at(stand);
        let message = entries[entry].message;
        let first = Some(line.head)
            .filter(|first| entries.get(*first).is_some_and(|e| e.message == message));
        match first {
            Some(head) => {
                ring_insert(entries, entry, head, Entry::chain);
                line.replace(entries, head, entry, Entry::lane);
                entries[head].tag.clear(Mark::HEAD);
            }
            None => {
                ring_insert(entries, entry, entry, Entry::chain);
                line.push_front(entries, entry, Entry::lane);
            }
        }
        entries[entry].tag.set(Mark::HEAD);
        self.stood(stand, End::Front);
    }

    /// Take `entry` out of its domain's line; the next of its run takes its place, if it headed it.
    pub(super) fn leave_line(&mut self, entry: u32) {
        let stand = self.stands(entry);
        let (line, entries) = self.line_at(stand);
        let next = ring_remove(entries, entry, Entry::chain);
        let tag = &mut entries[entry].tag;
        let headed = tag.has(Mark::HEAD);
        tag.clear(Mark::HEAD);
        match next.filter(|_| headed) {
            Some(next) => {
                line.replace(entries, entry, next, Entry::lane);
                entries[next].tag.set(Mark::HEAD);
            }
            None if headed => line.remove(entries, entry, Entry::lane),
            None => {}
        }
        self.left(stand);
    }
}
