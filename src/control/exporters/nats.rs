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

use crate::config::options::Outlet;
use crate::control::exporters::batch::{Batch, named_by};
use crate::control::exporters::worker::Refused;

/// A stream's servers.
pub(super) struct Nats {
    servers: Vec<Box<str>>,
    subject: Box<str>,
    outlet: Outlet,
    /// `None` until it is connected, and after a failure: the next one may find another server.
    context: Option<Context>,
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
                .message_id(one.id(&self.outlet.node));
            let sent = context.send_publish(named_by(&self.subject, line), message).await;
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
