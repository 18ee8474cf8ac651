//! Find what is due by the second, and take out again what no longer is.
//!
//! `base::wheel` never cancels: a delivered message's expiry would stay there for five days, and at
//! 10,000 messages a second that is four thousand million timers. Here the rows of a second are
//! chained through themselves, a second costs about 20 bytes whatever waits for it, and a row
//! leaves in O(1), or O(log seconds) with the last of its second.

use std::collections::BTreeMap;

use crate::queue::list::{Links, List};
use crate::queue::table::Table;

/// Rows by the second that they wait for.
#[derive(Debug, Default)]
pub(super) struct Calendar {
    seconds: BTreeMap<u32, List>,
}

impl Calendar {
    pub(super) fn insert<T>(
        &mut self,
        second: u32,
        rows: &mut Table<T>,
        row: u32,
        links: impl Fn(&mut T) -> &mut Links,
    ) {
        self.seconds.entry(second).or_default().push_back(rows, row, links);
    }

    /// Take out `row`, which waits for `second`.
    pub(super) fn remove<T>(
        &mut self,
        second: u32,
        rows: &mut Table<T>,
        row: u32,
        links: impl Fn(&mut T) -> &mut Links,
    ) {
        let list = self.seconds.get_mut(&second).expect("a row on the calendar");
        list.remove(rows, row, links);
        if list.is_empty() {
            self.seconds.remove(&second);
        }
    }

    /// The earliest second that something waits for.
    pub(super) fn first(&self) -> Option<u32> {
        self.seconds.first_key_value().map(|(second, _)| *second)
    }

    /// The row that waits longest, if its second is not after `second`. It stays.
    pub(super) fn due(&self, second: u32) -> Option<u32> {
        let (first, list) = self.seconds.first_key_value()?;
        (*first <= second).then_some(list.head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(links: &mut Links) -> &mut Links {
        links
    }

    #[test]
    fn rows_come_due_by_the_second_and_in_order_of_arrival() {
        let (mut rows, mut calendar) = (Table::default(), Calendar::default());
        for second in [7, 5, 7, 5, 6] {
            let row = rows.insert(Links::default());
            calendar.insert(second, &mut rows, row, own);
        }
        assert_eq!((calendar.first(), calendar.due(4)), (Some(5), None));
        let mut order = Vec::new();
        for (row, second) in [(1, 5), (3, 5), (4, 6), (0, 7), (2, 7)] {
            order.push(calendar.due(7));
            calendar.remove(second, &mut rows, row, own);
        }
        assert_eq!(order, [1, 3, 4, 0, 2].map(Some));
        assert_eq!(calendar.first(), None);
    }
}
