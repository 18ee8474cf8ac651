//! Hold a conversation with one milter over one connection: one message after another.
//!
//! In: a [`Letter`], the milter's octets, the time. Out: octets for the milter, its opinion or why
//! it has none, a deadline. Invariant: a milter is told all of a message without waiting for its
//! answers, but for those to the body's chunks; each answer belongs to the oldest step that is not
//! answered; a change is taken at the end of the message alone. Unit: octets. Lives on: the home
//! shard of the message.
//!
//! What libmilter does decides when a connection can be used again (`mi_engine`): for the next
//! message of the same client always; for another client only by `SMFIC_QUIT_NC`, and only after an
//! end of message that was answered with "continue": after any other answer it passes over
//! `SMFIC_QUIT_NC` and all that follows, without a word.

mod script;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::base::limits::{MILTER_PROGRESS_MAX, MILTER_WINDOW};
use crate::base::time::Monotonic;
use crate::milter::changes::{Changes, Gathered};
use crate::milter::flags::Agreed;
use crate::milter::letter::{Letter, Visitor};
use crate::milter::packet::{self, Packets};
use crate::milter::reply::{Opinion, Said, Verdict};
use crate::milter::{Failure, Stage};

use script::Script;

/// How long a milter may take, and how much it may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// For the connection, and for the options to be agreed on.
    pub connect: Duration,
    /// For each answer before the end of the message, and to take what is sent.
    pub command: Duration,
    /// For the answer to the end of the message, and between two signs of life.
    pub end: Duration,
    /// Octets of a body that takes the place of the message's.
    pub body_max: u64,
}

/// What came of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// What the milter thinks of it. The connection can be used on, unless it is over.
    Opinion(Opinion),
    /// It has no opinion, and the connection is over.
    Failed {
        /// Why.
        why: Failure,
        /// The connection had been used before, and nothing came on it since: the milter may have
        /// ended it just then. Another connection may do.
        is_stale: bool,
    },
}

/// Whether a connection can be used for a message of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// It cannot.
    No,
    /// It can, and the milter is told of a new client.
    Anew,
    /// It can: it is the client of the message before.
    Same,
}

/// One connection to a milter.
#[derive(Debug)]
pub struct Client {
    options: Options,
    phase: Phase,
    packets: Packets,
    agreed: Option<Agreed>,
    /// Whom the milter was told of last.
    told: Option<Arc<Visitor>>,
    /// The last end of message was answered with "continue".
    takes_new_client: bool,
    talk: Option<Talk>,
    output: Vec<u8>,
    event: Option<Event>,
    due: Option<Monotonic>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The connection is not there yet.
    Connecting,
    /// The options are being agreed on.
    Negotiating,
    /// A message may be begun.
    Open,
    /// To be closed once the output has been sent.
    Over,
}

/// A message under way.
#[derive(Debug)]
struct Talk {
    script: Script,
    /// What has been told and is to be answered, oldest first.
    unanswered: VecDeque<Stage>,
    changes: Gathered,
    progress: u32,
    /// Nothing has come since it began, on a connection that was used before.
    is_stale: bool,
}

/// What came of a packet of the milter.
#[derive(Debug)]
enum Step {
    /// The options are agreed on.
    Agreed(Agreed),
    /// The conversation goes on.
    Going,
    /// It has come to its end, at this stage.
    Decided {
        /// With this.
        verdict: Verdict,
        /// The stage that was answered.
        at: Stage,
        /// The end of the message was answered with "continue".
        goes_on: bool,
    },
}

impl Client {
    /// A connection that is being made.
    pub fn new(options: Options, now: Monotonic) -> Self {
        Self {
            options,
            phase: Phase::Connecting,
            packets: Packets::default(),
            agreed: None,
            told: None,
            takes_new_client: false,
            talk: None,
            output: Vec::new(),
            event: None,
            due: Some(now + options.connect),
        }
    }

    /// The connection is there.
    pub fn handle_connected(&mut self) {
        if self.phase == Phase::Connecting {
            self.phase = Phase::Negotiating;
            packet::write(b'O', &[&Agreed::offer()], &mut self.output);
        }
    }

