//! Say whether a weekly window of delivery is open, by the clocks of a time zone.
//!
//! In: `Mon-Fri 09:00-18:00; Sat 10:00-14:00`, a zone's name (IANA), an instant. Out: open or shut,
//! and until when. A window is open while the zone's clocks show a time in it: one that clocks show
//! twice, as they are set back, is open twice; one that they leave out is not open that day.
//!
//! Zones are known by the data that is built in, so that every machine knows the same ones, and a
//! confined process reads no file.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::base::limits::WINDOW_SPANS_MAX;
use crate::base::time::WallTime;

/// Days that are looked ahead: a week, and what time zones are apart.
const DAYS_AHEAD: usize = 9;
const MINUTES_A_DAY: u16 = 24 * 60;
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// When delivery is allowed.
#[derive(Clone, PartialEq, Eq)]
pub struct Window {
    spans: Vec<Span>,
    zone: TimeZone,
    /// As they were given.
    text: Box<str>,
    zone_name: Box<str>,
}

/// From a time of day to another, on days of the week; past midnight where the second is not later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    /// On which it begins: a bit each, Monday's the lowest.
    days: u8,
    /// Minutes of the day.
    from: u16,
    to: u16,
}

/// What a window is at some instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Open until then.
    Open(WallTime),
    /// Shut until then.
    Shut(WallTime),
}

/// What is wrong with a window.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// No zone has this name.
    #[error("there is no time zone `{0}`")]
    Zone(String),
    /// This part is no span.
    #[error("`{0}` is no span of time: write it as `Mon-Fri 09:00-18:00`")]
    Span(String),
    /// There are more spans than are taken.
    #[error("there are more than {WINDOW_SPANS_MAX} spans")]
    TooMany,
}

impl Window {
    /// The window that `text` says, in the zone of this name.
    pub fn parse(text: &str, zone_name: &str) -> Result<Self, WindowError> {
        let zone = TimeZone::get(zone_name).map_err(|_| WindowError::Zone(zone_name.to_owned()))?;
        let wrong = |part: &str| WindowError::Span(part.trim().to_owned());
        let spans = text.split(';').map(|part| Span::parse(part.trim()).ok_or_else(|| wrong(part)));
        let spans: Vec<Span> = spans.collect::<Result<_, _>>()?;
        if spans.len() > WINDOW_SPANS_MAX {
            return Err(WindowError::TooMany);
        }
        Ok(Self { spans, zone, text: text.into(), zone_name: zone_name.into() })
    }

    /// What it is at `now`.
    pub fn at(&self, now: WallTime) -> State {
        let now = Timestamp::from_millisecond(now.0).unwrap_or(Timestamp::MAX);
        let is_open = self.is_open(now);
        let changes = |at: &Timestamp| self.is_open(*at) != is_open;
        let until = self.candidates(now).into_iter().find(changes);
        // Nothing changes within the days that are looked at: look again then.
        let until = until.map_or(now.as_millisecond() + LOOK_AGAIN_MS, Timestamp::as_millisecond);
        if is_open { State::Open(WallTime(until)) } else { State::Shut(WallTime(until)) }
    }

    /// A time as the zone's clocks show it, for people.
    pub fn show(&self, time: WallTime) -> String {
        let time = Timestamp::from_millisecond(time.0).unwrap_or(Timestamp::MAX);
        let local = self.zone.to_datetime(time);
        let day = DAYS[usize::from(day_of(local.date()))];
        let (date, hour, minute) = (local.date(), local.hour(), local.minute());
        format!("{day} {date} {hour:02}:{minute:02} {}", self.zone_name)
    }

    fn is_open(&self, at: Timestamp) -> bool {
        let local = self.zone.to_datetime(at);
        let minute = minute_of(local.hour(), local.minute());
        let day = day_of(local.date());
        self.spans.iter().any(|span| span.has(day, minute))
    }

    /// The instants after `now` at which it may open or shut, in order: there clocks show a span's
    /// end, or are set.
    fn candidates(&self, now: Timestamp) -> Vec<Timestamp> {
        let mut found = Vec::new();
        let mut date = self.zone.to_datetime(now).date();
        for _ in 0..DAYS_AHEAD {
            let Ok(next) = date.tomorrow() else { break };
            for minute in self.spans.iter().flat_map(|span| [span.from, span.to]) {
                found.extend(
                    self.instants(if minute == MINUTES_A_DAY { next } else { date }, minute),
                );
            }
            date = next;
        }
        let last = found.iter().max().copied().unwrap_or(now);
        let sets = self.zone.following(now).map(|transition| transition.timestamp());
        found.extend(sets.take_while(|set| *set <= last));
        found.retain(|at| *at > now);
        found.sort_unstable();
        found
    }

