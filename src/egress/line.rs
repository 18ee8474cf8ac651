//! The jobs that wait at one site on its owner: homes take turns, and in each its senders.
//!
//! A home sends what waits there fairly between its domains, senders and messages already
//! (`queue::ready`), and as much of each as its share lets it. So what is left to do here is that
//! nobody waits behind all that was sent ahead for others: whoever has little here has its turn
//! soon. A job that lost its connection through no fault of its own goes before all others.

use std::collections::VecDeque;

use crate::base::ids::ShardId;
use crate::base::limits::{SITE_READY_MAX, SITE_READY_OF_SENDER};

/// Jobs by home and sender.
#[derive(Debug)]
pub(super) struct Line<W> {
    /// To be tried again at once.
    again: VecDeque<W>,
    /// Homes that have had jobs here; the first with some has its turn next. Few: one for each
    /// shard at most.
    homes: VecDeque<(ShardId, Senders<W>)>,
    len: usize,
}

/// Who sends a job, of those of its home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Tells it from others; 0: nobody in particular.
    pub name: u64,
    /// Its share beside others, `Sender::USUAL` where nothing is said.
    pub weight: u32,
}

impl Sender {
    /// A weight with which one job goes each turn.
    pub const USUAL: u32 = 40;
    /// Of whom nothing is known.
    pub const NOBODY: Self = Self { name: 0, weight: Self::USUAL };
}

/// Jobs of one home by sender; the first has its turn next. At most as many as jobs.
#[derive(Debug)]
struct Senders<W> {
    waiting: VecDeque<Waiting<W>>,
    /// The room of one that has no jobs left, for the next one.
    spare: VecDeque<W>,
}

#[derive(Debug)]
struct Waiting<W> {
    sender: Sender,
    /// `Sender::USUAL` a job that may go in this turn.
    credit: u32,
    jobs: VecDeque<W>,
}

impl<W> Default for Senders<W> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), spare: VecDeque::new() }
    }
}

impl<W> Senders<W> {
    fn find(&self, sender: Sender) -> Option<usize> {
        self.waiting.iter().position(|one| one.sender.name == sender.name)
    }

    fn push(&mut self, sender: Sender, job: W) {
        if let Some(place) = self.find(sender) {
            return self.waiting[place].jobs.push_back(job);
        }
        let mut jobs = std::mem::take(&mut self.spare);
        jobs.push_back(job);
        self.waiting.push_back(Waiting { sender, credit: sender.weight, jobs });
    }

    /// Let whoever has the next turn be the first.
    fn turn(&mut self) {
        while let Some(first) = self.waiting.front_mut()
            && first.credit < Sender::USUAL
            && self.waiting.len() > 1
        {
            if let Some(mut first) = self.waiting.pop_front() {
                first.credit += first.sender.weight;
                self.waiting.push_back(first);
            }
        }
    }

    fn first(&self) -> Option<&W> {
        self.waiting.front()?.jobs.front()
    }

    fn pop(&mut self) -> Option<W> {
        let first = self.waiting.front_mut()?;
        let job = first.jobs.pop_front().expect("who is here has jobs");
        first.credit = first.credit.saturating_sub(Sender::USUAL);
        if first.jobs.is_empty() {
            self.spare = self.waiting.pop_front().expect("the first").jobs;
        }
        self.turn();
        Some(job)
    }
}

impl<W> Default for Line<W> {
    fn default() -> Self {
        Self { again: VecDeque::new(), homes: VecDeque::new(), len: 0 }
    }
}

