//! Know what is queued for whom: tenants, and what each of them sends as one.
//!
//! In: how the senders of messages want them handled; terms; what operators pause. Out: a message's
//! *flow*: its tenant, its campaign and the band of its priority. Messages of which nothing is said
//! have the flow `NONE`, which costs nothing here.
//!
//! Cost: a row a flow and a tenant that has messages in the queue; they go when their last message
//! does. What is paused is remembered as long as it is.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashTable;

use crate::base::limits::CAMPAIGN_WEIGHT_DEFAULT;
use crate::base::time::Monotonic;
use crate::mail::handling::{CampaignName, Handling, Priority, TenantName, sender};
use crate::queue::campaigns::Waiting;
use crate::queue::gates::{FlowGate, Pace, TenantGate, Whose};
use crate::queue::list::{Links, List, NONE};
use crate::queue::paces::SharedPaces;
use crate::queue::sizes::Sizes;
use crate::queue::table::Table;
use crate::queue::terms::{TenantTerms, Tenants, Terms};

/// What an operator can pause: all that a tenant sends, or one campaign of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pause {
    /// Whose.
    pub tenant: TenantName,
    /// `None`: all.
    pub campaign: Option<CampaignName>,
}

/// What a recipient counts against what may be sent a turn, so that weights below the usual one are
/// told apart.
pub(super) const COST: i32 = CAMPAIGN_WEIGHT_DEFAULT as i32;

/// Priorities that are told apart: each band has twice the share of the one below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Band(u8);

impl Band {
    /// Where nothing is said.
    pub(super) const NORMAL: Self = Self(2);
    /// All of them.
    pub(super) const ALL: [Self; 5] = [Self(0), Self(1), Self(2), Self(3), Self(4)];

    pub(super) fn of(priority: Priority) -> Self {
        Self(match priority.value() {
            ..=-5 => 0,
            -4..=-1 => 1,
            0 => 2,
            1..=4 => 3,
            5.. => 4,
        })
    }

    /// Recipients a turn.
    pub(super) fn quantum(self) -> i32 {
        1 << self.0
    }
}

/// A tenant with messages in the queue.
#[derive(Debug)]
pub(super) struct TenantRow {
    /// `None`: mail without one that says something else, a priority perhaps.
    pub(super) name: Option<TenantName>,
    terms: TenantTerms,
    /// Recipients in the queue.
    recipients: u64,
    /// They are more than it may have.
    over: bool,
    stopped: bool,
    /// What its mail has to pass, if anything.
    pub(super) gate: Option<TenantGate>,
    /// Linked by `FlowRow::siblings`.
    flows: List,
}

/// What a tenant sends as one.
#[derive(Debug)]
pub(super) struct FlowRow {
    pub(super) tenant: u32,
    pub(super) campaign: Option<CampaignName>,
    pub(super) band: Band,
    hash: u64,
    messages: u32,
    /// Its campaign's.
    weight: u16,
    /// Of its messages, where that is not the node's.
    lifetime: Option<Duration>,
    stopped: bool,
    /// What its mail has to pass, for its campaign's sake or its tenant's.
    pub(super) gate: Option<Box<FlowGate>>,
    /// Among those that wait for their tenant's turn.
    turn: Links,
    siblings: Links,
    /// Its recipients.
    pub(super) waiting: Waiting,
    /// Among those of about its size.
    pub(super) peers: Links,
    /// Its leaves, one a domain. Linked by `Lane::kin`.
    pub(super) leaves: List,
}

impl FlowRow {
    pub(super) fn turn(&mut self) -> &mut Links {
        &mut self.turn
    }

    fn siblings(&mut self) -> &mut Links {
        &mut self.siblings
    }
}

/// All flows with messages in the queue.
#[derive(Debug, Default)]
pub(super) struct Flows {
    pub(super) rows: Table<FlowRow>,
    pub(super) tenants: Table<TenantRow>,
    by_key: HashTable<u32>,
    /// By recipients. Linked by `FlowRow::peers`.
    pub(super) sizes: Sizes,
    by_name: HashMap<Option<TenantName>, u32>,
    terms: Tenants,
    pauses: BTreeSet<Pause>,
    /// Those who have more in the queue than they may, and whether that changed since it was asked.
    over: BTreeSet<TenantName>,
    over_changed: bool,
    pub(super) paces: Arc<SharedPaces>,
    /// The time that was told last.
    pub(super) now: Monotonic,
    /// Gates by when, on the own clock, they are looked at.
    pub(super) timers: BTreeSet<(i64, Whose)>,
    /// Flows of which leaves are set aside.
    pub(super) aside: BTreeSet<u32>,
    /// More leaves are to be set aside than one look did.
    pub(super) has_more: bool,
}

