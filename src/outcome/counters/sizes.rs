//! Count sizes in fixed buckets, each twice as wide as the one before.
//!
//! Unit: whatever is counted; the table of sizes says so, and what the first bucket holds.
//! Invariant: the buckets and the overflow add up to `count`.

/// Buckets with an upper bound; one more holds what is larger.
pub const BUCKETS: usize = 13;

/// How often something had which size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    buckets: [u64; BUCKETS],
    larger: u64,
    sum: u64,
}

impl Sizes {
    /// Count one of this size, where the first bucket's bound is 2^`first_bits`.
    pub(super) fn record(&mut self, size: u64, first_bits: u32) {
        self.sum = self.sum.wrapping_add(size);
        // A bucket's bound belongs to it (Prometheus: le, less or equal).
        let place = u64::BITS - (size.saturating_sub(1) >> first_bits).leading_zeros();
        match self.buckets.get_mut(place as usize) {
            Some(bucket) => *bucket += 1,
            None => self.larger += 1,
        }
    }

    /// Add what another shard counted.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.larger += other.larger;
        self.sum = self.sum.wrapping_add(other.sum);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum::<u64>() + self.larger
    }

    /// All of them together.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// Each bound, from 2^`first_bits` on, with the number of those that were not larger; the last,
    /// `+Inf`, is [`Sizes::count`].
    pub fn cumulative(&self, first_bits: u32) -> impl Iterator<Item = (u64, u64)> {
        self.buckets.iter().zip(first_bits..).scan(0, |sum, (bucket, bits)| {
            *sum += bucket;
            Some((1 << bits, *sum))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        for first_bits in [0, 10] {
            let mut sizes = Sizes::default();
            for size in [0, 1 << first_bits, (1 << first_bits) + 1, u64::MAX] {
                sizes.record(size, first_bits);
            }
            let bounds: Vec<_> = sizes.cumulative(first_bits).collect();
            assert_eq!(bounds[..2], [(1 << first_bits, 2), (2 << first_bits, 3)]);
            assert_eq!(bounds[BUCKETS - 1], (1 << (first_bits + 12), 3));
            assert_eq!(sizes.count(), 4);
        }
    }

    #[test]
    fn shards_add_up() {
        let (mut one, mut two) = (Sizes::default(), Sizes::default());
        one.record(3, 0);
        two.record(1 << 12, 0);
        two.record((1 << 12) + 1, 0);
        one.merge(&two);
        assert_eq!((one.count(), one.sum()), (3, 3 + (1 << 13) + 1));
        assert_eq!(one.cumulative(0).last(), Some((1 << 12, 2)));
    }
}
