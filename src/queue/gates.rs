//! Let wait what a tenant or a campaign may not send now: its rate, or its window.
//!
//! In: what is said of them, the paces that all shards keep, time. Out: which leaf may send. A leaf
//! whose turn comes and that may not send is *set aside*: it leaves its rings (`lanes.rs`), and
//! what stands in it costs nothing until its flow may send again. Then one leaf is let go, and the
//! next with each that departs, so that a departure costs O(1) however many wait; those of a
//! tenant's flows in turns, by their weights.
//!
//! ```text
//!  leaf's turn ──► flow shut? tenant shut? ──► window ──► campaign's pace ──► tenant's ──► departs
//!                       └─────── set aside, until the time that the first of these says ───────┘
//! ```
//!
//! A leaf that was let go may still wait: for its domain's owner, or for an operator. So if none
//! has departed for `GATE_TURN`, another is let go.
//!
//! Invariant: what is set aside is counted as stopped in its domain; a flow has a gate if and only
//! if something is said of it or of its tenant. Unit: milliseconds of the own clock.

mod turns;

use std::sync::Arc;

use crate::base::ids::ShardId;
use crate::base::limits::{GATE_STEPS_MAX, GATE_TURN};
use crate::base::rate::{Cell, Rate};
use crate::base::time::{Monotonic, WallTime};
use crate::base::window::{State, Window};
use crate::queue::Queue;
use crate::queue::clock::Clock;
use crate::queue::flows::Flows;
use crate::queue::lanes::Lane;
use crate::queue::list::{List, NONE};

/// A rate, and the pace by which all shards keep it.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    pub(super) rate: Rate,
    pub(super) cell: Arc<Cell>,
}

/// When a gate opens, and when it is looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Times {
    /// Nothing passes before; 0: it may.
    shut_until: i64,
    /// Its place among the timers; 0: none.
    timer: i64,
}

/// What mail of a flow has to pass.
#[derive(Debug, Default)]
pub(super) struct FlowGate {
    pub(super) pace: Option<Pace>,
    pub(super) window: Option<Arc<Window>>,
    /// The window is known to be open until then.
    open_until: i64,
    times: Times,
    /// Leaves that are set aside. Linked by `Lane::ring`.
    aside: List,
    /// It is among its tenant's that wait for its pace.
    in_turn: bool,
    /// What it has sent in its turn among these, of its quantum.
    used: i32,
    /// Its turn was over when it was not among them.
    is_spent: bool,
}

/// What mail of a tenant has to pass.
#[derive(Debug)]
pub(super) struct TenantGate {
    pub(super) pace: Pace,
    times: Times,
    /// Its flows that wait for it, of which the first has its turn. Linked by `FlowRow::turn`.
    flows: List,
    /// While some wait: the one leaf that may ask.
    next: u32,
}

/// Whose gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Whose {
    Flow(u32),
    Tenant(u32),
}

/// What a leaf's gate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Pass,
    /// Its flow is shut: for its campaign's sake.
    OfFlow,
    /// Its tenant is.
    OfTenant,
}

impl TenantGate {
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, times: Times::default(), flows: List::default(), next: NONE }
    }

    /// Whether others are to ask before `leaf`.
    fn is_others_turn(&self, leaf: u32) -> bool {
        !self.flows.is_empty() && self.next != leaf
    }
}

impl FlowGate {
    pub(super) fn new(pace: Option<Pace>, window: Option<Arc<Window>>) -> Self {
        Self { pace, window, ..Self::default() }
    }
}

impl Times {
    fn is_shut(self, now: i64) -> bool {
        self.shut_until > now
    }
}

impl Flows {
    fn times(&mut self, whose: Whose) -> Option<&mut Times> {
        match whose {
            Whose::Flow(flow) => self.gate_mut(flow).map(|gate| &mut gate.times),
            Whose::Tenant(tenant) => self.tenants[tenant].gate.as_mut().map(|gate| &mut gate.times),
        }
    }

