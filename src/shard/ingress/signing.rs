//! Sign what trusted clients send, before it is stored.
//!
//! Whoever may send to any domain sends as this node's own, and gets its signatures; mail that
//! comes in for a relay domain gets none, whatever its `From:` says.

use crate::outcome::counters::Count;
use crate::policy::signing::{Signing, SigningFailed};
use crate::shard::commit::{Commit, From, InMemory};
use crate::shard::context::Context;
use crate::shard::ingress::{Inbound, Ingress};
use crate::shard::platform::{ConnectionId, Platform};
use crate::shard::refusals::answer_to;
use crate::smtp::answer::Answer;
use crate::spool::stored::NewMessage;

impl Inbound {
    /// What reads the content of the message to come, where it may have to be signed.
    pub(super) fn signing<P: Platform>(&self, cx: &Context<'_, P>) -> Option<Signing> {
        let (settings, client) = (&cx.settings, &self.client);
        let may_sign = !settings.signers.is_empty()
            && (self.is_vouched() || settings.relay.may_relay(client.listener, client.peer.ip()));
        let envelope = self.session.envelope().filter(|_| may_sign)?;
        let reverse_path = envelope.reverse_path.0.as_ref();
        let domain = reverse_path.map(|mailbox| mailbox.domain().clone());
        let header_bytes_max = usize::try_from(settings.content_limits.header_bytes);
        let header_bytes_max = header_bytes_max.unwrap_or(usize::MAX);
        Some(Signing::new(settings.signers.clone(), domain, header_bytes_max))
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
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        let id = message.id;
        let stored = match made {
            Ok(()) => {
                let stored = commit.message(message, From::Session(connection), cx.mono());
                stored.map_err(|(error, _)| answer_to(error))
            }
            Err(error) => {
                tracing::error!(%id, %error, "not signed, so not taken");
                Err(Answer::NOT_STORED)
            }
        };
        let answer = match stored {
            Ok(None) => return,
            Ok(Some(in_memory)) => {
                let answer = Answer::stored(InMemory::id(&in_memory));
                return self.committed(connection, answer, commit, cx);
            }
            Err(answer) => answer,
        };
        cx.common.counters.increment(Count::RefusedContent);
        commit.abandon(id);
        self.committed(connection, answer, commit, cx);
    }
}
