//! Keep one TCP connection's state: what it sends, whether it receives, how it ends.
//!
//! ```text
//! Connecting ─► Open ─close─► Flushing ─all sent─► Lingering ─peer's end, or late─► gone
//!      └───────────┴─error─► Broken ─told─► gone          (abort: gone from anywhere)
//! ```
//!
//! In: calls of the machine, completions of the ring. Out: notices in the order of what happened.
//! Invariant: at most one send and one receive under way a stream; an idle one holds no buffer.
//! A stream that is gone may have operations under way still: the ring keeps their memory, and
//! their completions find nobody.

mod state;

use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use crate::base::limits::{
    CLOSE_FLUSH_MAX, CLOSE_LINGER_BYTES, CLOSE_LINGER_MAX, RECEIVE_BUFFER_BYTES, SEND_JOIN_MAX,
};
use crate::base::slots::{Slot, Slots};
use crate::platform::gear::{Gear, Notice, Tag, Timer, io_error};
use crate::platform::ring::{self, BufferToken, Completion, Kept, ReceiveBuffers};
use crate::platform::stream::state::{Phase, Stream};
use crate::shard::platform::IoError;

/// All streams of a shard.
#[derive(Debug, Default)]
pub(super) struct Streams {
    all: Slots<Stream>,
    /// Streams that were given something to send in this turn.
    unflushed: Vec<Slot>,
}

// What the machine asks.
impl Streams {
    /// Streams that exist, those that are being closed included.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether the machine may hear of this stream still: it neither closed it nor was told of
    /// its end.
    pub(super) fn is_known(&self, slot: Slot) -> bool {
        self.all.get(slot).is_some_and(|stream| !stream.is_closing())
    }

    /// Start connecting; a socket that cannot even be made fails by a notice too.
    pub(super) fn connect(
        &mut self,
        peer: SocketAddr,
        source: Option<IpAddr>,
        gear: &mut Gear,
    ) -> Slot {
        self.connect_to(socket_for(peer, source).map(|socket| (socket, peer.into())), gear)
    }

