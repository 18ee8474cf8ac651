//! Write the event log of a shard: one line for each thing that happens to a recipient.
//!
//! Invariant: sequence numbers of a run have no gap, and no run uses one of another. Lives on: the
//! home shard.

use std::borrow::Cow;
use std::time::Duration;

use crate::base::time::WallTime;
use crate::mail::address::Mailbox;
use crate::mail::handling::{CampaignName, Handling, TenantName};
use crate::mail::outcome::{Reason, Stage};
use crate::mail::status::{EnhancedStatus, Reply};
use crate::mail::verified::Verified;
use crate::mail::visit::{Action, Visit};
use crate::outcome::classes::Class;
use crate::outcome::counters::Count;
use crate::outcome::event::{Delays, Event, Kind, Returned};
use crate::outcome::feedback::Told;
use crate::policy::returns::Whose;
use crate::shard::context::Context;
use crate::shard::platform::Platform;
use crate::spool::stored::Stored;

/// The event log's pen.
#[derive(Debug)]
pub(crate) struct Journal {
    /// Of the next event.
    sequence: u64,
    line: Vec<u8>,
}

/// What is told of an attempt beside the message.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Attempt<'a> {
    /// Counted from 1; 0 where none was made.
    pub(crate) number: u32,
    /// When the next one is due.
    pub(crate) next: Option<WallTime>,
    /// The site's name.
    pub(crate) site: &'a str,
    /// The next hop, with address.
    pub(crate) peer: &'a str,
    /// The milter that had it happen.
    pub(crate) milter: &'a str,
    /// The upstream relay's name, where one was used.
    pub(crate) upstream: &'a str,
    /// The egress source that it left from.
    pub(crate) source: &'a str,
    /// The provider that the site belongs to.
    pub(crate) provider: &'a str,
    /// The TLS that it went through, or why there was none.
    pub(crate) tls: &'a str,
    /// Where the time went.
    pub(crate) delays: Option<Delays>,
    /// None was made yet: from the end of content to our 250.
    pub(crate) accept: Option<Duration>,
    /// What verification found.
    pub(crate) verified: Option<&'a Verified>,
}

/// What was said, and by whom.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Said<'a> {
    /// Nothing to tell.
    Nothing,
    /// The next hop took it, in these words.
    Taken(&'a Reply),
    /// It was not taken.
    Refused(&'a Reason),
    /// Its client was answered this.
    Answered(&'a Reply),
    /// In these words, without a reply.
    Words(&'a str),
}

/// Of what something that came back speaks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Returning<'a> {
    /// Whose message it was, as far as its token says.
    pub(crate) whose: Whose<'a>,
    /// Whom it was for.
    pub(crate) recipient: Option<&'a Mailbox>,
    /// What became of it.
    pub(crate) told: &'a Told,
    /// Why, where it failed.
    pub(crate) class: Option<Class>,
}

impl Journal {
    /// Of a run whose first event has this number.
    pub(crate) fn new(first: u64) -> Self {
        Self { sequence: first, line: Vec::new() }
    }

    /// Tell of one recipient of `stored`.
    pub(crate) fn tell<P: Platform>(
        &mut self,
        kind: Kind,
        stored: &Stored,
        recipient: u16,
        attempt: Attempt<'_>,
        said: Said<'_>,
        cx: &mut Context<'_, P>,
    ) {
        let forward_path = &stored.envelope.recipients[usize::from(recipient)].forward_path;
        let (stage, code, status, reply) = words(said);
        let class = class(kind, said, cx);
        let to = forward_path.as_str();
        let handling = stored.envelope.handling.as_deref();
        let (tenant, campaign) = handling.map_or(("", ""), Handling::labels);
        tracing::debug!(id = %stored.id, to, peer = attempt.peer, code, reply, "{kind:?}");
        let event = Event {
            recipient: to.into(),
            domain: forward_path.domain().map_or("", |domain| domain.as_str()).into(),
            tenant: tenant.into(),
            campaign: campaign.into(),
            site: attempt.site.into(),
            peer: attempt.peer.into(),
            milter: attempt.milter.into(),
            upstream: attempt.upstream.into(),
            source: attempt.source.into(),
            provider: attempt.provider.into(),
            tls: attempt.tls.into(),
            stage,
            code,
            status,
            class: class.map_or("", Class::as_str).into(),
            reply: reply.into(),
            attempt: attempt.number,
            next_attempt: attempt.next,
            delays: attempt.delays,
            accept: attempt.accept,
            verified: attempt.verified.map(Cow::Borrowed),
            ..self.begin(kind, stored, cx)
        };
        self.write(&event, cx);
    }

    /// Tell what `stored`, which came back to us, says of a recipient of mail of ours.
    pub(crate) fn tell_return<P: Platform>(
        &mut self,
        kind: Kind,
        stored: &Stored,
        about: Returning<'_>,
        returned: Returned<'_>,
        cx: &mut Context<'_, P>,
    ) {
        let Returning { whose, recipient: about, told, class } = about;
        let (to, what) = (about.map_or("", Mailbox::as_str), &returned.what);
        tracing::debug!(id = %stored.id, to, %what, reply = &*told.text, "{kind:?}");
        let event = Event {
            recipient: to.into(),
            domain: about.map_or("", |about| about.domain().as_str()).into(),
            tenant: whose.tenant.map_or("", TenantName::as_str).into(),
            campaign: whose.campaign.map_or("", CampaignName::as_str).into(),
            peer: (&*told.peer).into(),
            code: told.code,
            status: told.status,
            class: class.map_or("", Class::as_str).into(),
            reply: (&*told.text).into(),
            returned: Some(returned),
            ..self.begin(kind, stored, cx)
        };
        self.write(&event, cx);
    }

    /// Tell of a link that was used. Its message may be long gone, and may have been another
    /// node's.
    pub(crate) fn tell_visit<P: Platform>(&mut self, visit: &Visit, cx: &mut Context<'_, P>) {
        let Visit { about, action, by } = visit;
        let (kind, by, url) = match action {
            Action::Unsubscribe => (Kind::Unsubscribed, None, ""),
            Action::Open => (Kind::Opened, Some(*by), ""),
            Action::Click(url) => (Kind::Clicked, Some(*by), &**url),
        };
        let recipient = about.recipient.as_ref();
        let to = recipient.map_or("", Mailbox::as_str);
        tracing::debug!(id = %about.message, to, url, "{kind:?}");
        let event = Event {
            sequence: self.sequence,
            recipient: to.into(),
            domain: recipient.map_or("", |recipient| recipient.domain().as_str()).into(),
            tenant: about.tenant.as_ref().map_or("", TenantName::as_str).into(),
            campaign: about.campaign.as_ref().map_or("", CampaignName::as_str).into(),
            by,
            url: url.into(),
            ..Event::new(kind, about.message, cx.now.wall, cx.common.id)
        };
        self.write(&event, cx);
    }

    /// What every event about `stored` has.
    fn begin<'a, P: Platform>(
        &self,
        kind: Kind,
        stored: &'a Stored,
        cx: &Context<'_, P>,
    ) -> Event<'a> {
        Event {
            sequence: self.sequence,
            reverse_path: stored.envelope.reverse_path.as_str().into(),
            size: stored.bytes(),
            durability: stored.origin.durability(),
            ..Event::new(kind, stored.id, cx.now.wall, cx.common.id)
        }
    }

    /// Write the event that has the next number.
    fn write<P: Platform>(&mut self, event: &Event<'_>, cx: &mut Context<'_, P>) {
        self.line.clear();
        event.write_line(&mut self.line);
        self.sequence += 1;
        cx.platform.log_events(&self.line);
        cx.common.counters.increment(Count::EventsWritten);
    }
}

