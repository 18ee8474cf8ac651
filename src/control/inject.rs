//! `POST /v1/inject`: take mail over HTTP, as SMTP takes it.
//!
//! In: JSON, see `inject/request.rs`. Out: what came of each recipient, `inject/answer.rs`.
//! Invariant: a recipient that is told to have a message has it on stable storage; a request under
//! an `Idempotency-Key` that was answered so is not done a second time. JSON, templates, base64 and
//! lookups are worked on beside the control thread; what bodies and messages may take of memory is
//! bounded over all requests, and whoever finds no room is told to come again.

mod answer;
pub mod ask;
mod compose;
mod repeats;
mod request;
#[cfg(test)]
mod tests;
mod weight;
mod work;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use axum::body::{Body, to_bytes};
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::base::ids::ShardId;
use crate::base::limits::{
    INJECT_AGAIN, INJECT_ALL_VALUES_MAX, INJECT_BODIES_MAX, INJECT_BODY_MAX, INJECT_BODY_WAIT,
    INJECT_KEY_MAX, INJECT_MESSAGES_MAX,
};
use crate::base::time::WallTime;
use crate::control::access::Caller;
use crate::control::api::Refusal;
use crate::control::commands::Shards;
use crate::control::inject::repeats::{Claim, Claims};
use crate::control::inject::work::Work;
use crate::policy::repeats::{Answered, Key, Mark, Repeats};
use crate::shard::settings::Settings;

pub use answer::{Outcome, Told};

/// What is needed to take mail.
#[derive(Clone)]
pub struct Injections(Arc<Inner>);

struct Inner {
    settings: Box<dyn Fn() -> Arc<Settings> + Send + Sync>,
    now: fn() -> WallTime,
    repeats: Arc<dyn Repeats>,
    claims: Claims,
    /// Room for bodies, and for messages, in units of [`UNIT`].
    bodies: Arc<Semaphore>,
    messages: Arc<Semaphore>,
    /// And for what bodies become once they are read.
    values: Arc<Semaphore>,
    /// The shard whose turn it is.
    turn: AtomicU8,
}

impl fmt::Debug for Injections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Injections")
    }
}

/// Octets by which room is given.
const UNIT: usize = 4 * 1024;

/// The units that so many octets take.
fn units(octets: usize) -> u32 {
    u32::try_from(octets.div_ceil(UNIT).max(1)).unwrap_or(u32::MAX)
}

impl Injections {
    /// By the settings in force, the clock, and what remembers answers.
    pub fn new(
        settings: impl Fn() -> Arc<Settings> + Send + Sync + 'static,
        now: fn() -> WallTime,
        repeats: Arc<dyn Repeats>,
    ) -> Self {
        let room = |octets: usize| Arc::new(Semaphore::new(octets / UNIT));
        Self(Arc::new(Inner {
            settings: Box::new(settings),
            now,
            repeats,
            claims: Claims::default(),
            bodies: room(INJECT_BODIES_MAX),
            messages: room(INJECT_MESSAGES_MAX),
            values: room(INJECT_ALL_VALUES_MAX),
            turn: AtomicU8::new(0),
        }))
    }

    /// The shard that takes the next message: each in turn.
    fn next(&self, shards: &Shards) -> ShardId {
        let all: Vec<_> = shards.ids().collect();
        let turn = usize::from(self.0.turn.fetch_add(1, Ordering::Relaxed));
        all[turn % all.len()]
    }
}

/// What is answered of them.
pub(super) fn router(shards: Shards, injections: Injections) -> Router {
    Router::new().route("/v1/inject", post(inject)).with_state((shards, injections))
}

/// What is answered, before it is a response.
#[derive(Debug)]
struct Reply {
    status: u16,
    body: Vec<u8>,
}

async fn inject(
    State((shards, injections)): State<(Shards, Injections)>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let key = match idempotency_key(&caller, &headers) {
        Ok(key) => key,
        Err(words) => return refuse(StatusCode::BAD_REQUEST, words),
    };
    let said =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let octets: usize = said.unwrap_or(INJECT_BODY_MAX);
    if octets > INJECT_BODY_MAX {
        let words = format!("a body has {INJECT_BODY_MAX} octets at most: send several");
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, words);
    }
    let Ok(room) = injections.0.bodies.clone().try_acquire_many_owned(units(octets)) else {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "452 4.3.1 Too much at once, come again");
    };
    let body = match timeout(INJECT_BODY_WAIT, to_bytes(body, octets)).await {
        Ok(Ok(body)) => body,
        Ok(Err(error)) => return refuse(StatusCode::BAD_REQUEST, error.to_string()),
        Err(_) => return refuse(StatusCode::REQUEST_TIMEOUT, "the body does not come"),
    };
    // Whoever asks may leave: what was begun is ended all the same, and can be asked for again.
    let task = tokio::spawn(async move {
        let done = respond(&shards, &injections, caller, key, body.into()).await;
        drop(room);
        done
    });
    task.await.unwrap_or_else(|error| {
        tracing::error!(%error, "mail over HTTP was not taken");
        refuse(StatusCode::INTERNAL_SERVER_ERROR, "451 4.3.0 It came to nothing, try again later")
    })
}

