//! Say what becomes of a recipient: one question after another, the cheapest first.

use crate::outcome::counters::Count;
use crate::policy::relay::RecipientVerdict;
use crate::shard::commit::Commit;
use crate::shard::context::Context;
use crate::shard::ingress::screening::Screened;
use crate::shard::ingress::suppressing::Suppressed;
use crate::shard::ingress::{Client, Inbound};
use crate::shard::platform::Platform;
use crate::smtp::answer::Answer;

impl Inbound {
    /// What is said to a recipient; `None`: it waits for block lists, for suppression lists, or for
    /// a server behind.
    pub(super) fn judge_rcpt<P: Platform>(
        &mut self,
        commit: &Commit,
        cx: &mut Context<'_, P>,
    ) -> Option<Answer> {
        self.screening = false;
        // Recipients take memory too, a thousand of a transaction as much as its content.
        if commit.is_full() {
            cx.common.counters.increment(Count::RefusedRcpt);
            return Some(Answer::NO_ROOM);
        }
        let is_return = match self.judge_return(cx) {
            Some(Err(answer)) => return Some(answer),
            judged => judged.is_some(),
        };
        let Client { listener, peer, .. } = self.client;
        // Without an open question an answer has no effect.
        let Some(recipient) = self.session.recipient() else { return Some(Answer::TRY_LATER) };
        let vouched = self.is_vouched();
        let path = &recipient.forward_path;
        if let RecipientVerdict::Refuse(reply) =
            cx.settings.relay.recipient(listener, peer.ip(), vouched, path)
            && !is_return
        {
            cx.common.counters.increment(Count::RefusedRcpt);
            return Some(reply.into());
        }
        match self.screened(cx) {
            Screened::Pass => {}
            Screened::Refuse(refusal) => {
                cx.common.counters.increment(Count::RefusedRcpt);
                return Some(refusal);
            }
            Screened::Wait => {
                self.screening = true;
                return None;
            }
        }
        if is_return {
            return Some(Answer::RECIPIENT_OK);
        }
        match self.suppressed(cx) {
            Suppressed::No => self.judge_gated(cx),
            Suppressed::Refuse(refusal) => Some(refusal),
            Suppressed::Wait => None,
        }
    }
}
