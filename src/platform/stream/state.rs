//! Hold what one TCP connection is: its phase, what it sends, what it has received.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::base::slots::Slot;
use crate::base::time::Monotonic;
use crate::platform::gear::{Gear, Tag};
use crate::platform::ring::OperationId;
use crate::shard::platform::IoError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Connecting,
    Open,
    /// Closed by the machine; what it gave is being sent.
    Flushing,
    /// All is sent and our end is told; the peer's end is waited for.
    Lingering,
    /// The socket is gone; the machine is still to be told.
    Broken,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) socket: Option<OwnedFd>,
    pub(super) phase: Phase,
    pub(super) unsent: VecDeque<Vec<u8>>,
    /// A send is under way; it began at this place of its bytes.
    pub(super) sending: Option<usize>,
    /// In `Streams::unflushed`.
    pub(super) unflushed: bool,
    pub(super) receiving: Option<OperationId>,
    pub(super) cancelling: bool,
    pub(super) paused: bool,
    /// It was paused, and its peer has had more to say than one buffer holds ever since: it is
    /// received one buffer at a time, so that a pause leaves the rest with the kernel.
    pub(super) gentle: bool,
    /// Octets that arrived while paused.
    pub(super) held: Vec<u8>,
    pub(super) peer_ended: bool,
    pub(super) end_told: bool,
    /// A send failed; what the peer said before is still being received.
    pub(super) send_error: Option<IoError>,
    /// When closing has taken long enough.
    pub(super) deadline: Monotonic,
    /// Octets dropped while closing.
    pub(super) dropped: usize,
}

impl Stream {
    pub(super) fn new(socket: Option<OwnedFd>, phase: Phase) -> Self {
        Self {
            socket,
            phase,
            unsent: VecDeque::new(),
            sending: None,
            unflushed: false,
            receiving: None,
            cancelling: false,
            paused: false,
            gentle: false,
            held: Vec::new(),
            peer_ended: false,
            end_told: false,
            send_error: None,
            deadline: Monotonic(0),
            dropped: 0,
        }
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_ref().expect("only a broken stream has no socket").as_fd()
    }

    pub(super) fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Flushing | Phase::Lingering)
    }

    pub(super) fn wants_to_receive(&self) -> bool {
        let wants = match self.phase {
            Phase::Open => !self.paused && self.held.is_empty(),
            Phase::Flushing | Phase::Lingering => true,
            Phase::Connecting | Phase::Broken => false,
        };
        wants && !self.peer_ended && self.receiving.is_none()
    }

    /// Whether the machine should hear now that the peer has ended.
    pub(super) fn should_tell_end(&self) -> bool {
        let all_told = self.held.is_empty() && !self.paused;
        self.phase == Phase::Open && self.peer_ended && !self.end_told && all_told
    }

    /// Send the next of what is queued, unless a send is under way.
    pub(super) fn send_next(&mut self, own: Slot, gear: &mut Gear) {
        if self.sending.is_some() {
            return;
        }
        if let Some(bytes) = self.unsent.pop_front() {
            self.sending = Some(0);
            gear.ring.send(self.socket(), bytes, 0, Tag::Send(own));
        }
    }

    /// Leave what the peer sends to the kernel's window. At once: one multishot receive that is
    /// not cancelled fills dozens of buffers at a time, of each stream.
    pub(super) fn cancel_receiving(&mut self, gear: &mut Gear) {
        let receiving = self.receiving.filter(|_| !self.cancelling);
        if let Some(receiving) = receiving {
            self.cancelling = true;
            gear.ring.cancel(receiving, Tag::Nobody);
        }
    }

    /// Close the socket, after ending what is under way on it, and drop what was to be sent.
    pub(super) fn drop_socket(&mut self, gear: &mut Gear) {
        self.unsent.drain(..).for_each(|bytes| gear.recycle(bytes));
        let receiving = self.receiving.take().is_some();
        let sending = self.sending.take().is_some();
        let Some(socket) = self.socket.take() else { return };
        if receiving || sending || self.phase == Phase::Connecting {
            gear.ring.cancel_all_of(socket.as_fd(), Tag::Nobody);
        }
        gear.ring.close(socket, Tag::Nobody);
    }
}
