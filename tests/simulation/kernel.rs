//! Be the kernel that one shard sees: write its calls down, for the world to do.
//!
//! Invariant: a name given to the shard is never given twice while it means something.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use relay_fast::base::ids::ShardId;
use relay_fast::base::slots::Slots;
use relay_fast::base::time::Now;
use relay_fast::policy::credentials::Check;
use relay_fast::policy::suppression::Lookup;
use relay_fast::shard::mesh::Crossing;
use relay_fast::shard::platform::{
    ConnectionId, DatagramId, Platform, PlatformCounters, PolicyRequest,
};
use relay_fast::spool::segment::SegmentName;

/// What a shard asked for, in order.
#[derive(Debug)]
pub(crate) enum Call {
    Connect { id: ConnectionId, peer: SocketAddr },
    Send { id: ConnectionId, bytes: Vec<u8> },
    Pause(ConnectionId),
    Resume(ConnectionId),
    Close(ConnectionId),
    Abort(ConnectionId),
    Ask { id: DatagramId, query: Vec<u8> },
    Create { segment: SegmentName, bytes: usize },
    Open(SegmentName),
    Remove(SegmentName),
    Commit { segment: SegmentName, offset: usize, bytes: Vec<u8> },
    Populate { ticket: u64 },
    LookUp { id: ConnectionId, lookup: Lookup },
    LookUpAll { ticket: u64, lookups: Vec<(u16, Lookup)> },
    Post { to: ShardId, crossing: Crossing },
}

/// One shard's side of the virtual kernel.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) now: Now,
    pub(crate) calls: Vec<Call>,
    /// By the name that the shard knows: the connection's number in the net.
    pub(crate) connections: Slots<u64>,
    pub(crate) questions: Slots<()>,
    pub(crate) listening: bool,
    pub(crate) turns: u64,
    /// The egress source of each connection out, in turn.
    pub(crate) left_from: Vec<Option<IpAddr>>,
}

impl Kernel {
    pub(crate) fn new(now: Now) -> Self {
        Self {
            now,
            calls: Vec::new(),
            connections: Slots::default(),
            questions: Slots::default(),
            listening: true,
            turns: 0,
            left_from: Vec::new(),
        }
    }
}

impl Platform for Kernel {
    fn now(&self) -> Now {
        self.now
    }

    fn connect(&mut self, peer: SocketAddr, source: Option<IpAddr>) -> ConnectionId {
        self.left_from.push(source);
        let id = ConnectionId(self.connections.insert(0));
        self.calls.push(Call::Connect { id, peer });
        id
    }

    fn connect_local(&mut self, path: &Path) -> ConnectionId {
        unreachable!("nobody is asked at {}", path.display())
    }

    fn send(&mut self, id: ConnectionId, bytes: Vec<u8>) {
        assert!(!bytes.is_empty(), "nothing is sent");
        self.calls.push(Call::Send { id, bytes });
    }

    fn pause(&mut self, id: ConnectionId) {
        self.calls.push(Call::Pause(id));
    }

    fn resume(&mut self, id: ConnectionId) {
        self.calls.push(Call::Resume(id));
    }

    fn close(&mut self, id: ConnectionId) {
        self.calls.push(Call::Close(id));
    }

    fn abort(&mut self, id: ConnectionId) {
        self.calls.push(Call::Abort(id));
    }

    fn ask(&mut self, _server: SocketAddr, query: &[u8]) -> DatagramId {
        let id = DatagramId(self.questions.insert(()));
        self.calls.push(Call::Ask { id, query: query.to_vec() });
        id
    }

    fn forget(&mut self, id: DatagramId) {
        self.questions.remove(id.0);
    }

    fn create_segment(&mut self, segment: SegmentName, bytes: u32, _: u64) {
        self.calls.push(Call::Create { segment, bytes: bytes as usize });
    }

    fn open_segment(&mut self, segment: SegmentName) {
        self.calls.push(Call::Open(segment));
    }

    fn remove_segment(&mut self, segment: SegmentName) {
        self.calls.push(Call::Remove(segment));
    }

    fn commit(&mut self, segment: SegmentName, offset: u32, buffers: Vec<Arc<Vec<u8>>>) {
        let buffers: Vec<&[u8]> = buffers.iter().map(|buffer| buffer.as_slice()).collect();
        let bytes = buffers.concat();
        self.calls.push(Call::Commit { segment, offset: offset as usize, bytes });
    }

    fn populate(&mut self, ticket: u64, _segment: SegmentName, _offset: u32, _bytes: u32) {
        self.calls.push(Call::Populate { ticket });
    }

    fn fetch_policy(&mut self, _: u64, request: PolicyRequest) {
        unreachable!("{}: no level asks for policies", request.domain)
    }

    fn verify(&mut self, _: ConnectionId, check: Check) -> bool {
        unreachable!("{:?}: no listener offers AUTH", check.name)
    }

    fn look_up(&mut self, id: ConnectionId, lookup: Lookup) -> bool {
        self.calls.push(Call::LookUp { id, lookup });
        true
    }

    fn look_up_all(&mut self, ticket: u64, lookups: Vec<(u16, Lookup)>) {
        self.calls.push(Call::LookUpAll { ticket, lookups });
    }

    fn log_events(&mut self, lines: &[u8]) {
        assert!(lines.ends_with(b"\n"), "whole lines");
    }

    fn post(&mut self, to: ShardId, crossing: Crossing) {
        self.calls.push(Call::Post { to, crossing });
    }

    fn buffer(&mut self) -> Vec<u8> {
        Vec::new()
    }

    fn stop_listening(&mut self) {
        self.listening = false;
    }

    fn counters(&self) -> PlatformCounters {
        PlatformCounters { turns: self.turns, ..PlatformCounters::default() }
    }
}