impl Flows {
    /// The flow of a message that is handled so, which has one more message now.
    pub(super) fn enter(&mut self, handling: Option<&Handling>) -> u32 {
        let Some(handling) = handling else { return NONE };
        let Handling { tenant, campaign, priority, .. } = handling;
        let (campaign, band) =
            (campaign.as_ref().filter(|_| tenant.is_some()), Band::of(*priority));
        if tenant.is_none() && band == Band::NORMAL {
            return NONE;
        }
        let flow = self.intern(tenant.as_ref(), campaign, band);
        self.rows[flow].messages += 1;
        flow
    }

    /// The flow of these, if one has messages in the queue.
    pub(super) fn find(
        &self,
        tenant: Option<&TenantName>,
        campaign: Option<&CampaignName>,
        band: Band,
    ) -> Option<u32> {
        let Self { rows, tenants, by_key, .. } = self;
        let same = |row: &u32| {
            let flow = &rows[*row];
            flow.band == band
                && flow.campaign.as_ref() == campaign
                && tenants[flow.tenant].name.as_ref() == tenant
        };
        by_key.find(hash_of(tenant, campaign, band), same).copied()
    }

    fn intern(
        &mut self,
        tenant: Option<&TenantName>,
        campaign: Option<&CampaignName>,
        band: Band,
    ) -> u32 {
        if let Some(row) = self.find(tenant, campaign, band) {
            return row;
        }
        let hash = hash_of(tenant, campaign, band);
        let stopped = tenant.is_some_and(|tenant| {
            let pause = Pause { tenant: tenant.clone(), campaign: campaign.cloned() };
            pause.campaign.is_some() && self.pauses.contains(&pause)
        });
        let tenant = self.intern_tenant(tenant);
        let (weight, lifetime) = self.terms_of(tenant, campaign);
        let gate = self.gate_of(tenant, campaign);
        let flow = self.rows.insert(FlowRow {
            tenant,
            campaign: campaign.cloned(),
            band,
            hash,
            messages: 0,
            weight,
            lifetime,
            gate,
            turn: Links::default(),
            stopped,
            siblings: Links::default(),
            waiting: Waiting::new(self.now),
            peers: Links::default(),
            leaves: List::default(),
        });
        self.tenants[tenant].flows.push_back(&mut self.rows, flow, FlowRow::siblings);
        let rows = &self.rows;
        self.by_key.insert_unique(hash, flow, |row| rows[*row].hash);
        flow
    }

    fn intern_tenant(&mut self, name: Option<&TenantName>) -> u32 {
        let name = name.cloned();
        if let Some(row) = self.by_name.get(&name) {
            return *row;
        }
        let pause = name.clone().map(|tenant| Pause { tenant, campaign: None });
        let gate = self.gate_of_tenant(name.as_ref());
        let row = self.tenants.insert(TenantRow {
            terms: self.terms.of_tenant(name.as_ref()),
            recipients: 0,
            over: false,
            stopped: pause.is_some_and(|pause| self.pauses.contains(&pause)),
            name: name.clone(),
            gate,
            flows: List::default(),
        });
        self.by_name.insert(name, row);
        row
    }

    /// A recipient of a message of `flow` is in the queue, or has left it.
    pub(super) fn count(&mut self, flow: u32, change: i64) {
        if let Some(row) = self.row(flow) {
            let tenant = row.tenant;
            if change < 0 {
                self.rows[flow].waiting.left(self.now);
            }
            let row = &mut self.tenants[tenant];
            row.recipients = row.recipients.checked_add_signed(change).expect("as many leave");
            self.weigh(tenant);
        }
    }

    /// See whether a tenant has more in the queue than it may.
    fn weigh(&mut self, tenant: u32) {
        let row = &self.tenants[tenant];
        let Some(name) = &row.name else { return };
        let is_over = row.recipients > row.terms.queued_max;
        if is_over == row.over {
            return;
        }
        if is_over {
            self.over.insert(name.clone());
        } else {
            self.over.remove(name);
        }
        self.tenants[tenant].over = is_over;
        self.over_changed = true;
    }

