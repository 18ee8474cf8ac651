//! Leave alone what does not work, for longer each time, and try it again with one probe.
//!
//! `first × 2^(failures - 1)`, at most `max`, spread by a tenth either way, so that shards do not
//! probe at the same moment.

use std::time::Duration;

use crate::base::prng::Prng;
use crate::base::time::Monotonic;

/// The state of something that fails as a whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Suspension {
    first: Duration,
    max: Duration,
    /// Failures in a row.
    failures: u32,
    /// Left alone until then.
    until: Option<Monotonic>,
    /// Something worked since the last failure.
    proven: bool,
}

impl Suspension {
    pub(super) fn new(first: Duration, max: Duration) -> Self {
        Self { first, max, failures: 0, until: None, proven: false }
    }

    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    pub(super) fn is_proven(&self) -> bool {
        self.proven
    }

    pub(super) fn until(&self) -> Option<Monotonic> {
        self.until
    }

    /// It works.
    pub(super) fn prove(&mut self) {
        (self.failures, self.until, self.proven) = (0, None, true);
    }

    /// It failed as a whole; until when it is left alone.
    pub(super) fn suspend(&mut self, now: Monotonic, prng: &mut Prng) -> Monotonic {
        self.failures = self.failures.saturating_add(1);
        self.proven = false;
        let doubled = self.first * (1 << (self.failures - 1).min(16));
        let spread = 0.9 + 0.2 * prng.unit();
        let until = now + self.max.min(doubled).mul_f64(spread);
        self.until = Some(until);
        until
    }

    /// Let it be tried, if its time has come or `at_once`; whether this ended a suspension.
    pub(super) fn lift(&mut self, now: Monotonic, at_once: bool) -> bool {
        self.until.take_if(|until| at_once || *until <= now).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_left_alone_for_longer_each_time_until_it_works() {
        let seconds = Duration::from_secs;
        let mut suspension = Suspension::new(seconds(1), seconds(10));
        let (mut now, mut prng) = (Monotonic(0), Prng::from_number(1));
        for expected in [1.0, 2.0, 4.0, 8.0, 10.0, 10.0] {
            let until = suspension.suspend(now, &mut prng);
            let share = until.since(now).as_secs_f64() / expected;
            assert!((0.9..1.1).contains(&share), "{share} of {expected} s");
            assert!(!suspension.lift(now, false));
            now = until;
            assert!(suspension.lift(now, false) && !suspension.lift(now, false));
        }
        suspension.prove();
        assert!(suspension.is_proven());
        let until = suspension.suspend(now, &mut prng);
        assert!(until.since(now) < seconds(2));
        assert!(suspension.lift(now, true), "a probe need not wait");
    }
}
