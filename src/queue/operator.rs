//! Do what an operator asks: flush, hold, release, remove, by id, domain and reverse-path.
//!
//! Cost: by id, or by a domain alone, what is touched; else a look at every message, some at a
//! time. Each call touches about `OPERATED_BATCH_MAX` recipients and says where to go on.

use crate::base::ids::MessageId;
use crate::base::limits::OPERATED_BATCH_MAX;
use crate::base::limits::QUEUE_SCAN_MAX;
use crate::base::slots::Slot;
use crate::mail::address::Domain;
use crate::mail::handling::{CampaignName, TenantName};
use crate::queue::Queue;
use crate::queue::entry::{Entry, Message, State};
use crate::queue::flows::Flows;
use crate::queue::list::NONE;
use crate::queue::tag::Mark;

/// What an operator wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Try what is deferred at once.
    Flush,
    /// Try no more, until released. What is with an owner is held when it comes back.
    Hold,
    /// Try what is held at once.
    Release,
    /// Give up without a DSN. What is with an owner goes when it comes back undelivered.
    Remove,
}

/// Which recipients: those that meet all that is given; all, if nothing is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// Of this message.
    pub id: Option<MessageId>,
    /// At this destination domain.
    pub domain: Option<Domain>,
    /// Of messages with a reverse-path of this hash.
    pub reverse_path: Option<u64>,
    /// Of this tenant's messages.
    pub tenant: Option<TenantName>,
    /// Of this campaign's, whosever it is.
    pub campaign: Option<CampaignName>,
}

impl Selector {
    /// Whether a scan over all messages is to stop at this one.
    pub(super) fn takes(&self, message: &Message, flows: &Flows) -> bool {
        self.id.is_none_or(|id| message.id() == id)
            && self.reverse_path.is_none_or(|hash| message.reverse_path() == hash)
            && flows.is_of(message.flow, self.tenant.as_ref(), self.campaign.as_ref())
    }

    /// The destination domain, if all of it is meant.
    pub(super) fn whole_domain(&self) -> Option<&Domain> {
        let Self { id, domain, reverse_path, tenant, campaign } = self;
        let is_whole =
            id.is_none() && reverse_path.is_none() && tenant.is_none() && campaign.is_none();
        domain.as_ref().filter(|_| is_whole)
    }
}

/// Where a call of [`Queue::operate`] or [`Queue::list`] goes on; the default is the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place(pub(super) u32);

impl Place {
    /// The place as a number, to be handed out.
    pub fn to_bits(self) -> u64 {
        self.0.into()
    }

    /// The place that [`Place::to_bits`] made; the beginning, if it made no such number.
    pub fn from_bits(bits: u64) -> Self {
        Self(u32::try_from(bits).unwrap_or(0))
    }
}

/// What a call of [`Queue::operate`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Operated {
    /// The recipients touched, for the spool's records. Those removed are with the shard now, to be
    /// finished; a removed one that an owner has is not among them: `defer` will say `Removed`.
    pub touched: Vec<(Slot, u16)>,
    /// Recipients that an owner has, and to which it will be done when they come back.
    pub pending: usize,
    /// Where to go on; `None` when all is done.
    pub next: Option<Place>,
}

impl<H> Queue<H> {
    /// Do `verb` to what `selector` selects, from `from` on.
    pub fn operate(&mut self, verb: Verb, selector: &Selector, from: Place) -> Operated {
        let (entries, next) = match (selector.id, selector.whole_domain()) {
            (Some(id), _) => (self.select_id(id, selector), None),
            (None, Some(name)) => self.select_domain(verb, name, from),
            (None, None) => self.select_rows(selector, from),
        };
        let mut operated = Operated { next, ..Operated::default() };
        for entry in entries {
            self.operate_entry(verb, entry, &mut operated);
        }
        operated
    }

    fn select_id(&self, id: MessageId, by: &Selector) -> Vec<u32> {
        let row = self.ids.find(id, &self.messages);
        row.map_or_else(Vec::new, |row| self.selected_of(row, by))
    }

