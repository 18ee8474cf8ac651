//! What a shard asks of the kernel, and what the kernel answers: one trait, one event.
//!
//! Completion-shaped: a call starts something and returns at once; what came of it arrives as an
//! [`Event`]. The shard is a [`Machine`] that is fed events, so the same shard runs over io_uring
//! (`platform/`) and over a virtual kernel with virtual time (`tests/simulation.rs`).
//!
//! Lives on: the shard's own thread; nothing here is shared, but for [`SegmentBytes`].

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use crate::base::ids::ShardId;
use crate::base::slots::Slot;
use crate::base::time::{Monotonic, Now, WallTime};
use crate::mail::address::Domain;
use crate::policy::credentials::Check;
use crate::policy::mta_sts::PolicyTrouble;
use crate::policy::suppression::{AllFound, Found, Lookup};
use crate::shard::mesh::Crossing;
use crate::spool::segment::{SegmentBytes, SegmentName};
use crate::tls::Roots;

/// A TCP connection, in or out. Dies with `close`, `abort`, `Lost` or `ConnectFailed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub Slot);

/// A DNS question under way over UDP, on a socket and a random port of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DatagramId(pub Slot);

/// A failed operation, in the kernel's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", std::io::Error::from_raw_os_error(*errno))]
pub struct IoError {
    /// As in errno.h, positive.
    pub errno: i32,
}

/// What happened. Bytes are lent for the length of the call.
#[expect(missing_docs, reason = "each variant tells of its fields")]
#[derive(Debug)]
pub enum Event<'a> {
    /// A client connected to the listener at this place of the configuration.
    Accepted { connection: ConnectionId, listener: u16, peer: SocketAddr, local: SocketAddr },
    /// `connect` succeeded.
    Connected { connection: ConnectionId, local: SocketAddr },
    /// `connect` failed; the connection is gone.
    ConnectFailed { connection: ConnectionId, error: IoError },
    /// The peer sent this; never empty.
    Received { connection: ConnectionId, bytes: &'a [u8] },
    /// The peer will send nothing more; we may still. Comes after all its bytes.
    Ended { connection: ConnectionId },
    /// The connection broke and is gone.
    Lost { connection: ConnectionId, error: IoError },
    /// All that was given to `send` has been taken by the kernel.
    Sent { connection: ConnectionId },
    /// A datagram came back on the socket of `ask`; more may follow until `forget`.
    Datagram { id: DatagramId, bytes: &'a [u8] },
    /// The socket of `ask` failed (ICMP unreachable) and is gone.
    DatagramFailed { id: DatagramId, error: IoError },
    /// `create_segment` came to its end: preallocated, synced, directory synced, mapped.
    SegmentReady { segment: SegmentName, result: Result<Arc<dyn SegmentBytes>, IoError> },
    /// `open_segment` came to its end: the map, or why there is none.
    SegmentOpened { segment: SegmentName, result: Result<Arc<dyn SegmentBytes>, IoError> },
    /// `commit` came to its end: the bytes are on stable storage, or the segment must be sealed.
    Committed { segment: SegmentName, result: Result<(), IoError> },
    /// `populate` came to its end: the range can be read without waiting for the disk.
    Populated { ticket: u64 },
    /// `fetch_policy` came to its end: the policy, or why there is none.
    PolicyFetched { ticket: u64, result: Result<FetchedPolicy, PolicyTrouble> },
    /// `verify` came to its end: whether the client's password is right.
    Verified { connection: ConnectionId, right: bool },
    /// `look_up` came to its end: whether the client's recipient is on a suppression list.
    LookedUp { connection: ConnectionId, found: Found },
    /// `look_up_all` came to its end: which of the recipients are on a suppression list.
    AllLookedUp { ticket: u64, found: AllFound },
    /// Another shard, or the control thread, sent this.
    Crossing(Crossing),
}

/// A domain's MTA-STS policy is wanted (RFC 8461 §3.3).
#[derive(Clone, Debug)]
pub struct PolicyRequest {
    /// Whose.
    pub domain: Domain,
    /// The id that the domain's record gives; without one, what was kept and has not expired.
    pub id: Option<Box<str>>,
    /// Where it is served.
    pub addresses: Vec<IpAddr>,
    /// Who is trusted to say who serves it.
    pub authorities: Option<Roots>,
}

/// A domain's MTA-STS policy as it was served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedPolicy {
    /// The id that the record gave then.
    pub id: Box<str>,
    /// All of it.
    pub text: Box<str>,
    /// When.
    pub fetched: WallTime,
}

/// The kernel, as one shard sees it.
pub trait Platform {
    /// Both clocks as they were when this turn began; the same throughout a turn.
    fn now(&self) -> Now;

    /// Start connecting to `peer`, from `source` if given: `Connected` or `ConnectFailed` follows.
    fn connect(&mut self, peer: SocketAddr, source: Option<IpAddr>) -> ConnectionId;

    /// Start connecting to the socket at `path`: `Connected`, with an address that means nothing,
    /// or `ConnectFailed` follows.
    fn connect_local(&mut self, path: &Path) -> ConnectionId;

    /// Send `bytes` after all that was given before; `Sent` follows once nothing is left to send.
    /// No effect on a connection that is gone.
    fn send(&mut self, connection: ConnectionId, bytes: Vec<u8>);

    /// Stop delivering `Received` until `resume`; what arrived already may be delivered still.
    fn pause(&mut self, connection: ConnectionId);

    /// Go on after `pause`.
    fn resume(&mut self, connection: ConnectionId);

    /// Send what was given, then end and forget the connection. No event follows.
    fn close(&mut self, connection: ConnectionId);

    /// End and forget the connection at once, mid-connect too. No event follows.
    fn abort(&mut self, connection: ConnectionId);

