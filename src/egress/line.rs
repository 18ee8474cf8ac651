//! The jobs that wait at one site on its owner: homes take turns, and in each its senders.
//!
//! A home sends what waits there fairly between its domains, senders and messages already
//! (`queue::ready`), and as much of each as its share lets it. So what is left to do here is that
//! nobody waits behind all that was sent ahead for others: whoever has little here has its turn
//! soon. A job that lost its connection through no fault of its own goes before all others.

use std::collections::VecDeque;

use crate::base::ids::ShardId;

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

/// Jobs of one home by sender; the first has its turn next. At most as many as jobs.
#[derive(Debug)]
struct Senders<W> {
    jobs: VecDeque<(u64, VecDeque<W>)>,
    /// The room of one that has no jobs left, for the next one.
    spare: VecDeque<W>,
}

impl<W> Default for Senders<W> {
    fn default() -> Self {
        Self { jobs: VecDeque::new(), spare: VecDeque::new() }
    }
}

impl<W> Senders<W> {
    fn push(&mut self, sender: u64, job: W) {
        match self.jobs.iter_mut().find(|(other, _)| *other == sender) {
            Some((_, jobs)) => jobs.push_back(job),
            None => {
                let mut jobs = std::mem::take(&mut self.spare);
                jobs.push_back(job);
                self.jobs.push_back((sender, jobs));
            }
        }
    }

    fn first(&self) -> Option<&W> {
        self.jobs.front()?.1.front()
    }

    fn pop(&mut self) -> Option<W> {
        let (sender, mut jobs) = self.jobs.pop_front()?;
        let job = jobs.pop_front().expect("who is here has jobs");
        if jobs.is_empty() {
            self.spare = jobs;
        } else {
            self.jobs.push_back((sender, jobs));
        }
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

    /// Whether the next job is one that lost its connection.
    pub(super) fn is_again(&self) -> bool {
        !self.again.is_empty()
    }

    /// The job that `pop` would take.
    pub(super) fn first(&self) -> Option<&W> {
        let in_turn = || self.homes.iter().find_map(|(_, senders)| senders.first());
        self.again.front().or_else(in_turn)
    }

    /// `sender` tells those of a home apart.
    pub(super) fn push(&mut self, home: ShardId, sender: u64, job: W) {
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
        [1, 2, 3].into_iter().for_each(|job| line.push(ShardId(0), 0, job));
        [11, 12].into_iter().for_each(|job| line.push(ShardId(1), 0, job));
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

    #[test]
    fn whoever_has_little_does_not_wait_behind_whoever_has_much() {
        let mut line = Line::default();
        (0..200).for_each(|job| line.push(ShardId(0), 7, job));
        line.push(ShardId(0), 8, 1_000);
        line.push(ShardId(1), 7, 2_000);
        let mut pop = || line.pop().expect("not empty");
        assert_eq!([pop(), pop(), pop(), pop()], [0, 2_000, 1_000, 1]);
        let rest: Vec<i32> = std::iter::from_fn(|| line.pop()).collect();
        assert_eq!(rest, (2..200).collect::<Vec<i32>>());
        // Who has had its turns and comes again begins anew.
        line.push(ShardId(1), 8, 1);
        assert_eq!((line.first(), line.len()), (Some(&1), 1));
        assert_eq!((line.pop(), line.pop()), (Some(1), None));
    }
}
