//! Count durations in fixed buckets, each twice as wide as the one before.
//!
//! Unit: bounds are powers of two of 2^17 ns (131 µs), up to 78 hours; longer ones count as more.
//! Invariant: the buckets and the overflow add up to `count`.

use std::time::Duration;

/// Buckets with an upper bound; one more holds what is longer.
pub const BUCKETS: usize = 32;
const FIRST_BITS: u32 = 17;
const NANOS_PER_SECOND: f64 = 1e9;

/// How often something took how long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    buckets: [u64; BUCKETS],
    longer: u64,
    sum_nanos: u128,
}

impl Histogram {
    /// Count one that took so long.
    pub fn record(&mut self, took: Duration) {
        let nanos = took.as_nanos();
        self.sum_nanos += nanos;
        // A bucket's bound belongs to it (Prometheus: le, less or equal).
        let place = u128::BITS - (nanos.saturating_sub(1) >> FIRST_BITS).leading_zeros();
        match self.buckets.get_mut(place as usize) {
            Some(bucket) => *bucket += 1,
            None => self.longer += 1,
        }
    }

    /// Add what another shard counted.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.longer += other.longer;
        self.sum_nanos += other.sum_nanos;
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum::<u64>() + self.longer
    }

    /// All of them together, in seconds.
    pub fn sum_seconds(&self) -> f64 {
        self.sum_nanos as f64 / NANOS_PER_SECOND
    }

    /// Each bound in seconds with the number of those that were not longer, as Prometheus'
    /// `_bucket{le="…"}` wants it; the last, `+Inf`, is [`Histogram::count`].
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        self.buckets.iter().zip(0u32..).scan(0, |sum, (bucket, place)| {
            *sum += bucket;
            Some((bound(place).as_secs_f64(), *sum))
        })
    }

    /// A bound that `share` (0 to 1) of them do not pass, to the next power of two; `None` when
    /// nothing was counted or the bound is past the last bucket.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let wanted = (self.count() as f64 * share).ceil().max(1.0);
        let mut sum = 0;
        let place = self.buckets.iter().position(|bucket| {
            sum += bucket;
            sum as f64 >= wanted
        })?;
        u32::try_from(place).ok().map(bound)
    }
}

fn bound(place: u32) -> Duration {
    Duration::from_nanos(1 << (FIRST_BITS + place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        for place in 0..32 {
            let mut histogram = Histogram::default();
            histogram.record(bound(place));
            histogram.record(bound(place) + Duration::from_nanos(1));
            let counted: Vec<_> = histogram.cumulative().map(|(_, n)| n).collect();
            let index = place as usize;
            assert_eq!(counted[index], 1, "{place}: {counted:?}");
            assert_eq!(*counted.get(index + 1).unwrap_or(&2), 2, "{place}: {counted:?}");
            assert_eq!(histogram.count(), 2);
        }
    }

    #[test]
    fn nothing_and_everything_are_counted() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        histogram.record(Duration::ZERO);
        histogram.record(Duration::MAX);
        assert_eq!(histogram.count(), 2);
        assert_eq!(histogram.quantile(0.5), Some(bound(0)));
        assert_eq!(histogram.quantile(1.0), None);
        histogram.record(Duration::MAX);
        assert!(histogram.sum_seconds() > 3e19);
    }

    #[test]
    fn quantiles_are_right_to_a_factor_of_two() {
        let mut histogram = Histogram::default();
        (1..=1000u64).for_each(|ms| histogram.record(Duration::from_millis(ms)));
        let median = histogram.quantile(0.5).expect("counted");
        let high = histogram.quantile(0.99).expect("counted");
        assert!((500..1000).contains(&median.as_millis()), "{median:?}");
        assert!((990..1980).contains(&high.as_millis()), "{high:?}");
    }
}
