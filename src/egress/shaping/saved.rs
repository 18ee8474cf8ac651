//! What is known of sources at sites, for another run of the process.
//!
//! Out, and in: [`Saved`], as JSON. Invariant: a rate goes on climbing while no process runs, and
//! what is over by then is not there any more. What a run counted towards a trigger is not kept.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::time::{Now, WallTime};
use crate::egress::shaping::outlets::{AllOutlets, Outlet, Override};
use crate::egress::shaping::pace::{Bounds, Slowed, rate_of, units};

/// All that is to be kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    written: WallTime,
    outlets: Vec<SavedOutlet>,
    sites: Vec<SavedSite>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SavedOutlet {
    site: Box<str>,
    source: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pace: Option<SavedPace>,
    /// What an operator set: a rate in `pace`'s units, the highest number for any.
    #[serde(skip_serializing_if = "Option::is_none")]
    set: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    suspended: Option<Suspended>,
}

/// Rates in `pace`'s units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SavedPace {
    rate: u32,
    from: Option<u32>,
    ceiling: Option<u32>,
    floor: u32,
    recovery_s: u64,
    hold_s: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Suspended {
    until: WallTime,
    why: Box<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SavedSite {
    site: Box<str>,
    suspended: Suspended,
}

impl AllOutlets {
    /// What is to be kept, if it is other than when this was last asked.
    pub fn save_changes(&self, now: Now) -> Option<Saved> {
        // All are asked: each forgets that it has changed.
        let changed = self.sites().iter().filter(|site| site.take_changed()).count();
        (changed > 0).then(|| self.save(now))
    }

    /// What is to be kept.
    pub fn save(&self, now: Now) -> Saved {
        let mut saved = Saved { written: now.wall, ..Saved::default() };
        let suspended = |until: crate::base::time::Monotonic, why: Option<Arc<str>>| Suspended {
            until: now.wall + until.since(now.mono),
            why: why.map_or_else(|| "a rule".into(), |why| (*why).into()),
        };
        for site in self.sites() {
            if let Some(until) = site.suspended(now.mono) {
                let suspended = suspended(until, site.why());
                saved.sites.push(SavedSite { site: site.name().into(), suspended });
            }
            for outlet in site.outlets() {
                let (pace, set) = (SavedPace::of(&outlet, now), outlet.fixed().map(set));
                let until = outlet.suspended(now.mono);
                let suspended = until.map(|until| suspended(until, outlet.why()));
                if pace.is_some() || set.is_some() || suspended.is_some() {
                    let (site, source) = (site.name().into(), outlet.source().into());
                    saved.outlets.push(SavedOutlet { site, source, pace, set, suspended });
                }
            }
        }
        saved
    }

    /// Go on where another run ended.
    pub fn restore(&self, saved: &Saved, now: Now) {
        let gone = now.wall.since(saved.written);
        for SavedSite { site, suspended } in &saved.sites {
            let until = now.mono_at(suspended.until);
            self.site(site, now.mono).suspend(until, &(*suspended.why).into());
        }
        for SavedOutlet { site, source, pace, set, suspended } in &saved.outlets {
            let outlet = self.site(site, now.mono).outlet(source);
            if let Some(pace) = pace {
                pace.restore(&outlet, gone, now);
            }
            if let Some(set) = set {
                outlet.set(Some(unset(*set)));
            }
            if let Some(Suspended { until, why }) = suspended {
                outlet.suspend(now.mono_at(*until), &(**why).into());
            }
        }
    }
}

impl SavedPace {
    fn of(outlet: &Outlet, now: Now) -> Option<Self> {
        let (rate, from, hold, bounds) = outlet.slowed(now.mono)?;
        Some(Self {
            rate: units(rate),
            from: from.map(units),
            ceiling: bounds.ceiling.map(units),
            floor: units(bounds.floor),
            recovery_s: bounds.recovery.as_secs(),
            hold_s: hold.as_secs(),
        })
    }

    fn restore(&self, outlet: &Outlet, gone: Duration, now: Now) {
        let bounds = Bounds {
            ceiling: self.ceiling.map(rate_of),
            floor: rate_of(self.floor),
            recovery: Duration::from_secs(self.recovery_s),
        };
        let from = self.from.map(rate_of);
        let hold = Duration::from_secs(self.hold_s);
        let Some(ceiling) = bounds.ceiling.or(from) else { return };
        let slowed = Slowed::held(rate_of(self.rate), hold);
        if let Some(rate) = slowed.rate_after(ceiling, bounds.recovery, gone) {
            outlet.restore((rate, from), hold.saturating_sub(gone), bounds, now.mono);
        }
    }
}

fn set(rate: Override) -> u32 {
    match rate {
        Override::Unlimited => u32::MAX,
        Override::Rate(rate) => units(rate),
    }
}

fn unset(units: u32) -> Override {
    if units == u32::MAX { Override::Unlimited } else { Override::Rate(rate_of(units)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Monotonic;
    use crate::egress::shaping::Shape;
    use crate::egress::throttle::Rate;

    fn now(mono_s: u64, wall_s: i64) -> Now {
        Now { mono: Monotonic(mono_s * 1_000_000_000), wall: WallTime(wall_s * 1_000) }
    }

    fn per_second(messages: u32) -> Rate {
        Rate { messages, per: Duration::from_secs(1) }
    }

    fn again(all: &AllOutlets, then: Now, now: Now) -> AllOutlets {
        let text = serde_json::to_string(&all.save(then)).expect("JSON");
        let next = AllOutlets::default();
        next.restore(&serde_json::from_str(&text).expect("its own text"), now);
        next
    }

    #[test]
    fn another_run_goes_on_where_one_ended() {
        let (all, shape) = (AllOutlets::default(), Shape::new(5, 5, Some(per_second(100))));
        let mx = all.site("mx.example", Monotonic(0));
        assert_eq!(all.save_changes(now(0, 1_000)), None);
        mx.outlet("192.0.2.1").slow_down(&shape, None, Duration::ZERO, now(500, 0).mono);
        mx.outlet("192.0.2.2").set(Some(Override::Rate(per_second(3))));
        mx.outlet("192.0.2.3").suspend(now(900, 0).mono, &"a reply".into());
        mx.outlet("192.0.2.4");
        all.site("b.example", Monotonic(0)).suspend(now(700, 0).mono, &"another".into());
        assert!(all.save_changes(now(500, 1_500)).is_some_and(|saved| saved.outlets.len() == 3));
        assert_eq!(all.save_changes(now(500, 1_500)), None, "as before");
        // Five minutes later, with another clock: an hour is from nothing to the ceiling.
        let next = again(&all, now(500, 1_500), now(7, 1_800));
        let mx = next.site("mx.example", Monotonic(0));
        let rate = |source: &str, at: Now| {
            let rate = mx.outlet(source).rate(&shape, at.mono).0.expect("it has one");
            f64::from(rate.messages) / rate.per.as_secs_f64()
        };
        let climbed = 50.0 + 100.0 * 300.0 / 3_600.0;
        assert!((rate("192.0.2.1", now(7, 0)) - climbed).abs() < 0.01);
        assert!((rate("192.0.2.2", now(7, 0)) - 3.0).abs() < 0.01);
        assert!((rate("192.0.2.4", now(7, 0)) - 100.0).abs() < 0.01);
        let third = mx.outlet("192.0.2.3");
        assert_eq!(third.suspended(now(7, 0).mono), Some(now(107, 0).mono));
        assert_eq!(third.why().as_deref(), Some("a reply"));
        let b = next.site("b.example", Monotonic(0));
        assert_eq!(b.suspended(now(7, 0).mono), None, "that is over");
    }

    #[test]
    fn what_is_over_by_then_is_not_there_and_what_is_held_is_held() {
        let (all, shape) = (AllOutlets::default(), Shape::new(5, 5, None));
        let outlet = all.site("mx.example", Monotonic(0)).outlet("");
        let hold = Duration::from_secs(1_000);
        assert!(outlet.slow_down(&shape, Some(per_second(1)), hold, now(100, 0).mono));
        let outlet_in = |all: &AllOutlets| all.site("mx.example", Monotonic(0)).outlet("");
        let held = again(&all, now(100, 0), now(0, 900));
        let before = outlet.rate(&shape, now(100, 0).mono);
        assert_eq!(outlet_in(&held).rate(&shape, now(99, 0).mono), before);
        assert_ne!(outlet_in(&held).rate(&shape, now(1_000, 0).mono), before);
        let over = again(&all, now(100, 0), now(0, 100_000));
        assert_eq!(outlet_in(&over).rate(&shape, now(0, 0).mono).0, None);
        assert_eq!(over.save(now(0, 0)).outlets, []);
    }
}
