//! A site against scripted connections.
//!
//! [`World`] holds the shards that share a site. It polls, plays what connections do, and after
//! each step holds the site to its invariants: jobs come back once, limits hold over all shards,
//! and nobody is told to look again at a time that has passed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::*;
use crate::base::limits::{CONNECTION_LOOK_AGAIN, ENDPOINT_DEAD_FIRST};
use crate::egress::line::Sender;
use crate::egress::throttle::Rate;
use crate::mail::outcome::{Failure, Stage};

mod behind;
mod shaped;
mod shards;
mod shares;
mod steps;
mod together;
mod walk;

/// More actions than this in one turn are a turn without end.
const ACTIONS_MAX: usize = 5_000;

/// What a connection of the script does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Opening,
    Idle,
    /// Carrying a job, and another behind it.
    Busy(u32, Option<u32>),
}

#[derive(Clone, Copy, Debug)]
struct Connection {
    address: SocketAddr,
    carried: u32,
    doing: Doing,
    /// The site knows that all of what is carried is sent.
    sent: bool,
    /// Where it is from, if the site says so.
    source: Option<usize>,
}

/// How a job came back.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Back {
    Done,
    Deferred(Arc<Cause>),
    Unattempted(Why, Monotonic),
}

/// A site in one shard, and what the script knows of it.
struct Shard {
    site: Site<u32>,
    may_connect: bool,
    proven: bool,
    /// Jobs that were taken and did not come back.
    inside: BTreeSet<u32>,
    connections: BTreeMap<PooledId, Connection>,
    back: BTreeMap<u32, Back>,
    /// In the order in which they were assigned.
    assigned: Vec<u32>,
    /// In the order in which they were tried.
    tried: Vec<SocketAddr>,
    calls: Vec<(Origin, u32)>,
}

/// Every shard that knows the site, and the time.
struct World {
    now: Monotonic,
    prng: Prng,
    limits: SiteLimits,
    shared: Arc<SharedSite>,
    shards: Vec<Shard>,
    /// When messages began, since the rate last changed.
    messages: Vec<Monotonic>,
    jobs: u32,
    /// Whose jobs have a share.
    senders: BTreeMap<u32, Sender>,
}

const FREE: SiteLimits = SiteLimits { connections: 20, messages_per_connection: 1_000, rate: None };

fn address(last: u8) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)), 25)
}

/// Endpoints by the last octet of their address and their preference.
fn endpoints(list: &[(u8, u16)]) -> Vec<Endpoint> {
    let endpoint = |(last, preference): &(u8, u16)| Endpoint {
        address: address(*last),
        host: format!("mx{last}.example").into(),
        preference: *preference,
    };
    list.iter().map(endpoint).collect()
}

fn cause(words: &str) -> Cause {
    let failure = Failure::Connect(words.into());
    Cause {
        stage: Stage::Connect,
        failure,
        peer: "mx1.example[192.0.2.1]:25".into(),
        source: "".into(),
    }
}

fn origin(home: u8, domain: u64) -> Origin {
    Origin { home: ShardId(home), domain }
}

impl Shard {
    fn in_state(&self, doing: impl Fn(Doing) -> bool) -> Vec<PooledId> {
        let with = |(_, connection): &(&PooledId, &Connection)| doing(connection.doing);
        self.connections.iter().filter(with).map(|(id, _)| *id).collect()
    }

    fn opening(&self) -> Vec<PooledId> {
        self.in_state(|doing| doing == Doing::Opening)
    }

    fn idle(&self) -> Vec<PooledId> {
        self.in_state(|doing| doing == Doing::Idle)
    }

    fn busy(&self) -> Vec<PooledId> {
        self.in_state(|doing| matches!(doing, Doing::Busy(..)))
    }

    /// Jobs on connections.
    fn carried(&self) -> Vec<u32> {
        let jobs = |connection: &Connection| match connection.doing {
            Doing::Opening | Doing::Idle => [None, None],
            Doing::Busy(first, behind) => [Some(first), behind],
        };
        self.connections.values().flat_map(jobs).flatten().collect()
    }

