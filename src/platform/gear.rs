//! What every part of a shard's kernel works with: ring, notices, timers, spare buffers.
//!
//! A part settles a completion by putting [`Notice`]s in line; the drive turns each into an event
//! before it settles the next completion, so that events keep the order of what happened.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::base::limits::{SPARE_BUFFER_BYTES, SPARE_BUFFERS};
use crate::base::slots::Slot;
use crate::base::time::Now;
use crate::base::wheel::Wheel;
use crate::platform::ring::{BufferToken, Ring};
use crate::policy::mta_sts::PolicyTrouble;
use crate::shard::platform::{ConnectionId, Event, FetchedPolicy, IoError, PlatformCounters};
use crate::spool::segment::{SegmentBytes, SegmentName};

/// Who asked for an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    /// A listener, by its place in the configuration.
    Accept(u16),
    /// A stream that connects.
    Connect(Slot),
    /// A stream that receives.
    Receive(Slot),
    /// A stream that sends.
    Send(Slot),
    /// A question that is sent.
    Ask(Slot),
    /// A question whose answer is received.
    Answer(Slot),
    /// The write of a commit.
    Write(SegmentName),
    /// A write to the event log.
    Events,
    /// The bell that other threads ring.
    Bell,
    /// Nobody waits for it: a close, a cancellation.
    Nobody,
}

/// An event in line. One about a stream is looked at again when its turn comes: the stream may
/// have been closed or paused by then.
#[derive(Debug)]
pub(super) enum Notice {
    /// A stream was accepted.
    Accepted { stream: Slot, listener: u16, peer: SocketAddr, local: SocketAddr },
    /// A stream is connected.
    Connected { stream: Slot, local: SocketAddr },
    /// A stream could not be connected.
    ConnectFailed { stream: Slot, error: IoError },
    /// A stream received this many octets.
    Received { stream: Slot, buffer: BufferToken, length: usize },
    /// A stream that was paused holds octets.
    Held { stream: Slot },
    /// A stream's peer has ended.
    Ended { stream: Slot },
    /// A stream broke.
    Lost { stream: Slot, error: IoError },
    /// A stream has sent all.
    Sent { stream: Slot },
    /// A question's socket received this many octets.
    Answered { question: Slot, buffer: BufferToken, length: usize },
    /// A question's socket failed.
    AskFailed { question: Slot, error: IoError },
    /// See `Event`.
    SegmentReady { segment: SegmentName, result: Result<Arc<dyn SegmentBytes>, IoError> },
    /// See `Event`.
    SegmentOpened { segment: SegmentName, result: Result<Arc<dyn SegmentBytes>, IoError> },
    /// See `Event`.
    Committed { segment: SegmentName, result: Result<(), IoError> },
    /// See `Event`.
    Populated { ticket: u64 },
    /// See `Event`.
    PolicyFetched { ticket: u64, result: Result<FetchedPolicy, PolicyTrouble> },
    /// See `Event`; the client may be gone.
    Verified { connection: ConnectionId, right: bool },
    /// As it is; whom it is about may be gone.
    Happened(Event<'static>),
}

/// What a timer of the platform's own is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// A stream that is being closed.
    Closing(Slot),
    /// A listener that pauses.
    Listener(u16),
    /// The event log has something to write.
    EventLog,
}

/// See the file's first lines.
pub(super) struct Gear {
    pub(super) ring: Ring<Tag>,
    pub(super) notices: VecDeque<Notice>,
    pub(super) timers: Wheel<Timer>,
    pub(super) now: Now,
    pub(super) counters: PlatformCounters,
    spare: Vec<Vec<u8>>,
}

impl Gear {
    pub(super) fn new(ring: Ring<Tag>, now: Now) -> Self {
        Self {
            ring,
            notices: VecDeque::new(),
            timers: Wheel::new(now.mono),
            now,
            counters: PlatformCounters::default(),
            spare: Vec::new(),
        }
    }

    /// An empty buffer, one that was used before if there is one.
    pub(super) fn buffer(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// Keep a used buffer for [`Gear::buffer`].
    pub(super) fn recycle(&mut self, mut buffer: Vec<u8>) {
        let worth = (1..=SPARE_BUFFER_BYTES).contains(&buffer.capacity());
        if worth && self.spare.len() < SPARE_BUFFERS {
            buffer.clear();
            self.spare.push(buffer);
        }
    }
}

/// An error in the shard's form; EIO for those that are not the kernel's own.
pub(super) fn io_error(error: &std::io::Error) -> IoError {
    IoError { errno: error.raw_os_error().unwrap_or(libc::EIO) }
}
