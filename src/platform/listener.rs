//! Accept connections: one socket a shard on each configured address (SO_REUSEPORT).
//!
//! [`bind`] makes the sockets of all shards before any shard runs, so that a taken port is one
//! clear line and not sixteen. A shard then accepts by one multishot operation a socket; where
//! descriptors run out it pauses instead of spinning.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::base::limits::{ACCEPT_PAUSE, LISTEN_BACKLOG, PORT_LOOK_EVERY, PORT_LOOKS_MAX};
use crate::platform::gear::{Gear, Notice, Tag, Timer, io_error};
use crate::platform::ring::{Completion, OperationId};
use crate::platform::stream::Streams;
use crate::shard::platform::IoError;

/// An address that cannot be listened on, with what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {}", remedy(.error))]
pub struct BindError {
    /// The address as configured.
    pub address: SocketAddr,
    /// The kernel's answer.
    pub error: io::Error,
}

fn remedy(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EADDRINUSE) => "the port is taken; `ss -ltnp` shows by whom: stop that program \
            or choose another address with --listen"
            .to_owned(),
        Some(libc::EACCES) => "ports below 1024 need CAP_NET_BIND_SERVICE: grant it \
            (AmbientCapabilities= in systemd) or choose a higher port with --listen"
            .to_owned(),
        Some(libc::EADDRNOTAVAIL) => {
            "no interface of this machine has the address; `ip address` shows which have".to_owned()
        }
        _ => error.to_string(),
    }
}

/// One listening socket for each of `shards` on `address`; port 0 is one free port for all.
pub fn bind(address: SocketAddr, shards: usize) -> Result<Vec<OwnedFd>, BindError> {
    let fail = |error| BindError { address, error };
    // SO_REUSEPORT would let two relays of one user share a port in silence: look first.
    wait_until_free(address).map_err(fail)?;
    let first = listen(address, true).map_err(fail)?;
    let local = SockRef::from(&first).local_addr().map_err(fail)?;
    let address = local.as_socket().unwrap_or(address);
    let others = (1..shards).map(|_| listen(address, true).map_err(fail));
    std::iter::once(Ok(first)).chain(others).collect()
}

/// A relay that was killed is gone before its ports are: the kernel winds up its rings afterwards,
/// and they hold the sockets on which they accepted.
fn wait_until_free(address: SocketAddr) -> io::Result<()> {
    for _ in 1..PORT_LOOKS_MAX {
        match listen(address, false) {
            Err(error) if error.raw_os_error() == Some(libc::EADDRINUSE) => {
                std::thread::sleep(PORT_LOOK_EVERY);
            }
            free => return free.map(drop),
        }
    }
    listen(address, false).map(drop)
}

fn listen(address: SocketAddr, shared: bool) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    // Accepted sockets inherit it: a reply must not wait for the acknowledgement of another.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    if shared {
        socket.listen(LISTEN_BACKLOG)?;
    }
    Ok(socket.into())
}

#[derive(Debug)]
struct Listener {
    /// None once listening has stopped.
    socket: Option<OwnedFd>,
    /// The address of all its connections, unless it listens on every address.
    local: Option<SocketAddr>,
    accepting: Option<OperationId>,
    /// A failure was logged, and none after it needs to be until an accept succeeds.
    troubled: bool,
}

/// A shard's listeners, in the order of the configuration.
#[derive(Debug)]
pub(super) struct Listeners {
    all: Vec<Listener>,
}

impl Listeners {
    /// Accept on each of `sockets`.
    pub(super) fn new(sockets: Vec<OwnedFd>, gear: &mut Gear) -> Self {
        let all = sockets.into_iter().map(|socket| {
            let local = SockRef::from(&socket).local_addr().ok().and_then(|a| a.as_socket());
            let local = local.filter(|local| !local.ip().is_unspecified());
            Listener { socket: Some(socket), local, accepting: None, troubled: false }
        });
        let mut listeners = Self { all: all.collect() };
        let places = u16::try_from(listeners.all.len()).expect("fewer than 65,536 listeners");
        (0..places).for_each(|place| listeners.accept(place, gear));
        listeners
    }

    /// See `Platform::stop_listening`.
    pub(super) fn stop(&mut self, gear: &mut Gear) {
        for listener in &mut self.all {
            listener.accepting = None;
            if let Some(socket) = listener.socket.take() {
                gear.ring.cancel_all_of(socket.as_fd(), Tag::Nobody);
                gear.ring.close(socket, Tag::Nobody);
            }
        }
    }

    /// An accept has a completion. What comes in after `stop` is closed: the client tries again.
    pub(super) fn accepted(
        &mut self,
        place: u16,
        completion: Completion<Tag>,
        streams: &mut Streams,
        gear: &mut Gear,
    ) {
        let listener = &mut self.all[usize::from(place)];
        if listener.socket.is_none() {
            return;
        }
        if !completion.more {
            listener.accepting = None;
        }
        match (completion.socket, completion.result) {
            (Some(socket), _) => {
                listener.troubled = false;
                welcome(place, listener.local, socket, streams, gear);
            }
            (None, Err(error)) if is_shortage(error) => return self.back_off(place, error, gear),
            // The client was gone before it was accepted; or the network stumbled (accept(2)).
            (None, _) => {}
        }
        self.accept(place, gear);
    }

    /// A pause is over, or a multishot accept has ended: accept again.
    pub(super) fn accept(&mut self, place: u16, gear: &mut Gear) {
        let listener = &mut self.all[usize::from(place)];
        if let (Some(socket), None) = (&listener.socket, listener.accepting) {
            listener.accepting = Some(gear.ring.accept(socket.as_fd(), Tag::Accept(place)));
        }
    }

    fn back_off(&mut self, place: u16, error: IoError, gear: &mut Gear) {
        gear.counters.accept_failures += 1;
        gear.timers.insert(gear.now.mono + ACCEPT_PAUSE, Timer::Listener(place));
        let listener = &mut self.all[usize::from(place)];
        if !std::mem::replace(&mut listener.troubled, true) {
            tracing::warn!(%error, "cannot accept: raise the limit of open files (LimitNOFILE=)");
        }
    }
}

fn is_shortage(error: IoError) -> bool {
    matches!(error.errno, libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
}

fn welcome(
    place: u16,
    local: Option<SocketAddr>,
    socket: OwnedFd,
    streams: &mut Streams,
    gear: &mut Gear,
) {
    gear.counters.accepted += 1;
    let addresses = || -> io::Result<Option<(SocketAddr, SocketAddr)>> {
        let socket = SockRef::from(&socket);
        let local = match local {
            Some(local) => Some(local),
            None => socket.local_addr()?.as_socket(),
        };
        Ok(socket.peer_addr()?.as_socket().zip(local))
    };
    // Without a peer it is gone already.
    match addresses() {
        Ok(Some((peer, local))) => {
            let stream = streams.adopt(socket, gear);
            gear.notices.push_back(Notice::Accepted { stream, listener: place, peer, local });
        }
        Ok(None) => gear.ring.close(socket, Tag::Nobody),
        Err(error) => {
            tracing::debug!(error = %io_error(&error), "a client left before it was greeted");
            gear.ring.close(socket, Tag::Nobody);
        }
    }
}
