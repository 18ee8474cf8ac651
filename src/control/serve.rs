//! Take connections of those who ask, within bounds, and let a thread of its own answer them.
//!
//! One ordinary thread, apart from the shards: a slow or hostile client costs mail nothing, and on
//! one address it costs the others nothing. TLS is spoken on addresses that can be reached from
//! elsewhere, where there is a certificate.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::base::limits::{
    ADMIN_ACCEPT_PAUSE, ADMIN_CONNECTION_WAIT, ADMIN_CONNECTIONS_MAX, ADMIN_FIELDS_MAX,
    ADMIN_HEAD_MAX, ADMIN_HEAD_WAIT,
};
use crate::config::options::AdminAddress;
use crate::control::access::{Access, Arrival, Caller, Refusal};
use crate::control::campaigns::Terms;
use crate::control::check_domain::DomainChecks;
use crate::control::commands::Shards;
use crate::control::diversions::Diversions;
use crate::control::epochs::Epochs;
use crate::control::exporters::Exporters;
use crate::control::http::{self, Refused};
use crate::control::inject::Injections;
use crate::control::kpis::Kpis;
use crate::control::messages::Lives;
use crate::control::overview::Facts;
use crate::control::pauses::Pauses;
use crate::control::roles::{self, Right};
use crate::control::suppression::SuppressionLists;
use crate::control::tls_reports::TlsReports;
use crate::control::warm_up::WarmUps;
use crate::control::web;
use crate::tls::Acceptor;

/// What holds for those who ask. A reload makes another; a request goes by the one that it finds.
#[derive(Debug)]
pub struct Rules {
    /// Who may ask.
    pub access: Access,
    /// Answers handshakes from elsewhere, if they are to be made.
    pub acceptor: Option<Acceptor>,
}

/// The ways to those who keep what is asked about.
#[derive(Clone, Debug)]
pub struct Ways {
    /// Reports on TLS.
    pub reports: TlsReports,
    /// What is paused.
    pub pauses: Pauses,
    /// Who is handed the event log.
    pub exporters: Exporters,
    /// To whom nothing is sent.
    pub lists: SuppressionLists,
    /// What the node is.
    pub facts: Facts,
    /// Who checks domains.
    pub checks: DomainChecks,
    /// Who counts what became of mail.
    pub kpis: Kpis,
    /// Mail that is handed in.
    pub injections: Injections,
    /// What is known of messages.
    pub lives: Lives,
    /// What holds for mail.
    pub terms: Terms,
    /// Who keeps what sources have sent that are warmed up.
    pub warm_up: WarmUps,
    /// What is in force, and who changes that.
    pub epochs: Epochs,
    /// What is diverted.
    pub diversions: Diversions,
    /// What is asked at the public door.
    pub web: Arc<web::Counts>,
}

/// Answer at `doors`, which listen and do not block, until the process ends.
pub fn serve(
    doors: impl IntoIterator<Item = (AdminAddress, OwnedFd)>,
    shards: Shards,
    ways: Ways,
    rules: Arc<ArcSwap<Rules>>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let desk = Desk { router: http::router(shards, ways), rules };
    let doors: Vec<_> = {
        // Sockets are known to a runtime.
        let _inside = runtime.enter();
        doors.into_iter().map(|(address, fd)| Door::new(&address, fd)).collect::<Result<_, _>>()?
    };
    let thread = thread::Builder::new().name("control".to_owned());
    thread.spawn(move || {
        runtime.block_on(async move {
            let open = doors.into_iter().map(|door| tokio::spawn(door.open(desk.clone())));
            for task in open.collect::<Vec<_>>() {
                if let Err(error) = task.await {
                    tracing::error!(%error, "an admin address is served no more");
                }
            }
        });
    })?;
    Ok(())
}

