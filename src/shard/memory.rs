//! Bound the content that a shard holds on its way to the disk.
//!
//! Two things hold it: sessions, in which it gathers until it fills a chunk, and the log, in which
//! chunks wait for their commit. Under pressure it first leaves RAM earlier, in smaller chunks;
//! then clients in the middle of content are read no further until the disk has caught up; and no
//! new message is begun. So what is held stays near the limit: above it come, for each session,
//! less than `CONTENT_EARLY`, and what one turn receives.
//! Unit: octets.

use crate::base::limits::{COMMIT_PENDING_MAX, CONTENT_BURST, CONTENT_EARLY};

/// How much is held, and how much may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    limit: usize,
    gathering: usize,
}

impl Memory {
    /// Nothing held yet.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, gathering: 0 }
    }

    /// Another limit from now on.
    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// A session that held `before` holds `now`.
    pub(crate) fn gathered(&mut self, before: usize, now: usize) {
        self.gathering = self.gathering + now - before;
    }

    /// Whether a session that gathered so much should hand it to the log, without waiting for more.
    pub(crate) fn wants(&self, gathered: usize) -> bool {
        gathered >= CONTENT_EARLY && self.gathering > self.limit / 2
    }

    /// Whether no message may be begun, while `pending` waits in the log.
    pub(crate) fn is_full(&self, pending: usize) -> bool {
        self.gathering + pending >= self.limit
    }

    /// Whether clients are to be read no further, while `pending` waits in the log. It leaves the
    /// log whatever clients do, so that they are not kept waiting for each other.
    pub(crate) fn is_pressed(&self, pending: usize) -> bool {
        pending > self.pending_max()
    }

    /// How many of them may go on.
    pub(crate) fn relieved(&self, pending: usize) -> usize {
        let room = self.pending_max().saturating_sub(pending);
        // One at least once all has left: the limit may be less than a burst.
        (room / CONTENT_BURST).max(usize::from(pending == 0))
    }

    /// Well below what the log refuses: who can wait need not be refused.
    fn pending_max(&self) -> usize {
        self.limit.min(COMMIT_PENDING_MAX) / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_goes_early_then_clients_wait_then_none_begins() {
        let mut memory = Memory::new(16 * CONTENT_EARLY);
        memory.gathered(0, 8 * CONTENT_EARLY);
        assert!(!memory.wants(2 * CONTENT_EARLY), "half is no pressure");
        memory.gathered(CONTENT_EARLY, 3 * CONTENT_EARLY);
        assert!(memory.wants(CONTENT_EARLY) && !memory.wants(CONTENT_EARLY - 1));
        assert!(!memory.is_full(CONTENT_EARLY) && memory.is_full(6 * CONTENT_EARLY));
        assert!(!memory.is_pressed(8 * CONTENT_EARLY));
        assert!(memory.is_pressed(8 * CONTENT_EARLY + 1));
        memory.gathered(10 * CONTENT_EARLY, 0);
        assert!(!memory.is_full(0) && !memory.wants(CONTENT_EARLY));
        memory.set_limit(0);
        assert!(memory.is_full(0));
        assert_eq!((memory.relieved(0), memory.relieved(1)), (1, 0), "nobody waits for ever");
        memory.set_limit(usize::MAX);
        assert!(memory.is_pressed(COMMIT_PENDING_MAX / 2 + 1), "before the log refuses it");
        memory.set_limit(8 * CONTENT_BURST);
        assert_eq!((memory.relieved(0), memory.relieved(CONTENT_BURST + 1)), (4, 2));
    }
}
