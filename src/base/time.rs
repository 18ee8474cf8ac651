//! Time as values: machines are told what time it is, they never ask.
//!
//! [`Monotonic`] orders events inside one run (deadlines, throttles) and never steps back.
//! [`WallTime`] is for what people and other runs read (retry due times on disk, Date: fields).
//! Only `platform/clock.rs` makes either from a clock.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use jiff::fmt::rfc2822::DateTimePrinter;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// It is some times faster than `strftime`.
const PRINTER: DateTimePrinter = DateTimePrinter::new();

/// Nanoseconds since an arbitrary start of this run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Monotonic(pub u64);

impl Monotonic {
    /// How long ago `earlier` was; zero if it is still to come.
    pub fn since(self, earlier: Monotonic) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Monotonic {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct WallTime(pub i64);

impl WallTime {
    /// How long ago `earlier` was; zero if it is still to come, as after a clock step.
    pub fn since(self, earlier: WallTime) -> Duration {
        let ms = self.0.saturating_sub(earlier.0);
        Duration::from_millis(u64::try_from(ms).unwrap_or(0))
    }

    /// RFC 5322 §3.3 date-time in UTC, as `Tue, 24 Nov 2026 03:41:01 +0000`.
    pub fn to_rfc5322(self) -> String {
        let mut text = String::new();
        self.write_rfc5322(&mut text).expect("memory takes every write");
        text
    }

    /// The same, behind what is in `into`.
    pub fn write_rfc5322(self, into: &mut String) -> fmt::Result {
        let time = self.timestamp().to_zoned_datetime(TimeZone::UTC);
        PRINTER.print_zoned_datetime(&time, into).map_err(|_| fmt::Error)
    }

    /// RFC 3339 date-time in UTC with milliseconds, as `2026-11-24T03:41:01.000Z`.
    pub fn to_rfc3339(self) -> String {
        self.timestamp().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
    }

    /// Read an RFC 3339 date-time of 1970 or later; any offset, any fraction of a second.
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        // Nothing else that ISO 8601 or RFC 9557 have: weeks, a space for the T, names of zones.
        let is_plain =
            text.bytes().all(|octet| octet.is_ascii_digit() || b"-:.+TtZz".contains(&octet));
        let time = text.parse::<jiff::Timestamp>().ok().filter(|_| is_plain && text.len() >= 20)?;
        Some(Self(time.as_millisecond())).filter(|time| time.0 >= 0)
    }

    fn timestamp(self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.0).unwrap_or(jiff::Timestamp::MAX)
    }
}

impl Add<Duration> for WallTime {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let ms = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(ms))
    }
}

impl Sub<Duration> for WallTime {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        let ms = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(ms))
    }
}

/// Both clocks, read together once a turn of the shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For deadlines and throttles.
    pub mono: Monotonic,
    /// For disk, mail and people.
    pub wall: WallTime,
}

impl Now {
    /// When, on this run's clock, the wall clock will show `due`; at once if it is past.
    pub fn mono_at(self, due: WallTime) -> Monotonic {
        self.mono + due.since(self.wall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_mail_and_people_read_them() {
        let time = WallTime(1_795_491_661_007);
        assert_eq!(time.to_rfc5322(), "Tue, 24 Nov 2026 03:41:01 +0000");
        assert_eq!(time.to_rfc3339(), "2026-11-24T03:41:01.007Z");
    }

    #[test]
    fn rfc_3339_is_read_and_nothing_else() {
        for right in [
            "2026-11-24T03:41:01.007Z",
            "2026-11-24t03:41:01.007z",
            "2026-11-24T05:11:01.007+01:30",
            "2026-11-23T19:41:01.007999-08:00",
        ] {
            let time = WallTime::from_rfc3339(right);
            assert_eq!(time, Some(WallTime(1_795_491_661_007)), "{right}");
        }
        for wrong in [
            "",
            "2026-11-24",
            "2026-11-24T03:41:01",
            "2026-11-24 03:41:01Z",
            "2026-13-24T03:41:01Z",
            "2026-11-24T25:41:01Z",
            "20261124T034101Z",
            "2026-11-24T03:41:01Z[UTC]",
            "2026-11-24T03:41:01Z ",
            "1969-12-31T23:59:59Z",
            "-00001-12-31T23:59:59Z",
        ] {
            assert_eq!(WallTime::from_rfc3339(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_clock_that_steps_back_gives_no_negative_age() {
        assert_eq!(WallTime(5).since(WallTime(9)), Duration::ZERO);
        assert_eq!(Monotonic(5).since(Monotonic(9)), Duration::ZERO);
    }

    #[test]
    fn a_wall_time_due_is_placed_on_the_runs_own_clock() {
        let now = Now { mono: Monotonic(1_000_000), wall: WallTime(100) };
        assert_eq!(now.mono_at(WallTime(102)), Monotonic(3_000_000));
        assert_eq!(now.mono_at(WallTime(50)), now.mono);
    }
}
