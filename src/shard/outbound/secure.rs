//! Put TLS between the sending side of SMTP and its connection.
//!
//! In: what the platform received, what the machine has to send. Out: plain octets for the machine,
//! octets for the platform. Lives on: the owner shard.

use std::mem;
use std::sync::Arc;

use crate::mail::route::TlsLevel;
use crate::outcome::counters::Count;
use crate::shard::commands::Said;
use crate::shard::context::Context;
use crate::shard::outbound::Outbound;
use crate::shard::platform::Platform;
use crate::tls::{Clock, Connector, Fault, PeerName, Read, Roots, Tls, TlsError};

/// What TLS a connection is to have, and has.
#[derive(Debug)]
pub(in crate::shard) struct Protection {
    /// As its site wants it.
    level: TlsLevel,
    /// How the handshake begins, where there is to be one.
    connector: Option<Arc<Connector>>,
    /// Who the certificate is to be for.
    name: PeerName,
    /// From the handshake on.
    tls: Option<Box<Tls>>,
    /// What was wrong in the handshake.
    fault: Option<Fault>,
    /// For people: what there is, or why there is none though it was offered.
    words: Option<Arc<str>>,
}

impl Protection {
    /// None so far. `failed`: why TLS with this peer did not come about a while ago, for which the
    /// connection stays in clear.
    pub(in crate::shard) fn new(
        level: TlsLevel,
        connector: Option<Arc<Connector>>,
        name: PeerName,
        failed: Option<Arc<str>>,
    ) -> Self {
        let words = failed.map(|why| format!("none: {why}").into());
        Self { level, connector, name, tls: None, fault: None, words }
    }

    /// What there is, as events tell it.
    pub(in crate::shard) fn words(&self) -> Option<Arc<str>> {
        self.words.clone()
    }

    /// Whether all goes through TLS.
    pub(in crate::shard) fn is_up(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_up())
    }

    /// What a handshake came to nothing for; `None` where there was none.
    pub(in crate::shard) fn fault(&self) -> Option<Fault> {
        self.tls.is_some().then(|| self.fault.unwrap_or(Fault::Other))
    }

    /// Whether the peer is who it is to be, had anyone asked for that.
    pub(in crate::shard) fn judge(&self, trusted: &Roots, clock: &Clock) -> Result<(), TlsError> {
        self.tls.as_ref().map_or(Ok(()), |tls| tls.judge(&self.name, trusted, clock))
    }

    /// Whether the mail may go out in clear where TLS does not come about.
    pub(in crate::shard) fn is_optional(&self) -> bool {
        self.level == TlsLevel::Opportunistic
    }
}

impl Outbound {
    /// The peer is ready for the handshake.
    pub(in crate::shard) fn start_tls<P: Platform>(&mut self, cx: &mut Context<'_, P>) {
        let Some(client) = &mut self.client else { return };
        let Some(connector) = &self.protection.connector else {
            return client.fail_handshake("no certificate authorities to verify with");
        };
        match Tls::connect(connector, self.protection.name.clone()) {
            Ok(tls) => self.protection.tls = Some(Box::new(tls)),
            Err(error) => client.fail_handshake(&error.to_string()),
        }
        self.pump(cx);
    }

    /// The peer sent this.
    pub(super) fn peer_said<P: Platform>(&mut self, bytes: &[u8], cx: &mut Context<'_, P>) {
        let Some(client) = &mut self.client else { return };
        let Some(tls) = &mut self.protection.tls else {
            if let Some(followed) = &mut self.followed {
                followed.hear(bytes, cx.now.wall, &mut cx.common.traces);
            }
            return client.handle_bytes(bytes, cx.mono());
        };
        let was_up = tls.is_up();
        let mut plain = mem::take(&mut cx.common.plain);
        let read = tls.handle_bytes(bytes, &mut plain);
        if !was_up && let Some(facts) = tls.facts().filter(|_| tls.is_up()) {
            let count = if facts.resumed { Count::TlsOutResumed } else { Count::TlsOutFull };
            cx.common.counters.increment(count);
            let verified = match self.protection.level {
                TlsLevel::Verify | TlsLevel::Policy | TlsLevel::Required => ", verified",
                TlsLevel::Dane => ", verified by DANE",
                TlsLevel::None | TlsLevel::Opportunistic | TlsLevel::MtaSts => "",
            };
            self.protection.words = Some(format!("{}{verified}", facts.version).into());
            if let Some(followed) = &self.followed {
                let words = self.protection.words.as_deref().unwrap_or("TLS");
                followed.note(Said::Note, words, cx.now.wall, &mut cx.common.traces);
            }
            client.secured(cx.mono());
        }
        if let Some(followed) = &mut self.followed {
            followed.hear(&plain, cx.now.wall, &mut cx.common.traces);
        }
        client.handle_bytes(&plain, cx.mono());
        plain.clear();
        cx.common.plain = plain;
        match read {
            Ok(Read::Open) => {}
            Ok(Read::Ended) => client.handle_end(cx.mono()),
            Err(error) if was_up => {
                tracing::debug!(peer = %self.peer, %error, "TLS with this peer failed");
                client.handle_end(cx.mono());
            }
            Err(error) => {
                cx.common.counters.increment(Count::TlsOutFailed);
                self.protection.fault = Some(error.fault());
                client.fail_handshake(&error.to_string());
            }
        }
    }

    /// Give `output` of the machine to the platform; through TLS, and with its farewell, where
    /// there is that.
    pub(super) fn give<P: Platform>(&mut self, mut output: Vec<u8>, cx: &mut Context<'_, P>) {
        if let Some(tls) = &mut self.protection.tls {
            if tls.is_up() {
                if !output.is_empty() {
                    tls.send(&output);
                }
                if self.client.as_ref().is_some_and(|client| client.is_over()) {
                    tls.close();
                }
            }
            output.clear();
            cx.common.plain = output;
            output = Vec::new();
            if tls.has_output() {
                output = cx.platform.buffer();
                tls.take_output(&mut output);
            }
        }
        if !output.is_empty() {
            self.unsent += output.len();
            cx.platform.send(self.id, output);
        }
    }
}
