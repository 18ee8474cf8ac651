//! When faults strike: an upstream that dies half way and comes back, a relay that crashes.
//!
//! In: the clock and counts. Out: orders. Pure, so that the timing can be tested without waiting.

use std::time::{Duration, Instant};

/// How long the revived upstream is waited for, while mail trickles.
const RECOVERY: Duration = Duration::from_secs(60);
/// How long after its first message all its domains may take to come back.
const SETTLE: Duration = Duration::from_secs(2);

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Nothing,
    /// Kill the upstream.
    Kill,
    /// Start it again.
    Revive,
    /// Let the source begin so many messages.
    Release(u64),
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Before,
    Down { since: Instant },
    Trickle { since: Instant, recorded: u64, seen: Option<Instant> },
    After { from: u64 },
}

/// The life of an upstream that is killed when half of the messages are accepted, is down until
/// three quarters are, and gets a trickle until it takes mail again. The last fifth shows who is
/// back.
#[derive(Debug)]
pub(crate) struct Outage {
    total: u64,
    down_for: Duration,
    step: Step,
}

impl Outage {
    pub(crate) fn new(total: u64, down_for: Duration) -> Self {
        Self { total, down_for, step: Step::Before }
    }

    /// Messages that may be begun at first.
    pub(crate) fn released_at_first(&self) -> u64 {
        self.total * 3 / 4
    }

    /// The first message that shows who is back; nothing while it is not over.
    pub(crate) fn after_from(&self) -> Option<u64> {
        match self.step {
            Step::After { from } => Some(from),
            Step::Before | Step::Down { .. } | Step::Trickle { .. } => None,
        }
    }

    /// What to do, where `recorded` counts the messages that the upstream has taken.
    pub(crate) fn step(&mut self, now: Instant, accepted: u64, recorded: u64) -> Order {
        match self.step {
            Step::Before if accepted >= self.total / 2 => {
                self.step = Step::Down { since: now };
                Order::Kill
            }
            Step::Down { since }
                if accepted >= self.released_at_first() && now - since >= self.down_for =>
            {
                self.step = Step::Trickle { since: now, recorded, seen: None };
                Order::Revive
            }
            Step::Trickle { since, recorded: before, seen } => {
                let seen = seen.or_else(|| (recorded > before).then_some(now));
                self.step = Step::Trickle { since, recorded: before, seen };
                self.trickle(now, since, seen)
            }
            Step::Before | Step::Down { .. } | Step::After { .. } => Order::Nothing,
        }
    }

    fn trickle(&mut self, now: Instant, since: Instant, seen: Option<Instant>) -> Order {
        let share = (now - since).as_secs_f64() / RECOVERY.as_secs_f64();
        // At most a twentieth of all messages, evenly over the time of recovery.
        let twentieth = Duration::from_secs(self.total / 20).mul_f64(share.min(1.0)).as_secs();
        let released = self.released_at_first() + twentieth;
        if share >= 1.0 || seen.is_some_and(|seen| now - seen >= SETTLE) {
            self.step = Step::After { from: released };
            return Order::Release(self.total);
        }
        Order::Release(released)
    }
}

/// Crashes of the relay, spread evenly over a run.
#[derive(Debug)]
pub(crate) struct Crashes {
    total: u64,
    cycles: u64,
    done: u64,
}

impl Crashes {
    pub(crate) fn new(total: u64, cycles: u64) -> Self {
        Self { total, cycles, done: 0 }
    }

    /// Whether the relay crashes now; each crash is told once.
    pub(crate) fn is_due(&mut self, accepted: u64) -> bool {
        let at = self.total * (self.done + 1) / (self.cycles + 1);
        let due = self.done < self.cycles && accepted >= at;
        self.done += u64::from(due);
        due
    }

    /// How many there were.
    pub(crate) fn done(&self) -> u64 {
        self.done
    }
}

/// Another number of cores than `cores`, a different one from crash to crash.
pub(crate) fn other_cores(cores: u32, crash: u64) -> u32 {
    const TRIED: [u32; 4] = [1, 3, 2, 4];
    let place = usize::try_from(crash % 4).expect("below four");
    if TRIED[place] == cores { TRIED[(place + 1) % 4] } else { TRIED[place] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_dies_half_way_and_comes_back_with_a_trickle() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut outage = Outage::new(1_000, Duration::from_secs(10));
        assert_eq!(outage.released_at_first(), 750);
        assert_eq!(outage.step(at(0), 499, 200), Order::Nothing);
        assert_eq!(outage.step(at(1), 500, 250), Order::Kill);
        assert_eq!(outage.step(at(5), 750, 250), Order::Nothing, "not down long enough");
        assert_eq!(outage.step(at(12), 700, 250), Order::Nothing, "not enough accepted");
        assert_eq!(outage.step(at(13), 750, 250), Order::Revive);
        assert_eq!(outage.step(at(13), 750, 250), Order::Release(750));
        assert_eq!(outage.step(at(43), 750, 250), Order::Release(775));
        assert_eq!(outage.step(at(44), 775, 251), Order::Release(775));
        assert_eq!(outage.after_from(), None);
        assert_eq!(outage.step(at(46), 776, 252), Order::Release(1_000));
        assert_eq!(outage.after_from(), Some(777));
        assert_eq!(outage.step(at(47), 1_000, 300), Order::Nothing);
    }

    #[test]
    fn an_upstream_that_gets_nothing_is_not_waited_for_for_ever() {
        let begin = Instant::now();
        let mut outage = Outage::new(1_000, Duration::ZERO);
        outage.step(begin, 500, 0);
        outage.step(begin, 750, 0);
        assert_eq!(outage.step(begin + RECOVERY, 750, 0), Order::Release(1_000));
        assert_eq!(outage.after_from(), Some(800));
    }

    #[test]
    fn crashes_are_spread_evenly() {
        let mut crashes = Crashes::new(900, 2);
        assert!(!crashes.is_due(299));
        assert!(crashes.is_due(300));
        assert!(!crashes.is_due(599));
        assert!(crashes.is_due(600));
        assert!(!crashes.is_due(900));
        assert_eq!(crashes.done(), 2);
    }

    #[test]
    fn the_number_of_cores_changes_with_each_crash() {
        let mut cores = 2;
        for crash in 0..20 {
            let next = other_cores(cores, crash);
            assert_ne!(next, cores);
            cores = next;
        }
    }
}
