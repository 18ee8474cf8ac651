//! Find a message by its id.
//!
//! A hash table of row numbers, cut into parts: a part grows by itself, so that no insert waits for
//! a million others to be moved. Cost: 6 to 12 bytes a message.

use hashbrown::HashTable;

use crate::base::ids::MessageId;
use crate::queue::entry::Message;
use crate::queue::table::Table;

const PARTS: usize = 64;

/// Rows by message id.
#[derive(Debug)]
pub(super) struct IdIndex {
    parts: [HashTable<u32>; PARTS],
}

impl Default for IdIndex {
    fn default() -> Self {
        Self { parts: std::array::from_fn(|_| HashTable::new()) }
    }
}

impl IdIndex {
    /// Octets that it takes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.parts.iter().map(HashTable::allocation_size).sum()
    }

    pub(super) fn find(&self, id: MessageId, messages: &Table<Message>) -> Option<u32> {
        let hash = spread(id);
        self.parts[part(hash)].find(hash, |row| messages[*row].id == id).copied()
    }

    /// Enter `row`, whose id is not here.
    pub(super) fn insert(&mut self, id: MessageId, row: u32, messages: &Table<Message>) {
        let hash = spread(id);
        self.parts[part(hash)].insert_unique(hash, row, |row| spread(messages[*row].id));
    }

    pub(super) fn remove(&mut self, id: MessageId, row: u32) {
        let hash = spread(id);
        match self.parts[part(hash)].find_entry(hash, |other| *other == row) {
            Ok(entry) => drop(entry.remove()),
            Err(_) => unreachable!("every message is indexed"),
        }
    }
}

/// Ids count up: spread them over all bits (the finalizer of MurmurHash3). Nobody outside chooses
/// an id, so that no secret is needed.
fn spread(id: MessageId) -> u64 {
    let mut hash = id.0;
    hash = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ hash >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ hash >> 33
}

/// By bits in the middle: the table itself uses both ends.
fn part(hash: u64) -> usize {
    (hash >> 40) as usize % PARTS
}
