//! Keep a home's queue, and hand what is ready to the owners of its destination domains.
//!
//! In: messages on stable storage, reports, time. Out: dispatches; see `report.rs` for what becomes
//! of them. Invariant: every dispatch holds a credit until its report. Lives on: the home shard.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::base::ids::{MessageId, ShardId};
use crate::base::limits::LAST_ATTEMPT_WITHIN;
use crate::base::slots::Slot;
use crate::base::time::{Monotonic, Now, WallTime};
use crate::egress::domain_hash;
use crate::egress::owner::Loads;
use crate::mail::address::{Domain, ReversePath};
use crate::outcome::counters::Count;
use crate::outcome::event::Kind;
use crate::queue::{
    Departure, DomainId, Due, EnvelopeAt, NewMessage, Queue, RecipientState, RecordAt,
};
use crate::shard::commit::Commit;
use crate::shard::context::Context;
use crate::shard::journal::{Attempt, Journal, Said};
use crate::shard::load::{Lies, Loaded, Loader, Purpose};
use crate::shard::mesh::{Credits, Crossing, Dispatch};
use crate::shard::moving::Moving;
use crate::shard::platform::Platform;
use crate::shard::returns::Reports;
use crate::shard::settings::Settings;
use crate::shard::suppressing::Suspects;
use crate::spool::recovery::RecoveredMessage;
use crate::spool::stored::{EnvelopeAt as StoredAt, StateAt, Stored};

/// A shard as the home of what it accepted.
#[derive(Debug)]
pub(crate) struct Home {
    pub(super) queue: Queue<Arc<Stored>>,
    pub(super) credits: Credits,
    /// What all shards have outstanding, by owner.
    pub(super) loads: Arc<Loads>,
    pub(super) loader: Loader,
    pub(super) moving: Moving,
    pub(super) journal: Journal,
    pub(super) reports: Reports,
    /// Ready, but no owner had a credit: they go first once one has. One, and at most `LOADS_MAX`
    /// that were being loaded and `SUPPRESSION_SUSPECTS_MAX` that were looked up.
    in_hand: VecDeque<(Departure, Arc<Stored>)>,
    /// Those of which a recipient may be on a suppression list.
    pub(super) suspects: Suspects,
    draining: bool,
}

impl Home {
    /// A home without mail.
    pub(crate) fn new(queue: Queue<Arc<Stored>>, loads: Arc<Loads>, journal: Journal) -> Self {
        Self {
            queue,
            credits: Credits::new(loads.shards()),
            loads,
            loader: Loader::default(),
            moving: Moving::default(),
            journal,
            reports: Reports::default(),
            in_hand: VecDeque::new(),
            suspects: Suspects::default(),
            draining: false,
        }
    }

    /// Queue a message that recovery found.
    pub(crate) fn recover(
        &mut self,
        directory: u16,
        found: RecoveredMessage,
        settings: &Settings,
        now: WallTime,
    ) {
        let (schedule, own) = (&settings.schedule, &settings.hostname);
        // Times of an earlier run, by a clock that may have been set since. What was accepted in
        // the future is new; what seems to be too old is tried once more before it bounces.
        let received = found.received.min(now);
        let hold_until = found.handling.as_ref().and_then(|handling| handling.hold_until);
        let hold_until = hold_until.filter(|until| *until > now);
        // Its lifetime begins when it is let go.
        let received = hold_until.unwrap_or(received);
        let terms = found.handling.as_deref().map(|handling| settings.tenants.of(handling));
        let lifetime = terms.and_then(|terms| terms.lifetime).unwrap_or(schedule.lifetime);
        let last_attempt = now.since(received) >= lifetime;
        let latest = now - lifetime + LAST_ATTEMPT_WITHIN.min(lifetime);
        let message = NewMessage {
            id: found.id,
            envelope: queue_place(directory, found.at),
            received: if last_attempt { latest } else { received },
            // Told before the restart, or due a little later than it would have been. Where the
            // bounce is near, that is what is to be told.
            delay_reported: last_attempt,
            last_attempt,
            reverse_path: found.reverse_path,
            content_bytes: found.bytes,
            handling: found.handling,
            hot: None,
        };
        let recipients = found.pending.iter().map(|pending| {
            // Whoever was never tried waits for nothing, whatever the clock was then.
            let at_once = last_attempt || pending.attempts == 0;
            let state = RecipientState {
                attempts: u16::try_from(pending.attempts).unwrap_or(u16::MAX),
                due: match hold_until {
                    Some(until) if pending.attempts == 0 => until,
                    _ if at_once => now,
                    _ => schedule.due_again(pending.due, now),
                },
                held: pending.held,
                reason_at: pending.last.map(|at| record_at(directory, at)),
            };
            (pending.recipient, pending.domain.as_ref().unwrap_or(own), state)
        });
        self.queue.insert(message, recipients, now);
    }

