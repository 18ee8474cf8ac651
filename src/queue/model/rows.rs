//! The naive model's messages and recipients, and what befalls them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::slots::Slot;
use crate::queue::{Deferral, Due, Recipients, State, Verb};

#[derive(Clone, Debug)]
pub(super) struct ModelRecipient {
    pub(super) domain: u8,
    pub(super) state: State,
    pub(super) due: i64,
    pub(super) attempts: u16,
    pub(super) hold: bool,
    pub(super) remove: bool,
    /// It waits no more, of a message that had expired, and the shard was not told yet.
    pub(super) late: bool,
}

#[derive(Clone, Debug)]
pub(super) struct ModelMessage {
    pub(super) slot: Slot,
    pub(super) received: i64,
    /// In seconds.
    pub(super) lifetime: u64,
    pub(super) reported: bool,
    pub(super) expired: bool,
    pub(super) recipients: BTreeMap<u16, ModelRecipient>,
}

impl ModelMessage {
    /// Where one that is with the shard goes when it comes back undelivered.
    pub(super) fn fate(&self, index: u16) -> Deferral {
        let row = &self.recipients[&index];
        match (row.remove, row.hold, self.expired) {
            (true, _, _) => Deferral::Removed,
            (_, true, _) => Deferral::Held,
            (_, _, true) => Deferral::Expired,
            _ => Deferral::Waiting,
        }
    }

    /// What the passing of time does to it.
    pub(super) fn grow_old(&mut self, now: i64) -> Option<Due> {
        let age = Duration::from_secs(u64::try_from(now - self.received).expect("not before"));
        let waits = |row: &ModelRecipient| matches!(row.state, State::Ready | State::Deferred);
        if age >= Duration::from_secs(self.lifetime) && !self.expired {
            self.expired = true;
            let mut gone: Vec<u16> = Vec::new();
            for (index, row) in self.recipients.iter_mut().filter(|(_, row)| waits(row)) {
                row.state = State::Dispatched;
                gone.push(*index);
            }
            let recipients = match gone.as_slice() {
                [] => return None,
                [one] => Recipients::One(*one),
                _ => Recipients::Many(gone.into()),
            };
            return Some(Due::Expired { message: self.slot, recipients });
        }
        let late = self.recipients.values_mut().filter(|row| row.state == State::Deferred);
        for row in late.filter(|row| row.due <= now) {
            row.wait_no_more(self.expired);
        }
        if age >= Duration::from_secs(40) && !self.reported && !self.expired {
            self.reported = true;
            return Some(Due::DelayReport(self.slot));
        }
        None
    }
}

impl ModelRecipient {
    /// Whether the verb did something.
    pub(super) fn operate(&mut self, verb: Verb, expired: bool) -> bool {
        let waits = matches!(self.state, State::Ready | State::Deferred);
        let with_shard = self.state == State::Dispatched;
        let did = match verb {
            Verb::Flush => self.state == State::Deferred,
            Verb::Hold => waits || (with_shard && !self.hold),
            Verb::Release => self.state == State::Held || (with_shard && self.hold),
            Verb::Remove => waits || self.state == State::Held || (with_shard && !self.remove),
        };
        if did && with_shard {
            match verb {
                Verb::Hold => self.hold = true,
                Verb::Release => self.hold = false,
                Verb::Remove => self.remove = true,
                Verb::Flush => unreachable!("only what is deferred"),
            }
        } else if did {
            match verb {
                Verb::Flush | Verb::Release => self.wait_no_more(expired),
                Verb::Hold => self.state = State::Held,
                Verb::Remove => self.state = State::Dispatched,
            }
        }
        did
    }

    fn wait_no_more(&mut self, expired: bool) {
        (self.state, self.late) =
            if expired { (State::Dispatched, true) } else { (State::Ready, false) };
    }
}
