//! Share a destination: between tenants by their weights, and in each between its campaigns.
//!
//! A domain in whose line only mail without a tenant stands has no lanes: its line is the domain's
//! own. Once other mail joins, everything stands in *leaves*, one for each flow, which hang on
//! *branches*, one for each tenant; when the last recipient has left, so have they.
//!
//! ```text
//!  domain ── branch: acme (10 a turn) ──┬─ leaf: news ────── run, run, run …
//!         │                             └─ leaf: receipts ── run
//!         └─ branch: globex (20 a turn) ── leaf: launch ──── run, run …
//! ```
//!
//! Both levels take turns by deficit round robin (Shreedhar and Varghese, 1995): whoever's turn it
//! is sends until its *quantum* of recipients is used up, and what a large transaction takes too
//! much is paid back in the next rounds. Whoever is alone owes nothing. A step costs O(1), spread
//! over the recipients that depart.
//!
//! A leaf that an operator stopped is in no ring; what stands in it, however much, costs nothing.

use std::collections::BTreeSet;

use hashbrown::HashTable;

use crate::queue::Queue;
use crate::queue::entry::Entry;
use crate::queue::flows::{FlowRow, Pause};
use crate::queue::list::{Links, List, NONE};
use crate::queue::table::Table;

/// A branch or a leaf.
#[derive(Debug)]
pub(super) struct Lane {
    domain: u32,
    /// The branch of a leaf; `NONE` for a branch.
    branch: u32,
    /// The tenant's row, or the flow's; `NONE` for mail of which nothing is said.
    of: u32,
    /// Of a branch: its leaves that may depart, linked by `ring`. Of a leaf: the first entries of
    /// its runs, linked by `Entry::lane`.
    line: List,
    ring: Links,
    in_ring: bool,
    /// Recipients in line; those of stopped leaves too.
    ready: u32,
    /// Recipients that it may send in this turn.
    credit: i32,
    /// Of a leaf: among those of its flow.
    kin: Links,
}

impl Lane {
    fn ring(&mut self) -> &mut Links {
        &mut self.ring
    }

    fn kin(&mut self) -> &mut Links {
        &mut self.kin
    }
}

/// All branches and leaves.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    rows: Table<Lane>,
    by_key: HashTable<u32>,
}

/// What a lane is found by: a domain, whether it is a leaf, and whose it is.
type Key = (u32, bool, u32);

fn hash_of(key: Key) -> u64 {
    let (domain, is_leaf, of) = key;
    let word = u64::from(domain) << 32 | u64::from(of);
    // Fibonacci hashing: the words are small and differ in their low bits.
    (word ^ u64::from(is_leaf) << 63).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32)
}

impl Lanes {
    fn key(&self, row: u32) -> Key {
        let lane = &self.rows[row];
        (lane.domain, lane.branch != NONE, lane.of)
    }

    fn find(&self, key: Key) -> Option<u32> {
        self.by_key.find(hash_of(key), |row| self.key(*row) == key).copied()
    }

    fn insert(&mut self, domain: u32, branch: u32, of: u32, credit: i32) -> u32 {
        let row = self.rows.insert(Lane {
            domain,
            branch,
            of,
            line: List::default(),
            ring: Links::default(),
            in_ring: false,
            ready: 0,
            credit,
            kin: Links::default(),
        });
        let Self { rows, by_key } = self;
        let key = |row: u32| (rows[row].domain, rows[row].branch != NONE, rows[row].of);
        by_key.insert_unique(hash_of(key(row)), row, |row| hash_of(key(*row)));
        row
    }

    fn remove(&mut self, row: u32) -> Lane {
        match self.by_key.find_entry(hash_of(self.key(row)), |other| *other == row) {
            Ok(entry) => drop(entry.remove()),
            Err(_) => unreachable!("every row is indexed"),
        }
        self.rows.remove(row)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.rows.len() == 0 && self.by_key.is_empty()
    }
}

/// Where an entry stands in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stand {
    /// In its domain's own line.
    Own(u32),
    /// In this leaf.
    Leaf(u32),
}

/// At which end something joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Front,
    Back,
}

impl<H> Queue<H> {
    /// Where `entry`, which was just counted as ready, is to stand; such a place is made.
    pub(super) fn stand(&mut self, entry: u32) -> Stand {
        let Entry { domain, message, .. } = self.entries[entry];
        let flow = self.messages[message].flow;
        if flow == NONE && self.domains.rows[domain].branches == 0 {
            return Stand::Own(domain);
        }
        if let Some(leaf) = self.lanes.find((domain, true, flow)) {
            return Stand::Leaf(leaf);
        }
        if self.domains.rows[domain].branches == 0 && !self.domains.rows[domain].line.is_empty() {
            self.branch_out(domain);
        }
        Stand::Leaf(self.new_leaf(domain, flow))
    }