/// Where connections come from.
struct Door {
    listener: Listener,
    is_remote: bool,
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Door {
    fn new(address: &AdminAddress, socket: OwnedFd) -> io::Result<Self> {
        let listener = match address {
            AdminAddress::Tcp(_) => Listener::Tcp(TcpListener::from_std(socket.into())?),
            AdminAddress::Unix(_) => Listener::Unix(UnixListener::from_std(socket.into())?),
        };
        Ok(Self { listener, is_remote: address.is_remote() })
    }

    async fn open(self, desk: Desk) {
        let room = Arc::new(Semaphore::new(ADMIN_CONNECTIONS_MAX));
        while let Ok(place) = room.clone().acquire_owned().await {
            if let Err(error) = self.take_one(&desk, place).await {
                tracing::warn!(%error, "an admin address cannot take a connection");
                sleep(ADMIN_ACCEPT_PAUSE).await;
            }
        }
    }

    /// `place` is held until the connection is over.
    async fn take_one(&self, desk: &Desk, place: impl Send + Sync + 'static) -> io::Result<()> {
        let desk = desk.clone();
        match &self.listener {
            Listener::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                tokio::spawn(async move {
                    desk.converse(stream, Arrival::Unix).await;
                    drop(place);
                });
            }
            Listener::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                let arrival = Arrival::Tcp(stream.local_addr()?.ip());
                let tls = desk.rules.load().acceptor.clone().filter(|_| self.is_remote);
                tokio::spawn(async move {
                    match tls {
                        None => desk.converse(stream, arrival).await,
                        Some(tls) => desk.converse_in_tls(stream, arrival, &tls, peer).await,
                    }
                    drop(place);
                });
            }
        }
        Ok(())
    }
}

/// What answers.
#[derive(Clone)]
struct Desk {
    router: Router,
    rules: Arc<ArcSwap<Rules>>,
}

impl Desk {
    async fn converse_in_tls(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        arrival: Arrival,
        tls: &Acceptor,
        peer: SocketAddr,
    ) {
        let tls = TlsAcceptor::from(tls.config());
        match timeout(ADMIN_HEAD_WAIT, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.converse(stream, arrival).await,
            Ok(Err(error)) => tracing::info!(%peer, %error, "an admin connection without TLS"),
            Err(_) => tracing::info!(%peer, "an admin connection without TLS in time"),
        }
    }

    async fn converse(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        arrival: Arrival,
    ) {
        let answer = service_fn(|request: Request<Incoming>| {
            let desk = self.clone();
            async move { Ok::<_, Infallible>(desk.answer(arrival, request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(ADMIN_HEAD_WAIT)
            .max_buf_size(ADMIN_HEAD_MAX)
            .max_headers(ADMIN_FIELDS_MAX)
            .serve_connection(TokioIo::new(stream), answer);
        match timeout(ADMIN_CONNECTION_WAIT, connection).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "an admin connection"),
            Err(_) => tracing::debug!("an admin connection lasted too long"),
        }
    }

    async fn answer(&self, arrival: Arrival, request: Request<Incoming>) -> Response {
        let rules = self.rules.load_full();
        let mut response = match rules.access.judge(arrival, &request) {
            Err(refusal) => refuse(refusal, request.uri().path()),
            Ok((caller, right)) => self.pass_on(caller, right, request).await,
        };
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }

    /// Have it answered; what changes something is logged, with who asked for it.
    async fn pass_on(&self, caller: Caller, right: Right, request: Request<Incoming>) -> Response {
        let by = caller.name.clone();
        let asked = (right == Right::Operate).then(|| request.uri().clone());
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(caller);
        let router = TowerToHyperService::new(self.router.clone());
        let Ok(response) = router.call(request).await;
        if let Some(asked) = asked {
            let (by, status) = (by.as_deref().unwrap_or("-"), response.status().as_u16());
            tracing::info!(by, status, asked = %asked, "an operator's request");
        }
        response
    }
}

/// Whoever is refused has to connect again: what else was sent is not read.
fn refuse(refusal: Refusal, path: &str) -> Response {
    let mut response = Refused(refusal.status(), refusal.words().to_owned()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    if refusal == Refusal::Unauthorized {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if refusal == Refusal::Method
        && let Ok(allowed) = roles::allowed(path).try_into()
    {
        headers.insert(header::ALLOW, allowed);
    }
    response
}
