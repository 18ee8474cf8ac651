//! Take mail in: drive the receiving side of SMTP for every client of this shard.
//!
//! In: what the platform says of clients' connections; what the spool says of their messages.
//! Out: replies, and messages handed to [`Commit`]. Invariant: `250` to the end of content is
//! answered only against the spool's [`Accepted`], or where the listener's `durability` is `memory`
//! against [`InMemory`]. Lives on: the home shard.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::base::ids::MessageId;
use crate::base::limits::SESSION_OUTPUT_MAX;
use crate::base::time::Monotonic;
use crate::outcome::counters::Count;
use crate::policy::admission::Admission;
use crate::shard::commit::Commit;
use crate::shard::connections::Connections;
use crate::shard::context::{Context, Timer};
use crate::shard::filters::Request;
use crate::shard::platform::{ConnectionId, Platform};
use crate::shard::refusals::refusal;
use crate::smtp::answer::Answer;
use crate::smtp::server::{Event, Session};
use crate::tls::Tls;

mod answering;
mod auth;
mod checking;
mod filtering;
mod gate;
mod labelling;
mod linking;
mod message;
mod pacing;
mod proxied;
mod recipient;
mod returns;
mod screening;
mod secure;
mod signing;
mod slowing;
mod suppressing;
mod xclient;

pub(in crate::shard) use crate::shard::ingress::gate::refusal_of_signers;
pub(in crate::shard) use crate::shard::ingress::labelling::refusal_of;
pub(in crate::shard) use crate::shard::ingress::linking::linked;
use crate::shard::ingress::message::Receiving;
use crate::shard::ingress::pacing::too_often;
use crate::shard::ingress::proxied::Proxied;
use crate::shard::ingress::screening::Screen;

/// Every client's session on a shard.
#[derive(Debug)]
pub(crate) struct Ingress {
    sessions: Connections<Inbound>,
    /// Connections of proxies that have not said for whom they are.
    proxied: Connections<Proxied>,
    admission: Admission,
    draining: bool,
    /// Clients that are read no further until the disk has caught up.
    slowed: VecDeque<ConnectionId>,
    /// Too much content waited for it when it was last looked at.
    pressed: bool,
}

/// One session and what it has under way.
#[derive(Debug)]
struct Inbound {
    session: Session,
    client: Client,
    /// Everything goes through it, from the handshake on.
    tls: Option<Box<Tls>>,
    /// Bytes that came behind a question that is being answered.
    held: Vec<u8>,
    paused: bool,
    /// In `Ingress::slowed`.
    slowed: bool,
    /// Octets of memory that the session held when it was last looked at: content, recipients,
    /// what came too early, what was not sent.
    gathered: usize,
    /// Its message is to come: counted in `Commit::joining`.
    joins: bool,
    /// The peer has said all it will.
    ended: bool,
    /// When the transaction began.
    mail_at: Monotonic,
    /// Content is coming in for this message.
    receiving: Option<Receiving>,
    /// The end of content waits for the commit of this message.
    committing: Option<MessageId>,
    /// The session waits for its client's password to be checked.
    verifying: bool,
    /// It waits for what a server behind says of a recipient.
    asking: bool,
    /// It waits for a recipient to be looked for on suppression lists.
    looking_up: bool,
    /// It waits for another client to be admitted in place of the one that it had.
    presenting: bool,
    /// What block lists are asked about its client.
    screen: Option<Box<Screen>>,
    /// A recipient, or the end of content, waits for what they say.
    screening: bool,
    /// The earliest timer that is set for this session.
    armed: Option<Monotonic>,
    /// Octets given to the platform since it last said `Sent`.
    unsent: usize,
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
struct Client {
    connection: ConnectionId,
    listener: u16,
    peer: SocketAddr,
    /// Counted by admission.
    admitted: bool,
}

impl Ingress {
    /// No session yet.
    pub(crate) fn new(admission: Admission) -> Self {
        Self {
            sessions: Connections::default(),
            proxied: Connections::default(),
            admission,
            draining: false,
            slowed: VecDeque::new(),
            pressed: false,
        }
    }

    /// Sessions that are open.
    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether no session is open or about to be.
    pub(crate) fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.proxied.is_empty()
    }

    /// Whether `connection` is a client's.
    pub(crate) fn has(&mut self, connection: ConnectionId) -> bool {
        self.sessions.get_mut(connection).is_some() || self.proxied.get_mut(connection).is_some()
    }

    /// Put other limits in force; who is in stays in.
    pub(crate) fn admission(&mut self) -> &mut Admission {
        &mut self.admission
    }

    /// A client connected, or a proxy for one.
    pub(crate) fn accepted<P: Platform>(
        &mut self,
        connection: ConnectionId,
        listener: u16,
        peer: SocketAddr,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        if cx.settings.proxies(listener).by_header.contains(peer.ip()) {
            self.await_header(connection, listener, peer, cx);
        } else {
            self.begin(connection, listener, peer, None, commit, cx);
        }
    }

