//! Count times to delivery in buckets that grow with them.
//!
//! Unit: milliseconds; 16 buckets for each doubling, so that a time is known to a sixteenth of
//! itself, and those below 16 ms exactly. Invariant: buckets stand in order, none is empty, and
//! there are `KPI_BUCKETS_MAX` at most: two histograms add up to what one would have counted.

use std::time::Duration;

use crate::base::limits::KPI_BUCKETS_MAX;

/// Buckets of a doubling, as a power of two.
const BITS: u32 = 4;

/// How often something took how long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// The number of a bucket, and how many are in it.
    buckets: Vec<(u16, u64)>,
}

impl Times {
    /// Count one that took so long.
    pub fn record(&mut self, took: Duration) {
        let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.add(bucket(milliseconds), 1);
    }

    /// Count so many in a bucket; `false`: there is no such bucket, or nothing in it.
    pub(super) fn add(&mut self, bucket: u16, count: u64) -> bool {
        if usize::from(bucket) >= KPI_BUCKETS_MAX || count == 0 {
            return false;
        }
        match self.buckets.binary_search_by_key(&bucket, |(bucket, _)| *bucket) {
            Ok(place) => self.buckets[place].1 = self.buckets[place].1.saturating_add(count),
            Err(place) => self.buckets.insert(place, (bucket, count)),
        }
        true
    }

    /// Add what another counted.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.buckets {
            self.add(*bucket, *count);
        }
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }

    /// What the share `share` (0 to 1) of them did not take longer than, to a thirty-second of
    /// itself; `None` of none.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let wanted = (self.count() as f64 * share).ceil().max(1.0);
        let mut sum = 0;
        let (bucket, _) = self.buckets.iter().find(|(_, count)| {
            sum += count;
            sum as f64 >= wanted
        })?;
        Some(middle(*bucket))
    }

    /// The buckets that are not empty, in order.
    pub(super) fn buckets(&self) -> &[(u16, u64)] {
        &self.buckets
    }
}

/// The number of the bucket for so many milliseconds.
fn bucket(milliseconds: u64) -> u16 {
    if milliseconds < 1 << BITS {
        return u16::try_from(milliseconds).expect("below 16");
    }
    let shift = milliseconds.ilog2() - BITS;
    // From 16 to 31: one bit is the doubling's own.
    let within = milliseconds >> shift;
    let bucket = u64::from(shift << BITS) + within;
    let last = KPI_BUCKETS_MAX as u64 - 1;
    u16::try_from(bucket.min(last)).expect("below the limit")
}

/// A time in the middle of a bucket.
fn middle(bucket: u16) -> Duration {
    let bucket = u64::from(bucket);
    if bucket < 1 << BITS {
        return Duration::from_millis(bucket);
    }
    let shift = (bucket >> BITS) - 1;
    let within = (bucket & ((1 << BITS) - 1)) + (1 << BITS);
    // Half a millisecond counts where a bucket is one wide.
    Duration::from_micros(((within << shift) * 1_000) + ((1_000 << shift) >> 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_and_hold_what_they_say() {
        let mut last = 0;
        for milliseconds in (0..5_000_000u64).step_by(7).chain([1 << 30, 1 << 38]) {
            let found = bucket(milliseconds);
            assert!(found >= last, "{milliseconds}");
            last = found;
            let (middle, exact) = (middle(found).as_secs_f64(), milliseconds as f64 / 1_000.0);
            assert!((middle - exact).abs() <= exact / 30.0 + 0.000_6, "{milliseconds}: {middle}");
        }
        let all: Vec<u16> = (0..100_000).map(bucket).collect();
        assert!(all.windows(2).all(|pair| pair[1] - pair[0] <= 1), "none is left out");
        assert_eq!(usize::from(bucket(u64::MAX)), KPI_BUCKETS_MAX - 1);
    }

    #[test]
    fn parts_add_up_to_the_whole() {
        let (mut whole, mut parts) = (Times::default(), [Times::default(), Times::default()]);
        for ms in 1..=1_000u64 {
            whole.record(Duration::from_millis(ms * ms));
            parts[usize::from(ms % 3 == 0)].record(Duration::from_millis(ms * ms));
        }
        let [mut one, other] = parts;
        one.merge(&other);
        assert_eq!(one, whole);
        assert_eq!(one.count(), 1_000);
    }

    #[test]
    fn quantiles_are_right_to_a_thirtieth() {
        let mut times = Times::default();
        assert_eq!(times.quantile(0.5), None);
        (1..=1_000u64).for_each(|ms| times.record(Duration::from_millis(ms)));
        let (median, high) = (times.quantile(0.5).unwrap(), times.quantile(0.99).unwrap());
        assert!((484..=516).contains(&median.as_millis()), "{median:?}");
        assert!((959..=1_021).contains(&high.as_millis()), "{high:?}");
        times.record(Duration::MAX);
        assert!(times.quantile(1.0).unwrap() > Duration::from_secs(86_400 * 365));
    }
}