    /// Where `entry`, which is in line, stands.
    pub(super) fn stands(&self, entry: u32) -> Stand {
        let Entry { domain, message, .. } = self.entries[entry];
        match self.domains.rows[domain].branches {
            0 => Stand::Own(domain),
            _ => {
                let flow = self.messages[message].flow;
                Stand::Leaf(self.lanes.find((domain, true, flow)).expect("it is in line"))
            }
        }
    }

    /// The line at a stand, and the entries that are linked in it.
    pub(super) fn line_at(&mut self, stand: Stand) -> (&mut List, &mut Table<Entry>) {
        let Self { domains, lanes, entries, .. } = self;
        let line = match stand {
            Stand::Own(domain) => &mut domains.rows[domain].line,
            Stand::Leaf(leaf) => &mut lanes.rows[leaf].line,
        };
        (line, entries)
    }

    /// Let what stands in a domain's own line stand in a leaf, as all that joins it will.
    fn branch_out(&mut self, domain: u32) {
        let leaf = self.new_leaf(domain, NONE);
        let row = &mut self.domains.rows[domain];
        self.lanes.rows[leaf].line = std::mem::take(&mut row.line);
        // All that is in line was in that one; whoever joins now was counted already.
        let ready = row.ready - 1;
        self.grow(leaf, ready);
        self.enter_rings(leaf, End::Front);
    }

    fn new_leaf(&mut self, domain: u32, flow: u32) -> u32 {
        let tenant = self.flows.tenant_of(flow);
        let branch = self.lanes.find((domain, false, tenant)).unwrap_or_else(|| {
            self.domains.rows[domain].branches += 1;
            self.lanes.insert(domain, NONE, tenant, self.flows.quantum_of_tenant(tenant))
        });
        let leaf = self.lanes.insert(domain, branch, flow, self.flows.quantum_of_flow(flow));
        if let Some(row) = self.flows.row_mut(flow) {
            row.leaves.push_back(&mut self.lanes.rows, leaf, Lane::kin);
        }
        leaf
    }

    /// One more stands, at this `end`, in what was found by `stand`.
    pub(super) fn stood(&mut self, stand: Stand, end: End) {
        let Stand::Leaf(leaf) = stand else { return };
        self.grow(leaf, 1);
        self.enter_rings(leaf, end);
        if end == End::Front {
            // It is back: its turn was not used.
            self.charge(leaf, -1);
        }
    }

    fn grow(&mut self, leaf: u32, recipients: u32) {
        let Lane { domain, branch, of, .. } = self.lanes.rows[leaf];
        self.lanes.rows[leaf].ready += recipients;
        self.lanes.rows[branch].ready += recipients;
        if self.flows.is_stopped(of) {
            self.domains.rows[domain].stopped += recipients;
        }
    }

    /// One less stands in what `stands` said.
    pub(super) fn left(&mut self, stand: Stand) {
        let Stand::Leaf(leaf) = stand else { return };
        let Lane { domain, branch, of, .. } = self.lanes.rows[leaf];
        self.lanes.rows[leaf].ready -= 1;
        self.lanes.rows[branch].ready -= 1;
        if self.flows.is_stopped(of) {
            self.domains.rows[domain].stopped -= 1;
        }
        if self.lanes.rows[leaf].ready > 0 {
            return;
        }
        self.leave_rings(leaf);
        if let Some(row) = self.flows.row_mut(of) {
            row.leaves.remove(&mut self.lanes.rows, leaf, Lane::kin);
        }
        let gone = self.lanes.remove(leaf);
        assert!(gone.line.is_empty() && !gone.in_ring, "a leaf in use");
        if self.lanes.rows[branch].ready == 0 {
            self.lanes.remove(branch);
            self.domains.rows[domain].branches -= 1;
        }
    }

    /// Let a leaf have its turns, and its branch, unless it is stopped.
    fn enter_rings(&mut self, leaf: u32, end: End) {
        let Lane { domain, branch, of, in_ring, .. } = self.lanes.rows[leaf];
        if in_ring || self.flows.is_stopped(of) {
            return;
        }
        let rows = &mut self.lanes.rows;
        let mut leaves = rows[branch].line;
        join(&mut leaves, rows, leaf, end);
        rows[branch].line = leaves;
        if !rows[branch].in_ring {
            join(&mut self.domains.rows[domain].lanes, rows, branch, end);
        }
    }