    /// Whether the connection can be used for a message of `visitor`.
    pub fn fit(&self, visitor: &Visitor) -> Fit {
        if self.talk.is_some() || self.phase == Phase::Over || self.event.is_some() {
            return Fit::No;
        }
        match &self.told {
            None => Fit::Anew,
            Some(told) if **told == *visitor => Fit::Same,
            Some(_) if self.takes_new_client => Fit::Anew,
            Some(_) => Fit::No,
        }
    }

    /// Begin with a message of `visitor`, for which the connection is fit.
    pub fn begin(&mut self, visitor: &Arc<Visitor>, now: Monotonic) {
        let fit = self.fit(visitor);
        assert!(fit != Fit::No, "the connection is not fit for this message");
        let is_same = fit == Fit::Same;
        if self.told.is_some() && !is_same {
            packet::write(b'K', &[], &mut self.output);
        }
        self.told = Some(visitor.clone());
        self.talk = Some(Talk {
            script: Script::new(is_same),
            unanswered: VecDeque::new(),
            changes: Gathered::default(),
            progress: 0,
            is_stale: self.agreed.is_some(),
        });
        if self.phase == Phase::Open {
            self.arm(now);
        }
    }

    /// Append what is to be sent now; at most about `MILTER_WINDOW` octets, then again once the
    /// kernel has taken them. `letter` is the message that was begun, and the same each time.
    pub fn take_output(&mut self, letter: Option<&Letter>, into: &mut Vec<u8>, now: Monotonic) {
        into.append(&mut self.output);
        let (Some(letter), Some(agreed), Some(talk)) = (letter, self.agreed, &mut self.talk) else {
            return;
        };
        let before = into.len();
        while into.len() < MILTER_WINDOW {
            let Some(stage) = talk.script.write_next(letter, agreed, &talk.unanswered, into) else {
                break;
            };
            if agreed.answers(stage) {
                talk.unanswered.push_back(stage);
            }
        }
        if into.len() > before {
            self.arm(now);
        }
    }

