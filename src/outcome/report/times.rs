//! Times of one kind, for a person: their quantiles in a fitting unit.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Times are kept to two digits: 1% is finer than any decision made on them.
const DIGITS: u8 = 2;

/// How long something took, in milliseconds; the histogram is made with the first.
#[derive(Clone, Debug, Default)]
pub(super) struct Times(Option<Histogram<u32>>);

impl Times {
    pub(super) fn record(&mut self, took: Duration) {
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        // Ten years, so that no line of a log can make the histogram huge.
        let ms = ms.min(10 * 366 * 86_400_000);
        let times = self.0.get_or_insert_with(new_times);
        times.record(ms).expect("it grows as it must");
    }

    pub(super) fn merge(&mut self, other: &Self) {
        if let Some(times) = &other.0 {
            let mine = self.0.get_or_insert_with(new_times);
            mine.add(times).expect("it grows as it must");
        }
    }

    /// What the share `quantile` of them did not pass; `-` of none.
    pub(super) fn at(&self, quantile: f64) -> String {
        self.0.as_ref().map_or("-".into(), |times| time(times.value_at_quantile(quantile)))
    }
}

fn new_times() -> Histogram<u32> {
    let mut times = Histogram::new(DIGITS).expect("a valid precision");
    times.auto(true);
    times
}

/// Milliseconds in the unit that a person would use.
fn time(ms: u64) -> String {
    let ms = ms as f64;
    match ms {
        ..1.0 => "<1 ms".to_owned(),
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
        assert_eq!(told, ["<1 ms", "999 ms", "1.0 s", "59.9 s", "1.0 min", "2.0 h", "2.0 d"]);
    }

    #[test]
    fn quantiles_are_right_to_two_digits_after_a_merge() {
        let (mut low, mut high) = (Times::default(), Times::default());
        (1..=500).for_each(|ms| low.record(Duration::from_millis(ms)));
        (501..=1000).for_each(|ms| high.record(Duration::from_millis(ms * 1_000)));
        low.merge(&high);
        let median = low.0.as_ref().map(|times| times.value_at_quantile(0.5));
        let late = low.0.as_ref().map(|times| times.value_at_quantile(0.99));
        assert!(median.is_some_and(|ms| (495..=505).contains(&ms)), "{median:?}");
        assert!(late.is_some_and(|ms| (980_000..=1_000_000).contains(&ms)), "{late:?}");
    }

    #[test]
    fn no_time_is_too_long() {
        let mut times = Times::default();
        assert_eq!(times.at(0.5), "-");
        times.record(Duration::MAX);
        times.record(Duration::ZERO);
        assert!(times.at(1.0).ends_with(" d"));
    }
}
