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
use crate::dns::{self, Question};
use crate::milter::Field;
use crate::outcome::counters::Count;
use crate::outcome::event::Kind;
use crate::policy::authenticity::{Authenticity, Dmarc, Facts, Mode, Progress, Results, Verdict};
use crate::policy::signing::Signing;
use crate::shard::Shard;
use crate::shard::commit::{Commit, From};
use crate::shard::context::Context;
use crate::shard::filters::Unfiltered;
use crate::shard::journal::{Attempt, Said};
use crate::shard::platform::{ConnectionId, Platform};
use crate::smtp::answer::Answer;
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
    subject: Subject,
    connection: ConnectionId,
    authenticity: Authenticity,
    mode: Mode,
    /// Not answered yet.
    open: HashSet<Question>,
    memory: usize,
}

/// A message that is to be verified.
#[derive(Debug)]
pub(crate) enum Subject {
    /// It is stored next.
    Unfiltered(NewMessage),
    /// Milters see it next.
    ToFilter(Box<Unfiltered>),
}

impl Subject {
    fn message(&self) -> &NewMessage {
        match self {
            Self::Unfiltered(message) => message,
            Self::ToFilter(unfiltered) => &unfiltered.message,
        }
    }

    fn memory(&self) -> usize {
        match self {
            Self::Unfiltered(message) => message.content.capacity(),
            Self::ToFilter(unfiltered) => unfiltered.letter.memory(),
        }
    }

    /// Put a field before it; milters see it as its first.
    fn prepend(&mut self, field: &[u8]) {
        match self {
            Self::Unfiltered(message) => {
                message.has_eight_bit |= !field.is_ascii();
                message.prefix.extend_from_slice(field);
            }
            Self::ToFilter(unfiltered) => {
                unfiltered.message.has_eight_bit |= !field.is_ascii();
                unfiltered.letter.fields.splice(0..0, Field::new(field.to_vec()));
            }
        }
    }
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
    pub(super) fn answered(&mut self, answer: &Arc<dns::Answer>) {
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
    /// Let a message go on once it is known from whom it is.
    pub(crate) fn verify(
        &mut self,
        subject: Subject,
        authenticity: Authenticity,
        mode: Mode,
        connection: ConnectionId,
        now: Monotonic,
    ) {
        let memory = subject.memory() + authenticity.memory();
        self.memory.gathered(0, memory);
        let open = HashSet::new();
        let job = Job { subject, connection, authenticity, mode, open, memory };
        let slot = self.verifying.jobs.insert(job);
        self.verifying.ready.push_back(slot);
        self.verifying.deadlines.push_back((now + VERIFY_DEADLINE, slot));
    }
}

impl Shard {
    /// Take in what name servers said, and go through one message.
    pub(super) fn verify<P: Platform>(&mut self, platform: &mut P) {
        self.hear(platform);
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
                self.hear(platform);
            }
            Some(Advanced::Done(job, results)) => self.verified(*job, &results, platform),
        }
    }

    /// Act on what came of a message.
    fn verified<P: Platform>(&mut self, job: Job, results: &Results, platform: &mut P) {
        let now = platform.now();
        let cx = &mut Context { now, platform, settings: &self.settings, common: &mut self.common };
        let Job { mut subject, connection, mode, memory, authenticity, .. } = job;
        self.commit.memory.gathered(memory, 0);
        cx.common.counters.increment(count(results.dmarc));
        tell(subject.message(), mode, results);
        if mode != Mode::Monitor {
            subject.prepend(&results.field);
        }
        let verdict = results.verdict(mode);
        let mut told = results.told.clone();
        told.disposition = disposition(&verdict).into();
        let stored = subject.message().as_stored(authenticity.bytes());
        let attempt = Attempt { verified: Some(&told), ..Attempt::default() };
        self.home.journal.tell(Kind::Verified, &stored, 0, attempt, Said::Nothing, cx);
        let held: Option<Box<str>> = match verdict {
            Verdict::Take => None,
            Verdict::Hold => Some(format!("{} fails DMARC", results.from_domain).into()),
            Verdict::Refuse(reply) => {
                let answer: Answer = reply.into();
                let id = subject.message().id;
                return self.ingress.refuse(connection, id, answer, &mut self.commit, cx);
            }
        };
        let bytes_max = cx.settings.header_bytes_max();
        let sealer = cx.settings.sealer.clone().filter(|_| mode != Mode::Monitor);
        let seal = sealer.and_then(|signer| results.seal(signer));
        match subject {
            Subject::Unfiltered(message) => {
                let from = From::session(connection, held);
                let Facts { header, relaxed, .. } = authenticity.into_facts();
                let set =
                    seal.zip(relaxed).map(|(seal, body)| seal.compose(&header, &body, cx.now.wall));
                let sealed = (message, set.unwrap_or_default());
                self.ingress.sign_and_store(connection, sealed, from, &mut self.commit, cx);
            }
            Subject::ToFilter(mut unfiltered) => {
                // Milters may change what is sealed.
                unfiltered.signing = seal.map(|seal| Signing::sealing(seal, bytes_max));
                unfiltered.held = held;
                self.ingress.filter(connection, unfiltered, &mut self.commit);
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

/// As aggregate reports have it.
fn disposition(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Take => "none",
        Verdict::Hold => "quarantine",
        Verdict::Refuse(_) => "reject",
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
