//! Queries under way, each on a socket of its own, until answered, failed or out of time.
//!
//! In: what came on a socket. Out: queries to send; an [`Over`] when an exchange ends; its id once
//! more, so that the socket is closed.
//! Invariant: what comes for an exchange that is over, or does not answer its query, changes
//! nothing but a count; after `DNS_MISMATCHES_MAX` of these, or when time runs out after one, the
//! question goes over TCP, where a forger who cannot see our packets cannot follow.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;

use crate::base::limits::{DNS_MISMATCHES_MAX, DNS_TCP_MESSAGE_MAX};
use crate::base::slots::{Slot, Slots};
use crate::base::time::Monotonic;
use crate::dns::message::Asked;
use crate::dns::reading::Reading;

/// One query on one socket; never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExchangeId(pub Slot);

/// What carries a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// One datagram each way, from a new socket on a random port.
    Udp,
    /// A connection for this query alone.
    Tcp,
}

/// A query to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Names the socket from now on.
    pub exchange: ExchangeId,
    /// Where it goes; the socket is connected, so that nobody else's datagrams come in.
    pub server: SocketAddr,
    /// Over what.
    pub transport: Transport,
    /// All octets to send; over TCP with their length before them (RFC 1035 §4.2.2).
    pub query: Vec<u8>,
}

/// Queries and answers counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Queries sent over UDP.
    pub udp_queries: u64,
    /// Queries sent over TCP.
    pub tcp_queries: u64,
    /// Datagrams that answer no query of ours: late, garbage or forged.
    pub mismatched: u64,
    /// Queries without an answer in time.
    pub timed_out: u64,
}

/// A query under way.
#[derive(Debug)]
pub(super) struct Exchange {
    lookup: Slot,
    server: SocketAddr,
    transport: Transport,
    asked: Asked,
    due: Monotonic,
    /// Datagrams on this socket that were no answer.
    mismatches: u32,
    /// What came over TCP so far, length included.
    received: Vec<u8>,
}

/// An exchange that ended: what its lookup must know.
#[derive(Debug)]
pub(super) struct Over {
    pub(super) lookup: Slot,
    pub(super) server: SocketAddr,
    pub(super) transport: Transport,
    pub(super) reading: Reading,
}

/// All queries under way.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    under_way: Slots<Exchange>,
    due: BTreeSet<(Monotonic, Slot)>,
    transmits: VecDeque<Transmit>,
    closed: VecDeque<ExchangeId>,
    traffic: Traffic,
}

impl Exchange {
    pub(super) fn new(
        lookup: Slot,
        server: SocketAddr,
        transport: Transport,
        asked: Asked,
        due: Monotonic,
    ) -> Self {
        Self { lookup, server, transport, asked, due, mismatches: 0, received: Vec::new() }
    }
}

impl Exchanges {
    /// How many are under way.
    pub(super) fn len(&self) -> usize {
        self.under_way.len()
    }

    pub(super) fn traffic(&self) -> Traffic {
        self.traffic
    }

    pub(super) fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    pub(super) fn poll_closed(&mut self) -> Option<ExchangeId> {
        self.closed.pop_front()
    }

    /// When the first of them is out of time.
    pub(super) fn deadline(&self) -> Option<Monotonic> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Send the query of `exchange`.
    pub(super) fn start(&mut self, exchange: Exchange) {
        let (server, transport, due) = (exchange.server, exchange.transport, exchange.due);
        let mut query = exchange.asked.write();
        match transport {
            Transport::Udp => self.traffic.udp_queries += 1,
            Transport::Tcp => {
                self.traffic.tcp_queries += 1;
                let length = u16::try_from(query.len()).expect("a query has one short name");
                query.splice(0..0, length.to_be_bytes());
            }
        }
        let slot = self.under_way.insert(exchange);
        self.due.insert((due, slot));
        let exchange = ExchangeId(slot);
        self.transmits.push_back(Transmit { exchange, server, transport, query });
    }

    /// A datagram came.
    pub(super) fn hear_datagram(&mut self, id: ExchangeId, bytes: &[u8]) -> Option<Over> {
        let under_way = self.under_way.get_mut(id.0);
        let over_udp = under_way.filter(|exchange| exchange.transport == Transport::Udp);
        if let Some(reading) = over_udp.as_ref().and_then(|exchange| exchange.asked.read(bytes)) {
            return self.end(id, reading);
        }
        self.traffic.mismatched += 1;
        let exchange = over_udp?;
        exchange.mismatches += 1;
        let guessed_at = exchange.mismatches >= DNS_MISMATCHES_MAX;
        if guessed_at { self.end(id, Reading::OverTcp) } else { None }
    }

    /// Octets came over TCP. One message is read; whatever follows it is not.
    pub(super) fn hear_tcp_bytes(&mut self, id: ExchangeId, bytes: &[u8]) -> Option<Over> {
        let exchange = self.under_way.get_mut(id.0)?;
        let room = (2 + DNS_TCP_MESSAGE_MAX).saturating_sub(exchange.received.len());
        exchange.received.extend_from_slice(&bytes[..bytes.len().min(room)]);
        let (length, rest) = exchange.received.split_first_chunk::<2>()?;
        let message = rest.get(..usize::from(u16::from_be_bytes(*length)))?;
        let reading = match exchange.asked.read(message) {
            Some(Reading::OverTcp) => Reading::failed("a truncated answer over TCP", true),
            Some(reading) => reading,
            None => Reading::failed("an answer to another question", true),
        };
        self.end(id, reading)
    }

    /// End the next exchange whose time is over.
    pub(super) fn expire(&mut self, now: Monotonic) -> Option<Over> {
        let (_, slot) = *self.due.first().filter(|(due, _)| *due <= now)?;
        self.traffic.timed_out += 1;
        let mismatches = self.under_way.get(slot).map_or(0, |exchange| exchange.mismatches);
        let reading = match mismatches {
            0 => Reading::failed("no answer in time", true),
            _ => Reading::OverTcp,
        };
        self.end(ExchangeId(slot), reading)
    }

    /// End an exchange with `reading`; nothing where it is over already.
    pub(super) fn end(&mut self, id: ExchangeId, reading: Reading) -> Option<Over> {
        let exchange = self.under_way.remove(id.0)?;
        self.due.remove(&(exchange.due, id.0));
        self.closed.push_back(id);
        let Exchange { lookup, server, transport, .. } = exchange;
        Some(Over { lookup, server, transport, reading })
    }
}
