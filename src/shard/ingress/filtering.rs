//! Keep content that milters are to see, hand it to them, and go on with what they let pass.

use std::sync::Arc;

use crate::milter::{Letter, Visitor};
use crate::policy::filtering::split;
use crate::policy::signing::Signing;
use crate::shard::commit::{Commit, InMemory};
use crate::shard::context::Context;
use crate::shard::filters::{Request, Unfiltered};
use crate::shard::ingress::message::{Receiving, Work};
use crate::shard::ingress::{Inbound, Ingress};
use crate::shard::platform::{ConnectionId, Platform};
use crate::shard::refusals::answer_to;
use crate::shard::settings::filters::Filters;
use crate::shard::verifying::Subject;
use crate::smtp::answer::Answer;
use crate::spool::log::LogError;

/// Content that waits for its end in memory.
#[derive(Debug)]
pub(super) struct Kept {
    /// Who is to see it.
    filters: Filters,
    pieces: Vec<Vec<u8>>,
    /// What signs it once they have.
    signing: Option<Signing>,
}

impl Kept {
    /// The same, to be signed when milters have seen it.
    pub(super) fn signed_by(self, signing: Signing) -> Self {
        Self { signing: Some(signing), ..self }
    }

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
        Some(Kept { filters, pieces: Vec::new(), signing: None })
    }

    /// All of the content has come: show it to the milters, once it has been verified where that
    /// is wanted.
    pub(super) fn submit<P: Platform>(
        &mut self,
        receiving: Receiving,
        mut kept: Kept,
        (last, work): (Vec<u8>, Work),
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) -> Result<Option<InMemory>, Answer> {
        kept.push(last, commit).map_err(answer_to)?;
        let id = receiving.id;
        let header_bytes = receiving.scan.facts().header_bytes;
        let tenant = receiving.sender.tenant.clone();
        let message = self.message(receiving, Vec::new(), cx);
        let Kept { filters, pieces, signing } = kept;
        let signing = signing.map(|signing| signing.of_tenant(tenant));
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
        let unfiltered = Unfiltered { session, message, letter, filters, signing, held: None };
        let unfiltered = Box::new(unfiltered);
        let verified = match work {
            Work::Verify(facts) => self.authenticity(&unfiltered.message, facts, cx),
            Work::Sign(_) => None,
        };
        match verified {
            Some((authenticity, mode)) => {
                let subject = Subject::ToFilter(unfiltered);
                commit.verify(subject, authenticity, mode, session, cx.mono());
            }
            None => commit.to_filter.push_back(Request::Filter(unfiltered)),
        }
        Ok(None)
    }

    fn visitor<P: Platform>(&self, cx: &Context<'_, P>) -> Visitor {
        let facts = self.tls.as_ref().and_then(|tls| tls.facts());
        Visitor {
            peer: self.client.peer,
            hello: self.session.hello().into(),
            hostname: cx.settings.hostname.as_str().into(),
            listener: cx.settings.listener_name(self.client.listener).into(),
            tls: facts.map(|facts| (facts.version, facts.cipher)),
            login: self.session.identity().map(|name| name.as_str().into()),
        }
    }
}

impl Ingress {
    /// The message that a session waits for has been verified: show it to the milters, unless its
    /// client is gone.
    pub(crate) fn filter(
        &mut self,
        connection: ConnectionId,
        unfiltered: Box<Unfiltered>,
        commit: &mut Commit,
    ) {
        if self.sessions.get_mut(connection).is_some() {
            commit.to_filter.push_back(Request::Filter(unfiltered));
        }
    }
}
