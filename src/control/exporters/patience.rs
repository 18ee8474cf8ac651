//! Say how long to wait after a batch that nobody took.
//!
//! In: failures, what the consumer asks for, chance. Out: a wait. Twice as long each time, up to a
//! bound; half of it by chance, so that nodes that failed together do not come back together.

use std::time::Duration;

use crate::base::limits::{EXPORT_RETRY_AFTER_MAX, EXPORT_RETRY_FIRST, EXPORT_RETRY_MAX};
use crate::base::prng::Prng;

/// How often in a row it failed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Patience {
    failures: u32,
}

impl Patience {
    /// It went well.
    pub(super) fn well(&mut self) {
        self.failures = 0;
    }

    /// It failed, and is tried again after this; not before what was asked for.
    pub(super) fn failed(&mut self, asked: Option<Duration>, prng: &mut Prng) -> Duration {
        let longest = EXPORT_RETRY_FIRST.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        let longest = longest.min(EXPORT_RETRY_MAX);
        let half = longest / 2;
        let chance = u64::try_from(half.as_millis()).unwrap_or(u64::MAX).max(1);
        let wait = half + Duration::from_millis(prng.below(chance));
        asked.map_or(wait, |asked| wait.max(asked.min(EXPORT_RETRY_AFTER_MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_begin_anew() {
        let (mut patience, mut prng) = (Patience::default(), Prng::from_number(7));
        let mut longest = EXPORT_RETRY_FIRST;
        for _ in 0..100 {
            let wait = patience.failed(None, &mut prng);
            assert!(wait >= longest / 2 && wait <= longest, "{wait:?} of {longest:?}");
            longest = (longest * 2).min(EXPORT_RETRY_MAX);
        }
        patience.well();
        assert!(patience.failed(None, &mut prng) <= EXPORT_RETRY_FIRST);
    }

    #[test]
    fn what_a_consumer_asks_for_is_waited_and_no_longer_than_a_bound() {
        let (mut patience, mut prng) = (Patience::default(), Prng::from_number(7));
        let minute = Duration::from_secs(60);
        assert_eq!(patience.failed(Some(minute), &mut prng), minute);
        assert!(patience.failed(Some(Duration::ZERO), &mut prng) >= EXPORT_RETRY_FIRST);
        let year = Some(Duration::from_secs(365 * 86_400));
        assert_eq!(patience.failed(year, &mut prng), EXPORT_RETRY_AFTER_MAX);
    }
}
