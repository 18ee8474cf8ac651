//! Publish events to NATS JetStream, each one acknowledged by its stream.
//!
//! In: batches. Out: messages; whether the stream has them. `Nats-Msg-Id` is node, shard and
//! number: a stream drops what it has already, within its window for duplicates. The stream is
//! there already: how long it keeps what is for its operator to say.

use std::time::Duration;

use async_nats::ConnectOptions;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::message::PublishMessage;
use serde::Deserialize;

use crate::config::options::Outlet;
use crate::control::exporters::batch::{Batch, One};
use crate::control::exporters::worker::Refused;

/// A stream's servers.
pub(super) struct Nats {
    servers: Vec<Box<str>>,
    subject: Box<str>,
    outlet: Outlet,
    /// `None` until it is connected, and after a failure: the next one may find another server.
    context: Option<Context>,
}

#[derive(Deserialize)]
struct Kinded<'a> {
    kind: &'a str,
}

impl Nats {
    pub(super) fn new(servers: &[Box<str>], subject: &str, outlet: &Outlet) -> Self {
        Self {
            servers: servers.to_vec(),
            subject: subject.into(),
            outlet: outlet.clone(),
            context: None,
        }
    }

    /// Publish a batch, and wait until the stream has all of it.
    pub(super) async fn publish(&mut self, batch: &Batch) -> Result<(), Refused> {
        let context = match self.context.take() {
            Some(context) => context,
            None => self.connect().await?,
        };
        let mut acknowledged = Vec::new();
        for one in &batch.events {
            let line = batch.line(one);
            let message = PublishMessage::build()
                .payload(line.to_vec().into())
                .header("Relay-Fast-Node", &*self.outlet.node)
                .message_id(message_id(&self.outlet.node, one));
            let sent = context.send_publish(subject(&self.subject, line), message).await;
            acknowledged.push(sent.map_err(Refused::because)?);
        }
        for one in acknowledged {
            one.await.map_err(Refused::because)?;
        }
        self.context = Some(context);
        Ok(())
    }

    async fn connect(&self) -> Result<Context, Refused> {
        let mut options = match &self.outlet.secret {
            None => ConnectOptions::new(),
            Some(secret) => {
                let text = str::from_utf8(secret).map_err(Refused::because)?;
                ConnectOptions::with_credentials(text).map_err(Refused::because)?
            }
        };
        let timeout = self.outlet.exporter.timeout;
        options = options.name("relay-fast").connection_timeout(timeout).max_reconnects(1);
        if self.outlet.exporter.to.speaks_tls() {
            // Given a configuration of TLS, it reads the machine's authorities all the same
            // (0.51), which may be closed to this process; given a file, it does not.
            let authorities = self.outlet.authorities_file.clone();
            options = options.require_tls(true).add_root_certificates(authorities);
        }
        let servers: Vec<&str> = self.servers.iter().map(|server| &**server).collect();
        let client = options.connect(servers).await.map_err(Refused::because)?;
        // All of a batch may be on its way.
        let batch = self.outlet.exporter.batch;
        Ok(ContextBuilder::new().timeout(timeout).max_ack_inflight(batch).build(client))
    }

    /// How long a batch may take: its connection, and its messages.
    pub(super) fn timeout(&self) -> Duration {
        self.outlet.exporter.timeout
    }
}

/// What an event is published under.
fn subject(pattern: &str, line: &[u8]) -> String {
    let kind = serde_json::from_slice::<Kinded<'_>>(line).map_or("other", |line| line.kind);
    pattern.replace("{kind}", kind)
}

fn message_id(node: &str, one: &One) -> String {
    format!("{node}/{}/{}", one.shard, one.sequence)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::ShardId;
    use crate::base::time::WallTime;

    #[test]
    fn an_event_has_the_subject_of_its_kind_and_an_id_of_its_own() {
        let line = b"{\"sequence\":7,\"kind\":\"bounced\"}";
        assert_eq!(subject("mail.{kind}.node1", line), "mail.bounced.node1");
        assert_eq!(subject("mail.events", line), "mail.events");
        assert_eq!(subject("mail.{kind}", b"{}"), "mail.other");
        let one = One { shard: ShardId(3), sequence: 7, time: WallTime(0), place: 0..1 };
        assert_eq!(message_id("mx1.example", &one), "mx1.example/3/7");
    }
}