    /// Take what the milter sent.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Monotonic) {
        if self.phase == Phase::Over {
            return;
        }
        self.packets.push(bytes);
        while self.phase != Phase::Over {
            let stage = self.stage();
            let is_idle = self.agreed.is_some() && self.talk.is_none();
            let is_midway = self.packets.is_midway();
            let handled = match self.packets.next() {
                // The next message must not find the rest of it in the place of its answer.
                Ok(None) if is_idle && is_midway => {
                    Err(Failure::Protocol("words without a message", stage))
                }
                Ok(None) => return,
                Ok(Some((what, data))) => match (&mut self.talk, self.agreed) {
                    (_, None) => Agreed::read_packet(what, data).map(Step::Agreed),
                    (Some(talk), Some(agreed)) => {
                        let read = talk.handle(what, data, agreed, self.options.body_max);
                        read.map_err(|what| Failure::Protocol(what, stage))
                    }
                    (None, Some(_)) => Err(Failure::Protocol("words without a message", stage)),
                },
                Err(packet::BadLength) => {
                    Err(Failure::Protocol("a packet of a length that none has", stage))
                }
            };
            match handled {
                Ok(step) => self.step(step, now),
                Err(why) => self.fail(why),
            }
        }
    }

    /// The connection broke, did not come about, or the milter will say nothing more.
    pub fn handle_lost(&mut self, why: &str) {
        if self.phase != Phase::Over {
            self.fail(Failure::Lost(why.into()));
        }
    }

    /// The time has come that [`Client::deadline`] gave. Nothing if it has not.
    pub fn handle_deadline(&mut self, now: Monotonic) {
        if self.due.is_some_and(|due| due <= now) {
            self.fail(Failure::TimedOut(self.stage()));
        }
    }

    /// Part from the milter, and forget the message that was begun.
    pub fn quit(&mut self) {
        if self.phase != Phase::Over {
            let midway = self.talk.take().is_some();
            self.leave(midway);
        }
    }

    /// What came of the message that was begun.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.event.take()
    }

    /// When to call [`Client::handle_deadline`].
    pub fn deadline(&self) -> Option<Monotonic> {
        self.due
    }

    /// Whether the connection is to be closed once its output has been sent.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Octets of memory held: what the milter has said.
    pub fn memory(&self) -> usize {
        let changes = self.talk.as_ref().map_or(0, |talk| talk.changes.memory());
        self.packets.memory() + changes
    }

    /// What the milter is at.
    fn stage(&self) -> Stage {
        match (self.phase, &self.talk) {
            (Phase::Connecting | Phase::Negotiating, _) => Stage::Negotiation,
            (Phase::Open | Phase::Over, None) => Stage::End,
            (Phase::Open | Phase::Over, Some(talk)) => {
                talk.unanswered.front().copied().unwrap_or(talk.script.stage())
            }
        }
    }

    fn step(&mut self, step: Step, now: Monotonic) {
        match step {
            Step::Agreed(agreed) => {
                self.agreed = Some(agreed);
                self.phase = Phase::Open;
                self.due = None;
                if self.talk.is_some() {
                    self.arm(now);
                }
            }
            Step::Going => self.arm(now),
            Step::Decided { verdict, at, goes_on } => self.decide(verdict, at, goes_on),
        }
    }

    /// The milter has made up its mind at `at`; `goes_on`: it said "continue".
    fn decide(&mut self, verdict: Verdict, at: Stage, goes_on: bool) {
        let Some(talk) = self.talk.take() else { return };
        let Talk { changes, unanswered, .. } = talk;
        let is_end = at == Stage::End;
        let changes = if verdict == Verdict::Accept && is_end {
            changes.into_changes()
        } else {
            Changes::default()
        };
        self.event = Some(Event::Opinion(Opinion { verdict, changes }));
        self.due = None;
        self.takes_new_client = goes_on && self.agreed.is_some_and(Agreed::takes_new_client);
        if !is_end || !unanswered.is_empty() || self.packets.is_midway() {
            self.leave(!is_end);
        }
    }

    /// Nothing more is taken from the milter. `midway`: it is in the middle of a message.
    fn leave(&mut self, midway: bool) {
        if matches!(self.phase, Phase::Open) {
            self.output.clear();
            if midway {
                packet::write(b'A', &[], &mut self.output);
            }
            packet::write(b'Q', &[], &mut self.output);
        }
        self.phase = Phase::Over;
        self.due = None;
    }

    fn fail(&mut self, why: Failure) {
        if let Some(talk) = self.talk.take() {
            let is_stale = talk.is_stale && matches!(why, Failure::Lost(_));
            self.event = Some(Event::Failed { why, is_stale });
        }
        self.output.clear();
        self.phase = Phase::Over;
        self.due = None;
    }

    /// The time of what the milter is at begins now.
    fn arm(&mut self, now: Monotonic) {
        let stage = self.stage();
        if stage != Stage::Negotiation {
            let is_end = stage == Stage::End;
            self.due = Some(now + if is_end { self.options.end } else { self.options.command });
        }
    }
}

impl Talk {
    /// Take a packet; an error is what is wrong with it.
    fn handle(
        &mut self,
        what: u8,
        data: &[u8],
        agreed: Agreed,
        body_max: u64,
    ) -> Result<Step, &'static str> {
        self.is_stale = false;
        let Some(&at) = self.unanswered.front() else { return Err("words that answer nothing") };
        match Said::read(what, data)? {
            Said::Progress => {
                self.progress += 1;
                if self.progress > MILTER_PROGRESS_MAX {
                    return Err("endless progress");
                }
            }
            Said::Continue if at == Stage::End => {
                self.unanswered.pop_front();
                return Ok(Step::Decided { verdict: Verdict::Accept, at, goes_on: true });
            }
            Said::Continue => {
                self.unanswered.pop_front();
            }
            Said::Skip if at == Stage::Body => {
                self.unanswered.pop_front();
                self.script.skip_body();
            }
            Said::Skip => return Err("a skip of something else than the body"),
            Said::Final(verdict) => {
                self.unanswered.pop_front();
                return Ok(Step::Decided { verdict, at, goes_on: false });
            }
            Said::Other if at != Stage::End => return Err("a change before the end"),
            Said::Other => {
                let leads = agreed.keeps_leading_space();
                if !self.changes.take(what, data, leads, body_max)? {
                    return Err("a word that nobody knows");
                }
            }
        }
        Ok(Step::Going)
    }
}
