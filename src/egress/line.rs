//! The jobs that wait at one site on its owner: homes take turns, each in its own order.
//!
//! A home sends what waits there fairly between its domains and messages already (`queue::ready`);
//! so turns between homes are what is left to do here. A job that lost its connection through no
//! fault of its own goes before all others.

use std::collections::VecDeque;

use crate::base::ids::ShardId;

/// Jobs by home.
#[derive(Debug)]
pub(super) struct Line<W> {
    /// To be tried again at once.
    again: VecDeque<W>,
    /// Homes with jobs here; the first has its turn next. Few: one for each shard at most.
    homes: VecDeque<(ShardId, VecDeque<W>)>,
    len: usize,
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
        self.again.front().or_else(|| self.homes.front()?.1.front())
    }

    pub(super) fn push(&mut self, home: ShardId, job: W) {
        self.len += 1;
        match self.homes.iter_mut().find(|(other, _)| *other == home) {
            Some((_, jobs)) => jobs.push_back(job),
            None => self.homes.push_back((home, VecDeque::from([job]))),
        }
    }

    pub(super) fn push_again(&mut self, job: W) {
        self.len += 1;
        self.again.push_back(job);
    }

    pub(super) fn pop(&mut self) -> Option<W> {
        if let Some(job) = self.again.pop_front() {
            self.len -= 1;
            return Some(job);
        }
        let (home, mut jobs) = self.homes.pop_front()?;
        let job = jobs.pop_front().expect("a home on the ring has jobs");
        if !jobs.is_empty() {
            self.homes.push_back((home, jobs));
        }
        self.len -= 1;
        Some(job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes_take_turns_and_a_second_try_goes_first() {
        let mut line = Line::default();
        [1, 2, 3].into_iter().for_each(|job| line.push(ShardId(0), job));
        [11, 12].into_iter().for_each(|job| line.push(ShardId(1), job));
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
}
