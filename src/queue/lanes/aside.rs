//! Leaves that are in no ring: an operator stopped their flow, it may not send now, or they rest.
//!
//! What stands in them is counted as stopped in its domain, and not in its branch.

use std::collections::BTreeSet;

use crate::queue::Queue;
use crate::queue::lanes::{End, Lane, Place, Rested};
use crate::queue::list::{List, NONE};

impl<H> Queue<H> {
    /// Whether what stands in a leaf is not to depart.
    pub(super) fn is_out(&self, leaf: u32) -> bool {
        let Lane { of, is_aside, rested, .. } = self.lanes.rows[leaf];
        is_aside || rested == Rested::Rests || self.flows.is_stopped(of)
    }

    /// Whose a leaf is.
    pub(in crate::queue) fn flow_of(&self, leaf: u32) -> u32 {
        self.lanes.rows[leaf].of
    }

    /// A leaf that was in a ring is set aside: its domain.
    pub(in crate::queue) fn count_out(&mut self, leaf: u32) -> u32 {
        let Lane { domain, branch, ready, .. } = self.lanes.rows[leaf];
        self.lanes.rows[leaf].is_aside = true;
        self.lanes.rows[branch].ready -= ready;
        self.domains.rows[domain].stopped += ready;
        domain
    }

    /// The same is set aside no more, and in no ring yet: its domain.
    pub(in crate::queue) fn count_in(&mut self, leaf: u32) -> u32 {
        let Lane { domain, branch, ready, .. } = self.lanes.rows[leaf];
        self.lanes.rows[leaf].is_aside = false;
        self.lanes.rows[branch].ready += ready;
        self.domains.rows[domain].stopped -= ready;
        domain
    }

    /// Let it have its turns behind those that wait: it had had its turn.
    pub(in crate::queue) fn join_waiting(&mut self, leaf: u32) {
        self.enter_rings_at(leaf, Place::Waiting, End::Back);
    }

    /// The lines of leaves of a domain that are in no ring.
    pub(super) fn stopped_lines(&self, domain: u32) -> impl Iterator<Item = List> {
        let paused = self.flows.pauses().iter().flat_map(|pause| self.flows.meant_by(pause));
        let flows: BTreeSet<u32> = paused.chain(self.flows.aside.iter().copied()).collect();
        let leaves =
            flows.into_iter().filter_map(move |flow| self.lanes.find((domain, true, flow)));
        let leaves: BTreeSet<u32> = leaves.chain(self.rests.of_domain(domain)).collect();
        let out = leaves.into_iter().filter(|leaf| self.lanes.rows[*leaf].place == Place::Out);
        out.map(|leaf| self.lanes.rows[leaf].line)
    }

    /// The leaves of a flow are stopped from now on, or are no more.
    pub(in crate::queue) fn leaves_stopped(&mut self, flow: u32, stopped: bool) {
        let mut next = self.flows.row(flow).map_or(NONE, |row| row.leaves.head);
        while next != NONE {
            if self.lanes.rows[next].is_aside {
                self.take_back(next);
            }
            let Lane { domain, branch, ready, kin, rested, .. } = self.lanes.rows[next];
            let row = &mut self.domains.rows[domain];
            if rested == Rested::Rests {
                // It is in no ring, whatever operators say.
            } else if stopped {
                row.stopped += ready;
                self.lanes.rows[branch].ready -= ready;
                self.leave_rings(next);
                if ready == 0 {
                    self.drop_leaf(next);
                }
            } else {
                row.stopped -= ready;
                self.lanes.rows[branch].ready += ready;
                self.enter_rings(next, End::Back);
            }
            self.settle(domain);
            next = kin.next;
        }
    }
}
