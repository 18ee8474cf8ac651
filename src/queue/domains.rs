//! Hold each destination domain that is queued once, with the lists that run through its entries.
//!
//! Cost: about 130 bytes and the name for each distinct domain; it goes when its last recipient
//! does.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use crate::base::slots::Slot;
use crate::mail::address::Domain;
use crate::queue::lanes::Rings;
use crate::queue::list::{Links, List};
use crate::queue::sizes::Sizes;
use crate::queue::table::{Named, Table};

/// A destination domain that has recipients in the queue; invalid once it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DomainId(pub Slot);

/// A domain's row.
#[derive(Debug)]
pub(super) struct DomainRow {
    pub(super) name: Domain,
    pub(super) hash: u64,
    /// First entries of the runs that are ready, in order of departure; none where it has branches.
    /// Linked by `Entry::lane`.
    pub(super) line: List,
    /// The branches that may depart (`lanes.rs`), and how many there are with those that may not.
    pub(super) lanes: Rings,
    pub(super) branches: u32,
    /// Entries that are not ready. Linked by `Entry::lane`.
    pub(super) rest: List,
    /// Its place in the ring of domains that may depart.
    pub(super) ring: Links,
    pub(super) in_ring: bool,
    /// The owner took nothing: no departure until `unpark` or `parked_until`.
    pub(super) parked: bool,
    /// When to try again by itself, in milliseconds of wall time; 0 for never.
    pub(super) parked_until: i64,
    /// Why the owner took nothing, for operators.
    pub(super) why: Option<Box<str>>,
    /// Recipients that the owner takes at a time; `u32::MAX` as long as it refused none.
    pub(super) window: u32,
    /// Recipients that came back since the window last grew.
    pub(super) returned: u32,
    pub(super) ready: u32,
    /// Those of `ready` that an operator stopped.
    pub(super) stopped: u32,
    pub(super) dispatched: u32,
    pub(super) deferred: u32,
    pub(super) held: u32,
    generation: u32,
    /// Its place among the domains of about its size.
    peers: Links,
}

impl Named for DomainRow {
    fn generation(&self) -> u32 {
        self.generation
    }
}

impl DomainRow {
    fn new(name: &Domain, hash: u64, generation: u32) -> Self {
        Self {
            name: name.clone(),
            hash,
            line: List::default(),
            lanes: Rings::default(),
            branches: 0,
            rest: List::default(),
            ring: Links::default(),
            in_ring: false,
            parked: false,
            parked_until: 0,
            why: None,
            window: u32::MAX,
            returned: 0,
            ready: 0,
            stopped: 0,
            dispatched: 0,
            deferred: 0,
            held: 0,
            generation,
            peers: Links::default(),
        }
    }

    /// How many there are in `rest`.
    pub(super) fn rest_len(&self) -> u32 {
        self.dispatched + self.deferred + self.held
    }

    /// Recipients in any state.
    pub(super) fn recipients(&self) -> u64 {
        [self.ready, self.dispatched, self.deferred, self.held].into_iter().map(u64::from).sum()
    }

    /// Whether a departure may leave now.
    pub(super) fn may_depart(&self) -> bool {
        self.ready > self.stopped && !self.parked && self.dispatched < self.window
    }

    pub(super) fn ring(&mut self) -> &mut Links {
        &mut self.ring
    }

    fn peers(&mut self) -> &mut Links {
        &mut self.peers
    }
}

/// All domains that are queued, by name.
#[derive(Debug, Default)]
pub(super) struct Domains {
    pub(super) rows: Table<DomainRow>,
    by_name: HashTable<u32>,
    /// By recipients. Linked by `DomainRow::peers`.
    sizes: Sizes,
}

impl Domains {
    /// The row of `name`, made if there is none.
    pub(super) fn intern(&mut self, name: &Domain) -> u32 {
        let hash = hash_of(name);
        let Self { rows, by_name, .. } = self;
        let same = |row: &u32| rows[*row].name == *name;
        if let Some(row) = by_name.find(hash, same) {
            return *row;
        }
        let row = rows.insert(DomainRow::new(name, hash, rows.generation()));
        by_name.insert_unique(hash, row, |row| rows[*row].hash);
        row
    }

    pub(super) fn find(&self, name: &Domain) -> Option<u32> {
        self.by_name.find(hash_of(name), |row| self.rows[*row].name == *name).copied()
    }

    /// `row` had `before` recipients: put it among its peers of now, who are others only at a power
    /// of two.
    pub(super) fn resized(&mut self, row: u32, before: u64) {
        let now = self.rows[row].recipients();
        self.sizes.resized(&mut self.rows, row, (before, now), DomainRow::peers);
    }

    /// Domains by how many bits their count of recipients has, most first.
    pub(super) fn by_size(&self) -> impl Iterator<Item = impl Iterator<Item = &DomainRow>> {
        let all = self.sizes.rows(&self.rows, |row| row.peers);
        all.map(|rows| rows.map(|row| &self.rows[row]))
    }

    /// Forget `row`, which has no recipients left.
    pub(super) fn forget(&mut self, row: u32) {
        let gone = self.rows.remove(row);
        assert!(gone.recipients() == 0 && !gone.in_ring, "a domain in use");
        match self.by_name.find_entry(gone.hash, |other| *other == row) {
            Ok(entry) => drop(entry.remove()),
            Err(_) => unreachable!("every row is indexed"),
        }
    }
}

/// The same for the same name in every shard of this build.
fn hash_of(name: &Domain) -> u64 {
    xxh3_64(name.as_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_row_until_it_is_forgotten() {
        let name = |text| Domain::parse(text).expect("a domain");
        let mut domains = Domains::default();
        let first = domains.intern(&name("a.example"));
        assert_eq!(domains.intern(&name("a.example")), first);
        assert_ne!(domains.intern(&name("b.example")), first);
        domains.forget(first);
        assert_eq!(domains.find(&name("a.example")), None);
        assert_eq!(domains.find(&name("b.example")), Some(1));
    }
}
