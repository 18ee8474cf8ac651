//! One shard over a kernel in memory, on virtual time: the same calls in the same order each run.
//!
//! All that comes up in a turn comes in the next one. A commit takes half a millisecond; where
//! nothing happens, time jumps to the shard's deadline.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use relay_fast::base::ids::ShardId;
use relay_fast::base::prng::Prng;
use relay_fast::base::slots::Slots;
use relay_fast::base::time::{Monotonic, Now, WallTime};
use relay_fast::config::flags::{Flags, Machine as OurMachine};
use relay_fast::config::parse::{File, load};
use relay_fast::policy::credentials::Check;
use relay_fast::policy::suppression::Lookup;
use relay_fast::shard::mesh::Crossing;
use relay_fast::shard::platform::{
    ConnectionId, DatagramId, Event, Machine, Platform, PlatformCounters, PolicyRequest,
};
use relay_fast::shard::settings::{Settings, Surroundings};
use relay_fast::shard::{Shard, Shared, Start};
use relay_fast::spool::log::{Log, Options};
use relay_fast::spool::recovery::{RecoverError, begin};
use relay_fast::spool::segment::{SegmentBytes, SegmentName};

use crate::parties::{Manner, Script, Sink, Source, Taken};
use crate::spool::Memory;

/// Clients, each with a message under way: as many share a commit.
const CLIENTS: usize = 8;
/// Small, so that segments are filled, ended with an index and freed.
const SEGMENT_BYTES: u32 = 4 * 1024 * 1024;
/// From one turn to the next while something happens.
const TURN: Duration = Duration::from_micros(20);
const COMMIT_TIME: Duration = Duration::from_micros(500);
/// After so long without an event nothing is under way.
const QUIET: Duration = Duration::from_secs(1);

const LISTENER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 25);
const CLIENT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7)), 40_000);

const CONFIG: &str = r#"
    hostname = "relay.example"
    default_route = "out"
    [[listener]]
    address = "192.0.2.1:25"
    relay_for = ["198.51.100.0/24"]
    [[upstream]]
    name = "out"
    hosts = "203.0.113.1"
"#;

/// What comes in the next turn.
#[derive(Debug)]
enum Coming {
    Accepted(ConnectionId),
    Connected(ConnectionId),
    Sent(ConnectionId),
    /// A client says this step of the script.
    Said(ConnectionId, usize),
    /// A next hop replies.
    Replied(ConnectionId, Vec<u8>),
    Ready(SegmentName),
}

#[derive(Debug)]
enum Peer {
    Source(Source),
    Sink(Sink),
}

/// A commit under way.
#[derive(Debug)]
struct Write {
    due: Monotonic,
    segment: SegmentName,
    #[expect(dead_code, reason = "a platform keeps them until the disk has them")]
    buffers: Vec<Arc<Vec<u8>>>,
}

#[derive(Debug)]
struct Kernel {
    now: Monotonic,
    manner: Manner,
    script: Arc<Script>,
    peers: Slots<Peer>,
    coming: VecDeque<Coming>,
    commit: Option<Write>,
    /// What a map shows of a segment that nobody reads.
    zeroes: Arc<Memory>,
    /// Buffers that were sent.
    spare: Vec<Vec<u8>>,
    /// Messages that clients began, of those that they are to send.
    begun: usize,
    wanted: usize,
    taken: Taken,
}

/// A shard and all that it talks to.
#[derive(Debug)]
pub(crate) struct Node {
    shard: Box<Shard>,
    kernel: Kernel,
}

fn settings() -> Arc<Settings> {
    let machine = OurMachine { cpus: 1, ..OurMachine::default() };
    let flags = Flags { spool: Some("/nowhere".into()), ..Flags::default() };
    let file = File { name: "instructions.toml", text: CONFIG };
    let config = load(Some(file), &flags, &machine);
    let config = config.unwrap_or_else(|problems| panic!("{problems}"));
    Arc::new(Settings::new(&config, &Surroundings::default()).expect("no certificate is named"))
}

