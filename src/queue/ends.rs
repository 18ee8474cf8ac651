//! Know when messages end whose lifetime is not the node's.
//!
//! In: a message with its end, and when its delay is to be reported before that. Out: what has come
//! due. Cost: about 60 bytes a message with an end of its own; the others have no part in this.
//! Unit: seconds of the queue's own clock.

use std::collections::{BTreeSet, HashMap};

/// Messages by when they end, and by when their delay is reported.
#[derive(Debug, Default)]
pub(super) struct Ends {
    by_end: BTreeSet<(u32, u32)>,
    by_report: BTreeSet<(u32, u32)>,
    rows: HashMap<u32, End>,
}

/// When a message ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) end: u32,
    /// `None`: its delay was reported, or is not to be.
    pub(super) report: Option<u32>,
}

impl Ends {
    /// The message in this row, which is not here, ends then.
    pub(super) fn insert(&mut self, row: u32, end: End) {
        self.by_end.insert((end.end, row));
        let report = end.report.filter(|report| *report < end.end);
        self.by_report.extend(report.map(|report| (report, row)));
        self.rows.insert(row, End { report, ..end });
    }

    /// The message in this row has ended, or left before.
    pub(super) fn remove(&mut self, row: u32) {
        if let Some(end) = self.rows.remove(&row) {
            self.by_end.remove(&(end.end, row));
            if let Some(report) = end.report {
                self.by_report.remove(&(report, row));
            }
        }
    }

    /// When the message in this row ends.
    pub(super) fn end(&self, row: u32) -> Option<u32> {
        self.rows.get(&row).map(|end| end.end)
    }

    /// A message that has ended by this second. It stays.
    pub(super) fn ended(&self, second: u32) -> Option<u32> {
        self.by_end.first().filter(|(end, _)| *end <= second).map(|(_, row)| *row)
    }

    /// A message whose delay is to be reported by this second; it is not told of again.
    pub(super) fn reported(&mut self, second: u32) -> Option<u32> {
        let &(report, row) = self.by_report.first().filter(|(report, _)| *report <= second)?;
        self.by_report.remove(&(report, row));
        if let Some(end) = self.rows.get_mut(&row) {
            end.report = None;
        }
        Some(row)
    }

    /// When the next thing comes due.
    pub(super) fn next(&self) -> Option<u32> {
        let (end, report) = (self.by_end.first(), self.by_report.first());
        end.into_iter().chain(report).map(|(second, _)| *second).min()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_end.is_empty() && self.by_report.is_empty() && self.rows.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_comes_once_and_before_the_end() {
        let mut ends = Ends::default();
        ends.insert(1, End { end: 100, report: Some(40) });
        ends.insert(2, End { end: 30, report: Some(40) });
        ends.insert(3, End { end: 100, report: None });
        assert_eq!((ends.next(), ends.end(2), ends.end(4)), (Some(30), Some(30), None));
        assert_eq!((ends.reported(39), ends.ended(29)), (None, None));
        assert_eq!((ends.reported(40), ends.reported(40)), (Some(1), None));
        assert_eq!(ends.ended(99), Some(2));
        ends.remove(2);
        assert_eq!((ends.ended(99), ends.next()), (None, Some(100)));
        ends.remove(1);
        assert_eq!(ends.ended(100), Some(3));
        ends.remove(3);
        ends.remove(3);
        assert!(ends.is_empty());
    }
}
