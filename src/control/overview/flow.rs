//! What flows through a node: counts, and rates between them.
//!
//! In: counts of all shards, at times. Out: rates over about `OVERVIEW_RATES_OVER`. Pure.

use std::collections::VecDeque;
use std::iter::Sum;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::limits::{OVERVIEW_RATES_OVER, OVERVIEW_SAMPLES_MAX};
use crate::base::time::Monotonic;
use crate::outcome::counters::{Count, Counters};

/// What flows: recipients, where nothing else is said; in all, or a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow<T> {
    /// Messages that were stored and answered with 250.
    pub messages: T,
    /// Their recipients.
    pub received: T,
    /// Taken by next hops.
    pub delivered: T,
    /// Attempts that are to be made again.
    pub deferred: T,
    /// Given up for what a peer or DNS said.
    pub bounced: T,
    /// Given up for their age.
    pub expired: T,
    /// Octets of content that came in.
    pub received_bytes: T,
    /// Octets of content that went out.
    pub sent_bytes: T,
}

/// In the order of the fields.
const COUNTED: [Count; 8] = [
    Count::MessagesReceived,
    Count::RecipientsReceived,
    Count::Delivered,
    Count::Deferred,
    Count::Bounced,
    Count::Expired,
    Count::BytesReceived,
    Count::BytesSent,
];

impl<T: Copy> Flow<T> {
    fn from_values(values: [T; COUNTED.len()]) -> Self {
        let [messages, received, delivered, deferred, bounced, expired, in_bytes, out_bytes] =
            values;
        Self {
            messages,
            received,
            delivered,
            deferred,
            bounced,
            expired,
            received_bytes: in_bytes,
            sent_bytes: out_bytes,
        }
    }

    fn values(&self) -> [T; COUNTED.len()] {
        [
            self.messages,
            self.received,
            self.delivered,
            self.deferred,
            self.bounced,
            self.expired,
            self.received_bytes,
            self.sent_bytes,
        ]
    }

    /// Both, value by value.
    fn with<U: Copy, V: Copy>(&self, other: &Flow<U>, join: impl Fn(T, U) -> V) -> Flow<V> {
        let (mine, theirs) = (self.values(), other.values());
        Flow::from_values(std::array::from_fn(|place| join(mine[place], theirs[place])))
    }
}

impl Flow<u64> {
    /// What a shard counted.
    pub fn of(counters: &Counters) -> Self {
        Self::from_values(COUNTED.map(|count| counters.count(count)))
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    fn rate(&self, before: &Self, over: Duration) -> Flow<f64> {
        self.with(before, |now, then| now.wrapping_sub(then) as f64 / over.as_secs_f64())
    }
}

impl Sum for Flow<u64> {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| sum.with(&one, u64::wrapping_add))
    }
}

impl Sum for Flow<f64> {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| sum.with(&one, |a, b| a + b))
    }
}

/// Counts of a while ago, the oldest first.
#[derive(Debug, Default)]
pub(super) struct History(VecDeque<(Monotonic, Vec<Flow<u64>>)>);

impl History {
    /// What flows at each shard, and over what time; these counts are kept for later rates. Without
    /// counts of the last while the rates are zero, over no time.
    pub(super) fn rates(
        &mut self,
        now: Monotonic,
        flows: &[Flow<u64>],
    ) -> (Duration, Vec<Flow<f64>>) {
        // What was kept when nobody had asked for long tells of that time, not of now.
        let is_recent = |at: Monotonic| now.since(at) <= OVERVIEW_RATES_OVER;
        while self.0.front().is_some_and(|(at, _)| !is_recent(*at)) {
            self.0.pop_front();
        }
        let before = self.0.front().filter(|(at, then)| *at < now && then.len() == flows.len());
        let rates = match before {
            None => (Duration::ZERO, vec![Flow::default(); flows.len()]),
            Some((at, then)) => {
                let over = now.since(*at);
                let rates = flows.iter().zip(then).map(|(now, then)| now.rate(then, over));
                (over, rates.collect())
            }
        };
        if self.0.len() >= OVERVIEW_SAMPLES_MAX {
            self.0.pop_front();
        }
        self.0.push_back((now, flows.to_vec()));
        rates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic(0) + Duration::from_secs(seconds)
    }

    fn delivered(count: u64) -> Flow<u64> {
        Flow { delivered: count, ..Flow::default() }
    }

    #[test]
    fn each_field_is_its_count() {
        let mut counters = Counters::default();
        for (n, count) in (1..).zip(COUNTED) {
            counters.add(count, n);
        }
        let flow = Flow::of(&counters);
        assert_eq!(flow.values(), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(
            (flow.messages, flow.delivered, flow.bounced, flow.expired, flow.sent_bytes),
            (1, 3, 5, 6, 8)
        );
        assert_eq!([flow, flow].into_iter().sum::<Flow<u64>>().values()[7], 16);
    }

    #[test]
    fn rates_are_over_the_last_while_and_by_shard() {
        let mut history = History::default();
        let (over, rates) = history.rates(at(1), &[delivered(7), delivered(0)]);
        assert_eq!((over, rates[0].delivered), (Duration::ZERO, 0.0), "there is nothing before");
        let (over, rates) = history.rates(at(3), &[delivered(17), delivered(3)]);
        assert_eq!((over.as_secs(), rates[0].delivered, rates[1].delivered), (2, 5.0, 1.5));
        let sum: Flow<f64> = rates.into_iter().sum();
        assert_eq!((sum.delivered, sum.bounced), (6.5, 0.0));
        let (over, rates) = history.rates(at(12), &[delivered(17), delivered(3)]);
        assert_eq!(
            (over.as_secs(), rates[0].delivered),
            (9, 0.0),
            "over nine seconds from the third"
        );
    }

    #[test]
    fn what_nobody_asked_about_for_long_is_no_rate_of_now() {
        let mut history = History::default();
        history.rates(at(0), &[delivered(0)]);
        let (over, rates) = history.rates(at(3_600), &[delivered(36_000)]);
        assert_eq!((over, rates[0].delivered), (Duration::ZERO, 0.0));
        let (over, rates) = history.rates(at(3_601), &[delivered(36_002)]);
        assert_eq!((over.as_secs(), rates[0].delivered), (1, 2.0));
    }

    #[test]
    fn what_is_kept_has_a_bound() {
        let mut history = History::default();
        for _ in 0..100 {
            history.rates(at(1), &[delivered(1)]);
        }
        assert_eq!(history.0.len(), OVERVIEW_SAMPLES_MAX);
    }
}
