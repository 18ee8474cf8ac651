//! Run shards on threads of their own with a script for a machine.

use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tempfile::TempDir;

use crate::base::ids::ShardId;
use crate::base::time::Monotonic;
use crate::platform::blocking::Pool;
use crate::platform::channels::Posts;
use crate::platform::drive::Drive;
use crate::platform::event_log::EventLogOptions;
use crate::platform::kernel::Parts;
use crate::platform::listener;
use crate::platform::ring::DormantRing;
use crate::platform::spool_dir::Spool;
use crate::shard::mesh::Crossing;
use crate::shard::platform::{ConnectionId, Event, Machine, Platform, PlatformCounters, Turn};

/// What a script does with an event; it ends its shard by setting `Script::over`.
pub(super) trait Script: 'static {
    fn on(&mut self, event: Event<'_>, platform: &mut dyn Platform);

    fn turn(&mut self, _platform: &mut dyn Platform) -> Option<Monotonic> {
        None
    }

    fn is_over(&self) -> bool;
}

pub(super) struct Scripted<S>(pub(super) S);

impl<S: Script> Machine for Scripted<S> {
    fn handle<P: Platform>(&mut self, event: Event<'_>, platform: &mut P) {
        self.0.on(event, platform);
    }

    fn turn<P: Platform>(&mut self, platform: &mut P) -> Turn {
        let deadline = self.0.turn(platform);
        Turn { deadline, over: self.0.is_over() }
    }
}

/// A script of one function; over after the last `Drain` that it is to see.
pub(super) struct Acting<F> {
    act: F,
    drains: usize,
}

impl<F: FnMut(Event<'_>, &mut dyn Platform) + 'static> Script for Acting<F> {
    fn on(&mut self, event: Event<'_>, platform: &mut dyn Platform) {
        if matches!(event, Event::Crossing(Crossing::Drain)) {
            self.drains -= 1;
        }
        (self.act)(event, platform);
    }

    fn is_over(&self) -> bool {
        self.drains == 0
    }
}

/// Act on every event; the shard ends after so many `Drain`s.
pub(super) fn acting<F>(drains: usize, act: F) -> Acting<F>
where
    F: FnMut(Event<'_>, &mut dyn Platform) + 'static,
{
    Acting { act, drains }
}

/// Shards that run.
pub(super) struct Shards {
    pub(super) posts: Posts,
    pub(super) address: SocketAddr,
    pub(super) spool: TempDir,
    threads: Vec<JoinHandle<PlatformCounters>>,
}

impl Shards {
    /// Run `count` shards that share a listener on the loopback.
    pub(super) fn start<S: Script>(
        count: usize,
        make: impl Fn(ShardId) -> S + Send + Clone + 'static,
    ) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), count, EventLogOptions::default(), make)
    }

    pub(super) fn start_in<S: Script>(
        spool: TempDir,
        count: usize,
        events: EventLogOptions,
        make: impl Fn(ShardId) -> S + Send + Clone + 'static,
    ) -> Self {
        let open = Spool::open(spool.path()).unwrap();
        (0u16..).take(count).for_each(|number| open.prepare(number).unwrap());
        let sockets = listener::bind("127.0.0.1:0".parse().unwrap(), count).unwrap();
        let address = socket2::SockRef::from(&sockets[0]).local_addr().unwrap();
        let (posts, pool) = (Posts::new(count).unwrap(), Pool::start().unwrap());
        let threads = posts.shard_ids().zip(sockets).map(|(shard, socket)| {
            let root = spool.path().to_owned();
            let (posts, pool, make) = (posts.clone(), pool.clone(), make.clone());
            std::thread::spawn(move || {
                let listeners = vec![socket];
                let spool = root.as_path();
                let ring = DormantRing::new().unwrap();
                let parts = Parts { shard, posts, listeners, spool, pool, events, ring };
                let drive = Drive::new(parts, Box::new(Scripted(make(shard)))).unwrap();
                drive.run().unwrap()
            })
        });
        let threads = threads.collect();
        Self { posts: posts.clone(), address: address.as_socket().unwrap(), spool, threads }
    }

    /// A client's connection.
    pub(super) fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).unwrap()
    }

    /// Send every shard a `Drain`.
    pub(super) fn drain(&self) {
        self.posts.shard_ids().for_each(|shard| self.posts.post(shard, Crossing::Drain));
    }

    /// Wait for the end of all shards: nothing that they asked for is left over.
    pub(super) fn join(self) -> Vec<PlatformCounters> {
        self.join_keeping_spool().0
    }

    pub(super) fn join_keeping_spool(self) -> (Vec<PlatformCounters>, TempDir) {
        let ended = self.threads.into_iter().map(|thread| thread.join().unwrap());
        let counters: Vec<_> = ended.collect();
        for counters in &counters {
            assert_eq!((counters.operations, counters.connections), (0, 0), "{counters:?}");
        }
        (counters, self.spool)
    }

    /// Send every shard a last `Drain` and wait.
    pub(super) fn end(self) -> Vec<PlatformCounters> {
        self.drain();
        self.join()
    }
}

/// Send back what comes; close when the peer has ended.
pub(super) fn echo(event: Event<'_>, platform: &mut dyn Platform) {
    match event {
        Event::Received { connection, bytes } => reply(platform, connection, bytes),
        Event::Ended { connection } => platform.close(connection),
        _ => {}
    }
}

pub(super) fn reply(platform: &mut dyn Platform, connection: ConnectionId, bytes: &[u8]) {
    let mut buffer = platform.buffer();
    buffer.extend_from_slice(bytes);
    platform.send(connection, buffer);
}

/// What a script tells the test, as text; the test waits for it.
pub(super) fn words() -> (Sender<String>, Receiver<String>) {
    channel()
}

pub(super) fn read_to_end(mut client: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Octets that show a loss, a repetition or a swap.
pub(super) fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes()[0]).collect()
}

/// All whole lines of all event files, in order, once there are so many.
pub(super) fn event_lines(events: &Path, count: usize) -> Vec<String> {
    loop {
        let entries = fs::read_dir(events).unwrap();
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let mut lines = Vec::new();
        for file in files {
            let text = fs::read_to_string(file).unwrap();
            let whole = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
            lines.extend(whole.map(str::to_owned));
        }
        if lines.len() >= count {
            return lines;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
