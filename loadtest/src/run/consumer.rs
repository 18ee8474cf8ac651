//! Somebody who is handed the relay's events by webhook, dies for a while, and comes back.
//!
//! Out: each event's number once, however often it came. Invariant: what is not signed as Standard
//! Webhooks has it is not taken.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use aws_lc_rs::hmac;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hashbrown::HashSet;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Octets of the secret (Standard Webhooks: 24 to 64).
const SECRET_BYTES: usize = 32;

/// What was taken so far.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// Shard and sequence of each event.
    pub(crate) events: HashSet<(u64, u64)>,
    /// Events that came again.
    pub(crate) repeated: u64,
    /// Batches that were not taken, since their signature was wrong.
    pub(crate) forged: u64,
}

/// The consumer.
#[derive(Debug)]
pub(crate) struct Consumer {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    secret: [u8; SECRET_BYTES],
    taken: Mutex<Taken>,
}

#[derive(Deserialize)]
struct Batch {
    data: Vec<Numbered>,
}

#[derive(Deserialize)]
struct Numbered {
    shard: u64,
    sequence: u64,
}

impl Consumer {
    /// Listens on a port of its own.
    pub(crate) async fn start() -> Result<Self> {
        let mut secret = [0; SECRET_BYTES];
        aws_lc_rs::rand::fill(&mut secret).map_err(|_| anyhow::anyhow!("no random octets"))?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.context("a port for the consumer of events")?;
        let address = listener.local_addr().context("asking for the consumer's address")?;
        let shared = Arc::new(Shared { secret, taken: Mutex::default() });
        let mut consumer = Self { address, shared, serving: None };
        consumer.serve(listener);
        Ok(consumer)
    }

    fn serve(&mut self, listener: TcpListener) {
        let router = Router::new().route("/", post(take)).with_state(Arc::clone(&self.shared));
        self.serving = Some(tokio::spawn(async move {
            // It ends with its task.
            let _ended = axum::serve(listener, router).await;
        }));
    }

    /// Where events are posted to.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// The content of the file of what is signed with.
    pub(crate) fn secret(&self) -> String {
        format!("whsec_{}\n", BASE64.encode(self.shared.secret))
    }

    /// Connections are refused from now on.
    pub(crate) async fn die(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            // Its listener is closed then.
            let _cancelled = serving.await;
        }
    }

    /// Takes events again.
    pub(crate) async fn revive(&mut self) -> Result<()> {
        let listener = TcpListener::bind(self.address).await;
        self.serve(listener.with_context(|| format!("listening on {} again", self.address))?);
        Ok(())
    }

    /// Looks at what was taken.
    pub(crate) fn look<T>(&self, at: impl FnOnce(&Taken) -> T) -> T {
        at(&self.shared.taken.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn take(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let mut taken = shared.taken.lock().unwrap_or_else(PoisonError::into_inner);
    if !is_signed(&shared.secret, &headers, &body) {
        taken.forged += 1;
        return StatusCode::UNAUTHORIZED;
    }
    let Ok(Batch { data }) = serde_json::from_slice(&body) else {
        return StatusCode::BAD_REQUEST;
    };
    for Numbered { shard, sequence } in data {
        if !taken.events.insert((shard, sequence)) {
            taken.repeated += 1;
        }
    }
    StatusCode::NO_CONTENT
}

/// Standard Webhooks: `v1,` and the HMAC-SHA256 of id, time and body, with dots between.
fn is_signed(secret: &[u8], headers: &HeaderMap, body: &[u8]) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let [Some(id), Some(time), Some(signatures)] =
        ["webhook-id", "webhook-timestamp", "webhook-signature"].map(text)
    else {
        return false;
    };
    let signed = [id.as_bytes(), b".", time.as_bytes(), b".", body].concat();
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let is_right = |signature: &str| {
        let octets = signature.strip_prefix("v1,").and_then(|text| BASE64.decode(text).ok());
        octets.is_some_and(|octets| hmac::verify(&key, &signed, &octets).is_ok())
    };
    signatures.split(' ').any(is_right)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(consumer: &Consumer, body: &str, secret: &[u8]) -> u16 {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let tag = hmac::sign(&key, format!("msg_1.17.{body}").as_bytes());
        let agent: ureq::Agent =
            ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let answer = agent
            .post(consumer.url())
            .header("webhook-id", "msg_1")
            .header("webhook-timestamp", "17")
            .header("webhook-signature", format!("v1,{}", BASE64.encode(tag)))
            .send(body);
        answer.map_or(0, |answer| answer.status().as_u16())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_event_counts_once_and_only_if_it_is_signed() {
        let mut consumer = Consumer::start().await.unwrap();
        let secret = consumer.shared.secret;
        let body = r#"{"data":[{"shard":0,"sequence":7},{"shard":1,"sequence":7}]}"#;
        assert_eq!(post(&consumer, body, &secret), 204);
        assert_eq!(post(&consumer, body, &secret), 204);
        assert_eq!(post(&consumer, body, b"another"), 401);
        assert_eq!(post(&consumer, "{}", &secret), 400);
        let counts = |taken: &Taken| (taken.events.len(), taken.repeated, taken.forged);
        assert_eq!(consumer.look(counts), (2, 2, 1));
        consumer.die().await;
        assert_eq!(post(&consumer, body, &secret), 0, "nobody is there");
        consumer.revive().await.unwrap();
        assert_eq!(post(&consumer, body, &secret), 204);
    }
}
