//! Keep clients waiting who connect before the spool is open, in the first moments of a run.
//!
//! They are greeted a few milliseconds later, instead of being answered 452 for a disk that is not
//! full. Lives on: the home shard.

use std::net::SocketAddr;

use crate::shard::platform::{ConnectionId, Event, Platform};

/// A client that has connected and has not been greeted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EarlyClient {
    pub(super) connection: ConnectionId,
    pub(super) listener: u16,
    pub(super) peer: SocketAddr,
}

/// Those that wait, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct EarlyClients(Vec<EarlyClient>);

impl EarlyClients {
    /// Keep whoever connects, forget whoever hangs up. Whether the event was about such a client.
    pub(super) fn handle<P: Platform>(&mut self, event: &Event<'_>, platform: &mut P) -> bool {
        match *event {
            Event::Accepted { connection, listener, peer, local: _ } => {
                // What it sends before it is greeted stays with the kernel.
                platform.pause(connection);
                self.0.push(EarlyClient { connection, listener, peer });
                true
            }
            Event::Ended { connection } => {
                let gone = self.forget(connection);
                if gone {
                    platform.close(connection);
                }
                gone
            }
            Event::Lost { connection, error: _ } => self.forget(connection),
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
            | Event::Crossing(_) => false,
        }
    }

    fn forget(&mut self, connection: ConnectionId) -> bool {
        let before = self.0.len();
        self.0.retain(|client| client.connection != connection);
        self.0.len() < before
    }

    /// All of them wait no more.
    pub(super) fn let_in<P: Platform>(&mut self, platform: &mut P) -> Vec<EarlyClient> {
        let all = std::mem::take(&mut self.0);
        all.iter().for_each(|client| platform.resume(client.connection));
        all
    }
}
