//! Count events, by the minute and by each dimension.
//!
//! In: events, in any order. Out: figures to be added to those that are kept. Bounded by whoever
//! asks how many rows there are, and takes them.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use crate::base::time::WallTime;
use crate::outcome::event::Event;
use crate::outcome::kpi::{Dimension, Figure, Figures, Resolution};

/// Figures by key.
pub type Rows = HashMap<String, Figures>;

/// An interval's figures, by dimension.
pub type Interval = [Rows; Dimension::ALL.len()];

/// Events that are counted and not kept yet.
#[derive(Debug, Default)]
pub struct Tally {
    minutes: BTreeMap<WallTime, Interval>,
    rows: usize,
    events: usize,
}

impl Tally {
    /// Count an event.
    pub fn add(&mut self, event: &Event<'_>) {
        self.events += 1;
        let Some(figure) = Figure::of(event) else { return };
        let minute = self.minutes.entry(Resolution::Minute.start(event.time)).or_default();
        for dimension in Dimension::ALL {
            let rows = &mut minute[dimension as usize];
            let before = rows.len();
            rows.entry_ref(&*dimension.key(event)).or_default().add(figure, event);
            self.rows += rows.len() - before;
        }
    }

    /// Look at an event, and count it for nothing.
    pub fn pass(&mut self) {
        self.events += 1;
    }

    /// Events that were counted, or looked at and found to count for nothing.
    pub fn events(&self) -> usize {
        self.events
    }

    /// Rows of figures that it holds.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Figures by intervals of so long, by their starts.
    pub fn intervals(&self, resolution: Resolution) -> BTreeMap<WallTime, Interval> {
        let mut intervals: BTreeMap<WallTime, Interval> = BTreeMap::new();
        for (minute, figures) in &self.minutes {
            let interval = intervals.entry(resolution.start(*minute)).or_default();
            for (rows, more) in interval.iter_mut().zip(figures) {
                for (key, figures) in more {
                    rows.entry_ref(&**key).or_default().merge(figures);
                }
            }
        }
        intervals
    }
}
