//! Put links of ours into what tenants send, where they want that.

use crate::base::ids::MessageId;
use crate::mail::address::{ForwardPath, Mailbox};
use crate::mail::envelope::Envelope;
use crate::outcome::counters::Count;
use crate::policy::links::letter::{Done, Linker, Tracked};
use crate::policy::senders::Sender;
use crate::policy::senders::labels::Labels;
use crate::shard::commit::Commit;
use crate::shard::context::Context;
use crate::shard::ingress::Inbound;
use crate::shard::platform::Platform;
use crate::smtp::answer::Answer;

impl Inbound {
    /// What goes through the message to come, where some tenant wants that of its own.
    pub(super) fn linker<P: Platform>(
        &self,
        id: MessageId,
        cx: &Context<'_, P>,
    ) -> Option<Box<Linker>> {
        let rules = cx.settings.links.as_ref()?;
        let envelope = self.session.envelope()?;
        if envelope.reverse_path.is_null() || !self.is_trusted(cx) {
            return None;
        }
        let (listener, identity) = (self.client.listener, self.session.identity());
        let known = cx.settings.senders.tenant(listener, identity);
        let is_said = cx.settings.senders.fields().is_some();
        if !is_said && !known.is_some_and(|tenant| rules.terms.contains_key(tenant)) {
            return None;
        }
        Some(Box::new(Linker::new(rules.clone(), id, cx.now.wall, only(envelope))))
    }

    /// Lead a chunk through it; what passes on now.
    pub(super) fn link<P: Platform>(
        &mut self,
        chunk: Vec<u8>,
        commit: &Commit,
        cx: &Context<'_, P>,
    ) -> Vec<u8> {
        let Some(receiving) = self.receiving.as_mut() else { return chunk };
        let Some(mut linker) = receiving.linker.take() else { return chunk };
        let mut passed = linker.push(chunk);
        if linker.asks() {
            let said = receiving.said();
            passed.append(&mut linker.sent_by(self.who_sends(said, cx)));
        }
        // A header is bounded by itself, and says how to unsubscribe.
        if commit.is_full() && !linker.is_in_header() {
            passed.append(&mut linker.let_go());
        }
        if let Some(receiving) = self.receiving.as_mut() {
            receiving.linker = Some(linker);
        }
        passed
    }

    /// The last of the content has come, and who sends it is known: what of it is left to pass on.
    pub(super) fn end_links<P: Platform>(
        &mut self,
        last: Vec<u8>,
        sender: &Sender,
        cx: &mut Context<'_, P>,
    ) -> Result<Vec<u8>, Answer> {
        let linker = self.receiving.as_mut().and_then(|receiving| receiving.linker.take());
        let Some(mut linker) = linker else { return Ok(last) };
        let mut passed = linker.push(last);
        if linker.is_in_header() {
            passed.append(&mut linker.sent_by(Some(sender.clone())));
        }
        end(*linker, passed, cx)
    }

    /// Who sends a message whose header says this. What is wrong with it is said at its end.
    fn who_sends<P: Platform>(&self, said: Labels, cx: &Context<'_, P>) -> Option<Sender> {
        let (listener, identity) = (self.client.listener, self.session.identity());
        cx.settings.senders.sender(listener, identity, said).ok()
    }
}

/// Content that came whole, of a sender who is known, with what its tenant wants of it.
pub(in crate::shard) fn linked<P: Platform>(
    content: Vec<u8>,
    id: MessageId,
    envelope: &Envelope,
    cx: &mut Context<'_, P>,
) -> Result<Vec<u8>, Answer> {
    let Some(rules) = cx.settings.links.as_ref() else { return Ok(content) };
    let handling = envelope.handling.as_deref();
    let (tenant, campaign) =
        handling.map_or((None, None), |said| (said.tenant.clone(), said.campaign.clone()));
    let is_wanted = tenant.as_ref().is_some_and(|tenant| rules.terms.contains_key(tenant));
    if envelope.reverse_path.is_null() || !is_wanted {
        return Ok(content);
    }
    let mut linker = Linker::new(rules.clone(), id, cx.now.wall, only(envelope));
    let mut passed = linker.push(content);
    if linker.is_in_header() {
        passed.append(&mut linker.sent_by(Some(Sender { tenant, campaign })));
    }
    end(linker, passed, cx)
}

/// What is left to pass on, behind what has passed.
fn end<P: Platform>(
    linker: Linker,
    mut passed: Vec<u8>,
    cx: &mut Context<'_, P>,
) -> Result<Vec<u8>, Answer> {
    let (mut rest, done) = linker.end().map_err(|reply| {
        cx.common.counters.increment(Count::UnsubscribeRefused);
        Answer::from(reply)
    })?;
    count(done, cx);
    passed.append(&mut rest);
    Ok(passed)
}

/// Whom a message is for, where it is for one alone.
fn only(envelope: &Envelope) -> Option<Mailbox> {
    match envelope.recipients.as_slice() {
        [only] => mailbox(&only.forward_path),
        _ => None,
    }
}

fn mailbox(path: &ForwardPath) -> Option<Mailbox> {
    match path {
        ForwardPath::Mailbox(mailbox) => Some(mailbox.clone()),
        ForwardPath::Postmaster => None,
    }
}

fn count<P: Platform>(done: Done, cx: &mut Context<'_, P>) {
    if done.unsubscribe {
        cx.common.counters.increment(Count::UnsubscribeAdded);
    }
    let Some(tracked) = done.tracked else { return };
    cx.common.counters.increment(match tracked {
        Tracked::Links(_) => Count::TrackedMessages,
        Tracked::None => Count::TrackedNone,
        Tracked::Large => Count::TrackedLarge,
        Tracked::Signed => Count::TrackedSigned,
    });
}
