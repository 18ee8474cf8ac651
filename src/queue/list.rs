//! Lists that run through rows of a table: no memory of their own, every step O(1).
//!
//! A row carries a [`Links`] for each list that it can be on; which one is meant is said by a
//! function from row to links.

use crate::queue::table::Table;

/// No row.
pub(super) const NONE: u32 = u32::MAX;

/// A row's neighbours in one list; `NONE` at the ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Links {
    pub(super) prev: u32,
    pub(super) next: u32,
}

impl Default for Links {
    fn default() -> Self {
        Self { prev: NONE, next: NONE }
    }
}

/// Both ends of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct List {
    pub(super) head: u32,
    pub(super) tail: u32,
}

impl Default for List {
    fn default() -> Self {
        Self { head: NONE, tail: NONE }
    }
}

impl List {
    pub(super) fn is_empty(&self) -> bool {
        self.head == NONE
    }

    pub(super) fn push_back<T>(
        &mut self,
        rows: &mut Table<T>,
        row: u32,
        links: impl Fn(&mut T) -> &mut Links,
    ) {
        *links(&mut rows[row]) = Links { prev: self.tail, next: NONE };
        match self.tail {
            NONE => self.head = row,
            tail => links(&mut rows[tail]).next = row,
        }
        self.tail = row;
    }

    pub(super) fn push_front<T>(
        &mut self,
        rows: &mut Table<T>,
        row: u32,
        links: impl Fn(&mut T) -> &mut Links,
    ) {
        *links(&mut rows[row]) = Links { prev: NONE, next: self.head };
        match self.head {
            NONE => self.tail = row,
            head => links(&mut rows[head]).prev = row,
        }
        self.head = row;
    }

    /// Put `with`, which is on no list, where `row` is now.
    pub(super) fn replace<T>(
        &mut self,
        rows: &mut Table<T>,
        row: u32,
        with: u32,
        links: impl Fn(&mut T) -> &mut Links,
    ) {
        let place = std::mem::take(links(&mut rows[row]));
        *links(&mut rows[with]) = place;
        match place.prev {
            NONE => self.head = with,
            prev => links(&mut rows[prev]).next = with,
        }
        match place.next {
            NONE => self.tail = with,
            next => links(&mut rows[next]).prev = with,
        }
    }

    /// Take out `row`, which must be on this list.
    pub(super) fn remove<T>(
        &mut self,
        rows: &mut Table<T>,
        row: u32,
        links: impl Fn(&mut T) -> &mut Links,
    ) {
        let Links { prev, next } = std::mem::take(links(&mut rows[row]));
        match prev {
            NONE => {
                assert_eq!(self.head, row, "a row of another list");
                self.head = next;
            }
            prev => links(&mut rows[prev]).next = next,
        }
        match next {
            NONE => self.tail = prev,
            next => links(&mut rows[next]).prev = prev,
        }
    }
}

/// Put `row` before `before` in the ring that `before` is on; a ring of one if they are the same.
pub(super) fn ring_insert<T>(
    rows: &mut Table<T>,
    row: u32,
    before: u32,
    links: impl Fn(&mut T) -> &mut Links,
) {
    if row == before {
        *links(&mut rows[row]) = Links { prev: row, next: row };
        return;
    }
    let prev = std::mem::replace(&mut links(&mut rows[before]).prev, row);
    links(&mut rows[prev]).next = row;
    *links(&mut rows[row]) = Links { prev, next: before };
}

/// Take `row` off its ring; the row after it, if any is left.
pub(super) fn ring_remove<T>(
    rows: &mut Table<T>,
    row: u32,
    links: impl Fn(&mut T) -> &mut Links,
) -> Option<u32> {
    let Links { prev, next } = std::mem::take(links(&mut rows[row]));
    if next == row {
        return None;
    }
    links(&mut rows[prev]).next = next;
    links(&mut rows[next]).prev = prev;
    Some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(links: &mut Links) -> &mut Links {
        links
    }

    fn forward(list: &List, rows: &Table<Links>) -> Vec<u32> {
        let after = |row: &u32| Some(rows[*row].next).filter(|next| *next != NONE);
        std::iter::successors((!list.is_empty()).then_some(list.head), after).collect()
    }

    #[test]
    fn rows_leave_a_list_from_anywhere() {
        for gone in 0..3u32 {
            let (mut rows, mut list) = (Table::default(), List::default());
            for _ in 0..2 {
                let row = rows.insert(Links::default());
                list.push_back(&mut rows, row, own);
            }
            let first = rows.insert(Links::default());
            list.push_front(&mut rows, first, own);
            assert_eq!(forward(&list, &rows), [2, 0, 1]);
            list.remove(&mut rows, gone, own);
            let left: Vec<u32> = [2, 0, 1].into_iter().filter(|row| *row != gone).collect();
            assert_eq!(forward(&list, &rows), left);
            assert_eq!(list.tail, left[1]);
        }
    }

    #[test]
    fn a_ring_closes_over_what_leaves_it() {
        let mut rows = Table::default();
        let [a, b, c] = std::array::from_fn(|_| rows.insert(Links::default()));
        ring_insert(&mut rows, a, a, own);
        ring_insert(&mut rows, b, a, own);
        ring_insert(&mut rows, c, a, own);
        assert_eq!((rows[a].next, rows[b].next, rows[c].next), (b, c, a));
        assert_eq!(ring_remove(&mut rows, b, own), Some(c));
        assert_eq!(ring_remove(&mut rows, a, own), Some(c));
        assert_eq!(ring_remove(&mut rows, c, own), None);
    }
}