impl<W> Line<W> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether nothing more of a home's sender is taken.
    pub(super) fn is_full(&self, home: ShardId, sender: Sender) -> bool {
        self.len >= 2 * SITE_READY_MAX
            || (self.len >= SITE_READY_MAX && self.len_of(home, sender) >= SITE_READY_OF_SENDER)
    }

    /// Jobs of a home's sender.
    fn len_of(&self, home: ShardId, sender: Sender) -> usize {
        let home = self.homes.iter().find(|(other, _)| *other == home);
        let place = home.and_then(|(_, senders)| Some((senders, senders.find(sender)?)));
        place.map_or(0, |(senders, place)| senders.waiting[place].jobs.len())
    }

    /// Whether the next job is one that lost its connection.
    pub(super) fn is_again(&self) -> bool {
        !self.again.is_empty()
    }

    /// The job that `pop` would take.
    pub(super) fn first(&self) -> Option<&W> {
        let in_turn = || self.homes.iter().find_map(|(_, senders)| senders.first());
        self.again.front().or_else(in_turn)
    }

    pub(super) fn push(&mut self, home: ShardId, sender: Sender, job: W) {
        self.len += 1;
        match self.homes.iter_mut().find(|(other, _)| *other == home) {
            Some((_, senders)) => senders.push(sender, job),
            None => {
                let mut senders = Senders::default();
                senders.push(sender, job);
                self.homes.push_back((home, senders));
            }
        }
    }

    pub(super) fn push_again(&mut self, job: W) {
        self.len += 1;
        self.again.push_back(job);
    }

    pub(super) fn pop(&mut self) -> Option<W> {
        if self.len == 0 {
            return None;
        }
        self.len -= 1;
        if let Some(job) = self.again.pop_front() {
            return Some(job);
        }
        loop {
            let (home, mut senders) = self.homes.pop_front()?;
            let job = senders.pop();
            self.homes.push_back((home, senders));
            if job.is_some() {
                return job;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes_take_turns_and_a_second_try_goes_first() {
        let mut line = Line::default();
        [1, 2, 3].into_iter().for_each(|job| line.push(ShardId(0), Sender::NOBODY, job));
        [11, 12].into_iter().for_each(|job| line.push(ShardId(1), Sender::NOBODY, job));
        line.push_again(99);
        assert_eq!(line.len(), 6);
        let in_order = std::iter::from_fn(|| {
            let first = line.first().copied();
            let next = line.pop();
            assert_eq!(first, next);
            next
        });
        let order: Vec<i32> = in_order.collect();
        assert_eq!(order, [99, 1, 11, 2, 12, 3]);
        assert!(line.is_empty());
    }

    fn sender(name: u64, weight: u32) -> Sender {
        Sender { name, weight }
    }

    #[test]
    fn whoever_has_little_does_not_wait_behind_whoever_has_much() {
        let mut line = Line::default();
        (0..200).for_each(|job| line.push(ShardId(0), sender(7, Sender::USUAL), job));
        line.push(ShardId(0), sender(8, Sender::USUAL), 1_000);
        line.push(ShardId(1), sender(7, Sender::USUAL), 2_000);
        assert_eq!(line.len_of(ShardId(0), sender(7, 1)), 200);
        let mut pop = || line.pop().expect("not empty");
        assert_eq!([pop(), pop(), pop(), pop()], [0, 2_000, 1_000, 1]);
        let rest: Vec<i32> = std::iter::from_fn(|| line.pop()).collect();
        assert_eq!(rest, (2..200).collect::<Vec<i32>>());
        // Who has had its turns and comes again begins anew.
        line.push(ShardId(1), sender(8, 1), 1);
        assert_eq!((line.first(), line.len()), (Some(&1), 1));
        assert_eq!((line.pop(), line.pop()), (Some(1), None));
    }

    #[test]
    fn senders_share_by_weight() {
        let mut line = Line::default();
        for job in 0..1_000 {
            for name in 1..=3 {
                line.push(ShardId(0), sender(name, [0, 20, 40, 120][name as usize]), (name, job));
            }
        }
        let mut taken = [0; 4];
        for _ in 0..900 {
            let first = line.first().copied();
            let (name, _) = line.pop().expect("not empty");
            assert_eq!(first.map(|(name, _)| name), Some(name));
            taken[name as usize] += 1;
        }
        assert_eq!(taken, [0, 100, 200, 600]);
    }
}
