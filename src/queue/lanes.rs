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
//! much is paid back in the next rounds. Whoever is alone owes nothing. Whoever had nothing in line
//! goes before those that wait, for one quantum, as in FQ-CoDel (RFC 8290 §4.2): a receipt now and
//! then does not wait for a round of the large ones. So that nobody has that twice in a round, a
//! lane with nothing in line keeps its place until its turn comes, or nothing of its domain is in
//! line, or its flow has left the queue. A step costs O(1), spread over the recipients that depart.
//!
//! A leaf that an operator stopped, or whose flow may not send now, is in no ring (`aside.rs`);
//! what stands in it, however much, costs nothing.

mod aside;
mod rested;

use hashbrown::HashTable;

use crate::queue::Queue;
use crate::queue::entry::Entry;
use crate::queue::flows::COST;
use crate::queue::list::{Links, List, NONE};
use crate::queue::table::{Table, hash_of_rows};

/// A branch or a leaf.
#[derive(Debug)]
pub(super) struct Lane {
    domain: u32,
    /// The branch of a leaf; `NONE` for a branch.
    branch: u32,
    /// The tenant's row, or the flow's; `NONE` for mail of which nothing is said.
    of: u32,
    /// Of a leaf: the first entries of its runs, linked by `Entry::lane`.
    line: List,
    /// Of a branch: its leaves that may depart, and how many it has in all.
    rings: Rings,
    leaves: u32,
    /// Where it is itself, and its neighbours there.
    place: Place,
    ring: Links,
    /// Recipients in line; of a branch those of stopped leaves are not counted.
    ready: u32,
    /// What it may send in this turn: recipients, of which each counts [`COST`].
    credit: i32,
    /// Of a leaf: among those of its flow.
    kin: Links,
    /// Of a leaf: its flow may not send now (`gates.rs`).
    is_aside: bool,
    /// Of a leaf: whether it rests (`resting.rs`).
    rested: Rested,
}

/// Whether a leaf may have its turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rested {
    /// As far as this goes.
    No,
    /// One departure, and then it rests.
    Probed,
    /// It is in no ring.
    Rests,
}

/// In which ring a lane is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In none: what stands in it does not depart.
    Out,
    Fresh,
    Waiting,
}

/// Lanes that take turns.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rings {
    /// Those that had nothing in line: they go first.
    fresh: List,
    waiting: List,
}

/// Whose turn it is.
enum Turn {
    Of(u32),
    /// Nobody's: this lane has nothing in line, and its turn has come.
    Idle(u32),
}

impl Rings {
    fn list(&mut self, place: Place) -> &mut List {
        match place {
            Place::Fresh => &mut self.fresh,
            Place::Waiting | Place::Out => &mut self.waiting,
        }
    }

    fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.waiting.is_empty()
    }

    /// Let a lane in that is in no ring.
    fn enter(&mut self, rows: &mut Table<Lane>, row: u32, place: Place, end: End) {
        let list = self.list(place);
        match end {
            End::Front => list.push_front(rows, row, Lane::ring),
            End::Back => list.push_back(rows, row, Lane::ring),
        }
        rows[row].place = place;
    }

    fn leave(&mut self, rows: &mut Table<Lane>, row: u32) {
        self.list(rows[row].place).remove(rows, row, Lane::ring);
        rows[row].place = Place::Out;
    }

    /// Who has the next turn, of rings that are not empty.
    fn turn(&mut self, rows: &mut Table<Lane>, quantum: impl Fn(&Lane) -> i32) -> Turn {
        loop {
            let is_fresh = !self.fresh.is_empty();
            let row = if is_fresh { self.fresh.head } else { self.waiting.head };
            let turn = quantum(&rows[row]);
            let lane = &mut rows[row];
            if lane.ready == 0 && !is_fresh {
                return Turn::Idle(row);
            }
            if lane.ready > 0 && self.waiting.head == row && self.waiting.tail == row {
                lane.credit = turn;
            }
            if lane.ready > 0 && lane.credit > 0 {
                return Turn::Of(row);
            }
            lane.credit += if lane.credit > 0 { 0 } else { turn };
            self.leave(rows, row);
            self.enter(rows, row, Place::Waiting, End::Back);
        }
    }
}

