//! Read the clocks: nobody else does.
//!
//! `Monotonic` is CLOCK_MONOTONIC itself.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::base::time::{Monotonic, Now, WallTime};

/// Both clocks, now.
pub fn now() -> Now {
    Now { mono: monotonic(), wall: wall() }
}

fn monotonic() -> Monotonic {
    Monotonic(nanos(ClockId::Monotonic))
}

/// CPU that this process has used, all its threads.
pub(super) fn process_cpu() -> Duration {
    Duration::from_nanos(nanos(ClockId::ProcessCPUTime))
}

/// CPU that this thread has used.
pub(super) fn thread_cpu() -> Duration {
    Duration::from_nanos(nanos(ClockId::ThreadCPUTime))
}

fn nanos(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).expect("no such clock is negative");
    let nanos = u64::try_from(time.tv_nsec).expect("0 to 10^9");
    seconds * 1_000_000_000 + nanos
}

/// A clock set before 1970 reads as 1970: nothing here depends on its being right.
fn wall() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime(i64::try_from(since.as_millis()).expect("before the year 292278994"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_read_as_the_systems_own() {
        let (first, second) = (now(), now());
        assert!(first.mono <= second.mono && first.mono > Monotonic(0));
        assert!(first.wall > WallTime(1_600_000_000_000), "the wall clock is set");
    }
}
