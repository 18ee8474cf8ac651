//! The jobs that wait at one site on its owner: senders take turns, and in each its homes.
//!
//! A home sends what waits there fairly between its domains, senders and messages already
//! (`queue::ready`), and as much of each as its share lets it. So what is left to do here is that
//! nobody waits behind all that was sent ahead for others: whoever has little here has its turn
//! soon, whichever homes took it in. A job that lost its connection through no fault of its own
//! goes before all others.

use std::collections::VecDeque;

use crate::base::ids::ShardId;
use crate::base::limits::{SITE_READY_MAX, SITE_READY_OF_SENDER};
use crate::base::share::Share;
use crate::egress::cause::Why;

/// Jobs by sender and home.
#[derive(Debug)]
pub(super) struct Line<W> {
    /// To be tried again at once.
    again: VecDeque<W>,
    /// The first has its turn next. At most as many as jobs.
    senders: VecDeque<Waiting<W>>,
    /// Those that may not go now: they have no turns.
    aside: Vec<(Waiting<W>, Why)>,
    len_aside: usize,
    /// The room of one that has no jobs left, for the next one.
    spare: Homes<W>,
    len: usize,
}

/// Who sends a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Tells it from others; 0: nobody in particular.
    pub name: u64,
    /// The same of all that its tenant sends; 0 without one.
    pub tenant: u64,
    /// Its part beside others, `Sender::USUAL` where nothing is said.
    pub weight: u32,
    /// What its tenant, and it itself, may have of what a site takes at once.
    pub shares: [Option<Share>; 2],
}

impl Sender {
    /// What stands for all that a tenant sends; `name`: for what it sends without a campaign.
    pub fn all_of(name: u64) -> u64 {
        !name
    }

    /// A weight with which one job goes each turn.
    pub const USUAL: u32 = 40;
    /// Of whom nothing is known.
    pub const NOBODY: Self = Self { name: 0, tenant: 0, weight: Self::USUAL, shares: [None; 2] };
}

/// A sender with at least one job.
#[derive(Debug)]
struct Waiting<W> {
    sender: Sender,
    /// `Sender::USUAL` a job that may go in this turn.
    credit: u32,
    homes: Homes<W>,
}

/// Jobs of one sender by home; the first with some has its turn next. Few: one for each shard at
/// most.
#[derive(Debug)]
struct Homes<W>(VecDeque<(ShardId, VecDeque<W>)>);

impl<W> Default for Homes<W> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<W> Homes<W> {
    fn is_empty(&self) -> bool {
        self.0.iter().all(|(_, jobs)| jobs.is_empty())
    }

    fn len(&self) -> usize {
        self.0.iter().map(|(_, jobs)| jobs.len()).sum()
    }

    fn len_of(&self, home: ShardId) -> usize {
        self.0.iter().find(|(other, _)| *other == home).map_or(0, |(_, jobs)| jobs.len())
    }

    fn push(&mut self, home: ShardId, job: W) {
        match self.0.iter_mut().find(|(other, _)| *other == home) {
            Some((_, jobs)) => jobs.push_back(job),
            None => self.0.push_back((home, VecDeque::from([job]))),
        }
    }

    fn first(&self) -> Option<&W> {
        self.0.iter().find_map(|(_, jobs)| jobs.front())
    }

    fn pop(&mut self) -> Option<W> {
        let next = self.0.iter().position(|(_, jobs)| !jobs.is_empty())?;
        self.0.rotate_left(next + 1);
        self.0.back_mut()?.1.pop_front()
    }
}

impl<W> Default for Line<W> {
    fn default() -> Self {
        Self {
            again: VecDeque::new(),
            senders: VecDeque::new(),
            aside: Vec::new(),
            len_aside: 0,
            spare: Homes::default(),
            len: 0,
        }
    }
}

