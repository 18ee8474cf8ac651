//! Admit the client that XCLIENT names in place of the one that said so.

use std::net::SocketAddr;

use crate::shard::commit::Commit;
use crate::shard::context::Context;
use crate::shard::ingress::pacing::too_often;
use crate::shard::ingress::{Client, Ingress};
use crate::shard::platform::{ConnectionId, Platform};
use crate::smtp::answer::Answer;

impl Ingress {
    /// Answer what a session asks of that, as often as it does.
    pub(super) fn present<P: Platform>(
        &mut self,
        connection: ConnectionId,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        while let Some(inbound) = self.sessions.get_mut(connection).filter(|one| one.presenting) {
            let Some(attributes) = inbound.session.presented() else {
                inbound.presenting = false;
                return;
            };
            let Client { listener, peer, .. } = inbound.client;
            let address = attributes.address.unwrap_or(peer.ip());
            let client = SocketAddr::new(address, attributes.port.unwrap_or(peer.port()));
            if let Err(reply) = too_often(listener, client.ip(), cx) {
                inbound.go_on(reply.into(), commit, cx);
                continue;
            }
            let answer = match self.admission.pass(listener, peer.ip(), client.ip()) {
                Ok(()) => {
                    tracing::debug!(%client, proxy = %peer, "a session for another client");
                    inbound.client.peer = client;
                    Answer::OK
                }
                Err(reply) => {
                    inbound.client.admitted = false;
                    reply.into()
                }
            };
            inbound.go_on(answer, commit, cx);
        }
    }
}
