//! Remember which homes were refused, and call them when there is room.
//!
//! Each is called once, for a share of the room; how many are called for and have not come is kept,
//! so that not all come at once. A home that is not remembered comes back by its own timer.

use std::collections::VecDeque;

use hashbrown::HashSet;

use crate::base::limits::CALLBACK_PATIENCE;
use crate::base::limits::CALLBACK_ROOM_MAX;
use crate::base::limits::{SITE_CALLBACKS_MAX, SITE_READY_MAX};
use crate::base::time::Monotonic;
use crate::egress::site::Origin;

/// Room is shared out once the line is no longer than this.
const REFILL: usize = SITE_READY_MAX / 2;

/// Homes and their domains that wait to be called.
#[derive(Debug, Default)]
pub(super) struct Callbacks {
    waiting: VecDeque<Origin>,
    known: HashSet<Origin>,
    called: usize,
    called_until: Monotonic,
}

impl Callbacks {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// `origin` was refused.
    pub(super) fn add(&mut self, origin: Origin) {
        if self.waiting.len() < SITE_CALLBACKS_MAX && self.known.insert(origin) {
            self.waiting.push_back(origin);
        }
    }

    /// A job came.
    pub(super) fn came(&mut self) {
        self.called = self.called.saturating_sub(1);
    }

    /// Whom to call, and for how many jobs, where `len` jobs wait.
    pub(super) fn next(&mut self, len: usize, now: Monotonic) -> Option<(Origin, u32)> {
        if self.called_until <= now {
            self.called = 0;
        }
        if len + self.called > REFILL {
            return None;
        }
        let origin = self.waiting.pop_front()?;
        self.known.remove(&origin);
        let room = (REFILL / (self.waiting.len() + 1)).clamp(1, CALLBACK_ROOM_MAX);
        self.called += room;
        self.called_until = now + CALLBACK_PATIENCE;
        Some((origin, u32::try_from(room).expect("at most CALLBACK_ROOM_MAX")))
    }

    /// When to look again though no job came.
    pub(super) fn next_due(&self) -> Option<Monotonic> {
        let expected = self.called > 0 && !self.waiting.is_empty();
        expected.then_some(self.called_until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::ShardId;

    fn origin(domain: u64) -> Origin {
        Origin { home: ShardId(0), domain }
    }

    #[test]
    fn room_is_shared_out_once_and_again_when_nobody_comes() {
        let mut callbacks = Callbacks::default();
        (0..1_000).for_each(|domain| callbacks.add(origin(domain)));
        (0..1_000).for_each(|domain| callbacks.add(origin(domain)));
        assert_eq!(callbacks.next(REFILL + 1, Monotonic(0)), None);
        let mut called = 0;
        while callbacks.next(0, Monotonic(0)).is_some() {
            called += 1;
        }
        assert_eq!(called, REFILL + 1);
        let due = callbacks.next_due().expect("some wait");
        assert!(callbacks.next(0, due).is_some());
        (0..1_000).for_each(|_| callbacks.came());
        assert_eq!(callbacks.next_due(), None, "all came");
        let rest = std::iter::from_fn(|| {
            (0..CALLBACK_ROOM_MAX).for_each(|_| callbacks.came());
            callbacks.next(0, due)
        });
        assert_eq!(called + 1 + rest.count(), 1_000, "each is called once");
    }
}