    fn came_back(&mut self, job: u32, how: Back) {
        assert!(self.inside.remove(&job), "{job} came back, which is not here: {how:?}");
        assert!(!self.carried().contains(&job), "{job} is still carried: {how:?}");
        self.back.insert(job, how);
    }
}

impl World {
    fn new(shards: u8, limits: SiteLimits, list: &[(u8, u16)]) -> Self {
        let shared = Arc::new(SharedSite::default());
        let shard = |number| Shard {
            site: Site::new(ShardId(number), limits, shared.clone(), endpoints(list)),
            may_connect: true,
            proven: false,
            inside: BTreeSet::new(),
            connections: BTreeMap::new(),
            back: BTreeMap::new(),
            assigned: Vec::new(),
            tried: Vec::new(),
            calls: Vec::new(),
        };
        Self {
            now: Monotonic(1_000_000_000_000),
            prng: Prng::from_number(1),
            limits,
            shards: (0..shards).map(shard).collect(),
            shared,
            messages: Vec::new(),
            jobs: 0,
            senders: BTreeMap::new(),
        }
    }

    /// One shard, one endpoint, limits that do not bind.
    fn plain() -> Self {
        Self::new(1, FREE, &[(1, 10)])
    }

    /// One shard whose site has taken a message and is idle.
    fn proven(limits: SiteLimits, list: &[(u8, u16)]) -> Self {
        let mut world = Self::new(1, limits, list);
        world.push_many(0, 1);
        world.ready(0);
        world.done(0);
        world
    }

    fn push(&mut self, shard: usize, from: Origin, probe: bool) -> Result<u32, Busy> {
        self.push_of(shard, (from, Sender::NOBODY), probe)
    }

    fn push_of(&mut self, shard: usize, of: (Origin, Sender), probe: bool) -> Result<u32, Busy> {
        self.jobs += 1;
        let (job, row) = (self.jobs, &mut self.shards[shard]);
        row.site.push(job, of, probe, self.now)?;
        if of.1 != Sender::NOBODY {
            self.senders.insert(job, of.1);
        }
        row.inside.insert(job);
        self.settle(shard);
        Ok(job)
    }

    fn push_many(&mut self, shard: usize, count: usize) {
        for _ in 0..count {
            self.push(shard, origin(0, 0), false).expect("room");
        }
    }

    /// Let a shard's site decide until it has nothing more to decide; how much that was.
    fn settle(&mut self, shard: usize) -> usize {
        for decided in 0..ACTIONS_MAX {
            let row = &mut self.shards[shard];
            let action = row.site.poll(self.now, row.may_connect, &mut self.prng);
            row.proven &= row.site.suspended_until().is_none();
            match action {
                Some(action) => self.act(shard, action),
                None => {
                    self.check(shard);
                    return decided;
                }
            }
        }
        panic!("a turn without end");
    }

    fn act(&mut self, shard: usize, action: Action<u32>) {
        let others: usize = self.shards.iter().map(|row| row.connections.len()).sum();
        let row = &mut self.shards[shard];
        match action {
            Action::Connect { connection, endpoint: Endpoint { address, .. }, source } => {
                assert!(row.may_connect, "connects beyond the shard's limit");
                assert!(others < self.limits.connections as usize, "connects beyond the limit");
                assert!(row.proven || row.opening().is_empty(), "two attempts, unproven");
                row.tried.push(address);
                let doing = Doing::Opening;
                let fresh = Connection { address, carried: 0, doing, sent: false, source };
                assert!(row.connections.insert(connection, fresh).is_none());
            }
            Action::Assign { connection, job } => {
                let carried = row.connections.get_mut(&connection).expect("it is open");
                carried.doing = match carried.doing {
                    Doing::Idle => Doing::Busy(job, None),
                    Doing::Busy(first, None) if carried.sent => Doing::Busy(first, Some(job)),
                    doing => panic!("assigned while {doing:?}"),
                };
                carried.sent = false;
                carried.carried += 1;
                assert!(carried.carried <= self.limits.messages_per_connection, "carries too many");
                assert!(row.inside.contains(&job), "{job} is sent, and came back before");
                let is_first = !row.assigned.contains(&job);
                row.assigned.push(job);
                if is_first {
                    self.check_shares(job);
                }
                self.messages.push(self.now);
                self.check_rate();
            }
            Action::Close { connection } => {
                let closed = row.connections.remove(&connection).expect("it is open");
                assert_eq!(closed.doing, Doing::Idle, "only idle ones are closed");
            }
            Action::Defer { job, cause } => row.came_back(job, Back::Deferred(cause)),
            Action::GiveBack { job, why, until } => {
                row.came_back(job, Back::Unattempted(why, until));
            }
            Action::CallBack { to, room } => {
                assert!(room > 0 && row.site.suspended_until().is_none());
                row.calls.push((to, room));
            }
        }
    }

