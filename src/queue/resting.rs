//! Let what one sender has in line at one domain wait, and nothing else of the domain.
//!
//! An owner may take nothing of a sender, or of a pool of sources, and all of others. So a leaf can
//! *rest*: it is in no ring, as one that an operator stopped, and what stands in it costs nothing.
//! When its time is over it is in its ring again with one departure, a *probe*; what comes of that
//! says whether the rest of it follows. A rest is forgotten with what stands in line.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::time::WallTime;
use crate::queue::lanes::Rested;
use crate::queue::list::NONE;
use crate::queue::{Deferral, Departure, Queue};

/// The leaves that rest, or are probed.
#[derive(Debug, Default)]
pub(super) struct Rests {
    /// By domain and leaf.
    all: BTreeMap<(u32, u32), Rest>,
    /// When, on the own clock, each ends that has an end.
    due: BTreeSet<(i64, u32, u32)>,
}

#[derive(Debug)]
struct Rest {
    /// 0: until the probe is back.
    until: i64,
    why: Box<str>,
}

impl Rests {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    fn put(&mut self, at: (u32, u32), until: i64, why: Box<str>) {
        self.remove(at);
        if until != 0 {
            self.due.insert((until, at.0, at.1));
        }
        self.all.insert(at, Rest { until, why });
    }

    fn set_until(&mut self, at: (u32, u32), until: i64) {
        if let Some(rest) = self.all.remove(&at) {
            self.due.remove(&(rest.until, at.0, at.1));
            self.put(at, until, rest.why);
        }
    }

    pub(super) fn remove(&mut self, at: (u32, u32)) {
        if let Some(rest) = self.all.remove(&at) {
            self.due.remove(&(rest.until, at.0, at.1));
        }
    }

    /// The next end of a rest.
    pub(super) fn first(&self) -> Option<WallTime> {
        self.due.first().map(|(until, ..)| WallTime(*until))
    }

    /// Those of a domain.
    pub(super) fn of_domain(&self, domain: u32) -> impl Iterator<Item = u32> {
        self.all.range((domain, 0)..=(domain, u32::MAX)).map(|((_, leaf), _)| *leaf)
    }

    fn get(&self, at: (u32, u32)) -> Option<&Rest> {
        self.all.get(&at)
    }
}

impl<H> Queue<H> {
    /// The owner of its domain takes nothing of this departure's sender until then: put it back,
    /// and let what else of its flow is in line for the domain wait with it. What comes back in the
    /// answer is not to wait any more, as with [`Queue::park`].
    pub fn park_flow(
        &mut self,
        departure: &Departure,
        until: WallTime,
        why: Box<str>,
    ) -> Vec<(u16, Deferral)> {
        let over = self.put_all_back(departure);
        let Some(domain) = self.domains.rows.find(departure.domain.0) else { return over };
        if let Some(leaf) = self.leaf_of(departure, domain) {
            let until = self.clock.own(until).0.max(1);
            self.rest(domain, leaf, until, why);
        }
        self.settle(domain);
        over
    }

    /// The leaf in which what was put back stands.
    fn leaf_of(&mut self, departure: &Departure, domain: u32) -> Option<u32> {
        let message = self.messages.find(departure.message)?;
        let flow = self.messages[message].flow;
        let row = &self.domains.rows[domain];
        if flow == NONE && row.branches == 0 && !row.line.is_empty() {
            self.branch_out(domain, row.ready);
        }
        self.lanes.leaf(domain, flow).filter(|leaf| self.lanes.ready(*leaf) > 0)
    }

    fn rest(&mut self, domain: u32, leaf: u32, until: i64, why: Box<str>) {
        // Whatever its rate lets it, it is not to go.
        if self.lanes.is_aside(leaf) {
            self.take_back(leaf);
        }
        self.still(leaf, Rested::Rests);
        self.rests.put((domain, leaf), until, why);
    }

    /// A recipient of a flow came back from the owner of `domain` with an outcome, or for another
    /// reason than its sender: if it was a probe, what else waits follows.
    pub(super) fn answered(&mut self, domain: u32, flow: u32) {
        if self.rests.is_empty() {
            return;
        }
        if let Some(leaf) = self.lanes.leaf(domain, flow)
            && self.rests.get((domain, leaf)).is_some_and(|rest| rest.until == 0)
        {
            self.rests.remove((domain, leaf));
            self.still(leaf, Rested::No);
        }
    }

    /// A departure of a leaf has left; if that was a probe, the others wait for what comes of it.
    pub(super) fn probed(&mut self, domain: u32, leaf: u32) {
        if self.lanes.rested(leaf) != Some(Rested::Probed) {
            return;
        }
        if self.lanes.ready(leaf) == 0 {
            self.rests.remove((domain, leaf));
            return self.still(leaf, Rested::No);
        }
        self.still(leaf, Rested::Rests);
        self.rests.set_until((domain, leaf), 0);
    }

    /// Let a probe leave of what has rested until `now`, on the own clock.
    pub(super) fn probe_rested(&mut self, now: WallTime) {
        while let Some(&(until, domain, leaf)) = self.rests.due.first()
            && until <= now.0
        {
            // Without an end now; what comes of the probe gives it one.
            self.rests.set_until((domain, leaf), 0);
            self.still(leaf, Rested::Probed);
            self.settle(domain);
        }
    }

    /// Why what stands in a leaf rests, and until when.
    pub(super) fn rest_of(&self, domain: u32, flow: u32) -> Option<(Option<WallTime>, &str)> {
        let leaf = self.lanes.leaf(domain, flow).filter(|_| !self.rests.is_empty())?;
        let rest = self.rests.get((domain, leaf))?;
        let until = (rest.until != 0).then(|| self.clock.wall(WallTime(rest.until)));
        (self.lanes.rested(leaf) == Some(Rested::Rests)).then_some((until, &*rest.why))
    }
}
