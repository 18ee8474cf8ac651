//! Show what waits, and count it.

use crate::base::ids::MessageId;
use crate::base::limits::OPERATED_BATCH_MAX;
use crate::base::limits::{QUEUE_SCAN_MAX, TOP_DOMAINS_LOOKED_MAX};
use crate::base::slots::Slot;
use crate::base::time::WallTime;
use crate::mail::address::Domain;
use crate::queue::domains::DomainRow;
use crate::queue::entry::{Entry, EnvelopeAt, RecordAt, State, from_seconds};
use crate::queue::list::{List, NONE};
use crate::queue::operator::{Place, Selector};
use crate::queue::{DomainId, Queue};

/// Recipients by state; kept as they move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) ready: u64,
    pub(super) parked: u64,
    pub(super) dispatched: u64,
    pub(super) deferred: u64,
    pub(super) held: u64,
    pub(super) content_bytes: u64,
}

/// The queue in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Messages with a recipient that is not final.
    pub messages: u64,
    /// Octets of their content, none counted as more than `u32::MAX`.
    pub content_bytes: u64,
    /// When the oldest was accepted, to the second.
    pub oldest: Option<WallTime>,
    /// Recipients in line, in domains that may depart.
    pub ready: u64,
    /// Recipients in line, in domains whose owner takes no more at the moment.
    pub parked: u64,
    /// Recipients with the shard or an owner.
    pub dispatched: u64,
    /// Recipients that wait for their due time.
    pub deferred: u64,
    /// Recipients that wait for an operator.
    pub held: u64,
    /// Distinct destination domains.
    pub domains: u64,
    /// Octets of messages in RAM.
    pub hot_bytes: u64,
    /// Octets that the rows of messages and recipients take.
    pub row_bytes: u64,
}

/// One destination domain in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainStats {
    /// The domain.
    pub domain: Domain,
    /// Recipients in line.
    pub ready: u32,
    /// Whether its owner takes no more at the moment.
    pub parked: bool,
    /// Recipients with the shard or its owner.
    pub dispatched: u32,
    /// Recipients that wait for their due time.
    pub deferred: u32,
    /// Recipients that wait for an operator.
    pub held: u32,
}

/// A message, but for its recipients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queued {
    /// Its name inside the process.
    pub slot: Slot,
    /// Its name for life.
    pub id: MessageId,
    /// Where its envelope is.
    pub envelope: EnvelopeAt,
    /// When it was accepted, to the second; the spool knows better.
    pub received: WallTime,
    /// When its lifetime is over.
    pub expires: WallTime,
    /// Octets of content; `u32::MAX` for more.
    pub content_bytes: u32,
    /// The hash of its reverse-path.
    pub reverse_path: u64,
    /// Whether its content is in RAM.
    pub hot: bool,
    /// Recipients that are not final.
    pub remaining: u16,
    /// Whether its lifetime is over.
    pub expired: bool,
}

/// A message as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageView {
    /// The message.
    pub message: Queued,
    /// Those of its recipients that are meant and not final, by their place in the envelope.
    pub recipients: Vec<RecipientView>,
}

/// A recipient as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipientView {
    /// Its place in the envelope.
    pub index: u16,
    /// Where it goes.
    pub domain: Domain,
    /// What it waits for.
    pub state: State,
    /// In line, but its owner takes no more of this domain at the moment: the site says why.
    pub parked: bool,
    /// Parked: when it is tried by itself, if its site does not ask for it before.
    pub parked_until: Option<WallTime>,
    /// What its domain's owner last said why it takes no more.
    pub why: Option<Box<str>>,
    /// Attempts made.
    pub attempts: u16,
    /// Deferred: when it is tried next.
    pub due: WallTime,
    /// The record with the last reply.
    pub reason_at: Option<RecordAt>,
}

impl<H> Queue<H> {
    /// The queue in numbers; O(1).
    pub fn stats(&self) -> Stats {
        let rows = self.messages.bytes() + self.entries.bytes();
        Stats {
            messages: self.messages.len() as u64,
            content_bytes: self.counts.content_bytes,
            oldest: self.ages.oldest().map(|second| self.clock.wall(from_seconds(second))),
            ready: self.counts.ready,
            parked: self.counts.parked,
            dispatched: self.counts.dispatched,
            deferred: self.counts.deferred,
            held: self.counts.held,
            domains: self.domains.rows.len() as u64,
            hot_bytes: self.hot.bytes() as u64,
            row_bytes: rows as u64,
        }
    }