    /// Those who have more in the queue than they may, if they are others than when this was asked.
    pub(super) fn over(&mut self) -> Option<&BTreeSet<TenantName>> {
        std::mem::take(&mut self.over_changed).then_some(&self.over)
    }

    /// Whether one message alone is left of `flow`.
    pub(super) fn is_last_of(&self, flow: u32) -> bool {
        self.row(flow).is_some_and(|row| row.messages == 1)
    }

    /// A message of `flow` has left the queue.
    pub(super) fn leave(&mut self, flow: u32) {
        if flow == NONE {
            return;
        }
        self.rows[flow].messages -= 1;
        if self.rows[flow].messages > 0 {
            return;
        }
        self.forget_timer(Whose::Flow(flow));
        let tenant = self.rows[flow].tenant;
        self.tenants[tenant].flows.remove(&mut self.rows, flow, FlowRow::siblings);
        let gone = self.rows.remove(flow);
        assert!(gone.leaves.is_empty(), "a flow in line");
        match self.by_key.find_entry(gone.hash, |other| *other == flow) {
            Ok(entry) => drop(entry.remove()),
            Err(_) => unreachable!("every row is indexed"),
        }
        if self.tenants[tenant].flows.is_empty() {
            self.forget_timer(Whose::Tenant(tenant));
            let gone = self.tenants.remove(tenant);
            self.by_name.remove(&gone.name);
        }
    }

    pub(super) fn row(&self, flow: u32) -> Option<&FlowRow> {
        if flow == NONE { None } else { self.rows.get(flow) }
    }

    pub(super) fn row_mut(&mut self, flow: u32) -> Option<&mut FlowRow> {
        if flow == NONE { None } else { Some(&mut self.rows[flow]) }
    }

    /// The tenant of a flow; `NONE` for mail without one, whatever else it says.
    pub(super) fn tenant_of(&self, flow: u32) -> u32 {
        let named = self.row(flow).filter(|row| self.tenants[row.tenant].name.is_some());
        named.map_or(NONE, |row| row.tenant)
    }

    /// What a flow may send a turn, beside others of its tenant: recipients, of which each counts
    /// [`COST`].
    pub(super) fn quantum_of_flow(&self, flow: u32) -> i32 {
        let (band, weight) = self
            .row(flow)
            .map_or((Band::NORMAL, CAMPAIGN_WEIGHT_DEFAULT), |row| (row.band, row.weight));
        band.quantum() * i32::from(weight)
    }

    /// What a tenant may send a turn, beside others: the same.
    pub(super) fn quantum_of_tenant(&self, tenant: u32) -> i32 {
        let row = Some(tenant).filter(|tenant| *tenant != NONE);
        let terms = row.map_or_else(TenantTerms::default, |row| self.tenants[row].terms);
        i32::from(terms.weight) * COST
    }

    /// The lifetime of messages of `flow` that come in, where it is not the node's.
    pub(super) fn lifetime(&self, flow: u32) -> Option<Duration> {
        self.row(flow).and_then(|row| row.lifetime)
    }

    /// Whether nothing of `flow` is to depart.
    pub(super) fn is_stopped(&self, flow: u32) -> bool {
        let row = self.row(flow);
        row.is_some_and(|row| row.stopped || self.tenants[row.tenant].stopped)
    }

    /// Whether a message of `flow` is of this tenant and this campaign, as far as they are named.
    pub(super) fn is_of(
        &self,
        flow: u32,
        tenant: Option<&TenantName>,
        campaign: Option<&CampaignName>,
    ) -> bool {
        if tenant.is_none() && campaign.is_none() {
            return true;
        }
        self.row(flow).is_some_and(|row| {
            tenant.is_none_or(|_| self.tenants[row.tenant].name.as_ref() == tenant)
                && campaign.is_none_or(|_| row.campaign.as_ref() == campaign)
        })
    }

    /// The flows that a pause is about.
    pub(super) fn meant_by(&self, pause: &Pause) -> Vec<u32> {
        let Some(tenant) = self.by_name.get(&Some(pause.tenant.clone())) else {
            return Vec::new();
        };
        let is_meant =
            |row: &u32| pause.campaign.is_none() || self.rows[*row].campaign == pause.campaign;
        self.flows_of(*tenant).filter(is_meant).collect()
    }

