//! Sockets of the sink: accept, read, answer, pause and cut.
//!
//! Lives on: the sink's thread; one task a listener, one a connection.

use std::io;
use std::net::{SocketAddr, TcpListener as Socket};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, SockRef, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::script::Cut;
use super::session::{Listener, Session, Want};
use super::{Counters, Plan, Shared, SinkReport};
use crate::cpu;
use crate::tls::{Mode, Server, Stream};

/// Octets read at a time; a 10 KB message and its commands fit.
const READ_SIZE: usize = 32 * 1024;
/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 4_096;
/// Longest wait for the end of a handshake.
const HANDSHAKE_MAX: Duration = Duration::from_secs(60);
/// Longest time that a client is left without an answer.
const STALL_MAX: Duration = Duration::from_secs(600);
/// How often a slow reader reads.
const SLOW_TICK: Duration = Duration::from_millis(100);

/// What the sink's thread is told while it runs.
#[derive(Debug)]
pub(crate) enum Order {
    Kill(usize),
    Revive(usize),
    DropConnections(usize, bool),
    Relent,
    Finish,
}

/// A listening socket on `address`.
///
/// Errors: the address, and why it cannot be bound.
pub(crate) fn bind(address: SocketAddr) -> Result<Socket> {
    let make = || {
        let socket =
            socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        io::Result::Ok(socket.into())
    };
    make().with_context(|| format!("listening on {address}"))
}

/// Serves until it is told to finish.
pub(crate) fn run(
    mut plan: Plan,
    sockets: Vec<Socket>,
    mut orders: mpsc::UnboundedReceiver<Order>,
) -> Result<SinkReport> {
    let cpu_before = cpu::of_this_thread_us();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
        .context("starting the sink's runtime")?;
    let (conducts, mode) = (std::mem::take(&mut plan.conducts), plan.options.tls);
    let sound = plan.sound.take();
    let shared = Rc::new(Shared::new(plan)?);
    let mut doors = Vec::new();
    let outcome = runtime.block_on(async {
        for (place, (conduct, socket)) in conducts.into_iter().zip(sockets).enumerate() {
            let address = socket.local_addr().context("asking for a listener's address")?;
            let (conduct, server) = conduct;
            let tls = Tls { mode, server, sound: sound.clone() };
            let listener = Rc::new(Listener::new(address.to_string(), conduct));
            let (shared, drops) = (Rc::clone(&shared), Rc::default());
            let mut door = Door { shared, listener, tls, place, address, drops, task: None };
            door.open(socket)?;
            doors.push(door);
        }
        tokio::select! {
            outcome = obey(&mut orders, &mut doors) => outcome,
            failed = shared.log.flush_forever() => failed,
            failed = shared.answered.flush_forever() => failed,
            failed = shared.returned.flush_forever() => failed,
        }
    });
    drop(doors);
    drop(runtime);
    shared.log.flush()?;
    shared.answered.flush()?;
    shared.returned.flush()?;
    outcome?;
    Ok(SinkReport {
        cpu_us: cpu::of_this_thread_us() - cpu_before,
        violations: shared.violations.borrow().clone(),
        totals: Counters::totals(&shared.counters),
    })
}

async fn obey(orders: &mut mpsc::UnboundedReceiver<Order>, doors: &mut [Door]) -> Result<()> {
    while let Some(order) = orders.recv().await {
        match order {
            Order::Kill(place) => doors[place].close(),
            Order::Revive(place) => {
                doors[place].close();
                // The old task lets go of its socket when the runtime next looks at it.
                tokio::task::yield_now().await;
                let socket = bind(doors[place].address)?;
                doors[place].open(socket)?;
            }
            Order::DropConnections(place, drop) => doors[place].drops.set(drop),
            Order::Relent => {
                doors.iter().for_each(|door| door.listener.conduct.relented.set(true));
            }
            Order::Finish => return Ok(()),
        }
    }
    Ok(())
}

/// When a listener's connections are secured, and by what.
#[derive(Clone)]
struct Tls {
    mode: Mode,
    server: Option<Server>,
    /// By a certificate that nothing is wrong with: once the sink has relented.
    sound: Option<Server>,
}

impl Tls {
    /// For a connection that comes now.
    fn of(&self, listener: &Listener) -> Self {
        let server = if listener.conduct.relented.get() { &self.sound } else { &self.server };
        Self { server: server.clone(), ..self.clone() }
    }
}

/// A listener that can be closed and opened again.
struct Door {
    shared: Rc<Shared>,
    listener: Rc<Listener>,
    tls: Tls,
    place: usize,
    address: SocketAddr,
    /// Whether connections are accepted only to be dropped.
    drops: Rc<std::cell::Cell<bool>>,
    task: Option<AbortHandle>,
}

