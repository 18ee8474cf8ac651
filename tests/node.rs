//! A node's life as its process sees it: refusals at boot, signals, a lack of descriptors, drain.
//!
//! One test: signals and limits are the process's own.

#![allow(
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    clippy::type_complexity,
    reason = "tests cut, match and unwrap freely"
)]
#![cfg(feature = "runtime")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use relay_fast::platform::boot::{Node, Options, ShardStart};
use relay_fast::platform::event_log::EventLogOptions;
use relay_fast::platform::supervise::Occasion;
use relay_fast::platform::supervise::{RunError, StartError};
use relay_fast::shard::mesh::Crossing;
use relay_fast::shard::platform::{Event, Machine, Platform, PlatformCounters, Turn};
use rustix::process::{Resource, Rlimit, Signal, getpid, kill_process, setrlimit};

/// Echoes; drains at the first `Drain` unless it is stubborn.
struct Echo {
    stubborn: bool,
    over: bool,
}

impl Machine for Echo {
    fn handle<P: Platform>(&mut self, event: Event<'_>, platform: &mut P) {
        match event {
            Event::Received { connection, bytes } => platform.send(connection, bytes.to_vec()),
            Event::Ended { connection } => platform.close(connection),
            Event::Crossing(Crossing::Drain) => {
                platform.stop_listening();
                self.over = !self.stubborn;
            }
            _ => {}
        }
    }

    fn turn<P: Platform>(&mut self, _: &mut P) -> Turn {
        Turn { deadline: None, over: self.over }
    }
}

fn options(spool: &Path, shards: usize, listeners: &[SocketAddr]) -> Options {
    let events = EventLogOptions::default();
    Options { shards, listeners: listeners.to_vec(), spool: spool.to_owned(), events, user: None }
}

fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn round_trip(address: SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"!").unwrap();
    client.read_exact(&mut [0]).unwrap();
    client
}

/// Run `node` while `during` acts on it from another thread.
fn run(
    node: Node,
    stubborn: bool,
    reloads: &Arc<AtomicUsize>,
    during: impl FnOnce(SocketAddr) + Send + 'static,
) -> Result<PlatformCounters, RunError> {
    let address = node.addresses()[0];
    let acting = std::thread::spawn(move || {
        // That a client is served shows that signals are caught by now.
        drop(round_trip(address));
        during(address);
    });
    let make = move |_: ShardStart| Ok(Echo { stubborn, over: false });
    let reloads = Arc::clone(reloads);
    let ended = node.run(make, move |occasion| {
        reloads.fetch_add(usize::from(occasion == Occasion::Hangup), Ordering::SeqCst);
    });
    acting.join().unwrap();
    ended
}

fn signal(signal: Signal) {
    kill_process(getpid(), signal).unwrap();
}

#[test]
fn the_life_of_a_node() {
    // So few that they can be used up; the node raises its limit no further than to the hard one.
    let few = Rlimit { current: Some(500), maximum: Some(500) };
    setrlimit(Resource::Nofile, few).unwrap();
    let spool = tempfile::tempdir().unwrap();
    let reloads = Arc::new(AtomicUsize::new(0));
    refusals(spool.path());
    reload_then_drain(spool.path(), &reloads);
    no_descriptors_left(spool.path(), &reloads);
    a_machine_that_cannot_be_made(spool.path());
    // Last: its shards are left behind, as they are when a process ends.
    // Of its own: the shards that could be made may still be leaving the first one.
    let third = tempfile::tempdir().unwrap();
    a_second_signal(third.path(), &reloads);
}

fn refusals(spool: &Path) {
    let refused = |options: &Options| Node::prepare(options).unwrap_err().to_string();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let line = refused(&options(spool, 2, &[address]));
    assert!(line.contains(&format!("{address}")) && line.contains("taken"), "{line}");
    let line = refused(&options(spool, 1, &["192.0.2.1:25".parse().unwrap()]));
    assert!(line.contains("no interface"), "{line}");
    let line = refused(&options(spool, 0, &[]));
    assert!(line.contains("--cores"), "{line}");
    let node = Node::prepare(&options(spool, 1, &[any_port()])).unwrap();
    let line = refused(&options(spool, 1, &[any_port()]));
    assert!(line.contains("in use by another relay"), "{line}");
    // Another relay with a spool of its own does not share the port in silence either.
    let other = tempfile::tempdir().unwrap();
    let line = refused(&options(other.path(), 1, node.addresses()));
    assert!(line.contains("taken"), "{line}");
}

fn reload_then_drain(spool: &Path, reloads: &Arc<AtomicUsize>) {
    let node = Node::prepare(&options(spool, 3, &[any_port(), any_port()])).unwrap();
    let second = node.addresses()[1];
    let seen = Arc::clone(reloads);
    let ended = run(node, false, reloads, move |first| {
        signal(Signal::HUP);
        while seen.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        drop((round_trip(first), round_trip(second)));
        signal(Signal::TERM);
    });
    let counters = ended.unwrap();
    assert_eq!((counters.operations, counters.connections), (0, 0), "{counters:?}");
    assert_eq!(counters.accepted, 3);
}

fn no_descriptors_left(spool: &Path, reloads: &Arc<AtomicUsize>) {
    let node = Node::prepare(&options(spool, 1, &[any_port()])).unwrap();
    let ended = run(node, false, reloads, |address| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let waiting = socket.unwrap();
        // No number is left for the relay's end of the connection.
        let filler: Vec<_> = std::iter::from_fn(|| waiting.try_clone().ok()).collect();
        waiting.connect(&address.into()).unwrap();
        std::thread::sleep(Duration::from_millis(350));
        drop(filler);
        // It was not lost: the kernel kept it in line, or the accept is tried again.
        let mut waiting = TcpStream::from(waiting);
        waiting.write_all(b"!").unwrap();
        waiting.read_exact(&mut [0]).unwrap();
        drop(waiting);
        signal(Signal::INT);
    });
    let counters = ended.unwrap();
    // Each failure is followed by a pause, so there are a few and not thousands.
    assert!((1..20).contains(&counters.accept_failures), "{counters:?}");
}

fn a_machine_that_cannot_be_made(spool: &Path) {
    let node = Node::prepare(&options(spool, 2, &[])).unwrap();
    let make = |start: ShardStart| -> Result<Echo, StartError> {
        assert_eq!(start.directories, [u16::from(start.shard.0)]);
        Err(StartError("the spool is damaged".into()))
    };
    let error = node.run(make, |_| {}).unwrap_err();
    assert!(error.to_string().contains("cannot start: the spool is damaged"), "{error}");
}

fn a_second_signal(spool: &Path, reloads: &Arc<AtomicUsize>) {
    let node = Node::prepare(&options(spool, 2, &[any_port()])).unwrap();
    let ended = run(node, true, reloads, |address| {
        let mut client = round_trip(address);
        signal(Signal::TERM);
        // A stubborn machine does not end by the first signal.
        while TcpStream::connect(address).is_ok() {
            std::thread::yield_now();
        }
        client.write_all(b"!").unwrap();
        client.read_exact(&mut [0]).unwrap();
        signal(Signal::TERM);
    });
    assert!(matches!(ended, Err(RunError::LeftAtOnce)), "{ended:?}");
}
