//! Send events by HTTP POST: signed, many at a time, as Standard Webhooks has it
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).
//!
//! In: batches. Out: requests; whether they were taken, and when to come again if not. The id of
//! a request is made of its events: the same events have the same id, however often they are sent,
//! by whichever run.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use ureq::Agent;
use ureq::http::{Response, StatusCode};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::base::limits::EXPORT_ANSWER_MAX;
use crate::base::time::WallTime;
use crate::config::options::Outlet;
use crate::control::exporters::batch::Batch;
use crate::control::exporters::secret::{SecretError, Signer};
use crate::control::exporters::worker::Refused;

/// Who is called.
#[derive(Clone, Debug)]
pub(super) struct Webhook {
    url: Box<str>,
    node: Box<str>,
    agent: Agent,
    signer: Arc<Signer>,
}

impl Webhook {
    pub(super) fn new(url: &str, outlet: &Outlet) -> Result<Self, SecretError> {
        let secret = outlet.secret.as_deref().map_or(&[][..], Vec::as_slice);
        let signer = Arc::new(Signer::new(secret)?);
        let authorities = outlet.authorities.iter().flat_map(|roots| roots.certificates());
        let roots: Vec<_> = authorities.map(|der| Certificate::from_der(der).to_owned()).collect();
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::new(roots)))
            .unversioned_rustls_crypto_provider(crate::tls::provider())
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .timeout_global(Some(outlet.exporter.timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            .https_only(outlet.exporter.to.speaks_tls())
            .user_agent(concat!("relay-fast/", env!("CARGO_PKG_VERSION")))
            .proxy(None)
            .build();
        let (url, node) = (url.into(), outlet.node.clone());
        Ok(Self { url, node, agent: config.new_agent(), signer })
    }

    /// Send a batch, at `now`; blocks.
    pub(super) fn send(&self, batch: &Batch, now: WallTime) -> Result<(), Refused> {
        let body = body(&self.node, batch);
        let id = id(&body);
        let timestamp = now.0 / 1_000;
        let request = self
            .agent
            .post(&*self.url)
            .content_type("application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", timestamp.to_string())
            .header("webhook-signature", self.signer.sign(&id, timestamp, &body));
        match request.send(&body[..]) {
            Ok(response) => {
                let judged = judge(&response, now);
                // A connection whose answer was read to its end is used again.
                let body = response.into_body().into_with_config().limit(EXPORT_ANSWER_MAX);
                drop(body.read_to_vec());
                judged
            }
            Err(error) => Err(Refused::because(error)),
        }
    }
}

fn judge<B>(response: &Response<B>, now: WallTime) -> Result<(), Refused> {
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let after = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
    Err(Refused {
        words: status.to_string(),
        retry_after: after.and_then(|text| retry_after(text, now)),
        is_too_large: status == StatusCode::PAYLOAD_TOO_LARGE,
    })
}

/// RFC 9110 §10.2.3: a time, or seconds.
fn retry_after(text: &str, now: WallTime) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let time = jiff::fmt::rfc2822::parse(text.trim()).ok()?;
    Some(WallTime(time.timestamp().as_millisecond()).since(now))
}

/// `{"type":"relay-fast.events","timestamp":"…","node":"…","data":[…]}`: the time is the first
/// event's.
fn body(node: &str, batch: &Batch) -> Vec<u8> {
    let time = batch.events.first().map_or(WallTime(0), |first| first.time).to_rfc3339();
    let head = format!("\"timestamp\":\"{time}\",\"node\":\"{node}\",\"data\":[");
    let mut body = format!("{{\"type\":\"relay-fast.events\",{head}").into_bytes();
    for (place, one) in batch.events.iter().enumerate() {
        if place > 0 {
            body.push(b',');
        }
        body.extend_from_slice(batch.line(one));
    }
    body.extend_from_slice(b"]}");
    body
}

/// Made of what is said: nobody needs to remember it.
fn id(body: &[u8]) -> String {
    let digest = digest(&SHA256, body);
    let hex: String = digest.as_ref()[..16].iter().map(|octet| format!("{octet:02x}")).collect();
    format!("events_{hex}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::ShardId;
    use crate::control::exporters::batch::One;

    fn batch(lines: &[&str]) -> Batch {
        let mut batch = Batch::default();
        for (number, line) in (7..).zip(lines) {
            let start = batch.text.len();
            batch.text.extend_from_slice(line.as_bytes());
            let place = start..batch.text.len();
            batch.text.push(b'\n');
            let time = WallTime(1_795_491_661_007);
            batch.events.push(One { shard: ShardId(0), sequence: number, time, place });
        }
        batch
    }

    #[test]
    fn a_body_is_one_object_with_all_events() {
        let body = body("mx1.example", &batch(&["{\"a\":1}", "{\"b\":\"\\n\"}"]));
        let expected = "{\"type\":\"relay-fast.events\",\"timestamp\":\"2026-11-24T03:41:01.007Z\",\
            \"node\":\"mx1.example\",\"data\":[{\"a\":1},{\"b\":\"\\n\"}]}";
        assert_eq!(String::from_utf8(body.clone()).unwrap(), expected);
        let read: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(read["data"][1]["b"], "\n");
    }

    #[test]
    fn the_same_events_have_the_same_id_and_others_another() {
        let one = |node: &str, line: &str| id(&body(node, &batch(&[line])));
        let same = one("a.example", "{\"a\":1}");
        assert_eq!(one("a.example", "{\"a\":1}"), same);
        assert_ne!(one("a.example", "{\"a\":2}"), same);
        assert_ne!(one("b.example", "{\"a\":1}"), same);
        assert_eq!(same.len(), "events_".len() + 32);
    }

    #[test]
    fn answers_say_whether_and_when_to_come_again() {
        let now = WallTime(1_445_412_470_000);
        let answer = |status: u16, after: Option<&str>| {
            let mut response = Response::builder().status(status);
            if let Some(after) = after {
                response = response.header("Retry-After", after);
            }
            judge(&response.body(()).unwrap(), now)
        };
        assert!(answer(200, None).is_ok() && answer(204, None).is_ok());
        for status in [301, 307, 400, 401, 404, 410, 429, 500, 503] {
            let refused = answer(status, None).unwrap_err();
            assert!(refused.words.starts_with(&status.to_string()) && !refused.is_too_large);
            assert_eq!(refused.retry_after, None);
        }
        assert!(answer(413, None).unwrap_err().is_too_large);
        let after = |text| answer(429, Some(text)).unwrap_err().retry_after;
        assert_eq!(after("120"), Some(Duration::from_secs(120)));
        assert_eq!(after("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::from_secs(10)));
        assert_eq!(after("Wed, 21 Oct 2015 07:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(after("soon"), None);
    }
}
