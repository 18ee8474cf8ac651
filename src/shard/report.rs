//! Act on what became of an attempt: write it down, tell the event log, say who is to be told.
//!
//! In: reports of owners, ends of lifetimes. Out: states and ends in the spool, events; DSNs are
//! written in `notices.rs`. Lives on: the home shard.

use std::sync::Arc;
use std::time::Duration;

use crate::base::limits::{PARK_FOR, PARK_FOR_MIN, UNREADABLE_RETRY};
use crate::base::slots::Slot;
use crate::base::time::WallTime;
use crate::mail::outcome::Reason;
use crate::mail::status::Reply;
use crate::outcome::counters::{Count, Latency};
use crate::outcome::dsn::{self, Action};
use crate::outcome::event::Kind;
use crate::queue::{Deferral, Finished, Recipients};
use crate::shard::commit::Commit;
use crate::shard::context::Context;
use crate::shard::dispatch::{Home, recipients};
use crate::shard::journal::{Attempt, Said, delays};
use crate::shard::load::{Lies, Purpose};
use crate::shard::mesh::{Attempted, GivenBack, Report, Settlement};
use crate::shard::platform::Platform;
use crate::shard::reasons::expiry;
use crate::spool::log::MovedRecipient;
use crate::spool::stored::{RecipientState, Standing, StateAt, Stored};

/// A recipient that will not be tried again, and why.
struct GivenUp {
    recipient: u16,
    reason: Reason,
    kind: Kind,
}

impl Home {
    /// An owner reports on a dispatch.
    pub(crate) fn report<P: Platform>(
        &mut self,
        report: Report,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        self.credits.give_back(report.owner);
        self.loads.subtract(report.owner, recipients(&report.departure));
        match &report.result {
            Ok(attempted) => self.attempted(&report, attempted, commit, cx),
            Err(given_back) => self.given_back(&report, given_back, commit, cx),
        }
    }

    fn given_back<P: Platform>(
        &mut self,
        report: &Report,
        given_back: &GivenBack,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        let (soonest, latest) = (cx.now.wall + PARK_FOR_MIN, cx.now.wall + PARK_FOR);
        let until = given_back.until.clamp(soonest, latest);
        if let Some(tried) = &given_back.tried {
            self.tell_tried(report, tried, until, cx);
        }
        let why = given_back.why.clone();
        let over = if given_back.of_sender {
            self.queue.park_flow(&report.departure, until, why)
        } else {
            self.queue.explain(report.departure.domain, Some(why));
            self.queue.park(&report.departure, Some(until))
        };
        let mut given_up = Vec::new();
        for (recipient, end) in over {
            self.end(report, recipient, end, None, &mut given_up, commit, cx);
        }
        self.give_up(report.departure.message, &report.stored, given_up, commit, cx);
    }

    /// An attempt failed for the site's sake: the event log has it, and no recipient is the later
    /// for it.
    fn tell_tried<P: Platform>(
        &mut self,
        report: &Report,
        tried: &Attempted,
        until: WallTime,
        cx: &mut Context<'_, P>,
    ) {
        let age = self.age(report, cx.now.wall);
        for (recipient, settlement) in &tried.recipients {
            let Settlement::Deferred(reason) = settlement else { continue };
            let Some(view) = self.queue.recipient(report.departure.message, *recipient) else {
                continue;
            };
            let attempt = Attempt {
                next: Some(until),
                ..attempt(report, tried, view.attempts.saturating_add(1), age)
            };
            cx.common.counters.increment(Count::Deferred);
            let said = Said::Refused(reason);
            self.journal.tell(Kind::Deferred, &report.stored, *recipient, attempt, said, cx);
        }
    }

    fn attempted<P: Platform>(
        &mut self,
        report: &Report,
        attempted: &Attempted,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        let message = report.departure.message;
        self.queue.explain(report.departure.domain, None);
        // One due time for all that failed together: they leave together again.
        let mut due = None;
        let age = self.age(report, cx.now.wall);
        let mut given_up = Vec::new();
        let mut relayed = Vec::new();
        for (recipient, settlement) in &attempted.recipients {
            let recipient = *recipient;
            let Some(view) = self.queue.recipient(message, recipient) else { continue };
            let number = view.attempts.saturating_add(1);
            let mut attempt = attempt(report, attempted, number, age);
            match settlement {
                Settlement::Delivered { reply, passed_on } => {
                    self.delivered(report, recipient, attempt, reply, commit, cx);
                    let envelope = &report.stored.envelope;
                    let of = &envelope.recipients[usize::from(recipient)];
                    if dsn::is_relayed_due(envelope, of, *passed_on) {
                        relayed.push((recipient, reply));
                    }
                }
                Settlement::Deferred(reason) => {
                    let (schedule, wall) = (&cx.settings.schedule, cx.now.wall);
                    let prng = &mut cx.common.prng;
                    let at = *due.get_or_insert_with(|| schedule.due(number, wall, prng));
                    attempt.next = Some(at);
                    let end = self.deferred(report, recipient, attempt, at, reason, commit, cx);
                    if let Some(end) = end {
                        let last = Some(reason);
                        self.end(report, recipient, end, last, &mut given_up, commit, cx);
                    }
                }
                Settlement::Bounced(reason) => {
                    let said = Said::Refused(reason);
                    self.journal.tell(Kind::Bounced, &report.stored, recipient, attempt, said, cx);
                    let reason = reason.clone();
                    given_up.push(GivenUp { recipient, reason, kind: Kind::Bounced });
                }
            }
        }
        self.tell_relayed(report, attempted, &relayed, commit, cx);
        self.give_up(message, &report.stored, given_up, commit, cx);
        self.queue.cool(message);
    }