    /// Send `query` to `server` from a new socket on a random port; `Datagram` follows.
    fn ask(&mut self, server: SocketAddr, query: &[u8]) -> DatagramId;

    /// Close the socket of `ask`. No event follows.
    fn forget(&mut self, id: DatagramId);

    /// Make a segment of `bytes` octets ready for appending, leaving `keep_free` octets of the disk
    /// free: `SegmentReady` follows.
    fn create_segment(&mut self, segment: SegmentName, bytes: u32, keep_free: u64);

    /// Open a segment of an earlier run, with what `spool::index::ahead` says in memory, and synced
    /// where it says so: `SegmentOpened` follows.
    fn open_segment(&mut self, segment: SegmentName);

    /// Forget a segment that holds nothing live; its file goes away or is recycled. No event.
    fn remove_segment(&mut self, segment: SegmentName);

    /// Write `buffers` one after another at `offset`, then sync: `Committed` follows. At most one
    /// commit a directory is under way. The buffers are kept until then, and dropped.
    fn commit(&mut self, segment: SegmentName, offset: u32, buffers: Vec<Arc<Vec<u8>>>);

    /// Bring a range of a segment into memory: `Populated` with `ticket` follows.
    fn populate(&mut self, ticket: u64, segment: SegmentName, offset: u32, bytes: u32);

    /// Fetch a policy by HTTPS, or find it where it was kept: `PolicyFetched` follows.
    fn fetch_policy(&mut self, ticket: u64, request: PolicyRequest);

    /// Check a client's password beside this thread: `Verified` follows while the connection is
    /// there. False, and nothing follows, where too many wait for that already.
    fn verify(&mut self, connection: ConnectionId, check: Check) -> bool;

    /// Look for a client's recipient on suppression lists beside this thread: `LookedUp` follows
    /// while the connection is there. False, and nothing follows, where too many wait already.
    fn look_up(&mut self, connection: ConnectionId, lookup: Lookup) -> bool;

    /// Look for recipients of a message on suppression lists beside this thread: `AllLookedUp`
    /// follows.
    fn look_up_all(&mut self, ticket: u64, lookups: Vec<(u16, Lookup)>);

    /// Append whole lines to this shard's event log, after all that was given before.
    fn log_events(&mut self, lines: &[u8]);

    /// Hand `crossing` to a shard, this one included; wakes it once, when the turn ends.
    fn post(&mut self, to: ShardId, crossing: Crossing);

    /// An empty buffer, with room if one was used before: for `send`.
    fn buffer(&mut self) -> Vec<u8>;

    /// Close the listeners of this shard: no `Accepted` follows.
    fn stop_listening(&mut self);

    /// What the platform counted for this shard since it began.
    fn counters(&self) -> PlatformCounters;
}

/// What happened below the shard, for its published snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlatformCounters {
    /// Turns of the main loop.
    pub turns: u64,
    /// Times that the loop found nothing to do and slept.
    pub sleeps: u64,
    /// Calls into the kernel's ring.
    pub enters: u64,
    /// Completions reaped.
    pub completions: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Accepts that failed for lack of file descriptors or memory, each followed by a pause.
    pub accept_failures: u64,
    /// Receives put off because every receive buffer was filled.
    pub receive_starved: u64,
    /// Panics of the machine that were caught.
    pub panics: u64,
    /// Lines of the event log that could not be written.
    pub event_lines_lost: u64,
    /// Connections, those that are being closed included.
    pub connections: usize,
    /// Operations that the kernel has not completed.
    pub operations: usize,
}

impl PlatformCounters {
    /// What two shards counted, together.
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            turns: self.turns + other.turns,
            sleeps: self.sleeps + other.sleeps,
            enters: self.enters + other.enters,
            completions: self.completions + other.completions,
            accepted: self.accepted + other.accepted,
            accept_failures: self.accept_failures + other.accept_failures,
            receive_starved: self.receive_starved + other.receive_starved,
            panics: self.panics + other.panics,
            event_lines_lost: self.event_lines_lost + other.event_lines_lost,
            connections: self.connections + other.connections,
            operations: self.operations + other.operations,
        }
    }
}

/// What a machine says when its turn ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// When the machine wants its next turn, if no event comes first; at once if past.
    pub deadline: Option<Monotonic>,
    /// Drained: the loop may end. What was given to `send` and `log_events` is still written.
    pub over: bool,
}

/// What a platform drives: it is fed events, then has a turn, then may be left to sleep.
///
/// A panic in `handle` costs the connection of the event, not the shard: state that is shared by
/// connections must be sound at every call that can panic.
pub trait Machine {
    /// Take in one event.
    fn handle<P: Platform>(&mut self, event: Event<'_>, platform: &mut P);

    /// Do what is due, after all events of this turn; the first turn comes before any event.
    fn turn<P: Platform>(&mut self, platform: &mut P) -> Turn;
}

impl Event<'_> {
    /// The connection that the event is about, if any.
    pub fn connection(&self) -> Option<ConnectionId> {
        match self {
            Self::Accepted { connection, .. }
            | Self::Connected { connection, .. }
            | Self::ConnectFailed { connection, .. }
            | Self::Received { connection, .. }
            | Self::Ended { connection }
            | Self::Lost { connection, .. }
            | Self::Sent { connection }
            | Self::Verified { connection, .. }
            | Self::LookedUp { connection, .. } => Some(*connection),
            Self::Datagram { .. }
            | Self::DatagramFailed { .. }
            | Self::SegmentReady { .. }
            | Self::SegmentOpened { .. }
            | Self::Committed { .. }
            | Self::Populated { .. }
            | Self::PolicyFetched { .. }
            | Self::AllLookedUp { .. }
            | Self::Crossing(_) => None,
        }
    }
}
