//! Break the promise on purpose, so that the power-cut audit can show that it would notice.
//!
//! The feature `ack-before-sync` makes a relay that answers 250 once a commit is on its way to the
//! disk, and the one before it is there: what a careless change could make of this one. Nobody
//! wants such a relay but `tests/powercut.rs`. So a release build of it needs [`PERMIT`] in the
//! environment, each start of any build of it needs the same, and it says loudly what it is.
//!
//! A kill leaves nearly all that is on its way. For the audit of kills (`loadtest crash`) the same
//! build does worse where [`PERMIT`] is `before-write`: it keeps some commits to itself.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use crate::spool::segment::SegmentName;

/// Whether commits are reported before they are synced.
pub(super) const ACKNOWLEDGES_BEFORE_SYNC: bool = cfg!(feature = "ack-before-sync");

/// The environment variable that the audit sets.
const PERMIT: &str = "RELAY_FAST_POWERCUT_AUDIT";

const _: () = assert!(
    !ACKNOWLEDGES_BEFORE_SYNC
        || cfg!(debug_assertions)
        || option_env!("RELAY_FAST_POWERCUT_AUDIT").is_some(),
    "the feature ack-before-sync loses mail: it is for the power-cut audit alone"
);

/// This build loses mail, and nobody asked for that.
#[derive(Debug, thiserror::Error)]
#[error(
    "this relay was built with the feature ack-before-sync: a power cut loses mail that it \
    acknowledged; build it without, or set {PERMIT} if this is the power-cut audit"
)]
pub struct Sabotaged;

/// Commits that are reported and not written yet, of each shard: none, or some in the worse mode.
fn held_back() -> usize {
    static COUNT: OnceLock<usize> = OnceLock::new();
    let is_worse = || std::env::var_os(PERMIT).is_some_and(|mode| mode == "before-write");
    *COUNT.get_or_init(|| if is_worse() { 32 } else { 0 })
}

/// A commit that is said to be done.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) segment: SegmentName,
    pub(super) offset: u64,
    pub(super) buffers: Vec<Arc<Vec<u8>>>,
}

/// The last commits; empty in any relay that keeps its promise.
#[derive(Debug, Default)]
pub(super) struct HeldBack {
    held: VecDeque<Held>,
    /// One was said to be done, and is being written and synced: others wait for that, one of each
    /// directory.
    is_writing: bool,
    waiting: VecDeque<Held>,
}

impl HeldBack {
    /// Take one; if it may be said to be done, it comes back.
    pub(super) fn offer(&mut self, held: Held) -> Option<Held> {
        if !self.is_writing {
            return Some(held);
        }
        self.waiting.push_back(held);
        None
    }

    /// It was said to be done; the one that is to be written now.
    pub(super) fn exchange(&mut self, held: Held) -> Option<Held> {
        self.held.push_back(held);
        let next = if self.held.len() > held_back() { self.held.pop_front() } else { None };
        self.is_writing = next.is_some() && held_back() == 0;
        next
    }

    /// One is written and synced; the one that waited for that.
    pub(super) fn written(&mut self) -> Option<Held> {
        self.is_writing = false;
        self.waiting.pop_front()
    }
}

/// Say what this build is; refuse to run it outside the audit.
pub(super) fn confess() -> Result<(), Sabotaged> {
    if !ACKNOWLEDGES_BEFORE_SYNC {
        return Ok(());
    }
    if std::env::var_os(PERMIT).is_none() {
        return Err(Sabotaged);
    }
    let before = if held_back() > 0 { "write" } else { "sync" };
    tracing::error!("THIS BUILD LOSES MAIL: it acknowledges before the {before}, for an audit");
    Ok(())
}
