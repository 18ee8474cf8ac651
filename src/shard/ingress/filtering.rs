//! Keep content that milters are to see, hand it to them, and go on with what they let pass.

use std::mem;
use std::sync::Arc;

use crate::milter::{Letter, Visitor};
use crate::outcome::counters::Count;
use crate::policy::filtering::split;
use crate::policy::signing::{Signing, Unsigned};
use crate::shard::commit::{Commit, From, InMemory};
use crate::shard::context::Context;
use crate::shard::filters::{Request, Unfiltered};
use crate::shard::ingress::message::Receiving;
use crate::shard::ingress::{Inbound, Ingress};
use crate::shard::platform::{ConnectionId, Platform};
use crate::shard::refusals::answer_to;
use crate::shard::settings::filters::Filters;
use crate::smtp::answer::Answer;
use crate::spool::log::LogError;
use crate::spool::stored::NewMessage;

/// Content that waits for its end in memory.
#[derive(Debug)]
pub(super) struct Kept {
    /// Who is to see it.
    filters: Filters,
    pieces: Vec<Vec<u8>>,
}

impl Kept {
    /// Take a piece, unless memory is short: then all of them go.
    pub(super) fn push(&mut self, piece: Vec<u8>, commit: &Commit) -> Result<(), LogError> {
        if commit.is_full() {
            self.pieces = Vec::new();
            return Err(LogError::Busy);
        }
        self.pieces.push(piece);
        Ok(())
    }

    /// Octets of memory held.
    pub(super) fn memory(&self) -> usize {
        self.pieces.iter().map(Vec::capacity).sum()
    }
}

impl Inbound {
    /// Room for content that is to be filtered, if it is.
    pub(super) fn kept<P: Platform>(&self, cx: &Context<'_, P>) -> Option<Kept> {
        let is_null = self.session.envelope()?.reverse_path.is_null();
        let filters = cx.settings.filters(self.client.listener, is_null)?.clone();
        Some(Kept { filters, pieces: Vec::new() })
    }

    /// All of the content has come: show it to the milters.
    pub(super) fn submit<P: Platform>(
        &mut self,
        mut receiving: Receiving,
        mut kept: Kept,
        last: Vec<u8>,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        if let Err(error) = kept.push(last, commit) {
            cx.common.counters.increment(Count::RefusedContent);
            return self.session.answer(answer_to(error), cx.mono());
        }
        let id = receiving.id;
        let header_bytes = receiving.scan.facts().header_bytes;
        let signing = receiving.signing.take();
        let message = self.message(receiving, Vec::new(), cx);
        let Kept { filters, pieces } = kept;
        let (fields, has_empty_line, body) = split(pieces, header_bytes);
        let letter = Letter {
            visitor: Arc::new(self.visitor(cx)),
            id,
            envelope: (*message.envelope).clone(),
            fields,
            has_empty_line,
            body,
        };
        let session = self.client.connection;
        let unfiltered = Unfiltered { session, message, letter, filters, signing };
        commit.to_filter.push_back(Request::Filter(Box::new(unfiltered)));
        (self.committing, self.filtering) = (Some(id), true);
    }

    fn visitor<P: Platform>(&self, cx: &Context<'_, P>) -> Visitor {
        let facts = self.tls.as_ref().and_then(|tls| tls.facts());
        Visitor {
            peer: self.client.peer,
            hello: self.session.hello().into(),
            hostname: cx.settings.hostname.as_str().into(),
            listener: cx.settings.listener_name(self.client.listener).into(),
            tls: facts.map(|facts| (facts.version, facts.cipher)),
            // No session has one: AUTH is not offered.
            login: None,
        }
    }

    /// Nobody waits any more for what milters are asked about.
    pub(super) fn forget_filtering(&mut self, commit: &mut Commit) {
        if mem::take(&mut self.filtering) {
            commit.to_filter.push_back(Request::Forget(self.client.connection));
        }
    }
}

impl Ingress {
    /// Milters let the message pass that a session waits for; all but its last piece is in the log.
    pub(crate) fn filtered<P: Platform>(
        &mut self,
        connection: ConnectionId,
        message: NewMessage,
        signing: Option<Signing>,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        if let Some(inbound) = self.sessions.get_mut(connection) {
            inbound.filtering = false;
        }
        let id = message.id;
        let unsigned = signing.map_or_else(Unsigned::default, |one| one.finish(cx.now.wall));
        let stored = commit.sign_and_store(message, unsigned, From::Session(connection), cx);
        match stored {
            Ok(None) => {}
            Ok(Some(in_memory)) => {
                let answer = Answer::stored(InMemory::id(&in_memory));
                self.committed(connection, answer, commit, cx);
            }
            Err((error, _)) => {
                commit.abandon(id);
                self.not_taken(connection, answer_to(error), commit, cx);
            }
        }
    }

    /// The message that a session waits for is not taken, or thrown away.
    pub(crate) fn not_taken<P: Platform>(
        &mut self,
        connection: ConnectionId,
        answer: Answer,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        if let Some(inbound) = self.sessions.get_mut(connection) {
            inbound.filtering = false;
        }
        if !answer.is_positive() {
            cx.common.counters.increment(Count::RefusedContent);
        }
        self.committed(connection, answer, commit, cx);
    }
}
