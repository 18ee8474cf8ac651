//! Refuse recipients that are on a suppression list.
//!
//! Almost nobody who is on none waits for that: the filter in front of the store rules them out.
//! Whoever it does not is looked up beside the shard's thread.

use crate::mail::address::ForwardPath;
use crate::mail::handling::TenantName;
use crate::mail::status::Reply;
use crate::outcome::counters::Count;
use crate::policy::suppression::{self, Found, Lists};
use crate::shard::commit::Commit;
use crate::shard::context::Context;
use crate::shard::ingress::gate::gated;
use crate::shard::ingress::{Inbound, Ingress};
use crate::shard::platform::{ConnectionId, Platform};
use crate::shard::settings::Settings;
use crate::smtp::answer::Answer;

/// What is known of a recipient.
pub(super) enum Suppressed {
    /// It is on no list.
    No,
    /// It is refused.
    Refuse(Answer),
    /// It is being looked up.
    Wait,
}

impl Inbound {
    /// What the lists say of the recipient, if they are asked.
    pub(super) fn suppressed<P: Platform>(&mut self, cx: &mut Context<'_, P>) -> Suppressed {
        let settings = cx.settings;
        let Some(suppression) = &settings.suppressed_at_rcpt else { return Suppressed::No };
        let recipient = self.session.recipient().map(|it| &it.forward_path);
        let Some(ForwardPath::Mailbox(to)) = recipient else { return Suppressed::No };
        // Whoever wants no campaigns wants mail of strangers still.
        if !self.is_trusted(cx) {
            return Suppressed::No;
        }
        let lists = Lists { tenant: self.tenant(settings) };
        let Some(lookup) = suppression.suspects(to, lists, cx.now.wall) else {
            return Suppressed::No;
        };
        cx.common.counters.increment(Count::SuppressionLookups);
        if cx.platform.look_up(self.client.connection, lookup) {
            self.looking_up = true;
            return Suppressed::Wait;
        }
        Suppressed::Refuse(refuse(suppression::busy(), cx))
    }

    /// What is said to a recipient that only its own domain may refuse.
    pub(super) fn judge_gated<P: Platform>(&mut self, cx: &mut Context<'_, P>) -> Option<Answer> {
        // `<Postmaster>` is put in its place when the message is stored.
        let path = &self.session.recipient()?.forward_path;
        let answer = gated(path, self.client.connection, cx);
        self.asking = answer.is_none();
        answer
    }

    /// Whose mail this is, as far as that is known before its header has come.
    fn tenant<'s>(&self, settings: &'s Settings) -> Option<&'s TenantName> {
        settings.senders.tenant(self.client.listener, self.session.identity())
    }
}

impl Ingress {
    /// The recipient that a session waits for was looked up.
    pub(crate) fn looked_up<P: Platform>(
        &mut self,
        connection: ConnectionId,
        found: Found,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        let inbound = self.sessions.get_mut(connection).filter(|inbound| inbound.looking_up);
        let Some(inbound) = inbound else { return };
        inbound.looking_up = false;
        let answer = match found {
            Ok(None) => match inbound.judge_gated(cx) {
                // A server behind is asked about it.
                None => return,
                Some(answer) => answer,
            },
            Ok(Some(found)) => {
                cx.common.counters.increment(Count::SuppressedRecipients);
                tracing::debug!(to = %found.subject, list = %found.list, "suppressed");
                refuse(suppression::refused(&found), cx)
            }
            Err(error) => {
                tracing::error!(%error, "a recipient is told to come again");
                refuse(suppression::unreadable(), cx)
            }
        };
        self.answered(connection, answer, commit, cx);
    }
}

fn refuse<P: Platform>(reply: Reply, cx: &mut Context<'_, P>) -> Answer {
    cx.common.counters.increment(Count::RefusedRcpt);
    reply.into()
}
