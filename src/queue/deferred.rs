//! Let recipients wait for their due time, and say what has come due.
//!
//! Nothing comes due early; all that a second held comes due together, in order of arrival.

use crate::base::limits::DUE_BATCH_MAX;
use crate::base::slots::Slot;
use crate::base::time::WallTime;
use crate::queue::entry::{RecordAt, State, from_seconds, to_seconds};
use crate::queue::tag::Mark;
use crate::queue::{Queue, Recipients};

/// What became of a recipient that the shard gave back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deferral {
    /// It waits.
    Waiting,
    /// An operator had it held meanwhile: it waits for release.
    Held,
    /// Its message's lifetime is over: it stays with the shard, to be bounced and finished.
    Expired,
    /// An operator had it removed meanwhile: it stays with the shard, to be finished.
    Removed,
}

/// What has come due that the shard must act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// The message's lifetime is over: `recipients` are with the shard now, to be bounced and
    /// finished. Those that are dispatched follow when they come back, held ones when released.
    Expired {
        /// The message.
        message: Slot,
        /// Those that waited; never empty.
        recipients: Recipients,
    },
    /// The message has waited so long that its reverse-path is to be told; once a message.
    DelayReport(Slot),
}

impl<H> Queue<H> {
    /// A dispatched recipient was not delivered: let it wait until `due`. `None`: no such
    /// recipient.
    pub fn defer(
        &mut self,
        message: Slot,
        recipient: u16,
        attempts: u16,
        due: WallTime,
        reason_at: Option<RecordAt>,
    ) -> Option<Deferral> {
        let entry = self.find_entry(message, recipient)?;
        let due = self.clock.own(due);
        let row = &mut self.entries[entry];
        assert_eq!(row.state(), State::Dispatched, "deferred without departure");
        row.tag.set_attempts(attempts);
        row.due = to_seconds(due);
        row.set_reason(reason_at);
        let domain = row.domain;
        self.returned(domain);
        let message = self.entries[entry].message;
        self.answered(domain, self.messages[message].flow);
        let is_last = self.messages[message].last_attempt();
        let mut fate = self.fate(entry);
        if is_last && fate == Deferral::Waiting {
            fate = Deferral::Expired;
        }
        match fate {
            Deferral::Waiting => {
                self.detach(entry);
                self.attach(entry, State::Deferred);
            }
            Deferral::Held => self.hold_returned(entry),
            Deferral::Expired | Deferral::Removed => {}
        }
        self.settle(domain);
        Some(fate)
    }

    /// What became of a dispatched recipient cannot be told now: let it wait until `due`, however
    /// old its message is. Then it is ready again, or comes back as expired. `None`: no such
    /// recipient.
    pub fn postpone(&mut self, message: Slot, recipient: u16, due: WallTime) -> Option<Deferral> {
        let row = self.recipient(message, recipient)?;
        let end = self.defer(message, recipient, row.attempts, due, row.reason_at)?;
        if end != Deferral::Expired {
            return Some(end);
        }
        let entry = self.find_entry(message, recipient).expect("found just now");
        self.move_to(entry, State::Deferred);
        Some(Deferral::Waiting)
    }

    /// Where a dispatched entry goes that did not come to its end.
    pub(super) fn fate(&self, entry: u32) -> Deferral {
        let row = &self.entries[entry];
        if row.tag.has(Mark::REMOVE) {
            Deferral::Removed
        } else if row.tag.has(Mark::HOLD) {
            Deferral::Held
        } else if self.messages[row.message].expired() {
            Deferral::Expired
        } else {
            Deferral::Waiting
        }
    }

    pub(super) fn hold_returned(&mut self, entry: u32) {
        self.detach(entry);
        self.attach(entry, State::Held);
    }

    /// Make ready what is due at `now`, and append to `due` what the shard must act on. At most
    /// `DUE_BATCH_MAX` of each kind: when more is due, `next_due` says so.
    pub fn expire_due(&mut self, now: WallTime, due: &mut Vec<Due>) {
        let now = self.clock.own(now);
        self.expire_messages(now, due);
        self.report_delays(now, due);
        let second = whole_seconds(now);
        for _ in 0..DUE_BATCH_MAX {
            let Some(entry) = self.deferred.due(second) else {
                break;
            };
            self.make_ready(entry);
        }
        self.look_at_gates();
        while let Some(&(_, domain)) = self.parks.first().filter(|(until, _)| *until <= now.0) {
            self.widen(domain, 1);
        }
        self.probe_rested(now);
    }

    /// Let `entry` wait no more: it is ready, or the shard's to finish if its message has expired.
    pub(super) fn make_ready(&mut self, entry: u32) {
        let row = &self.entries[entry];
        let (message, index) = (row.message, row.tag.index());
        if self.messages[message].expired() {
            self.move_to(entry, State::Dispatched);
            self.ages.late.push((self.messages.slot(message), index));
        } else {
            self.move_to(entry, State::Ready);
        }
    }

    /// Take `entry` from the state that it is in to another.
    pub(super) fn move_to(&mut self, entry: u32, state: State) {
        let domain = self.entries[entry].domain;
        self.detach(entry);
        self.attach(entry, state);
        self.settle(domain);
    }

    /// When to call `expire_due` next.
    pub fn next_due(&self) -> Option<WallTime> {
        let deferred = self.deferred.first().map(from_seconds);
        let parked = self.parks.first().map(|(until, _)| WallTime(*until));
        let rests = self.rests.first();
        let waits = [deferred, parked, rests, self.next_age(), self.next_gate()];
        let next = waits.into_iter().flatten().min();
        next.map(|own| self.clock.wall(own))
    }
}

/// The last second that has begun at `now`.
pub(super) fn whole_seconds(now: WallTime) -> u32 {
    u32::try_from(now.0.max(0) / 1_000).unwrap_or(u32::MAX)
}
