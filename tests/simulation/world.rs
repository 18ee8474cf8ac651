//! Run everything on virtual time, from happening to happening.
//!
//! A happening comes to a party; what the party asks for becomes happenings to come. Shards get
//! their turn after all that happens at one moment, or when their own deadline comes.

use std::collections::BTreeMap;
use std::sync::Arc;

use relay_fast::policy::suppression::run_all;
use relay_fast::shard::mesh::Crossing;
use relay_fast::shard::platform::{ConnectionId, Event, IoError};
use relay_fast::shard::settings::Settings;

use crate::agenda::{Agenda, Happening, MS, SECOND};
use crate::client::Client;
use crate::kernel::Call;
use crate::ledger::Ledger;
use crate::net::{Net, Party, Wire, latency};
use crate::node::{Arrival, Node, Row};
use crate::parties::Remote;
use crate::peer::{Host, Reach, Session};
use crate::store::Store;
use crate::zone::Zone;

const ECONNREFUSED: i32 = 111;
const EHOSTUNREACH: i32 = 113;

/// Everything there is.
pub(crate) struct World {
    pub(crate) agenda: Agenda,
    pub(crate) net: Net,
    pub(crate) zone: Zone,
    pub(crate) store: Store,
    pub(crate) ledger: Ledger,
    pub(crate) hosts: Vec<Host>,
    pub(crate) clients: Vec<Client>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) node: Option<Node>,
    pub(crate) remotes: BTreeMap<u64, Remote>,
    last_remote: u64,
    /// Counts processes.
    life: u32,
    /// Steps of the plan that are due.
    pub(crate) due_steps: Vec<usize>,
    /// A commit takes up to so long.
    pub(crate) commit_time: u64,
    /// Opening a segment of an earlier life takes up to so long.
    pub(crate) open_time: u64,
    /// How long a segment's removal takes.
    pub(crate) remove_time: u64,
    /// Between one shard and another.
    last_crossing: BTreeMap<(usize, usize), u64>,
}

impl World {
    pub(crate) fn new(seed: u64, settings: Arc<Settings>) -> Self {
        Self {
            agenda: Agenda::new(seed),
            net: Net::default(),
            zone: Zone::default(),
            store: Store::default(),
            ledger: Ledger::default(),
            hosts: Vec::new(),
            clients: Vec::new(),
            settings,
            node: None,
            remotes: BTreeMap::new(),
            last_remote: 0,
            life: 0,
            due_steps: Vec::new(),
            commit_time: 5 * MS,
            open_time: 10 * MS,
            remove_time: 20 * MS,
            last_crossing: BTreeMap::new(),
        }
    }

    /// Start the process.
    pub(crate) fn boot(&mut self, shards: usize) {
        assert!(self.node.is_none(), "it runs already");
        // Now and then so slow that the process works, is stopped or dies before all is known.
        self.open_time = if self.agenda.chance(300) { 3_000 * MS } else { 10 * MS };
        let node = Node::boot(shards, &self.settings, &mut self.store, &mut self.agenda);
        self.node = Some(node);
    }

    /// The wall clock is set ahead by so many seconds, or back.
    pub(crate) fn set_clock(&mut self, seconds: i64) {
        self.agenda.set_ahead += seconds;
        self.ledger.set_ahead += u64::try_from(seconds).unwrap_or(0) * SECOND;
    }

    /// The process dies at this moment.
    pub(crate) fn crash(&mut self) {
        self.node = None;
        self.ledger.crashed(self.agenda.now, &self.store);
        self.store.crash(&mut self.agenda);
        self.end_of_life();
    }

    /// What the process left ends: its connections break, and nothing comes to it any more.
    fn end_of_life(&mut self) {
        self.life += 1;
        self.last_crossing.clear();
        let of_process = |party: Party| matches!(party, Party::Shard { .. } | Party::Listener(_));
        let ends = self.net.connections.iter().flat_map(|(number, ends)| {
            [0, 1].into_iter().filter(|end| of_process(ends[*end].party)).map(|end| (*number, end))
        });
        for place in ends.collect::<Vec<_>>() {
            self.net.reset(place, &mut self.agenda);
        }
    }

    /// Whether the process, asked to drain, has ended; then it is gone.
    pub(crate) fn reap(&mut self) -> bool {
        let over = self.node.as_ref().is_some_and(|node| node.rows.iter().all(|row| row.over));
        if over {
            self.node = None;
            self.store.end();
            self.end_of_life();
        }
        over
    }

