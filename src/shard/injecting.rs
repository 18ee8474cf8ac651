//! Take mail that is handed in over HTTP, by somebody who may send to anyone.
//!
//! In: messages of the control thread, whole. Out: what a client of SMTP would be told, once it is
//! so. What concerns a recipient or content alone is judged before, beside the shards
//! ([`refusal_of_recipient`], [`check_content`]): looking somebody up may block. Invariant: a
//! message is `Submitted` only against the log's `Accepted`, as for every other client.
//! Lives on: the home shard.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use crate::base::ids::MessageId;
use crate::base::limits::RECORD_CONTENT_MAX;
use crate::base::time::WallTime;
use crate::mail::address::Mailbox;
use crate::mail::envelope::Envelope;
use crate::mail::handling::TenantName;
use crate::mail::status::Reply;
use crate::policy::content::received::ReceivedByHttp;
use crate::policy::content::{ContentFacts, ContentScan};
use crate::policy::gate::Use;
use crate::policy::recipients::{Check, not_listed};
use crate::policy::returns::Whose;
use crate::policy::signing::{Signing, Unsigned};
use crate::policy::suppression::{self, Lists};
use crate::shard::Shard;
use crate::shard::commands::{Answer, Command, Injection};
use crate::shard::commit::{Commit, From};
use crate::shard::context::Context;
use crate::shard::ingress::{linked, refusal_of, refusal_of_signers};
use crate::shard::mesh::Request;
use crate::shard::platform::Platform;
use crate::shard::refusals::{answer_to, refusal};
use crate::shard::requests::answer_refused;
use crate::shard::settings::Settings;
use crate::smtp::answer as smtp;
use crate::spool::log::LogError;
use crate::spool::stored::{NewMessage, Origin};

impl Shard {
    /// Take a message, or say why not. What is sent to a shard that drains is refused: it could
    /// leave before the message is stored.
    pub(super) fn inject<P: Platform>(&mut self, mut request: Request, platform: &mut P) {
        let drains = self.drain.is_some();
        let Command::Inject(injection) = &mut request.command else { return };
        let content = mem::take(&mut injection.content);
        let now = platform.now();
        let cx = &mut Context { now, platform, settings: &self.settings, common: &mut self.common };
        let refused = match drains {
            true => Some(smtp::Answer::DRAINING),
            false => refusal_now(&injection.envelope, &self.commit, cx),
        };
        if let Some(answer) = refused {
            return request.answer(Answer::Refused(answer.into()));
        }
        let made = message(injection, content, &mut self.commit, cx);
        let (message, unsigned, ahead) = match made {
            Ok(made) => made,
            Err(answer) => return request.answer(Answer::Refused(answer.into())),
        };
        let id = message.id;
        let laid = match refusal_of_signers(&unsigned, cx) {
            Some(answer) => Err(answer),
            None => lay(ahead, id, &mut self.commit).map_err(answer_to),
        };
        match laid {
            Ok(()) => {
                let from = From::Control(Box::new(request));
                answer_refused(self.commit.sign_and_store(message, unsigned, from, cx));
            }
            Err(answer) => {
                self.commit.abandon(id);
                request.answer(Answer::Refused(answer.into()));
            }
        }
    }
}

/// Append what comes before a message's last chunk.
fn lay(chunks: Vec<Vec<u8>>, id: MessageId, commit: &mut Commit) -> Result<(), LogError> {
    chunks.into_iter().try_for_each(|chunk| commit.content(id, chunk))
}

/// Why no message of this sender may be taken now.
fn refusal_now<P: Platform>(
    envelope: &Envelope,
    commit: &Commit,
    cx: &mut Context<'_, P>,
) -> Option<smtp::Answer> {
    let full = refusal(commit.admission());
    full.or_else(|| refusal_of(tenant(envelope)?, cx))
}

fn tenant(envelope: &Envelope) -> Option<&TenantName> {
    envelope.handling.as_ref()?.tenant.as_ref()
}

/// The message to be stored, what it is to be signed with, and what of its content goes before its
/// last chunk.
fn message<P: Platform>(
    injection: &Injection,
    content: Vec<u8>,
    commit: &mut Commit,
    cx: &mut Context<'_, P>,
) -> Result<(NewMessage, Unsigned, Vec<Vec<u8>>), smtp::Answer> {
    let (id, envelope) = (commit.next_id(), injection.envelope.clone());
    let announced = cx.settings.returns.as_deref().and_then(|returns| {
        let whose = envelope.handling.as_deref().map(Whose::from).unwrap_or_default();
        returns.announcement(id, &envelope, whose, cx.now.wall)
    });
    let announced = announced.unwrap_or_default();
    let content = linked(content, id, &envelope, cx)?;
    let unsigned = unsigned([announced.as_bytes(), &content], &envelope, cx);
    let mut prefix = ReceivedByHttp {
        hostname: &cx.settings.hostname,
        id,
        recipient: match envelope.recipients.as_slice() {
            [only] => Some(&only.forward_path),
            _ => None,
        },
        now: cx.now.wall,
    }
    .to_field();
    prefix.extend_from_slice(announced.as_bytes());
    let mut chunks: Vec<_> = content.chunks(RECORD_CONTENT_MAX).map(<[u8]>::to_vec).collect();
    let message = NewMessage {
        id,
        envelope: Arc::new(envelope),
        received: cx.now.wall,
        intake: Duration::ZERO,
        prefix,
        content: chunks.pop().unwrap_or_default(),
        has_eight_bit: injection.has_eight_bit,
        is_quarantined: false,
        origin: Origin::Injected,
    };
    Ok((message, unsigned, chunks))
}

/// As a trusted client's mail is signed.
fn unsigned<P: Platform>(pieces: [&[u8]; 2], envelope: &Envelope, cx: &Context<'_, P>) -> Unsigned {
    if cx.settings.signers.is_empty() {
        return Unsigned::default();
    }
    let domain = envelope.reverse_path.0.as_ref().map(|mailbox| mailbox.domain().clone());
    let header_max = cx.settings.header_bytes_max();
    let signing = Signing::new(cx.settings.signers.clone(), domain, header_max);
    let mut signing = signing.of_tenant(tenant(envelope).cloned());
    pieces.iter().for_each(|piece| signing.push(piece));
    signing.finish(cx.now.wall)
}

/// What is against a recipient. Blocks where suppression lists are looked through. A server behind
/// is not asked about it: what it refuses comes back as a DSN.
pub fn refusal_of_recipient(
    settings: &Settings,
    to: &Mailbox,
    tenant: Option<&TenantName>,
    now: WallTime,
) -> Option<Reply> {
    if let Some(reply) = settings.gate.refusal(to.domain(), Use::Relay) {
        return Some(reply);
    }
    if let Some(Check::List(list)) = settings.recipients.of(to)
        && !list.has(to)
    {
        return Some(not_listed());
    }
    let suppression = settings.suppressed_at_rcpt.as_ref()?;
    match suppression.suspects(to, Lists { tenant }, now)?.run() {
        Ok(found) => found.as_ref().map(suppression::refused),
        Err(error) => {
            tracing::error!(%error, "a recipient is told to come again");
            Some(suppression::unreadable())
        }
    }
}

/// What content is, or what is against it.
pub fn check_content(settings: &Settings, content: &[u8]) -> Result<ContentFacts, Reply> {
    let mut scan = ContentScan::new();
    scan.push(content);
    let facts = scan.facts();
    facts.check(settings.content_limits).map(|()| facts)
}