    /// When clocks show a minute of a day: once, twice, or around when they are set past it.
    fn instants(&self, date: Date, minute: u16) -> impl Iterator<Item = Timestamp> {
        let minute = minute % MINUTES_A_DAY;
        let [hour, minute] = [minute / 60, minute % 60].map(|part| i8::try_from(part).unwrap_or(0));
        let shown = self.zone.to_ambiguous_timestamp(date.at(hour, minute, 0, 0));
        [shown.earlier(), shown.later()].into_iter().flatten()
    }
}

/// Less than is looked ahead.
const LOOK_AGAIN_MS: i64 = 7 * 86_400_000;

impl Span {
    /// `Mon-Fri 09:00-18:00`, `Sat,Sun 10:00-14:00`, or a time alone: every day.
    fn parse(text: &str) -> Option<Self> {
        let (days, times) = text.rsplit_once(' ').unwrap_or(("Mon-Sun", text));
        let (from, to) = times.split_once('-')?;
        let (from, to) = (minute(from)?, minute(to)?);
        let mut set = 0;
        for part in days.trim_end().split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (day(first.trim())?, day(last.trim())?);
            let days = (last + 7 - first) % 7;
            (0..=days).for_each(|after| set |= 1 << ((first + after) % 7));
        }
        (from != to && from < MINUTES_A_DAY).then_some(Self { days: set, from, to })
    }

    /// Whether it is open on a day of the week at a minute of the day.
    fn has(self, day: u8, minute: u16) -> bool {
        let begins = |day: u8| self.days & 1 << (day % 7) != 0;
        if self.from < self.to {
            return begins(day) && (self.from..self.to).contains(&minute);
        }
        (begins(day) && minute >= self.from) || (begins(day + 6) && minute < self.to)
    }
}

/// `09:00`; `24:00` is the end of a day.
fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let two = |text: &str| {
        let is_two = text.len() == 2 && text.bytes().all(|octet| octet.is_ascii_digit());
        is_two.then(|| text.parse::<u16>().ok()).flatten()
    };
    let (hour, minute) = (two(hour)?, two(minute)?);
    let whole = hour * 60 + minute;
    (minute < 60 && whole <= MINUTES_A_DAY).then_some(whole)
}

/// `Mon` is 0.
fn day(text: &str) -> Option<u8> {
    let place = DAYS.iter().position(|day| day.eq_ignore_ascii_case(text))?;
    u8::try_from(place).ok()
}

fn day_of(date: Date) -> u8 {
    date.weekday().to_monday_zero_offset().unsigned_abs()
}