    /// Begin the session of the client at `peer`; a timer may be `armed` for it already.
    fn begin<P: Platform>(
        &mut self,
        connection: ConnectionId,
        listener: u16,
        peer: SocketAddr,
        armed: Option<Monotonic>,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        cx.common.counters.increment(Count::SessionsOpened);
        let options = cx.settings.listener(listener).clone();
        let speaks_for_others = cx.settings.proxies(listener).by_xclient.contains(peer.ip());
        let paced = if speaks_for_others { Ok(()) } else { too_often(listener, peer.ip(), cx) };
        let admitted = paced.and_then(|()| self.admission.open(listener, peer.ip()));
        let client = Client { connection, listener, peer, admitted: admitted.is_ok() };
        let session = match admitted {
            Ok(()) if self.draining => Session::refused(options, Answer::DRAINING, cx.mono()),
            Ok(()) => Session::new(options, cx.mono()),
            Err(reply) => {
                cx.common.counters.increment(Count::SessionsRefused);
                Session::refused(options, reply.into(), cx.mono())
            }
        };
        let mut inbound = Inbound {
            session,
            client,
            tls: None,
            held: Vec::new(),
            paused: false,
            slowed: false,
            gathered: 0,
            joins: false,
            ended: false,
            mail_at: cx.mono(),
            receiving: None,
            committing: None,
            verifying: false,
            asking: false,
            looking_up: false,
            presenting: false,
            screen: None,
            screening: false,
            armed,
            unsent: 0,
        };
        if speaks_for_others {
            inbound.session.offer_xclient();
        }
        if inbound.session.awaits_handshake() {
            inbound.expect_handshake(cx);
        }
        if !inbound.session.is_over() {
            inbound.screen_client(cx);
        }
        self.sessions.insert(connection, inbound);
        self.settle(connection, commit, cx);
    }

    /// A client sent this.
    pub(crate) fn received<P: Platform>(
        &mut self,
        connection: ConnectionId,
        bytes: &[u8],
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        let Some(inbound) = self.sessions.get_mut(connection) else {
            return self.header_received(connection, bytes, commit, cx);
        };
        inbound.received(bytes, commit, cx);
        self.settle(connection, commit, cx);
        self.slow(connection, commit, cx);
    }

    /// A client will send nothing more.
    pub(crate) fn ended<P: Platform>(
        &mut self,
        connection: ConnectionId,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        let Some(inbound) = self.sessions.get_mut(connection) else {
            return self.dismiss(connection, cx);
        };
        inbound.end();
        self.settle(connection, commit, cx);
    }

    /// A client's connection broke. A message that is being committed stays: it may be stored
    /// without the client ever hearing so, and then comes twice (RFC 5321 §4.1.1.4).
    pub(crate) fn lost(&mut self, connection: ConnectionId, commit: &mut Commit) {
        self.proxied.remove(connection);
        let Some(mut inbound) = self.sessions.remove(connection) else { return };
        inbound.abandon(commit);
        if inbound.committing.is_some() {
            commit.to_filter.push_back(Request::Forget(connection));
        }
        commit.memory.gathered(inbound.gathered, 0);
        commit.joining -= usize::from(inbound.joins);
        self.forget(inbound.client);
    }

    /// All that was sent has left.
    pub(crate) fn sent(&mut self, connection: ConnectionId) {
        if let Some(inbound) = self.sessions.get_mut(connection) {
            inbound.unsent = 0;
        }
    }

    /// A session's timer fired, perhaps too early.
    pub(crate) fn timer<P: Platform>(
        &mut self,
        connection: ConnectionId,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        let Some(inbound) = self.sessions.get_mut(connection) else {
            return self.header_due(connection, cx);
        };
        inbound.armed = None;
        // It is us who are slow then, not the client.
        if !inbound.waits() {
            inbound.session.handle_deadline(cx.mono());
        }
        self.go_on_screened(connection, commit, cx);
        self.settle(connection, commit, cx);
    }

    /// The node drains: tell every session, take no new one.
    pub(crate) fn drain<P: Platform>(&mut self, commit: &mut Commit, cx: &mut Context<'_, P>) {
        self.draining = true;
        self.dismiss_all(cx);
        for connection in self.sessions.ids() {
            if let Some(inbound) = self.sessions.get_mut(connection) {
                inbound.session.handle_drain(cx.mono());
            }
            self.settle(connection, commit, cx);
        }
    }

    /// The drain's deadline has come: cut what is left, but for commits under way.
    pub(crate) fn cut<P: Platform>(&mut self, commit: &mut Commit, cx: &mut Context<'_, P>) {
        self.dismiss_all(cx);
        for connection in self.sessions.ids() {
            cx.platform.abort(connection);
            self.lost(connection, commit);
        }
    }

