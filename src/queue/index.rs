//! Find a message by its id.
//!
//! A hash table of row numbers, cut into parts: a part grows by itself, so that no insert waits for
//! a million others to be moved. A full part doubles, so that it takes 5.7 to 11.4 bytes a message;
//! the largest part gets nearly twice the share of the smallest, so that they double one after
//! another. Cost: 8 bytes a message, whatever their number.

use hashbrown::HashTable;

use crate::base::ids::MessageId;
use crate::queue::entry::Message;
use crate::queue::table::Table;

const PARTS: usize = 64;
/// Values that the bits of a hash can have by which a part is chosen.
const VALUES: usize = 4_096;

/// The part of each value.
static PART_OF: [u8; VALUES] = shares();

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

/// Parts with shares that grow from one to the next by the 64th root of 2.
#[expect(clippy::cast_possible_truncation, reason = "64 parts and 4,096 values")]
const fn shares() -> [u8; VALUES] {
    const ROOT: f64 = 1.010_889_286_051_700_5;
    let mut part_of = [0; VALUES];
    // They add up to (2 - 1) / (root - 1) times the first.
    let mut share = VALUES as f64 * (ROOT - 1.0);
    let (mut value, mut part, mut end) = (0, 0, share);
    while value < VALUES {
        while value as f64 >= end && part + 1 < PARTS {
            part += 1;
            share *= ROOT;
            end += share;
        }
        part_of[value] = part as u8;
        value += 1;
    }
    part_of
}

impl IdIndex {
    /// Octets that it takes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.parts.iter().map(HashTable::allocation_size).sum()
    }

    pub(super) fn find(&self, id: MessageId, messages: &Table<Message>) -> Option<u32> {
        let hash = spread(id);
        self.parts[part(hash)].find(hash, |row| messages[*row].id() == id).copied()
    }

    /// Enter `row`, whose id is not here.
    pub(super) fn insert(&mut self, id: MessageId, row: u32, messages: &Table<Message>) {
        let hash = spread(id);
        self.parts[part(hash)].insert_unique(hash, row, |row| spread(messages[*row].id()));
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
    PART_OF[(hash >> 40) as usize % VALUES].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_part_has_twice_the_share_of_the_first_and_none_is_left_out() {
        let share = |part: u8| PART_OF.iter().filter(|other| **other == part).count();
        assert!((44..=46).contains(&share(0)), "{}", share(0));
        assert!((87..=90).contains(&share(63)), "{}", share(63));
        assert!((0..63).all(|part| share(part) <= share(part + 1) + 1));
    }
}
