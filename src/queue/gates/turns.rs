//! Take turns among the flows of a tenant that wait for its pace: by their weights, as in lanes.
//!
//! While some wait, one leaf alone may ask: that of the flow whose turn it is. A turn is a quantum
//! of messages; what one sent too much is paid back in its next turns.

use crate::queue::flows::{COST, FlowRow, Flows};
use crate::queue::gates::Whose;
use crate::queue::list::{List, NONE};

impl Flows {
    /// Let a flow wait for its tenant: before others as long as its turn lasts.
    pub(super) fn enter_turns(&mut self, flow: u32) {
        let tenant = self.rows[flow].tenant;
        let Some(gate) = self.rows[flow].gate.as_deref_mut().filter(|gate| !gate.in_turn) else {
            return;
        };
        gate.in_turn = true;
        let was_spent = std::mem::take(&mut gate.is_spent);
        let Some(gate) = self.tenants[tenant].gate.as_mut() else { return };
        match was_spent {
            true => gate.flows.push_back(&mut self.rows, flow, FlowRow::turn),
            false => gate.flows.push_front(&mut self.rows, flow, FlowRow::turn),
        }
    }

    pub(super) fn leave_turns(&mut self, flow: u32) {
        let tenant = self.rows[flow].tenant;
        let in_turn = self.gate_mut(flow).map(|gate| std::mem::take(&mut gate.in_turn));
        if in_turn == Some(true)
            && let Some(gate) = self.tenants[tenant].gate.as_mut()
        {
            gate.flows.remove(&mut self.rows, flow, FlowRow::turn);
        }
    }

    /// A message of `flow` goes; whether its turn is over with it.
    pub(super) fn charge_turn(&mut self, flow: u32) -> bool {
        let quantum = self.quantum_of_flow(flow);
        let Some(gate) = self.gate_mut(flow) else { return true };
        gate.used += COST;
        let is_over = gate.used >= quantum;
        if is_over {
            gate.used -= quantum;
            gate.is_spent = !gate.in_turn;
            self.go_last(flow);
        }
        is_over
    }

    /// Let a flow that waits for its tenant do so behind others.
    pub(super) fn go_last(&mut self, flow: u32) {
        let FlowRow { tenant, .. } = self.rows[flow];
        if self.waits_for_tenant(flow)
            && let Some(gate) = self.tenants[tenant].gate.as_mut()
        {
            gate.flows.remove(&mut self.rows, flow, FlowRow::turn);
            gate.flows.push_back(&mut self.rows, flow, FlowRow::turn);
        }
    }

    /// The flow of a tenant whose turn it is, of those that wait. What one sent too much is paid
    /// back in its next turns.
    pub(super) fn in_turn(&mut self, tenant: u32) -> Option<u32> {
        loop {
            let List { head: flow, tail } = self.tenants[tenant].gate.as_ref()?.flows;
            if flow == NONE {
                return None;
            }
            let quantum = self.quantum_of_flow(flow);
            let gate = self.gate_mut(flow)?;
            if gate.used < quantum || flow == tail {
                return Some(flow);
            }
            gate.used -= quantum;
            self.go_last(flow);
        }
    }

    /// Of those that wait for a tenant, this leaf is the one that may ask.
    pub(super) fn set_next(&mut self, whose: Whose, leaf: u32) {
        if let Whose::Tenant(tenant) = whose
            && let Some(gate) = self.tenants[tenant].gate.as_mut()
        {
            gate.next = leaf;
        }
    }

    /// Whether flows wait for a tenant.
    pub(super) fn has_waiting(&self, tenant: u32) -> bool {
        self.tenants[tenant].gate.as_ref().is_some_and(|gate| !gate.flows.is_empty())
    }

    /// Whether a flow is among those that wait for their tenant.
    pub(super) fn waits_for_tenant(&self, flow: u32) -> bool {
        self.rows[flow].gate.as_ref().is_some_and(|gate| gate.in_turn)
    }
}