/// What kind of refusal it is that a recipient waits for, or is given up for; counted.
fn class<P: Platform>(kind: Kind, said: Said<'_>, cx: &mut Context<'_, P>) -> Option<Class> {
    let is_over = match kind {
        Kind::Deferred => false,
        Kind::Bounced | Kind::Expired => true,
        Kind::Received | Kind::Delivered | Kind::Removed | Kind::Held | Kind::Released => {
            return None;
        }
        Kind::Quarantined | Kind::Refused | Kind::Discarded | Kind::Verified => return None,
        Kind::BouncedLater | Kind::Complained | Kind::Returned => return None,
        Kind::Opened | Kind::Clicked | Kind::Unsubscribed => return None,
    };
    let Said::Refused(reason) = said else { return None };
    let class = cx.settings.classifier.class(reason);
    cx.common.counters.refused(class, is_over);
    Some(class)
}

/// Stage, reply code, enhanced status and text.
fn words(said: Said<'_>) -> (Option<Stage>, Option<u16>, Option<EnhancedStatus>, &str) {
    match said {
        Said::Nothing => (None, None, None, ""),
        Said::Words(words) => (None, None, None, words),
        Said::Answered(reply) => (None, Some(reply.code.as_u16()), reply.enhanced, &reply.text),
        Said::Taken(reply) => {
            (Some(Stage::Content), Some(reply.code.as_u16()), reply.enhanced, &reply.text)
        }
        Said::Refused(reason) => {
            let (code, text) = match &reason.reply {
                Some(reply) => (Some(reply.code.as_u16()), &reply.text),
                None => (None, &reason.detail),
            };
            (Some(reason.stage), code, Some(reason.status), text)
        }
    }
}

/// The delays of an attempt, as the event tells them; `age`: since the message was accepted.
pub(crate) fn delays(
    stored: &Stored,
    age: Duration,
    on_owner: crate::shard::mesh::Delays,
) -> Delays {
    let there = on_owner.connect + on_owner.transmit;
    Delays {
        before_queue: stored.intake,
        in_queue: age.saturating_sub(there),
        connect: on_owner.connect,
        transmit: on_owner.transmit,
    }
}
