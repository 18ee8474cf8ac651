//! Say when a deferred recipient is tried next.
//!
//! In: how many attempts were made. Out: the next due time, rounded up to a whole second.
//! `due = min(initial × factor^(attempts - 1), max)`, spread by ± `jitter` of itself, so that what
//! failed together does not come back together.

use std::time::Duration;

use crate::base::prng::Prng;
use crate::base::time::WallTime;

/// The retry schedule of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// Between the first attempt and the second.
    pub initial: Duration,
    /// By how much each interval is longer than the one before; at least 1.
    pub factor: f64,
    /// No interval is longer, but for jitter.
    pub max: Duration,
    /// The share of the interval by which it is moved at random either way: 0 to 1.
    pub jitter: f64,
    /// From acceptance until what is not delivered bounces (RFC 5321 §4.5.4.1: 4 to 5 days).
    pub lifetime: Duration,
    /// From acceptance until the reverse-path is told that it takes longer.
    pub delay_report_after: Duration,
}

impl Default for Schedule {
    fn default() -> Self {
        let hours = |hours: u64| Duration::from_secs(hours * 3_600);
        Self {
            initial: Duration::from_secs(300),
            factor: 2.0,
            max: hours(2),
            jitter: 0.1,
            lifetime: hours(5 * 24),
            delay_report_after: hours(4),
        }
    }
}

impl Schedule {
    /// When a recipient is due again that failed for the `attempts`-th time at `now`.
    ///
    /// Recipients of one message that failed together should be given one due time together: they
    /// then leave together again.
    pub fn due(&self, attempts: u16, now: WallTime, prng: &mut Prng) -> WallTime {
        let interval = self.interval(attempts).as_secs_f64();
        let moved = interval * (1.0 + self.jitter.clamp(0.0, 1.0) * (2.0 * prng.unit() - 1.0));
        let at = now + Duration::from_secs_f64(moved);
        WallTime(at.0.div_euclid(1_000).saturating_add(1).saturating_mul(1_000))
    }

    /// When a recipient is due of which an earlier run said `due`: by a clock that may have been
    /// set since, so no later than any attempt can be that is put off now.
    pub fn due_again(&self, due: WallTime, now: WallTime) -> WallTime {
        let longest = self.max.as_secs_f64() * (1.0 + self.jitter.clamp(0.0, 1.0));
        let longest = Duration::try_from_secs_f64(longest).unwrap_or(self.max);
        due.min(now + longest + Duration::from_secs(1))
    }

    /// The interval after `attempts` failures, before jitter.
    pub fn interval(&self, attempts: u16) -> Duration {
        let exponent = i32::from(attempts.saturating_sub(1));
        let seconds = self.initial.as_secs_f64() * self.factor.max(1.0).powi(exponent);
        // Infinity, where the power left the range, is not less than anything.
        self.max.min(Duration::try_from_secs_f64(seconds).unwrap_or(self.max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Schedule = Schedule {
        initial: Duration::from_secs(60),
        factor: 2.0,
        max: Duration::from_secs(1_000),
        jitter: 0.0,
        lifetime: Duration::from_secs(432_000),
        delay_report_after: Duration::from_secs(14_400),
    };

    #[test]
    fn intervals_grow_by_the_factor_up_to_the_longest() {
        let seconds: Vec<u64> = (1..8).map(|n| PLAIN.interval(n).as_secs()).collect();
        assert_eq!(seconds, [60, 120, 240, 480, 960, 1_000, 1_000]);
        assert_eq!(PLAIN.interval(0), PLAIN.initial, "no attempt counts as the first");
        assert_eq!(PLAIN.interval(u16::MAX), PLAIN.max);
    }

    #[test]
    fn due_times_are_whole_seconds_and_never_early() {
        let mut prng = Prng::from_number(1);
        for ms in [0, 1, 999, 1_000, 1_795_491_661_007] {
            let due = PLAIN.due(1, WallTime(ms), &mut prng);
            assert_eq!(due.0 % 1_000, 0);
            assert!((60_000..=61_000).contains(&(due.0 - ms)), "{due:?}");
        }
    }

    #[test]
    fn no_run_waits_longer_for_what_another_put_off_than_it_would_itself() {
        let mut prng = Prng::from_number(3);
        let now = WallTime(1_795_491_661_007);
        for jitter in [0.0, 0.3, 1.0] {
            let schedule = Schedule { jitter, ..PLAIN };
            for attempts in 1..200 {
                let due = schedule.due(attempts, now, &mut prng);
                assert_eq!(schedule.due_again(due, now), due);
            }
            let latest = schedule.due_again(WallTime(i64::MAX), now).since(now);
            assert_eq!(latest.as_secs_f64().round(), 1_000.0 * (1.0 + jitter) + 1.0);
        }
        assert_eq!(PLAIN.due_again(WallTime(0), now), WallTime(0), "at once stays at once");
    }

    #[test]
    fn jitter_spreads_over_its_whole_range_and_no_further() {
        let schedule = Schedule { jitter: 0.25, ..PLAIN };
        let mut prng = Prng::from_number(2);
        let dues: Vec<i64> =
            (0..10_000).map(|_| schedule.due(1, WallTime(0), &mut prng).0 / 1_000).collect();
        let (least, most) = (dues.iter().min(), dues.iter().max());
        assert_eq!((least, most), (Some(&46), Some(&75)));
        let mean = dues.iter().sum::<i64>() as f64 / 10_000.0;
        assert!((59.5..61.5).contains(&mean), "{mean}");
    }

    //= RFC 5321 §4.5.4.1, type=test
    //# the give-up time generally needs to be at least 4-5 days
    //# [...] the retry interval SHOULD be at least 30 minutes; however, more sophisticated and
    //# variable strategies will be beneficial
    #[test]
    fn the_default_gives_up_after_days_and_settles_at_more_than_half_an_hour() {
        let schedule = Schedule::default();
        assert!(schedule.lifetime >= Duration::from_secs(4 * 86_400));
        assert!(schedule.interval(20) >= Duration::from_secs(1_800));
    }
}