impl Lane {
    pub(super) fn ring(&mut self) -> &mut Links {
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
    hash_of_rows(word ^ u64::from(is_leaf) << 63)
}

impl Lanes {
    pub(super) fn rows_mut(&mut self) -> &mut Table<Lane> {
        &mut self.rows
    }

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
            rings: Rings::default(),
            leaves: 0,
            place: Place::Out,
            ring: Links::default(),
            ready: 0,
            credit,
            kin: Links::default(),
            is_aside: false,
            rested: Rested::No,
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
            // All that is in line is in that one; whoever joins now was counted already.
            self.branch_out(domain, self.domains.rows[domain].ready - 1);
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
    pub(super) fn branch_out(&mut self, domain: u32, ready: u32) {
        let leaf = self.new_leaf(domain, NONE);
        let row = &mut self.domains.rows[domain];
        self.lanes.rows[leaf].line = std::mem::take(&mut row.line);
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
        self.lanes.rows[branch].leaves += 1;
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
        let Lane { domain, branch, .. } = self.lanes.rows[leaf];
        self.lanes.rows[leaf].ready += recipients;
        match self.is_out(leaf) {
            true => self.domains.rows[domain].stopped += recipients,
            false => self.lanes.rows[branch].ready += recipients,
        }
    }

    /// One less stands in what `stands` said.
    pub(super) fn left(&mut self, stand: Stand) {
        let Stand::Leaf(leaf) = stand else { return };
        let Lane { domain, branch, .. } = self.lanes.rows[leaf];
        self.lanes.rows[leaf].ready -= 1;
        let stopped = self.is_out(leaf);
        match stopped {
            true => self.domains.rows[domain].stopped -= 1,
            false => self.lanes.rows[branch].ready -= 1,
        }
        if stopped && self.lanes.rows[leaf].ready == 0 {
            self.drop_leaf(leaf);
        }
        if self.domains.rows[domain].ready == 0 {
            self.drop_lanes(domain);
        }
    }

    /// Let a leaf have its turns, and its branch, unless it is stopped or does already.
    fn enter_rings(&mut self, leaf: u32, end: End) {
        self.enter_rings_at(leaf, Place::Fresh, end);
    }

    fn enter_rings_at(&mut self, leaf: u32, into: Place, end: End) {
        let Lane { domain, branch, place, .. } = self.lanes.rows[leaf];
        if place != Place::Out || self.is_out(leaf) {
            return;
        }
        let rows = &mut self.lanes.rows;
        let mut rings = rows[branch].rings;
        rings.enter(rows, leaf, into, end);
        rows[branch].rings = rings;
        if rows[branch].place == Place::Out {
            self.domains.rows[domain].lanes.enter(rows, branch, into, end);
        }
    }

    pub(super) fn leave_rings(&mut self, leaf: u32) {
        let Lane { domain, branch, place, .. } = self.lanes.rows[leaf];
        if place == Place::Out {
            return;
        }
        let rows = &mut self.lanes.rows;
        let mut rings = rows[branch].rings;
        rings.leave(rows, leaf);
        rows[branch].rings = rings;
        if rings.is_empty() {
            self.domains.rows[domain].lanes.leave(rows, branch);
        }
    }

    /// Forget a leaf in which nothing stands, and its branch if that was its last.
    fn drop_leaf(&mut self, leaf: u32) {
        self.leave_rings(leaf);
        if self.lanes.rows[leaf].is_aside {
            self.take_back(leaf);
        }
        let Lane { domain, branch, of, .. } = self.lanes.rows[leaf];
        if let Some(row) = self.flows.row_mut(of) {
            row.leaves.remove(&mut self.lanes.rows, leaf, Lane::kin);
        }
        if self.lanes.rows[leaf].rested != Rested::No {
            self.rests.remove((domain, leaf));
        }
        let gone = self.lanes.remove(leaf);
        assert!(gone.line.is_empty() && gone.ready == 0, "a leaf in use");
        self.lanes.rows[branch].leaves -= 1;
        if self.lanes.rows[branch].leaves == 0 {
            self.lanes.remove(branch);
            self.domains.rows[domain].branches -= 1;
        }
    }

