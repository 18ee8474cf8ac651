//! Have strangers' recipients wait until block lists have said whether these clients are on them.
//!
//! A client that may relay is asked nothing about. One that nobody can vouch for later is asked
//! about when it connects, any other one when it says MAIL, so that RCPT seldom waits.

use std::sync::Arc;

use crate::base::limits::BLOCK_DEADLINE;
use crate::base::time::Monotonic;
use crate::dns::{self, Question};
use crate::outcome::counters::Count;
use crate::policy::block_lists::{Action, Inquiry, Subject};
use crate::shard::commit::Commit;
use crate::shard::context::Context;
use crate::shard::ingress::{Inbound, Ingress};
use crate::shard::platform::{ConnectionId, Platform};
use crate::smtp::answer::Answer;
use crate::smtp::server::Auth;

/// What is asked about the client of a session.
#[derive(Debug)]
pub(super) struct Screen {
    inquiry: Inquiry,
    /// From then on RCPT does not wait.
    due: Monotonic,
}

/// What is known when RCPT is to be answered.
pub(super) enum Screened {
    /// Nothing speaks against this recipient.
    Pass,
    /// It is refused.
    Refuse(Answer),
    /// Not yet.
    Wait,
}

impl Inbound {
    /// Ask about the client that has connected, unless it may turn out to be somebody.
    pub(super) fn screen_client<P: Platform>(&mut self, cx: &mut Context<'_, P>) {
        if cx.settings.block_lists.is_empty() {
            return;
        }
        let (listener, peer) = (self.client.listener, self.client.peer.ip());
        let may_log_in = cx.settings.listener(listener).auth != Auth::default();
        if !may_log_in && !cx.settings.proxies(listener).by_xclient.contains(peer) {
            self.screen(cx);
        }
    }

    /// Ask about the client and what it says, where that was not asked yet. From MAIL on.
    pub(super) fn screen<P: Platform>(&mut self, cx: &mut Context<'_, P>) {
        let lists = &cx.settings.block_lists;
        let (listener, client) = (self.client.listener, self.client.peer.ip().to_canonical());
        if lists.is_empty() || self.is_vouched() || cx.settings.relay.may_relay(listener, client) {
            self.screen = None;
            return;
        }
        let sender = self.session.envelope().and_then(|envelope| envelope.reverse_path.0.as_ref());
        let subject = Subject {
            client,
            hello: self.session.hello(),
            sender: sender.map(|mailbox| mailbox.domain()),
        };
        let known = self.screen.take().filter(|screen| screen.inquiry.is_to(lists));
        let inquiry = known.map(|screen| screen.inquiry);
        let mut inquiry = inquiry.unwrap_or_else(|| Inquiry::new(lists.clone()));
        let (rests, now) = (&cx.common.screening.rests, cx.now.mono);
        let questions = inquiry.ask(subject, |list| rests.rests(&list.zone, now));
        let due = cx.mono() + BLOCK_DEADLINE;
        self.screen = Some(Box::new(Screen { inquiry, due }));
        self.ask_lists(&questions, cx);
    }

    fn ask_lists<P: Platform>(&mut self, questions: &[Question], cx: &mut Context<'_, P>) {
        let Some(screen) = &mut self.screen else { return };
        for question in questions {
            if !cx.common.screening.ask(question, self.client.connection) {
                screen.inquiry.unanswered(question);
            }
        }
        self.tell_found(cx);
    }

    /// A name server has said something of the client, or nobody could.
    fn hear<P: Platform>(&mut self, answer: &dns::Answer, cx: &mut Context<'_, P>) {
        let Some(screen) = &mut self.screen else { return };
        let questions = screen.inquiry.handle_answer(answer);
        self.ask_lists(&questions, cx);
    }

    /// What is known of the client at RCPT.
    pub(super) fn screened<P: Platform>(&mut self, cx: &mut Context<'_, P>) -> Screened {
        let Some(screen) = &mut self.screen else { return Screened::Pass };
        if screen.inquiry.is_open() {
            if screen.due > cx.mono() {
                return Screened::Wait;
            }
            screen.inquiry.give_up();
            self.tell_found(cx);
        }
        let refusal = self.screen.as_ref().zip(self.session.recipient());
        let refusal = refusal.and_then(|(screen, to)| screen.inquiry.refusal(&to.forward_path));
        refusal.map_or(Screened::Pass, |reply| Screened::Refuse(reply.into()))
    }

    /// When RCPT waits no longer.
    pub(super) fn screen_due(&self) -> Option<Monotonic> {
        self.screen.as_ref().filter(|_| self.screening).map(|screen| screen.due)
    }

    fn tell_found<P: Platform>(&mut self, cx: &mut Context<'_, P>) {
        let Some(screen) = &mut self.screen else { return };
        while let Some(found) = screen.inquiry.poll_found() {
            cx.common.counters.increment(Count::ChecksBlockList);
            let list = screen.inquiry.list(found.place);
            let (client, zone) = (self.client.peer.ip(), &list.zone);
            let (who, answer, text) = (&found.who, found.answer, &found.text);
            match list.action {
                Action::Log => tracing::info!(%client, %who, %zone, %answer, %text, "on a list"),
                Action::Reject => {
                    tracing::debug!(%client, %who, %zone, %answer, %text, "on a list: refused");
                }
            }
        }
    }
}

impl Ingress {
    /// A name server has said something, perhaps of clients.
    pub(crate) fn answer_about<P: Platform>(
        &mut self,
        answer: &Arc<dns::Answer>,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        let (lists, now) = (&cx.settings.block_lists, cx.now.mono);
        for connection in cx.common.screening.take_waiting(answer, lists, now) {
            let Some(inbound) = self.sessions.get_mut(connection) else { continue };
            inbound.hear(answer, cx);
            if inbound.screening {
                self.go_on_with_rcpt(connection, commit, cx);
                self.settle(connection, commit, cx);
            }
        }
    }

    /// Answer the recipient that waits for block lists, if they have spoken or it is too late.
    pub(super) fn go_on_with_rcpt<P: Platform>(
        &mut self,
        connection: ConnectionId,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        let Some(inbound) = self.sessions.get_mut(connection) else { return };
        if !inbound.screening {
            return;
        }
        if let Some(answer) = inbound.judge_rcpt(commit, cx) {
            inbound.go_on(answer, commit, cx);
        }
    }
}