    /// The `count` domains with the most recipients, most first. Looks at about
    /// `TOP_DOMAINS_LOOKED_MAX` domains however many there are: where more than these have about as
    /// many recipients, within a factor of two, others of them could stand in for the last ones.
    pub fn top_domains(&self, count: usize) -> Vec<DomainStats> {
        let mut rows: Vec<&DomainRow> = Vec::new();
        for size in self.domains.by_size() {
            rows.extend(size.take(TOP_DOMAINS_LOOKED_MAX));
            if rows.len() >= count {
                break;
            }
        }
        let most = |row: &&DomainRow| std::cmp::Reverse(row.recipients());
        rows.sort_by_key(|row| (most(row), row.name.as_str()));
        rows.truncate(count);
        let stats = |row: &DomainRow| DomainStats {
            domain: row.name.clone(),
            ready: row.ready,
            parked: row.ready > 0 && !row.in_ring,
            dispatched: row.dispatched,
            deferred: row.deferred,
            held: row.held,
        };
        rows.into_iter().map(stats).collect()
    }

    /// The message with this id, if it is here.
    pub fn show(&self, id: MessageId) -> Option<MessageView> {
        self.ids.find(id, &self.messages).map(|row| self.view(row, self.entries_of(row)))
    }

    /// The place of the message with this id, if it is here.
    pub fn slot_of(&self, id: MessageId) -> Option<Slot> {
        self.ids.find(id, &self.messages).map(|row| self.messages.slot(row))
    }

    /// The message in `slot`, if it is still there.
    pub fn show_at(&self, slot: Slot) -> Option<MessageView> {
        self.messages.find(slot).map(|row| self.view(row, self.entries_of(row)))
    }

    /// Where the last replies to the recipients of the message in `slot` lie.
    pub fn reasons_of(&self, slot: Slot) -> impl Iterator<Item = RecordAt> {
        self.messages.find(slot).into_iter().flat_map(move |row| {
            let log = self.messages[row].log();
            let entries = self.entries_of(row).into_iter();
            entries.filter_map(move |entry| self.entries[entry].reason_at(log))
        })
    }

    /// What is kept of the message in `slot`, if it is still there; O(1).
    pub fn message(&self, slot: Slot) -> Option<Queued> {
        self.messages.find(slot).map(|row| self.queued(row))
    }

    /// How far a recipient has come, if it is not final.
    pub fn recipient(&mut self, message: Slot, recipient: u16) -> Option<RecipientView> {
        self.find_entry(message, recipient).map(|entry| self.recipient_view(entry))
    }

    /// The name of a domain that is queued.
    pub fn domain(&self, domain: DomainId) -> Option<&Domain> {
        self.domains.rows.find(domain.0).map(|row| &self.domains.rows[row].name)
    }

    /// Recipients of a domain that are with the shard or its owner.
    pub fn dispatched(&self, domain: DomainId) -> u32 {
        let row = self.domains.rows.find(domain.0);
        row.map_or(0, |row| self.domains.rows[row].dispatched)
    }

    /// The id of a domain, if it is queued.
    pub fn find_domain(&self, name: &Domain) -> Option<DomainId> {
        self.domains.find(name).map(|row| DomainId(self.domains.rows.slot(row)))
    }

    /// The messages selected, with those of their recipients that are, from `from` on, up to the
    /// one with which there are `limit` recipients; and where to go on. Between calls messages come
    /// and go: one may then be missed or seen twice, but only if it moved.
    pub fn list(
        &self,
        selector: &Selector,
        from: Place,
        limit: usize,
    ) -> (Vec<MessageView>, Option<Place>) {
        let limit = limit.clamp(1, OPERATED_BATCH_MAX);
        match (selector.id, selector.whole_domain()) {
            (Some(id), _) => {
                let row = self.ids.find(id, &self.messages);
                let entries = row.map(|row| (row, self.selected_of(row, selector)));
                let view = entries.filter(|(_, entries)| !entries.is_empty());
                (view.into_iter().map(|(row, entries)| self.view(row, entries)).collect(), None)
            }
            (None, Some(name)) => self.list_domain(name, from, limit),
            (None, None) => self.list_rows(selector, from, limit),
        }
    }