fn minute_of(hour: i8, minute: i8) -> u16 {
    u16::from(hour.unsigned_abs()) * 60 + u16::from(minute.unsigned_abs())
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.text, self.zone_name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> WallTime {
        WallTime::from_rfc3339(text).expect("a time")
    }

    fn window(text: &str, zone: &str) -> Window {
        Window::parse(text, zone).expect("a window")
    }

    /// Each change in these days, as its zone shows it, after what it is at first.
    fn changes(window: &Window, from: &str, to: &str) -> (bool, Vec<String>) {
        let (mut now, end) = (at(from), at(to));
        let first = matches!(window.at(now), State::Open(_));
        let mut told = Vec::new();
        loop {
            let is_open = matches!(window.at(now), State::Open(_));
            let (State::Open(until) | State::Shut(until)) = window.at(now);
            assert!(until > now, "it would ask for ever");
            if until > end {
                return (first, told);
            }
            if matches!(window.at(until), State::Open(_)) != is_open {
                told.push(until.to_rfc3339());
            }
            now = until;
        }
    }

    #[test]
    fn office_hours_open_and_shut_by_the_zones_clocks() {
        let window = window("Mon-Fri 09:00-18:00; Sat 10:00-14:00", "Europe/Berlin");
        // A Friday in winter: an hour ahead of UTC.
        let (open, told) = changes(&window, "2026-11-27T10:00:00Z", "2026-11-30T09:00:00Z");
        assert!(open);
        let expected = [
            "2026-11-27T17:00:00Z",
            "2026-11-28T09:00:00Z",
            "2026-11-28T13:00:00Z",
            "2026-11-30T08:00:00Z",
        ];
        assert_eq!(told.iter().map(|one| one.replace(".000", "")).collect::<Vec<_>>(), expected);
        let State::Shut(opens) = window.at(at("2026-11-28T13:00:00Z")) else {
            panic!("it is shut at its end")
        };
        assert_eq!(window.show(opens), "Mon 2026-11-30 09:00 Europe/Berlin");
        assert!(
            matches!(window.at(at("2026-11-28T09:00:00Z")), State::Open(_)),
            "at its beginning"
        );
    }

    #[test]
    fn what_clocks_leave_out_is_not_open_and_what_they_show_twice_is_twice() {
        // Clocks go from 02:00 to 03:00 on 2026-03-29, and back on 2026-10-25.
        let inside = window("02:15-02:45", "Europe/Berlin");
        let (open, told) = changes(&inside, "2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z");
        assert!(!open);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].starts_with("2026-03-30T00:15:00"), "{told:?}");
        let (_, told) = changes(&inside, "2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z");
        let times: Vec<&str> = told.iter().map(|one| &one[11..16]).collect();
        assert_eq!(times, ["00:15", "00:45", "01:15", "01:45"]);
        // What begins in the gap begins behind it; what ends in it ends before it.
        let begins = window("02:30-05:00", "Europe/Berlin");
        let (_, told) = changes(&begins, "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z");
        let times: Vec<&str> = told.iter().map(|one| &one[11..16]).collect();
        assert_eq!(times, ["01:00", "03:00"]);
        let ends = window("00:30-02:30", "Europe/Berlin");
        let (_, told) = changes(&ends, "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z");
        let times: Vec<&str> = told.iter().map(|one| &one[11..16]).collect();
        assert_eq!(times, ["23:30", "01:00"]);
    }

    #[test]
    fn a_night_belongs_to_the_day_on_which_it_begins() {
        let night = window("Fri 22:00-06:00", "UTC");
        for (time, expected) in [
            ("2026-11-27T21:59:59Z", false),
            ("2026-11-27T22:00:00Z", true),
            ("2026-11-28T05:59:59Z", true),
            ("2026-11-28T06:00:00Z", false),
            ("2026-11-27T05:00:00Z", false),
        ] {
            assert_eq!(matches!(night.at(at(time)), State::Open(_)), expected, "{time}");
        }
        let days = window("Sat-Mon 00:00-24:00", "America/New_York");
        let (open, told) = changes(&days, "2026-11-27T12:00:00Z", "2026-12-01T12:00:00Z");
        assert!(!open);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].starts_with("2026-11-28T05:00:00"), "{told:?}");
        assert!(told[1].starts_with("2026-12-01T05:00:00"), "{told:?}");
        let always = window("00:00-24:00", "UTC");
        assert!(matches!(always.at(at("2026-11-27T12:00:00Z")), State::Open(_)));
    }

    #[test]
    fn what_is_no_window_is_told() {
        for wrong in [
            "",
            "09:00",
            "Mon",
            "Mon 9:00-18:00",
            "Mon 09:00-25:00",
            "Mon 09:60-10:00",
            "Mon 09:00-09:00",
            "Mon 24:00-10:00",
            "Mo 09:00-10:00",
            "Mon- 09:00-10:00",
            "Mon-Fri 09:00-18:00;",
            "Mon-Fri 09:00 - 18:00",
        ] {
            let error = Window::parse(wrong, "UTC").expect_err(wrong);
            assert!(matches!(error, WindowError::Span(_)), "{wrong}: {error}");
        }
        assert_eq!(
            Window::parse("09:00-10:00", "Europe/Nowhere"),
            Err(WindowError::Zone("Europe/Nowhere".to_owned()))
        );
        let many = ["09:00-10:00"; WINDOW_SPANS_MAX + 1].join(";");
        assert_eq!(Window::parse(&many, "UTC"), Err(WindowError::TooMany));
    }

    #[test]
    fn a_window_is_right_every_quarter_of_an_hour_of_two_years() {
        let window = window("Mon-Fri 09:00-18:00; Sat,Sun 23:30-01:15", "America/New_York");
        let (mut now, mut checked) = (at("2026-01-01T00:00:00Z"), 0);
        let mut state = window.at(now);
        for _ in 0..2 * 365 * 24 * 4 {
            let (State::Open(until) | State::Shut(until)) = state;
            if now >= until {
                state = window.at(now);
                checked += 1;
            }
            let stamp = Timestamp::from_millisecond(now.0).expect("in range");
            assert_eq!(window.is_open(stamp), matches!(state, State::Open(_)), "{now:?}");
            now = WallTime(now.0 + 15 * 60_000);
        }
        assert!(checked > 1_000, "{checked}");
    }
}
