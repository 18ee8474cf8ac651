//! Be the process: shards over the directories of a spool, as `platform` boots them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use relay_fast::base::ids::ShardId;
use relay_fast::base::time::Now;
use relay_fast::config::flags::{Flags, Machine};
use relay_fast::config::parse::{File, load};
use relay_fast::policy::suppression::Lookup;
use relay_fast::shard::commands::{Answer, Command};
use relay_fast::shard::mesh::{Crossing, Request};
use relay_fast::shard::platform::{ConnectionId, DatagramId, Event, Machine as _};
use relay_fast::shard::settings::{Settings, Surroundings};
use relay_fast::shard::{Shard, Shared, Start};
use relay_fast::spool::log::{Log, Options};
use relay_fast::spool::recovery::{RecoverError, Recovery, begin};
use relay_fast::spool::segment::SegmentName;

use crate::agenda::Agenda;
use crate::kernel::{Call, Kernel};
use crate::store::Store;

/// Octets of a segment: small, so that they fill up and are reclaimed.
const SEGMENT_BYTES: u32 = 64 * 1024;
/// Turns of a shard in which nothing happened and no time passed.
const IDLE_TURNS: u32 = 200;

/// What comes to a shard, but from a connection.
#[derive(Debug)]
pub(crate) enum Arrival {
    Datagram { id: DatagramId, bytes: Vec<u8> },
    Created(SegmentName),
    Committed(SegmentName),
    Opened(SegmentName),
    Removed(SegmentName),
    Populated(u64),
    LookedUp(ConnectionId, Lookup),
    AllLookedUp(u64, Vec<(u16, Lookup)>),
    Crossing(Box<Crossing>),
}

/// A shard, its kernel, and what its loop knows.
#[derive(Debug)]
pub(crate) struct Row {
    shard: Box<Shard>,
    pub(crate) kernel: Kernel,
    /// When it wants its next turn, on the agenda's clock.
    deadline: Option<u64>,
    /// Something happened since its last turn.
    touched: bool,
    last_turn: u64,
    idle_turns: u32,
    pub(crate) over: bool,
    /// See that no turn makes more than one signature.
    pub(crate) watches_signatures: bool,
}

/// A process that runs.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) rows: Vec<Row>,
    pub(crate) shared: Arc<Shared>,
}

/// The settings that a configuration file means.
pub(crate) fn settings(text: &str) -> Arc<Settings> {
    settings_around(text, &Surroundings::default())
}

/// The same around a machine.
pub(crate) fn settings_around(text: &str, around: &Surroundings) -> Arc<Settings> {
    let file = File { name: "simulation.toml", text };
    let machine = Machine { hostname: "relay.example".into(), cpus: 1, ..Machine::default() };
    let flags = Flags { spool: Some("/nowhere".into()), ..Flags::default() };
    let config = load(Some(file), &flags, &machine);
    let config = config.unwrap_or_else(|problems| panic!("{problems}"));
    Arc::new(Settings::new(&config, around).expect("no certificate is named"))
}

impl Node {
    /// Start with so many shards on what lies in `store`.
    pub(crate) fn boot(
        shards: usize,
        settings: &Arc<Settings>,
        store: &mut Store,
        agenda: &mut Agenda,
    ) -> Self {
        let shared = Arc::new(Shared::new(shards));
        let count = u16::try_from(shards).expect("few shards");
        let directories = store.prepare(count);
        let rows = (0..count).map(|place| {
            let own = directories.iter().copied().filter(|number| number % count == place);
            let logs = own.enumerate().map(|(nth, number)| open(nth, number, store, agenda));
            let start = Start {
                id: ShardId(u8::try_from(place).expect("few shards")),
                settings: settings.clone(),
                shared: shared.clone(),
                logs: logs.collect(),
                prng: agenda.prng.fork(),
                now: agenda.clocks(),
                first_event: 1,
            };
            Row::new(Shard::new(start), agenda)
        });
        Self { rows: rows.collect(), shared: shared.clone() }
    }

