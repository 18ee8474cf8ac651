//! Keep count of a site's connections: opening, idle, busy.
//!
//! The idle connection that was used last is lent first, so that those not needed grow old and go.
//! A busy one is *open* once all of its message is sent: another may follow behind it, before the
//! peer has answered. The one that has been open longest is lent first: its answer is the nearest.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use crate::base::slots::{Slot, Slots};
use crate::base::time::Monotonic;

/// A connection of one site, by its place in the site's pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PooledId(pub Slot);

/// What a connection does at the moment.
#[derive(Debug)]
pub(super) enum Work<W> {
    /// Being connected and greeted.
    Opening,
    /// Ready to carry a message, since then.
    Idle(Monotonic),
    /// Carrying `first`, and `behind` it another.
    Busy { first: W, behind: Option<W> },
}

#[derive(Debug)]
struct Pooled<W> {
    address: SocketAddr,
    /// The outlet that it was opened on, where its site is shaped.
    outlet: Option<u16>,
    /// Messages that it carried or carries.
    messages: u32,
    work: Work<W>,
    /// When it was begun to be opened, or when its first message was sent.
    since: Monotonic,
    /// The first message is sent, and the peer's answer is awaited.
    sent: bool,
}

/// The connections of a site in one shard; `W` is what a busy one carries.
#[derive(Debug)]
pub(super) struct Pool<W> {
    connections: Slots<Pooled<W>>,
    /// Used last at the end.
    idle: Vec<PooledId>,
    /// Open longest at the front.
    open: VecDeque<PooledId>,
    opening: usize,
    /// From the beginning of a connection to the end of its greeting, the usual one.
    greeting: Usual,
    /// From the end of a message to its reply, the usual one.
    reply: Usual,
}

/// A moving average of what took how long; unknown at first.
#[derive(Clone, Copy, Debug, Default)]
struct Usual(Option<Duration>);

impl Usual {
    fn note(&mut self, took: Duration) {
        self.0 = Some(self.0.map_or(took, |usual| (usual * 7 + took) / 8));
    }
}

impl<W> Default for Pool<W> {
    fn default() -> Self {
        Self {
            connections: Slots::default(),
            idle: Vec::new(),
            open: VecDeque::new(),
            opening: 0,
            greeting: Usual::default(),
            reply: Usual::default(),
        }
    }
}

impl<W> Pool<W> {
    pub(super) fn len(&self) -> usize {
        self.connections.len()
    }

    pub(super) fn opening(&self) -> usize {
        self.opening
    }

    pub(super) fn idle(&self) -> usize {
        self.idle.len()
    }

    /// Whether the peer usually answers a message sooner than a connection would be there.
    pub(super) fn answers_soon(&self) -> bool {
        let (reply, greeting) = (self.reply.0, self.greeting.0);
        reply.zip(greeting).is_some_and(|(reply, greeting)| reply < greeting)
    }

    /// Begin to connect.
    pub(super) fn connect(
        &mut self,
        address: SocketAddr,
        outlet: Option<u16>,
        now: Monotonic,
    ) -> PooledId {
        self.opening += 1;
        let (since, work) = (now, Work::Opening);
        let pooled = Pooled { address, outlet, messages: 0, work, since, sent: false };
        PooledId(self.connections.insert(pooled))
    }

    /// The connection was greeted: it is idle.
    pub(super) fn greeted(&mut self, connection: PooledId, now: Monotonic) {
        let Some(pooled) = self.connections.get_mut(connection.0) else { return };
        if matches!(pooled.work, Work::Opening) {
            self.greeting.note(now.since(pooled.since));
            pooled.work = Work::Idle(now);
            self.opening -= 1;
            self.idle.push(connection);
        }
    }

    /// All of what a busy connection carries is sent: another may follow.
    pub(super) fn sent(&mut self, connection: PooledId, now: Monotonic) {
        let Some(pooled) = self.connections.get_mut(connection.0) else { return };
        if matches!(pooled.work, Work::Busy { behind: None, .. }) {
            (pooled.since, pooled.sent) = (now, true);
            self.open.push_back(connection);
        }
    }

