//! Keep messages that were answered from memory and that the disk did not take, until it does.
//!
//! In: what a commit refused though its client has the 250. Out: the same, appended again to a
//! later segment, first come first served. Invariant: a message leaves only to be appended.
//! What is kept counts against `limits.memory`, and while the disk takes nothing no client may
//! begin a message: so it is at most what was admitted while the disk still worked.
//! Lives on: the home shard.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::spool::log::Log;
use crate::spool::stored::Stored;

/// What a shard owes its disk.
#[derive(Debug, Default)]
pub(crate) struct Owed {
    messages: VecDeque<Arc<Stored>>,
    /// Of their prefixes and contents.
    bytes: usize,
}

impl Owed {
    /// A message that was refused.
    pub(crate) fn push(&mut self, stored: Arc<Stored>) {
        self.bytes += bytes(&stored);
        self.messages.push_back(stored);
    }

    /// Append the first to `log`, if it takes it now.
    pub(crate) fn append_one(&mut self, log: &mut Log) -> Option<Arc<Stored>> {
        log.append_again(self.messages.front()?).ok()?;
        let stored = self.messages.pop_front()?;
        self.bytes -= bytes(&stored);
        Some(stored)
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Octets of them.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn bytes(stored: &Stored) -> usize {
    usize::try_from(stored.bytes()).unwrap_or(usize::MAX)
}
