//! Notice messages that grow old: a delay report first, then expiry.
//!
//! Two calendars by the second of acceptance, `young` and, once its delay has been reported, `old`;
//! what "old" means is asked when looking, so a changed schedule holds for all at once. A message
//! that has a lifetime of its own, or a time by which it is wanted (RFC 2852), is on a third,
//! `own`, and ends when it was said that it would as it came in (`ends.rs`).

use std::time::Duration;

use crate::base::limits::DUE_BATCH_MAX;
use crate::base::slots::Slot;
use crate::base::time::WallTime;
use crate::mail::handling::{DeliverBy, Late};
use crate::queue::calendar::Calendar;
use crate::queue::deferred::{Due, whole_seconds};
use crate::queue::ends::{End, Ends};
use crate::queue::entry::{Message, State, from_seconds, to_seconds};
use crate::queue::{Queue, Recipients};

/// Messages by when they were accepted.
#[derive(Debug)]
pub(super) struct Ages {
    pub(super) young: Calendar,
    pub(super) old: Calendar,
    pub(super) own: Calendar,
    pub(super) ends: Ends,
    /// Recipients that wait no more, of messages that expired while they were held or postponed.
    pub(super) late: Vec<(Slot, u16)>,
    pub(super) delay_report_after: Duration,
    pub(super) lifetime: Duration,
}

impl Ages {
    pub(super) fn new(delay_report_after: Duration, lifetime: Duration) -> Self {
        Self {
            young: Calendar::default(),
            old: Calendar::default(),
            own: Calendar::default(),
            ends: Ends::default(),
            late: Vec::new(),
            delay_report_after,
            lifetime,
        }
    }

    /// Where a message stands, and at which second.
    fn calendar(&mut self, row: &Message) -> (&mut Calendar, u32) {
        let calendar = match (row.has_own_end(), row.delay_reported()) {
            (true, _) => &mut self.own,
            (false, true) => &mut self.old,
            (false, false) => &mut self.young,
        };
        (calendar, row.received)
    }

    /// When the oldest message was received.
    pub(super) fn oldest(&self) -> Option<u32> {
        [&self.young, &self.old, &self.own].into_iter().filter_map(Calendar::first).min()
    }

    /// A message whose lifetime is over.
    fn ended(&self, now: WallTime) -> Option<u32> {
        let second = whole_seconds(now - self.lifetime);
        let of_node = self.old.due(second).or_else(|| self.young.due(second));
        of_node.or_else(|| self.ends.ended(whole_seconds(now)))
    }
}

impl<H> Queue<H> {
    /// Change when delays are reported and messages expire, for those in the queue too.
    pub fn set_ages(&mut self, delay_report_after: Duration, lifetime: Duration) {
        self.ages.delay_report_after = delay_report_after;
        self.ages.lifetime = lifetime;
    }

    pub(super) fn expire_messages(&mut self, now: WallTime, due: &mut Vec<Due>) {
        for (message, recipient) in std::mem::take(&mut self.ages.late) {
            let entry = self.find_entry(message, recipient);
            if entry.is_some_and(|entry| self.entries[entry].state() == State::Dispatched) {
                let recipients = Recipients::One(recipient);
                due.push(Due::Expired { message, recipients });
            }
        }
        for _ in 0..DUE_BATCH_MAX {
            let Some(message) = self.ages.ended(now) else { break };
            self.forget_age(message);
            self.messages[message].expire();
            let waiting = |state| matches!(state, State::Ready | State::Deferred);
            let recipients = self.withdraw(message, waiting);
            if let Some(recipients) = recipients {
                due.push(Due::Expired { message: self.messages.slot(message), recipients });
            }
        }
    }

