//! Hand things to a shard from another thread, waking it only when it sleeps.
//!
//! Each shard has one [`Mailbox`]: queues without locks, a flag that says whether the shard sleeps,
//! and an eventfd that its sleep ends by. A wake costs tens of microseconds on both sides, so
//! a shard that is awake is never woken, and one that hands over many things wakes once
//! ([`Outbox::ring_bells`], at the end of a turn).
//!
//! No wake is lost: who posts first pushes, then reads `sleeping`; who sleeps first sets
//! `sleeping`, then looks into the queues; a full fence stands between on both sides, so at least
//! one of the two sees the other.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use crossbeam_queue::SegQueue;
use rustix::event::{EventfdFlags, eventfd};

use crate::base::ids::ShardId;
use crate::base::limits::SHARDS_MAX;
use crate::platform::blocking::Finished;
use crate::shard::mesh::Crossing;

/// What is on its way to one shard.
#[derive(Debug)]
pub(super) struct Mailbox {
    crossings: SegQueue<Crossing>,
    finished: SegQueue<Finished>,
    sleeping: AtomicBool,
    bell: OwnedFd,
}

impl Mailbox {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            crossings: SegQueue::new(),
            finished: SegQueue::new(),
            sleeping: AtomicBool::new(false),
            bell: eventfd(0, EventfdFlags::CLOEXEC)?,
        })
    }

    /// What ends the shard's sleep when written to.
    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// The next crossing; for the mailbox's own shard.
    pub(super) fn take_crossing(&self) -> Option<Crossing> {
        self.crossings.pop()
    }

    /// The next blocking job that came to its end; for the mailbox's own shard.
    pub(super) fn take_finished(&self) -> Option<Finished> {
        self.finished.pop()
    }

    /// From now on whoever posts rings: whether the shard may sleep, since nothing was posted
    /// before. In any case `awake` must follow.
    pub(super) fn fall_asleep(&self) -> bool {
        self.sleeping.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        !self.is_waiting()
    }

    /// Nobody needs to ring.
    pub(super) fn awake(&self) {
        self.sleeping.store(false, Ordering::Relaxed);
    }

    /// Hand over what a blocking job came to.
    pub(super) fn finish(&self, finished: Finished) {
        self.finished.push(finished);
        self.ring_bell();
    }

    /// Whether something was posted that the shard has not taken.
    fn is_waiting(&self) -> bool {
        !self.crossings.is_empty() || !self.finished.is_empty()
    }

    /// Wake the shard, whether or not it sleeps.
    fn ring_anyhow(&self) {
        let one = 1u64.to_ne_bytes();
        rustix::io::write(&self.bell, &one).expect("an eventfd takes 2^64 - 2 rings");
    }

    /// Wake the shard if it sleeps; after what it is to find was pushed.
    fn ring_bell(&self) {
        fence(Ordering::SeqCst);
        // Of many who post to one sleeper, one rings.
        let sleeping = self.sleeping.load(Ordering::Relaxed);
        if sleeping && self.sleeping.swap(false, Ordering::Relaxed) {
            self.ring_anyhow();
        }
    }
}

/// The mailboxes of all shards: for the control thread, which wakes whom it posts to.
#[derive(Clone, Debug)]
pub struct Posts(Arc<[Arc<Mailbox>]>);

impl Posts {
    /// Mailboxes for `shards` shards.
    pub(super) fn new(shards: usize) -> std::io::Result<Self> {
        assert!((1..=SHARDS_MAX).contains(&shards), "{shards} shards");
        let boxes: Result<Vec<_>, _> = (0..shards).map(|_| Mailbox::new().map(Arc::new)).collect();
        Ok(Self(boxes?.into()))
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.0.len()
    }

    /// Every shard's name.
    pub fn shard_ids(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.0.len()).map(|n| ShardId(u8::try_from(n).expect("SHARDS_MAX is 64")))
    }

    /// Hand `crossing` to a shard, which wakes if it sleeps. It may have ended: then it is dropped.
    pub fn post(&self, to: ShardId, crossing: Crossing) {
        let mailbox = self.mailbox(to);
        mailbox.crossings.push(crossing);
        mailbox.ring_bell();
    }

    /// Wake those to whom something was posted that they have not taken, now and when this was last
    /// asked: `before`, bit n for shard n. A shard that is busy is none the worse for it, and one
    /// that was not woken, for whatever reason, goes on. Returns who was woken, as bits.
    pub(super) fn nudge(&self, before: &mut u64) -> u64 {
        let bits = self.0.iter().enumerate().filter(|(_, mailbox)| mailbox.is_waiting());
        let waiting = bits.fold(0, |all, (place, _)| all | 1 << place);
        let woken = waiting & std::mem::replace(before, waiting);
        let mailboxes = self.0.iter().enumerate();
        mailboxes
            .filter(|(place, _)| woken & (1 << place) != 0)
            .for_each(|(_, mailbox)| mailbox.ring_anyhow());
        woken
    }

    pub(super) fn mailbox(&self, shard: ShardId) -> &Arc<Mailbox> {
        &self.0[shard.index()]
    }
}

