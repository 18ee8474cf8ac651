//! Know who sends, of clients that may relay: by login, by listener, by header.

use std::time::Duration;

use crate::mail::envelope::Envelope;
use crate::mail::handling::{By, Handling, Hold, TenantName};
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

    /// What is against the time at which a message is to go.
    pub(super) fn refusal_of_hold<P: Platform>(&self, cx: &Context<'_, P>) -> Option<Answer> {
        let hold = self.session.hold()?;
        if !self.is_trusted(cx) {
            return Some(Answer::HOLDS_FOR_OTHERS);
        }
        let offered = cx.settings.listener(self.client.listener).extensions.hold_seconds;
        let latest = cx.now.wall + Duration::from_secs(offered.into());
        (hold.until(cx.now.wall) > latest).then_some(Answer::BAD_PARAMETER)
    }

    /// Write into an envelope how its sender wants it handled, as far as the client is believed.
    pub(super) fn handle<P: Platform>(
        &self,
        envelope: &mut Envelope,
        (hold, by, sender): (Option<Hold>, Option<By>, Sender),
        cx: &Context<'_, P>,
    ) {
        let said = envelope.handling.take();
        let deliver_by = by.map(|by| by.at(cx.now.wall));
        if said.is_none() && sender.tenant.is_none() && hold.is_none() && deliver_by.is_none() {
            return;
        }
        if !self.is_trusted(cx) {
            // Anyone may say when a message is of no use any more.
            envelope.handling = Handling { deliver_by, ..Handling::default() }.boxed();
            return;
        }
        let hold_until = hold.map(|hold| hold.until(cx.now.wall));
        let hold_until = hold_until.filter(|until| *until > cx.now.wall);
        let said = said.map_or_else(Handling::default, |said| *said);
        let Sender { tenant, campaign } = sender;
        envelope.handling = Handling { tenant, campaign, hold_until, deliver_by, ..said }.boxed();
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
pub(in crate::shard) fn refusal_of<P: Platform>(
    tenant: &TenantName,
    cx: &mut Context<'_, P>,
) -> Option<Answer> {
    if !cx.common.outran.contains(tenant) {
        return None;
    }
    cx.common.counters.increment(Count::TenantsRefused);
    Some(Answer::TENANT_OUTRAN)
}
