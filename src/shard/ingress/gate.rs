//! Refuse for a time what would use a domain of which DNS does not say what it must; refuse
//! recipients of relay domains of whom it is known that there are none.
//!
//! Clients that may relay anywhere are told so as well: a wrong address is found out at once.

use crate::mail::address::{ForwardPath, Mailbox};
use crate::mail::status::Reply;
use crate::outcome::counters::Count;
use crate::policy::gate::Use;
use crate::policy::recipients::{self, Check, Finding, Standing, Unverified};
use crate::policy::signing::Unsigned;
use crate::shard::context::Context;
use crate::shard::platform::{ConnectionId, Platform};
use crate::smtp::answer::Answer;

/// What is said of a recipient that may have mail from this client; `None`: a server behind is
/// asked about it, and `connection` waits for that.
pub(super) fn gated<P: Platform>(
    path: &ForwardPath,
    connection: ConnectionId,
    cx: &mut Context<'_, P>,
) -> Option<Answer> {
    let ForwardPath::Mailbox(to) = path else { return Some(Answer::RECIPIENT_OK) };
    if let Some(reply) = cx.settings.gate.refusal(to.domain(), Use::Relay) {
        return Some(refuse(reply, cx));
    }
    match cx.settings.recipients.of(to) {
        None => Some(Answer::RECIPIENT_OK),
        Some(Check::List(list)) if list.has(to) => Some(Answer::RECIPIENT_OK),
        Some(Check::List(_)) => {
            cx.common.counters.increment(Count::UnlistedRecipients);
            tracing::debug!(%to, "refused: in no list");
            Some(refuse(recipients::not_listed(), cx))
        }
        Some(Check::Callout(_)) => match cx.common.callouts.look_up(to, connection, cx.now.mono) {
            Standing::Found(finding) => Some(made_of(&finding, to, cx)),
            Standing::Waits => None,
            Standing::Busy => Some(refuse(recipients::busy(), cx)),
        },
    }
}

/// What is said of a recipient of which a server behind has said this.
pub(super) fn made_of<P: Platform>(
    finding: &Finding,
    to: &Mailbox,
    cx: &mut Context<'_, P>,
) -> Answer {
    match finding {
        Finding::Known => Answer::RECIPIENT_OK,
        Finding::Unknown(reply) => {
            cx.common.counters.increment(Count::UnknownRecipients);
            tracing::debug!(%to, "refused: {reply}");
            refuse(reply.clone(), cx)
        }
        Finding::Unsure => match cx.settings.recipients.of(to) {
            Some(Check::Callout(Unverified::Defer)) => refuse(recipients::deferred(), cx),
            Some(Check::Callout(Unverified::Accept) | Check::List(_)) | None => {
                Answer::RECIPIENT_OK
            }
        },
    }
}

fn refuse<P: Platform>(reply: Reply, cx: &mut Context<'_, P>) -> Answer {
    cx.common.counters.increment(Count::RefusedRcpt);
    reply.into()
}

/// Why a message is not to have the signatures that are its domains'.
pub(in crate::shard) fn refusal_of_signers<P: Platform>(
    unsigned: &Unsigned,
    cx: &Context<'_, P>,
) -> Option<Answer> {
    let gate = &cx.settings.gate;
    let refusal = unsigned.domains().find_map(|domain| gate.refusal(domain, Use::Signing));
    refusal.map(Answer::from)
}
