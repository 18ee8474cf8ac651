//! Ask one DNS question over UDP: a socket and a port of its own, gone with the answer.
//!
//! The socket is connected, so that the kernel drops what comes from others and reports a refusal;
//! its port is the kernel's random choice. A question under way costs a socket and one receive.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use socket2::{Domain, Protocol, Socket, Type};

use crate::base::slots::{Slot, Slots};
use crate::platform::gear::{Gear, Notice, Tag, io_error};
use crate::platform::ring::{Completion, Kept, ReceiveBuffers};
use crate::shard::platform::IoError;

/// All questions of a shard that are under way.
#[derive(Debug, Default)]
pub(super) struct Questions {
    all: Slots<Question>,
}

#[derive(Debug)]
struct Question {
    /// None once it failed and the machine is still to be told.
    socket: Option<OwnedFd>,
}

impl Questions {
    /// See `Platform::ask`.
    pub(super) fn ask(&mut self, server: SocketAddr, query: &[u8], gear: &mut Gear) -> Slot {
        match socket_to(server) {
            Ok(socket) => {
                let mut bytes = gear.buffer();
                bytes.extend_from_slice(query);
                let slot = self.all.insert(Question { socket: None });
                gear.ring.send(socket.as_fd(), bytes, 0, Tag::Ask(slot));
                gear.ring.receive(socket.as_fd(), Tag::Answer(slot));
                self.all.get_mut(slot).expect("just inserted").socket = Some(socket);
                slot
            }
            Err(error) => {
                let slot = self.all.insert(Question { socket: None });
                let error = io_error(&error);
                gear.notices.push_back(Notice::AskFailed { question: slot, error });
                slot
            }
        }
    }

    /// See `Platform::forget`.
    pub(super) fn forget(&mut self, slot: Slot, gear: &mut Gear) {
        if let Some(Question { socket: Some(socket) }) = self.all.remove(slot) {
            release(socket, gear);
        }
    }

    /// Whether a failed question's end is still to be told; it is gone now.
    pub(super) fn bury(&mut self, slot: Slot) -> bool {
        let failed = self.all.get(slot).is_some_and(|question| question.socket.is_none());
        failed && self.all.remove(slot).is_some()
    }

    /// Forget every question.
    pub(super) fn abandon(&mut self, gear: &mut Gear) {
        let all: Vec<Slot> = self.all.iter().map(|(slot, _)| slot).collect();
        all.into_iter().for_each(|slot| self.forget(slot, gear));
    }

    /// Whether the machine waits for this question.
    pub(super) fn is_known(&self, slot: Slot) -> bool {
        self.all.get(slot).is_some()
    }

    /// The send came to its end.
    pub(super) fn sent(&mut self, slot: Slot, completion: Completion<Tag>, gear: &mut Gear) {
        if let Kept::Bytes(bytes) = completion.kept {
            gear.recycle(bytes);
        }
        if let Err(error) = completion.result {
            self.fail(slot, error, gear);
        }
    }

    /// The receive has a completion: a datagram, perhaps an empty one, or a failure.
    pub(super) fn received(
        &mut self,
        slot: Slot,
        completion: Completion<Tag>,
        buffers: &mut ReceiveBuffers,
        gear: &mut Gear,
    ) {
        let known = self.all.get(slot).is_some_and(|question| question.socket.is_some());
        match (completion.result, completion.buffer) {
            (Ok(length @ 1..), Some(buffer)) if known => {
                let length = length as usize;
                gear.notices.push_back(Notice::Answered { question: slot, buffer, length });
            }
            (Err(error), None) if known && error.errno != libc::ENOBUFS => {
                return self.fail(slot, error, gear);
            }
            (_, buffer) => buffer.into_iter().for_each(|buffer| buffers.give_back(buffer)),
        }
        // An empty datagram and a lack of buffers end the receive, not the question.
        let socket = self.all.get(slot).and_then(|question| question.socket.as_ref());
        if let Some(socket) = socket.filter(|_| !completion.more) {
            gear.ring.receive(socket.as_fd(), Tag::Answer(slot));
        }
    }

    fn fail(&mut self, slot: Slot, error: IoError, gear: &mut Gear) {
        let Some(question) = self.all.get_mut(slot) else { return };
        if let Some(socket) = question.socket.take() {
            release(socket, gear);
            gear.notices.push_back(Notice::AskFailed { question: slot, error });
        }
    }
}

fn release(socket: OwnedFd, gear: &mut Gear) {
    gear.ring.cancel_all_of(socket.as_fd(), Tag::Nobody);
    gear.ring.close(socket, Tag::Nobody);
}

/// A connected socket; the kernel chose its port at random.
fn socket_to(server: SocketAddr) -> std::io::Result<OwnedFd> {
    let socket = Socket::new(Domain::for_address(server), Type::DGRAM, Some(Protocol::UDP))?;
    socket.connect(&server.into())?;
    Ok(socket.into())
}