    fn leave_rings(&mut self, leaf: u32) {
        let Lane { domain, branch, in_ring, .. } = self.lanes.rows[leaf];
        if !in_ring {
            return;
        }
        let rows = &mut self.lanes.rows;
        let mut leaves = rows[branch].line;
        part(&mut leaves, rows, leaf);
        rows[branch].line = leaves;
        if leaves.is_empty() {
            part(&mut self.domains.rows[domain].lanes, rows, branch);
        }
    }

    /// The leaf of a domain whose turn it is, if it has lanes.
    pub(super) fn leaf_in_turn(&mut self, domain: u32) -> Option<u32> {
        if self.domains.rows[domain].branches == 0 {
            return None;
        }
        let Self { domains, lanes: Lanes { rows, .. }, flows, .. } = self;
        let of_branch = |lane: &Lane| flows.quantum_of_tenant(lane.of);
        let branch = in_turn(&mut domains.rows[domain].lanes, rows, of_branch);
        let mut leaves = rows[branch].line;
        let leaf = in_turn(&mut leaves, rows, |lane| flows.quantum_of_flow(lane.of));
        rows[branch].line = leaves;
        Some(leaf)
    }

    /// First of the runs in a leaf.
    pub(super) fn first_of(&self, leaf: u32) -> u32 {
        self.lanes.rows[leaf].line.head
    }

    /// So many recipients of a leaf have departed; it may be gone with them.
    pub(super) fn charge(&mut self, leaf: u32, recipients: i32) {
        let Some(&Lane { branch, .. }) = self.lanes.rows.get(leaf) else { return };
        self.lanes.rows[leaf].credit -= recipients;
        self.lanes.rows[branch].credit -= recipients;
    }

    /// The lines of a domain, in the order in which they would have their turns, stopped ones last.
    pub(super) fn lines_of(&self, domain: u32) -> Vec<List> {
        let row = &self.domains.rows[domain];
        if row.branches == 0 {
            return vec![row.line];
        }
        let some = |row: u32| Some(row).filter(|row| *row != NONE);
        let next = |row: &u32| some(self.lanes.rows[*row].ring.next);
        let branches = std::iter::successors(some(row.lanes.head), next);
        let leaves = branches.flat_map(|branch| {
            std::iter::successors(some(self.lanes.rows[branch].line.head), next)
        });
        let mut lines: Vec<List> = leaves.map(|leaf| self.lanes.rows[leaf].line).collect();
        if row.stopped > 0 {
            lines.extend(self.stopped_lines(domain));
        }
        lines
    }

    fn stopped_lines(&self, domain: u32) -> impl Iterator<Item = List> {
        let flows = self.flows.pauses().iter().flat_map(|pause| self.flows.meant_by(pause));
        let flows: BTreeSet<u32> = flows.collect();
        let leaves =
            flows.into_iter().filter_map(move |flow| self.lanes.find((domain, true, flow)));
        leaves.map(|leaf| self.lanes.rows[leaf].line)
    }

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

    fn leaves_stopped(&mut self, flow: u32, stopped: bool) {
        let mut next = self.flows.row(flow).map_or(NONE, |row: &FlowRow| row.leaves.head);
        while next != NONE {
            let Lane { domain, ready, kin, .. } = self.lanes.rows[next];
            let row = &mut self.domains.rows[domain];
            if stopped {
                row.stopped += ready;
                self.leave_rings(next);
            } else {
                row.stopped -= ready;
                self.enter_rings(next, End::Back);
            }
            self.settle(domain);
            next = kin.next;
        }
    }
}

/// Put a lane, which is in no ring, at an end of the one that is `list`.
fn join(list: &mut List, rows: &mut Table<Lane>, row: u32, end: End) {
    match end {
        End::Front => list.push_front(rows, row, Lane::ring),
        End::Back => list.push_back(rows, row, Lane::ring),
    }
    rows[row].in_ring = true;
}

fn part(list: &mut List, rows: &mut Table<Lane>, row: u32) {
    list.remove(rows, row, Lane::ring);
    rows[row].in_ring = false;
}

/// Whose turn it is in a ring, which is not empty.
fn in_turn(list: &mut List, rows: &mut Table<Lane>, quantum: impl Fn(&Lane) -> i32) -> u32 {
    loop {
        let row = list.head;
        let turn = quantum(&rows[row]);
        if list.tail == row {
            rows[row].credit = turn;
            return row;
        }
        if rows[row].credit > 0 {
            return row;
        }
        rows[row].credit += turn;
        list.remove(rows, row, Lane::ring);
        list.push_back(rows, row, Lane::ring);
    }
}
