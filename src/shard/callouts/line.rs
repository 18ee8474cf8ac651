//! One connection on which recipients are asked about: what the platform, TLS and the sending side
//! of SMTP say to each other.
//!
//! Lives on: the shard whose client names the recipients.

use std::mem;
use std::sync::Arc;

use crate::base::limits::{CALLOUT_IDLE_MAX, CALLOUT_PATIENCE};
use crate::base::time::Monotonic;
use crate::mail::address::Mailbox;
use crate::mail::route::{TlsLevel, UpstreamId};
use crate::outcome::counters::Count;
use crate::shard::context::{Context, Timer};
use crate::shard::platform::{ConnectionId, Platform};
use crate::smtp::client::{Client, Event, Options};
use crate::tls::{Connector, PeerName, Read, Tls};

/// A connection to an upstream relay.
#[derive(Debug)]
pub(super) struct Line {
    id: ConnectionId,
    pub(super) relay: UpstreamId,
    pub(super) use_of: Use,
    way: Way,
    /// `None` until the connection is there.
    client: Option<Client>,
    tls: Option<Box<Tls>>,
    /// When what it is used for must have come to its end.
    due: Monotonic,
    armed: Option<Monotonic>,
}

/// How a connection is to be run.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) options: Arc<Options>,
    pub(super) level: TlsLevel,
    /// How the handshake begins, where there is to be one.
    pub(super) connector: Option<Arc<Connector>>,
    /// Who the certificate is to be for.
    pub(super) name: PeerName,
}

/// What a connection is used for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// To come to terms with the peer.
    Opening,
    /// To ask about a recipient.
    Asking,
    /// For whoever comes.
    Resting,
    /// To say farewell.
    Parting,
}

impl Line {
    /// A connection that is being made.
    pub(super) fn new(id: ConnectionId, relay: UpstreamId, way: Way, now: Monotonic) -> Self {
        let due = now + CALLOUT_PATIENCE;
        let use_of = Use::Opening;
        Self { id, relay, use_of, way, client: None, tls: None, due, armed: None }
    }

    /// Whether the question may go out in clear where TLS does not come about.
    pub(super) fn is_tls_optional(&self) -> bool {
        self.way.level == TlsLevel::Opportunistic
    }

    /// The connection is there: wait for the greeting.
    pub(super) fn connected(&mut self, now: Monotonic) {
        self.client = Some(Client::new(self.way.options.clone(), now));
    }

    /// The peer sent this.
    pub(super) fn received<P: Platform>(&mut self, bytes: &[u8], cx: &mut Context<'_, P>) {
        let Some(client) = &mut self.client else { return };
        let Some(tls) = &mut self.tls else { return client.handle_bytes(bytes, cx.mono()) };
        let was_up = tls.is_up();
        let mut plain = mem::take(&mut cx.common.plain);
        let read = tls.handle_bytes(bytes, &mut plain);
        if !was_up && let Some(facts) = tls.facts().filter(|_| tls.is_up()) {
            let count = if facts.resumed { Count::TlsOutResumed } else { Count::TlsOutFull };
            cx.common.counters.increment(count);
            client.secured(cx.mono());
        }
        client.handle_bytes(&plain, cx.mono());
        plain.clear();
        cx.common.plain = plain;
        match read {
            Ok(Read::Open) => {}
            Ok(Read::Ended) => client.handle_end(cx.mono()),
            Err(_) if was_up => client.handle_end(cx.mono()),
            Err(error) => {
                cx.common.counters.increment(Count::TlsOutFailed);
                client.fail_handshake(&error.to_string());
            }
        }
    }

    /// The peer will say nothing more.
    pub(super) fn ended(&mut self, now: Monotonic) {
        if let Some(client) = &mut self.client {
            client.handle_end(now);
        }
    }

    /// A timer fired, perhaps too early.
    pub(super) fn fired(&mut self) {
        self.armed = None;
    }

    /// The peer is ready for the handshake; nothing in clear waits to be sent.
    pub(super) fn start_tls(&mut self) {
        let Some(client) = &mut self.client else { return };
        let Some(connector) = &self.way.connector else {
            return client.fail_handshake("no certificate authorities to verify with");
        };
        match Tls::connect(connector, self.way.name.clone()) {
            Ok(tls) => self.tls = Some(Box::new(tls)),
            Err(error) => client.fail_handshake(&error.to_string()),
        }
    }

    /// Ask about a recipient: the peer is ready for it.
    pub(super) fn ask(&mut self, recipient: Mailbox, now: Monotonic) {
        if let Some(client) = &mut self.client {
            client.ask(recipient, now);
            (self.use_of, self.due) = (Use::Asking, now + CALLOUT_PATIENCE);
        }
    }

    /// The peer is ready for the next question.
    pub(super) fn rest(&mut self, now: Monotonic) {
        (self.use_of, self.due) = (Use::Resting, now + CALLOUT_IDLE_MAX);
    }

    /// Part from the peer, which is ready for a question.
    pub(super) fn part(&mut self, now: Monotonic) {
        (self.use_of, self.due) = (Use::Parting, now + CALLOUT_IDLE_MAX);
        if let Some(client) = &mut self.client {
            client.quit(now);
        }
    }

    /// What the machine tells.
    pub(super) fn poll_event(&mut self) -> Option<Event> {
        self.client.as_mut()?.poll_event()
    }

    /// Whether nothing more will come of it: close it.
    pub(super) fn is_over(&self) -> bool {
        self.client.as_ref().is_some_and(Client::is_over)
    }

    /// Whether the time for what it is used for has passed.
    pub(super) fn is_due(&self, now: Monotonic) -> bool {
        self.due <= now
    }

    /// Send what the machine has, through TLS where there is that, and set the timer.
    pub(super) fn pump<P: Platform>(&mut self, cx: &mut Context<'_, P>) {
        let mut output = Vec::new();
        if let Some(client) = self.client.as_mut().filter(|client| client.has_output()) {
            client.take_output(&mut output);
        }
        if let Some(tls) = &mut self.tls {
            if tls.is_up() {
                tls.send(&output);
                if self.client.as_ref().is_some_and(Client::is_over) {
                    tls.close();
                }
            }
            output = Vec::new();
            if tls.has_output() {
                tls.take_output(&mut output);
            }
        }
        if !output.is_empty() {
            cx.platform.send(self.id, output);
        }
        cx.arm(&mut self.armed, Some(self.due), Timer::Callout(self.id));
    }
}
