//! Let what waits wait by time that passes, whatever is done to the wall clock meanwhile.
//!
//! The queue's own clock goes as the monotonic one does. Times go in and come out as the wall clock
//! has them: when that is set, what waits moves with it. So nothing is tried late, or expires
//! early, because somebody set the clock.
//!
//! Unit: milliseconds. Invariant: `ahead` is whole seconds, so that a whole second is one on both.

use std::time::Duration;

use crate::base::limits::CLOCK_STEP_MIN;
use crate::base::time::{Monotonic, Now, WallTime};

/// What the own clock shows when it is first told the time: the middle of 32 bits of seconds, so
/// that no wall clock, however wrong, leaves them.
const BEGINNING: i64 = (1 << 31) * 1_000;

/// The queue's own clock, by what the wall clock is ahead of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    ahead: i64,
    /// By what the wall clock was ahead of the monotonic one; none before the first time.
    mono_ahead: Option<i64>,
    /// When it was told last.
    now: (Monotonic, WallTime),
}

impl Clock {
    /// The time is `now`. By what the wall clock was set since, if it was: ahead, or back if
    /// negative.
    pub(super) fn follow(&mut self, now: Now) -> Option<i64> {
        self.now = (now.mono, now.wall);
        let mono_ahead = now.wall.0.saturating_sub(millis(now.mono));
        let Some(before) = self.mono_ahead else {
            self.mono_ahead = Some(mono_ahead);
            self.ahead = whole(now.wall.0.saturating_sub(BEGINNING));
            return None;
        };
        let step = mono_ahead.saturating_sub(before);
        if u128::from(step.unsigned_abs()) < CLOCK_STEP_MIN.as_millis() {
            return None;
        }
        let step = whole(step);
        self.mono_ahead = Some(before.saturating_add(step));
        self.ahead = self.ahead.saturating_add(step);
        Some(step)
    }

    /// The time that was told last, by the monotonic clock and by the own one.
    pub(super) fn now(&self) -> (Monotonic, i64) {
        (self.now.0, self.own(self.now.1).0)
    }

    /// The same, by the wall clock.
    pub(super) fn wall_now(&self) -> WallTime {
        self.now.1
    }

    /// What the own clock shows when the wall clock shows `wall`.
    pub(super) fn own(&self, wall: WallTime) -> WallTime {
        WallTime(wall.0.saturating_sub(self.ahead))
    }

    /// What the wall clock shows when the own clock shows `own`.
    pub(super) fn wall(&self, own: WallTime) -> WallTime {
        WallTime(own.0.saturating_add(self.ahead))
    }
}

fn millis(mono: Monotonic) -> i64 {
    let millis = Duration::from_nanos(mono.0).as_millis();
    i64::try_from(millis).expect("2^64 ns are fewer ms")
}

/// To the nearest second.
fn whole(millis: i64) -> i64 {
    millis.saturating_add(500).div_euclid(1_000).saturating_mul(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(mono_ms: u64, wall: i64) -> Now {
        Now { mono: Monotonic(mono_ms * 1_000_000), wall: WallTime(wall) }
    }

    #[test]
    fn a_step_moves_the_wall_clock_and_not_the_own_one() {
        let mut clock = Clock::default();
        assert_eq!(clock.follow(now(5_000, 1_795_000_000_123)), None);
        let due = clock.own(WallTime(1_795_000_300_000));
        assert_eq!(clock.follow(now(6_000, 1_795_000_001_123)), None);
        assert_eq!(clock.follow(now(7_000, 1_795_000_002_123 - 3_600_000)), Some(-3_600_000));
        assert_eq!(clock.wall(due), WallTime(1_795_000_300_000 - 3_600_000));
        assert_eq!(clock.own(clock.wall(due)), due);
        assert_eq!(clock.follow(now(8_000, 1_795_000_003_123)), Some(3_600_000));
        assert_eq!(clock.wall(due), WallTime(1_795_000_300_000));
    }

    #[test]
    fn small_steps_are_none_until_they_add_up() {
        let mut clock = Clock::default();
        clock.follow(now(0, 1_000_000));
        assert_eq!(clock.follow(now(10, 1_000_910)), None);
        assert_eq!(clock.follow(now(20, 1_001_020)), Some(1_000));
        assert_eq!(clock.follow(now(30, 1_001_030)), None);
    }

    #[test]
    fn no_wall_clock_is_too_wrong() {
        for wall in [0, i64::MAX, 1_795_000_000_000] {
            let mut clock = Clock::default();
            clock.follow(now(0, wall));
            let own = clock.own(WallTime(wall));
            assert!((BEGINNING - 1_000..=BEGINNING + 1_000).contains(&own.0), "{own:?}");
            for wall in [i64::MAX, 0, i64::MIN] {
                clock.follow(now(u64::MAX / 1_000_000, wall));
                clock.wall(own);
            }
        }
    }
}