    /// See `Platform::connect_local`.
    pub(super) fn connect_local(&mut self, path: &Path, gear: &mut Gear) -> Slot {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None);
        let both = socket.and_then(|socket| Ok((socket.into(), SockAddr::unix(path)?)));
        self.connect_to(both, gear)
    }

    fn connect_to(&mut self, both: std::io::Result<(OwnedFd, SockAddr)>, gear: &mut Gear) -> Slot {
        match both {
            Ok((socket, peer)) => {
                let slot = self.all.insert(Stream::new(Some(socket), Phase::Connecting));
                let stream = self.all.get(slot).expect("just inserted");
                gear.ring.connect(stream.socket(), peer, Tag::Connect(slot));
                slot
            }
            Err(error) => {
                let slot = self.all.insert(Stream::new(None, Phase::Broken));
                let error = io_error(&error);
                gear.notices.push_back(Notice::ConnectFailed { stream: slot, error });
                slot
            }
        }
    }

    /// Take over an accepted socket and receive from it.
    pub(super) fn adopt(&mut self, socket: OwnedFd, gear: &mut Gear) -> Slot {
        let slot = self.all.insert(Stream::new(Some(socket), Phase::Open));
        self.receive(slot, gear);
        slot
    }

    /// See `Platform::send`. What is given in one turn goes out together.
    pub(super) fn send(&mut self, slot: Slot, bytes: Vec<u8>, gear: &mut Gear) {
        let Some(stream) = self.all.get_mut(slot) else { return gear.recycle(bytes) };
        let sends = matches!(stream.phase, Phase::Connecting | Phase::Open);
        if bytes.is_empty() || !sends || stream.send_error.is_some() {
            return gear.recycle(bytes);
        }
        match stream.unsent.back_mut() {
            Some(last) if last.len() + bytes.len() <= SEND_JOIN_MAX => {
                last.extend_from_slice(&bytes);
                gear.recycle(bytes);
            }
            Some(_) | None => stream.unsent.push_back(bytes),
        }
        if stream.sending.is_none() && !std::mem::replace(&mut stream.unflushed, true) {
            self.unflushed.push(slot);
        }
    }

    /// See `Platform::pause`. Costs nothing until something arrives.
    pub(super) fn pause(&mut self, slot: Slot, gear: &mut Gear) {
        if let Some(stream) = self.all.get_mut(slot) {
            stream.paused = true;
            stream.gentle = true;
            stream.cancel_receiving(gear);
        }
    }

    /// See `Platform::resume`.
    pub(super) fn resume(&mut self, slot: Slot, gear: &mut Gear) {
        let Some(stream) = self.all.get_mut(slot) else { return };
        if std::mem::replace(&mut stream.paused, false) {
            if !stream.held.is_empty() {
                gear.notices.push_back(Notice::Held { stream: slot });
            }
            self.after_receiving(slot, gear);
        }
    }

    /// See `Platform::close`.
    pub(super) fn close(&mut self, slot: Slot, gear: &mut Gear) {
        let Some(stream) = self.all.get_mut(slot) else { return };
        match stream.phase {
            Phase::Open if stream.send_error.is_none() => {}
            Phase::Flushing | Phase::Lingering => return,
            Phase::Open | Phase::Connecting | Phase::Broken => return self.abort(slot, gear),
        }
        stream.phase = Phase::Flushing;
        stream.held = Vec::new();
        if stream.unsent.is_empty() && stream.sending.is_none() {
            return self.linger(slot, gear);
        }
        stream.deadline = gear.now.mono + CLOSE_FLUSH_MAX;
        gear.timers.insert(stream.deadline, Timer::Closing(slot));
        self.receive(slot, gear);
    }

    /// See `Platform::abort`. The peer gets a reset, and what was not sent is dropped.
    pub(super) fn abort(&mut self, slot: Slot, gear: &mut Gear) {
        let Some(mut stream) = self.all.remove(slot) else { return };
        if let Some(socket) = &stream.socket {
            // Without it the kernel would go on sending for a minute; a failure costs only that.
            let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
        }
        stream.drop_socket(gear);
    }

    /// Abort every stream that the machine did not close.
    pub(super) fn abandon(&mut self, gear: &mut Gear) {
        let left = self.all.iter().filter(|(_, stream)| !stream.is_closing());
        let left: Vec<Slot> = left.map(|(slot, _)| slot).collect();
        left.into_iter().for_each(|slot| self.abort(slot, gear));
    }

    /// Abort every stream.
    pub(super) fn abort_all(&mut self, gear: &mut Gear) {
        let all: Vec<Slot> = self.all.iter().map(|(slot, _)| slot).collect();
        all.into_iter().for_each(|slot| self.abort(slot, gear));
    }

    /// Start sending what this turn's calls left; before the ring is entered.
    pub(super) fn flush(&mut self, gear: &mut Gear) {
        let mut unflushed = std::mem::take(&mut self.unflushed);
        for slot in unflushed.drain(..) {
            let Some(stream) = self.all.get_mut(slot) else { continue };
            stream.unflushed = false;
            if matches!(stream.phase, Phase::Open | Phase::Flushing) {
                stream.send_next(slot, gear);
            }
        }
        self.unflushed = unflushed;
    }
}

// What the ring answers.
impl Streams {
    /// A connect came to its end.
    pub(super) fn connected(&mut self, slot: Slot, completion: Completion<Tag>, gear: &mut Gear) {
        let Some(stream) = self.all.get_mut(slot) else { return };
        let local = completion.result.and_then(|_| {
            let local = SockRef::from(&stream.socket()).local_addr().map_err(|e| io_error(&e))?;
            // A socket in the file system has none, and nobody asks.
            Ok(local.as_socket().unwrap_or((Ipv4Addr::UNSPECIFIED, 0).into()))
        });
        match local {
            Ok(local) => {
                stream.phase = Phase::Open;
                gear.notices.push_back(Notice::Connected { stream: slot, local });
                stream.send_next(slot, gear);
                self.receive(slot, gear);
            }
            Err(error) => {
                stream.phase = Phase::Broken;
                stream.drop_socket(gear);
                gear.notices.push_back(Notice::ConnectFailed { stream: slot, error });
            }
        }
    }

