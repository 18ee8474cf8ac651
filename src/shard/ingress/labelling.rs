//! Know who sends, of clients that may relay: by login, by listener, by header.

use crate::mail::envelope::Envelope;
use crate::mail::handling::{Handling, TenantName};
use crate::outcome::counters::Count;
use crate::policy::senders::Sender;
use crate::policy::senders::labels::{LabelReader, Labels};
use crate::shard::context::Context;
use crate::shard::ingress::Inbound;
use crate::shard::platform::Platform;
use crate::smtp::answer::Answer;

impl Inbound {
    /// Whether the client may relay: what it says of who sends is believed.
    pub(super) fn is_trusted<P: Platform>(&self, cx: &Context<'_, P>) -> bool {
        let client = &self.client;
        self.is_vouched() || cx.settings.relay.may_relay(client.listener, client.peer.ip())
    }

    /// What reads the header of the message to come, if that is to be read.
    pub(super) fn label_reader<P: Platform>(
        &self,
        cx: &Context<'_, P>,
    ) -> Option<Box<LabelReader>> {
        let names = cx.settings.senders.fields().filter(|_| self.is_trusted(cx))?;
        Some(Box::new(LabelReader::new(names.clone())))
    }

    /// What is against a message of whoever sends here, before its header has come.
    pub(super) fn refusal_of_tenant<P: Platform>(&self, cx: &mut Context<'_, P>) -> Option<Answer> {
        if cx.common.outran.is_empty() || !self.is_trusted(cx) {
            return None;
        }
        let identity = self.session.identity();
        let tenant = cx.settings.senders.tenant(self.client.listener, identity)?;
        refusal_of(tenant, cx)
    }

    /// Who sends the message whose header says this.
    pub(super) fn sender<P: Platform>(
        &self,
        said: Labels,
        cx: &mut Context<'_, P>,
    ) -> Result<Sender, Answer> {
        if cx.settings.senders.is_nobody() || !self.is_trusted(cx) {
            return Ok(Sender::default());
        }
        let identity = self.session.identity();
        let sender = cx.settings.senders.sender(self.client.listener, identity, said)?;
        match sender.tenant.as_ref().and_then(|tenant| refusal_of(tenant, cx)) {
            Some(refusal) => Err(refusal),
            None => Ok(sender),
        }
    }
}

/// What is against one more message of a tenant.
fn refusal_of<P: Platform>(tenant: &TenantName, cx: &mut Context<'_, P>) -> Option<Answer> {
    if !cx.common.outran.contains(tenant) {
        return None;
    }
    cx.common.counters.increment(Count::TenantsRefused);
    Some(Answer::TENANT_OUTRAN)
}

/// Write into an envelope who sends.
pub(super) fn label(envelope: &mut Envelope, sender: Sender) {
    let Sender { tenant, campaign } = sender;
    if tenant.is_some() {
        let rest = envelope.handling.take().map_or_else(Handling::default, |handling| *handling);
        envelope.handling = Handling { tenant, campaign, ..rest }.boxed();
    }
}