    /// When a shard wants a turn.
    pub(crate) fn next_turn(&self) -> Option<u64> {
        self.rows.iter().filter_map(Row::wants_turn_at).min()
    }
}

/// Begin a directory's recovery and open its log; the first of a shard takes new messages.
fn open(
    nth: usize,
    directory: u16,
    store: &mut Store,
    agenda: &mut Agenda,
) -> (u16, Log, Recovery) {
    let numbers = store.open(directory);
    let head = |number| {
        let map = store.opened(SegmentName { directory, number });
        Ok::<_, RecoverError>(map.bytes().to_vec())
    };
    let (start, recovery) = begin(directory, numbers, head).expect("the spool is readable");
    let options = Options { segment_bytes: SEGMENT_BYTES, reserve: 1, admits: nth == 0 };
    (directory, Log::new(start, options, agenda.prng.fork()), recovery)
}

impl Row {
    fn new(shard: Shard, agenda: &Agenda) -> Self {
        Self {
            shard: Box::new(shard),
            kernel: Kernel::new(agenda.clocks()),
            deadline: None,
            touched: true,
            last_turn: 0,
            idle_turns: 0,
            over: false,
            watches_signatures: false,
        }
    }

    fn wants_turn_at(&self) -> Option<u64> {
        match (self.over, self.touched) {
            (true, _) => None,
            (false, true) => Some(0),
            (false, false) => self.deadline,
        }
    }

    /// Hand it an event; its calls wait in the kernel.
    pub(crate) fn hand(&mut self, event: Event<'_>, now: Now) {
        if !self.over {
            self.touched = true;
            self.kernel.now = now;
            self.shard.handle(event, &mut self.kernel);
        }
    }

    /// Give it its turn, if it wants one by now.
    pub(crate) fn turn(&mut self, agenda: &Agenda) {
        if self.wants_turn_at().is_none_or(|at| at > agenda.now) {
            return;
        }
        let idle = !self.touched && self.last_turn == agenda.now;
        self.idle_turns = if idle { self.idle_turns + 1 } else { 0 };
        assert!(self.idle_turns < IDLE_TURNS, "a shard turns and turns at {}", agenda.now);
        (self.last_turn, self.touched) = (agenda.now, false);
        self.kernel.now = agenda.clocks();
        self.kernel.turns += 1;
        let before = self.watched_signatures(agenda.clocks());
        let turn = self.shard.turn(&mut self.kernel);
        let made = self.watched_signatures(agenda.clocks()) - before;
        assert!(made <= 1, "{made} signatures in one turn");
        self.deadline = turn.deadline.map(Agenda::time_of);
        self.over = turn.over;
    }

    /// Signatures so far, where they are watched; to ask is no event.
    fn watched_signatures(&mut self, now: Now) -> u64 {
        if !self.watches_signatures {
            return 0;
        }
        let touched = self.touched;
        let signatures = self.signatures(now);
        self.touched = touched;
        signatures
    }

    pub(crate) fn take_calls(&mut self) -> Vec<Call> {
        std::mem::take(&mut self.kernel.calls)
    }

    /// Ask it as the control thread does.
    pub(crate) fn ask(&mut self, command: Command, now: Now) -> Answer {
        let answer = Arc::new(Mutex::new(None));
        let reply = answer.clone();
        let request = Request::new(command, move |answer| {
            let former = reply.lock().expect("not poisoned").replace(answer);
            assert_eq!(former, None, "answered once");
        });
        self.hand(Event::Crossing(Crossing::Request(request)), now);
        let answer = answer.lock().expect("not poisoned").take();
        answer.expect("views are answered at once")
    }
}

/// Where clients connect.
pub(crate) fn listener() -> SocketAddr {
    "192.0.2.1:25".parse().expect("an address")
}
