//! Let the parties of a connection hear what comes to them, and do what they then do.

use relay_fast::outcome::counters::Count;
use relay_fast::shard::commands::{Answer, Command, Cursor, QueueStats, QueuedMessage, Selector};
use relay_fast::shard::mesh::Crossing;
use relay_fast::shard::platform::{ConnectionId, Event, IoError};

use crate::agenda::{Happening, MS, SECOND};
use crate::client::Books;
use crate::net::{Party, What, Wire};
use crate::node::listener;
use crate::peer::{Act, Desk, Reach, Session};
use crate::world::World;

const ECONNREFUSED: i32 = 111;
const ECONNRESET: i32 = 104;

/// A TCP connection of a next hop, or of a name server.
#[derive(Debug)]
pub(crate) enum Remote {
    Mail(Session),
    Dns(Vec<u8>),
}

impl World {
    pub(crate) fn wire(&mut self, Wire { connection, to, what }: Wire) {
        let Some(end) = self.net.end(connection, to) else { return };
        match end.party {
            Party::Nobody => {
                // RFC 9293 §3.10.7.1: who sends to nobody is told so.
                if matches!(what, What::Bytes { .. }) {
                    self.net.answer_nobody((connection, to), &mut self.agenda);
                }
            }
            Party::Listener(shard) => self.knock(connection, to, shard),
            Party::Shard { shard, id } => self.wire_shard(connection, to, (shard, id), what),
            Party::Client(index) => self.wire_client(connection, to, index, what),
            Party::Peer(remote) => self.wire_remote(connection, to, remote, what),
        }
    }

    /// A client's connection comes to the relay.
    fn knock(&mut self, connection: u64, to: usize, shard: usize) {
        let listens = self.node.as_ref().and_then(|node| node.rows.get(shard));
        if !listens.is_some_and(|row| row.kernel.listening && !row.over) {
            return self.net.reset((connection, to), &mut self.agenda);
        }
        let id = ConnectionId(self.row(shard).kernel.connections.insert(connection));
        self.net.end(connection, to).expect("it is there").party = Party::Shard { shard, id };
        let peer = "198.51.100.7:40000".parse().expect("an address");
        let event = Event::Accepted { connection: id, listener: 0, peer, local: listener() };
        self.hand(shard, event);
    }

    fn wire_shard(
        &mut self,
        connection: u64,
        to: usize,
        (shard, id): (usize, ConnectionId),
        what: What,
    ) {
        let end = self.net.end(connection, to).expect("it is there");
        if !end.reads && matches!(what, What::Bytes { .. } | What::Fin) {
            return end.held.push_back(what);
        }
        match what {
            What::Open => {
                let local = "192.0.2.1:50000".parse().expect("an address");
                self.hand(shard, Event::Connected { connection: id, local });
            }
            What::Bytes { bytes, .. } => {
                let heard = self.net.taken((connection, to), bytes.len(), &mut self.agenda);
                for delivery in heard {
                    self.ledger.deliveries[delivery].2.heard = true;
                }
                self.hand(shard, Event::Received { connection: id, bytes: &bytes });
            }
            What::Fin => self.hand(shard, Event::Ended { connection: id }),
            What::Sent => {
                if self.net.take_sent(connection, to) {
                    self.hand(shard, Event::Sent { connection: id });
                }
            }
            What::Refused(errno) => {
                self.forget(connection, to, shard, id);
                let error = IoError { errno };
                self.hand(shard, Event::ConnectFailed { connection: id, error });
            }
            What::Reset => {
                self.forget(connection, to, shard, id);
                let error = IoError { errno: ECONNRESET };
                self.hand(shard, Event::Lost { connection: id, error });
            }
        }
    }

    fn forget(&mut self, connection: u64, to: usize, shard: usize, id: ConnectionId) {
        self.net.let_go(connection, to);
        self.row(shard).kernel.connections.remove(id.0);
    }

    /// A client goes on: with its next message, or with a new connection.
    pub(crate) fn wake_client(&mut self, index: usize) {
        if self.clients[index].connection.is_some() {
            let (client, mut books) = self.client(index);
            client.go_on(&mut books);
            return self.act_client(index);
        }
        if self.clients[index].queue.is_empty() {
            return;
        }
        let from = Party::Client(index);
        let connection = match self.shards() {
            0 => self.net.refuse(from, Some(ECONNREFUSED), &mut self.agenda),
            shards => {
                let shard = self.agenda.index(shards);
                self.net.connect(from, Party::Listener(shard), &mut self.agenda)
            }
        };
        self.clients[index].connected(connection);
    }

