//! Know which upstream relays of a group work, from how their deliveries go.
//!
//! ```text
//!  healthy ──unreachable, silent thrice, or refusing half──► ejected ──time──► to be probed
//!     ▲                                                        ▲  longer each time   │ one job
//!     └────────────────────────success────────────── probing ◄─┴────────failure──────┘
//! ```
//!
//! Where every member is ejected, mail goes to them all the same, and how that goes tells as a
//! probe does: nothing is kept from the only relay there is; its site's own suspension paces it.
//! Each shard judges for itself: what one sees of a relay, the others soon see too.

use crate::base::limits::PROBE_PATIENCE;
use crate::base::limits::REFUSED_SHARE_MAX;
use crate::base::limits::UPSTREAM_SILENT_MAX;
use crate::base::limits::{EJECTION_FIRST, EJECTION_MAX};
use crate::base::prng::Prng;
use crate::base::time::Monotonic;
use crate::egress::suspension::Suspension;

const ANSWERS_MIN: u32 = 20;
/// The weight of the newest answer in the share.
const NEWEST: f64 = 0.05;

/// How a delivery at an upstream relay went, as far as it tells of the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// It answered as a relay does: took the message, or refused it for good.
    Answered,
    /// It answered 421, or 4xx to what has nothing to do with the recipient.
    Refused,
    /// It did not answer in time, or the connection broke.
    Silent,
    /// No connection could be made to any of its addresses.
    Unreachable,
}

/// What a job is to a member that it is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// It is to be delivered; the member works.
    Delivery,
    /// It is to be delivered, and what comes of it tells whether an ejected member works again.
    Trial,
}

/// Whether a relay is to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Yes.
    Healthy,
    /// For one job, to find out.
    Probe,
    /// Not now.
    Ejected,
}

#[derive(Clone, Copy, Debug)]
struct Health {
    /// Ejections; `until` stays until the probe's answer.
    suspension: Suspension,
    ejected_until: Option<Monotonic>,
    probing_until: Option<Monotonic>,
    silent: u32,
    refused_share: f64,
    answers: u32,
}

impl Health {
    fn new() -> Self {
        Self {
            suspension: Suspension::new(EJECTION_FIRST, EJECTION_MAX),
            ejected_until: None,
            probing_until: None,
            silent: 0,
            refused_share: 0.0,
            answers: 0,
        }
    }

    fn count(&mut self, refused: bool) {
        self.silent = 0;
        self.answers = self.answers.saturating_add(1);
        let newest = if refused { 1.0 } else { 0.0 };
        self.refused_share += NEWEST * (newest - self.refused_share);
    }

    fn is_failing(&self) -> bool {
        let refuses = self.answers >= ANSWERS_MIN && self.refused_share > REFUSED_SHARE_MAX;
        self.silent >= UPSTREAM_SILENT_MAX || refuses
    }

    fn restore(&mut self) {
        self.suspension.prove();
        (self.ejected_until, self.probing_until) = (None, None);
        (self.silent, self.refused_share, self.answers) = (0, 0.0, 0);
    }

    fn eject(&mut self, now: Monotonic, prng: &mut Prng) {
        self.ejected_until = Some(self.suspension.suspend(now, prng));
        self.probing_until = None;
    }
}

/// The health of a group's members, by their places. One for each shard and group.
#[derive(Clone, Debug)]
pub struct GroupHealth {
    members: Vec<Health>,
}

impl GroupHealth {
    /// All of `members` members are healthy until they show otherwise.
    pub fn new(members: usize) -> Self {
        Self { members: vec![Health::new(); members] }
    }

    /// Whether `member` is to be used at `now`.
    pub fn standing(&self, member: usize, now: Monotonic) -> Standing {
        let health = &self.members[member];
        match (health.ejected_until, health.probing_until) {
            (None, _) => Standing::Healthy,
            (Some(until), _) if now < until => Standing::Ejected,
            (Some(_), Some(patience)) if now < patience => Standing::Ejected,
            (Some(_), _) => Standing::Probe,
        }
    }

    /// A job was sent to `member` as its probe.
    pub(super) fn on_probe(&mut self, member: usize, now: Monotonic) {
        self.members[member].probing_until = Some(now + PROBE_PATIENCE);
    }

    /// The probe of `member` came to nothing, for reasons that are not the member's: another may
    /// follow at once.
    pub fn on_probe_dropped(&mut self, member: u16) {
        self.members[usize::from(member)].probing_until = None;
    }

    /// How a delivery at `member` went, for a job sent there as `purpose`. Whether this changed its
    /// standing: then it was ejected, and its jobs are to be routed anew, or it is back.
    pub fn report(
        &mut self,
        member: u16,
        purpose: Purpose,
        signal: Signal,
        now: Monotonic,
        prng: &mut Prng,
    ) -> bool {
        let health = &mut self.members[usize::from(member)];
        if let Some(until) = health.ejected_until {
            return purpose == Purpose::Trial
                && Self::report_trial(health, until, signal, now, prng);
        }
        match signal {
            Signal::Answered => health.count(false),
            Signal::Refused => health.count(true),
            Signal::Silent => health.silent += 1,
            Signal::Unreachable => health.silent = UPSTREAM_SILENT_MAX,
        }
        let failing = health.is_failing();
        if failing {
            health.eject(now, prng);
        }
        failing
    }

