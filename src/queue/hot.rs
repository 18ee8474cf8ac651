//! Keep the newest messages in RAM for their first attempt, within a bound of octets.
//!
//! The oldest leave first: they are on disk. Each step is O(1), dropping one included.

use crate::queue::list::{Links, List, NONE};
use crate::queue::table::Table;

/// Messages in RAM; `H` is what holds one, as an `Arc` of it.
#[derive(Debug)]
pub(super) struct Hot<H> {
    rows: Table<HotRow<H>>,
    /// Oldest first.
    order: List,
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

impl<H> Hot<H> {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { rows: Table::default(), order: List::default(), bytes: 0, bytes_max }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keep `handle`; its place, or `NONE` where it is larger than the bound.
    pub(super) fn insert(&mut self, handle: H, bytes: usize, message: u32) -> u32 {
        if bytes > self.bytes_max {
            return NONE;
        }
        self.bytes += bytes;
        let row = self.rows.insert(HotRow { handle, bytes, message, order: Links::default() });
        self.order.push_back(&mut self.rows, row, HotRow::order);
        row
    }

    /// Drop the oldest, if there is more than the bound allows; the message it belonged to.
    pub(super) fn drop_oldest(&mut self) -> Option<u32> {
        if self.bytes <= self.bytes_max {
            return None;
        }
        let (oldest, message) = (self.order.head, self.rows[self.order.head].message);
        self.remove(oldest);
        Some(message)
    }

    pub(super) fn remove(&mut self, row: u32) {
        self.order.remove(&mut self.rows, row, HotRow::order);
        self.bytes -= self.rows.remove(row).bytes;
    }

    pub(super) fn handle(&self, row: u32) -> Option<&H> {
        self.rows.get(row).map(|row| &row.handle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_leave_first_and_only_as_many_as_must() {
        let mut hot = Hot::new(10);
        let kept: Vec<u32> = [(4, 0), (4, 1)].map(|(n, m)| hot.insert('x', n, m)).to_vec();
        assert_eq!((hot.drop_oldest(), hot.bytes()), (None, 8));
        hot.insert('y', 5, 2);
        assert_eq!((hot.drop_oldest(), hot.drop_oldest(), hot.bytes()), (Some(0), None, 9));
        hot.remove(kept[1]);
        assert_eq!(hot.bytes(), 5);
        assert_eq!(hot.insert('z', 11, 3), NONE, "larger than all the room");
    }
}
