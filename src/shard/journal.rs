//! Write the event log of a shard: one line for each thing that happens to a recipient.
//!
//! Invariant: sequence numbers of a run have no gap. Lives on: the home shard.

use std::borrow::Cow;
use std::time::Duration;

use crate::base::time::WallTime;
use crate::mail::outcome::Reason;
use crate::mail::status::Reply;
use crate::outcome::counters::Count;
use crate::outcome::event::{Delays, Event, Kind};
use crate::shard::context::Context;
use crate::shard::platform::Platform;
use crate::spool::stored::Stored;

/// The event log's pen.
#[derive(Debug, Default)]
pub(crate) struct Journal {
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
    /// The upstream relay's name, where one was used.
    pub(crate) upstream: &'a str,
    /// Where the time went.
    pub(crate) delays: Option<Delays>,
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
}

impl Journal {
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
        let id = stored.id.to_string();
        let forward_path = &stored.envelope.recipients[usize::from(recipient)].forward_path;
        let (stage, code, status, reply) = words(said);
        self.sequence += 1;
        self.line.clear();
        Event {
            sequence: self.sequence,
            time: cx.now.wall,
            shard: cx.common.id.0,
            kind,
            id: id.into(),
            reverse_path: stored.envelope.reverse_path.as_str().into(),
            recipient: forward_path.as_str().into(),
            domain: forward_path.domain().map_or("", |domain| domain.as_str()).into(),
            size: stored.bytes(),
            site: attempt.site.into(),
            peer: attempt.peer.into(),
            upstream: attempt.upstream.into(),
            stage,
            code,
            status,
            reply,
            attempt: attempt.number,
            next_attempt: attempt.next,
            delays: attempt.delays,
        }
        .write_line(&mut self.line);
        cx.platform.log_events(&self.line);
        cx.common.counters.increment(Count::EventsWritten);
    }
}

/// Stage, reply code, enhanced status and text.
fn words(said: Said<'_>) -> (Cow<'_, str>, Option<u16>, Cow<'_, str>, Cow<'_, str>) {
    match said {
        Said::Nothing => ("".into(), None, "".into(), "".into()),
        Said::Taken(reply) => {
            let status = reply.enhanced.map_or(Cow::Borrowed(""), |s| s.to_string().into());
            ("content".into(), Some(reply.code.as_u16()), status, reply.text.as_ref().into())
        }
        Said::Refused(reason) => {
            let stage = reason.stage.to_string().into();
            let status = reason.status.to_string().into();
            match &reason.reply {
                Some(reply) => {
                    let code = Some(reply.code.as_u16());
                    (stage, code, status, reply.text.as_ref().into())
                }
                None => (stage, None, status, reason.detail.as_ref().into()),
            }
        }
    }
}

/// The delays of an attempt, as the event tells them.
pub(crate) fn delays(
    stored: &Stored,
    now: WallTime,
    on_owner: crate::shard::mesh::Delays,
) -> Delays {
    let there = on_owner.connect + on_owner.transmit;
    Delays {
        before_queue: Duration::ZERO,
        in_queue: now.since(stored.received).saturating_sub(there),
        connect: on_owner.connect,
        transmit: on_owner.transmit,
    }
}
