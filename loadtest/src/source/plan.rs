//! Which message is sent next, and when it was meant to be sent.
//!
//! In: the clock, and what became of messages. Out: jobs. Invariant: each number is in flight at
//! most once; a message that comes back keeps its number and its intended time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::dice::Dice;

/// How long a message that came back waits for its next turn.
pub(crate) const RETRY_DELAY: Duration = Duration::from_millis(250);

/// Recipients that a message may have: one bit each in `Job::wanted`.
pub(crate) const RECIPIENTS_MAX: u32 = 64;

/// One message to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) number: u32,
    /// Recipients that have not been accepted yet, bit `n` for place `n`.
    pub(crate) wanted: u64,
    /// When it was to be sent; latency counts from here.
    pub(crate) intended: Instant,
    /// Times that its content went out whole, this one included, where no reply said "not taken".
    pub(crate) copies: u32,
}

/// When messages are meant to be sent.
#[derive(Clone, Debug)]
pub(crate) enum Arrivals {
    /// As soon as a connection is free.
    Asap,
    /// One every so often.
    Constant(Duration),
    /// With exponential gaps of this mean.
    Poisson(Duration, Dice),
}

/// What a connection gets when it asks for work.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Take {
    /// Send this, not before its intended time.
    Send(Job),
    /// Nothing to send now; ask again soon.
    Wait,
    /// Every message is settled, or in other hands that will settle it.
    Done,
}

/// The messages of a run.
#[derive(Debug)]
pub(crate) struct Plan {
    total: u32,
    next: u32,
    in_flight: u32,
    recipients: u32,
    may_return: bool,
    returned: VecDeque<(Instant, Job)>,
    arrivals: Arrivals,
    due: Instant,
}

impl Plan {
    /// `total` messages of `recipients` recipients each from `start` on; `may_return` says whether
    /// messages come back when they were not accepted.
    pub(crate) fn new(
        total: u32,
        recipients: u32,
        may_return: bool,
        arrivals: Arrivals,
        start: Instant,
    ) -> Self {
        assert!((1..=RECIPIENTS_MAX).contains(&recipients), "{recipients} recipients");
        let (next, in_flight, returned) = (0, 0, VecDeque::new());
        Self { total, next, in_flight, recipients, may_return, returned, arrivals, due: start }
    }

    /// The next job; `released` is how many messages may have been begun by now.
    pub(crate) fn take(&mut self, now: Instant, released: u64) -> Take {
        if self.returned.front().is_some_and(|(due, _)| *due <= now)
            && let Some((_, job)) = self.returned.pop_front()
        {
            self.in_flight += 1;
            return Take::Send(job);
        }
        if self.next < self.total && u64::from(self.next) < released {
            let wanted = u64::MAX >> (64 - self.recipients);
            let intended = self.next_due(now);
            let job = Job { number: self.next, wanted, intended, copies: 0 };
            self.next += 1;
            self.in_flight += 1;
            return Take::Send(job);
        }
        let open = self.next < self.total || !self.returned.is_empty();
        if open || (self.may_return && self.in_flight > 0) { Take::Wait } else { Take::Done }
    }

    /// The job's message needs no more sending.
    pub(crate) fn settle(&mut self) {
        self.in_flight = self.in_flight.checked_sub(1).expect("settled more than was taken");
    }

    /// The job was not sent, or not accepted: it is due again after a while.
    pub(crate) fn give_back(&mut self, job: Job, due: Instant) {
        self.settle();
        self.returned.push_back((due, job));
    }

    /// Whether every message is settled.
    pub(crate) fn is_finished(&self) -> bool {
        self.next == self.total && self.in_flight == 0 && self.returned.is_empty()
    }

    fn next_due(&mut self, now: Instant) -> Instant {
        let due = self.due;
        match &mut self.arrivals {
            Arrivals::Asap => return now,
            Arrivals::Constant(gap) => self.due += *gap,
            Arrivals::Poisson(mean, dice) => {
                // 1 - fraction is in (0, 1], so the logarithm is finite.
                self.due += mean.mul_f64(-(1.0 - dice.fraction()).ln());
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(take: Take) -> Job {
        match take {
            Take::Send(job) => job,
            Take::Wait | Take::Done => panic!("nothing to send"),
        }
    }

    #[test]
    fn each_number_is_given_once_and_then_nothing() {
        let now = Instant::now();
        let mut plan = Plan::new(3, 2, false, Arrivals::Asap, now);
        for number in 0..3 {
            let job = send(plan.take(now, u64::MAX));
            assert_eq!((job.number, job.wanted), (number, 0b11));
        }
        assert_eq!(plan.take(now, u64::MAX), Take::Done);
        assert!(!plan.is_finished());
        (0..3).for_each(|_| plan.settle());
        assert!(plan.is_finished());
    }

    #[test]
    fn the_gate_holds_messages_back() {
        let now = Instant::now();
        let mut plan = Plan::new(3, 1, false, Arrivals::Asap, now);
        send(plan.take(now, 1));
        assert_eq!(plan.take(now, 1), Take::Wait);
        send(plan.take(now, 2));
    }

    #[test]
    fn a_returned_job_keeps_number_and_intended_time() {
        let now = Instant::now();
        let later = now + RETRY_DELAY;
        let mut plan = Plan::new(1, 1, true, Arrivals::Asap, now);
        let job = send(plan.take(now, 1));
        assert_eq!(plan.take(now, 1), Take::Wait, "it may come back");
        plan.give_back(job.clone(), later);
        assert_eq!(plan.take(now, 1), Take::Wait, "not due yet");
        assert_eq!(send(plan.take(later, 1)), job);
        plan.settle();
        assert_eq!(plan.take(later, 1), Take::Done);
    }

    #[test]
    fn a_constant_rate_does_not_drift_however_late_it_is_asked() {
        let now = Instant::now();
        let gap = Duration::from_millis(10);
        let mut plan = Plan::new(5, 1, false, Arrivals::Constant(gap), now);
        for number in 0..5 {
            let job = send(plan.take(now + Duration::from_secs(9), 9));
            assert_eq!(job.intended, now + gap * number);
        }
    }

    #[test]
    fn poisson_gaps_have_the_mean_asked_for() {
        let now = Instant::now();
        let mean = Duration::from_millis(1);
        let mut plan = Plan::new(20_001, 1, false, Arrivals::Poisson(mean, Dice::new(5)), now);
        let mut last = now;
        for _ in 0..20_001 {
            last = send(plan.take(now, u64::MAX)).intended;
        }
        let seconds = (last - now).as_secs_f64();
        assert!((19.0..21.0).contains(&seconds), "{seconds}");
    }
}
