//! Keep the newest messages in RAM for their first attempt, within a bound of octets.
//!
//! The oldest leave first: they are on disk. Each step is O(1), dropping one included. What is
//! known of a message that is not in RAM costs nothing here.

use hashbrown::HashTable;

use crate::queue::list::{Links, List};
use crate::queue::table::{Table, hash_of_rows};

/// Messages in RAM; `H` is what holds one, as an `Arc` of it.
#[derive(Debug)]
pub(super) struct Hot<H> {
    rows: Table<HotRow<H>>,
    /// Oldest first.
    order: List,
    by_message: HashTable<u32>,
    bytes: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct HotRow<H> {
    handle: H,
    bytes: usize,
    message: u32,
    order: Links,
}

impl<H> HotRow<H> {
    fn order(&mut self) -> &mut Links {
        &mut self.order
    }
}

fn hash_of(message: u32) -> u64 {
    hash_of_rows(message.into())
}

impl<H> Hot<H> {
    pub(super) fn new(bytes_max: usize) -> Self {
        let (rows, order, by_message) = (Table::default(), List::default(), HashTable::new());
        Self { rows, order, by_message, bytes: 0, bytes_max }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keep `handle` of `message`, which is not here, unless it is larger than the bound.
    pub(super) fn insert(&mut self, handle: H, bytes: usize, message: u32) {
        if bytes > self.bytes_max {
            return;
        }
        self.bytes += bytes;
        let Self { rows, by_message, .. } = self;
        let row = rows.insert(HotRow { handle, bytes, message, order: Links::default() });
        self.order.push_back(rows, row, HotRow::order);
        by_message.insert_unique(hash_of(message), row, |row| hash_of(rows[*row].message));
        while self.bytes > self.bytes_max {
            self.remove(self.rows[self.order.head].message);
        }
    }

    /// Forget `message`, if it is here.
    pub(super) fn remove(&mut self, message: u32) {
        let is_its = |row: &u32| self.rows[*row].message == message;
        let Ok(entry) = self.by_message.find_entry(hash_of(message), is_its) else { return };
        let (row, _) = entry.remove();
        self.order.remove(&mut self.rows, row, HotRow::order);
        self.bytes -= self.rows.remove(row).bytes;
    }

    pub(super) fn handle(&self, message: u32) -> Option<&H> {
        let is_its = |row: &u32| self.rows[*row].message == message;
        let row = self.by_message.find(hash_of(message), is_its)?;
        Some(&self.rows[*row].handle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_leave_first_and_only_as_many_as_must() {
        let mut hot = Hot::new(10);
        hot.insert('x', 4, 0);
        hot.insert('x', 4, 1);
        assert_eq!(hot.bytes(), 8);
        hot.insert('y', 5, 2);
        let here = |hot: &Hot<char>| (0..4).filter(|n| hot.handle(*n).is_some()).collect();
        let all: Vec<u32> = here(&hot);
        assert_eq!((all, hot.bytes()), (vec![1, 2], 9));
        hot.remove(1);
        hot.remove(1);
        hot.insert('z', 11, 3);
        let all: Vec<u32> = here(&hot);
        assert_eq!((all, hot.bytes()), (vec![2], 5), "one is larger than all the room");
    }
}
