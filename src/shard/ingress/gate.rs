//! Refuse for a time what would use a domain of which DNS does not say what it must; refuse
//! recipients of relay domains of whom it is known that there are none.
//!
//! Clients that may relay anywhere are told so as well: a wrong address is found out at once.

use crate::mail::address::ForwardPath;
use crate::outcome::counters::Count;
use crate::policy::gate::Use;
use crate::policy::recipients::{self, Check};
use crate::policy::signing::Unsigned;
use crate::shard::context::Context;
use crate::shard::platform::Platform;
use crate::smtp::answer::Answer;

/// What is said of a recipient that may have mail from this client.
pub(super) fn gated<P: Platform>(path: &ForwardPath, cx: &mut Context<'_, P>) -> Answer {
    let ForwardPath::Mailbox(to) = path else { return Answer::RECIPIENT_OK };
    let refusal = cx.settings.gate.refusal(to.domain(), Use::Relay);
    let refusal = refusal.or_else(|| match cx.settings.recipients.of(to)? {
        Check::Callout(_) => None,
        Check::List(list) if list.has(to) => None,
        Check::List(_) => {
            cx.common.counters.increment(Count::UnlistedRecipients);
            Some(recipients::not_listed())
        }
    });
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