/// One shard's way to the others: posts at once, wakes at the end of the turn.
#[derive(Debug)]
pub(super) struct Outbox {
    posts: Posts,
    /// Bit n: shard n was posted to in this turn.
    posted: u64,
}

const _: () = assert!(SHARDS_MAX <= u64::BITS as usize);

impl Outbox {
    pub(super) fn new(posts: Posts) -> Self {
        Self { posts, posted: 0 }
    }

    /// Hand `crossing` to a shard; it sees it at once if it is awake.
    pub(super) fn post(&mut self, to: ShardId, crossing: Crossing) {
        self.posts.mailbox(to).crossings.push(crossing);
        self.posted |= 1 << to.index();
    }

    /// Wake those that were posted to and sleep.
    pub(super) fn ring_bells(&mut self) {
        let mut posted = std::mem::take(&mut self.posted);
        while posted != 0 {
            self.posts.0[posted.trailing_zeros() as usize].ring_bell();
            posted &= posted - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rings(mailbox: &Mailbox) -> u64 {
        let mut fds = [rustix::event::PollFd::new(&mailbox.bell, rustix::event::PollFlags::IN)];
        let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        if rustix::event::poll(&mut fds, Some(&now)).unwrap() == 0 {
            return 0;
        }
        let mut count = [0; 8];
        rustix::io::read(&mailbox.bell, &mut count).unwrap();
        u64::from_ne_bytes(count)
    }

    #[test]
    fn a_shard_that_is_awake_is_not_rung_for() {
        let posts = Posts::new(2).unwrap();
        let mailbox = Arc::clone(posts.mailbox(ShardId(1)));
        posts.post(ShardId(1), Crossing::Drain);
        assert_eq!(rings(&mailbox), 0);
        assert!(!mailbox.fall_asleep(), "something was posted before");
        assert!(mailbox.take_crossing().is_some());
    }

    #[test]
    fn a_sleeper_is_rung_for_once_a_turn() {
        let posts = Posts::new(2).unwrap();
        let mailbox = Arc::clone(posts.mailbox(ShardId(1)));
        let mut outbox = Outbox::new(posts);
        assert!(mailbox.fall_asleep());
        (0..100).for_each(|_| outbox.post(ShardId(1), Crossing::Drain));
        assert_eq!(rings(&mailbox), 0, "the turn has not ended");
        outbox.ring_bells();
        outbox.ring_bells();
        assert_eq!(rings(&mailbox), 1);
        assert_eq!(std::iter::from_fn(|| mailbox.take_crossing()).count(), 100);
    }

    #[test]
    fn who_does_not_look_is_rung_for_again() {
        let posts = Posts::new(2).unwrap();
        let mailbox = Arc::clone(posts.mailbox(ShardId(1)));
        let mut before = 0;
        assert_eq!(posts.nudge(&mut before), 0);
        posts.post(ShardId(1), Crossing::Drain);
        assert_eq!((posts.nudge(&mut before), rings(&mailbox)), (0, 0), "it may be about to");
        assert_eq!((posts.nudge(&mut before), rings(&mailbox)), (2, 1));
        assert!(mailbox.take_crossing().is_some());
        assert_eq!((posts.nudge(&mut before), posts.nudge(&mut before)), (0, 0));
    }

    #[test]
    fn no_ring_is_lost_between_two_threads() {
        const ROUNDS: usize = 20_000;
        let posts = Posts::new(1).unwrap();
        let mailbox = Arc::clone(posts.mailbox(ShardId(0)));
        let sender = std::thread::spawn(move || {
            for _ in 0..ROUNDS {
                posts.post(ShardId(0), Crossing::Drain);
                std::thread::yield_now();
            }
        });
        let mut taken = 0;
        while taken < ROUNDS {
            if mailbox.fall_asleep() {
                // Blocks for ever if a ring were lost.
                rustix::io::read(mailbox.bell(), &mut [0; 8]).unwrap();
            }
            mailbox.awake();
            taken += std::iter::from_fn(|| mailbox.take_crossing()).count();
        }
        sender.join().unwrap();
    }
}
