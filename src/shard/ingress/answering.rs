//! Give a session the answer that took time, and go on with what came meanwhile.

use std::mem;

use crate::base::limits::SESSION_HELD_MAX;
use crate::mail::address::ForwardPath;
use crate::policy::recipients::Finding;
use crate::shard::commit::Commit;
use crate::shard::context::Context;
use crate::shard::ingress::gate::made_of;
use crate::shard::ingress::{Inbound, Ingress};
use crate::shard::platform::{ConnectionId, Platform};
use crate::smtp::answer::Answer;
use crate::spool::log::{Accepted, Refusal};

impl Ingress {
    /// The message that a session waits for is on stable storage: `250`.
    pub(crate) fn stored<P: Platform>(
        &mut self,
        connection: ConnectionId,
        accepted: &Accepted,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        self.answered(connection, Answer::stored(accepted.id()), commit, cx);
    }

    /// The message that a session waits for could not be stored.
    pub(crate) fn refused<P: Platform>(
        &mut self,
        connection: ConnectionId,
        why: Refusal,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        let answer = match why {
            Refusal::Failed => Answer::NOT_STORED,
            Refusal::Full => Answer::NO_ROOM,
        };
        self.answered(connection, answer, commit, cx);
    }

    /// The password that a session waits for was checked.
    pub(crate) fn verified<P: Platform>(
        &mut self,
        connection: ConnectionId,
        right: bool,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        let Some(inbound) = self.sessions.get_mut(connection) else { return };
        inbound.on_proof(right, cx);
        let answer = if right { Answer::AUTHENTICATED } else { Answer::AUTH_FAILED };
        self.answered(connection, answer, commit, cx);
    }

    /// A server behind has said what it has to say of the recipient that a session waits for.
    pub(crate) fn recipient_found<P: Platform>(
        &mut self,
        connection: ConnectionId,
        finding: &Finding,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        let inbound = self.sessions.get_mut(connection).filter(|inbound| inbound.asking);
        let recipient = inbound.and_then(|inbound| inbound.session.recipient());
        let Some(ForwardPath::Mailbox(to)) = recipient.map(|it| &it.forward_path) else { return };
        let answer = made_of(finding, to, cx);
        self.answered(connection, answer, commit, cx);
    }

    /// Give the session its answer.
    pub(crate) fn answered<P: Platform>(
        &mut self,
        connection: ConnectionId,
        answer: Answer,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        let Some(inbound) = self.sessions.get_mut(connection) else { return };
        inbound.go_on(answer, commit, cx);
        self.settle(connection, commit, cx);
    }
}

impl Inbound {
    /// Give the session its answer, and then what was held.
    pub(super) fn go_on<P: Platform>(
        &mut self,
        answer: Answer,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        (self.committing, self.verifying) = (None, false);
        (self.asking, self.looking_up, self.presenting) = (false, false, false);
        self.screening = false;
        self.session.answer(answer, cx.mono());
        let held = mem::take(&mut self.held);
        self.feed(&held, commit, cx);
        if self.ended && !self.waits() {
            self.session.handle_end();
        }
        if self.paused && self.held.len() <= SESSION_HELD_MAX / 2 {
            self.paused = false;
            self.resume(cx);
        }
    }
}
