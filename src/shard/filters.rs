//! Show messages to milters: drive the conversations over the platform's sockets.
//!
//! In: messages whose content has come, what came on connections to milters, time. Out: what became
//! of each, once all its milters have spoken or one of them has decided. Invariant: a message waits
//! for its own milters and for nobody else's, no longer than `FILTERING_MAX`; a milter has no more
//! connections than its knob says; a message whose client is gone is shown to nobody any more.
//! Lives on: the home shard.
//!
//! A message is in memory from its first octet until it is decided. It could lie in the spool
//! meanwhile: but nearly every milter adds fields at the top, so all content would be read back and
//! written a second time, and what is refused would have been written for nothing.

mod line;
mod pool;
mod storing;

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::base::limits::FILTERING_MAX;
use crate::base::slots::{Slot, Slots};
use crate::base::time::Monotonic;
use crate::milter::{Address, Event, Fit, Letter};
use crate::outcome::counters::{Count, Latency};
use crate::policy::filtering::{Course, Decision, Outcome, Step};
use crate::policy::signing::Signing;
use crate::shard::commit::Commit;
use crate::shard::connections::Connections;
use crate::shard::context::Context;
use crate::shard::filters::line::{Line, State};
use crate::shard::filters::pool::Pool;
use crate::shard::filters::storing::Storing;
use crate::shard::platform::{ConnectionId, Platform};
use crate::shard::settings::filters;
use crate::spool::stored::NewMessage;

/// A message whose content has come and that is to be filtered.
#[derive(Debug)]
pub(crate) struct Unfiltered {
    /// Whose client waits for it.
    pub(crate) session: ConnectionId,
    /// The message, but for its content.
    pub(crate) message: NewMessage,
    /// All that milters see of it.
    pub(crate) letter: Letter,
    /// Who is asked.
    pub(crate) filters: filters::Filters,
    /// What reads the content that it comes to, where it may have to be signed.
    pub(crate) signing: Option<Signing>,
    /// Why it waits for an operator, whatever they say.
    pub(crate) held: Option<Box<str>>,
}

/// What sessions have to say to the filters.
#[derive(Debug)]
pub(crate) enum Request {
    /// Filter this.
    Filter(Box<Unfiltered>),
    /// This session has no client any more.
    Forget(ConnectionId),
}

/// A message that milters have decided on.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) session: ConnectionId,
    pub(super) message: NewMessage,
    pub(super) letter: Letter,
    pub(super) is_changed: bool,
    pub(super) signing: Option<Signing>,
    pub(super) held: Option<Box<str>>,
    pub(super) decision: Decision,
    /// The milter that it is due to, and its reason, where it is no plain yes.
    pub(super) due_to: Option<(Box<str>, String)>,
}

/// A shard's messages that are being filtered, and its connections to milters.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    jobs: Slots<Job>,
    by_session: HashMap<ConnectionId, Slot>,
    lines: Connections<Line>,
    pools: HashMap<Address, Pool>,
    /// Jobs that are to go on.
    ready: VecDeque<Slot>,
    /// Connections on which something happened.
    stirred: VecDeque<ConnectionId>,
    decided: VecDeque<Decided>,
    /// Taken, and on their way into the log.
    storing: VecDeque<Storing>,
}

/// A message that is being filtered.
#[derive(Debug)]
struct Job {
    session: ConnectionId,
    message: NewMessage,
    signing: Option<Signing>,
    held: Option<Box<str>>,
    filters: filters::Filters,
    course: Course,
    began: Monotonic,
    /// The milter that is being asked listens there.
    line: Option<ConnectionId>,
    /// It was asked again, since the connection had ended before it could be.
    retried: bool,
    due_to: Option<(Box<str>, String)>,
    /// Octets of memory that were counted.
    memory: usize,
}

impl Job {
    fn due(&self) -> Monotonic {
        self.began + FILTERING_MAX
    }
}