    /// Jobs under way of which `is` is so.
    fn under_way(&self, is: impl Fn(Sender) -> bool) -> u32 {
        let carried = self.shards.iter().flat_map(Shard::carried);
        let of = carried.filter(|job| self.senders.get(job).is_some_and(|sender| is(*sender)));
        u32::try_from(of.count()).expect("few")
    }

    /// The job that is assigned is within its tenant's share, and its campaign's. One that has lost
    /// a connection keeps its seats, also where there are fewer meanwhile.
    fn check_shares(&self, job: u32) {
        let Some(Sender { name, tenant, shares, .. }) = self.senders.get(&job) else { return };
        let counts =
            [self.under_way(|one| one.tenant == *tenant), self.under_way(|one| one.name == *name)];
        for (count, share) in counts.into_iter().zip(shares) {
            let limit = share.map_or(u32::MAX, |share| share.of(self.limits.connections));
            assert!(count <= limit, "{count} under way of {name}, whose share is {limit}");
        }
    }

    /// In any span of time T at most `burst + T / interval` messages.
    fn check_rate(&self) {
        let Some(Rate { messages, per }) = self.limits.rate else { return };
        let interval = u64::try_from(per.as_nanos()).expect("short") / u64::from(messages);
        let burst = 1 + Duration::from_millis(50).as_nanos() as u64 / interval;
        let last = self.messages.last().expect("one was just sent");
        for (count, first) in (1..).zip(self.messages.iter().rev()) {
            let allowed = burst + (last.0 - first.0) / interval;
            assert!(count <= allowed, "{count} messages since {first:?}, allowed {allowed}");
        }
    }

    /// What holds whenever a site has nothing more to decide.
    fn check(&self, shard: usize) {
        let row = &self.shards[shard];
        let open: usize = self.shards.iter().map(|row| row.connections.len()).sum();
        assert_eq!(self.shared.connections() as usize, open);
        assert_eq!(row.site.connections(), row.connections.len());
        assert_eq!(row.site.waiting(), row.inside.len() - row.carried().len());
        let due = row.site.next_due();
        assert!(due.is_none_or(|due| due > self.now), "due {due:?}, and nothing to do");
        let empty = row.inside.is_empty() && row.connections.is_empty();
        assert_eq!(row.site.is_idle(), empty && row.site.suspended_until().is_none());
    }