    /// Look at a gate then; 0: not at all.
    fn set_timer(&mut self, whose: Whose, at: i64) {
        let Some(times) = self.times(whose) else { return };
        let before = std::mem::replace(&mut times.timer, at);
        if before != 0 {
            self.timers.remove(&(before, whose));
        }
        if at != 0 {
            self.timers.insert((at, whose));
        }
    }

    /// Let nothing pass a gate before `until`.
    fn shut(&mut self, whose: Whose, until: i64) {
        if let Some(times) = self.times(whose) {
            times.shut_until = until;
        }
        self.set_timer(whose, until);
    }

    /// Forget when a gate is looked at: it goes.
    pub(super) fn forget_timer(&mut self, whose: Whose) {
        self.set_timer(whose, 0);
    }

    /// The first gate that is to be looked at by `now`.
    fn due_gate(&self, now: i64) -> Option<Whose> {
        self.timers.first().filter(|(at, _)| *at <= now).map(|(_, whose)| *whose)
    }

    /// Ask to send a message of `flow`, which stands in `leaf`, now.
    fn ask(&mut self, (flow, leaf): (u32, u32), here: ShardId, clock: Clock) -> Verdict {
        let (mono, now) = clock.now();
        let tenant = self.rows[flow].tenant;
        let Some(gate) = self.rows[flow].gate.as_deref_mut() else { return Verdict::Pass };
        if gate.times.is_shut(now) {
            return Verdict::OfFlow;
        }
        if let Some(window) = &gate.window
            && gate.open_until <= now
        {
            match window.at(clock.wall_now()) {
                State::Open(until) => gate.open_until = clock.own(until).0,
                State::Shut(until) => {
                    let until = clock.own(until).0.max(now + 1);
                    self.shut(Whose::Flow(flow), until);
                    return Verdict::OfFlow;
                }
            }
        }
        let of_flow = gate.pace.clone();
        let of_tenant = self.tenants[tenant].gate.as_ref();
        if of_tenant.is_some_and(|gate| gate.times.is_shut(now) || gate.is_others_turn(leaf)) {
            return Verdict::OfTenant;
        }
        let of_tenant = of_tenant.map(|gate| gate.pace.clone());
        let later = |at: Monotonic| now + millis_up(at.0.saturating_sub(mono.0)).max(1);
        let try_one = |pace: &Pace| pace.cell.try_message(here, pace.rate, mono);
        if let Some(Err(at)) = of_flow.as_ref().map(try_one) {
            self.shut(Whose::Flow(flow), later(at));
            return Verdict::OfFlow;
        }
        if let Some(Err(at)) = of_tenant.as_ref().map(try_one) {
            if let Some(pace) = &of_flow {
                pace.cell.give_back(pace.rate);
            }
            self.shut(Whose::Tenant(tenant), later(at));
            return Verdict::OfTenant;
        }
        Verdict::Pass
    }

    /// A message of `flow` that passed was not sent after all.
    pub(super) fn give_back(&self, flow: u32) {
        let Some(row) = self.row(flow) else { return };
        let of_flow = row.gate.as_ref().and_then(|gate| gate.pace.as_ref());
        let of_tenant = self.tenants[row.tenant].gate.as_ref().map(|gate| &gate.pace);
        for pace in of_flow.into_iter().chain(of_tenant) {
            pace.cell.give_back(pace.rate);
        }
    }

    fn gate_mut(&mut self, flow: u32) -> Option<&mut FlowGate> {
        self.rows[flow].gate.as_deref_mut()
    }

