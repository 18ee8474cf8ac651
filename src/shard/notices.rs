//! Write DSNs: of failures, delays and relaying; and act on whether they could be stored.
//!
//! In: recipients of a message and what is to be said of them. Out: messages of ours, handed to the
//! spool. Invariant: a recipient that is bounced with a DSN becomes final only once the DSN is on
//! stable storage, so a crash loses neither. Lives on: the home shard.

use std::sync::Arc;

use crate::base::limits::DSN_RETRY;
use crate::base::slots::Slot;
use crate::mail::outcome::Reason;
use crate::mail::status::Reply;
use crate::outcome::counters::Count;
use crate::outcome::dsn::{self, Action, DsnRecipient, DsnRequest};
use crate::policy::signing::{Signing, Unsigned};
use crate::queue::Deferral;
use crate::shard::commit::{About, Commit, From, InMemory};
use crate::shard::context::Context;
use crate::shard::dispatch::Home;
use crate::shard::mesh::{Attempted, Report};
use crate::shard::platform::Platform;
use crate::shard::reasons::{original, taken, untried};
use crate::spool::log::LogError;
use crate::spool::stored::{NewMessage, Standing, Stored};

impl Home {
    /// The next hop will not report success (RFC 3461 §5.2.2), or what is late, so this is as far
    /// as we can tell; or the sender wants to know each step.
    pub(super) fn tell_relayed<P: Platform>(
        &mut self,
        report: &Report,
        attempted: &Attempted,
        relayed: &[(u16, &Reply)],
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        let reasons: Vec<(u16, Reason)> = relayed
            .iter()
            .map(|(recipient, reply)| (*recipient, taken(reply, &attempted.peer)))
            .collect();
        let reasons: Vec<_> = reasons.iter().map(|(index, reason)| (*index, reason)).collect();
        let message = report.departure.message;
        self.notify(message, &report.stored, Action::Relayed, &reasons, commit, cx);
    }

    /// Tell the reverse-path that a message waits.
    pub(super) fn report_delay<P: Platform>(
        &mut self,
        message: Slot,
        stored: &Arc<Stored>,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        let mut waiting = Vec::new();
        for (index, recipient) in (0u16..).zip(&stored.envelope.recipients) {
            let waits = self.queue.recipient(message, index).is_some();
            if waits && dsn::due(&stored.envelope, recipient, Action::Delayed) {
                let last = self.last_reason(message, index, commit);
                waiting.push((index, last.unwrap_or_else(|| untried("not tried yet"))));
            }
        }
        let reasons: Vec<_> = waiting.iter().map(|(index, reason)| (*index, reason)).collect();
        self.notify(message, stored, Action::Delayed, &reasons, commit, cx);
    }

    /// Write a DSN about some recipients of a message and hand it to the spool.
    pub(super) fn notify<P: Platform>(
        &mut self,
        message: Slot,
        stored: &Arc<Stored>,
        action: Action,
        reasons: &[(u16, &Reason)],
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        if reasons.is_empty() {
            return;
        }
        let envelope = &stored.envelope;
        let recipients: Vec<DsnRecipient<'_>> = reasons
            .iter()
            .map(|(index, reason)| DsnRecipient {
                recipient: &envelope.recipients[usize::from(*index)],
                reason,
                attempted: cx.now.wall,
            })
            .collect();
        let id = commit.next_id();
        let dsn = dsn::compose(&DsnRequest {
            action,
            hostname: cx.settings.hostname.as_str(),
            id,
            original_id: stored.id,
            envelope,
            recipients: &recipients,
            original: &original(stored),
            original_bytes: stored.bytes(),
            arrival: stored.received,
            now: cx.now.wall,
            expires: self.expires(message, stored, cx),
        });
        cx.common.counters.increment(match action {
            Action::Failed => Count::DsnsFailed,
            Action::Delayed => Count::DsnsDelayed,
            Action::Relayed | Action::Delivered => Count::DsnsSuccess,
        });
        let about = About {
            message,
            action,
            stored: stored.clone(),
            recipients: reasons.iter().map(|(index, _)| *index).collect(),
        };
        let has_eight_bit = !dsn.content.is_ascii();
        let dsn = NewMessage::own(id, dsn.envelope, dsn.content, has_eight_bit, cx.now.wall);
        let unsigned = unsigned(&dsn.content, cx);
        let stored = commit.sign_and_store(dsn, unsigned, From::Dsn(about), cx);
        self.check_dsn(stored, commit, cx);
    }

    /// Store a DSN that has been signed.
    pub(super) fn store_dsn<P: Platform>(
        &mut self,
        dsn: NewMessage,
        about: About,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        let stored = commit.message(dsn, From::Dsn(about), cx.mono());
        self.check_dsn(stored, commit, cx);
    }

    fn check_dsn<P: Platform>(
        &mut self,
        stored: Result<Option<InMemory>, (LogError, From)>,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        if let Err((error, From::Dsn(about))) = stored {
            let id = about.stored.id;
            tracing::warn!(%id, %error, "no room for a DSN: tried again later");
            self.dsn_refused(&about, commit, cx);
        }
    }

    /// A DSN is on stable storage: those whom it says are lost are final now.
    pub(crate) fn dsn_stored(&mut self, about: &About, commit: &mut Commit) {
        if about.action == Action::Failed {
            for &recipient in &about.recipients {
                self.finish(about.message, recipient, Standing::Bounced, commit);
            }
        }
    }

    /// A DSN could not be stored: those whom it is about wait, to be judged again soon.
    pub(crate) fn dsn_refused<P: Platform>(
        &mut self,
        about: &About,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) {
        if about.action != Action::Failed {
            return;
        }
        for &recipient in &about.recipients {
            let due = cx.now.wall + DSN_RETRY;
            if self.queue.postpone(about.message, recipient, due) == Some(Deferral::Removed) {
                self.remove(about.message, &about.stored, recipient, commit, cx);
            }
        }
    }
}

/// What a message of ours is to be signed with: it is from this node.
pub(super) fn unsigned<P: Platform>(content: &[u8], cx: &Context<'_, P>) -> Unsigned {
    if cx.settings.signers.is_empty() {
        return Unsigned::default();
    }
    let mut signing = Signing::new(cx.settings.signers.clone(), None, content.len());
    signing.push(content);
    signing.finish(cx.now.wall)
}