    /// A send came to its end.
    pub(super) fn sent(&mut self, slot: Slot, completion: Completion<Tag>, gear: &mut Gear) {
        let Kept::Bytes(bytes) = completion.kept else { unreachable!("a send keeps its bytes") };
        let Some(stream) = self.all.get_mut(slot) else { return gear.recycle(bytes) };
        let Some(from) = stream.sending.take() else { return gear.recycle(bytes) };
        match completion.result {
            Ok(count) if from + count as usize == bytes.len() => {
                gear.recycle(bytes);
                self.after_send(slot, gear);
            }
            Ok(0) => {
                gear.recycle(bytes);
                self.send_failed(slot, IoError { errno: libc::EPIPE }, gear);
            }
            Ok(count) => {
                let from = from + count as usize;
                stream.sending = Some(from);
                gear.ring.send(stream.socket(), bytes, from, Tag::Send(slot));
            }
            Err(error) => {
                gear.recycle(bytes);
                self.send_failed(slot, error, gear);
            }
        }
    }

    fn after_send(&mut self, slot: Slot, gear: &mut Gear) {
        let Some(stream) = self.all.get_mut(slot) else { return };
        if !stream.unsent.is_empty() {
            stream.send_next(slot, gear);
        } else if stream.phase == Phase::Flushing {
            self.linger(slot, gear);
        } else {
            gear.notices.push_back(Notice::Sent { stream: slot });
        }
    }

    /// What the peer said before it went may be its reason: it is delivered before the loss.
    fn send_failed(&mut self, slot: Slot, error: IoError, gear: &mut Gear) {
        let Some(stream) = self.all.get_mut(slot) else { return };
        if stream.is_closing() {
            return self.abort(slot, gear);
        }
        stream.unsent.clear();
        stream.send_error = Some(error);
        if stream.receiving.is_none() {
            self.break_off(slot, error, gear);
        }
    }

    /// A receive has a completion; its buffer goes into a notice or back.
    pub(super) fn received(
        &mut self,
        slot: Slot,
        completion: Completion<Tag>,
        buffers: &mut ReceiveBuffers,
        gear: &mut Gear,
    ) {
        let filled = completion.buffer;
        let Some(stream) = self.all.get_mut(slot) else {
            return filled.into_iter().for_each(|buffer| buffers.give_back(buffer));
        };
        if !completion.more {
            stream.receiving = None;
            stream.cancelling = false;
        }
        let count = completion.result.map(|count| count as usize);
        if let (Ok(length @ 1..), Some(buffer)) = (count, filled) {
            stream.gentle &= stream.paused || length == RECEIVE_BUFFER_BYTES;
            self.take_in(slot, buffer, length, buffers, gear);
            return self.after_receiving(slot, gear);
        }
        match count {
            Ok(_) => stream.peer_ended = true,
            Err(IoError { errno: libc::ENOBUFS }) => gear.counters.receive_starved += 1,
            Err(IoError { errno: libc::ECANCELED }) => {}
            Err(error) => return self.receive_failed(slot, error, gear),
        }
        self.after_receiving(slot, gear);
    }

    fn take_in(
        &mut self,
        slot: Slot,
        buffer: BufferToken,
        length: usize,
        buffers: &mut ReceiveBuffers,
        gear: &mut Gear,
    ) {
        let Some(stream) = self.all.get_mut(slot) else { return buffers.give_back(buffer) };
        if stream.phase == Phase::Open && !stream.paused && stream.held.is_empty() {
            return gear.notices.push_back(Notice::Received { stream: slot, buffer, length });
        }
        if stream.phase == Phase::Open {
            stream.held.extend_from_slice(buffers.bytes(&buffer, length));
        } else {
            stream.dropped += length;
        }
        buffers.give_back(buffer);
    }

    fn receive_failed(&mut self, slot: Slot, error: IoError, gear: &mut Gear) {
        let Some(stream) = self.all.get_mut(slot) else { return };
        if stream.is_closing() {
            return self.abort(slot, gear);
        }
        let error = stream.send_error.unwrap_or(error);
        self.break_off(slot, error, gear);
    }

