//! Lead a message past the milters of its listener, in their order, and say what becomes of it.
//!
//! In: a message, and of each milter its opinion or why it has none. Out: which milter is next,
//! then a [`Decision`] and the message as they want it. Invariant: each milter sees what those
//! before it changed; whoever refuses or discards is the last to be asked; changes that cannot be
//! made change nothing, and count as a failure of who asked for them. Lives on: the home shard, one
//! a message.

mod body;
mod changes;
mod header;
#[cfg(test)]
mod tests;

use crate::base::limits::DETAIL_MAX;
use crate::mail::status::Reply;
use crate::milter::{Failure, Letter, Opinion, Verdict};
use crate::policy::filtering::changes::apply;
use crate::policy::reply;

pub use header::{join, split};

/// What is done with a message when a milter has no opinion of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// It goes on without that milter.
    Accept,
    /// Its client is to send it again: 451 4.7.1.
    #[default]
    Tempfail,
    /// It is refused: 550 5.7.1.
    Reject,
}

/// What becomes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is taken.
    Accept,
    /// It is taken, and held in the queue.
    Hold,
    /// It is not, and its client is told so.
    Refuse(Reply),
    /// It is not, and its client is told that it was.
    Discard,
}

/// What one milter made of a message, for whoever writes that down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which of the milters.
    pub milter: usize,
    /// What it came to.
    pub outcome: Outcome,
}

/// What one milter made of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing.
    Passed,
    /// It is another now.
    Changed,
    /// It is to be held, for this reason.
    Quarantined(String),
    /// It is refused.
    Refused(Reply),
    /// It is discarded.
    Discarded,
    /// It has no opinion.
    Failed(String),
}

/// A message on its way past its milters.
#[derive(Debug)]
pub struct Course {
    letter: Letter,
    /// What is done when a milter fails, by milter.
    on_failure: Vec<OnFailure>,
    next: usize,
    decided: Option<Decision>,
    is_changed: bool,
    is_held: bool,
}

impl Course {
    /// At the first milter. There is one at least.
    pub fn new(letter: Letter, on_failure: Vec<OnFailure>) -> Self {
        let (is_changed, is_held) = (false, false);
        let decided = on_failure.is_empty().then_some(Decision::Accept);
        Self { letter, on_failure, next: 0, decided, is_changed, is_held }
    }

    /// The message as it is now.
    pub fn letter(&self) -> &Letter {
        &self.letter
    }

    /// The milter that is to be asked; `None` once it is decided.
    pub fn milter(&self) -> Option<usize> {
        self.decided.is_none().then_some(self.next)
    }

    /// What becomes of it, once that is decided.
    pub fn decision(&self) -> Option<&Decision> {
        self.decided.as_ref()
    }

    /// The message, and whether its content is another than it was.
    pub fn into_letter(self) -> (Letter, bool) {
        (self.letter, self.is_changed)
    }

    /// The milter that was asked thinks this.
    pub fn handle_opinion(&mut self, opinion: Opinion) -> Step {
        let Opinion { verdict, changes } = opinion;
        let outcome = match verdict {
            Verdict::Refuse(reply) => {
                self.decided = Some(Decision::Refuse(reply.clone()));
                Outcome::Refused(reply)
            }
            Verdict::Discard => {
                self.decided = Some(Decision::Discard);
                Outcome::Discarded
            }
            Verdict::Accept if changes.is_empty() => Outcome::Passed,
            Verdict::Accept => match apply(changes, &mut self.letter) {
                Ok(applied) => {
                    self.is_changed |= applied.content;
                    self.is_held |= applied.quarantine.is_some();
                    match applied.quarantine {
                        Some(reason) => Outcome::Quarantined(reason),
                        None => Outcome::Changed,
                    }
                }
                Err(words) => return self.fail(words.into()),
            },
        };
        self.step(outcome)
    }

    /// The milter that was asked has no opinion.
    pub fn handle_failure(&mut self, why: &Failure) -> Step {
        self.fail(why.to_string())
    }

    /// There is no more time for any of them.
    pub fn handle_late(&mut self) -> Step {
        self.fail("no time is left for it".into())
    }

    fn fail(&mut self, why: String) -> Step {
        let why: String = why.chars().take(DETAIL_MAX / 4).collect();
        self.decided = match self.on_failure[self.next] {
            OnFailure::Accept => None,
            OnFailure::Tempfail => {
                let words = "Filter out of order, try again later";
                Some(Decision::Refuse(reply(451, (4, 7, 1), words)))
            }
            OnFailure::Reject => {
                Some(Decision::Refuse(reply(550, (5, 7, 1), "Filter out of order")))
            }
        };
        self.step(Outcome::Failed(why))
    }

    fn step(&mut self, outcome: Outcome) -> Step {
        let milter = self.next;
        self.next += 1;
        if self.decided.is_none() && self.letter.envelope.recipients.is_empty() {
            // Nobody is left to get it.
            self.decided = Some(Decision::Discard);
        }
        if self.decided.is_none() && self.next == self.on_failure.len() {
            let held = self.is_held;
            self.decided = Some(if held { Decision::Hold } else { Decision::Accept });
        }
        Step { milter, outcome }
    }
}