impl Door {
    fn open(&mut self, socket: Socket) -> Result<()> {
        let socket = TcpListener::from_std(socket).context("handing a listener to the runtime")?;
        let (shared, listener) = (Rc::clone(&self.shared), Rc::clone(&self.listener));
        let (place, drops, tls) = (self.place, Rc::clone(&self.drops), self.tls.clone());
        let task = tokio::task::spawn_local(async move {
            accept_all(&socket, &shared, &listener, &tls, place, &drops).await;
        });
        self.task = Some(task.abort_handle());
        Ok(())
    }

    fn close(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

/// Accepts for ever; dropping this future drops its connections.
async fn accept_all(
    socket: &TcpListener,
    shared: &Rc<Shared>,
    listener: &Rc<Listener>,
    tls: &Tls,
    place: usize,
    drops: &std::cell::Cell<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, client) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, or a client that left: neither ends the listener.
                shared.violation(place, &format!("(not accepted: {error})"));
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        shared.counters[place].connections.fetch_add(1, Ordering::Relaxed);
        if drops.get() {
            continue;
        }
        let guard = OpenCount::new(Rc::clone(shared), place);
        let session = Session::new(Rc::clone(shared), Rc::clone(listener), (place, client.ip()));
        let tls = tls.of(listener);
        connections.spawn_local(async move {
            // What breaks a connection is the client's to tell; the sink has its counts.
            let _broken = serve(stream, session, &tls, &guard).await;
            drop(guard);
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Counts a connection as open while it lives.
struct OpenCount(Rc<Shared>, usize, u64);

impl OpenCount {
    fn new(shared: Rc<Shared>, place: usize) -> Self {
        let before = shared.counters[place].open.fetch_add(1, Ordering::Relaxed);
        Self(shared, place, before + 1)
    }

    /// Connections that were open when this one came, itself included.
    fn count(&self) -> u64 {
        self.2
    }

    /// The handshake of this connection, within its time.
    async fn secure(&self, tls: &Tls, stream: Stream) -> io::Result<Stream> {
        let (Some(server), Stream::Plain(stream)) = (&tls.server, stream) else {
            unreachable!("a listener that offers TLS can do it, and a session asks once")
        };
        let answered = tokio::time::timeout(HANDSHAKE_MAX, server.secure(stream)).await;
        let secured = answered.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let counters = &self.0.counters[self.1];
        let count = if secured.is_ok() { &counters.tls_sessions } else { &counters.tls_failures };
        count.fetch_add(1, Ordering::Relaxed);
        secured
    }
}

impl Drop for OpenCount {
    fn drop(&mut self) {
        self.0.counters[self.1].open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Drives one session.
async fn serve(
    stream: TcpStream,
    mut session: Session,
    tls: &Tls,
    open: &OpenCount,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = Stream::Plain(stream);
    if tls.mode == Mode::Implicit {
        stream = open.secure(tls, stream).await?;
        session.secured();
    }
    let conduct = &session.listener.conduct;
    if open.count() > conduct.connections_max && !conduct.relented.get() {
        return answer(&mut stream, b"421 4.7.0 Too many connections\r\n").await;
    }
    let read_rate = session.listener.conduct.read_rate;
    let mut held = vec![0; READ_SIZE];
    let mut end = 0;
    loop {
        let mut used = 0;
        loop {
            let (count, want) = session.advance(&held[used..end], Instant::now());
            used += count;
            if !session.output.is_empty() {
                answer(&mut stream, &session.output).await?;
                session.output.clear();
            }
            match want {
                Want::More => break,
                Want::Pause(time) => tokio::time::sleep(time).await,
                Want::Secure => {
                    stream = open.secure(tls, stream).await?;
                    session.secured();
                }
                Want::Stall => return stall(&mut stream).await,
                Want::Close if stream.is_secured() => return stream.shutdown().await,
                Want::Close => return Ok(()),
                Want::Cut(Cut::Close) => return Ok(()),
                Want::Cut(Cut::Reset) => {
                    return SockRef::from(stream.socket()).set_linger(Some(Duration::ZERO));
                }
            }
        }
        held.copy_within(used..end, 0);
        end -= used;
        let room = match read_rate {
            None => held.len(),
            Some(rate) => {
                tokio::time::sleep(SLOW_TICK).await;
                let octets = usize::try_from(rate / 10).unwrap_or(READ_SIZE).max(1);
                held.len().min(end + octets)
            }
        };
        match stream.read(&mut held[end..room]).await? {
            0 => return Ok(()),
            count => end += count,
        }
    }
}

async fn answer(stream: &mut Stream, reply: &[u8]) -> io::Result<()> {
    stream.write_all(reply).await?;
    stream.flush().await
}

/// Reads what comes until the client has had enough.
async fn stall(stream: &mut Stream) -> io::Result<()> {
    let mut nowhere = tokio::io::sink();
    let reading = tokio::io::copy(stream, &mut nowhere);
    tokio::time::timeout(STALL_MAX, reading).await.map_or(Ok(()), |read| read.map(drop))
}
