//! Make what a session took in into a message for the spool.

use std::sync::Arc;

use crate::policy::content::received::{Protocol, Received};
use crate::shard::context::Context;
use crate::shard::ingress::{Inbound, Receiving};
use crate::shard::platform::Platform;
use crate::spool::stored::{NewMessage, Origin};

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
            origin,
        }
    }
}
