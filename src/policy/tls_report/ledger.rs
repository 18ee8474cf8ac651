//! Keep what was counted until its day is over, and what is due until it has gone out.
//!
//! A machine without clock or disk: it is written down as it is, and read again at a start.

use std::cmp::Reverse;
use std::time::Duration;

use mail_auth::report::tlsrpt::Policy;
use serde::{Deserialize, Serialize};

use crate::base::limits::{TLS_REPORT_LIFETIME, TLS_REPORT_RETRY, TLS_REPORTS_DUE_MAX};
use crate::base::time::WallTime;
use crate::policy::tls_report::record::Target;
use crate::policy::tls_report::tally::Tally;

/// Everything that is known of reports that have not gone out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// When the running period began.
    since: WallTime,
    /// What was counted in it.
    tally: Tally,
    /// What is due last stands first.
    due: Vec<Due>,
}

/// A domain's report that is to go out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Due {
    /// Whose sessions it is about.
    pub domain: String,
    /// From then on,
    pub begin: WallTime,
    /// to then.
    pub end: WallTime,
    /// What was counted.
    pub policies: Vec<Policy>,
    /// Who is still to have it; `None` until its domain was asked whom it wants to have it.
    pub targets: Option<Vec<Target>>,
    /// Not before.
    at: WallTime,
    /// Not after.
    until: WallTime,
    /// How often it could not be handed over.
    tried: u32,
}

const DAY_MS: i64 = 86_400_000;

impl Ledger {
    /// Nothing was counted before `now`.
    pub fn new(now: WallTime) -> Self {
        Self { since: now, ..Self::default() }
    }

    /// What was counted in the running period.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// When that began.
    pub fn since(&self) -> WallTime {
        self.since
    }

    /// Reports that wait to go out.
    pub fn waiting(&self) -> usize {
        self.due.len()
    }

    //= RFC 8460 §4.1
    //# The report SHOULD cover a full day, from 0000-2400 UTC.
    /// When the running period ends: the midnight after it began.
    pub fn ends(&self) -> WallTime {
        WallTime((self.since.0.div_euclid(DAY_MS) + 1) * DAY_MS)
    }

    /// When something is to be done next.
    pub fn next(&self) -> WallTime {
        self.due.last().map_or(self.ends(), |due| due.at.min(self.ends()))
    }

    /// Take in what was counted since this was last called; once the period is over, what is in it
    /// falls due, each report `delay` later.
    pub fn take_in(&mut self, tally: &Tally, now: WallTime, delay: impl FnMut() -> Duration) {
        if now < self.since {
            // The clock was set back: the period began no later than now.
            self.since = now;
        }
        self.tally.merge(tally);
        let end = self.ends();
        if now >= end {
            self.close(end, now, delay);
            // What comes next is counted from this midnight on, unless nothing ran for days.
            self.since = WallTime(now.0.div_euclid(DAY_MS) * DAY_MS);
        }
    }

    /// End the running period now; all that waits falls due at once.
    pub fn hurry(&mut self, now: WallTime) {
        self.close(now, now, || Duration::ZERO);
        self.since = now;
        self.due.iter_mut().for_each(|due| due.at = due.at.min(now));
    }

    fn close(&mut self, end: WallTime, now: WallTime, mut delay: impl FnMut() -> Duration) {
        let tally = std::mem::take(&mut self.tally);
        let (begin, until) = (self.since, now + TLS_REPORT_LIFETIME);
        let new = tally.into_domains().map(|(domain, policies)| {
            let at = now + delay();
            Due { domain, begin, end, policies, targets: None, at, until, tried: 0 }
        });
        self.due.extend(new);
        self.due.sort_by_key(|due| Reverse(due.at));
        // The first to be due have waited longest.
        self.due.truncate(TLS_REPORTS_DUE_MAX);
    }

    /// A report that is due; it is in the caller's hands then.
    pub fn pop(&mut self, now: WallTime) -> Option<Due> {
        self.due.pop_if(|due| due.at <= now)
    }

    //= RFC 8460 §5.5
    //# a sender SHOULD attempt redelivery for up to 24hrs after the initial attempt. … If multiple
    //# retries are attempted, ideally they SHOULD be done with exponential backoff.
    /// It could not be handed over: it is tried again, unless it is too old. Whether it is.
    pub fn put_back(&mut self, due: Due, now: WallTime) -> bool {
        let at = now + TLS_REPORT_RETRY * 2_u32.saturating_pow(due.tried);
        let is_kept = at <= due.until;
        if is_kept {
            let place = self.due.partition_point(|other| other.at > at);
            self.due.insert(place, Due { at, tried: due.tried + 1, ..due });
        }
        is_kept
    }
}