    /// A busy connection's first message is done, which is answered: it carries the one behind it,
    /// or is idle.
    pub(super) fn finish(&mut self, connection: PooledId, now: Monotonic) -> Option<W> {
        let pooled = self.connections.get_mut(connection.0)?;
        let work = std::mem::replace(&mut pooled.work, Work::Idle(now));
        let mut done = None;
        match work {
            Work::Busy { first, behind: Some(next) } => {
                pooled.work = Work::Busy { first: next, behind: None };
                done = Some(first);
            }
            Work::Busy { first, behind: None } => {
                self.idle.push(connection);
                done = Some(first);
            }
            Work::Opening | Work::Idle(_) => pooled.work = work,
        }
        if std::mem::take(&mut pooled.sent) {
            self.reply.note(now.since(pooled.since));
        }
        self.shut(connection);
        done
    }

    /// A connection is not open any more.
    fn shut(&mut self, connection: PooledId) {
        self.open.retain(|other| *other != connection);
    }

    /// The idle connection that was used last, if there is one.
    pub(super) fn last_idle(&self) -> Option<PooledId> {
        self.idle.last().copied()
    }

    /// An idle connection: the last one of `idle()` was used last.
    pub(super) fn idle_at(&self, place: usize) -> PooledId {
        self.idle[place]
    }

    /// Let the connection that was used last carry `work`.
    pub(super) fn lend(&mut self, work: W) -> PooledId {
        self.lend_at(self.idle.len() - 1, work)
    }

    /// Let an idle connection carry `work`.
    pub(super) fn lend_at(&mut self, place: usize, work: W) -> PooledId {
        let connection = self.idle.remove(place);
        let pooled = self.connections.get_mut(connection.0).expect("idle ones are there");
        pooled.messages += 1;
        pooled.work = Work::Busy { first: work, behind: None };
        connection
    }

    /// The connection that has been open longest, if there is one.
    pub(super) fn first_open(&self) -> Option<PooledId> {
        self.open.front().copied()
    }

    /// An open connection: the first one has been so longest.
    pub(super) fn open_at(&self, place: usize) -> Option<PooledId> {
        self.open.get(place).copied()
    }

    /// Let the connection that has been open longest carry `work` behind what it carries.
    pub(super) fn lend_behind(&mut self, work: W) -> PooledId {
        self.lend_behind_at(0, work)
    }

    /// Let an open connection carry `work` behind what it carries.
    pub(super) fn lend_behind_at(&mut self, place: usize, work: W) -> PooledId {
        let connection = self.open.remove(place).expect("an open connection");
        let pooled = self.connections.get_mut(connection.0).expect("open ones are there");
        let Work::Busy { behind, .. } = &mut pooled.work else {
            unreachable!("open ones are busy")
        };
        *behind = Some(work);
        pooled.messages += 1;
        connection
    }

    /// Forget a connection; where it led and what it did.
    pub(super) fn remove(&mut self, connection: PooledId) -> Option<(SocketAddr, Work<W>)> {
        let pooled = self.connections.remove(connection.0)?;
        match &pooled.work {
            Work::Opening => self.opening -= 1,
            Work::Idle(_) => self.idle.retain(|other| *other != connection),
            Work::Busy { .. } => self.shut(connection),
        }
        Some((pooled.address, pooled.work))
    }

    /// The outlet that a connection was opened on.
    pub(super) fn outlet(&self, connection: PooledId) -> Option<u16> {
        self.connections.get(connection.0)?.outlet
    }

    /// The outlets that connections were opened on, one for each.
    pub(super) fn outlets(&self) -> impl Iterator<Item = u16> {
        self.connections.iter().filter_map(|(_, pooled)| pooled.outlet)
    }

