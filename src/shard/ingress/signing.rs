//! Sign what trusted clients send, verify what strangers send, before it is stored.
//!
//! Whoever may send to any domain sends as this node's own, and gets its signatures. Mail that
//! comes in for a relay domain gets none, whatever its `From:` says; it is verified, where the
//! listener asks for it.

use crate::base::ids::MessageId;
use crate::outcome::counters::Count;
use crate::policy::authenticity::{self, Authenticity, ContentReader, Facts, Mode};
use crate::policy::signing::{Signing, SigningFailed, Unsigned};
use crate::shard::commit::{Commit, From, InMemory};
use crate::shard::context::Context;
use crate::shard::ingress::gate::refusal_of_signers;
use crate::shard::ingress::message::Care;
use crate::shard::ingress::{Inbound, Ingress};
use crate::shard::platform::{ConnectionId, Platform};
use crate::shard::refusals::answer_to;
use crate::smtp::answer::Answer;
use crate::spool::stored::NewMessage;

impl Inbound {
    /// What is to be done with the content of the message to come.
    pub(super) fn care<P: Platform>(&self, cx: &Context<'_, P>) -> Care {
        let (settings, client) = (&cx.settings, &self.client);
        let header_bytes_max = settings.header_bytes_max();
        match (self.is_trusted(cx), settings.verify(client.listener), self.session.envelope()) {
            (true, _, Some(envelope)) if !settings.signers.is_empty() => {
                let reverse_path = envelope.reverse_path.0.as_ref();
                let domain = reverse_path.map(|mailbox| mailbox.domain().clone());
                let signing = Signing::new(settings.signers.clone(), domain, header_bytes_max);
                let name = self.session.identity();
                let identity = name.and_then(|name| settings.credentials.identity(name));
                let bound_to = identity.and_then(|identity| identity.domains().cloned());
                let tenant = settings.senders.tenant(client.listener, name).cloned();
                let signing = signing.of(name.cloned()).of_tenant(tenant);
                Care::Sign(signing.bound_to(bound_to))
            }
            (false, Some(mode), _) => {
                let own = (mode != Mode::Monitor).then(|| settings.hostname.clone());
                let seals = mode != Mode::Monitor && settings.sealer.is_some();
                Care::Verify(ContentReader::new(own, header_bytes_max).sealing(seals))
            }
            (true | false, _, _) => Care::None,
        }
    }

    /// What finds out from whom a message is, and what is done about it; `None` where that is not
    /// wanted any more.
    pub(super) fn authenticity<P: Platform>(
        &self,
        message: &NewMessage,
        facts: Facts,
        cx: &Context<'_, P>,
    ) -> Option<(Authenticity, Mode)> {
        let mode = cx.settings.verify(self.client.listener)?;
        let session = authenticity::Session {
            client: self.client.peer.ip().to_canonical(),
            hello: self.session.hello().into(),
            reverse_path: message.envelope.reverse_path.as_str().into(),
            hostname: cx.settings.hostname.clone(),
        };
        Some((Authenticity::new(cx.settings.verifier.clone()?, session, facts), mode))
    }
}

impl Ingress {
    /// The message that a session waits for has its signatures, or cannot have them: then its
    /// client keeps it. Mail that lacks the signature that its domain promises would be refused,
    /// or believed less, by whoever gets it.
    pub(crate) fn signed<P: Platform>(
        &mut self,
        connection: ConnectionId,
        message: NewMessage,
        made: Result<(), SigningFailed>,
        from: From,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        match made {
            Ok(()) => self.store(connection, message, from, commit, cx),
            Err(error) => {
                tracing::error!(id = %message.id, %error, "not signed, so not taken");
                self.refuse(connection, message.id, Answer::NOT_STORED, commit, cx);
            }
        }
    }

    /// The message that a session waits for is to be stored, once it has its signatures.
    pub(crate) fn sign_and_store<P: Platform>(
        &mut self,
        connection: ConnectionId,
        (message, unsigned): (NewMessage, Unsigned),
        from: From,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        let id = message.id;
        if let Some(answer) = refusal_of_signers(&unsigned, cx) {
            return self.refuse(connection, id, answer, commit, cx);
        }
        match commit.sign_and_store(message, unsigned, from, cx) {
            Ok(None) => {}
            Ok(Some(in_memory)) => {
                let answer = Answer::stored(InMemory::id(&in_memory));
                self.answered(connection, answer, commit, cx);
            }
            Err((error, _)) => self.refuse(connection, id, answer_to(error), commit, cx),
        }
    }

    /// The message that a session waits for is to be stored as it is now.
    pub(crate) fn store<P: Platform>(
        &mut self,
        connection: ConnectionId,
        message: NewMessage,
        from: From,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        self.sign_and_store(connection, (message, Unsigned::default()), from, commit, cx);
    }

    /// The message that a session waits for is not taken.
    pub(crate) fn refuse<P: Platform>(
        &mut self,
        connection: ConnectionId,
        id: MessageId,
        answer: Answer,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        cx.common.counters.increment(Count::RefusedContent);
        commit.abandon(id);
        self.answered(connection, answer, commit, cx);
    }
}