#[cfg(test)]
mod tests {
    use mail_auth::report::tlsrpt::{PolicyDetails, PolicyType};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn noon() -> WallTime {
        WallTime(20_000 * DAY_MS + DAY_MS / 2)
    }

    fn tally(domains: &[&str]) -> Tally {
        let mut tally = Tally::default();
        for domain in domains {
            tally.count(domain, &PolicyDetails::new(PolicyType::NoPolicyFound, *domain), None);
        }
        tally
    }

    fn domains(ledger: &mut Ledger, now: WallTime) -> Vec<String> {
        std::iter::from_fn(|| ledger.pop(now)).map(|due| due.domain).collect()
    }

    #[test]
    fn a_day_is_reported_after_midnight_each_domain_at_a_time_of_its_own() {
        let mut ledger = Ledger::new(noon());
        let midnight = noon() + 12 * HOUR;
        assert_eq!((ledger.ends(), ledger.next()), (midnight, midnight));
        let mut delays = [2, 1].into_iter().map(|hours| hours * HOUR);
        ledger.take_in(&tally(&["a.example", "b.example"]), noon() + HOUR, || unreachable!());
        assert!(ledger.pop(noon() + HOUR).is_none());
        ledger.take_in(&tally(&["b.example"]), midnight, || delays.next().unwrap());
        assert_eq!((ledger.waiting(), ledger.since()), (2, midnight));
        assert!(ledger.tally().is_empty());
        assert!(ledger.pop(midnight).is_none());
        assert_eq!(ledger.next(), midnight + HOUR);
        let first = ledger.pop(midnight + HOUR).unwrap();
        assert_eq!((&*first.domain, first.begin, first.end), ("b.example", noon(), midnight));
        assert_eq!(first.policies[0].summary.total_success, 2);
        assert_eq!(domains(&mut ledger, midnight + 2 * HOUR), ["a.example"]);
        assert_eq!(ledger.next(), midnight + 24 * HOUR);
    }

    #[test]
    fn what_cannot_be_handed_over_is_tried_for_a_day() {
        let mut ledger = Ledger::new(noon());
        ledger.take_in(&tally(&["a.example", "b.example"]), noon(), || Duration::ZERO);
        ledger.hurry(noon());
        let mut now = noon();
        let mut tried = 0;
        let mut due = ledger.pop(now).unwrap();
        while ledger.put_back(due, now) {
            tried += 1;
            let other = ledger.pop(now);
            assert_eq!(other.is_some(), tried == 1, "the other one, which nobody puts back");
            let pause = TLS_REPORT_RETRY * (1 << (tried - 1));
            assert!(ledger.pop(now + pause - Duration::from_millis(1)).is_none());
            now = now + pause;
            due = ledger.pop(now).unwrap();
        }
        assert!((6..10).contains(&tried), "{tried}");
        assert_eq!(ledger.waiting(), 0);
    }

    #[test]
    fn an_operator_in_a_hurry_splits_the_day() {
        let mut ledger = Ledger::new(noon());
        ledger.take_in(&tally(&["a.example"]), noon() + HOUR, || unreachable!());
        ledger.hurry(noon() + HOUR);
        ledger.take_in(&tally(&["a.example"]), noon() + 2 * HOUR, || unreachable!());
        let early = ledger.pop(noon() + 2 * HOUR).unwrap();
        assert_eq!((early.begin, early.end), (noon(), noon() + HOUR));
        let midnight = noon() + 12 * HOUR;
        ledger.take_in(&Tally::default(), midnight, || HOUR);
        ledger.hurry(midnight);
        let rest = ledger.pop(midnight).unwrap();
        assert_eq!((rest.begin, rest.end), (noon() + HOUR, midnight));
        assert_eq!(ledger.waiting(), 0);
    }

    #[test]
    fn whatever_the_clock_does_nothing_is_lost_or_reported_of_days_to_come() {
        let mut ledger = Ledger::new(noon());
        ledger.take_in(&tally(&["a.example"]), noon() - 30 * HOUR, || unreachable!());
        assert_eq!(ledger.since(), noon() - 30 * HOUR);
        // Nothing ran for days.
        let later = noon() + 72 * HOUR;
        ledger.take_in(&tally(&["b.example"]), later, || Duration::ZERO);
        assert_eq!(ledger.since(), later - 12 * HOUR);
        assert_eq!(domains(&mut ledger, later).len(), 2);
        let written = serde_json::to_string(&ledger).unwrap();
        assert_eq!(serde_json::from_str::<Ledger>(&written).unwrap(), ledger);
    }
}