    /// Only trials tell of an ejected member; what was under way before tells nothing new. Of many
    /// at a time that fail, one counts.
    fn report_trial(
        health: &mut Health,
        until: Monotonic,
        signal: Signal,
        now: Monotonic,
        prng: &mut Prng,
    ) -> bool {
        match signal {
            Signal::Answered => health.restore(),
            Signal::Refused | Signal::Silent | Signal::Unreachable if until <= now => {
                health.eject(now, prng);
            }
            Signal::Refused | Signal::Silent | Signal::Unreachable => {}
        }
        signal == Signal::Answered
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const DELIVERY: Purpose = Purpose::Delivery;

    fn health() -> (GroupHealth, Prng) {
        (GroupHealth::new(1), Prng::from_number(3))
    }

    fn standing(health: &GroupHealth, now: Monotonic) -> Standing {
        health.standing(0, now)
    }

    fn ejected_until(health: &GroupHealth) -> Monotonic {
        health.members[0].ejected_until.expect("it is ejected")
    }

    #[test]
    fn silence_ejects_only_when_it_is_unbroken() {
        let ((mut health, mut prng), now) = (health(), Monotonic(0));
        for signal in [Signal::Silent, Signal::Silent, Signal::Answered, Signal::Silent] {
            assert!(!health.report(0, DELIVERY, signal, now, &mut prng));
        }
        assert!(!health.report(0, DELIVERY, Signal::Silent, now, &mut prng));
        assert!(health.report(0, DELIVERY, Signal::Silent, now, &mut prng));
        assert_eq!(standing(&health, now), Standing::Ejected);
    }

    #[test]
    fn a_few_refusals_do_not_eject_and_many_do() {
        let ((mut health, mut prng), now) = (health(), Monotonic(0));
        for n in 0..1_000 {
            let signal = if n % 3 == 0 { Signal::Refused } else { Signal::Answered };
            assert!(!health.report(0, DELIVERY, signal, now, &mut prng), "at {n}");
        }
        let ejected =
            (0..100).position(|_| health.report(0, DELIVERY, Signal::Refused, now, &mut prng));
        assert!(ejected.is_some_and(|n| (3..20).contains(&n)), "{ejected:?}");
        assert_eq!(standing(&health, now), Standing::Ejected);
    }

    #[test]
    fn an_ejected_relay_is_probed_by_one_job_and_less_often_each_time() {
        let (mut health, mut prng) = health();
        let mut now = Monotonic(0);
        assert!(health.report(0, DELIVERY, Signal::Unreachable, now, &mut prng));
        let mut before = Duration::ZERO;
        for _ in 0..5 {
            let until = ejected_until(&health);
            let pause = until.since(now);
            assert!(pause > before, "{pause:?} after {before:?}");
            (before, now) = (pause, until);
            assert_eq!(standing(&health, now), Standing::Probe);
            health.on_probe(0, now);
            assert_eq!(standing(&health, now), Standing::Ejected, "one at a time");
            assert!(!health.report(0, Purpose::Trial, Signal::Silent, now, &mut prng));
        }
        now = ejected_until(&health);
        health.on_probe(0, now);
        assert!(health.report(0, Purpose::Trial, Signal::Answered, now, &mut prng));
        assert_eq!(standing(&health, now), Standing::Healthy);
    }

    #[test]
    fn what_was_under_way_at_the_ejection_changes_nothing() {
        let ((mut health, mut prng), now) = (health(), Monotonic(0));
        health.report(0, DELIVERY, Signal::Unreachable, now, &mut prng);
        let until = ejected_until(&health);
        for signal in [Signal::Answered, Signal::Unreachable, Signal::Refused, Signal::Silent] {
            assert!(!health.report(0, DELIVERY, signal, now, &mut prng));
        }
        assert_eq!((standing(&health, now), ejected_until(&health)), (Standing::Ejected, until));
    }

    #[test]
    fn a_probe_that_was_dropped_or_forgotten_may_be_followed_by_another() {
        let (mut health, mut prng) = health();
        health.report(0, DELIVERY, Signal::Unreachable, Monotonic(0), &mut prng);
        let now = ejected_until(&health);
        health.on_probe(0, now);
        health.on_probe_dropped(0);
        assert_eq!(standing(&health, now), Standing::Probe);
        health.on_probe(0, now);
        assert_eq!(standing(&health, now + PROBE_PATIENCE), Standing::Probe);
    }

    #[test]
    fn of_many_trials_that_fail_one_counts_and_one_that_works_is_enough() {
        let (mut health, mut prng) = health();
        health.report(0, DELIVERY, Signal::Unreachable, Monotonic(0), &mut prng);
        let first = ejected_until(&health);
        let before = Monotonic(first.0 - 1);
        assert!(!health.report(0, Purpose::Trial, Signal::Silent, before, &mut prng));
        assert_eq!(ejected_until(&health), first, "it was known already");
        assert!(!health.report(0, Purpose::Trial, Signal::Silent, first, &mut prng));
        let second = ejected_until(&health);
        for _ in 0..100 {
            assert!(!health.report(0, Purpose::Trial, Signal::Silent, first, &mut prng));
        }
        assert_eq!(ejected_until(&health), second);
        assert!(health.report(0, Purpose::Trial, Signal::Answered, first, &mut prng));
        assert_eq!(standing(&health, first), Standing::Healthy);
    }
}
