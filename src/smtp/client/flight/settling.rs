//! Settle recipients, each once.

use crate::mail::outcome::{Failure, Stage};
use crate::mail::status::Reply;
use crate::smtp::client::Settled;
use crate::smtp::client::flight::{Fate, Flight};

impl Flight {
    pub(super) fn accept_accepted(&mut self, reply: &Reply) {
        for place in self.accepted() {
            self.settle(place, Settled::Accepted(reply.clone()));
        }
    }

    pub(super) fn refuse_accepted(&mut self, stage: Stage, reply: Reply) {
        for place in self.accepted() {
            self.refuse(place, stage, Failure::Reply(reply.clone()));
        }
    }

    fn accepted(&self) -> Vec<usize> {
        let is_accepted = |place: &usize| self.fates[*place] == Fate::Accepted;
        self.round.iter().copied().filter(is_accepted).collect()
    }

    pub(super) fn refuse(&mut self, place: usize, stage: Stage, failure: Failure) {
        self.settle(place, Settled::Refused { stage, failure });
    }

    pub(super) fn settle(&mut self, place: usize, settled: Settled) {
        assert!(self.fates[place] != Fate::Settled, "recipient {place} is settled twice");
        self.fates[place] = Fate::Settled;
        self.results.push((self.transaction.recipients[place], settled));
    }
}
