//! The figures of one destination domain, or of one upstream.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::outcome::event::{Event, Kind};

/// Times to delivery are kept to two digits: 1% is finer than any decision made on them.
const DIGITS: u8 = 2;

/// What came of the recipients counted here.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    delivered: u64,
    deferred: u64,
    /// Bounced in an attempt.
    bounced: u64,
    /// Given up without one: expired, or removed.
    given_up: u64,
    /// In milliseconds; made with the first delivery.
    times: Option<Histogram<u32>>,
}

impl Row {
    pub(super) fn add(&mut self, event: &Event<'_>) {
        match event.kind {
            Kind::Delivered => {
                self.delivered += 1;
                if let Some(delays) = &event.delays {
                    self.record(delays.total());
                }
            }
            Kind::Deferred => self.deferred += 1,
            Kind::Bounced => self.bounced += 1,
            Kind::Expired | Kind::Removed => self.given_up += 1,
            Kind::Received | Kind::Held | Kind::Released => {}
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.delivered += other.delivered;
        self.deferred += other.deferred;
        self.bounced += other.bounced;
        self.given_up += other.given_up;
        if let Some(times) = &other.times {
            let mine = self.times.get_or_insert_with(new_times);
            mine.add(times).expect("it grows as it must");
        }
    }

    /// Attempts, and ends without one: how big the row is.
    pub(super) fn attempts(&self) -> u64 {
        self.delivered + self.deferred + self.bounced + self.given_up
    }

    /// Recipients that came to an end, three rates, median and p99.
    pub(super) fn cells(&self) -> [String; 6] {
        let lost = self.bounced + self.given_up;
        let ended = self.delivered + lost;
        let attempts = self.delivered + self.deferred + self.bounced;
        [
            ended.to_string(),
            percent(self.delivered, ended),
            percent(self.deferred, attempts),
            percent(lost, ended),
            self.time_at(0.5),
            self.time_at(0.99),
        ]
    }

    fn record(&mut self, took: Duration) {
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        // Ten years, so that no line of a log can make the histogram huge.
        let ms = ms.min(10 * 366 * 86_400_000);
        let times = self.times.get_or_insert_with(new_times);
        times.record(ms).expect("it grows as it must");
    }

    fn time_at(&self, quantile: f64) -> String {
        self.times.as_ref().map_or("-".into(), |times| time(times.value_at_quantile(quantile)))
    }
}

fn new_times() -> Histogram<u32> {
    let mut times = Histogram::new(DIGITS).expect("a valid precision");
    times.auto(true);
    times
}

fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".into();
    }
    format!("{:.1}%", part as f64 * 100.0 / whole as f64)
}

/// Milliseconds in the unit that a person would use.
fn time(ms: u64) -> String {
    let ms = ms as f64;
    match ms {
        ..1_000.0 => format!("{ms} ms"),
        ..60_000.0 => format!("{:.1} s", ms / 1_000.0),
        ..3_600_000.0 => format!("{:.1} min", ms / 60_000.0),
        ..86_400_000.0 => format!("{:.1} h", ms / 3_600_000.0),
        _ => format!("{:.1} d", ms / 86_400_000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_a_fitting_unit() {
        let told = [0, 999, 1_000, 59_900, 60_000, 7_200_000, 172_800_000].map(time);
        assert_eq!(told, ["0 ms", "999 ms", "1.0 s", "59.9 s", "1.0 min", "2.0 h", "2.0 d"]);
    }

    #[test]
    fn quantiles_are_right_to_two_digits_after_a_merge() {
        let (mut low, mut high) = (Row::default(), Row::default());
        (1..=500).for_each(|ms| low.record(Duration::from_millis(ms)));
        (501..=1000).for_each(|ms| high.record(Duration::from_millis(ms * 1_000)));
        low.merge(&high);
        let median = low.times.as_ref().map(|times| times.value_at_quantile(0.5));
        let late = low.times.as_ref().map(|times| times.value_at_quantile(0.99));
        assert!(median.is_some_and(|ms| (495..=505).contains(&ms)), "{median:?}");
        assert!(late.is_some_and(|ms| (980_000..=1_000_000).contains(&ms)), "{late:?}");
    }

    #[test]
    fn no_time_is_too_long() {
        let mut row = Row::default();
        row.record(Duration::MAX);
        row.record(Duration::ZERO);
        assert!(row.time_at(1.0).ends_with(" d"));
    }
}