    /// What keeps mail of `flow` that is set aside, in words.
    pub(super) fn limit(&self, flow: u32, clock: Clock) -> Option<Box<str>> {
        let row = self.row(flow)?;
        let (gate, (_, now)) = (row.gate.as_deref()?, clock.now());
        let tenant = &self.tenants[row.tenant];
        let of_campaign = || {
            let name = row.campaign.as_ref().map_or("", |name| name.as_str());
            let whose = tenant.name.as_ref().map_or("", |name| name.as_str());
            format!("campaign {name} of {whose}")
        };
        let is_shut = gate.times.is_shut(now);
        match (&gate.window, &gate.pace) {
            (Some(window), _) if is_shut && gate.open_until <= now => {
                let opens = window.show(clock.wall(WallTime(gate.times.shut_until)));
                Some(format!("{}: its window opens {opens}", of_campaign()).into())
            }
            (_, Some(pace)) if is_shut || tenant.gate.is_none() => {
                Some(format!("{}: {}", of_campaign(), pace.rate).into())
            }
            _ => {
                let (gate, name) = (tenant.gate.as_ref()?, tenant.name.as_ref()?);
                Some(format!("tenant {name}: {}", gate.pace.rate).into())
            }
        }
    }
}

/// Milliseconds in which so many nanoseconds have passed.
fn millis_up(nanos: u64) -> i64 {
    i64::try_from(nanos.div_ceil(1_000_000)).unwrap_or(i64::MAX / 2)
}

fn turn_ms() -> i64 {
    i64::try_from(GATE_TURN.as_millis()).unwrap_or(i64::MAX)
}

impl<H> Queue<H> {
    /// The domain whose turn it is and the leaf that sends there, if it has lanes. Leaves that may
    /// not send now are set aside on the way, so many at a time.
    pub(super) fn turn(&mut self) -> Option<(u32, Option<u32>)> {
        for _ in 0..GATE_STEPS_MAX {
            let domain = Some(self.ring.head).filter(|domain| *domain != NONE)?;
            let Some(leaf) = self.leaf_in_turn(domain) else { return Some((domain, None)) };
            let flow = self.flow_of(leaf);
            if !self.flows.is_gated(flow) || self.passes(leaf, flow) {
                return Some((domain, Some(leaf)));
            }
        }
        self.flows.has_more = true;
        None
    }

    fn passes(&mut self, leaf: u32, flow: u32) -> bool {
        let verdict = self.flows.ask((flow, leaf), self.here, self.clock);
        match verdict {
            Verdict::Pass => self.passed(leaf, flow),
            Verdict::OfFlow => {
                self.flows.leave_turns(flow);
                self.set_aside(leaf, flow);
            }
            Verdict::OfTenant => {
                self.set_aside(leaf, flow);
                self.flows.enter_turns(flow);
            }
        }
        verdict == Verdict::Pass
    }

    /// A message of `flow` departs from `leaf`: let go who is next.
    fn passed(&mut self, leaf: u32, flow: u32) {
        let tenant = self.flows.rows[flow].tenant;
        let whose = Whose::Tenant(tenant);
        let is_over = self.flows.charge_turn(flow);
        if is_over || self.flows.waits_for_tenant(flow) {
            self.let_one_go(whose);
        } else if self.flows.has_waiting(tenant) {
            // It goes on with what else stands in this leaf.
            let (_, now) = self.clock.now();
            self.flows.set_next(whose, leaf);
            self.flows.set_timer(whose, now + turn_ms());
        }
        self.let_one_go(Whose::Flow(flow));
    }

    fn set_aside(&mut self, leaf: u32, flow: u32) {
        self.leave_rings(leaf);
        let Some(gate) = self.flows.rows[flow].gate.as_deref_mut() else { return };
        gate.aside.push_back(self.lanes.rows_mut(), leaf, Lane::ring);
        self.flows.aside.insert(flow);
        let domain = self.count_out(leaf);
        self.settle(domain);
    }

    /// A leaf is set aside no more, and in no ring: its domain.
    pub(super) fn take_back(&mut self, leaf: u32) -> u32 {
        let flow = self.flow_of(leaf);
        let gate = self.flows.rows[flow].gate.as_deref_mut().expect("it was set aside by it");
        gate.aside.remove(self.lanes.rows_mut(), leaf, Lane::ring);
        if gate.aside.is_empty() {
            self.flows.aside.remove(&flow);
            self.flows.leave_turns(flow);
        }
        self.count_in(leaf)
    }

