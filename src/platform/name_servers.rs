//! Ask name servers and wait for them: the resolver's machine over ordinary sockets, for threads
//! that have nothing else to do.
//!
//! Each question has a socket of its own, connected, so that the kernel drops what comes from
//! others; its port is the kernel's random choice. Shards drive the same machine over their rings.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, Socket, Type};

use crate::base::limits::DNS_TCP_MESSAGE_MAX;
use crate::base::prng::Prng;
use crate::base::time::Monotonic;
use crate::dns::{Answer, ExchangeId, Options, Question, Resolver, Transmit, Transport};
use crate::platform::{clock, machine};

/// Name servers and the questions that are under way to them.
#[derive(Debug)]
pub(super) struct NameServers {
    resolver: Resolver<()>,
    lines: HashMap<ExchangeId, Line>,
    buffer: Vec<u8>,
}

/// What carries one query.
#[derive(Debug)]
enum Line {
    Udp(UdpSocket),
    Tcp {
        stream: TcpStream,
        /// What is not sent yet; all of it until the connection is there.
        query: Vec<u8>,
    },
}

impl NameServers {
    /// Asked as `options` say; nothing has been asked yet.
    pub(super) fn new(options: Options) -> Self {
        Self {
            resolver: Resolver::new(options, Prng::from_seed(machine::seed())),
            lines: HashMap::new(),
            buffer: vec![0; DNS_TCP_MESSAGE_MAX],
        }
    }

    /// Ask. The answer, if it is known at once; else `wait` gives it.
    pub(super) fn ask(&mut self, question: Question) -> Option<Arc<Answer>> {
        self.resolver.lookup(question, (), clock::now().mono)
    }

    /// Wait for answers, until then and no longer: none where none came.
    pub(super) fn wait(&mut self, until: Monotonic) -> Vec<Arc<Answer>> {
        loop {
            let now = clock::now().mono;
            if self.resolver.deadline().is_some_and(|at| at <= now) {
                self.resolver.handle_deadline(now);
            }
            self.exchange();
            let answers: Vec<_> = std::iter::from_fn(|| self.resolver.poll_answer()).collect();
            if !answers.is_empty() || now >= until {
                return answers.into_iter().map(|((), answer)| answer).collect();
            }
            let wake = self.resolver.deadline().map_or(until, |at| at.min(until));
            for exchange in self.ready(wake.since(now)) {
                self.serve(exchange);
            }
        }
    }

    /// Open and close what the resolver wants opened and closed.
    fn exchange(&mut self) {
        loop {
            while let Some(exchange) = self.resolver.poll_closed() {
                self.lines.remove(&exchange);
            }
            let Some(transmit) = self.resolver.poll_transmit() else { return };
            let exchange = transmit.exchange;
            match open(transmit) {
                Ok(line) => drop(self.lines.insert(exchange, line)),
                Err(error) => {
                    let now = clock::now().mono;
                    self.resolver.handle_failed(exchange, &error.to_string(), now);
                }
            }
        }
    }

    /// The lines on which something has happened, after so long at most.
    fn ready(&self, wait: Duration) -> Vec<ExchangeId> {
        let (exchanges, mut fds): (Vec<_>, Vec<_>) = self
            .lines
            .iter()
            .map(|(exchange, line)| (*exchange, PollFd::from_borrowed_fd(line.fd(), line.awaits())))
            .unzip();
        let wait = Timespec::try_from(wait).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        // Interrupted by a signal, it is as if nothing had happened.
        if poll(&mut fds, Some(&wait)).is_err() {
            return Vec::new();
        }
        let happened = exchanges.into_iter().zip(fds).filter(|(_, fd)| !fd.revents().is_empty());
        happened.map(|(exchange, _)| exchange).collect()
    }

    /// Pass on what has come, or that nothing will.
    fn serve(&mut self, exchange: ExchangeId) {
        let Some(line) = self.lines.get_mut(&exchange) else { return };
        let (now, is_tcp) = (clock::now().mono, matches!(line, Line::Tcp { .. }));
        match line.go_on(&mut self.buffer) {
            Ok(None) => {}
            Ok(Some(0)) if is_tcp => {
                self.resolver.handle_failed(exchange, "it closed the connection", now);
            }
            Ok(Some(length)) if is_tcp => {
                self.resolver.handle_tcp_bytes(exchange, &self.buffer[..length], now);
            }
            Ok(Some(length)) => {
                self.resolver.handle_datagram(exchange, &self.buffer[..length], now);
            }
            Err(error) => self.resolver.handle_failed(exchange, &error.to_string(), now),
        }
    }
}

impl Line {
    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Udp(socket) => socket.as_fd(),
            Self::Tcp { stream, .. } => stream.as_fd(),
        }
    }

    fn awaits(&self) -> PollFlags {
        match self {
            Self::Tcp { query, .. } if !query.is_empty() => PollFlags::OUT,
            Self::Udp(_) | Self::Tcp { .. } => PollFlags::IN,
        }
    }

    /// Send what is to be sent, or take in what has come: how many octets, or `None` where nothing.
    fn go_on(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let done = match self {
            Self::Udp(socket) => socket.recv(buffer).map(Some),
            Self::Tcp { stream, query } if query.is_empty() => stream.read(buffer).map(Some),
            Self::Tcp { stream, query } => {
                if let Some(error) = stream.take_error()? {
                    return Err(error);
                }
                stream.write(query).map(|sent| {
                    query.drain(..sent);
                    None
                })
            }
        };
        match done {
            Err(error) if is_for_later(&error) => Ok(None),
            done => done,
        }
    }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
        || error.raw_os_error() == Some(libc::EINPROGRESS)
}

/// A socket to the server, with the query on its way.
fn open(transmit: Transmit) -> io::Result<Line> {
    let Transmit { server, transport, query, .. } = transmit;
    match transport {
        Transport::Udp => {
            let own: SocketAddr = match server {
                SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
            };
            let socket = UdpSocket::bind(own)?;
            socket.set_nonblocking(true)?;
            socket.connect(server)?;
            socket.send(&query)?;
            Ok(Line::Udp(socket))
        }
        Transport::Tcp => {
            let kind = Type::STREAM.nonblocking();
            let socket = Socket::new(Domain::for_address(server), kind, Some(Protocol::TCP))?;
            match socket.connect(&server.into()) {
                Err(error) if !is_for_later(&error) => Err(error),
                Ok(()) | Err(_) => Ok(Line::Tcp { stream: socket.into(), query }),
            }
        }
    }
}

#[cfg(test)]
mod tests;
