//! Find the rows of a table with the largest counts, without looking at all of them.
//!
//! Rows stand in lists by how many bits their counts have. Cost: a step at each power of two that a
//! count passes; whoever looks begins with the largest, which are in order within a factor of two.

use crate::queue::list::{Links, List, NONE};
use crate::queue::table::Table;

/// Places of a count: it has so many bits.
const SIZES: usize = u64::BITS as usize + 1;

/// The lists. A row without a count is in none.
#[derive(Debug)]
pub(super) struct Sizes([List; SIZES]);

impl Default for Sizes {
    fn default() -> Self {
        Self([List::default(); SIZES])
    }
}

impl Sizes {
    /// `row` had a count of `before` and has one of `now`; `links` are those of these lists.
    #[inline]
    pub(super) fn resized<T>(
        &mut self,
        rows: &mut Table<T>,
        row: u32,
        (before, now): (u64, u64),
        links: impl Fn(&mut T) -> &mut Links,
    ) {
        let (was, is) = (size(before), size(now));
        if was == is {
            return;
        }
        if was != 0 {
            self.0[was].remove(rows, row, &links);
        }
        if is != 0 {
            self.0[is].push_back(rows, row, links);
        }
    }

    /// Rows by how many bits their counts have, most first.
    pub(super) fn rows<'t, T>(
        &'t self,
        rows: &'t Table<T>,
        links: impl Fn(&T) -> Links + Copy + 't,
    ) -> impl Iterator<Item = impl Iterator<Item = u32>> {
        let some = |row: u32| Some(row).filter(|row| *row != NONE);
        self.0.iter().rev().map(move |list| {
            let next = move |row: &u32| some(links(&rows[*row]).next);
            std::iter::successors(some(list.head), next)
        })
    }
}

/// Bits of a count.
fn size(count: u64) -> usize {
    (u64::BITS - count.leading_zeros()) as usize
}