    /// Forget all lanes of a domain that has nothing in line.
    fn drop_lanes(&mut self, domain: u32) {
        let Rings { fresh, waiting } = self.domains.rows[domain].lanes;
        for branch in self.row_after(fresh).chain(self.row_after(waiting)).collect::<Vec<_>>() {
            self.drop_leaves(branch);
        }
    }

    /// Forget the leaves of a branch, in none of which anything stands.
    fn drop_leaves(&mut self, branch: u32) {
        let Rings { fresh, waiting } = self.lanes.rows[branch].rings;
        for leaf in self.row_after(fresh).chain(self.row_after(waiting)).collect::<Vec<_>>() {
            self.drop_leaf(leaf);
        }
    }

    /// A flow is about to leave the queue: its leaves, in which nothing stands, go with it.
    pub(super) fn drop_leaves_of(&mut self, flow: u32) {
        while let Some(leaf) = self.flows.row(flow).map(|row| row.leaves.head) {
            if leaf == NONE {
                return;
            }
            self.drop_leaf(leaf);
        }
    }

    /// The leaf of a domain whose turn it is, if it has lanes.
    pub(super) fn leaf_in_turn(&mut self, domain: u32) -> Option<u32> {
        while self.domains.rows[domain].branches > 0 {
            let Self { domains, lanes: Lanes { rows, .. }, flows, .. } = self;
            let of_branch = |lane: &Lane| flows.quantum_of_tenant(lane.of);
            let branch = match domains.rows[domain].lanes.turn(rows, of_branch) {
                Turn::Of(branch) => branch,
                Turn::Idle(branch) => {
                    self.drop_leaves(branch);
                    continue;
                }
            };
            let mut rings = rows[branch].rings;
            let turn = rings.turn(rows, |lane| flows.quantum_of_flow(lane.of));
            rows[branch].rings = rings;
            match turn {
                Turn::Of(leaf) => return Some(leaf),
                Turn::Idle(leaf) => self.drop_leaf(leaf),
            }
        }
        None
    }

    /// First of the runs in a leaf.
    pub(super) fn first_of(&self, leaf: u32) -> u32 {
        self.lanes.rows[leaf].line.head
    }

    /// So many recipients of a leaf have departed; it may be gone with them.
    pub(super) fn charge(&mut self, leaf: u32, recipients: i32) {
        let Some(&Lane { branch, .. }) = self.lanes.rows.get(leaf) else { return };
        self.lanes.rows[leaf].credit -= recipients * COST;
        self.lanes.rows[branch].credit -= recipients * COST;
    }

    /// The lanes of a list of them, in its order.
    fn row_after(&self, list: List) -> impl Iterator<Item = u32> {
        let some = |row: u32| Some(row).filter(|row| *row != NONE);
        std::iter::successors(some(list.head), move |row| some(self.lanes.rows[*row].ring.next))
    }

    /// The lines of a domain, in the order in which they would have their turns, stopped ones last.
    pub(super) fn lines_of(&self, domain: u32) -> Vec<List> {
        let row = &self.domains.rows[domain];
        if row.branches == 0 {
            return vec![row.line];
        }
        let of_rings =
            |rings: Rings| self.row_after(rings.fresh).chain(self.row_after(rings.waiting));
        let leaves = of_rings(row.lanes).flat_map(|branch| of_rings(self.lanes.rows[branch].rings));
        let mut lines: Vec<List> = leaves.map(|leaf| self.lanes.rows[leaf].line).collect();
        if row.stopped > 0 {
            lines.extend(self.stopped_lines(domain));
        }
        lines
    }
}