    /// The entries of a message that are selected.
    pub(super) fn selected_of(&self, row: u32, by: &Selector) -> Vec<u32> {
        if !self.messages.get(row).is_some_and(|message| by.takes(message, &self.flows)) {
            return Vec::new();
        }
        let mut entries = self.entries_of(row);
        if let Some(name) = &by.domain {
            let domain = self.domains.find(name);
            entries.retain(|entry| domain == Some(self.entries[*entry].domain));
        }
        entries
    }

    /// Some of a domain's entries that `verb` changes: first of those in line, all of which leave
    /// it; then of the others, of which `from`, if it is not the beginning, says how many are left.
    /// Each of them is looked at once, and goes to the end of its list.
    fn select_domain(
        &mut self,
        verb: Verb,
        name: &Domain,
        from: Place,
    ) -> (Vec<u32>, Option<Place>) {
        let Some(domain) = self.domains.find(name) else {
            return (Vec::new(), None);
        };
        let (mut entries, mut left) = (Vec::new(), from.0);
        if from == Place::default() {
            left = self.domains.rows[domain].rest_len();
            if matches!(verb, Verb::Hold | Verb::Remove) {
                entries.extend(self.line_of(domain).take(OPERATED_BATCH_MAX));
            }
        }
        if entries.len() == OPERATED_BATCH_MAX {
            return (entries, Some(Place::default()));
        }
        let looked = left.min(u32::try_from(OPERATED_BATCH_MAX).expect("a batch is small"));
        for _ in 0..looked {
            let rest = &mut self.domains.rows[domain].rest;
            let Some(entry) = Some(rest.head).filter(|entry| *entry != NONE) else { break };
            rest.remove(&mut self.entries, entry, Entry::lane);
            rest.push_back(&mut self.entries, entry, Entry::lane);
            entries.extend(Some(entry).filter(|entry| self.changes(verb, *entry)));
        }
        (entries, Some(Place(left - looked)).filter(|place| *place != Place::default()))
    }

    fn select_rows(&self, by: &Selector, from: Place) -> (Vec<u32>, Option<Place>) {
        let mut entries = Vec::new();
        let last = self.messages.end().min(from.0.saturating_add(QUEUE_SCAN_MAX));
        for row in from.0..last {
            if entries.len() >= OPERATED_BATCH_MAX {
                return (entries, Some(Place(row)));
            }
            entries.extend(self.selected_of(row, by));
        }
        (entries, (last < self.messages.end()).then_some(Place(last)))
    }

    /// Whether `verb` has anything to do to `entry`.
    fn changes(&self, verb: Verb, entry: u32) -> bool {
        let entry = &self.entries[entry];
        match (verb, entry.state()) {
            (Verb::Flush, state) => state == State::Deferred,
            (Verb::Hold | Verb::Remove, State::Ready | State::Deferred) => true,
            (Verb::Hold, State::Dispatched) => !entry.tag.has(Mark::HOLD),
            (Verb::Remove, State::Dispatched) => !entry.tag.has(Mark::REMOVE),
            (Verb::Hold, State::Held) => false,
            (Verb::Remove | Verb::Release, State::Held) => true,
            (Verb::Release, State::Dispatched) => entry.tag.has(Mark::HOLD),
            (Verb::Release, State::Ready | State::Deferred) => false,
        }
    }

    fn operate_entry(&mut self, verb: Verb, entry: u32, operated: &mut Operated) {
        if !self.changes(verb, entry) {
            return;
        }
        let row = &mut self.entries[entry];
        let name = (self.messages.slot(row.message), row.tag.index());
        let dispatched = row.state() == State::Dispatched;
        match (verb, dispatched) {
            (Verb::Hold, true) => row.tag.set(Mark::HOLD),
            (Verb::Release, true) => row.tag.clear(Mark::HOLD),
            (Verb::Remove, true) => row.tag.set(Mark::REMOVE),
            (Verb::Flush, _) => self.make_ready(entry),
            (Verb::Release, false) => self.make_ready(entry),
            (Verb::Hold, false) => self.move_to(entry, State::Held),
            (Verb::Remove, false) => self.move_to(entry, State::Dispatched),
        }
        operated.pending += usize::from(dispatched);
        if !dispatched || verb != Verb::Remove {
            operated.touched.push(name);
        }
    }
}
