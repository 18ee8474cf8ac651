//! Sum events up by destination domain and by upstream.
//!
//! In: events, in any order. Out: a table for a terminal. Unit: times to delivery run from the
//! start of the transaction in to the next hop's reply.

use std::fmt;

use crate::outcome::event::Event;

/// What came of the recipients that the events tell of.
#[derive(Debug, Default)]
pub struct Report {
    events: u64,
}

impl Report {
    /// Take an event into account.
    pub fn add(&mut self, _event: &Event<'_>) {
        self.events += 1;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.events)
    }
}