    /// Queue a message that was just stored, so long after its content was complete.
    pub(crate) fn accept<P: Platform>(
        &mut self,
        stored: &Arc<Stored>,
        (directory, at): (u16, StoredAt),
        took: Duration,
        cx: &mut Context<'_, P>,
    ) {
        let counters = &mut cx.common.counters;
        counters.increment(Count::MessagesReceived);
        counters.add(Count::RecipientsReceived, stored.envelope.recipients.len() as u64);
        counters.add(Count::BytesReceived, stored.content_bytes);
        let handling = &stored.envelope.handling;
        // Its lifetime begins when it is let go.
        let hold_until = handling.as_ref().and_then(|handling| handling.hold_until);
        let hold_until = hold_until.filter(|until| *until > stored.received);
        let message = NewMessage {
            id: stored.id,
            envelope: queue_place(directory, at),
            received: hold_until.unwrap_or(stored.received),
            delay_reported: false,
            last_attempt: false,
            reverse_path: ReversePath::hash_of(stored.envelope.reverse_path.as_str()),
            content_bytes: stored.bytes(),
            handling: stored.envelope.handling.clone(),
            hot: stored.is_hot().then(|| (stored.clone(), stored.memory())),
        };
        let (own, held) = (&cx.settings.hostname, stored.is_quarantined);
        let recipients = (0u16..).zip(&stored.envelope.recipients).map(|(index, recipient)| {
            let domain = recipient.forward_path.domain().unwrap_or(own);
            let due = hold_until.unwrap_or_default();
            (index, domain, RecipientState { held, due, ..RecipientState::default() })
        });
        self.queue.insert(message, recipients, cx.now.wall);
        for index in (0u16..).take(stored.envelope.recipients.len()) {
            let attempt = Attempt { accept: (index == 0).then_some(took), ..Attempt::default() };
            self.journal.tell(Kind::Received, stored, index, attempt, Said::Nothing, cx);
            if held {
                let attempt = Attempt::default();
                self.journal.tell(Kind::Held, stored, index, attempt, Said::Nothing, cx);
            }
        }
    }

    /// Let what is due become ready, and hand out what is ready.
    pub(crate) fn drive<P: Platform>(&mut self, commit: &mut Commit, cx: &mut Context<'_, P>) {
        self.expire(commit, cx);
        self.finish_reports(self.draining, commit, cx);
        self.start_moves(cx);
        if let Some(outran) = self.queue.over() {
            cx.common.outran.clone_from(outran);
        }
        while let Some((departure, stored)) = self.in_hand.pop_front() {
            if let Some(kept) = self.depart(departure, stored, cx) {
                self.in_hand.push_front(kept);
                break;
            }
        }
        while !self.draining
            && self.in_hand.is_empty()
            && self.loader.has_room()
            && self.suspects.has_room()
        {
            if self.reports.is_full() {
                self.read_report(cx);
            }
            let Some(departure) = self.queue.pop_ready() else { return };
            match self.queue.hot(departure.message).cloned() {
                Some(stored) => self.set_out(departure, stored, cx),
                None => self.load(departure, cx),
            }
        }
    }

    /// When `drive` is to be called again without an event.
    pub(crate) fn deadline(&self, now: Now) -> Option<Monotonic> {
        let due = self.queue.next_due().map(|due| now.mono_at(due));
        due.into_iter().chain(self.reports.deadline()).min()
    }

    /// An owner has room again for a domain.
    pub(crate) fn resume(&mut self, domain: DomainId, room: u32) {
        self.queue.explain(domain, None);
        self.queue.unpark(domain, room);
    }

