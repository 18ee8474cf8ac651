//! Say until when a client may keep us waiting (RFC 5321 §4.5.3.2).
//!
//! In: what is awaited, and since when. Out: an instant after which the session is cut with 421.
//! Invariant: octets that trickle in buy no time, but for a whole block of content; while the relay
//! itself is the one to act, no deadline runs.

use std::time::Duration;

use crate::base::limits::CONTENT_BLOCK;
use crate::base::time::Monotonic;

/// How long a client may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// From our last reply to the end of the next command line.
    pub command: Duration,
    /// For each `CONTENT_BLOCK` octets of content.
    pub content_block: Duration,
    /// From 354, or the first BDAT, to the end of content.
    pub content: Duration,
    /// For a session. It is cut between transactions, so that no message is lost to it; a
    /// transaction that comes to no content within the time for content is cut too.
    pub session: Duration,
}

impl Deadlines {
    /// What RFC 5321 asks of a server (§4.5.3.2.7), and of a client at content (§4.5.3.2.5).
    pub const STANDARD: Self = Self {
        command: Duration::from_secs(5 * 60),
        content_block: Duration::from_secs(3 * 60),
        content: Duration::from_secs(60 * 60),
        session: Duration::from_secs(24 * 60 * 60),
    };
}

impl Default for Deadlines {
    fn default() -> Self {
        Self::STANDARD
    }
}

/// The deadline of content under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct ContentDeadline {
    block: Monotonic,
    whole: Monotonic,
    /// Octets still to come before the next block's time begins.
    block_left: u64,
}

impl ContentDeadline {
    /// Content is awaited from `now` on.
    pub(super) fn new(deadlines: &Deadlines, now: Monotonic) -> Self {
        let whole = now + deadlines.content;
        Self { block: now + deadlines.content_block, whole, block_left: CONTENT_BLOCK }
    }

    /// `octets` more have come.
    pub(super) fn progress(&mut self, octets: u64, deadlines: &Deadlines, now: Monotonic) {
        self.block_left = self.block_left.saturating_sub(octets);
        if self.block_left == 0 {
            *self = Self { whole: self.whole, ..Self::new(deadlines, now) };
        }
    }

    /// The relay was the one to act until `now`: the block's time begins again.
    pub(super) fn resume(&mut self, deadlines: &Deadlines, now: Monotonic) {
        *self = Self { whole: self.whole, ..Self::new(deadlines, now) };
    }

    /// When the client's time for all of the content is over.
    pub(super) fn whole(self) -> Monotonic {
        self.whole
    }

    /// When the client's time is over.
    pub(super) fn at(self) -> Monotonic {
        self.block.min(self.whole)
    }
}
