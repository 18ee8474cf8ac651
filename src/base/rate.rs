//! Keep a pace that all shards keep together, exactly, without a message between them.
//!
//! An atomic GCRA cell (ITU-T I.371: the time at which the next message would arrive on schedule),
//! and a mask with a bit a shard: who waits to send. Each in a cache line of its own.
//!
//! Invariant: in any span of time T at most `burst + T / interval` messages are granted. Shards
//! that wait send in turn, so none starves.

use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_utils::CachePadded;

use crate::base::ids::ShardId;
use crate::base::limits::SHARDS_MAX;
use crate::base::time::Monotonic;

// A mask has a bit for each shard.
const _: () = assert!(SHARDS_MAX <= u64::BITS as usize);

/// So many messages in so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At least 1.
    pub messages: u32,
    /// The span of time.
    pub per: Duration,
}

impl Rate {
    /// From one message to the next, on schedule.
    pub(crate) fn interval_ns(self) -> u64 {
        nanos(self.per) / u64::from(self.messages.max(1))
    }

    /// How far ahead of schedule a message may be: what comes in `BURST`, so that the pace survives
    /// a timer's tick; nothing at rates below that.
    pub(crate) fn tolerance_ns(self) -> u64 {
        let interval = self.interval_ns().max(1);
        BURST_NS / interval * interval
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { messages, per } = self;
        match per.as_secs() {
            1 => write!(f, "{messages}/s"),
            60 => write!(f, "{messages}/m"),
            3_600 => write!(f, "{messages}/h"),
            seconds => write!(f, "{messages} in {seconds} s"),
        }
    }
}

const BURST_NS: u64 = 50_000_000;
/// More than shards' readings of the clock, once a turn each, can differ.
const SLOWER_NS: u64 = 1_000_000_000;

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A pace that all shards keep together.
///
/// Who was refused is to be asked next: where others wait, the one after the last that sent goes
/// first, so that of shards that look at the same moments none is always too late. It has
/// [`TURN_NS`] from when a message may go, and then anyone may: a shard that waits no more need
/// not say so.
#[derive(Debug, Default)]
pub(crate) struct Cell {
    /// The theoretical arrival time of the next message, in nanoseconds of the process's clock.
    arrival: CachePadded<AtomicU64>,
    /// Shards that were refused since they sent.
    waiters: CachePadded<AtomicU64>,
    /// The one that sent last, where others waited.
    last: AtomicU32,
}

/// How long a shard's turn to send lasts.
const TURN_NS: u64 = 20_000_000;

impl Cell {
    /// Ask to send a message of `shard` now; refused, it may be asked again at the time given.
    pub(crate) fn try_message(
        &self,
        shard: ShardId,
        rate: Rate,
        now: Monotonic,
    ) -> Result<(), Monotonic> {
        let turn = self.turn(shard, rate, now);
        let taken = match turn {
            Some((_, until)) if until > now => Err(until),
            _ => self.take(rate, now),
        };
        if taken.is_err() {
            note(&self.waiters, shard);
        } else if let Some((first, _)) = turn {
            // Whose turn it was did not come, and waits no more unless it asks again.
            self.waiters.fetch_and(!(bit(shard) | bit(first)), Ordering::Relaxed);
            self.last.store(u32::from(shard.0), Ordering::Relaxed);
        }
        taken
    }

    fn take(&self, rate: Rate, now: Monotonic) -> Result<(), Monotonic> {
        let next = |arrival: u64| {
            let arrival = in_force(arrival, rate, now);
            let early = arrival.saturating_sub(now.0);
            let next = || arrival.max(now.0).saturating_add(rate.interval_ns());
            (early <= rate.tolerance_ns()).then(next)
        };
        match self.arrival.fetch_update(Ordering::AcqRel, Ordering::Relaxed, next) {
            Ok(_) => Ok(()),
            Err(arrival) => Err(Monotonic(arrival.saturating_sub(rate.tolerance_ns()))),
        }
    }

    /// A message that was taken was not sent: another may go in its place.
    pub(crate) fn give_back(&self, rate: Rate) {
        let before = |arrival: u64| Some(arrival.saturating_sub(rate.interval_ns()));
        // It is always changed: the closure refuses nothing.
        let _ = self.arrival.fetch_update(Ordering::AcqRel, Ordering::Relaxed, before);
    }

    /// Whether nothing is ahead of schedule: as if no message had ever been sent.
    pub(crate) fn is_idle(&self, now: Monotonic) -> bool {
        self.arrival.load(Ordering::Relaxed) <= now.0
    }

    /// Whether a message of some shard could be sent now.
    pub(crate) fn would_send(&self, rate: Rate, now: Monotonic) -> bool {
        self.free_at(rate, now) <= now
    }

    /// Since when a message may go, or from when on.
    fn free_at(&self, rate: Rate, now: Monotonic) -> Monotonic {
        let arrival = in_force(self.arrival.load(Ordering::Relaxed), rate, now);
        Monotonic(arrival.saturating_sub(rate.tolerance_ns()))
    }

    /// Where others wait: whose turn it is, and until when; `shard`'s own is over at once.
    fn turn(&self, shard: ShardId, rate: Rate, now: Monotonic) -> Option<(ShardId, Monotonic)> {
        let waiters = self.waiters.load(Ordering::Relaxed);
        if waiters & !bit(shard) == 0 {
            return None;
        }
        let after = self.last.load(Ordering::Relaxed) + 1;
        let first = (waiters | bit(shard)).rotate_right(after).trailing_zeros();
        let first = ShardId(u8::try_from((after + first) % u64::BITS).expect("below 64"));
        let until = self.free_at(rate, now).0.saturating_add(TURN_NS);
        Some((first, Monotonic(if first == shard { 0 } else { until })))
    }
}

/// So far ahead only a slower rate can have led, which is no longer in force.
fn in_force(arrival: u64, rate: Rate, now: Monotonic) -> u64 {
    let furthest = rate.tolerance_ns().saturating_add(rate.interval_ns()).saturating_add(SLOWER_NS);
    if arrival.saturating_sub(now.0) > furthest { now.0 } else { arrival }
}

/// The bit of a shard in a mask.
pub(crate) fn bit(shard: ShardId) -> u64 {
    1 << shard.0
}

/// Set the bit of `shard`, written only where it is not set yet.
pub(crate) fn note(mask: &AtomicU64, shard: ShardId) {
    if mask.load(Ordering::Relaxed) & bit(shard) == 0 {
        mask.fetch_or(bit(shard), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