    pub(super) fn report_delays(&mut self, now: WallTime, due: &mut Vec<Due>) {
        let second = whole_seconds(now - self.ages.delay_report_after);
        let over = whole_seconds(now - self.ages.lifetime);
        for _ in 0..DUE_BATCH_MAX {
            let Some(message) = self.ages.young.due(second) else {
                break;
            };
            if self.ages.young.due(over).is_some() {
                break; // It expires with the next batch: that is what is to be told.
            }
            self.forget_age(message);
            self.messages[message].tell_delay_reported();
            self.keep_age(message);
            due.push(Due::DelayReport(self.messages.slot(message)));
        }
        let second = whole_seconds(now);
        for _ in 0..DUE_BATCH_MAX {
            let Some(message) = self.ages.ends.reported(second) else { break };
            self.messages[message].tell_delay_reported();
            if self.ages.ends.end(message).is_some_and(|end| end > second) {
                due.push(Due::DelayReport(self.messages.slot(message)));
            }
        }
    }

    /// When `message` ends.
    pub(super) fn end_of(&self, message: u32) -> WallTime {
        let of_node = || from_seconds(self.messages[message].received) + self.ages.lifetime;
        self.ages.ends.end(message).map_or_else(of_node, from_seconds)
    }

    /// `message`, which is on no calendar, has a lifetime of its own, or a time by which it is
    /// wanted: it is over then, or that is told in place of a delay.
    pub(super) fn limit_age(
        &mut self,
        message: u32,
        lifetime: Option<Duration>,
        by: Option<DeliverBy>,
    ) {
        let row = &mut self.messages[message];
        row.set_own_end();
        let received = from_seconds(row.received);
        let end = received + lifetime.unwrap_or(self.ages.lifetime);
        let report = received + self.ages.delay_report_after;
        let (end, report) = match by {
            None => (end, Some(report)),
            Some(DeliverBy { at, late: Late::Return, .. }) => {
                (end.min(self.clock.own(at)), Some(report))
            }
            // Where it was late before it came, that was told already.
            Some(DeliverBy { at, late: Late::Notify, .. }) => {
                let at = self.clock.own(at);
                (end, Some(at).filter(|at| *at > received))
            }
        };
        let report = report.filter(|_| !row.delay_reported()).map(to_seconds);
        self.ages.ends.insert(message, End { end: to_seconds(end), report });
    }

    pub(super) fn next_age(&self) -> Option<WallTime> {
        if !self.ages.late.is_empty() {
            return Some(WallTime(0));
        }
        let young = self.ages.young.first().map(from_seconds);
        let old = self.ages.old.first().map(from_seconds);
        let reported = young.map(|received| received + self.ages.delay_report_after);
        let expired = [young, old].into_iter().flatten().min();
        let expired = expired.map(|received| received + self.ages.lifetime);
        let own = self.ages.ends.next().map(from_seconds);
        [reported, expired, own].into_iter().flatten().min()
    }

    /// Enter `message` where its age says.
    pub(super) fn keep_age(&mut self, message: u32) {
        let (calendar, second) = self.ages.calendar(&self.messages[message]);
        calendar.insert(second, &mut self.messages, message, Message::age);
    }

    /// Take `message` off, unless it has expired and is off already.
    pub(super) fn forget_age(&mut self, message: u32) {
        if self.messages[message].expired() {
            return;
        }
        if self.messages[message].has_own_end() {
            self.ages.ends.remove(message);
        }
        let (calendar, second) = self.ages.calendar(&self.messages[message]);
        calendar.remove(second, &mut self.messages, message, Message::age);
    }

    /// Hand those of the message's recipients to the shard whose state is among `states`.
    fn withdraw(&mut self, message: u32, states: impl Fn(State) -> bool) -> Option<Recipients> {
        let mut entries = self.entries_of(message);
        entries.retain(|entry| states(self.entries[*entry].state()));
        let mut indices = Vec::with_capacity(entries.len());
        for entry in entries {
            indices.push(self.entries[entry].tag.index());
            let domain = self.entries[entry].domain;
            self.detach(entry);
            self.attach(entry, State::Dispatched);
            self.settle(domain);
        }
        match indices.as_slice() {
            [] => None,
            [one] => Some(Recipients::One(*one)),
            _ => Some(Recipients::Many(indices.into())),
        }
    }
}
