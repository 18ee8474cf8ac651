//! Sockets of the sink: accept, read, answer, pause and cut.
//!
//! Lives on: the sink's thread; one task a listener, one a connection.

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
use super::{Plan, Shared, SinkReport};
use crate::cpu;

/// Octets read at a time; a 10 KB message and its commands fit.
const READ_SIZE: usize = 32 * 1024;
/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 4_096;
/// How often a slow reader reads.
const SLOW_TICK: Duration = Duration::from_millis(100);

/// What the sink's thread is told while it runs.
#[derive(Debug)]
pub(crate) enum Order {
    Kill(usize),
    Revive(usize),
    DropConnections(usize, bool),
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
        std::io::Result::Ok(socket.into())
    };
    make().with_context(|| format!("listening on {address}"))
}

/// Serves until it is told to finish.
pub(crate) fn run(
    plan: Plan,
    sockets: Vec<Socket>,
    mut orders: mpsc::UnboundedReceiver<Order>,
) -> Result<SinkReport> {
    let cpu_before = cpu::of_this_thread_us();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
        .context("starting the sink's runtime")?;
    let shared = Rc::new(Shared::new(&plan.options, plan.counters)?);
    let mut doors = Vec::new();
    let outcome = runtime.block_on(async {
        for (place, (conduct, socket)) in plan.conducts.into_iter().zip(sockets).enumerate() {
            let address = socket.local_addr().context("asking for a listener's address")?;
            let ehlo = conduct.offers.ehlo_reply("sink.example", conduct.size_max);
            let listener = Rc::new(Listener { name: address.to_string(), conduct, ehlo });
            let (shared, drops) = (Rc::clone(&shared), Rc::default());
            let mut door = Door { shared, listener, place, address, drops, task: None };
            door.open(socket)?;
            doors.push(door);
        }
        tokio::select! {
            outcome = obey(&mut orders, &mut doors) => outcome,
            failed = shared.log.flush_forever() => failed,
        }
    });
    drop(doors);
    drop(runtime);
    shared.log.flush()?;
    outcome?;
    let violations = shared.violations.borrow().clone();
    Ok(SinkReport { cpu_us: cpu::of_this_thread_us() - cpu_before, violations })
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
            Order::Finish => return Ok(()),
        }
    }
    Ok(())
}

/// A listener that can be closed and opened again.
struct Door {
    shared: Rc<Shared>,
    listener: Rc<Listener>,
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
        let (place, drops) = (self.place, Rc::clone(&self.drops));
        let task = tokio::task::spawn_local(async move {
            accept_all(&socket, &shared, &listener, place, &drops).await;
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
    place: usize,
    drops: &std::cell::Cell<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        let stream = match socket.accept().await {
            Ok((stream, _)) => stream,
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
        let session = Session::new(Rc::clone(shared), Rc::clone(listener), place);
        connections.spawn_local(async move {
            // What breaks a connection is the client's to tell; the sink has its counts.
            let _broken = serve(stream, session, guard.count()).await;
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
}

impl Drop for OpenCount {
    fn drop(&mut self) {
        self.0.counters[self.1].open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Drives one session; `open` is how many connections the listener has.
async fn serve(mut stream: TcpStream, mut session: Session, open: u64) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    if open > session.listener.conduct.connections_max {
        return stream.write_all(b"421 4.7.0 Too many connections\r\n").await;
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
                stream.write_all(&session.output).await?;
                session.output.clear();
            }
            match want {
                Want::More => break,
                Want::Pause(time) => tokio::time::sleep(time).await,
                Want::Close => return Ok(()),
                Want::Cut(Cut::Close) => return Ok(()),
                Want::Cut(Cut::Reset) => {
                    return SockRef::from(&stream).set_linger(Some(Duration::ZERO));
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
