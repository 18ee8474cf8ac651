//! Take what comes back from anyone, and see that what leaves can come back.

use crate::base::ids::MessageId;
use crate::mail::address::{ForwardPath, Mailbox};
use crate::mail::envelope::{Envelope, Notify, Recipient};
use crate::outcome::counters::Count;
use crate::policy::returns::{self, Returns, Whose};
use crate::shard::context::Context;
use crate::shard::ingress::Inbound;
use crate::shard::ingress::message::Care;
use crate::shard::platform::Platform;
use crate::smtp::answer::Answer;

impl Inbound {
    /// Whether a recipient is ours, or what is said as it looks like it and is not; `None`: it is
    /// somebody else's.
    pub(super) fn judge_return<P: Platform>(
        &self,
        cx: &mut Context<'_, P>,
    ) -> Option<Result<(), Answer>> {
        let returns = cx.settings.returns.as_deref()?;
        let envelope = self.session.envelope()?;
        let ForwardPath::Mailbox(to) = &self.session.recipient()?.forward_path else { return None };
        if is_postmaster(returns, to, cx) && cx.settings.relay.postmaster_mailbox().is_some() {
            return Some(Ok(()));
        }
        let answer = match returns.judge(to, cx.now.wall)? {
            // What a report says is told once.
            Ok(_) if has_returns(returns, envelope, cx) => returns::one_at_a_time().into(),
            Ok(_) => return Some(Ok(())),
            Err(reply) => {
                cx.common.counters.increment(Count::ReturnsForged);
                tracing::debug!(%to, "refused: {reply}");
                reply.into()
            }
        };
        cx.common.counters.increment(Count::RefusedRcpt);
        Some(Err(answer))
    }

    /// Put those in place who see what comes back.
    pub(super) fn place_returns<P: Platform>(&self, envelope: &mut Envelope, cx: &Context<'_, P>) {
        let Some(returns) = cx.settings.returns.as_deref() else { return };
        if let Some(postmaster) = cx.settings.relay.postmaster_mailbox() {
            for recipient in &mut envelope.recipients {
                if let ForwardPath::Mailbox(to) = &recipient.forward_path
                    && is_postmaster(returns, to, cx)
                {
                    recipient.forward_path = ForwardPath::Mailbox(postmaster.clone());
                }
            }
        }
        if let Some(forward_to) = &returns.forward_to
            && has_returns(returns, envelope, cx)
        {
            // Whatever becomes of it, nobody is told: it may have been a bounce.
            envelope.recipients.push(Recipient {
                forward_path: ForwardPath::Mailbox(forward_to.clone()),
                notify: Notify::Never,
                original: None,
            });
        }
    }

    /// Fields that go before a client's message and say where complaints go; they are signed with
    /// it.
    pub(super) fn announce<P: Platform>(
        &self,
        id: MessageId,
        care: &mut Care,
        cx: &Context<'_, P>,
    ) -> Box<str> {
        let Some(returns) = cx.settings.returns.as_deref() else { return "".into() };
        let (listener, peer) = (self.client.listener, self.client.peer.ip());
        if !(self.is_vouched() || cx.settings.relay.may_relay(listener, peer)) {
            return "".into();
        }
        let envelope = self.session.envelope();
        // What its header says of that has not come yet.
        let tenant = cx.settings.senders.tenant(listener, self.session.identity());
        let whose = Whose { tenant, campaign: None };
        let fields = envelope.and_then(|it| returns.announcement(id, it, whose, cx.now.wall));
        let fields = fields.unwrap_or_default();
        if let Care::Sign(signing) = care {
            signing.push(fields.as_bytes());
        }
        fields.into()
    }
}

/// Whether one of its recipients is ours.
fn has_returns<P: Platform>(returns: &Returns, envelope: &Envelope, cx: &Context<'_, P>) -> bool {
    envelope.recipients.iter().any(|recipient| match &recipient.forward_path {
        ForwardPath::Mailbox(to) => matches!(returns.judge(to, cx.now.wall), Some(Ok(_))),
        ForwardPath::Postmaster => false,
    })
}

//= RFC 5321 §4.5.1
//# Any system that includes an SMTP server supporting mail relaying or delivery MUST support the
//# reserved mailbox "postmaster" as a case-insensitive local name.
/// Also at a domain that has nothing but what comes back.
fn is_postmaster<P: Platform>(returns: &Returns, to: &Mailbox, cx: &Context<'_, P>) -> bool {
    to.local_part().eq_ignore_ascii_case("postmaster")
        && returns.verp.address().domain() == to.domain()
        && !cx.settings.relay.is_relay_domain(to.domain())
}
