//! Say what follows from a failure: the only place of failure policy.
//!
//! In: the stage and what went wrong there. Out: defer or bounce, for whom, and under which
//! enhanced status.

use crate::mail::outcome::{Failure, Stage};
use crate::mail::status::EnhancedStatus;

/// What becomes of a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// Tried again later.
    Defer,
    /// Given up; the reverse-path is told.
    Bounce,
}

/// Whom a failure concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// This recipient only.
    Recipient,
    /// Every recipient of this message that went the same way.
    Message,
    /// The connection: it is of no more use. Its recipients may be tried on another at once; the
    /// verdict holds when that fails too.
    Connection,
    /// The host: it takes nothing from us now. Other hosts of the site are tried first; the verdict
    /// holds when none is left.
    Site,
}

/// What follows from a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Judgement {
    /// Defer or bounce.
    pub verdict: Verdict,
    /// Whom it concerns.
    pub scope: Scope,
    /// The peer's enhanced status where it gave one, else ours; its class fits the verdict.
    pub status: EnhancedStatus,
}

/// What follows from `failure` at `stage`.
pub fn judge(_stage: Stage, _failure: &Failure) -> Judgement {
    Judgement {
        verdict: Verdict::Defer,
        scope: Scope::Recipient,
        status: EnhancedStatus::new(4, 0, 0),
    }
}
