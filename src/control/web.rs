//! The public door: answer the links of messages, to anybody, and nothing else.
//!
//! One ordinary thread of its own, with less right to a CPU than shards and apart from the admin
//! addresses: whatever is done to it costs mail and operators nothing. Nothing that those addresses
//! answer can be asked here. [`answer`] says what is asked, [`telling`] tells the event log.

mod answer;
mod counts;
mod guests;
mod page;
mod telling;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::process::setpriority_process;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::base::limits::{
    WEB_ACCEPT_PAUSE, WEB_BLOCKING_MAX, WEB_CONNECTION_WAIT, WEB_CONNECTIONS_MAX, WEB_FIELDS_MAX,
    WEB_HEAD_MAX, WEB_NICENESS, WEB_WAIT,
};
use crate::base::time::Now;
use crate::config::Config;
use crate::config::options::Tenant;
use crate::control::commands::Shards;
use crate::control::suppression::SuppressionLists;
use crate::control::web::answer::Desk;
use crate::control::web::counts::What;
use crate::control::web::guests::Guests;
use crate::control::web::telling::Teller;
use crate::policy::links::Links;
use crate::policy::verp::Secrets;
use crate::tls::Acceptor;

pub use counts::Counts;

/// What holds for those who use links. A reload makes another.
#[derive(Debug)]
pub struct Rules {
    /// What opens links.
    links: Links,
    /// The hosts that links name, in lower case.
    hosts: Vec<Box<str>>,
    /// Answers handshakes; `None`: a proxy does.
    acceptor: Option<Acceptor>,
    /// Whatever uses a link so soon after its message was taken is a machine.
    soon: Duration,
    honours_do_not_track: bool,
}

impl Rules {
    /// As `config` has it; `None`: there are no links.
    pub fn new(config: &Config, secrets: &Secrets, acceptor: Option<Acceptor>) -> Option<Self> {
        let web = config.web.as_ref()?;
        let host = |tenant: &Tenant| tenant.links.host.clone();
        let hosts = config.senders.tenants.iter().filter_map(host);
        Some(Self {
            links: Links::new(secrets),
            hosts: hosts.chain([web.host.clone()]).collect(),
            acceptor,
            soon: web.soon,
            honours_do_not_track: web.honours_do_not_track,
        })
    }
}

/// The ways to those who have to know what links were used.
#[derive(Clone, Debug)]
pub struct Ways {
    /// Shards, which tell their event logs.
    pub shards: Shards,
    /// The suppression lists.
    pub lists: SuppressionLists,
    /// Both clocks.
    pub now: fn() -> Now,
    /// What is counted.
    pub counts: Arc<Counts>,
}

/// Answer at `doors`, which listen and do not block, until the process ends.
pub fn serve(doors: Vec<OwnedFd>, ways: Ways, rules: Arc<ArcSwapOption<Rules>>) -> io::Result<()> {
    if doors.is_empty() {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(WEB_BLOCKING_MAX)
        .build()?;
    let doors: Vec<TcpListener> = {
        // Sockets are known to a runtime.
        let _inside = runtime.enter();
        doors.into_iter().map(|fd| TcpListener::from_std(fd.into())).collect::<Result<_, _>>()?
    };
    thread::Builder::new().name("web".to_owned()).spawn(move || {
        if let Err(error) = setpriority_process(None, WEB_NICENESS) {
            tracing::debug!(%error, "links are answered with the priority of shards");
        }
        runtime.block_on(async move {
            let teller = Teller::new(ways.clone());
            let desk = Desk { rules, teller: teller.clone(), lists: ways.lists, now: ways.now };
            for door in doors {
                tokio::spawn(open(door, desk.clone()));
            }
            teller.run().await;
        });
    })?;
    Ok(())
}

async fn open(listener: TcpListener, desk: Desk) {
    let (room, guests) = (Arc::new(Semaphore::new(WEB_CONNECTIONS_MAX)), Guests::default());
    while let Ok(place) = room.clone().acquire_owned().await {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "the public door cannot take a connection");
                sleep(WEB_ACCEPT_PAUSE).await;
                continue;
            }
        };
        let tls = desk.rules.load().as_ref().and_then(|rules| rules.acceptor.clone());
        let guest = tls.as_ref().map(|_| guests.enter(peer.ip()));
        if matches!(guest, Some(None)) {
            desk.teller.counts().increment(What::Refused);
            continue;
        }
        let desk = desk.clone();
        tokio::spawn(async move {
            match tls {
                None => converse(stream, &desk).await,
                Some(tls) => converse_in_tls(stream, &desk, &tls, peer).await,
            }
            drop((place, guest));
        });
    }
}

async fn converse_in_tls(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    desk: &Desk,
    tls: &Acceptor,
    peer: SocketAddr,
) {
    let tls = TlsAcceptor::from(tls.config());
    match timeout(WEB_WAIT, tls.accept(stream)).await {
        Ok(Ok(stream)) => converse(stream, desk).await,
        Ok(Err(error)) => tracing::debug!(%peer, %error, "a connection for a link without TLS"),
        Err(_) => tracing::debug!(%peer, "a connection for a link without TLS in time"),
    }
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, desk: &Desk) {
    let answer = service_fn(|request: Request<Incoming>| {
        let desk = desk.clone();
        async move { Ok::<_, Infallible>(desk.answer(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(WEB_WAIT)
        .max_buf_size(WEB_HEAD_MAX)
        .max_headers(WEB_FIELDS_MAX)
        .serve_connection(TokioIo::new(stream), answer);
    match timeout(WEB_CONNECTION_WAIT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection for a link"),
        Err(_) => tracing::debug!("a connection for a link lasted too long"),
    }
}