    fn list_domain(
        &self,
        name: &Domain,
        from: Place,
        limit: usize,
    ) -> (Vec<MessageView>, Option<Place>) {
        let Some(domain) = self.domains.find(name) else {
            return (Vec::new(), None);
        };
        let mut views: Vec<MessageView> = Vec::new();
        let mut entries = (0u32..).zip(self.entries_in(domain)).skip(from.0 as usize).peekable();
        for (_, entry) in entries.by_ref().take(limit) {
            let message = self.queued(self.entries[entry].message);
            match views.last_mut().filter(|last| last.message.slot == message.slot) {
                Some(last) => last.recipients.push(self.recipient_view(entry)),
                None => views
                    .push(MessageView { message, recipients: vec![self.recipient_view(entry)] }),
            }
        }
        (views, entries.peek().map(|(rank, _)| Place(*rank)))
    }

    fn list_rows(
        &self,
        by: &Selector,
        from: Place,
        limit: usize,
    ) -> (Vec<MessageView>, Option<Place>) {
        let (mut views, mut listed) = (Vec::new(), 0);
        let last = self.messages.end().min(from.0.saturating_add(QUEUE_SCAN_MAX));
        for row in from.0..last {
            if listed >= limit {
                return (views, Some(Place(row)));
            }
            let entries = self.selected_of(row, by);
            if !entries.is_empty() {
                listed += entries.len();
                views.push(self.view(row, entries));
            }
        }
        (views, (last < self.messages.end()).then_some(Place(last)))
    }

    fn queued(&self, row: u32) -> Queued {
        let message = &self.messages[row];
        Queued {
            slot: self.messages.slot(row),
            id: message.id(),
            envelope: message.envelope(),
            received: self.clock.wall(from_seconds(message.received)),
            expires: self.clock.wall(self.end_of(row)),
            content_bytes: message.content_bytes,
            reverse_path: message.reverse_path(),
            hot: self.hot.handle(row).is_some(),
            remaining: message.remaining,
            expired: message.expired(),
        }
    }

    fn view(&self, row: u32, entries: Vec<u32>) -> MessageView {
        let recipients = entries.into_iter().map(|entry| self.recipient_view(entry)).collect();
        MessageView { message: self.queued(row), recipients }
    }

    fn recipient_view(&self, entry: u32) -> RecipientView {
        let entry = &self.entries[entry];
        let domain = &self.domains.rows[entry.domain];
        let is_ready = entry.state() == State::Ready;
        let flow = self.messages[entry.message].flow;
        let rest = self.rest_of(entry.domain, flow).filter(|_| is_ready);
        let parked = is_ready && (!domain.in_ring || rest.is_some());
        let of_domain = (parked && domain.parked_until > 0)
            .then(|| self.clock.wall(WallTime(domain.parked_until)));
        RecipientView {
            index: entry.tag.index(),
            domain: domain.name.clone(),
            state: entry.state(),
            parked,
            parked_until: rest.map_or(of_domain, |(until, _)| until),
            why: rest.map(|(_, why)| why.into()).or_else(|| self.why(entry, parked)),
            attempts: entry.tag.attempts(),
            due: self.clock.wall(from_seconds(entry.due)),
            reason_at: entry.reason_at(self.messages[entry.message].log()),
        }
    }

    /// Why an entry that is ready does not depart, as far as that is known here.
    fn why(&self, entry: &Entry, parked: bool) -> Option<Box<str>> {
        let flow = self.messages[entry.message].flow;
        if entry.state() == State::Ready && self.flows.is_stopped(flow) {
            return Some("an operator paused its tenant or campaign".into());
        }
        if entry.state() == State::Ready && self.flows.aside.contains(&flow) {
            return self.flows.limit(flow, self.clock);
        }
        parked.then(|| self.domains.rows[entry.domain].why.clone()).flatten()
    }

    /// The entries of a domain: those in line in their order, then the others.
    pub(super) fn entries_in(&self, domain: u32) -> impl Iterator<Item = u32> {
        let lane = move |entry: &u32| some(self.entries[*entry].lane_next());
        let rest = self.domains.rows[domain].rest.head;
        self.line_of(domain).chain(std::iter::successors(some(rest), lane))
    }

    /// The entries of a domain that are in line, in their order.
    pub(super) fn line_of(&self, domain: u32) -> impl Iterator<Item = u32> {
        let lane = move |entry: &u32| some(self.entries[*entry].lane_next());
        let run = move |head: u32| {
            let next = move |entry: &u32| Some(self.entries[*entry].chain_next());
            std::iter::successors(Some(head), move |entry| next(entry).filter(|e| *e != head))
        };
        let heads = move |line: List| std::iter::successors(some(line.head), lane);
        self.lines_of(domain).into_iter().flat_map(heads).flat_map(run)
    }
}

fn some(entry: u32) -> Option<u32> {
    Some(entry).filter(|entry| *entry != NONE)
}