    fn client(&mut self, index: usize) -> (&mut crate::client::Client, Books<'_>) {
        let books =
            Books { ledger: &mut self.ledger, store: &self.store, agenda: &mut self.agenda };
        (&mut self.clients[index], books)
    }

    fn wire_client(&mut self, connection: u64, to: usize, index: usize, what: What) {
        match what {
            What::Open | What::Sent => return,
            What::Bytes { bytes, sent_at } => {
                self.net.taken((connection, to), bytes.len(), &mut self.agenda);
                let (client, mut books) = self.client(index);
                client.hear(&bytes, sent_at, &mut books);
            }
            What::Fin | What::Refused(_) | What::Reset => {
                self.net.close((connection, to), &mut self.agenda);
                let (client, mut books) = self.client(index);
                client.lost(&mut books);
            }
        }
        self.act_client(index);
    }

    /// Do what a client does next.
    fn act_client(&mut self, index: usize) {
        while let Some(act) = self.clients[index].acts.pop_front() {
            let Some(connection) = self.clients[index].connection else { continue };
            let place = (connection, 0);
            match act {
                Act::Say { text, after } => self.net.send(place, &text, after, &mut self.agenda),
                Act::Receipt(_) => unreachable!("clients take no mail"),
                Act::Close | Act::Reset => {
                    match act {
                        Act::Reset => self.net.reset(place, &mut self.agenda),
                        _ => self.net.close(place, &mut self.agenda),
                    }
                    let (client, mut books) = self.client(index);
                    client.lost(&mut books);
                }
            }
        }
        if let Some(delay) = self.clients[index].wakes_after.take() {
            self.set_wake(index, delay.max(1));
        }
    }

    fn set_wake(&mut self, index: usize, delay: u64) {
        self.clients[index].wakes += 1;
        let wakes = self.clients[index].wakes;
        self.agenda.after(delay, Happening::Client { index, wakes });
    }

    fn wire_remote(&mut self, connection: u64, to: usize, number: u64, what: What) {
        let Some(mut remote) = self.remotes.remove(&number) else { return };
        match (&mut remote, what) {
            (_, What::Sent) => {}
            (_, What::Reset | What::Refused(_)) => {
                return self.net.let_go(connection, to);
            }
            (Remote::Mail(session), what) => self.wire_session(connection, to, session, what),
            (Remote::Dns(input), What::Bytes { bytes, .. }) => {
                self.net.taken((connection, to), bytes.len(), &mut self.agenda);
                input.extend_from_slice(&bytes);
                self.answer_over_tcp((connection, to), input);
            }
            (Remote::Dns(_), What::Fin) => {
                return self.net.close((connection, to), &mut self.agenda);
            }
            (Remote::Dns(_), What::Open) => {}
        }
        if self.net.end(connection, to).is_some_and(|end| end.party != Party::Nobody) {
            self.remotes.insert(number, remote);
        }
    }

    /// RFC 1035 §4.2.2.
    fn answer_over_tcp(&mut self, place: (u64, usize), input: &mut Vec<u8>) {
        let Some((length, rest)) = input.split_first_chunk::<2>() else { return };
        let length = usize::from(u16::from_be_bytes(*length));
        if rest.len() < length {
            return;
        }
        let answer = self.zone.answer(&rest[..length], true, &mut self.agenda);
        input.clear();
        if let Some(answer) = answer {
            let length = u16::try_from(answer.len()).expect("small").to_be_bytes();
            let bytes = [&length[..], &answer].concat();
            self.net.send(place, &bytes, 0, &mut self.agenda);
        }
    }

    fn wire_session(&mut self, connection: u64, to: usize, session: &mut Session, what: What) {
        let mut heard = 0;
        let mut desk = Desk {
            host: &mut self.hosts[session.host],
            ledger: &mut self.ledger,
            agenda: &mut self.agenda,
        };
        match what {
            What::Open => session.greet(&mut desk),
            What::Bytes { bytes, .. } => {
                heard = bytes.len();
                session.hear(&bytes, &mut desk);
            }
            What::Fin => session.end(),
            What::Sent | What::Refused(_) | What::Reset => {}
        }
        self.net.taken((connection, to), heard, &mut self.agenda);
        let place = (connection, to);
        while let Some(act) = session.acts.pop_front() {
            match act {
                Act::Say { text, after } => self.net.send(place, &text, after, &mut self.agenda),
                Act::Receipt(deliveries) => {
                    deliveries.for_each(|delivery| self.net.note_receipt(place, delivery));
                }
                Act::Close => self.net.close(place, &mut self.agenda),
                Act::Reset => self.net.reset(place, &mut self.agenda),
            }
        }
    }
}

