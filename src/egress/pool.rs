//! Keep count of a site's connections: opening, idle, busy.
//!
//! The idle connection that was used last is lent first, so that those not needed grow old and go.

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
    /// Carrying this.
    Busy(W),
}

#[derive(Debug)]
struct Pooled<W> {
    address: SocketAddr,
    /// Messages that it carried.
    messages: u32,
    work: Work<W>,
}

/// The connections of a site in one shard; `W` is what a busy one carries.
#[derive(Debug)]
pub(super) struct Pool<W> {
    connections: Slots<Pooled<W>>,
    /// Used last at the end.
    idle: Vec<PooledId>,
    opening: usize,
}

impl<W> Default for Pool<W> {
    fn default() -> Self {
        Self { connections: Slots::default(), idle: Vec::new(), opening: 0 }
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

    /// Begin to open a connection.
    pub(super) fn open(&mut self, address: SocketAddr) -> PooledId {
        self.opening += 1;
        let pooled = Pooled { address, messages: 0, work: Work::Opening };
        PooledId(self.connections.insert(pooled))
    }

    /// The connection was greeted, or has finished a message: it is idle.
    pub(super) fn rest(&mut self, connection: PooledId, now: Monotonic) -> Option<Work<W>> {
        let pooled = self.connections.get_mut(connection.0)?;
        let before = std::mem::replace(&mut pooled.work, Work::Idle(now));
        match &before {
            Work::Opening => self.opening -= 1,
            Work::Busy(_) => {}
            Work::Idle(_) => return Some(before),
        }
        self.idle.push(connection);
        Some(before)
    }

    /// The idle connection that was used last, if there is one.
    pub(super) fn last_idle(&self) -> Option<PooledId> {
        self.idle.last().copied()
    }

    /// Let the connection that was used last carry `work`.
    pub(super) fn lend(&mut self, work: W) -> PooledId {
        let connection = self.idle.pop().expect("an idle connection");
        let pooled = self.connections.get_mut(connection.0).expect("idle ones are there");
        pooled.messages += 1;
        pooled.work = Work::Busy(work);
        connection
    }

    /// Forget a connection; where it led and what it did.
    pub(super) fn remove(&mut self, connection: PooledId) -> Option<(SocketAddr, Work<W>)> {
        let pooled = self.connections.remove(connection.0)?;
        match &pooled.work {
            Work::Opening => self.opening -= 1,
            Work::Idle(_) => self.idle.retain(|other| *other != connection),
            Work::Busy(_) => {}
        }
        Some((pooled.address, pooled.work))
    }

    pub(super) fn address(&self, connection: PooledId) -> Option<SocketAddr> {
        self.connections.get(connection.0).map(|pooled| pooled.address)
    }

    pub(super) fn messages(&self, connection: PooledId) -> u32 {
        self.connections.get(connection.0).map_or(0, |pooled| pooled.messages)
    }

    /// When the connection that is idle longest has been so for `limit`.
    pub(super) fn idle_until(&self, limit: Duration) -> Option<(PooledId, Monotonic)> {
        let oldest = *self.idle.first()?;
        match self.connections.get(oldest.0).expect("idle ones are there").work {
            Work::Idle(since) => Some((oldest, since + limit)),
            Work::Opening | Work::Busy(_) => unreachable!("on the idle list"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 25);

    #[test]
    fn the_connection_used_last_is_lent_first_and_the_oldest_ages() {
        let mut pool = Pool::default();
        let [a, b] = [pool.open(PEER), pool.open(PEER)];
        assert_eq!((pool.opening(), pool.idle()), (2, 0));
        pool.rest(a, Monotonic(1));
        pool.rest(b, Monotonic(2));
        assert_eq!(pool.lend('x'), b);
        assert!(matches!(pool.rest(b, Monotonic(3)), Some(Work::Busy('x'))));
        let limit = Duration::from_nanos(10);
        assert_eq!(pool.idle_until(limit), Some((a, Monotonic(11))));
        assert_eq!((pool.messages(a), pool.messages(b)), (0, 1));
        assert!(pool.remove(a).is_some() && pool.remove(a).is_none());
        assert_eq!((pool.len(), pool.idle(), pool.last_idle()), (1, 1, Some(b)));
    }
}
