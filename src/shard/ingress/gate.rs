//! Refuse for a time what would use a domain of which DNS does not say what it must.

use crate::mail::address::ForwardPath;
use crate::outcome::counters::Count;
use crate::policy::gate::Use;
use crate::policy::signing::Unsigned;
use crate::shard::context::Context;
use crate::shard::platform::Platform;
use crate::smtp::answer::Answer;

/// What is said of a recipient that may have mail from this client.
pub(super) fn gated<P: Platform>(path: &ForwardPath, cx: &mut Context<'_, P>) -> Answer {
    let refusal = match path {
        ForwardPath::Mailbox(to) => cx.settings.gate.refusal(to.domain(), Use::Relay),
        ForwardPath::Postmaster => None,
    };
    let Some(reply) = refusal else { return Answer::RECIPIENT_OK };
    cx.common.counters.increment(Count::RefusedRcpt);
    reply.into()
}

/// Why a message is not to have the signatures that are its domains'.
pub(super) fn refusal_of_signers<P: Platform>(
    unsigned: &Unsigned,
    cx: &Context<'_, P>,
) -> Option<Answer> {
    let gate = &cx.settings.gate;
    let refusal = unsigned.domains().find_map(|domain| gate.refusal(domain, Use::Signing));
    refusal.map(Answer::from)
}