impl Filters {
    /// Whether nothing is being filtered or on its way into the log.
    pub(crate) fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.decided.is_empty() && self.storing.is_empty()
    }

    /// Whether `connection` leads to a milter.
    pub(crate) fn has(&mut self, connection: ConnectionId) -> bool {
        self.lines.get_mut(connection).is_some()
    }

    /// The connection to a milter is there.
    pub(crate) fn connected(&mut self, id: ConnectionId) {
        self.on_line(id, |line| line.connected());
    }

    /// A milter sent this.
    pub(crate) fn received(&mut self, id: ConnectionId, bytes: &[u8], now: Monotonic) {
        self.on_line(id, |line| line.client.handle_bytes(bytes, now));
    }

    /// All that was sent to a milter has left.
    pub(crate) fn sent(&mut self, id: ConnectionId) {
        self.on_line(id, |line| line.is_sending = false);
    }

    /// A milter will say nothing more.
    pub(crate) fn ended(&mut self, id: ConnectionId) {
        self.on_line(id, |line| line.client.handle_lost("the milter hung up"));
    }

    /// A connection to a milter broke, or did not come about, and is gone.
    pub(crate) fn lost(&mut self, id: ConnectionId, why: &str) {
        self.on_line(id, |line| line.lost(why));
    }

    /// A connection's timer fired, perhaps too early.
    pub(crate) fn timer(&mut self, id: ConnectionId) {
        self.on_line(id, |line| line.armed = None);
    }

    fn on_line(&mut self, id: ConnectionId, act: impl FnOnce(&mut Line)) {
        if let Some(line) = self.lines.get_mut(id) {
            act(line);
            self.stirred.push_back(id);
        }
    }

    /// When `drive` is to be called again without an event: someone stood in line for too long.
    pub(crate) fn deadline(&self) -> Option<Monotonic> {
        let first = self.pools.values().filter_map(|pool| pool.waiting.front());
        first.filter_map(|slot| self.jobs.get(*slot)).map(Job::due).min()
    }

    /// Go on with all that can.
    pub(crate) fn drive<P: Platform>(&mut self, commit: &mut Commit, cx: &mut Context<'_, P>) {
        while let Some(request) = commit.to_filter.pop_front() {
            match request {
                Request::Filter(unfiltered) => self.begin(*unfiltered, cx),
                Request::Forget(session) => self.forget(session, commit),
            }
        }
        self.expire_waiting(cx.mono());
        loop {
            if let Some(id) = self.stirred.pop_front() {
                self.settle(id, commit, cx);
            } else if let Some(slot) = self.ready.pop_front() {
                self.advance(slot, commit, cx);
            } else {
                return;
            }
        }
    }

    /// The next message that was decided on.
    pub(super) fn poll_decided(&mut self) -> Option<Decided> {
        self.decided.pop_front()
    }

    fn begin<P: Platform>(&mut self, unfiltered: Unfiltered, cx: &Context<'_, P>) {
        let Unfiltered { session, message, letter, filters, signing, held } = unfiltered;
        let on_failure = filters.iter().map(|filter| filter.on_failure).collect();
        let slot = self.jobs.insert(Job {
            session,
            message,
            signing,
            held,
            filters,
            course: Course::new(letter, on_failure),
            began: cx.mono(),
            line: None,
            retried: false,
            due_to: None,
            memory: 0,
        });
        self.by_session.insert(session, slot);
        self.ready.push_back(slot);
    }

    /// Nobody waits for a session's message any more.
    fn forget(&mut self, session: ConnectionId, commit: &mut Commit) {
        self.abandon_storing(session, commit);
        let Some(job) = self.by_session.remove(&session).and_then(|slot| self.jobs.remove(slot))
        else {
            return;
        };
        commit.memory.gathered(job.memory, 0);
        if let Some(id) = job.line {
            self.on_line(id, Line::part);
        }
    }

    /// Those who stood in line for too long are not asked about any more.
    fn expire_waiting(&mut self, now: Monotonic) {
        for pool in self.pools.values_mut() {
            while let Some(slot) = pool.waiting.front().copied() {
                match self.jobs.get(slot) {
                    Some(job) if job.due() > now => break,
                    Some(_) => self.ready.push_back(slot),
                    None => {}
                }
                pool.waiting.pop_front();
            }
        }
    }

    /// Ask the next milter about a message, or tell what became of it.
    fn advance<P: Platform>(&mut self, slot: Slot, commit: &mut Commit, cx: &mut Context<'_, P>) {
        let Some(job) = self.jobs.get_mut(slot) else { return };
        while let Some(place) = job.course.milter().filter(|_| job.due() <= cx.mono()) {
            let step = job.course.handle_late();
            note(job, place, &step, cx);
        }
        let Some(place) = job.course.milter() else { return self.decide(slot, commit, cx) };
        account(job, 0, commit);
        let filter = job.filters[place].clone();
        let visitor = job.course.letter().visitor.clone();
        let pool = self.pools.entry(filter.address.clone()).or_default();
        let fits = pool.lines.iter().filter_map(|id| {
            let line = self.lines.get_mut(*id).filter(|line| line.state == State::Idle)?;
            Some((line.client.fit(&visitor), *id))
        });
        let best = fits.max_by_key(|(fit, _)| *fit);
        let id = match best {
            Some((fit, id)) if fit != Fit::No => id,
            unfit => {
                if pool.lines.len() >= filter.connections {
                    let Some((_, id)) = unfit else { return pool.waiting.push_back(slot) };
                    pool.lines.retain(|line| *line != id);
                    self.on_line(id, Line::part);
                }
                self.connect(&filter, cx)
            }
        };
        if let Some(line) = self.lines.get_mut(id) {
            line.client.begin(&visitor, cx.mono());
            line.state = State::Asked(slot);
        }
        if let Some(job) = self.jobs.get_mut(slot) {
            job.line = Some(id);
        }
        self.stirred.push_back(id);
    }

    fn connect<P: Platform>(
        &mut self,
        filter: &Arc<filters::Filter>,
        cx: &mut Context<'_, P>,
    ) -> ConnectionId {
        let id = match &filter.address {
            Address::Inet(address) => cx.platform.connect(*address, None),
            Address::Local(path) => cx.platform.connect_local(path),
        };
        let line = Line::new(filter.address.clone(), filter.options, cx.mono());
        self.lines.insert(id, line);
        self.pools.entry(filter.address.clone()).or_default().lines.push(id);
        id
    }

    /// A message is decided on.
    fn decide<P: Platform>(&mut self, slot: Slot, commit: &mut Commit, cx: &mut Context<'_, P>) {
        let Some(job) = self.jobs.remove(slot) else { return };
        self.by_session.remove(&job.session);
        commit.memory.gathered(job.memory, 0);
        cx.common.counters.record(Latency::Filter, cx.mono().since(job.began));
        let Job { session, message, signing, held, course, due_to, .. } = job;
        let decision = course.decision().cloned().unwrap_or(Decision::Accept);
        let (letter, is_changed) = course.into_letter();
        self.decided.push_back(Decided {
            session,
            message,
            letter,
            is_changed,
            signing,
            held,
            decision,
            due_to,
        });
    }

    /// Send what a conversation says, hear what came of it, set its timer, let it go when it is
    /// over.
    fn settle<P: Platform>(
        &mut self,
        id: ConnectionId,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        let Some(line) = self.lines.get_mut(id) else { return };
        let job = match line.state {
            State::Asked(slot) => self.jobs.get_mut(slot),
            State::Idle | State::Parting => None,
        };
        if let Some(job) = &job {
            line.handle_deadline(Some(job.due()), cx.mono());
        } else {
            line.handle_deadline(None, cx.mono());
        }
        line.send(id, job.as_ref().map(|job| job.course.letter()), cx);
        if let Some(job) = job {
            account(job, line.client.memory(), commit);
            if line.holds_much() && commit.is_full() {
                line.client.handle_lost("there is no memory left for the new body");
            }
        }
        if let Some(event) = line.client.poll_event() {
            self.hear(id, event, cx);
        }
        let Some(line) = self.lines.get_mut(id) else { return };
        let due = match line.state {
            State::Asked(slot) => self.jobs.get(slot).map(Job::due),
            State::Idle | State::Parting => None,
        };
        if !line.settle(id, due, cx) {
            let address = line.address.clone();
            self.lines.remove(id);
            self.leave_pool(&address, id);
        }
    }

    /// A milter has spoken, or failed to.
    fn hear<P: Platform>(&mut self, id: ConnectionId, event: Event, cx: &mut Context<'_, P>) {
        let Some(line) = self.lines.get_mut(id) else { return };
        let State::Asked(slot) = line.state else { return };
        line.rest(cx.mono());
        let address = line.address.clone();
        if let Some(job) = self.jobs.get_mut(slot) {
            job.line = None;
            let place = job.course.milter().unwrap_or_default();
            let step = match event {
                Event::Failed { why: _, is_stale: true } if !job.retried => {
                    job.retried = true;
                    None
                }
                Event::Failed { why, is_stale: _ } => Some(job.course.handle_failure(&why)),
                Event::Opinion(opinion) => Some(job.course.handle_opinion(opinion)),
            };
            match step {
                Some(step) => {
                    job.retried = false;
                    let pool = self.pools.entry(address.clone()).or_default();
                    pool.note(&job.filters[place].name, &step.outcome);
                    note(job, place, &step, cx);
                }
                // The others that rest have rested as long.
                None => self.part_with_idle(&address),
            }
            self.ready.push_back(slot);
        }
        self.let_next(&address);
    }

    /// Whoever waits for a connection to a milter may look for one.
    fn let_next(&mut self, address: &Address) {
        let Some(pool) = self.pools.get_mut(address) else { return };
        while let Some(next) = pool.waiting.pop_front() {
            if self.jobs.get(next).is_some() {
                return self.ready.push_back(next);
            }
        }
    }

    fn part_with_idle(&mut self, address: &Address) {
        let Some(pool) = self.pools.get(address) else { return };
        for id in pool.lines.clone() {
            if self.lines.get_mut(id).is_some_and(|line| line.state == State::Idle) {
                self.on_line(id, Line::part);
            }
        }
    }

    fn leave_pool(&mut self, address: &Address, id: ConnectionId) {
        let Some(pool) = self.pools.get_mut(address) else { return };
        pool.lines.retain(|line| *line != id);
        if pool.is_forgotten() {
            self.pools.remove(address);
        } else {
            self.let_next(address);
        }
    }
}