fn shard(now: Now) -> Shard {
    let head = |_| -> Result<Vec<u8>, RecoverError> { unreachable!("there are no segments") };
    let (start, recovery) = begin(0, Vec::new(), head).expect("an empty directory");
    let options = Options { segment_bytes: SEGMENT_BYTES, reserve: 1, admits: true };
    Shard::new(Start {
        id: ShardId(0),
        settings: settings(),
        shared: Arc::new(Shared::new(1)),
        logs: vec![(0, Log::new(start, options, Prng::from_number(1)), recovery)],
        prng: Prng::from_number(2),
        now,
        first_event: 1,
    })
}

impl Node {
    /// A shard whose clients are connected and have been greeted.
    pub(crate) fn new(manner: Manner) -> Self {
        let kernel = Kernel::new(manner);
        let mut node = Self { shard: Box::new(shard(kernel.now())), kernel };
        node.settle();
        for _ in 0..CLIENTS {
            let id = ConnectionId(node.kernel.peers.insert(Peer::Source(Source::new())));
            node.kernel.coming.push_back(Coming::Accepted(id));
        }
        node.settle();
        node
    }

    /// Take so many messages and deliver them.
    pub(crate) fn relay(&mut self, messages: usize) {
        self.kernel.wanted += messages;
        let ids: Vec<_> = self.kernel.peers.iter().map(|(slot, _)| ConnectionId(slot)).collect();
        ids.into_iter().for_each(|id| self.kernel.go_on(id));
        self.settle();
        let Taken { messages, bytes } = self.kernel.taken;
        assert_eq!(messages, self.kernel.wanted, "all is delivered");
        assert!(bytes > messages * self.kernel.script.content_bytes, "and all of it");
    }

    /// Go on until nothing is under way.
    fn settle(&mut self) {
        let mut last_event = self.kernel.now;
        loop {
            self.kernel.end_commit(&mut self.shard);
            for _ in 0..self.kernel.coming.len() {
                last_event = self.kernel.now;
                self.hand_next();
            }
            let turn = self.shard.turn(&mut self.kernel);
            let then = self.kernel.now + TURN;
            let commit = self.kernel.commit.as_ref().map(|write| write.due);
            let next = match self.kernel.coming.is_empty() {
                true => commit.into_iter().chain(turn.deadline).min(),
                false => Some(then),
            };
            match next {
                Some(at) if at.since(last_event) < QUIET => self.kernel.now = at.max(then),
                _ => return,
            }
        }
    }

    fn hand_next(&mut self) {
        let Some(coming) = self.kernel.coming.pop_front() else { return };
        let script = Arc::clone(&self.kernel.script);
        let event = match &coming {
            Coming::Accepted(connection) => Event::Accepted {
                connection: *connection,
                listener: 0,
                peer: CLIENT,
                local: LISTENER,
            },
            Coming::Connected(connection) => {
                Event::Connected { connection: *connection, local: LISTENER }
            }
            Coming::Sent(connection) => Event::Sent { connection: *connection },
            Coming::Said(connection, step) => {
                Event::Received { connection: *connection, bytes: script.text(*step) }
            }
            Coming::Replied(connection, bytes) => {
                Event::Received { connection: *connection, bytes }
            }
            Coming::Ready(segment) => {
                let map = Arc::clone(&self.kernel.zeroes) as Arc<dyn SegmentBytes>;
                Event::SegmentReady { segment: *segment, result: Ok(map) }
            }
        };
        // Nothing comes from a connection that the shard let go of.
        let is_gone = |id: ConnectionId| self.kernel.peers.get(id.0).is_none();
        if !event.connection().is_some_and(is_gone) {
            self.shard.handle(event, &mut self.kernel);
        }
    }
}

impl Kernel {
    fn new(manner: Manner) -> Self {
        Self {
            now: Monotonic(1_000_000_000),
            manner,
            script: Arc::new(Script::new(manner)),
            peers: Slots::default(),
            coming: VecDeque::new(),
            commit: None,
            zeroes: Arc::new(Memory(vec![0; SEGMENT_BYTES as usize])),
            spare: Vec::new(),
            begun: 0,
            wanted: 0,
            taken: Taken::default(),
        }
    }

    /// Tell of the commit under way, if it is over by now.
    fn end_commit(&mut self, shard: &mut Shard) {
        if let Some(Write { segment, .. }) = self.commit.take_if(|write| write.due <= self.now) {
            shard.handle(Event::Committed { segment, result: Ok(()) }, self);
        }
    }

