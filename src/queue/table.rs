//! Rows by number, millions of them, without ever moving one.
//!
//! `base::slots` with three differences that the queue's bytes a recipient ask for: a row is known
//! by its bare index to the other rows that link to it, a place costs nothing beside its row (the
//! list of free ones runs through them), and it grows by a chunk at a time, so that the millionth
//! row does not copy the others. Rows that are known outside of the queue are [`Named`].

use std::ops::{Index, IndexMut};

use crate::base::slots::Slot;
use crate::queue::list::NONE;

/// A hash of a word made of row numbers, which are small and given out one after another: Fibonacci
/// hashing.
pub(super) fn hash_of_rows(word: u64) -> u64 {
    word.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32)
}

const CHUNK: usize = 1_024;

/// A slab in chunks.
#[derive(Debug)]
pub(super) struct Table<T> {
    chunks: Vec<Vec<Place<T>>>,
    /// The place that was left last.
    free: u32,
    len: usize,
    /// Of the row that comes next: counts all that ever came, and starts again after 2^32.
    generation: u32,
}

/// No larger than `T`, if that has values to spare.
#[derive(Debug)]
enum Place<T> {
    Used(T),
    Free { next: u32 },
}

/// A row that holds what tells it from those that had its place before.
pub(super) trait Named {
    /// What [`Table::generation`] said when it was made.
    fn generation(&self) -> u32;
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), free: NONE, len: 0, generation: 0 }
    }
}

impl<T> Table<T> {
    /// Octets that a place costs, used or not.
    pub(super) const ROW_BYTES: usize = size_of::<Place<T>>();

    /// Octets that all places cost.
    pub(super) fn bytes(&self) -> usize {
        self.chunks.len() * CHUNK * Self::ROW_BYTES
    }

    /// Of the row that is inserted next.
    pub(super) fn generation(&self) -> u32 {
        self.generation
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// One more than the highest index in use, ever.
    pub(super) fn end(&self) -> u32 {
        let last = self.chunks.last().map_or(0, Vec::len);
        let full = self.chunks.len().saturating_sub(1) * CHUNK;
        u32::try_from(full + last).expect("checked at insert")
    }

    pub(super) fn insert(&mut self, row: T) -> u32 {
        self.len += 1;
        self.generation = self.generation.wrapping_add(1);
        if self.free != NONE {
            let index = self.free;
            let (chunk, place) = split(index);
            match std::mem::replace(&mut self.chunks[chunk][place], Place::Used(row)) {
                Place::Free { next } => self.free = next,
                Place::Used(_) => unreachable!("a used row among the free ones"),
            }
            return index;
        }
        let index = self.end();
        assert!(index < NONE, "2^32 rows");
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        self.chunks.last_mut().expect("pushed above").push(Place::Used(row));
        index
    }

    /// Take the row at `index`, which must be in use.
    pub(super) fn remove(&mut self, index: u32) -> T {
        let (chunk, place) = split(index);
        let left = Place::Free { next: self.free };
        let Place::Used(row) = std::mem::replace(&mut self.chunks[chunk][place], left) else {
            unreachable!("row {index} is not in use");
        };
        self.free = index;
        self.len -= 1;
        row
    }

    pub(super) fn get(&self, index: u32) -> Option<&T> {
        let (chunk, place) = split(index);
        self.chunks.get(chunk)?.get(place)?.used()
    }
}

impl<T: Named> Table<T> {
    /// The name of the row at `index` outside the queue.
    pub(super) fn slot(&self, index: u32) -> Slot {
        Slot::from_bits(u64::from(self[index].generation()) << 32 | u64::from(index))
    }

    /// The row that `slot` names, if it is still there.
    pub(super) fn find(&self, slot: Slot) -> Option<u32> {
        let index = u32::try_from(slot.index()).ok()?;
        self.get(index)?;
        (self.slot(index) == slot).then_some(index)
    }
}

impl<T> Index<u32> for Table<T> {
    type Output = T;

    fn index(&self, index: u32) -> &T {
        let (chunk, place) = split(index);
        self.chunks[chunk][place].used().expect("a row in use")
    }
}

impl<T> IndexMut<u32> for Table<T> {
    fn index_mut(&mut self, index: u32) -> &mut T {
        let (chunk, place) = split(index);
        match &mut self.chunks[chunk][place] {
            Place::Used(row) => row,
            Place::Free { .. } => unreachable!("row {index} is not in use"),
        }
    }
}

impl<T> Place<T> {
    fn used(&self) -> Option<&T> {
        match self {
            Self::Used(row) => Some(row),
            Self::Free { .. } => None,
        }
    }
}

fn split(index: u32) -> (usize, usize) {
    (index as usize / CHUNK, index as usize % CHUNK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Eq)]
    struct Row(u32);

    impl Named for Row {
        fn generation(&self) -> u32 {
            self.0
        }
    }

    #[test]
    fn a_slot_dies_with_its_row() {
        let mut table = Table::default();
        let first = table.insert(Row(table.generation()));
        let slot = table.slot(first);
        assert_eq!(table.find(slot), Some(first));
        assert_eq!(table.remove(first), Row(0));
        assert_eq!(table.find(slot), None);
        let second = table.insert(Row(table.generation()));
        assert_eq!((first, table.find(slot)), (second, None));
        assert_eq!(table.find(table.slot(second)), Some(second));
    }

    #[test]
    fn rows_stay_where_they_are_while_the_table_grows_and_shrinks() {
        let mut table = Table::default();
        let rows: Vec<u32> = (0..5_000u32).map(|n| table.insert(n)).collect();
        rows.iter().step_by(2).for_each(|row| assert_eq!(table.remove(*row), *row));
        (0..2_500).for_each(|n| assert!(table.insert(n) < 5_000));
        assert_eq!((table.len(), table.end()), (5_000, 5_000));
        assert!(rows.iter().skip(1).step_by(2).all(|row| table[*row] == *row));
    }
}