    /// A range of a segment is in memory.
    pub(crate) fn populated<P: Platform>(
        &mut self,
        ticket: u64,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        if self.moves_populated(ticket, commit, cx) {
            return;
        }
        let Some(loaded) = self.loader.populated(ticket, commit, cx) else { return };
        let Loaded { lies, purpose, message } = loaded;
        match (purpose, message) {
            (Purpose::Depart(departure), Ok(stored)) => {
                self.set_out(departure, Arc::new(stored), cx);
            }
            (Purpose::Expire(message, recipients), Ok(stored)) => {
                self.expired(message, &recipients, &Arc::new(stored), commit, cx);
            }
            (Purpose::DelayReport(message), Ok(stored)) => {
                self.report_delay(message, &Arc::new(stored), commit, cx);
            }
            (purpose, Err(_)) if self.has_moved(lies) => self.load_again(lies.id, purpose, cx),
            (purpose, Err(damage)) => {
                tracing::error!(id = %lies.id, %damage, "a queued message cannot be read");
                self.put_aside(&purpose, commit, cx.now.wall);
            }
        }
    }

    /// Whether a message lies elsewhere by now: its old place may be gone.
    fn has_moved(&self, then: Lies) -> bool {
        let view = self.queue.show(then.id);
        view.and_then(|view| self.lies(view.message.slot)).is_some_and(|now| now != then)
    }

    /// Load a message from where it lies by now.
    fn load_again<P: Platform>(
        &mut self,
        id: MessageId,
        purpose: Purpose,
        cx: &mut Context<'_, P>,
    ) {
        let view = self.queue.show(id);
        if let Some(lies) = view.and_then(|view| self.lies(view.message.slot)) {
            self.loader.start(lies, purpose, cx);
        }
    }

    /// A recipient's last reply was written down.
    pub(crate) fn noted(&mut self, id: MessageId, recipient: u16, at: RecordAt) {
        self.queue.note(id, recipient, at);
    }

    /// A message was moved.
    pub(crate) fn moved(
        &mut self,
        id: MessageId,
        directory: u16,
        at: StoredAt,
        states: Vec<(u16, StateAt)>,
    ) {
        let states = states.into_iter();
        let states = states.map(|(recipient, at)| (recipient, record_at(directory, at)));
        self.queue.relocate(id, queue_place(directory, at), states);
    }

    /// The time is `now`: to be said before anything else of a moment is.
    pub(crate) fn follow(&mut self, now: Now) {
        if let Some(millis) = self.queue.follow(now) {
            let seconds = millis / 1_000;
            tracing::info!(seconds, "the wall clock was set; waits and lifetimes go on as before");
        }
    }

    /// Work by `settings` from now on.
    pub(crate) fn reconfigure(&mut self, settings: &Settings) {
        let schedule = &settings.schedule;
        self.queue.set_ages(schedule.delay_report_after, schedule.lifetime);
        self.queue.set_tenants(settings.tenants.clone());
        self.loads.set_excess(settings.shard_excess_percent);
        self.queue.set_run_max(settings.recipients_together_max());
    }

    /// Hand out nothing more.
    pub(crate) fn drain(&mut self) {
        self.draining = true;
    }

    /// Whether no report is owed to this home and nothing is being loaded.
    pub(crate) fn is_idle(&self) -> bool {
        self.credits.outstanding() == 0
            && self.loader.is_idle()
            && self.suspects.is_empty()
            && self.reports.is_empty()
    }

    /// Hand out a departure, unless one of its recipients is to be looked up before.
    fn set_out<P: Platform>(
        &mut self,
        departure: Departure,
        stored: Arc<Stored>,
        cx: &mut Context<'_, P>,
    ) {
        if let Some((departure, stored)) = self.suspects.look(departure, stored, cx) {
            self.hand_out(departure, stored, cx);
        }
    }

    /// Hand out a departure; it waits where no owner has a credit.
    pub(super) fn hand_out<P: Platform>(
        &mut self,
        departure: Departure,
        stored: Arc<Stored>,
        cx: &mut Context<'_, P>,
    ) {
        let kept = self.depart(departure, stored, cx);
        self.in_hand.extend(kept);
    }