    /// Let the next leaf behind a gate go that opened, if one is set aside; look again soon.
    fn let_one_go(&mut self, whose: Whose) {
        let (_, now) = self.clock.now();
        let flow = match whose {
            Whose::Flow(flow) => Some(flow).filter(|flow| !self.flows.waits_for_tenant(*flow)),
            Whose::Tenant(tenant) => self.flows.in_turn(tenant),
        };
        let leaf = flow.and_then(|flow| self.flows.first_aside(flow));
        let Some(leaf) = leaf else {
            return self.flows.set_timer(whose, 0);
        };
        self.let_go(leaf);
        self.flows.set_next(whose, leaf);
        self.flows.set_timer(whose, now + turn_ms());
    }

    fn let_go(&mut self, leaf: u32) {
        let domain = self.take_back(leaf);
        self.join_waiting(leaf);
        self.settle(domain);
    }

    /// Look at the gates whose time has come.
    pub(super) fn look_at_gates(&mut self) {
        self.flows.has_more = false;
        let (_, now) = self.clock.now();
        while let Some(whose) = self.flows.due_gate(now) {
            self.open(whose);
        }
    }

    fn open(&mut self, whose: Whose) {
        let Some(times) = self.flows.times(whose) else { return };
        let was_shut = std::mem::take(&mut times.shut_until) != 0;
        self.flows.set_timer(whose, 0);
        if let Whose::Flow(flow) = whose
            && was_shut
        {
            if self.flows.has_window(flow) {
                return self.let_all_go(flow);
            }
            let (_, now) = self.clock.now();
            let tenant = self.flows.rows[flow].tenant;
            let is_shut = self.flows.times(Whose::Tenant(tenant)).is_some_and(|t| t.is_shut(now));
            if is_shut && self.flows.first_aside(flow).is_some() {
                return self.flows.enter_turns(flow);
            }
        }
        self.let_one_go(whose);
    }

    /// Nothing of `flow` is set aside any more.
    fn let_all_go(&mut self, flow: u32) {
        while let Some(leaf) = self.flows.first_aside(flow) {
            self.let_go(leaf);
        }
    }

    /// The wall clock was set: windows open and shut at other times.
    pub(super) fn look_at_windows(&mut self) {
        let (_, now) = self.clock.now();
        for flow in self.flows.windowed() {
            if let Some(gate) = self.flows.gate_mut(flow) {
                gate.open_until = 0;
                gate.times.shut_until = gate.times.shut_until.min(now);
            }
            self.let_all_go(flow);
        }
    }

    /// When gates are to be looked at.
    pub(super) fn next_gate(&self) -> Option<WallTime> {
        let at = if self.flows.has_more { Some(0) } else { self.flows.next_timer() };
        at.map(WallTime)
    }

    /// Other gates hold from now on: nothing is set aside until they are asked.
    pub(super) fn open_all_gates(&mut self) {
        for flow in self.flows.aside.clone() {
            self.let_all_go(flow);
        }
        self.flows.forget_timers();
    }
}

impl Flows {
    /// Whether mail of `flow` has a gate to pass.
    fn is_gated(&self, flow: u32) -> bool {
        self.row(flow).is_some_and(|row| row.gate.is_some())
    }

    fn has_window(&self, flow: u32) -> bool {
        self.rows[flow].gate.as_ref().is_some_and(|gate| gate.window.is_some())
    }

    fn first_aside(&self, flow: u32) -> Option<u32> {
        let first = self.rows[flow].gate.as_ref()?.aside.head;
        Some(first).filter(|leaf| *leaf != NONE)
    }

    fn next_timer(&self) -> Option<i64> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Flows that wait for their window, or that are known to be in it.
    fn windowed(&self) -> Vec<u32> {
        self.all_rows().filter(|flow| self.has_window(*flow)).collect()
    }

    fn forget_timers(&mut self) {
        for (_, whose) in std::mem::take(&mut self.timers) {
            if let Some(times) = self.times(whose) {
                *times = Times::default();
            }
        }
    }
}
