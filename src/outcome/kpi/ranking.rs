//! Keep the biggest keys apart, and what the others came to together.
//!
//! In: figures by key, a bound. Out: as many keys as the bound at most, and one sum of all others.
//! Invariant: nothing is lost by it. A key that was among the others and comes back begins anew:
//! what it came to before stays with them.

use std::cmp::Reverse;
use std::hash::BuildHasher;

use hashbrown::HashMap;

use crate::outcome::kpi::Figures;

/// The places of those that go together: all but the `keep` with the most events; of equals, those
/// that come first in the order of their keys stay.
pub fn small<K: Ord>(rows: &[(K, u64)], keep: usize) -> Vec<usize> {
    let mut places: Vec<usize> = (0..rows.len()).collect();
    let mut small = Vec::new();
    if places.len() > keep {
        let order = |place: &usize| (Reverse(rows[*place].1), &rows[*place].0);
        if keep > 0 {
            places.select_nth_unstable_by(keep - 1, |one, other| order(one).cmp(&order(other)));
        }
        small = places.split_off(keep);
    }
    small
}

/// Figures by key, with a bound on how many keys there are.
#[derive(Clone, Debug, Default)]
pub struct Ranked {
    rows: HashMap<String, Figures>,
    others: Figures,
}

impl Ranked {
    /// Add figures of a key; with more than twice `keep` keys the small ones go together.
    pub fn add(&mut self, key: &str, figures: &Figures, keep: usize) {
        self.rows.entry_ref(key).or_default().merge(figures);
        if self.rows.len() > keep.saturating_mul(2) {
            self.prune(keep);
        }
    }

    /// Add figures of others.
    pub fn add_others(&mut self, figures: &Figures) {
        self.others.merge(figures);
    }

    fn prune(&mut self, keep: usize) {
        for (key, figures) in prune(&mut self.rows, keep) {
            drop(key);
            self.others.merge(&figures);
        }
    }

    /// The biggest `keep` keys, biggest first, and all others.
    pub fn top(mut self, keep: usize) -> (Vec<(String, Figures)>, Figures) {
        self.prune(keep);
        let mut rows: Vec<_> = self.rows.into_iter().collect();
        rows.sort_by(|(key, figures), (other, than)| {
            (Reverse(figures.volume()), key).cmp(&(Reverse(than.volume()), other))
        });
        (rows, self.others)
    }
}

/// Take the small ones out of a map.
fn prune<S: BuildHasher>(
    rows: &mut HashMap<String, Figures, S>,
    keep: usize,
) -> Vec<(String, Figures)> {
    let sizes: Vec<(String, u64)> =
        rows.iter().map(|(key, figures)| (key.clone(), figures.volume())).collect();
    let gone = small(&sizes, keep).into_iter().map(|place| &sizes[place].0);
    gone.filter_map(|key| rows.remove_entry(key)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::{MessageId, ShardId};
    use crate::base::time::WallTime;
    use crate::outcome::event::{Event, Kind};
    use crate::outcome::kpi::Figure;

    fn figures(count: u64) -> Figures {
        let event = Event::new(Kind::Received, MessageId(0), WallTime(0), ShardId(0));
        let mut figures = Figures::default();
        (0..count).for_each(|_| figures.add(Figure::Injected, &event));
        figures
    }

    #[test]
    fn the_biggest_stay_and_equals_by_their_names() {
        let rows = [("d", 3), ("a", 1), ("c", 9), ("b", 1), ("e", 1)];
        let names = |keep| {
            let mut names: Vec<_> =
                small(&rows, keep).into_iter().map(|place| rows[place].0).collect();
            names.sort_unstable();
            names
        };
        assert_eq!(names(5), [""; 0]);
        assert_eq!(names(3), ["b", "e"]);
        assert_eq!(names(1), ["a", "b", "d", "e"]);
        assert_eq!(names(0).len(), 5);
    }

    #[test]
    fn keys_are_bounded_and_nothing_is_lost() {
        let (mut ranked, mut sum) = (Ranked::default(), 0);
        for round in 1..=20u64 {
            for key in 0..100u64 {
                // A few are big from the first round on.
                let count = if key < 5 { 50 + key } else { 1 + (key * round) % 3 };
                ranked.add(&format!("k{key}"), &figures(count), 10);
                assert!(ranked.rows.len() <= 20);
                sum += count;
            }
        }
        let (rows, others) = ranked.top(5);
        let keys: Vec<_> = rows.iter().map(|(key, _)| &**key).collect();
        assert_eq!(keys, ["k4", "k3", "k2", "k1", "k0"]);
        assert_eq!(rows[0].1.count(Figure::Injected), 54 * 20, "what stays is exact");
        let apart: u64 = rows.iter().map(|(_, figures)| figures.volume()).sum();
        assert_eq!(apart + others.volume(), sum);
    }
}