    /// Outlets have other places now, or are gone.
    pub(super) fn move_outlets(&mut self, place: impl Fn(u16) -> Option<u16>) {
        let slots: Vec<Slot> = self.connections.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            if let Some(pooled) = self.connections.get_mut(slot) {
                pooled.outlet = pooled.outlet.and_then(&place);
            }
        }
    }

    pub(super) fn address(&self, connection: PooledId) -> Option<SocketAddr> {
        self.connections.get(connection.0).map(|pooled| pooled.address)
    }

    pub(super) fn messages(&self, connection: PooledId) -> u32 {
        self.connections.get(connection.0).map_or(0, |pooled| pooled.messages)
    }

    /// Messages that it carried before those that it carries now.
    pub(super) fn messages_before(&self, connection: PooledId) -> u32 {
        let Some(pooled) = self.connections.get(connection.0) else { return 0 };
        let now = match &pooled.work {
            Work::Opening | Work::Idle(_) => 0,
            Work::Busy { behind, .. } => 1 + u32::from(behind.is_some()),
        };
        pooled.messages - now
    }

    /// When the connection that is idle longest has been so for `limit`.
    pub(super) fn idle_until(&self, limit: Duration) -> Option<(PooledId, Monotonic)> {
        let oldest = *self.idle.first()?;
        match self.connections.get(oldest.0).expect("idle ones are there").work {
            Work::Idle(since) => Some((oldest, since + limit)),
            Work::Opening | Work::Busy { .. } => unreachable!("on the idle list"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 25);

    /// A pool with `count` connections, greeted one after the other, each after 10 ns.
    fn pool(count: u64) -> (Pool<char>, Vec<PooledId>) {
        let mut pool = Pool::default();
        let ids: Vec<PooledId> =
            (0..count).map(|_| pool.connect(PEER, None, Monotonic(0))).collect();
        assert_eq!((pool.opening(), pool.idle()), (ids.len(), 0));
        ids.iter().for_each(|id| pool.greeted(*id, Monotonic(10)));
        assert_eq!((pool.opening(), pool.idle()), (0, ids.len()));
        (pool, ids)
    }

    #[test]
    fn the_connection_used_last_is_lent_first_and_the_oldest_ages() {
        let (mut pool, ids) = pool(2);
        let [a, b] = ids[..] else { unreachable!("two") };
        assert_eq!(pool.lend('x'), b);
        pool.finish(b, Monotonic(13));
        let limit = Duration::from_nanos(10);
        assert_eq!(pool.idle_until(limit), Some((a, Monotonic(20))));
        assert_eq!((pool.messages(a), pool.messages(b)), (0, 1));
        assert!(pool.remove(a).is_some() && pool.remove(a).is_none());
        assert_eq!((pool.len(), pool.idle(), pool.last_idle()), (1, 1, Some(b)));
    }

    #[test]
    fn one_message_follows_behind_another_once_that_is_sent() {
        let (mut pool, ids) = pool(2);
        let [a, b] = ids[..] else { unreachable!("two") };
        assert_eq!((pool.lend('x'), pool.lend('y')), (b, a));
        assert_eq!(pool.first_open(), None, "nothing is sent");
        pool.sent(a, Monotonic(20));
        pool.sent(b, Monotonic(21));
        assert_eq!(pool.lend_behind('z'), a, "open longest");
        assert_eq!((pool.messages(a), pool.messages_before(a)), (2, 0));
        assert_eq!(pool.first_open(), Some(b));
        pool.finish(a, Monotonic(25));
        assert_eq!((pool.idle(), pool.messages_before(a)), (0, 1), "it carries z");
        pool.finish(b, Monotonic(25));
        assert_eq!((pool.last_idle(), pool.first_open()), (Some(b), None));
        let Some((_, Work::Busy { first: 'z', behind: None })) = pool.remove(a) else {
            panic!("z is lost")
        };
    }

    #[test]
    fn a_peer_answers_soon_if_its_replies_come_faster_than_its_greetings() {
        for (reply, soon) in [(9, true), (10, false)] {
            let (mut pool, ids) = pool(1);
            assert!(!pool.answers_soon(), "not known");
            pool.lend('x');
            pool.sent(ids[0], Monotonic(100));
            pool.finish(ids[0], Monotonic(100 + reply));
            assert_eq!(pool.answers_soon(), soon);
        }
    }
}