    /// The flows of the tenant of this name.
    pub(super) fn flows_named(&self, tenant: &TenantName) -> impl Iterator<Item = u32> {
        let tenant = self.by_name.get(&Some(tenant.clone())).copied();
        tenant.into_iter().flat_map(|tenant| self.flows_of(tenant))
    }

    /// The flows of a tenant.
    fn flows_of(&self, tenant: u32) -> impl Iterator<Item = u32> {
        let some = |row: u32| Some(row).filter(|row| *row != NONE);
        let first = some(self.tenants[tenant].flows.head);
        std::iter::successors(first, move |row| some(self.rows[*row].siblings.next))
    }

    /// Remember that this is stopped, or is no more. The leaves are for the caller to tell.
    pub(super) fn set_stopped(&mut self, pause: &Pause, stopped: bool) {
        if stopped {
            self.pauses.insert(pause.clone());
        } else {
            self.pauses.remove(pause);
        }
        match &pause.campaign {
            None => {
                if let Some(row) = self.by_name.get(&Some(pause.tenant.clone())) {
                    self.tenants[*row].stopped = stopped;
                }
            }
            Some(_) => {
                for row in self.meant_by(pause) {
                    self.rows[row].stopped = stopped;
                }
            }
        }
    }

    pub(super) fn pauses(&self) -> &BTreeSet<Pause> {
        &self.pauses
    }

    /// Whether these are the terms that hold.
    pub(super) fn has_terms(&self, terms: &Tenants) -> bool {
        self.terms == *terms
    }

    /// These terms hold from now on. No leaf is set aside.
    pub(super) fn set_terms(&mut self, terms: Tenants) {
        self.terms = terms;
        for (name, row) in self.by_name.clone() {
            self.tenants[row].terms = self.terms.of_tenant(name.as_ref());
            self.tenants[row].gate = self.gate_of_tenant(name.as_ref());
            self.weigh(row);
            for flow in self.flows_of(row).collect::<Vec<_>>() {
                let campaign = self.rows[flow].campaign.clone();
                let (weight, lifetime) = self.terms_of(row, campaign.as_ref());
                let gate = self.gate_of(row, campaign.as_ref());
                let flow = &mut self.rows[flow];
                (flow.weight, flow.lifetime, flow.gate) = (weight, lifetime, gate);
            }
        }
    }

    /// Weight and lifetime of a tenant's campaign.
    fn terms_of(&self, tenant: u32, campaign: Option<&CampaignName>) -> (u16, Option<Duration>) {
        let row = &self.tenants[tenant];
        let of_campaign = self.terms.of_campaign(row.name.as_ref(), campaign);
        let weight = of_campaign.map_or(CAMPAIGN_WEIGHT_DEFAULT, |terms| terms.weight);
        let terms = of_campaign.map_or_else(Terms::default, |terms| terms.terms);
        (weight, terms.or(row.terms.terms).lifetime)
    }

    fn gate_of_tenant(&self, name: Option<&TenantName>) -> Option<TenantGate> {
        let rate = self.terms.of_tenant(name).rate?;
        let cell = self.paces.share(name?, None, self.now);
        Some(TenantGate::new(Pace { rate, cell }))
    }

    fn gate_of(&self, tenant: u32, campaign: Option<&CampaignName>) -> Option<Box<FlowGate>> {
        let row = &self.tenants[tenant];
        let terms = self.terms.of_campaign(row.name.as_ref(), campaign);
        let rate = terms.and_then(|terms| terms.rate).zip(row.name.as_ref());
        let pace = rate.map(|(rate, name)| {
            let cell = self.paces.share(name, campaign, self.now);
            Pace { rate, cell }
        });
        let window = terms.and_then(|terms| terms.window.clone());
        let is_open = pace.is_none() && window.is_none() && row.gate.is_none();
        (!is_open).then(|| Box::new(FlowGate::new(pace, window)))
    }

    /// All flows.
    pub(super) fn all_rows(&self) -> impl Iterator<Item = u32> {
        self.by_name.values().flat_map(|tenant| self.flows_of(*tenant))
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.rows.len() + self.tenants.len() + self.by_key.len() + self.by_name.len() == 0
            && self.timers.is_empty()
            && self.aside.is_empty()
    }
}

fn hash_of(tenant: Option<&TenantName>, campaign: Option<&CampaignName>, band: Band) -> u64 {
    sender(tenant, campaign) ^ u64::from(band.0).rotate_left(40)
}