    /// Send what the session says, set its timer, and let it go once it is over.
    fn settle<P: Platform>(
        &mut self,
        connection: ConnectionId,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        self.present(connection, commit, cx);
        let Some(inbound) = self.sessions.get_mut(connection) else { return };
        // What the end of the session or a deadline made of the transaction.
        inbound.answer_questions(commit, cx);
        inbound.send(cx);
        let gathered = inbound.memory();
        commit.memory.gathered(std::mem::replace(&mut inbound.gathered, gathered), gathered);
        inbound.count_joining(commit);
        if inbound.session.is_over() && inbound.committing.is_none() {
            cx.platform.close(connection);
        } else if inbound.unsent > SESSION_OUTPUT_MAX {
            cx.platform.abort(connection);
        } else {
            let deadline = inbound.session.deadline().or(inbound.screen_due());
            return cx.arm(&mut inbound.armed, deadline, Timer::Session(connection));
        }
        self.lost(connection, commit);
    }

    fn forget(&mut self, client: Client) {
        if client.admitted {
            self.admission.close(client.listener, client.peer.ip());
        }
    }
}

impl Inbound {
    /// Octets of memory held.
    fn memory(&self) -> usize {
        let receiving = self.receiving.as_ref().map_or(0, Receiving::memory);
        self.session.memory() + self.held.capacity() + self.unsent + receiving
    }

    /// Let a commit know of a message that may join it, as long as that is to come.
    fn count_joining(&mut self, commit: &mut Commit) {
        let is_coming = self.committing.is_none() && !self.asking && !self.looking_up;
        let joins = self.session.envelope().is_some() && is_coming;
        let before = std::mem::replace(&mut self.joins, joins);
        commit.joining = commit.joining + usize::from(joins) - usize::from(before);
    }

    /// Whether the session's question is being answered: it takes nothing until then.
    fn waits(&self) -> bool {
        self.committing.is_some()
            || self.verifying
            || self.presenting
            || self.screening
            || self.asking
            || self.looking_up
    }

    /// Take plain octets of the client.
    fn take<P: Platform>(&mut self, bytes: &[u8], commit: &mut Commit, cx: &mut Context<'_, P>) {
        if self.waits() {
            self.hold(bytes, cx);
        } else {
            self.feed(bytes, commit, cx);
        }
    }

    /// Let the session take `bytes`, answering its questions, up to one whose answer takes time.
    fn feed<P: Platform>(&mut self, bytes: &[u8], commit: &mut Commit, cx: &mut Context<'_, P>) {
        let mut rest = bytes;
        loop {
            let taken = self.session.handle_bytes(rest, cx.mono());
            rest = &rest[taken..];
            self.answer_questions(commit, cx);
            if self.waits() {
                return self.hold(rest, cx);
            }
            if self.receiving.is_some() && commit.memory.wants(self.session.content_waiting()) {
                self.on_chunk(commit, cx);
            }
            if rest.is_empty() || self.session.is_over() {
                return;
            }
            // A session that took nothing more wants its output taken first.
            self.send(cx);
        }
    }

    /// Answer what the session asks, up to what takes time.
    fn answer_questions<P: Platform>(&mut self, commit: &mut Commit, cx: &mut Context<'_, P>) {
        while !self.waits() {
            let Some(event) = self.session.poll_event() else { return };
            match event {
                Event::Mail => self.on_mail(commit, cx),
                Event::Rcpt => self.on_rcpt(commit, cx),
                Event::Content => self.on_content(commit, cx),
                Event::ContentFull => self.on_chunk(commit, cx),
                Event::End => self.on_end(commit, cx),
                Event::Aborted => self.abandon(commit),
                Event::Password => self.on_password(cx),
                Event::Verifier => self.on_verifier(cx),
                Event::Proved => self.on_proof(true, cx),
                Event::Disproved => self.on_proof(false, cx),
                Event::Presented => self.presenting = true,
                Event::StartTls => {
                    self.send(cx);
                    self.expect_handshake(cx);
                }
            }
        }
    }

    fn on_mail<P: Platform>(&mut self, commit: &Commit, cx: &mut Context<'_, P>) {
        self.mail_at = cx.mono();
        let refusal = self
            .refusal_of_sender(cx)
            .or_else(|| refusal(commit.admission()))
            .or_else(|| self.refusal_of_hold(cx))
            .or_else(|| self.refusal_of_tenant(cx))
            .or_else(|| self.sends_too_often(cx));
        let answer = match refusal {
            None => {
                self.screen(cx);
                Answer::SENDER_OK
            }
            Some(answer) => {
                cx.common.counters.increment(Count::RefusedMail);
                answer
            }
        };
        self.session.answer(answer, cx.mono());
    }

    fn on_rcpt<P: Platform>(&mut self, commit: &Commit, cx: &mut Context<'_, P>) {
        if let Some(answer) = self.judge_rcpt(commit, cx) {
            self.session.answer(answer, cx.mono());
        }
    }
}