    fn load<P: Platform>(&mut self, departure: Departure, cx: &mut Context<'_, P>) {
        let lies = self.lies(departure.message).expect("a departure's message is queued");
        self.loader.start(lies, Purpose::Depart(departure), cx);
    }

    /// When a message was accepted, by the wall clock as it is set now.
    pub(super) fn received(&self, message: Slot, stored: &Stored) -> WallTime {
        self.queue.message(message).map_or(stored.received, |queued| queued.received)
    }

    /// When a message's lifetime is over.
    pub(super) fn expires<P: Platform>(
        &self,
        message: Slot,
        stored: &Stored,
        cx: &Context<'_, P>,
    ) -> WallTime {
        let gone = || stored.received + cx.settings.schedule.lifetime;
        self.queue.message(message).map_or_else(gone, |queued| queued.expires)
    }

    /// Where a message of the queue lies.
    pub(super) fn lies(&self, message: Slot) -> Option<Lies> {
        let queued = self.queue.message(message)?;
        let EnvelopeAt { record, bytes } = queued.envelope;
        let at = StoredAt { segment: record.segment, offset: record.offset, bytes };
        Some(Lies { id: queued.id, directory: record.log, at })
    }

    /// Hand a departure to the owner of its domain; it comes back where no owner has a credit.
    fn depart<P: Platform>(
        &mut self,
        departure: Departure,
        stored: Arc<Stored>,
        cx: &mut Context<'_, P>,
    ) -> Option<(Departure, Arc<Stored>)> {
        let departure = self.keep_returns(departure, &stored, cx)?;
        let domain = self.queue.domain(departure.domain).expect("dispatched entries hold it");
        let domain = domain.clone();
        let Some(owner) = self.owner(&domain, departure.domain) else {
            return Some((departure, stored));
        };
        self.loads.add(owner, recipients(&departure));
        if owner != cx.common.id {
            cx.common.counters.increment(Count::CrossingsSent);
        }
        let dispatch =
            Dispatch { home: cx.common.id, domain, departure, stored, departed: cx.mono() };
        cx.post(owner, Crossing::Dispatch(Box::new(dispatch)));
        None
    }

    /// The domain's owner, taking a credit with it; the next in line while it has none left.
    fn owner(&mut self, domain: &Domain, id: DomainId) -> Option<ShardId> {
        let hash = domain_hash(domain);
        let dispatched = self.queue.dispatched(id);
        let owner = self.loads.owner_of(hash, dispatched);
        if self.credits.take(owner) {
            return Some(owner);
        }
        let shards = u8::try_from(self.loads.shards()).expect("at most SHARDS_MAX");
        (0..shards).map(ShardId).find(|shard| self.credits.take(*shard))
    }

    /// Expire what is due, make ready what is due, and tell of long delays.
    fn expire<P: Platform>(&mut self, commit: &mut Commit, cx: &mut Context<'_, P>) {
        if self.queue.next_due().is_none_or(|due| due > cx.now.wall) {
            return;
        }
        let mut due = Vec::new();
        self.queue.expire_due(cx.now.wall, &mut due);
        for due in due {
            let (message, purpose) = match due {
                Due::Expired { message, recipients } => {
                    (message, Purpose::Expire(message, recipients))
                }
                Due::DelayReport(message) => (message, Purpose::DelayReport(message)),
            };
            match (self.queue.hot(message).cloned(), purpose) {
                (Some(stored), Purpose::Expire(_, recipients)) => {
                    self.expired(message, &recipients, &stored, commit, cx);
                }
                (Some(stored), _) => self.report_delay(message, &stored, commit, cx),
                (None, purpose) => {
                    let lies = self.lies(message).expect("due while it is queued");
                    self.loader.start(lies, purpose, cx);
                }
            }
        }
    }
}

pub(super) fn recipients(departure: &Departure) -> u32 {
    u32::try_from(departure.recipients.as_slice().len()).expect("at most RECIPIENTS_MAX")
}

pub(super) fn queue_place(directory: u16, at: StoredAt) -> EnvelopeAt {
    let record = RecordAt { log: directory, segment: at.segment, offset: at.offset };
    EnvelopeAt { record, bytes: at.bytes }
}

pub(super) fn record_at(directory: u16, at: StateAt) -> RecordAt {
    RecordAt { log: directory, segment: at.segment, offset: at.offset }
}