fn idempotency_key(caller: &Caller, headers: &HeaderMap) -> Result<Option<Key>, String> {
    let mut said = headers.get_all("idempotency-key").iter();
    let Some(key) = said.next() else { return Ok(None) };
    let is_key = |key: &&str| (1..=INJECT_KEY_MAX).contains(&key.len());
    match (key.to_str().ok().filter(is_key), said.next()) {
        (Some(key), None) => Ok(Some(Key::new(caller.name.as_deref().unwrap_or(""), key))),
        _ => Err(format!("one Idempotency-Key, of 1 to {INJECT_KEY_MAX} printable octets")),
    }
}

/// Do what is asked, unless it was done already.
async fn respond(
    shards: &Shards,
    injections: &Injections,
    caller: Caller,
    key: Option<Key>,
    body: Vec<u8>,
) -> Response {
    let Some(key) = key else { return told(work(shards, injections, caller, body).await, false) };
    let mark = Mark::new(&body);
    // Held until its answer is kept.
    let _claim = match injections.0.claims.claim(key) {
        Claim::Mine(claim) => claim,
        Claim::Taken => {
            let words = "a request with this Idempotency-Key is being worked on: ask again";
            return refuse(StatusCode::CONFLICT, words);
        }
    };
    let (now, store) = ((injections.0.now)(), injections.0.repeats.clone());
    let found = tokio::task::spawn_blocking(move || store.find(&key, now)).await;
    match found.map_err(|error| error.to_string()).map(|found| found.map_err(|e| e.to_string())) {
        Ok(Ok(None)) => {}
        Ok(Ok(Some(Answered { request, status, body, .. }))) if request == mark => {
            return told(Reply { status, body }, true);
        }
        Ok(Ok(Some(_))) => {
            let words = "this Idempotency-Key was another request's: choose another key";
            return refuse(StatusCode::UNPROCESSABLE_ENTITY, words);
        }
        Ok(Err(error)) | Err(error) => {
            tracing::error!(%error, "mail over HTTP is not taken");
            return refuse(StatusCode::SERVICE_UNAVAILABLE, "451 4.3.0 Try again later");
        }
    }
    let reply = work(shards, injections, caller, body).await;
    if reply.status == 200 {
        keep(injections, key, mark, &reply).await;
    }
    told(reply, false)
}

/// Remember an answer. Where that fails, what was accepted is accepted all the same: whoever asks
/// is told so, and the log says that a second time would be one too many.
async fn keep(injections: &Injections, key: Key, request: Mark, reply: &Reply) {
    let (at, store) = ((injections.0.now)(), injections.0.repeats.clone());
    let Reply { status, body } = reply;
    let answered = Answered { request, at, status: *status, body: body.clone() };
    let kept = tokio::task::spawn_blocking(move || store.keep(&key, &answered)).await;
    match kept {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "an Idempotency-Key is not known any more"),
        Err(error) => tracing::error!(%error, "an Idempotency-Key is not known any more"),
    }
}

async fn work(shards: &Shards, injections: &Injections, caller: Caller, body: Vec<u8>) -> Reply {
    let work = Work {
        shards: shards.clone(),
        injections: injections.clone(),
        settings: (injections.0.settings)(),
        tenant: caller.tenant,
        now: (injections.0.now)(),
    };
    match work.run(body).await {
        Ok((outcomes, is_batch)) => {
            let status = Outcome::status_of(&outcomes);
            let body = match (is_batch, outcomes.as_slice()) {
                (false, [only]) => serde_json::to_vec(only),
                _ => serde_json::to_vec(&outcomes),
            };
            Reply { status, body: body.expect("numbers and text are JSON") }
        }
        Err(request::Wrong(status, error)) => {
            let body = serde_json::to_vec(&Refusal { error }).expect("text is JSON");
            Reply { status, body }
        }
    }
}

fn told(reply: Reply, is_repeated: bool) -> Response {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let json = [(header::CONTENT_TYPE, "application/json")];
    let mut response = (status, json, reply.body).into_response();
    let headers = response.headers_mut();
    if is_repeated {
        headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, INJECT_AGAIN.as_secs().into());
    }
    response
}

fn refuse(status: StatusCode, words: impl Into<String>) -> Response {
    let mut response = (status, Json(Refusal { error: words.into() })).into_response();
    if [StatusCode::SERVICE_UNAVAILABLE, StatusCode::CONFLICT].contains(&status) {
        response.headers_mut().insert(header::RETRY_AFTER, INJECT_AGAIN.as_secs().into());
    }
    response
}