impl<W> Line<W> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether there is something that could have a turn.
    pub(super) fn has_next(&self) -> bool {
        self.len > self.len_aside
    }

    /// Jobs that have no turns.
    pub(super) fn len_aside(&self) -> usize {
        self.len_aside
    }

    /// Whether nothing more of a home's sender is taken.
    pub(super) fn is_full(&self, home: ShardId, sender: Sender) -> bool {
        let len = self.len - self.len_aside;
        len >= 2 * SITE_READY_MAX
            || (len >= SITE_READY_MAX && self.len_of(home, sender) >= SITE_READY_OF_SENDER)
    }

    fn find(&self, sender: Sender) -> Option<usize> {
        self.senders.iter().position(|one| one.sender.name == sender.name)
    }

    fn find_aside(&self, name: u64) -> Option<usize> {
        self.aside.iter().position(|(one, _)| one.sender.name == name)
    }

    /// Jobs of a home's sender.
    pub(super) fn len_of(&self, home: ShardId, sender: Sender) -> usize {
        let in_turn = self.find(sender).map(|place| &self.senders[place]);
        let aside = || self.find_aside(sender.name).map(|place| &self.aside[place].0);
        in_turn.or_else(aside).map_or(0, |waiting| waiting.homes.len_of(home))
    }

    /// Whose turn is next, after those that lost their connection.
    pub(super) fn first_sender(&self) -> Option<Sender> {
        self.senders.front().map(|first| first.sender)
    }

    /// Those that have turns, and how many jobs each has.
    pub(super) fn ring(&self) -> impl Iterator<Item = (Sender, usize)> {
        let again = Some((Sender::NOBODY, self.again.len()));
        let senders = self.senders.iter().map(|one| (one.sender, one.homes.len()));
        again.into_iter().chain(senders)
    }

    /// Whose turn is next has none until it is let back.
    pub(super) fn set_aside(&mut self, why: Why) {
        if let Some(first) = self.senders.pop_front() {
            self.len_aside += first.homes.len();
            self.aside.push((first, why));
            self.turn();
        }
    }

    /// Why a sender has no turns, if it has not.
    pub(super) fn why_aside(&self, name: u64) -> Option<&Why> {
        self.find_aside(name).map(|place| &self.aside[place].1)
    }

    /// Why somebody has none.
    pub(super) fn first_aside(&self) -> Option<&Why> {
        self.aside.first().map(|(_, why)| why)
    }

    /// Those may have their turns again, at once: they had not had theirs.
    pub(super) fn let_back(&mut self, is_let: impl Fn(Sender) -> bool) {
        for (waiting, why) in std::mem::take(&mut self.aside).into_iter().rev() {
            if is_let(waiting.sender) {
                self.len_aside -= waiting.homes.len();
                self.senders.push_front(waiting);
            } else {
                self.aside.push((waiting, why));
            }
        }
        self.aside.reverse();
        self.turn();
    }

    /// Whether the next job is one that lost its connection.
    pub(super) fn is_again(&self) -> bool {
        !self.again.is_empty()
    }

    /// The job that `pop` would take.
    pub(super) fn first(&self) -> Option<&W> {
        self.again.front().or_else(|| self.senders.front()?.homes.first())
    }

    pub(super) fn push(&mut self, home: ShardId, sender: Sender, job: W) {
        self.len += 1;
        if let Some(place) = self.find(sender) {
            self.senders[place].sender.shares = sender.shares;
            return self.senders[place].homes.push(home, job);
        }
        if let Some(place) = self.find_aside(sender.name) {
            self.len_aside += 1;
            self.aside[place].0.sender.shares = sender.shares;
            return self.aside[place].0.homes.push(home, job);
        }
        let mut homes = std::mem::take(&mut self.spare);
        homes.push(home, job);
        self.senders.push_back(Waiting { sender, credit: sender.weight, homes });
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
        let first = self.senders.front_mut()?;
        let job = first.homes.pop()?;
        self.len -= 1;
        first.credit = first.credit.saturating_sub(Sender::USUAL);
        if first.homes.is_empty() {
            self.spare = self.senders.pop_front()?.homes;
        }
        self.turn();
        Some(job)
    }

    /// Take out all jobs of some senders, but those that are to be tried again.
    pub(super) fn take(&mut self, is_taken: impl Fn(Sender) -> bool) -> Vec<(Sender, W)> {
        let mut taken = Vec::new();
        self.let_back(&is_taken);
        for mut waiting in std::mem::take(&mut self.senders) {
            if is_taken(waiting.sender) {
                let jobs = std::iter::from_fn(|| waiting.homes.pop());
                taken.extend(jobs.map(|job| (waiting.sender, job)));
            } else {
                self.senders.push_back(waiting);
            }
        }
        self.len -= taken.len();
        self.turn();
        taken
    }

    /// Let whoever has the next turn be the first.
    fn turn(&mut self) {
        while let Some(first) = self.senders.front_mut()
            && first.credit < Sender::USUAL
            && self.senders.len() > 1
        {
            if let Some(mut first) = self.senders.pop_front() {
                first.credit += first.sender.weight;
                self.senders.push_back(first);
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
        Sender { name, weight, ..Sender::NOBODY }
    }

    #[test]
    fn whoever_has_little_does_not_wait_behind_whoever_has_much() {
        let mut line = Line::default();
        (0..200).for_each(|job| line.push(ShardId(0), sender(7, Sender::USUAL), job));
        line.push(ShardId(0), sender(8, Sender::USUAL), 1_000);
        line.push(ShardId(1), sender(7, Sender::USUAL), 2_000);
        assert_eq!(line.len_of(ShardId(0), sender(7, 1)), 200);
        let mut pop = || line.pop().expect("not empty");
        assert_eq!([pop(), pop(), pop(), pop()], [0, 1_000, 2_000, 1]);
        let rest: Vec<i32> = std::iter::from_fn(|| line.pop()).collect();
        assert_eq!(rest, (2..200).collect::<Vec<i32>>());
        // Who has had its turns and comes again begins anew.
        line.push(ShardId(1), sender(8, 1), 1);
        assert_eq!((line.first(), line.len()), (Some(&1), 1));
        assert_eq!((line.pop(), line.pop()), (Some(1), None));
    }

    #[test]
    fn who_has_two_homes_has_no_more_turns_than_who_has_one() {
        let mut line = Line::default();
        for job in 0..=255 {
            line.push(ShardId(job % 3), sender(1, Sender::USUAL), 1);
            line.push(ShardId(0), sender(2, Sender::USUAL), 2);
        }
        let first: Vec<i32> = (0..300).filter_map(|_| line.pop()).collect();
        assert_eq!(first.iter().filter(|one| **one == 1).count(), 150);
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

    #[test]
    fn a_senders_jobs_are_taken_out_and_the_others_stay_in_turn() {
        let mut line = Line::default();
        for job in 0..4 {
            line.push(ShardId(0), sender(7, Sender::USUAL), job);
            line.push(ShardId(1), sender(8, Sender::USUAL), 10 + job);
        }
        line.push_again(99);
        let taken = line.take(|sender| sender.name == 7);
        assert_eq!(taken.into_iter().map(|(_, job)| job).collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert_eq!(line.len(), 5);
        let rest: Vec<i32> = std::iter::from_fn(|| line.pop()).collect();
        assert_eq!(rest, [99, 10, 11, 12, 13]);
        assert!(line.take(|_| true).is_empty());
    }

    #[test]
    fn who_is_set_aside_has_no_turn_until_it_is_let_back_and_then_at_once() {
        let mut line = Line::default();
        for job in 0..3 {
            line.push(ShardId(0), sender(7, Sender::USUAL), job);
            line.push(ShardId(1), sender(8, Sender::USUAL), 10 + job);
        }
        assert_eq!(line.first_sender().map(|one| one.name), Some(7));
        line.set_aside(Why::Unproven);
        line.push(ShardId(1), sender(7, Sender::USUAL), 3);
        assert_eq!((line.len(), line.len_aside(), line.has_next()), (7, 4, true));
        assert_eq!(line.why_aside(7), Some(&Why::Unproven));
        assert_eq!(line.ring().map(|(one, jobs)| (one.name, jobs)).nth(1), Some((8, 3)));
        let popped = [line.pop(), line.pop(), line.pop(), line.pop()];
        assert_eq!(popped, [Some(10), Some(11), Some(12), None]);
        assert!(!line.has_next() && line.first().is_none());
        line.let_back(|one| one.name == 8);
        assert!(!line.has_next());
        line.push(ShardId(0), sender(8, Sender::USUAL), 20);
        line.let_back(|_| true);
        let rest: Vec<i32> = std::iter::from_fn(|| line.pop()).collect();
        assert_eq!(rest, [0, 20, 3, 1, 2], "its turn had come, its homes take turns");
        assert_eq!((line.len(), line.len_aside()), (0, 0));
    }
}