    /// Let time pass; shards look when they said that they would.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some((due, shard)) = self.next_due().filter(|(due, _)| *due <= end) {
            self.now = self.now.max(due);
            self.settle(shard);
        }
        self.now = end;
        // Alone a shard knows beforehand when there will be something to do.
        if let [row] = self.shards.as_mut_slice() {
            assert_eq!(row.site.poll(end, row.may_connect, &mut self.prng), None, "not foretold");
        }
    }

    fn next_due(&self) -> Option<(Monotonic, usize)> {
        let due = |(shard, row): (usize, &Shard)| row.site.next_due().map(|due| (due, shard));
        self.shards.iter().enumerate().filter_map(due).min()
    }

    /// The connection that was opened first is ready.
    fn ready(&mut self, shard: usize) {
        let connection = self.shards[shard].opening()[0];
        self.ready_at(shard, connection);
    }

    fn ready_at(&mut self, shard: usize, connection: PooledId) {
        let row = &mut self.shards[shard];
        row.connections.get_mut(&connection).expect("open").doing = Doing::Idle;
        row.site.on_ready(connection, self.now);
        row.proven = true;
        self.settle(shard);
    }

    /// The busy connection with the lowest number has done its job, and may carry another.
    fn done(&mut self, shard: usize) {
        let connection = self.shards[shard].busy()[0];
        self.done_at(shard, connection, true);
    }

    fn done_at(&mut self, shard: usize, connection: PooledId, keep: bool) {
        let row = &mut self.shards[shard];
        let carried = row.connections.get_mut(&connection).expect("open");
        let Doing::Busy(job, behind) = carried.doing else { panic!("not busy") };
        carried.doing = behind.map_or(Doing::Idle, |next| Doing::Busy(next, None));
        carried.sent = false;
        assert!(keep || behind.is_none(), "a connection that carries something ends otherwise");
        if !keep {
            row.connections.remove(&connection);
        }
        row.came_back(job, Back::Done);
        row.site.on_done(connection, keep, self.now);
        self.settle(shard);
    }

    /// All of what the connection carries is sent.
    fn sent_at(&mut self, shard: usize, connection: PooledId) {
        let row = &mut self.shards[shard];
        row.connections.get_mut(&connection).expect("open").sent = true;
        row.site.on_sent(connection, self.now);
        self.settle(shard);
    }

    fn failed_at(&mut self, shard: usize, connection: PooledId, blame: Blame) {
        let row = &mut self.shards[shard];
        row.connections.remove(&connection).expect("open");
        row.site.on_failed(connection, blame, cause("no"), self.now, &mut self.prng);
        row.proven &= row.site.suspended_until().is_none();
        self.settle(shard);
    }

    /// A connection that is being opened fails.
    fn refuse(&mut self, shard: usize) {
        let connection = self.shards[shard].opening()[0];
        self.failed_at(shard, connection, Blame::Endpoint);
    }

    fn closed_at(&mut self, shard: usize, connection: PooledId) {
        let row = &mut self.shards[shard];
        row.connections.remove(&connection).expect("open");
        row.site.on_closed(connection, self.now);
        self.settle(shard);
    }

    fn set_limits(&mut self, limits: SiteLimits) {
        if self.limits.rate != limits.rate {
            self.messages.clear();
        }
        self.limits = limits;
        for shard in 0..self.shards.len() {
            self.shards[shard].site.set_limits(limits);
        }
        for shard in 0..self.shards.len() {
            self.settle(shard);
        }
    }

    fn leave(&mut self, shard: usize) {
        self.shards[shard].site.leave(self.now);
        self.settle(shard);
    }

    /// From now on every connection works at once: everything must go out, and all must end idle.
    fn finish(&mut self) {
        self.shards.iter_mut().for_each(|row| row.may_connect = true);
        for _ in 0..200_000 {
            self.answer_all();
            if self.shards.iter().all(|row| row.inside.is_empty()) {
                return;
            }
            let (due, shard) = self.next_due().expect("jobs wait, and nobody looks after them");
            self.now = self.now.max(due);
            self.settle(shard);
        }
        panic!("jobs wait, and nothing becomes of them");
    }

    fn answer_all(&mut self) {
        for shard in (0..self.shards.len()).cycle() {
            while !self.shards[shard].opening().is_empty() {
                self.ready(shard);
            }
            for connection in self.shards[shard].busy() {
                self.done_at(shard, connection, true);
            }
            let waits = |row: &Shard| row.opening().is_empty() && row.busy().is_empty();
            if self.shards.iter().all(waits) {
                return;
            }
        }
    }

    /// Nothing is left behind at the end.
    fn end(mut self) {
        self.finish();
        (0..self.shards.len()).for_each(|shard| self.leave(shard));
        self.pass(IDLE_CONNECTION_MAX);
        self.answer_all();
        self.pass(SITE_SUSPENSION_MAX * 2);
        for shard in 0..self.shards.len() {
            self.settle(shard);
            assert!(self.shards[shard].site.is_idle());
        }
        assert_eq!(self.shared.connections(), 0);
        assert!(!self.shared.others_wait(ShardId(63)));
    }
}
