//! Find the rate that a site takes: halve it when the site says that it is too much, and let it
//! climb back in even steps (additive increase, multiplicative decrease).
//!
//! In: that a site was too much, `now`. Out: the rate in force. Invariant: between the floor and
//! the ceiling whatever happens, and at the ceiling again after `recovery` at most if nothing does.
//! The climb is a function of time: nobody has to come by for it.

use std::time::Duration;

use crate::base::limits::{PACE_SPAN, SLOW_DOWN_PAUSE};
use crate::base::time::Monotonic;
use crate::egress::throttle::Rate;

/// Between what, and how fast back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// What is to be reached again; `None`: what it went at when it was slowed down first.
    pub ceiling: Option<Rate>,
    /// Not slower.
    pub floor: Rate,
    /// From nothing to the ceiling.
    pub recovery: Duration,
}

/// A rate that is below what it may be; compact, to be read without a lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slowed {
    /// Messages in `PACE_SPAN`; 0: it is not slowed.
    units: u32,
    /// When it begins to climb, in seconds of the process's clock.
    since: u32,
}

impl Slowed {
    /// As a number.
    pub fn to_bits(self) -> u64 {
        u64::from(self.units) << 32 | u64::from(self.since)
    }

    /// Back from a number.
    pub fn from_bits(bits: u64) -> Self {
        let (units, since) = (bits >> 32, bits & u64::from(u32::MAX));
        let part = |part| u32::try_from(part).expect("32 bits are left");
        Self { units: part(units), since: part(since) }
    }

    /// So slow, and held for a while.
    pub fn held(rate: Rate, hold: Duration) -> Self {
        Self { units: units(rate), since: seconds(Monotonic(0) + hold) }
    }

    /// The rate after some time.
    pub fn rate_after(self, ceiling: Rate, recovery: Duration, time: Duration) -> Option<Rate> {
        self.rate(ceiling, recovery, Monotonic(0) + time)
    }

    /// The rate now, on its way to `ceiling`; `None`: it is there.
    pub fn rate(self, ceiling: Rate, recovery: Duration, now: Monotonic) -> Option<Rate> {
        if self.units == 0 {
            return None;
        }
        let climbed = u64::from(seconds(now).saturating_sub(self.since));
        let top = units(ceiling);
        let step = u64::from(top) * climbed / recovery.as_secs().max(1);
        let units = u32::try_from(u64::from(self.units) + step).unwrap_or(u32::MAX);
        (units < top).then_some(Rate { messages: units, per: PACE_SPAN })
    }
}

/// The state of one source at one site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    slowed: Slowed,
    /// The last time.
    at: Option<Monotonic>,
    /// What it went at when it was slowed down first.
    from: Option<Rate>,
}

impl Pace {
    /// A pace as it was left by another run: so slow, climbing since now.
    pub fn restored(rate: Rate, from: Option<Rate>, now: Monotonic) -> Self {
        Self { slowed: Slowed { units: units(rate), since: seconds(now) }, at: None, from }
    }

    /// The site was too much for: half the rate, or `to` if that is less. It begins to climb after
    /// `hold`. `measured`: what it went at, where no rate was in force. `false`: it is too soon
    /// after the last time, and nothing changes.
    pub fn slow_down(
        &mut self,
        bounds: &Bounds,
        measured: Rate,
        to: Option<Rate>,
        hold: Duration,
        now: Monotonic,
    ) -> bool {
        if self.at.is_some_and(|at| now.since(at) < SLOW_DOWN_PAUSE) {
            return false;
        }
        let before = self.rate(bounds, now);
        if before.is_none() {
            self.from = Some(measured);
        }
        let top = units(self.ceiling(bounds).unwrap_or(measured));
        let half = before.map_or(top, units) / 2;
        let least = units(bounds.floor).min(top.saturating_sub(1)).max(1);
        let wanted = to.map_or(half, |to| half.min(units(to)));
        let begins = seconds(now + hold);
        // What is held is not let go earlier by a further slowing down.
        let since = if before.is_some() { begins.max(self.slowed.since) } else { begins };
        self.slowed = Slowed { units: wanted.max(least), since };
        self.at = Some(now);
        true
    }

    /// The rate, if it is below what it may be.
    pub fn rate(&self, bounds: &Bounds, now: Monotonic) -> Option<Rate> {
        self.slowed.rate(self.ceiling(bounds)?, bounds.recovery, now)
    }

    /// What it went at when it was slowed down first.
    pub fn from(&self) -> Option<Rate> {
        self.from
    }

    /// How long it does not climb yet.
    pub fn held(&self, now: Monotonic) -> Duration {
        Duration::from_secs(self.slowed.since.saturating_sub(seconds(now)).into())
    }

    /// Where it ends.
    pub fn ceiling(&self, bounds: &Bounds) -> Option<Rate> {
        bounds.ceiling.or(self.from)
    }

    /// To be read without a lock, with what it climbs to where no rate is set.
    pub fn published(&self) -> (u64, u32) {
        (self.slowed.to_bits(), self.from.map_or(0, units))
    }
}

/// Messages in `PACE_SPAN`; one at least.
pub fn units(rate: Rate) -> u32 {
    let per = rate.per.as_secs_f64().max(0.001);
    let units = f64::from(rate.messages) * PACE_SPAN.as_secs_f64() / per;
    // A cast saturates, and there is no figure here that is none.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
    let units = units.round() as u32;
    units.max(1)
}