    /// Let a recipient wait until `at`; where it is not to wait any more, why not.
    #[expect(
        clippy::too_many_arguments,
        reason = "what came back, what was said, what to act with"
    )]
    fn deferred<P: Platform>(
        &mut self,
        report: &Report,
        recipient: u16,
        attempt: Attempt<'_>,
        at: WallTime,
        reason: &Reason,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) -> Option<Deferral> {
        let message = report.departure.message;
        let number = u16::try_from(attempt.number).unwrap_or(u16::MAX);
        let end = self.queue.defer(message, recipient, number, at, None)?;
        cx.common.counters.increment(Count::Deferred);
        let said = Said::Refused(reason);
        self.journal.tell(Kind::Deferred, &report.stored, recipient, attempt, said, cx);
        if matches!(end, Deferral::Expired | Deferral::Removed) {
            return Some(end);
        }
        let standing = Standing::Pending {
            attempts: attempt.number,
            due: at,
            held: end == Deferral::Held,
            reason: Some(reason.clone()),
        };
        self.write_down(message, recipient, standing, commit);
        None
    }

    /// How long ago the message of a report was accepted.
    fn age(&self, report: &Report, now: WallTime) -> Duration {
        now.since(self.received(report.departure.message, &report.stored))
    }

    fn delivered<P: Platform>(
        &mut self,
        report: &Report,
        recipient: u16,
        attempt: Attempt<'_>,
        reply: &Reply,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        let counters = &mut cx.common.counters;
        counters.increment(Count::Delivered);
        counters.record(Latency::Delivery, self.age(report, cx.now.wall));
        let said = Said::Taken(reply);
        self.journal.tell(Kind::Delivered, &report.stored, recipient, attempt, said, cx);
        self.finish(report.departure.message, recipient, Standing::Delivered, commit);
    }

    /// A recipient came back that is not to wait any more.
    #[expect(
        clippy::too_many_arguments,
        reason = "what came back, what was said, what to act with"
    )]
    fn end<P: Platform>(
        &mut self,
        report: &Report,
        recipient: u16,
        end: Deferral,
        last: Option<&Reason>,
        given_up: &mut Vec<GivenUp>,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        let message = report.departure.message;
        match end {
            Deferral::Expired => {
                let last = last.cloned().or_else(|| self.last_reason(message, recipient, commit));
                let reason = expiry(last, &report.stored, cx.now.wall);
                self.tell_end(Kind::Expired, &report.stored, recipient, &reason, cx);
                given_up.push(GivenUp { recipient, reason, kind: Kind::Expired });
            }
            Deferral::Removed => self.remove(message, &report.stored, recipient, commit, cx),
            Deferral::Waiting | Deferral::Held => {}
        }
    }

    /// The lifetime of a message is over for these recipients.
    pub(super) fn expired<P: Platform>(
        &mut self,
        message: Slot,
        recipients: &Recipients,
        stored: &Arc<Stored>,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        let mut given_up = Vec::new();
        for &recipient in recipients.as_slice() {
            let last = self.last_reason(message, recipient, commit);
            let reason = expiry(last, stored, cx.now.wall);
            self.tell_end(Kind::Expired, stored, recipient, &reason, cx);
            given_up.push(GivenUp { recipient, reason, kind: Kind::Expired });
        }
        self.give_up(message, stored, given_up, commit, cx);
    }

    /// An operator removed a recipient: no DSN.
    pub(super) fn remove<P: Platform>(
        &mut self,
        message: Slot,
        stored: &Stored,
        recipient: u16,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        cx.common.counters.increment(Count::Removed);
        self.journal.tell(Kind::Removed, stored, recipient, Attempt::default(), Said::Nothing, cx);
        self.finish(message, recipient, Standing::Bounced, commit);
    }

    pub(super) fn tell_end<P: Platform>(
        &mut self,
        kind: Kind,
        stored: &Stored,
        recipient: u16,
        reason: &Reason,
        cx: &mut Context<'_, P>,
    ) {
        let attempt = Attempt { peer: &reason.peer, ..Attempt::default() };
        self.journal.tell(kind, stored, recipient, attempt, Said::Refused(reason), cx);
    }

    /// Finish those whom nobody is to be told of, and write a DSN for the others first.
    fn give_up<P: Platform>(
        &mut self,
        message: Slot,
        stored: &Arc<Stored>,
        given_up: Vec<GivenUp>,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        for gone in &given_up {
            let expired = gone.kind == Kind::Expired;
            let count = if expired { Count::Expired } else { Count::Bounced };
            cx.common.counters.increment(count);
        }
        let (told, untold): (Vec<_>, Vec<_>) = given_up.into_iter().partition(|gone| {
            let recipient = &stored.envelope.recipients[usize::from(gone.recipient)];
            dsn::due(&stored.envelope, recipient, Action::Failed)
        });
        for gone in untold {
            self.finish(message, gone.recipient, Standing::Bounced, commit);
        }
        let reasons: Vec<_> = told.iter().map(|gone| (gone.recipient, &gone.reason)).collect();
        self.notify(message, stored, Action::Failed, &reasons, commit, cx);
    }

    /// A recipient is final: it leaves the queue, and the spool is told.
    pub(super) fn finish(
        &mut self,
        message: Slot,
        recipient: u16,
        standing: Standing,
        commit: &mut Commit,
    ) {
        let Some(lies) = self.lies(message) else { return };
        let log = commit.log(lies.directory);
        match self.queue.finish(message, recipient) {
            Some(Finished::Left(_)) => {
                log.append_state(lies.id, &RecipientState { recipient, standing });
            }
            Some(Finished::Done { id, .. }) => log.append_done(id, lies.at),
            None => {}
        }
    }

    /// Write down how a pending recipient stands.
    pub(super) fn write_down(
        &mut self,
        message: Slot,
        recipient: u16,
        standing: Standing,
        commit: &mut Commit,
    ) {
        if let Some(Lies { id, directory, .. }) = self.lies(message) {
            commit.log(directory).append_state(id, &RecipientState { recipient, standing });
        }
    }

    /// What the last attempt came to, from the spool.
    pub(super) fn last_reason(
        &mut self,
        message: Slot,
        recipient: u16,
        commit: &mut Commit,
    ) -> Option<Reason> {
        let at = self.queue.recipient(message, recipient)?.reason_at?;
        let place = StateAt { segment: at.segment, offset: at.offset };
        match commit.log(at.log).load_state(place).ok()?.standing {
            Standing::Pending { reason, .. } => reason,
            Standing::Delivered | Standing::Bounced | Standing::Ended => None,
        }
    }

    /// Append a message anew at the head of its log, as it stands in the queue.
    pub(super) fn move_now(&mut self, slot: Slot, lies: Lies, commit: &mut Commit) {
        let Some(view) = self.queue.show_at(slot) else { return };
        let pending: Vec<MovedRecipient> = view
            .recipients
            .iter()
            .map(|recipient| MovedRecipient {
                recipient: recipient.index,
                attempts: recipient.attempts.into(),
                due: recipient.due,
                held: recipient.state == crate::queue::State::Held,
                last: recipient
                    .reason_at
                    .map(|at| StateAt { segment: at.segment, offset: at.offset }),
            })
            .collect();
        if let Err(damage) = commit.log(lies.directory).append_move(lies.id, lies.at, &pending) {
            tracing::error!(id = %lies.id, %damage, "a queued message cannot be moved");
        }
    }

    /// A message could not be read: its recipients wait, since nothing else can be done for them.
    pub(super) fn put_aside(&mut self, purpose: &Purpose, commit: &mut Commit, now: WallTime) {
        let (message, recipients) = match purpose {
            Purpose::Depart(departure) => (departure.message, departure.recipients.clone()),
            Purpose::Expire(message, recipients) => (*message, recipients.clone()),
            Purpose::DelayReport(_) => return,
        };
        for &recipient in recipients.as_slice() {
            if self.queue.postpone(message, recipient, now + UNREADABLE_RETRY)
                == Some(Deferral::Removed)
            {
                self.finish(message, recipient, Standing::Bounced, commit);
            }
        }
    }
}

/// What is told of a recipient's attempt with this number.
fn attempt<'a>(
    report: &Report,
    attempted: &'a Attempted,
    number: u16,
    age: Duration,
) -> Attempt<'a> {
    Attempt {
        number: number.into(),
        next: None,
        site: &attempted.site,
        peer: &attempted.peer,
        milter: "",
        upstream: attempted.upstream.as_deref().unwrap_or(""),
        source: attempted.source.as_deref().unwrap_or(""),
        provider: attempted.provider.as_deref().unwrap_or(""),
        tls: attempted.tls.as_deref().unwrap_or(""),
        delays: Some(delays(&report.stored, age, attempted.delays)),
        accept: None,
        verified: None,
    }
}