    /// Do what the stream's receiving side calls for now.
    fn after_receiving(&mut self, slot: Slot, gear: &mut Gear) {
        let Some(stream) = self.all.get_mut(slot) else { return };
        if let Some(error) = stream.send_error
            && (stream.peer_ended || stream.receiving.is_none())
        {
            return self.break_off(slot, error, gear);
        }
        let enough = stream.peer_ended || stream.dropped > CLOSE_LINGER_BYTES;
        if stream.phase == Phase::Lingering && enough {
            return self.finish(slot, gear);
        }
        if stream.should_tell_end() {
            stream.end_told = true;
            gear.notices.push_back(Notice::Ended { stream: slot });
        }
        self.receive(slot, gear);
    }

    /// What a paused stream holds, if it may be delivered now; then `held_delivered`.
    pub(super) fn take_held(&mut self, slot: Slot) -> Option<Vec<u8>> {
        let stream = self.all.get_mut(slot).filter(|stream| !stream.paused)?;
        let deliver = stream.phase == Phase::Open && !stream.held.is_empty();
        deliver.then(|| std::mem::take(&mut stream.held))
    }

    /// The machine has what was held.
    pub(super) fn held_delivered(&mut self, slot: Slot, gear: &mut Gear) {
        self.after_receiving(slot, gear);
    }

    /// Whether a broken stream's end is still to be told; it is gone now.
    pub(super) fn bury(&mut self, slot: Slot) -> bool {
        let broken = self.all.get(slot).is_some_and(|stream| stream.phase == Phase::Broken);
        broken && self.all.remove(slot).is_some()
    }

    /// A stream has been closing for long.
    pub(super) fn closing_timer(&mut self, slot: Slot, gear: &mut Gear) {
        let Some(stream) = self.all.get(slot) else { return };
        if gear.now.mono < stream.deadline {
            return;
        }
        match stream.phase {
            Phase::Flushing => self.abort(slot, gear),
            Phase::Lingering => self.finish(slot, gear),
            Phase::Connecting | Phase::Open | Phase::Broken => {}
        }
    }

    /// Receive, if the stream wants to and does not.
    fn receive(&mut self, slot: Slot, gear: &mut Gear) {
        let Some(stream) = self.all.get_mut(slot) else { return };
        if stream.wants_to_receive() {
            let (socket, tag) = (stream.socket(), Tag::Receive(slot));
            stream.receiving = Some(match stream.gentle {
                true => gear.ring.receive_once(socket, tag),
                false => gear.ring.receive(socket, tag),
            });
        }
    }

    /// All is sent: tell the peer, and read on until its end so that it is not reset.
    fn linger(&mut self, slot: Slot, gear: &mut Gear) {
        let Some(stream) = self.all.get_mut(slot) else { return };
        if stream.peer_ended {
            return self.finish(slot, gear);
        }
        stream.phase = Phase::Lingering;
        stream.deadline = gear.now.mono + CLOSE_LINGER_MAX;
        gear.timers.insert(stream.deadline, Timer::Closing(slot));
        // Not through the ring: it would shut down whatever has the descriptor's number once a
        // worker comes to it, which may be the next client's connection by then.
        let _ = SockRef::from(&stream.socket()).shutdown(Shutdown::Write);
        self.receive(slot, gear);
    }

    fn finish(&mut self, slot: Slot, gear: &mut Gear) {
        if let Some(mut stream) = self.all.remove(slot) {
            stream.drop_socket(gear);
        }
    }

    /// The connection broke under the machine: tell it.
    fn break_off(&mut self, slot: Slot, error: IoError, gear: &mut Gear) {
        let Some(stream) = self.all.get_mut(slot) else { return };
        stream.phase = Phase::Broken;
        stream.drop_socket(gear);
        gear.notices.push_back(Notice::Lost { stream: slot, error });
    }
}

/// A TCP socket that can connect to `peer`, bound to `source` if given.
fn socket_for(peer: SocketAddr, source: Option<IpAddr>) -> std::io::Result<OwnedFd> {
    let socket = Socket::new(Domain::for_address(peer), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    if let Some(source) = source {
        // The port is chosen at connect, by the whole four-tuple, so that ports do not run out.
        ring::choose_port_at_connect(&socket)?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    Ok(socket.into())
}
