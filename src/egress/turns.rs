//! Take turns by weight: smooth weighted round robin.
//!
//! Whoever may have a turn gains its weight, the one with the most has the turn and pays what all
//! gained (as nginx does it: turns of 5, 1, 1 are `aabacaa`, not `aaaaabc`). Invariant: in a cycle,
//! as many turns as the weights add up to, each has exactly its weight, where the same may have
//! every turn; and whoever could not have its turn is owed no more than a cycle.

use std::cmp::Reverse;

/// Who has had how much of what is due.
#[derive(Clone, Debug)]
pub(super) struct Turns {
    weights: Box<[u32]>,
    credits: Box<[i64]>,
}

impl Turns {
    /// Nobody has had a turn, but for `start` of them, so that several of these do not all begin
    /// with the same.
    pub(super) fn new(weights: impl IntoIterator<Item = u32>, start: usize) -> Self {
        let weights: Box<[u32]> = weights.into_iter().collect();
        let credits = vec![0; weights.len()].into();
        let mut turns = Self { weights, credits };
        let all: Vec<usize> = (0..turns.weights.len()).collect();
        for _ in 0..start {
            if let Some(first) = turns.order(all.clone()).first() {
                turns.take(*first, &all);
            }
        }
        turns
    }

    /// Those that may have this turn, whose it is first.
    pub(super) fn order(&self, mut may: Vec<usize>) -> Vec<usize> {
        may.sort_by_key(|place| Reverse(self.gained(*place)));
        may
    }

    fn gained(&self, place: usize) -> i64 {
        self.credits[place] + i64::from(self.weights[place])
    }

    /// `taken` has its turn, of those that might have had it.
    pub(super) fn take(&mut self, taken: usize, may: &[usize]) {
        let all: i64 = may.iter().map(|place| i64::from(self.weights[*place])).sum();
        for place in may {
            let paid = if *place == taken { all } else { 0 };
            // Beyond that is only who could not have its turn, or had others'.
            self.credits[*place] = (self.gained(*place) - paid).clamp(-all, all);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;

    fn turns(turns: &mut Turns, may: &[usize], count: usize) -> Vec<usize> {
        let next = |_| {
            let first = turns.order(may.to_vec())[0];
            turns.take(first, may);
            first
        };
        (0..count).map(next).collect()
    }

    #[test]
    fn turns_are_spread_by_weight() {
        let mut three = Turns::new([5, 1, 1], 0);
        let order = turns(&mut three, &[0, 1, 2], 7);
        assert_eq!(order, [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(turns(&mut three, &[0, 1, 2], 7), order, "and so on");
        let mut equal = Turns::new([1, 1, 1], 1);
        assert_eq!(turns(&mut equal, &[0, 1, 2], 4), [1, 2, 0, 1]);
        assert_eq!(Turns::new([], 3).order(Vec::new()), [0; 0]);
    }

    #[test]
    fn shares_are_exact_over_every_cycle() {
        let mut prng = Prng::from_number(1);
        for _ in 0..200 {
            let len = 1 + usize::try_from(prng.below(6)).expect("small");
            let weights: Vec<u32> =
                (0..len).map(|_| 1 + u32::try_from(prng.below(20)).expect("small")).collect();
            let all: Vec<usize> = (0..len).collect();
            let cycle = weights.iter().sum::<u32>() as usize;
            let mut owed = Turns::new(weights.clone(), 0);
            for _ in 0..3 {
                let order = turns(&mut owed, &all, cycle);
                for (place, weight) in weights.iter().enumerate() {
                    let had = order.iter().filter(|one| **one == place).count();
                    assert_eq!(had, *weight as usize, "{weights:?}: {order:?}");
                }
            }
        }
    }

    #[test]
    fn who_could_not_have_its_turn_does_not_have_all_that_follow() {
        let mut two = Turns::new([1, 1], 0);
        for _ in 0..1_000 {
            // The first is due, and could not.
            two.take(1, &[0, 1]);
        }
        let order = turns(&mut two, &[0, 1], 10);
        assert!(order.iter().filter(|one| **one == 1).count() >= 3, "{order:?}");
        // Who is not there gains nothing meanwhile.
        let mut two = Turns::new([1, 1], 0);
        turns(&mut two, &[1], 1_000);
        assert_eq!(turns(&mut two, &[0, 1], 4), [0, 1, 0, 1]);
    }
}
