//! Publish events to an exchange of AMQP 0-9-1 (RabbitMQ, LavinMQ), each one confirmed.
//!
//! In: batches. Out: messages; whether the broker has them. The exchange, and what is bound to it,
//! are there already: who reads events is for the broker's operator to say. An event that is routed
//! nowhere is not taken.

mod session;
mod wire;

use tokio::time::timeout;

use crate::base::limits::EXPORT_REST_MAX;
use crate::base::time::Monotonic;
use crate::config::options::{AmqpExchange, Broker, Outlet};
use crate::control::exporters::amqp::session::{Message, Session};
use crate::control::exporters::batch::{Batch, kind_of, named_by};
use crate::control::exporters::dial::{Dialer, Link};
use crate::control::exporters::secret::{Login, SecretError};
use crate::control::exporters::worker::Refused;

/// The brokers of a cluster.
pub(super) struct Amqp {
    exchange: AmqpExchange,
    /// The broker whose turn it is.
    turn: usize,
    outlet: Outlet,
    login: Login,
    dialer: Dialer,
    /// `None` until it is connected, and after a failure: the next one may find another broker.
    connection: Option<(Link, Session)>,
    /// When something was published last.
    used: Monotonic,
}

impl Amqp {
    pub(super) fn new(exchange: &AmqpExchange, outlet: &Outlet) -> Result<Self, SecretError> {
        Ok(Self {
            exchange: exchange.clone(),
            turn: 0,
            login: Login::parse(outlet.secret.as_deref().map_or(&[], Vec::as_slice))?,
            dialer: Dialer::new(outlet),
            outlet: outlet.clone(),
            connection: None,
            used: Monotonic(0),
        })
    }

    /// Publish a batch, and wait until the broker has all of it.
    pub(super) async fn publish(&mut self, batch: &Batch, now: Monotonic) -> Result<(), Refused> {
        self.used = now;
        let longest = self.outlet.exporter.timeout;
        let why = match timeout(longest, self.hand_over(batch)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(refused)) => refused,
            Err(_) => Refused::because(match self.blocked() {
                None => "no answer in time".to_owned(),
                Some(why) => format!("the broker takes nothing at present: {why}"),
            }),
        };
        self.connection = None;
        Err(why)
    }

    fn blocked(&self) -> Option<&str> {
        self.connection.as_ref().and_then(|(_, session)| session.blocked.as_deref())
    }

    async fn hand_over(&mut self, batch: &Batch) -> Result<(), Refused> {
        if self.connection.is_none() {
            self.connect().await?;
        }
        let Some((link, session)) = &mut self.connection else {
            return Err(Refused::because("no connection"));
        };
        for one in &batch.events {
            let body = batch.line(one);
            session.publish(&Message {
                exchange: &self.exchange.name,
                key: &named_by(&self.exchange.routing_key, body),
                id: &one.id(&self.outlet.node),
                kind: kind_of(body),
                node: &self.outlet.node,
                timestamp: (one.time.0 / 1_000).unsigned_abs(),
                body,
            });
        }
        loop {
            if let Some(settled) = session.settled() {
                return settled.map_err(Refused::because);
            }
            let octets = link.exchange(&mut session.output).await.map_err(Refused::because)?;
            session.handle_bytes(octets).map_err(Refused::because)?;
        }
    }

    /// Connect to the next broker that takes us.
    async fn connect(&mut self) -> Result<(), Refused> {
        let mut troubles = Vec::new();
        for _ in 0..self.exchange.brokers.0.len() {
            let broker = &self.exchange.brokers.0[self.turn % self.exchange.brokers.0.len()];
            // Whatever becomes of this one, time running out included: the next is another.
            self.turn += 1;
            match self.open(broker).await {
                Ok(connection) => {
                    self.connection = Some(connection);
                    return Ok(());
                }
                Err(refused) => troubles.push(format!("{broker}: {}", refused.words)),
            }
        }
        Err(Refused::because(troubles.join("; ")))
    }

    async fn open(&self, broker: &Broker) -> Result<(Link, Session), Refused> {
        let mut link = self.dialer.connect(broker).await.map_err(Refused::because)?;
        let name = format!("relay-fast {} {}", self.outlet.node, self.outlet.exporter.name);
        let mut session = Session::new(self.login.clone(), &self.exchange.vhost, name);
        while !session.is_ready() {
            let octets = link.exchange(&mut session.output).await.map_err(Refused::because)?;
            session.handle_bytes(octets).map_err(Refused::because)?;
        }
        Ok((link, session))
    }

    /// Nothing is to be published at present: a connection that rests for long is closed.
    pub(super) async fn rest(&mut self, now: Monotonic) {
        if now.since(self.used) < EXPORT_REST_MAX {
            return;
        }
        let Some((mut link, mut session)) = self.connection.take() else { return };
        session.close();
        // It goes anyway; the broker's log need not say that it broke.
        let farewell = link.exchange(&mut session.output);
        drop(timeout(self.outlet.exporter.timeout, farewell).await);
    }
}
