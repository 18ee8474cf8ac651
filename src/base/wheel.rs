//! Remember what is due when, for millions of timers, at constant cost.
//!
//! A hierarchical timing wheel (Varghese & Lauck 1987): six levels of 64 places, ticks of 2^24 ns
//! (16.8 ms), so 36 years ahead. A timer is never cancelled: when it fires, its owner looks whether
//! it still means something. That makes re-arming a session's deadline free: leave the old timer,
//! and when it fires too early, insert again.
//!
//! Invariant: nothing fires before its time; it fires at the first `expire` after its tick ends.

use crate::base::time::Monotonic;

const TICK_BITS: u32 = 24;
const LEVEL_BITS: u32 = 6;
const PLACES: usize = 1 << LEVEL_BITS;
const LEVELS: usize = 6;

/// Timers that carry a `K` each. `K` is small and `Copy`: a slot, an index.
#[derive(Debug)]
pub struct Wheel<K> {
    /// The tick up to which everything has fired.
    tick: u64,
    /// `LEVELS` of them; on the heap, as are their places: a wheel is moved around when made.
    levels: Vec<Level<K>>,
    len: usize,
}

#[derive(Debug)]
struct Level<K> {
    /// Bit n: place n holds something.
    used: u64,
    places: Vec<Vec<(u64, K)>>,
}

impl<K: Copy> Wheel<K> {
    /// An empty wheel that starts at `now`.
    pub fn new(now: Monotonic) -> Self {
        let level = || Level { used: 0, places: (0..PLACES).map(|_| Vec::new()).collect() };
        let levels = (0..LEVELS).map(|_| level()).collect();
        Self { tick: now.0 >> TICK_BITS, levels, len: 0 }
    }

    /// Timers that have not fired.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no timer waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Fire `key` once `at` has come; at the next `expire` if it is past.
    pub fn insert(&mut self, at: Monotonic, key: K) {
        self.len += 1;
        self.place(due_tick(at), key);
    }

    /// Append to `fired` every key whose time has come, in order of tick.
    pub fn expire(&mut self, now: Monotonic, fired: &mut Vec<K>) {
        let end = now.0 >> TICK_BITS;
        while let Some(next) = self.next_tick().filter(|next| *next <= end) {
            self.advance_to(next, fired);
        }
        self.tick = self.tick.max(end);
    }

    /// When to call `expire` next: never later than the earliest timer, perhaps earlier.
    pub fn next(&self) -> Option<Monotonic> {
        self.next_tick().map(|tick| Monotonic(tick << TICK_BITS))
    }

    fn place(&mut self, due: u64, key: K) {
        let due = due.max(self.tick + 1);
        let differs = (due ^ self.tick).max(1).ilog2() / LEVEL_BITS;
        let level = (differs as usize).min(LEVELS - 1);
        let place = place_at(due, level);
        self.levels[level].used |= 1 << place;
        self.levels[level].places[place].push((due, key));
    }

    /// The first tick at which some place must be emptied: a due tick, or a higher place's start.
    fn next_tick(&self) -> Option<u64> {
        let starts = self.levels.iter().enumerate().filter_map(|(number, level)| {
            let shift = shift(number);
            let here = place_at(self.tick, number);
            let ahead = level.used.rotate_right(u32::try_from(here).expect("below PLACES"));
            if ahead == 0 {
                return None;
            }
            // Bit 0 is the place that the wheel stands on: on a level above, a whole turn away.
            let steps = match ahead & !1 {
                0 => PLACES as u64,
                rest => u64::from(rest.trailing_zeros()),
            };
            Some(((self.tick >> shift) + steps) << shift)
        });
        starts.min()
    }

    fn advance_to(&mut self, tick: u64, fired: &mut Vec<K>) {
        self.tick = tick;
        for level in (0..LEVELS).rev() {
            let shift = shift(level);
            if tick & ((1 << shift) - 1) != 0 {
                continue;
            }
            let place = place_at(tick, level);
            if self.levels[level].used & 1 << place == 0 {
                continue;
            }
            self.levels[level].used &= !(1 << place);
            let mut waiting = std::mem::take(&mut self.levels[level].places[place]);
            for (due, key) in waiting.drain(..) {
                if due <= tick {
                    self.len -= 1;
                    fired.push(key);
                } else {
                    self.place(due, key);
                }
            }
            // Keep the room: the same place will be filled again.
            if self.levels[level].places[place].is_empty() {
                self.levels[level].places[place] = waiting;
            }
        }
    }
}

/// Ticks of one place of `level`, as a power of two.
fn shift(level: usize) -> u32 {
    u32::try_from(level).expect("below LEVELS") * LEVEL_BITS
}

/// Where `tick` belongs on `level`.
fn place_at(tick: u64, level: usize) -> usize {
    usize::try_from((tick >> shift(level)) % PLACES as u64).expect("below PLACES")
}

/// The first tick that starts at or after `at`.
fn due_tick(at: Monotonic) -> u64 {
    at.0.div_ceil(1 << TICK_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;
    use std::time::Duration;

    const TICK: Duration = Duration::from_nanos(1 << TICK_BITS);

    #[test]
    fn nothing_fires_early_and_nothing_is_forgotten() {
        for seed in 0..50 {
            let mut prng = Prng::from_number(seed);
            let mut now = Monotonic(prng.below(1 << 40));
            let mut wheel = Wheel::new(now);
            let mut waiting = std::collections::BTreeMap::new();
            for key in 0..500u64 {
                let spread = 1 << prng.below(45);
                let at = now + Duration::from_nanos(prng.below(spread));
                wheel.insert(at, key);
                waiting.insert(key, at);
                if prng.below(4) == 0 {
                    let step = 1 << prng.below(42);
                    now = now + Duration::from_nanos(prng.below(step));
                    check(&mut wheel, &mut waiting, now, seed);
                }
            }
            while let Some(next) = wheel.next() {
                now = now.max(next);
                check(&mut wheel, &mut waiting, now, seed);
            }
            assert!(waiting.is_empty() && wheel.is_empty(), "seed {seed}: {waiting:?}");
        }
    }

    fn check(
        wheel: &mut Wheel<u64>,
        waiting: &mut std::collections::BTreeMap<u64, Monotonic>,
        now: Monotonic,
        seed: u64,
    ) {
        let mut fired = Vec::new();
        wheel.expire(now, &mut fired);
        for key in fired {
            let at = waiting.remove(&key).expect("each fires once");
            assert!(at <= now, "seed {seed}: {key} fired early");
        }
        let late = waiting.values().find(|at| **at + TICK + TICK < now);
        assert_eq!(late, None, "seed {seed}: late at {now:?}");
        assert_eq!(wheel.len(), waiting.len());
    }

    #[test]
    fn next_is_never_later_than_the_earliest_timer_by_more_than_a_tick() {
        let mut wheel = Wheel::new(Monotonic(0));
        assert_eq!(wheel.next(), None);
        wheel.insert(Monotonic(0) + Duration::from_secs(3600), 1u8);
        wheel.insert(Monotonic(0) + Duration::from_secs(2), 2u8);
        assert!(wheel.next().is_some_and(|at| at <= Monotonic(0) + Duration::from_secs(2) + TICK));
    }
}
