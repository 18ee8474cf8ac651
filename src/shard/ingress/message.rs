//! Make what a session took in into a message for the spool.

use std::sync::Arc;

use crate::base::ids::MessageId;
use crate::base::time::WallTime;
use crate::policy::content::ContentScan;
use crate::policy::content::received::{Protocol, Received};
use crate::policy::signing::{Signing, Unsigned};
use crate::shard::context::Context;
use crate::shard::ingress::Inbound;
use crate::shard::ingress::filtering::Kept;
use crate::shard::platform::Platform;
use crate::spool::log::LogError;
use crate::spool::stored::{NewMessage, Origin};

/// A message whose content is coming in.
#[derive(Debug)]
pub(super) struct Receiving {
    pub(super) id: MessageId,
    pub(super) scan: ContentScan,
    /// What it is to be signed with, where it may be.
    pub(super) signing: Option<Signing>,
    /// Its content, where milters are to see it first: then nothing has been signed or stored.
    pub(super) kept: Option<Kept>,
    /// Why a chunk was not taken.
    pub(super) refused: Option<LogError>,
}

impl Receiving {
    /// Of a message of which nothing has come.
    pub(super) fn new(id: MessageId, signing: Option<Signing>, kept: Option<Kept>) -> Self {
        Self { id, scan: ContentScan::new(), signing, kept, refused: None }
    }

    /// Take the next piece of content.
    pub(super) fn push(&mut self, piece: &[u8]) {
        self.scan.push(piece);
        if let (Some(signing), None) = (&mut self.signing, &self.kept) {
            signing.push(piece);
        }
    }

    /// Octets of memory held, beside what the session and the log hold.
    pub(super) fn memory(&self) -> usize {
        let kept = self.kept.as_ref().map_or(0, Kept::memory);
        kept + self.signing.as_ref().map_or(0, Signing::memory)
    }

    /// What the message, all of which has come, is to be signed with.
    pub(super) fn unsigned(&mut self, now: WallTime) -> Unsigned {
        self.signing.take().map_or_else(Unsigned::default, |signing| signing.finish(now))
    }
}

impl Inbound {
    /// The message as it is stored, with our `Received:` before it.
    pub(super) fn message<P: Platform>(
        &mut self,
        receiving: Receiving,
        content: Vec<u8>,
        cx: &Context<'_, P>,
    ) -> NewMessage {
        let facts = receiving.scan.facts();
        let has_eight_bit = facts.header_eight_bit || facts.body_eight_bit;
        let mut envelope = self.session.take_envelope();
        if let Some(mailbox) = cx.settings.relay.postmaster_mailbox() {
            envelope.place_postmaster(mailbox);
        }
        let prefix = Received {
            hello: self.session.hello(),
            client: self.client.peer.ip(),
            hostname: &cx.settings.hostname,
            protocol: Protocol {
                esmtp: self.session.is_esmtp(),
                utf8: envelope.smtp_utf8,
                tls: self.session.is_secured(),
            },
            id: receiving.id,
            cipher: self.tls.as_ref().and_then(|tls| tls.facts()).map(|facts| facts.cipher),
            recipient: match envelope.recipients.as_slice() {
                [only] => Some(&only.forward_path),
                _ => None,
            },
            now: cx.now.wall,
        }
        .to_field();
        let listener = self.client.listener;
        let durability = cx.settings.durability(listener);
        let origin = Origin::Client { peer: self.client.peer.ip(), listener, durability };
        NewMessage {
            id: receiving.id,
            envelope: Arc::new(envelope),
            received: cx.now.wall,
            intake: cx.mono().since(self.mail_at),
            prefix,
            content,
            has_eight_bit,
            is_quarantined: false,
            origin,
        }
    }
}