/// Of so many messages in `PACE_SPAN`.
pub fn rate_of(units: u32) -> Rate {
    Rate { messages: units.max(1), per: PACE_SPAN }
}

fn seconds(now: Monotonic) -> u32 {
    u32::try_from(now.0 / 1_000_000_000).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn per_second(messages: u32) -> Rate {
        Rate { messages, per: Duration::from_secs(1) }
    }

    const BOUNDS: Bounds = Bounds {
        ceiling: Some(per_second(100)),
        floor: Rate { messages: 1, per: Duration::from_secs(60) },
        recovery: Duration::from_secs(1_000),
    };

    fn at(seconds: u64) -> Monotonic {
        Monotonic(seconds * 1_000_000_000)
    }

    fn a_second(rate: Option<Rate>) -> Option<f64> {
        rate.map(|rate| f64::from(rate.messages) / rate.per.as_secs_f64())
    }

    fn slow(pace: &mut Pace, now: u64) -> bool {
        pace.slow_down(&BOUNDS, per_second(7), None, Duration::ZERO, at(now))
    }

    #[test]
    fn it_halves_at_once_and_climbs_back_evenly() {
        let mut pace = Pace::default();
        assert_eq!(pace.rate(&BOUNDS, at(0)), None);
        assert!(slow(&mut pace, 100));
        for (now, expected) in [(100, 50.0), (200, 60.0), (350, 75.0), (599, 99.9)] {
            assert_eq!(a_second(pace.rate(&BOUNDS, at(now))), Some(expected), "{now}");
        }
        assert_eq!(pace.rate(&BOUNDS, at(600)), None, "back");
        assert!(slow(&mut pace, 200));
        assert_eq!(a_second(pace.rate(&BOUNDS, at(200))), Some(30.0), "half of what it was then");
    }

    #[test]
    fn what_was_sent_at_the_former_rate_says_nothing_of_the_new_one() {
        let mut pace = Pace::default();
        assert!(slow(&mut pace, 100) && !slow(&mut pace, 129) && slow(&mut pace, 130));
    }

    #[test]
    fn without_a_ceiling_it_climbs_to_what_it_went_at() {
        let bounds = Bounds { ceiling: None, ..BOUNDS };
        let mut pace = Pace::default();
        assert!(pace.slow_down(&bounds, per_second(40), None, Duration::ZERO, at(0)));
        assert_eq!(a_second(pace.rate(&bounds, at(0))), Some(20.0));
        assert!(pace.slow_down(&bounds, per_second(3), None, Duration::ZERO, at(100)));
        assert_eq!(a_second(pace.rate(&bounds, at(100))), Some(12.0), "24 in force, not 3");
        assert_eq!(pace.rate(&bounds, at(100 + 700)), None);
    }

    #[test]
    fn it_is_held_for_a_time_at_a_rate_of_ones_own() {
        let mut pace = Pace::default();
        let hold = Duration::from_secs(500);
        assert!(pace.slow_down(&BOUNDS, per_second(7), Some(per_second(2)), hold, at(0)));
        assert_eq!(a_second(pace.rate(&BOUNDS, at(500))), Some(2.0));
        assert_eq!(a_second(pace.rate(&BOUNDS, at(600))), Some(12.0));
        assert!(slow(&mut pace, 100), "half of what is held");
        assert_eq!(a_second(pace.rate(&BOUNDS, at(500))), Some(1.0), "and still held");
    }

    #[test]
    fn what_was_left_by_another_run_goes_on_from_there() {
        let pace = Pace::restored(per_second(10), None, at(50));
        assert_eq!(a_second(pace.rate(&BOUNDS, at(150))), Some(20.0));
        let bits = Slowed { units: 7, since: u32::MAX };
        assert_eq!(Slowed::from_bits(bits.to_bits()), bits);
    }

    proptest! {
        // Whatever happens, it is between the bounds, never nothing, and at the ceiling again
        // `recovery` after the last time.
        #[test]
        fn it_stays_between_its_bounds_and_always_comes_back(
            ceiling in 1_u32..100_000,
            floor in 1_u32..100_000,
            per in prop_oneof![Just(1_u64), Just(60), Just(3_600), Just(86_400)],
            recovery in 1_u64..100_000,
            gaps in prop::collection::vec((0_u64..10_000, 0_u64..100), 1..50),
        ) {
            let rate = |messages| Rate { messages, per: Duration::from_secs(per) };
            let bounds = Bounds {
                ceiling: Some(rate(ceiling)),
                floor: rate(floor),
                recovery: Duration::from_secs(recovery),
            };
            let (mut pace, mut now, mut free) = (Pace::default(), 0, 0);
            for (gap, hold) in gaps {
                now += gap;
                let hold = Duration::from_secs(hold);
                let before = pace.rate(&bounds, at(now));
                if pace.slow_down(&bounds, rate(1), None, hold, at(now)) {
                    free = free.max(now + hold.as_secs());
                    let after = pace.rate(&bounds, at(now)).map_or(units(rate(ceiling)), units);
                    let before = before.map_or(units(rate(ceiling)), units);
                    prop_assert!(after >= 1 && after <= before.max(units(rate(floor))));
                    prop_assert!(after >= units(rate(floor)).min(units(rate(ceiling)) - 1).max(1));
                }
            }
            prop_assert_eq!(pace.rate(&bounds, at(free + recovery)), None);
        }
    }
}