/// Count what a message holds, `more` included.
fn account(job: &mut Job, more: usize, commit: &mut Commit) {
    let memory = job.course.letter().memory() + more;
    commit.memory.gathered(std::mem::replace(&mut job.memory, memory), memory);
}

/// Tell what the milter at `place` made of a message.
fn note<P: Platform>(job: &mut Job, place: usize, step: &Step, cx: &mut Context<'_, P>) {
    let name = &job.filters[place].name;
    let (count, words) = match &step.outcome {
        Outcome::Passed => (Count::FilterPassed, String::new()),
        Outcome::Changed if job.course.letter().envelope.recipients.is_empty() => {
            (Count::FilterDiscarded, String::from("no recipient is left"))
        }
        Outcome::Changed => (Count::FilterChanged, String::new()),
        Outcome::Quarantined(reason) => (Count::FilterQuarantined, reason.clone()),
        Outcome::Refused(reply) => (Count::FilterRefused, reply.to_string()),
        Outcome::Discarded => (Count::FilterDiscarded, String::new()),
        Outcome::Failed(why) => (Count::FilterFailed, why.clone()),
    };
    cx.common.counters.increment(count);
    tracing::debug!(id = %job.message.id, milter = %name, words, "{count:?}");
    let decides = match (&step.outcome, job.course.decision()) {
        (Outcome::Quarantined(_), _) | (_, Some(Decision::Refuse(_))) => true,
        (_, Some(Decision::Discard)) => true,
        // One that failed, and the message went on without it.
        (_, Some(Decision::Accept | Decision::Hold) | None) => false,
    };
    if decides {
        job.due_to = Some((name.clone(), words));
    }
}
