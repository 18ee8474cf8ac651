//! Carry octets between parties: with delay, in pieces, in order; or break, end, refuse.
//!
//! Invariant: what arrives at an end is a beginning of what was sent to it, in order; nothing
//! arrives at an end whose party let go of it.

use std::collections::{BTreeMap, VecDeque};

use relay_fast::shard::platform::ConnectionId;

use crate::agenda::{Agenda, Happening, MS};

/// Who is at an end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Party {
    Shard {
        shard: usize,
        id: ConnectionId,
    },
    /// The relay, which has not accepted yet; by shard.
    Listener(usize),
    Client(usize),
    /// A session of a next hop, or a TCP name server.
    Peer(u64),
    /// Let go, or never there.
    Nobody,
}

/// What comes to an end of a connection.
#[derive(Debug)]
pub(crate) enum What {
    /// The connection is there.
    Open,
    /// It is not, and will not be.
    Refused(i32),
    Bytes {
        bytes: Vec<u8>,
        sent_at: u64,
    },
    /// The other side says nothing more.
    Fin,
    Reset,
    /// All that was sent from here has perhaps left.
    Sent,
}

#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) connection: u64,
    pub(crate) to: usize,
    pub(crate) what: What,
}

/// One end.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) party: Party,
    pub(crate) reads: bool,
    /// Its party let go in good order, and the kernel reads on for a while.
    pub(crate) lingers: bool,
    /// What arrived while its party did not read.
    pub(crate) held: VecDeque<What>,
    /// No later piece arrives before.
    last_arrival: u64,
    /// Octets on their way here, or held.
    unread: usize,
    /// Octets that its party took.
    taken: u64,
    /// Octets that were sent here.
    sent: u64,
    /// Its party is to be told that all it sent has left.
    awaits_sent: bool,
    /// When so many octets are taken, these deliveries were heard of.
    receipts: VecDeque<(u64, usize)>,
}

/// All connections.
#[derive(Debug, Default)]
pub(crate) struct Net {
    pub(crate) connections: BTreeMap<u64, [End; 2]>,
    last: u64,
}

/// Octets that wait unread before a sender is not told that they left.
const SOCKET_BUFFER: usize = 128 * 1024;

impl End {
    fn new(party: Party) -> Self {
        Self {
            party,
            reads: true,
            lingers: false,
            held: VecDeque::new(),
            last_arrival: 0,
            unread: 0,
            taken: 0,
            sent: 0,
            awaits_sent: false,
            receipts: VecDeque::new(),
        }
    }
}

pub(crate) fn latency(agenda: &mut Agenda) -> u64 {
    agenda.between(MS / 10, 4 * MS)
}

impl Net {
    /// A connection from one party to another; what became of it arrives at both.
    pub(crate) fn connect(&mut self, from: Party, to: Party, agenda: &mut Agenda) -> u64 {
        self.last += 1;
        self.connections.insert(self.last, [End::new(from), End::new(to)]);
        self.arrive(self.last, 1, What::Open, agenda);
        // The one who connects learns of it a round trip later.
        let trip = latency(agenda);
        let there = self.end(self.last, 1).map_or(0, |end| end.last_arrival);
        self.arrive_at(self.last, 0, What::Open, there + trip, agenda);
        self.last
    }

    pub(crate) fn end(&mut self, connection: u64, end: usize) -> Option<&mut End> {
        self.connections.get_mut(&connection).map(|ends| &mut ends[end])
    }

    /// Send from `end`; `after`: not before so much time has passed.
    pub(crate) fn send(
        &mut self,
        (connection, end): (u64, usize),
        bytes: &[u8],
        after: u64,
        agenda: &mut Agenda,
    ) {
        let sent_at = agenda.now;
        let mut rest = bytes;
        let mut time = agenda.now + after + latency(agenda);
        while !rest.is_empty() {
            // Mostly whole, sometimes cut anywhere.
            let cut = match agenda.prng.below(6) {
                0 => agenda.index(rest.len()) + 1,
                _ => rest.len(),
            };
            let (piece, later) = rest.split_at(cut);
            rest = later;
            let Some(other) = self.end(connection, 1 - end) else { return };
            other.unread += piece.len();
            other.sent += piece.len() as u64;
            let what = What::Bytes { bytes: piece.to_vec(), sent_at };
            self.arrive_at(connection, 1 - end, what, time, agenda);
            time += agenda.between(0, MS);
        }
        if let Some(own) = self.end(connection, end) {
            own.awaits_sent = true;
            agenda.after(MS / 20, Happening::Wire(Wire { connection, to: end, what: What::Sent }));
        }
    }

