//! The figures of one destination domain, or of one upstream.

use crate::outcome::event::{Event, Kind};
use crate::outcome::report::times::Times;

/// What came of the recipients counted here.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    delivered: u64,
    deferred: u64,
    /// Bounced in an attempt.
    bounced: u64,
    /// Given up without one: expired, or removed.
    given_up: u64,
    /// From the transaction in to delivery.
    times: Times,
}

impl Row {
    pub(super) fn add(&mut self, event: &Event<'_>) {
        match event.kind {
            Kind::Delivered => {
                self.delivered += 1;
                if let Some(delays) = &event.delays {
                    self.times.record(delays.total());
                }
            }
            Kind::Deferred => self.deferred += 1,
            Kind::Bounced => self.bounced += 1,
            Kind::Expired | Kind::Removed => self.given_up += 1,
            Kind::Received | Kind::Held | Kind::Released => {}
            Kind::Quarantined | Kind::Refused | Kind::Discarded | Kind::Verified => {}
            Kind::BouncedLater | Kind::Complained | Kind::Returned => {}
            Kind::Opened | Kind::Clicked | Kind::Unsubscribed => {}
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.delivered += other.delivered;
        self.deferred += other.deferred;
        self.bounced += other.bounced;
        self.given_up += other.given_up;
        self.times.merge(&other.times);
    }

    /// Attempts, and ends without one: how big the row is.
    pub(super) fn attempts(&self) -> u64 {
        self.delivered + self.deferred + self.bounced + self.given_up
    }

    /// Recipients that came to an end, three rates, median and p99.
    pub(super) fn cells(&self) -> [String; 6] {
        let lost = self.bounced + self.given_up;
        let ended = self.delivered + lost;
        let attempts = self.delivered + self.deferred + self.bounced;
        [
            ended.to_string(),
            percent(self.delivered, ended),
            percent(self.deferred, attempts),
            percent(lost, ended),
            self.times.at(0.5),
            self.times.at(0.99),
        ]
    }
}

fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".into();
    }
    format!("{:.1}%", part as f64 * 100.0 / whole as f64)
}
