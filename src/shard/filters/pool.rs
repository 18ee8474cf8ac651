//! The connections to one milter, and who waits for one.

use std::collections::VecDeque;

use crate::base::slots::Slot;
use crate::policy::filtering::Outcome;
use crate::shard::platform::ConnectionId;

/// The connections to one milter.
#[derive(Debug, Default)]
pub(super) struct Pool {
    /// All of them but those that part.
    pub(super) lines: Vec<ConnectionId>,
    /// Messages that wait for one, in their order; some are gone by now.
    pub(super) waiting: VecDeque<Slot>,
    /// It failed the last time.
    is_failing: bool,
}

impl Pool {
    /// Tell of a milter that begins to fail, or does no more.
    pub(super) fn note(&mut self, milter: &str, outcome: &Outcome) {
        let failed = self.is_failing;
        self.is_failing = matches!(outcome, Outcome::Failed(_));
        match outcome {
            Outcome::Failed(why) if !failed => tracing::warn!(milter, why, "a milter fails"),
            Outcome::Failed(_) => {}
            Outcome::Passed
            | Outcome::Changed
            | Outcome::Quarantined(_)
            | Outcome::Refused(_)
            | Outcome::Discarded => {
                if failed {
                    tracing::info!(milter, "a milter works again");
                }
            }
        }
    }

    /// Whether nothing is to be remembered of it.
    pub(super) fn is_forgotten(&self) -> bool {
        self.lines.is_empty() && self.waiting.is_empty() && !self.is_failing
    }
}