    /// Once all that was sent from `end` so far is taken, delivery number `delivery` was heard of.
    pub(crate) fn note_receipt(&mut self, (connection, end): (u64, usize), delivery: usize) {
        if let Some(other) = self.end(connection, 1 - end) {
            other.receipts.push_back((other.sent, delivery));
        }
    }

    /// The party at `end` took so many octets; the deliveries that it heard of thereby.
    pub(crate) fn taken(
        &mut self,
        (connection, end): (u64, usize),
        octets: usize,
        agenda: &mut Agenda,
    ) -> Vec<usize> {
        let Some(own) = self.end(connection, end) else { return Vec::new() };
        own.unread -= octets;
        own.taken += octets as u64;
        let mut heard = Vec::new();
        while own.receipts.front().is_some_and(|(at, _)| *at <= own.taken) {
            heard.extend(own.receipts.pop_front().map(|(_, delivery)| delivery));
        }
        let to = 1 - end;
        if self.end(connection, to).is_some_and(|other| other.awaits_sent) {
            agenda.after(MS / 20, Happening::Wire(Wire { connection, to, what: What::Sent }));
        }
        heard
    }

    /// Whether all that was sent from `end` has left, for the first time since.
    pub(crate) fn take_sent(&mut self, connection: u64, end: usize) -> bool {
        let room = self.end(connection, 1 - end).is_some_and(|end| end.unread <= SOCKET_BUFFER);
        let own = self.end(connection, end);
        room && own.is_some_and(|own| std::mem::take(&mut own.awaits_sent))
    }

    /// The party at `end` says nothing more, but hears on.
    pub(crate) fn finish(&mut self, (connection, end): (u64, usize), agenda: &mut Agenda) {
        self.arrive(connection, 1 - end, What::Fin, agenda);
    }

    /// The party at `end` lets go in good order: what it sent arrives, then its end.
    pub(crate) fn close(&mut self, (connection, end): (u64, usize), agenda: &mut Agenda) {
        self.finish((connection, end), agenda);
        self.let_go(connection, end);
    }

    /// The party at `end` lets go at once; what is under way may be lost.
    pub(crate) fn reset(&mut self, (connection, end): (u64, usize), agenda: &mut Agenda) {
        if agenda.chance(500) {
            self.arrive(connection, 1 - end, What::Reset, agenda);
        } else {
            let wire = Wire { connection, to: 1 - end, what: What::Reset };
            let delay = latency(agenda);
            agenda.after(delay, Happening::Wire(wire));
        }
        self.let_go(connection, end);
    }

    /// Something came to `end`, where nobody is: whoever sent it is told with a reset.
    pub(crate) fn answer_nobody(&mut self, (connection, end): (u64, usize), agenda: &mut Agenda) {
        if self.end(connection, end).is_none_or(|end| end.lingers) {
            return;
        }
        let wire = Wire { connection, to: 1 - end, what: What::Reset };
        let delay = latency(agenda);
        agenda.after(delay, Happening::Wire(wire));
    }

    /// Nothing arrives at `end` any more.
    pub(crate) fn let_go(&mut self, connection: u64, end: usize) {
        let Some(own) = self.end(connection, end) else { return };
        own.party = Party::Nobody;
        own.held.clear();
        own.unread = 0;
        if self.end(connection, 1 - end).is_some_and(|other| other.party == Party::Nobody) {
            self.connections.remove(&connection);
        }
    }

    fn arrive(&mut self, connection: u64, to: usize, what: What, agenda: &mut Agenda) {
        let time = agenda.now + latency(agenda);
        self.arrive_at(connection, to, what, time, agenda);
    }

    fn arrive_at(
        &mut self,
        connection: u64,
        to: usize,
        what: What,
        time: u64,
        agenda: &mut Agenda,
    ) {
        let Some(end) = self.end(connection, to) else { return };
        end.last_arrival = end.last_arrival.max(time);
        agenda.at(end.last_arrival, Happening::Wire(Wire { connection, to, what }));
    }

    /// A connection attempt that comes to nothing after a while, or to silence.
    pub(crate) fn refuse(&mut self, from: Party, errno: Option<i32>, agenda: &mut Agenda) -> u64 {
        self.last += 1;
        self.connections.insert(self.last, [End::new(from), End::new(Party::Nobody)]);
        if let Some(errno) = errno {
            self.arrive(self.last, 0, What::Refused(errno), agenda);
        }
        self.last
    }
}
