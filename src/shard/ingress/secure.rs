//! Put TLS between a client and its session.
//!
//! In: what the platform received, what the session says. Out: plain octets for the session, octets
//! for the platform. Invariant: octets that came in clear never reach a session that takes them for
//! protected ones, nor the other way round.

use std::mem;

use crate::outcome::counters::Count;
use crate::shard::commit::Commit;
use crate::shard::context::Context;
use crate::shard::ingress::Inbound;
use crate::shard::platform::Platform;
use crate::smtp::sasl::{CHANNEL_LABEL, Channel};
use crate::tls::{Read, Tls};

impl Inbound {
    /// The session awaits a handshake: what comes now is that. Without a certificate any more (the
    /// configuration is another since it was offered) the session is over.
    pub(super) fn expect_handshake<P: Platform>(&mut self, cx: &Context<'_, P>) {
        let acceptor = cx.settings.acceptor(self.client.listener);
        match acceptor.map(Tls::accept) {
            Some(Ok(tls)) => self.tls = Some(Box::new(tls)),
            Some(Err(_)) | None => self.session.handle_end(),
        }
    }

    /// Take what the client sent.
    pub(super) fn received<P: Platform>(
        &mut self,
        bytes: &[u8],
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        let Some(tls) = &mut self.tls else { return self.take(bytes, commit, cx) };
        let was_up = tls.is_up();
        let mut plain = mem::take(&mut cx.common.plain);
        let read = tls.handle_bytes(bytes, &mut plain);
        if !was_up && tls.is_up() {
            let resumed = tls.facts().is_some_and(|facts| facts.resumed);
            let count = if resumed { Count::TlsInResumed } else { Count::TlsInFull };
            cx.common.counters.increment(count);
            self.session.bind(Channel(tls.exporter(CHANNEL_LABEL)));
            self.session.secured(cx.mono());
        }
        if was_up || self.session.is_secured() {
            self.take(&plain, commit, cx);
        }
        plain.clear();
        cx.common.plain = plain;
        match read {
            Ok(Read::Open) => {}
            Ok(Read::Ended) => self.end(),
            Err(error) => {
                if !was_up {
                    cx.common.counters.increment(Count::TlsInFailed);
                }
                let client = self.client.peer;
                tracing::debug!(%client, %error, "TLS with this client failed");
                self.end();
            }
        }
    }

    /// Whether the client has said who it is, or has shown a certificate that the listener trusts:
    /// no other is taken. A proxy's certificate says nothing of the client behind it.
    pub(super) fn is_vouched(&self) -> bool {
        let facts = self.tls.as_ref().and_then(|tls| tls.facts());
        let certified = facts.is_some_and(|facts| facts.certified);
        self.session.identity().is_some() || (certified && !self.session.is_presented())
    }

    /// The client will send nothing more.
    pub(super) fn end(&mut self) {
        self.ended = true;
        if !self.waits() {
            self.session.handle_end();
        }
    }

    /// Send what the session says; through TLS, and with its farewell, where there is that.
    pub(super) fn send<P: Platform>(&mut self, cx: &mut Context<'_, P>) {
        let Some(tls) = &mut self.tls else {
            if self.session.has_output() {
                let mut output = cx.platform.buffer();
                self.session.take_output(&mut output);
                self.give(output, cx);
            }
            return;
        };
        if self.session.has_output() && tls.is_up() {
            let mut plain = mem::take(&mut cx.common.plain);
            self.session.take_output(&mut plain);
            tls.send(&plain);
            plain.clear();
            cx.common.plain = plain;
        }
        if self.session.is_over() && self.committing.is_none() && tls.is_up() {
            tls.close();
        }
        if tls.has_output() {
            let mut output = cx.platform.buffer();
            tls.take_output(&mut output);
            self.give(output, cx);
        }
    }

    fn give<P: Platform>(&mut self, output: Vec<u8>, cx: &mut Context<'_, P>) {
        self.unsent += output.len();
        cx.platform.send(self.client.connection, output);
    }
}
