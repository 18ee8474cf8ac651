//! Find out whether a client is who it says, and what it may do then.
//!
//! Invariant: a try is paid for before anything is looked up, and what it costs is the same for a
//! name that nobody has; a password is checked beside the shard's thread.

use crate::outcome::counters::Count;
use crate::policy::credentials::Check;
use crate::shard::context::Context;
use crate::shard::ingress::Inbound;
use crate::shard::platform::Platform;
use crate::smtp::answer::Answer;
use crate::smtp::sasl::{Name, Nonce};

impl Inbound {
    /// The session asks whether a password is right.
    pub(super) fn on_password<P: Platform>(&mut self, cx: &mut Context<'_, P>) {
        let claimed = self.session.claimed().cloned();
        let (Some(name), Some(password)) = (claimed, self.session.take_password()) else { return };
        if let Some(refusal) = self.begin_try(&name, cx) {
            return self.session.answer(refusal, cx.mono());
        }
        let credentials = cx.settings.credentials.clone();
        let check = Check { credentials, name: name.clone(), password };
        if cx.platform.verify(self.client.connection, check) {
            self.verifying = true;
            return;
        }
        cx.common.attempts.not_tried(self.client.peer.ip(), &name);
        cx.common.counters.increment(Count::AuthBusy);
        self.session.answer(Answer::AUTH_LATER, cx.mono());
    }

    /// The session asks for a verifier.
    pub(super) fn on_verifier<P: Platform>(&mut self, cx: &mut Context<'_, P>) {
        let Some(name) = self.session.claimed().cloned() else { return };
        if let Some(refusal) = self.begin_try(&name, cx) {
            return self.session.answer(refusal, cx.mono());
        }
        let verifier = cx.settings.credentials.scram(&name);
        let mut octets = [0; 18];
        for part in octets.chunks_mut(8) {
            part.copy_from_slice(&cx.common.prng.next_u64().to_le_bytes()[..part.len()]);
        }
        self.session.verify_by(verifier, &Nonce::new(octets), cx.mono());
    }

    /// The client has proved who it is, or has not.
    pub(super) fn on_proof<P: Platform>(&mut self, right: bool, cx: &mut Context<'_, P>) {
        let Some(name) = self.session.claimed() else { return };
        let client = self.client.peer;
        if right {
            cx.common.attempts.succeeded(client.ip(), name);
            cx.common.counters.increment(Count::AuthSucceeded);
            tracing::debug!(%client, name = name.as_str(), "authenticated");
        } else {
            cx.common.counters.increment(Count::AuthFailed);
            tracing::info!(%client, name = name.as_str(), "authentication failed");
        }
    }

    /// What is against a try as `name`; without that, it has begun.
    fn begin_try<P: Platform>(&self, name: &Name, cx: &mut Context<'_, P>) -> Option<Answer> {
        let client = self.client.peer.ip();
        let reply = cx.common.attempts.begin(client, name, cx.now.mono).err()?;
        cx.common.counters.increment(Count::AuthLimited);
        Some(reply.into())
    }

    /// What is against this sender, for who the client is. It may have been somebody when it said
    /// so, and be nobody since.
    pub(super) fn refusal_of_sender<P: Platform>(&self, cx: &Context<'_, P>) -> Option<Answer> {
        let name = self.session.identity()?;
        match cx.settings.credentials.identity(name) {
            None => Some(Answer::AUTH_WITHDRAWN),
            Some(identity) => {
                let sender = &self.session.envelope()?.reverse_path;
                identity.may_send_as(sender).err().map(Answer::from)
            }
        }
    }
}
