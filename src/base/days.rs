//! Count days by the clocks of a time zone.
//!
//! In: an instant. Out: the day that the zone's clocks show then, and when it is over. A day is as
//! long as its zone has it: 23 to 25 hours where clocks are set.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::base::time::WallTime;

/// How far a day is looked for, where a zone leaves some out.
const LOOK_AGAIN_MS: i64 = 86_400_000;

/// A day of the calendar, counted from 1970-01-01, which is 0.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Day(pub i32);

impl Day {
    /// So many days later, or earlier.
    #[must_use]
    pub fn plus(self, days: i32) -> Self {
        Self(self.0.saturating_add(days))
    }

    /// How many days `earlier` was before.
    pub fn since(self, earlier: Self) -> i64 {
        i64::from(self.0) - i64::from(earlier.0)
    }

    fn of(date: Date) -> Self {
        let epoch = jiff::civil::date(1970, 1, 1);
        Self(date.since(epoch).map_or(0, |span| span.get_days()))
    }
}

impl FromStr for Day {
    type Err = ();

    /// `2026-11-01`, of 1970 or later.
    fn from_str(text: &str) -> Result<Self, ()> {
        let is_plain = text.len() == 10
            && text.bytes().enumerate().all(|(place, octet)| match place {
                4 | 7 => octet == b'-',
                _ => octet.is_ascii_digit(),
            });
        let date = text.parse::<Date>().ok().filter(|_| is_plain).ok_or(())?;
        Some(Self::of(date)).filter(|day| day.0 >= 0).ok_or(())
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = jiff::civil::date(1970, 1, 1);
        let date = date.saturating_add(jiff::Span::new().days(self.0));
        write!(f, "{date}")
    }
}

/// The days of a time zone.
#[derive(Clone, PartialEq, Eq)]
pub struct Days {
    zone: TimeZone,
    name: Box<str>,
}

impl Days {
    /// Of the zone of this name (IANA), if there is one.
    pub fn of(zone: &str) -> Option<Self> {
        let found = TimeZone::get(zone).ok()?;
        Some(Self { zone: found, name: zone.into() })
    }

    /// The day at `now`, and when it is over: later than `now`.
    pub fn at(&self, now: WallTime) -> (Day, WallTime) {
        let time = Timestamp::from_millisecond(now.0).unwrap_or(Timestamp::MAX);
        let date = self.zone.to_datetime(time).date();
        let next = date
            .tomorrow()
            .and_then(|next| self.zone.to_ambiguous_timestamp(next.at(0, 0, 0, 0)).compatible());
        let end = next.map_or(now.0, |next| next.as_millisecond());
        let end = if end > now.0 { end } else { now.0 + LOOK_AGAIN_MS };
        (Day::of(date), WallTime(end))
    }

    /// A time as the zone's clocks show it, for people.
    pub fn show(&self, time: WallTime) -> String {
        let time = Timestamp::from_millisecond(time.0).unwrap_or(Timestamp::MAX);
        let local = self.zone.to_datetime(time);
        let (date, hour, minute) = (local.date(), local.hour(), local.minute());
        format!("{date} {hour:02}:{minute:02} {}", self.name)
    }
}

impl fmt::Debug for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(zone: &str, time: &str) -> (String, String) {
        let days = Days::of(zone).expect("a zone");
        let (day, end) = days.at(WallTime::from_rfc3339(time).expect("a time"));
        (day.to_string(), end.to_rfc3339())
    }

    fn day(day: &str, end: &str) -> (String, String) {
        (day.to_owned(), format!("{end}:00.000Z"))
    }

    #[test]
    fn a_day_ends_at_midnight_where_its_zone_is() {
        let just_before = "2026-11-28T23:59:59.999Z";
        assert_eq!(at("UTC", just_before), day("2026-11-28", "2026-11-29T00:00"));
        assert_eq!(at("UTC", "2026-11-29T00:00:00Z"), day("2026-11-29", "2026-11-30T00:00"));
        assert_eq!(at("Europe/Berlin", just_before), day("2026-11-29", "2026-11-29T23:00"));
        assert_eq!(at("America/New_York", just_before), day("2026-11-28", "2026-11-29T05:00"));
        let days = Days::of("Europe/Berlin").expect("a zone");
        let end = WallTime::from_rfc3339("2026-11-29T23:00:00Z").expect("a time");
        assert_eq!(days.show(end), "2026-11-30 00:00 Europe/Berlin");
    }

    #[test]
    fn a_day_is_as_long_as_clocks_make_it() {
        // Set ahead: 23 hours. Set back: 25.
        assert_eq!(
            at("Europe/Berlin", "2026-03-28T23:00:00Z"),
            day("2026-03-29", "2026-03-29T22:00")
        );
        assert_eq!(
            at("Europe/Berlin", "2026-10-24T22:00:00Z"),
            day("2026-10-25", "2026-10-25T23:00")
        );
        // No midnight: clocks go from 23:59 to 1:00.
        assert_eq!(at("Africa/Cairo", "2026-04-23T12:00:00Z").1, "2026-04-23T22:00:00.000Z");
    }

    #[test]
    fn days_are_written_and_counted() {
        let day = |text: &str| text.parse::<Day>();
        assert_eq!((day("1970-01-01"), day("1970-02-01")), (Ok(Day(0)), Ok(Day(31))));
        for wrong in ["", "2026-11-31", "2026-1-01", "26-11-01", "2026-11-01T00:00", "1969-12-31"] {
            assert_eq!(day(wrong), Err(()), "{wrong}");
        }
        let first = day("2026-11-01").expect("a day");
        assert_eq!(first.to_string(), "2026-11-01");
        assert_eq!(
            (first.plus(30).to_string().as_str(), first.plus(30).since(first)),
            ("2026-12-01", 30)
        );
        assert!(Days::of("Nowhere/Land").is_none());
    }
}
