//! Have strangers' recipients wait until block lists have said whether these clients are on them.
//!
//! A client that may relay is asked nothing about. One that nobody can vouch for later is asked
//! about when it connects, any other one when it says MAIL, so that RCPT seldom waits; where URLs
//! in its message lead is asked while that comes in, so that the end of content seldom does.

use std::sync::Arc;

use crate::base::limits::BLOCK_DEADLINE;
use crate::base::time::Monotonic;
use crate::dns::{self, Question};
use crate::outcome::counters::Count;
use crate::policy::block_lists::{Action, BlockList, Inquiry, Subject};
use crate::shard::commit::Commit;
use crate::shard::context::Context;
use crate::shard::ingress::checking::Checking;
use crate::shard::ingress::message::Receiving;
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

    /// Whether domains of URLs in its message are asked about.
    pub(super) fn wants_urls(&self) -> bool {
        self.screen.as_ref().is_some_and(|screen| screen.inquiry.asks_for_urls())
    }

    /// Ask about the domains that URLs in its message lead to, as far as it has come.
    pub(super) fn screen_urls<P: Platform>(
        &mut self,
        checking: &mut Checking,
        cx: &mut Context<'_, P>,
    ) {
        let Some(screen) = &mut self.screen else { return };
        let domains = checking.take_domains();
        if domains.is_empty() {
            return;
        }
        let client = self.client.peer.ip().to_canonical();
        let (rests, now) = (&cx.common.screening.rests, cx.now.mono);
        let rests = |list: &BlockList| rests.rests(&list.zone, now);
        let questions = screen.inquiry.ask_urls(&domains, client, rests);
        screen.due = cx.mono() + BLOCK_DEADLINE;
        self.ask_lists(&questions, cx);
    }

    /// What is known when a message is to be stored.
    pub(super) fn screened_end<P: Platform>(&mut self, cx: &mut Context<'_, P>) -> Screened {
        if !self.wants_urls() {
            return Screened::Pass;
        }
        if !self.is_known(cx) {
            return Screened::Wait;
        }
        let envelope = self.session.envelope();
        let mut paths = envelope.into_iter().flat_map(|envelope| &envelope.recipients);
        // It is refused as a whole, unless it is the postmaster's alone.
        let screen = self.screen.as_ref();
        let refusal =
            paths.find_map(|to| screen.and_then(|it| it.inquiry.refusal(&to.forward_path)));
        refusal.map_or(Screened::Pass, |reply| Screened::Refuse(reply.into()))
    }

    /// Whether lists have said all that they will say in time.
    fn is_known<P: Platform>(&mut self, cx: &mut Context<'_, P>) -> bool {
        let Some(screen) = &mut self.screen else { return true };
        if screen.inquiry.is_open() {
            if screen.due > cx.mono() {
                return false;
            }
            screen.inquiry.give_up();
            self.tell_found(cx);
        }
        true
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
        if !self.is_known(cx) {
            return Screened::Wait;
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
                self.go_on_screened(connection, commit, cx);
                self.settle(connection, commit, cx);
            }
        }
    }

    /// Answer the recipient, or the end of content, that waits for block lists, if they have spoken
    /// or it is too late.
    pub(super) fn go_on_screened<P: Platform>(
        &mut self,
        connection: ConnectionId,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        let Some(inbound) = self.sessions.get_mut(connection) else { return };
        if !inbound.screening {
            return;
        }
        let is_end = inbound.receiving.as_ref().is_some_and(Receiving::is_whole);
        let answer = match is_end {
            true => inbound.judge_end(commit, cx),
            false => inbound.judge_rcpt(commit, cx),
        };
        if let Some(answer) = answer {
            inbound.go_on(answer, commit, cx);
        }
    }
}
