//! Rows by number, millions of them, without ever moving one.
//!
//! `base::slots` with three differences that the queue's bytes a recipient ask for: a row is known
//! by its bare index to the other rows that link to it, a place costs nothing beside an
//! `Option<T>` and four bytes of generation, and it grows by a chunk at a time, so that the
//! millionth row does not copy the others.

use std::ops::{Index, IndexMut};

use crate::base::slots::Slot;

const CHUNK: usize = 1_024;

/// A slab in chunks.
#[derive(Debug)]
pub(super) struct Table<T> {
    chunks: Vec<Chunk<T>>,
    free: Vec<u32>,
    len: usize,
}

/// Generations apart from rows: side by side they would be padded to eight bytes.
#[derive(Debug)]
struct Chunk<T> {
    generations: Vec<u32>,
    rows: Vec<Option<T>>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), free: Vec::new(), len: 0 }
    }
}

impl<T> Table<T> {
    /// Octets that a place costs, used or not.
    pub(super) const ROW_BYTES: usize = size_of::<Option<T>>() + size_of::<u32>();

    /// Octets that all places cost.
    pub(super) fn bytes(&self) -> usize {
        self.chunks.len() * CHUNK * Self::ROW_BYTES + self.free.capacity() * size_of::<u32>()
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// One more than the highest index in use, ever.
    pub(super) fn end(&self) -> u32 {
        let last = self.chunks.last().map_or(0, |chunk| chunk.rows.len());
        let full = self.chunks.len().saturating_sub(1) * CHUNK;
        u32::try_from(full + last).expect("checked at insert")
    }

    pub(super) fn insert(&mut self, row: T) -> u32 {
        self.len += 1;
        if let Some(index) = self.free.pop() {
            let (chunk, place) = split(index);
            let vacant = self.chunks[chunk].rows[place].replace(row);
            assert!(vacant.is_none(), "a used row among the free ones");
            return index;
        }
        let index = self.end();
        assert!(index < u32::MAX, "2^32 rows");
        if self.chunks.last().is_none_or(|chunk| chunk.rows.len() == CHUNK) {
            let (generations, rows) = (Vec::with_capacity(CHUNK), Vec::with_capacity(CHUNK));
            self.chunks.push(Chunk { generations, rows });
        }
        let chunk = self.chunks.last_mut().expect("pushed above");
        chunk.generations.push(0);
        chunk.rows.push(Some(row));
        index
    }

    /// Take the row at `index`, which must be in use.
    pub(super) fn remove(&mut self, index: u32) -> T {
        let (chunk, place) = split(index);
        let chunk = &mut self.chunks[chunk];
        let row = chunk.rows[place].take().expect("a row in use");
        chunk.generations[place] = chunk.generations[place].wrapping_add(1);
        self.free.push(index);
        self.len -= 1;
        row
    }

    pub(super) fn get(&self, index: u32) -> Option<&T> {
        let (chunk, place) = split(index);
        self.chunks.get(chunk)?.rows.get(place)?.as_ref()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flat_map(|chunk| chunk.rows.iter().flatten())
    }

    /// The name of the row at `index` outside the queue.
    pub(super) fn slot(&self, index: u32) -> Slot {
        let (chunk, place) = split(index);
        let generation = self.chunks[chunk].generations[place];
        Slot::from_bits(u64::from(generation) << 32 | u64::from(index))
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
        self.chunks[chunk].rows[place].as_ref().expect("a row in use")
    }
}

impl<T> IndexMut<u32> for Table<T> {
    fn index_mut(&mut self, index: u32) -> &mut T {
        let (chunk, place) = split(index);
        self.chunks[chunk].rows[place].as_mut().expect("a row in use")
    }
}

fn split(index: u32) -> (usize, usize) {
    (index as usize / CHUNK, index as usize % CHUNK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_dies_with_its_row() {
        let mut table = Table::default();
        let first = table.insert("first");
        let slot = table.slot(first);
        assert_eq!(table.find(slot), Some(first));
        assert_eq!(table.remove(first), "first");
        assert_eq!(table.find(slot), None);
        let second = table.insert("second");
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
