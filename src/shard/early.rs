//! Keep clients waiting who connect before the spool is open, in the first moments of a run.
//!
//! They are greeted a few milliseconds later, instead of being answered 452 for a disk that is not
//! full. They count as sessions meanwhile: who is one too many is refused at once, like any other.
//! Lives on: the home shard.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use hashbrown::HashMap;

use crate::policy::admission::Admission;
use crate::shard::Shard;
use crate::shard::context::Context;
use crate::shard::platform::{ConnectionId, Event, Platform};
use crate::spool::log::Room;

/// A client that has connected and has not been greeted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EarlyClient {
    pub(super) connection: ConnectionId,
    pub(super) listener: u16,
    pub(super) peer: SocketAddr,
}

/// Those that wait. Each is counted in `Admission`, which bounds them.
#[derive(Debug, Default)]
pub(super) struct EarlyClients {
    /// In the order in which they came.
    waiting: BTreeMap<u64, EarlyClient>,
    places: HashMap<ConnectionId, u64>,
    came: u64,
}

impl EarlyClients {
    /// Keep whoever connects and may, forget whoever hangs up. Whether the event was about such a
    /// client, and has been dealt with.
    pub(super) fn handle<P: Platform>(
        &mut self,
        event: &Event<'_>,
        admission: &mut Admission,
        platform: &mut P,
    ) -> bool {
        match *event {
            Event::Accepted { connection, listener, peer, local: _ } => {
                let kept = self.keep(EarlyClient { connection, listener, peer }, admission);
                if kept {
                    // What it sends before it is greeted stays with the kernel.
                    platform.pause(connection);
                }
                kept
            }
            Event::Ended { connection } => {
                let gone = self.forget(connection, admission);
                if gone {
                    platform.close(connection);
                }
                gone
            }
            Event::Lost { connection, error: _ } => self.forget(connection, admission),
            Event::Received { .. }
            | Event::Sent { .. }
            | Event::Connected { .. }
            | Event::ConnectFailed { .. }
            | Event::Datagram { .. }
            | Event::DatagramFailed { .. }
            | Event::SegmentReady { .. }
            | Event::SegmentOpened { .. }
            | Event::Committed { .. }
            | Event::Populated { .. }
            | Event::PolicyFetched { .. }
            | Event::Verified { .. }
            | Event::LookedUp { .. }
            | Event::AllLookedUp { .. }
            | Event::Crossing(_) => false,
        }
    }

    /// All of them wait no more, in their order; they are to be admitted anew.
    pub(super) fn let_in<P: Platform>(
        &mut self,
        admission: &mut Admission,
        platform: &mut P,
    ) -> impl Iterator<Item = EarlyClient> + use<P> {
        let all = self.take(admission);
        all.values().for_each(|client| platform.resume(client.connection));
        all.into_values()
    }

    fn keep(&mut self, client: EarlyClient, admission: &mut Admission) -> bool {
        if admission.open(client.listener, client.peer.ip()).is_err() {
            return false;
        }
        self.came += 1;
        self.waiting.insert(self.came, client);
        self.places.insert(client.connection, self.came);
        true
    }

    fn forget(&mut self, connection: ConnectionId, admission: &mut Admission) -> bool {
        let place = self.places.remove(&connection);
        let client = place.and_then(|place| self.waiting.remove(&place));
        if let Some(client) = client {
            admission.close(client.listener, client.peer.ip());
        }
        client.is_some()
    }

    fn take(&mut self, admission: &mut Admission) -> BTreeMap<u64, EarlyClient> {
        self.places.clear();
        let all = std::mem::take(&mut self.waiting);
        all.values().for_each(|client| admission.close(client.listener, client.peer.ip()));
        all
    }
}

impl Shard {
    /// Whether the spool will be open soon, and is not yet.
    pub(super) fn is_early(&self) -> bool {
        self.commit.room() == Room::Opening && self.drain.is_none()
    }

    /// Greet those who came too early.
    pub(super) fn greet_early<P: Platform>(&mut self, platform: &mut P) {
        if self.is_early() {
            return;
        }
        for client in self.early.let_in(self.ingress.admission(), platform) {
            let EarlyClient { connection, listener, peer } = client;
            let (now, settings) = (platform.now(), &self.settings);
            let cx = &mut Context { now, platform, settings, common: &mut self.common };
            self.ingress.accepted(connection, listener, peer, &mut self.commit, cx);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::slots::Slots;
    use crate::policy::admission::AdmissionLimits;

    #[test]
    fn they_count_as_sessions_and_are_let_in_in_their_order() {
        let limits =
            AdmissionLimits { sessions: 3, sessions_per_address: 9, listener_sessions: vec![9] };
        let (mut admission, mut early) = (Admission::new(limits), EarlyClients::default());
        let peer = "192.0.2.1:1000".parse().expect("an address");
        let mut slots = Slots::default();
        let clients: Vec<EarlyClient> = (0..5)
            .map(|_| ConnectionId(slots.insert(())))
            .map(|connection| EarlyClient { connection, listener: 0, peer })
            .collect();
        let kept: Vec<bool> =
            clients[..4].iter().map(|client| early.keep(*client, &mut admission)).collect();
        assert_eq!(kept, [true, true, true, false]);
        assert!(!early.forget(clients[3].connection, &mut admission), "it was not kept");
        assert!(early.forget(clients[0].connection, &mut admission));
        assert!(!early.forget(clients[0].connection, &mut admission), "once");
        assert!(early.keep(clients[4], &mut admission), "there is room for another");
        assert_eq!(admission.sessions(), 3);
        let all: Vec<_> = early.take(&mut admission).into_values().collect();
        assert_eq!(all, [clients[1], clients[2], clients[4]]);
        assert_eq!((admission.sessions(), early.take(&mut admission).len()), (0, 0));
    }
}