    /// Let a client say what it says next.
    fn go_on(&mut self, id: ConnectionId) {
        let Some(Peer::Source(source)) = self.peers.get_mut(id.0) else { return };
        let (begun, wanted) = (&mut self.begun, self.wanted);
        let begin = || {
            let next = (*begun < wanted).then_some(*begun)?;
            *begun += 1;
            Some(next)
        };
        if let Some(step) = source.next(&self.script, begin) {
            self.coming.push_back(Coming::Said(id, step));
        }
    }
}

impl Platform for Kernel {
    fn now(&self) -> Now {
        let ms = i64::try_from(self.now.0 / 1_000_000).expect("a short run");
        Now { mono: self.now, wall: WallTime(1_795_491_661_000 + ms) }
    }

    fn connect(&mut self, _peer: SocketAddr, _source: Option<IpAddr>) -> ConnectionId {
        let id = ConnectionId(self.peers.insert(Peer::Sink(Sink::new(self.manner))));
        self.coming.push_back(Coming::Connected(id));
        self.coming.push_back(Coming::Replied(id, b"220 mx.example ESMTP\r\n".to_vec()));
        id
    }

    fn connect_local(&mut self, path: &Path) -> ConnectionId {
        unreachable!("nobody is asked at {}", path.display())
    }

    fn send(&mut self, id: ConnectionId, mut bytes: Vec<u8>) {
        match self.peers.get_mut(id.0) {
            Some(Peer::Source(source)) => {
                source.hear(&bytes);
                self.go_on(id);
            }
            Some(Peer::Sink(sink)) => {
                let replies = sink.hear(&bytes, &mut self.taken);
                if !replies.is_empty() {
                    self.coming.push_back(Coming::Replied(id, replies));
                }
            }
            None => return,
        }
        self.coming.push_back(Coming::Sent(id));
        bytes.clear();
        self.spare.push(bytes);
    }

    fn pause(&mut self, _: ConnectionId) {}

    fn resume(&mut self, _: ConnectionId) {}

    fn close(&mut self, id: ConnectionId) {
        self.peers.remove(id.0);
    }

    fn abort(&mut self, id: ConnectionId) {
        self.close(id);
    }

    fn ask(&mut self, _: SocketAddr, _: &[u8]) -> DatagramId {
        unreachable!("the next hop's address is known")
    }

    fn forget(&mut self, _: DatagramId) {}

    fn create_segment(&mut self, segment: SegmentName, _bytes: u32, _: u64) {
        self.coming.push_back(Coming::Ready(segment));
    }

    fn open_segment(&mut self, segment: SegmentName) {
        unreachable!("{segment} is not of this run")
    }

    fn remove_segment(&mut self, _: SegmentName) {}

    fn commit(&mut self, segment: SegmentName, _offset: u32, buffers: Vec<Arc<Vec<u8>>>) {
        assert!(self.commit.is_none(), "one commit at a time");
        self.commit = Some(Write { due: self.now + COMMIT_TIME, segment, buffers });
    }

    fn populate(&mut self, _: u64, segment: SegmentName, _: u32, _: u32) {
        unreachable!("{segment}: all mail is still in memory")
    }

    fn fetch_policy(&mut self, _: u64, request: PolicyRequest) {
        unreachable!("{}: no level asks for policies", request.domain)
    }

    fn verify(&mut self, _: ConnectionId, check: Check) -> bool {
        unreachable!("{:?}: no listener offers AUTH", check.name)
    }

    fn look_up(&mut self, _: ConnectionId, lookup: Lookup) -> bool {
        unreachable!("{lookup:?}: there is no suppression list")
    }

    fn look_up_all(&mut self, _: u64, lookups: Vec<(u16, Lookup)>) {
        unreachable!("{lookups:?}: there is no suppression list")
    }

    fn log_events(&mut self, lines: &[u8]) {
        assert!(lines.ends_with(b"\n"), "whole lines");
    }

    fn post(&mut self, to: ShardId, _: Crossing) {
        unreachable!("there is no other shard: {to:?}")
    }

    fn buffer(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    fn stop_listening(&mut self) {}

    fn counters(&self) -> PlatformCounters {
        PlatformCounters::default()
    }
}