    /// Let everything happen up to `time`, or until a step of the plan is due.
    pub(crate) fn run_until(&mut self, time: u64) {
        while self.due_steps.is_empty() {
            let turn = self.node.as_ref().and_then(Node::next_turn);
            let next = [turn, self.agenda.next()].into_iter().flatten().min();
            let next = next.unwrap_or(u64::MAX).max(self.agenda.now);
            if next > time {
                self.agenda.now = self.agenda.now.max(time);
                return;
            }
            self.agenda.now = next;
            while let Some(happening) = self.agenda.take_due() {
                self.happen(happening);
            }
            for shard in 0..self.shards() {
                let node = self.node.as_mut().expect("it has shards");
                node.rows[shard].turn(&self.agenda);
                self.apply(shard);
            }
        }
    }

    pub(crate) fn run_for(&mut self, time: u64) {
        self.run_until(self.agenda.now + time);
    }

    pub(crate) fn shards(&self) -> usize {
        self.node.as_ref().map_or(0, |node| node.rows.len())
    }

    pub(crate) fn row(&mut self, shard: usize) -> &mut Row {
        let node = self.node.as_mut().expect("the process runs");
        &mut node.rows[shard]
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Wire(wire) => self.wire(wire),
            Happening::Shard { life, shard, arrival } => {
                if life == self.life && self.node.is_some() {
                    self.arrive(shard, arrival);
                }
            }
            Happening::Client { index, wakes } => {
                if self.clients[index].wakes == wakes {
                    self.wake_client(index);
                }
            }
            Happening::Down { host, reach, until } => self.host_down(host, reach, until),
            Happening::Plan(step) => self.due_steps.push(step),
        }
    }

    /// Something comes to a shard, but from a connection.
    fn arrive(&mut self, shard: usize, arrival: Arrival) {
        let event = match &arrival {
            Arrival::Datagram { id, bytes } => {
                if self.row(shard).kernel.questions.get(id.0).is_none() {
                    return;
                }
                Event::Datagram { id: *id, bytes }
            }
            Arrival::Created(segment) => {
                let result = self.store.created(*segment, self.agenda.now);
                let result = result.map_err(|errno| IoError { errno });
                Event::SegmentReady { segment: *segment, result }
            }
            Arrival::Opened(segment) => {
                let result = Ok(self.store.opened(*segment));
                Event::SegmentOpened { segment: *segment, result }
            }
            Arrival::Committed(segment) => {
                let result = self.store.committed(*segment, &mut self.agenda);
                let result = result.map_err(|errno| IoError { errno });
                Event::Committed { segment: *segment, result }
            }
            Arrival::Removed(segment) => return self.store.removed(*segment),
            Arrival::Populated(ticket) => Event::Populated { ticket: *ticket },
            Arrival::LookedUp(id, lookup) => {
                Event::LookedUp { connection: *id, found: lookup.run() }
            }
            Arrival::AllLookedUp(ticket, lookups) => {
                Event::AllLookedUp { ticket: *ticket, found: run_all(lookups) }
            }
            Arrival::Crossing(_) => {
                let Arrival::Crossing(crossing) = arrival else { unreachable!() };
                return self.hand(shard, Event::Crossing(*crossing));
            }
        };
        self.hand(shard, event);
    }

    pub(crate) fn hand(&mut self, shard: usize, event: Event<'_>) {
        let now = self.agenda.clocks();
        self.row(shard).hand(event, now);
        self.apply(shard);
    }

    /// Do what a shard asked for.
    fn apply(&mut self, shard: usize) {
        for call in self.row(shard).take_calls() {
            match call {
                Call::Connect { id, peer } => self.connect_out(shard, id, peer),
                Call::Send { id, bytes } => {
                    if let Some(place) = self.place(shard, id) {
                        self.net.send(place, &bytes, 0, &mut self.agenda);
                    }
                }
                Call::Pause(id) => self.set_reading(shard, id, false),
                Call::Resume(id) => self.set_reading(shard, id, true),
                Call::Close(id) => self.leave(shard, id, false),
                Call::Abort(id) => self.leave(shard, id, true),
                Call::Ask { id, query } => {
                    if let Some(bytes) = self.zone.answer(&query, false, &mut self.agenda) {
                        let delay = latency(&mut self.agenda);
                        self.bring(shard, delay, Arrival::Datagram { id, bytes });
                    }
                }
                Call::Create { segment, bytes } => {
                    self.store.start_create(segment, bytes);
                    let delay = self.agenda.between(MS, 20 * MS);
                    self.bring(shard, delay, Arrival::Created(segment));
                }
                Call::Open(segment) => {
                    let delay = self.agenda.between(0, self.open_time);
                    self.bring(shard, delay, Arrival::Opened(segment));
                }
                Call::Remove(segment) => {
                    self.store.start_remove(segment);
                    self.bring(shard, self.remove_time, Arrival::Removed(segment));
                }
                Call::Commit { segment, offset, bytes } => {
                    self.store.start_commit(segment, offset, bytes);
                    let delay = self.agenda.between(MS / 5, self.commit_time);
                    self.bring(shard, delay, Arrival::Committed(segment));
                }
                Call::Populate { ticket } => {
                    let delay = self.agenda.between(0, 8 * MS);
                    self.bring(shard, delay, Arrival::Populated(ticket));
                }
                Call::LookUp { id, lookup } => {
                    let delay = self.agenda.between(0, 8 * MS);
                    self.bring(shard, delay, Arrival::LookedUp(id, lookup));
                }
                Call::LookUpAll { ticket, lookups } => {
                    let delay = self.agenda.between(0, 8 * MS);
                    self.bring(shard, delay, Arrival::AllLookedUp(ticket, lookups));
                }
                Call::Post { to, crossing } => self.cross(shard, to.index(), crossing),
            }
        }
    }

    fn bring(&mut self, shard: usize, delay: u64, arrival: Arrival) {
        let life = self.life;
        self.agenda.after(delay.max(1), Happening::Shard { life, shard, arrival });
    }

    /// From shard to shard: later, and in order between the two.
    fn cross(&mut self, from: usize, to: usize, crossing: Crossing) {
        let time = self.agenda.now + self.agenda.between(MS / 100, 2 * MS);
        let last = self.last_crossing.entry((from, to)).or_default();
        *last = time.max(*last);
        let delay = *last - self.agenda.now;
        self.bring(to, delay, Arrival::Crossing(Box::new(crossing)));
    }

    /// A shard's end of a connection that it knows.
    fn place(&mut self, shard: usize, id: ConnectionId) -> Option<(u64, usize)> {
        let number = *self.row(shard).kernel.connections.get(id.0)?;
        let ends = self.net.connections.get(&number)?;
        let end = ends.iter().position(|end| end.party == Party::Shard { shard, id })?;
        Some((number, end))
    }

    fn set_reading(&mut self, shard: usize, id: ConnectionId, reads: bool) {
        let Some((connection, end)) = self.place(shard, id) else { return };
        let own = self.net.end(connection, end).expect("it is there");
        own.reads = reads;
        let held = if reads { std::mem::take(&mut own.held) } else { Default::default() };
        for what in held {
            self.agenda.after(1, Happening::Wire(Wire { connection, to: end, what }));
        }
    }

    fn leave(&mut self, shard: usize, id: ConnectionId, at_once: bool) {
        if let Some(place) = self.place(shard, id) {
            match at_once {
                true => self.net.reset(place, &mut self.agenda),
                false => {
                    self.net.end(place.0, place.1).expect("it is there").lingers = true;
                    self.net.close(place, &mut self.agenda);
                }
            }
        }
        self.row(shard).kernel.connections.remove(id.0);
    }

    fn connect_out(&mut self, shard: usize, id: ConnectionId, peer: std::net::SocketAddr) {
        let from = Party::Shard { shard, id };
        let host = self.hosts.iter().position(|host| host.address == peer);
        let remote = match host {
            Some(host) => Remote::Mail(Session::new(host)),
            None if peer.port() == 53 => Remote::Dns(Vec::new()),
            None => panic!("nobody is at {peer}"),
        };
        let now = self.agenda.now;
        let reach = host.map_or(Reach::Up, |host| {
            self.hosts[host].attempts.push(now);
            self.hosts[host].reach(now)
        });
        let number = match reach {
            Reach::Up => {
                self.last_remote += 1;
                self.remotes.insert(self.last_remote, remote);
                let to = Party::Peer(self.last_remote);
                self.net.connect(from, to, &mut self.agenda)
            }
            Reach::Refuses => self.net.refuse(from, Some(ECONNREFUSED), &mut self.agenda),
            Reach::Unreachable => self.net.refuse(from, Some(EHOSTUNREACH), &mut self.agenda),
            Reach::Silent => self.net.refuse(from, None, &mut self.agenda),
        };
        let connections = &mut self.row(shard).kernel.connections;
        *connections.get_mut(id.0).expect("just made") = number;
    }
}
