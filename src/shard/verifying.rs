//! Let messages wait until it is known whether they are from whom they say: DNS takes its time.
//!
//! In: messages that are complete; answers of name servers. Out: questions to them; the messages,
//! to be stored, held or refused. Invariant: a turn goes through one message at most; a message
//! waits for name servers until `VERIFY_DEADLINE` and no longer: then what is not known is a
//! temporary error, for which nothing is refused. Lives on: each shard, before its log.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use crate::base::limits::VERIFY_DEADLINE;
use crate::base::slots::{Slot, Slots};
use crate::base::time::Monotonic;
use crate::dns::{Answer, Question};
use crate::outcome::counters::Count;
use crate::policy::authenticity::{Authenticity, Dmarc, Mode, Progress, Results, Verdict};
use crate::shard::Shard;
use crate::shard::commit::{Commit, From};
use crate::shard::context::Context;
use crate::shard::platform::{ConnectionId, Platform};
use crate::smtp::answer::Answer as Reply;
use crate::spool::stored::NewMessage;

/// Messages that are being verified; at most one of each session.
#[derive(Debug, Default)]
pub(crate) struct Verifying {
    jobs: Slots<Job>,
    /// To be gone through.
    ready: VecDeque<Slot>,
    /// Who waits for what.
    asked: HashMap<Question, Vec<Slot>>,
    /// When each is given up, in the order in which they came.
    deadlines: VecDeque<(Monotonic, Slot)>,
}

#[derive(Debug)]
struct Job {
    message: NewMessage,
    connection: ConnectionId,
    authenticity: Authenticity,
    mode: Mode,
    /// Not answered yet.
    open: HashSet<Question>,
    memory: usize,
}

impl Verifying {
    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// When there is something to be done.
    pub(crate) fn deadline(&self, now: Monotonic) -> Option<Monotonic> {
        let at_once = (!self.ready.is_empty()).then_some(now);
        at_once.or_else(|| self.deadlines.front().map(|(at, _)| *at))
    }

    /// A name server has answered, or nobody could.
    fn answered(&mut self, answer: &Arc<Answer>) {
        for slot in self.asked.remove(&answer.question).unwrap_or_default() {
            let Some(job) = self.jobs.get_mut(slot) else { continue };
            job.authenticity.handle_answer(answer);
            if job.open.remove(&answer.question) && job.open.is_empty() {
                self.ready.push_back(slot);
            }
        }
    }

    /// Give up those whose time is over.
    fn expire(&mut self, now: Monotonic) {
        while self.deadlines.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, slot)) = self.deadlines.pop_front() else { return };
            let Some(job) = self.jobs.get_mut(slot) else { continue };
            job.authenticity.give_up();
            if !job.open.is_empty() {
                job.open.clear();
                self.ready.push_back(slot);
            }
        }
    }

    /// Go through one message: what it asks, or what came of it.
    fn advance(&mut self) -> Option<Advanced> {
        let slot = self.ready.pop_front()?;
        match self.jobs.get_mut(slot)?.authenticity.advance() {
            Progress::Ask(questions) => {
                let job = self.jobs.get_mut(slot)?;
                job.open.extend(questions.iter().cloned());
                for question in &questions {
                    self.asked.entry(question.clone()).or_default().push(slot);
                }
                Some(Advanced::Asks(questions))
            }
            Progress::Done(results) => {
                let job = self.jobs.remove(slot)?;
                Some(Advanced::Done(Box::new(job), results))
            }
        }
    }
}

enum Advanced {
    Asks(Vec<Question>),
    Done(Box<Job>, Box<Results>),
}

impl Commit {
    /// As [`Commit::message`], once it is known from whom the message is.
    pub(crate) fn verify_and_store(
        &mut self,
        message: NewMessage,
        authenticity: Authenticity,
        mode: Mode,
        connection: ConnectionId,
        now: Monotonic,
    ) {
        let memory = message.content.capacity() + authenticity.memory();
        self.memory.gathered(0, memory);
        let open = HashSet::new();
        let job = Job { message, connection, authenticity, mode, open, memory };
        let slot = self.verifying.jobs.insert(job);
        self.verifying.ready.push_back(slot);
        self.verifying.deadlines.push_back((now + VERIFY_DEADLINE, slot));
    }
}

impl Shard {
    /// Take in what name servers said, and go through one message.
    pub(super) fn verify<P: Platform>(&mut self, platform: &mut P) {
        while let Some(answer) = self.lookups.poll_answer() {
            self.commit.verifying.answered(&answer);
        }
        if self.commit.verifying.is_empty() {
            self.commit.verifying.deadlines.clear();
            return;
        }
        let now = platform.now();
        let cx = &mut Context { now, platform, settings: &self.settings, common: &mut self.common };
        self.commit.verifying.expire(cx.mono());
        match self.commit.verifying.advance() {
            None => {}
            Some(Advanced::Asks(questions)) => {
                for question in questions {
                    self.lookups.ask(question, cx);
                }
                // What was known already: nothing else would ask for a turn.
                while let Some(answer) = self.lookups.poll_answer() {
                    self.commit.verifying.answered(&answer);
                }
            }
            Some(Advanced::Done(job, results)) => {
                let Job { mut message, connection, mode, memory, .. } = *job;
                self.commit.memory.gathered(memory, 0);
                cx.common.counters.increment(count(results.dmarc));
                tell(&message, mode, &results);
                if mode != Mode::Monitor {
                    message.has_eight_bit |= !results.field.is_ascii();
                    message.prefix.extend_from_slice(&results.field);
                }
                match results.verdict(mode) {
                    Verdict::Take => {
                        let from = From::Session(connection);
                        self.ingress.store(connection, message, from, &mut self.commit, cx);
                    }
                    Verdict::Hold => {
                        let why = format!("{} fails DMARC", results.from_domain);
                        let from = From::Held(connection, why.into());
                        self.ingress.store(connection, message, from, &mut self.commit, cx);
                    }
                    Verdict::Refuse(reply) => {
                        let (id, reply) =
                            (message.id, <Reply as std::convert::From<_>>::from(reply));
                        self.ingress.refuse(connection, id, reply, &mut self.commit, cx);
                    }
                }
            }
        }
    }
}

/// Who only looks wants to see all of it.
fn tell(message: &NewMessage, mode: Mode, results: &Results) {
    let (id, from) = (message.id, &results.from_domain);
    let reverse_path = &message.envelope.reverse_path;
    match mode {
        Mode::Monitor => tracing::info!(%id, %from, %reverse_path, "{results}"),
        Mode::Tag | Mode::Reject | Mode::Quarantine => {
            tracing::debug!(%id, %from, %reverse_path, "{results}")
        }
    }
}

fn count(dmarc: Dmarc) -> Count {
    match dmarc {
        Dmarc::Pass => Count::DmarcPass,
        Dmarc::Fail | Dmarc::FailQuarantine | Dmarc::FailReject => Count::DmarcFail,
        Dmarc::None => Count::DmarcNone,
        Dmarc::TempError => Count::DmarcTempError,
        Dmarc::PermError => Count::DmarcPermError,
    }
}
