//! Leaves that rest, and those that are in a ring again for one departure (`resting.rs`).

use crate::queue::Queue;
use crate::queue::lanes::{End, Lane, Lanes, Rested};

impl Lanes {
    /// The leaf of a flow at a domain.
    pub(in crate::queue) fn leaf(&self, domain: u32, flow: u32) -> Option<u32> {
        self.find((domain, true, flow))
    }

    /// Recipients in line in a leaf.
    pub(in crate::queue) fn ready(&self, leaf: u32) -> u32 {
        self.rows[leaf].ready
    }

    /// Whether a leaf is set aside, since its flow may not send now.
    pub(in crate::queue) fn is_aside(&self, leaf: u32) -> bool {
        self.rows[leaf].is_aside
    }

    /// Whether a leaf rests; `None`: it is gone.
    pub(in crate::queue) fn rested(&self, leaf: u32) -> Option<Rested> {
        self.rows.get(leaf).map(|lane| lane.rested)
    }
}

impl<H> Queue<H> {
    /// Let a leaf rest, or not, beside what operators stopped.
    pub(in crate::queue) fn still(&mut self, leaf: u32, rested: Rested) {
        let before = self.is_out(leaf);
        self.lanes.rows[leaf].rested = rested;
        let now = self.is_out(leaf);
        let Lane { domain, branch, ready, .. } = self.lanes.rows[leaf];
        match (before, now) {
            (false, true) => {
                self.domains.rows[domain].stopped += ready;
                self.lanes.rows[branch].ready -= ready;
                self.leave_rings(leaf);
            }
            (true, false) => {
                self.domains.rows[domain].stopped -= ready;
                self.lanes.rows[branch].ready += ready;
                self.enter_rings(leaf, End::Back);
            }
            (true, true) | (false, false) => {}
        }
        self.settle(domain);
    }
}
