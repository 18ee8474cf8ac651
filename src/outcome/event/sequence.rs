//! Number a shard's events so that no number comes twice, whatever was lost between two runs.
//!
//! In: the wall clock and the last number that is on disk. Out: the first number of a run, whose
//! further events count up from it. A run begins at the clock in microseconds: no shard writes a
//! million events a second, so the run before stayed below. What a power cut took from the end of a
//! file, and a reader had seen, has numbers below as well. Where the clock stands before what is on
//! disk, as after it was set back, nothing is known of what was lost, and the run begins further on
//! than anything that could be lost.
//!
//! Invariant: numbers stay below 2^53, which every reader of JSON takes as they are, until the year
//! 2255.

use crate::base::limits::EVENT_SEQUENCE_SKIP;
use crate::base::time::WallTime;

/// The number of a run's first event; `last` is the highest that its shard has on disk.
pub fn first(now: WallTime, last: Option<u64>) -> u64 {
    let clock = u64::try_from(now.0).unwrap_or(0).saturating_mul(1_000);
    match last {
        Some(last) if last >= clock => last.saturating_add(EVENT_SEQUENCE_SKIP),
        Some(_) | None => clock.max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallTime = WallTime(1_795_491_661_007);

    #[test]
    fn a_run_begins_after_whatever_the_run_before_can_have_written() {
        assert_eq!(first(NOW, None), 1_795_491_661_007_000);
        // Lines of an earlier version, which counted from 1.
        assert_eq!(first(NOW, Some(99)), first(NOW, None));
        // It began a millisecond before, and its last lines are lost.
        let before = first(WallTime(NOW.0 - 1), None);
        assert!(first(NOW, Some(before)) >= before + 1_000);
    }

    #[test]
    fn a_clock_that_was_set_back_is_no_way_back() {
        let last = first(NOW, None) + 5;
        for clock in [NOW, WallTime(0), WallTime(-5)] {
            assert_eq!(first(clock, Some(last)), last + EVENT_SEQUENCE_SKIP);
        }
        assert_eq!(first(WallTime(-5), None), 1);
    }

    #[test]
    fn readers_of_json_take_numbers_as_they_are_for_two_centuries() {
        let in_2255 = WallTime(9_000_000_000_000);
        assert!(first(in_2255, None) < 1 << 53);
        // And after a hundred thousand starts with a clock that stands still.
        let last = (0..100_000).fold(first(NOW, None), |last, _| first(NOW, Some(last)));
        assert!(last < 1 << 53);
    }
}
