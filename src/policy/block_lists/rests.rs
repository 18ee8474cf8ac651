//! Leave lists alone that have failed again and again, so that nobody waits for them.
//!
//! In: whether a list has answered, and when. Out: whether it is to be asked. Invariant: a list
//! that answers is asked; one that rests is tried again within `BLOCK_REST`. At most
//! `BLOCK_LISTS_MAX` lists are known, those that were heard of last. Lives on: each shard.

use crate::base::limits::{BLOCK_FAILURES_MAX, BLOCK_LISTS_MAX, BLOCK_REST};
use crate::base::time::Monotonic;
use crate::dns::Name;

/// How lists have answered lately.
#[derive(Debug, Default)]
pub struct Rests(Vec<Row>);

#[derive(Debug)]
struct Row {
    zone: Name,
    /// In a row.
    failures: u32,
    /// It is not asked before.
    until: Monotonic,
}

impl Rests {
    /// A list has answered, or failed to; whether it rests from now on, and did not before.
    pub fn heard(&mut self, zone: &Name, answered: bool, now: Monotonic) -> bool {
        let place = self.0.iter().position(|row| row.zone == *zone);
        if answered {
            place.map(|place| self.0.swap_remove(place));
            return false;
        }
        let place = place.unwrap_or_else(|| {
            if self.0.len() == BLOCK_LISTS_MAX {
                self.0.remove(0);
            }
            self.0.push(Row { zone: zone.clone(), failures: 0, until: now });
            self.0.len() - 1
        });
        let row = &mut self.0[place];
        row.failures = row.failures.saturating_add(1);
        let begins = row.failures >= BLOCK_FAILURES_MAX && row.until <= now;
        if begins {
            row.until = now + BLOCK_REST;
        }
        begins
    }

    /// Whether a list is left alone now.
    pub fn rests(&self, zone: &Name, now: Monotonic) -> bool {
        self.0.iter().any(|row| row.zone == *zone && now < row.until)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const START: Monotonic = Monotonic(1_000_000_000_000);

    fn zone(number: usize) -> Name {
        Name::parse(&format!("bl{number}.example")).unwrap()
    }

    #[test]
    fn a_list_that_fails_again_and_again_is_left_alone_for_a_while() {
        let mut rests = Rests::default();
        let begun = (0..BLOCK_FAILURES_MAX).filter(|_| rests.heard(&zone(0), false, START));
        assert_eq!(begun.count(), 1, "it is told once");
        assert!(rests.rests(&zone(0), START) && !rests.rests(&zone(1), START));
        assert!(!rests.heard(&zone(0), false, START), "one that was under way");
        let later = START + BLOCK_REST;
        assert!(!rests.rests(&zone(0), later), "it is tried again");
        assert!(rests.heard(&zone(0), false, later), "and one failure is enough");
        assert!(rests.rests(&zone(0), later + BLOCK_REST / 2));
        assert!(!rests.heard(&zone(0), true, later), "an answer ends it");
        assert!(!rests.rests(&zone(0), later));
    }

    #[test]
    fn failures_count_in_a_row_only() {
        let mut rests = Rests::default();
        for number in 0..10 * BLOCK_FAILURES_MAX {
            let now = START + Duration::from_secs(number.into());
            assert!(!rests.heard(&zone(0), number % BLOCK_FAILURES_MAX == 0, now));
            assert!(!rests.rests(&zone(0), now));
        }
    }

    #[test]
    fn so_many_lists_are_known() {
        let mut rests = Rests::default();
        let begun = (0..1_000).filter(|number| rests.heard(&zone(*number), false, START));
        assert_eq!(begun.count(), 0);
        assert_eq!(rests.0.len(), BLOCK_LISTS_MAX);
    }
}