impl World {
    /// From `from` to `to` a host is not up.
    pub(crate) fn add_outage(&mut self, host: usize, from: u64, to: u64, reach: Reach) {
        self.hosts[host].outages.push((from, to, reach));
        self.agenda.at(from, Happening::Down { host, reach, until: to });
    }

    pub(crate) fn host_down(&mut self, host: usize, reach: Reach, until: u64) {
        let broken: Vec<u64> = self
            .remotes
            .iter()
            .filter_map(|(number, remote)| {
                matches!(remote, Remote::Mail(session) if session.host == host).then_some(*number)
            })
            .collect();
        for number in broken {
            let mut all = self.net.connections.iter();
            let Some(place) = all.find_map(|(connection, ends)| {
                let end = ends.iter().position(|end| end.party == Party::Peer(number))?;
                Some((*connection, end))
            }) else {
                continue;
            };
            if reach == Reach::Silent {
                if let Some(Remote::Mail(session)) = self.remotes.get_mut(&number) {
                    session.deafen();
                }
                // What is sent again once the host is back reaches one that knows nothing of it.
                let again = until.saturating_add(self.agenda.between(0, 60 * SECOND));
                let wire = Wire { connection: place.0, to: 1 - place.1, what: What::Reset };
                self.agenda.at(again, Happening::Wire(wire));
            } else {
                self.remotes.remove(&number);
                self.net.reset(place, &mut self.agenda);
            }
        }
    }
}

// What operators see.
impl World {
    /// Ask one shard.
    pub(crate) fn ask(&mut self, shard: usize, command: Command) -> Answer {
        let now = self.agenda.clocks();
        self.row(shard).ask(command, now)
    }

    /// What is queued on each shard.
    pub(crate) fn stats(&mut self) -> Vec<QueueStats> {
        let shards = self.shards();
        let ask = |shard| match self.ask(shard, Command::Stats { domains: 3 }) {
            Answer::Stats(stats) => stats,
            other => panic!("{other:?}"),
        };
        (0..shards).map(ask).collect()
    }

    /// Messages in the queue; more than none while the spool may hold others.
    pub(crate) fn queued(&mut self) -> u64 {
        let messages: u64 = self.stats().iter().map(|stats| stats.messages).sum();
        messages + self.count(Count::Recovering)
    }

    /// A count of all shards.
    pub(crate) fn count(&mut self, count: Count) -> u64 {
        let shards = self.shards();
        let ask = |shard| match self.ask(shard, Command::Snapshot) {
            Answer::Snapshot(snapshot) => snapshot.counters.count(count),
            other => panic!("{other:?}"),
        };
        (0..shards).map(ask).sum()
    }

    /// Let time pass until all that the spool holds is known.
    pub(crate) fn recover(&mut self) {
        while self.count(Count::Recovering) > 0 {
            self.run_for(MS);
        }
    }

    /// All that is queued, message by message, in order of their names.
    pub(crate) fn queue(&mut self) -> Vec<QueuedMessage> {
        let mut found = Vec::new();
        for shard in 0..self.shards() {
            let mut after: Option<Cursor> = None;
            loop {
                let list = Command::List { selector: Selector::default(), after, limit: 100 };
                let Answer::List { rows, next } = self.ask(shard, list) else { panic!("a list") };
                let mut ids: Vec<_> = rows.iter().map(|row| row.id).collect();
                ids.dedup();
                for id in ids {
                    let Answer::Show(shown) = self.ask(shard, Command::Show(id)) else {
                        panic!("a view");
                    };
                    found.extend(shown.map(|message| *message));
                }
                after = next;
                if after.is_none() {
                    break;
                }
            }
        }
        found.sort_by_key(|message| message.id);
        found.dedup_by_key(|message| message.id);
        found
    }

    /// Ask every shard to stop in good order.
    pub(crate) fn drain(&mut self) {
        for shard in 0..self.shards() {
            self.hand(shard, Event::Crossing(Crossing::Drain));
        }
    }

    /// Submit with all clients from now on.
    pub(crate) fn start_clients(&mut self) {
        for index in 0..self.clients.len() {
            let delay = self.agenda.between(MS, 100 * MS);
            self.set_wake(index, delay);
        }
    }
}
