//! Let what a tenant or a campaign sends wait, and go on.
//!
//! Cost: the destination domains where it has recipients in line.

use std::collections::BTreeSet;

use crate::queue::Queue;
use crate::queue::flows::Pause;

impl<H> Queue<H> {
    /// Let nothing of what `pause` means depart any more, until `resume`; what is with owners goes
    /// on. Whether that is new. Cost: the domains where it has recipients in line.
    pub fn pause(&mut self, pause: &Pause) -> bool {
        self.set_stopped(pause, true)
    }

    /// These are paused from now on, and nothing else is.
    pub fn set_pauses(&mut self, pauses: &BTreeSet<Pause>) {
        let before = self.flows.pauses().clone();
        for over in before.difference(pauses) {
            self.resume(over);
        }
        for new in pauses.difference(&before) {
            self.pause(new);
        }
    }

    /// Undo a `pause`; whether there was one.
    pub fn resume(&mut self, pause: &Pause) -> bool {
        self.set_stopped(pause, false)
    }

    fn set_stopped(&mut self, pause: &Pause, stopped: bool) -> bool {
        if self.flows.pauses().contains(pause) == stopped {
            return false;
        }
        let meant = self.flows.meant_by(pause);
        let before: Vec<bool> = meant.iter().map(|flow| self.flows.is_stopped(*flow)).collect();
        self.flows.set_stopped(pause, stopped);
        for (flow, before) in meant.into_iter().zip(before) {
            if self.flows.is_stopped(flow) != before {
                self.leaves_stopped(flow, stopped);
            }
        }
        true
    }
}
