//! Bring messages that left RAM back from the spool, without waiting for the disk.
//!
//! In: where a message lies, and what it is wanted for. Out: the message, once its record and then
//! its content were brought into memory off the shard's thread. At most `LOADS_MAX` departures are
//! under way at a time. Lives on: the home shard.

use hashbrown::HashMap;

use crate::base::ids::MessageId;
use crate::base::limits::LOADS_MAX;
use crate::base::slots::Slot;
use crate::queue::{Departure, Recipients};
use crate::shard::commit::Commit;
use crate::shard::context::Context;
use crate::shard::platform::Platform;
use crate::spool::recovery::Damage;
use crate::spool::segment::SegmentName;
use crate::spool::stored::{EnvelopeAt, Span, Stored};

/// What a message is wanted for.
#[derive(Debug)]
pub(crate) enum Purpose {
    /// To be handed to an owner.
    Depart(Departure),
    /// To be bounced: its lifetime is over for these recipients.
    Expire(Slot, Recipients),
    /// To tell its reverse-path that it takes longer.
    DelayReport(Slot),
}

/// Where a message lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lies {
    pub(crate) id: MessageId,
    pub(crate) directory: u16,
    pub(crate) at: EnvelopeAt,
}

/// A load that came to its end.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) lies: Lies,
    pub(crate) purpose: Purpose,
    pub(crate) message: Result<Stored, Damage>,
}

/// The loads of a shard.
#[derive(Debug, Default)]
pub(crate) struct Loader {
    under_way: HashMap<u64, Load>,
    last_ticket: u64,
}

#[derive(Debug)]
struct Load {
    lies: Lies,
    purpose: Purpose,
    /// Ranges of content that are not in memory yet; `None` while the record is not.
    spans_left: Option<usize>,
}

impl Loader {
    /// Whether one more departure may be loaded.
    pub(crate) fn has_room(&self) -> bool {
        self.under_way.len() < LOADS_MAX
    }

    /// Whether nothing is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    /// A name for ranges that are to be brought into memory.
    pub(crate) fn next_ticket(&mut self) -> u64 {
        self.last_ticket += 1;
        self.last_ticket
    }

    /// Begin; `populated` gives the message in the end.
    pub(crate) fn start<P: Platform>(
        &mut self,
        lies: Lies,
        purpose: Purpose,
        cx: &mut Context<'_, P>,
    ) {
        let ticket = self.next_ticket();
        self.under_way.insert(ticket, Load { lies, purpose, spans_left: None });
        let EnvelopeAt { segment, offset, bytes } = lies.at;
        populate(ticket, lies.directory, Span { segment, offset, bytes }, cx);
    }

    /// A range is in memory.
    pub(crate) fn populated<P: Platform>(
        &mut self,
        ticket: u64,
        commit: &mut Commit,
        cx: &mut Context<'_, P>,
    ) -> Option<Loaded> {
        let load = self.under_way.get_mut(&ticket)?;
        let Lies { id, directory, at } = load.lies;
        let left = match load.spans_left {
            Some(left) => left - 1,
            None => match commit.log(directory).spans(id, at) {
                Ok(spans) => {
                    let count = spans.len();
                    spans.into_iter().for_each(|span| populate(ticket, directory, span, cx));
                    count
                }
                Err(damage) => return self.end(ticket, Err(damage)),
            },
        };
        load.spans_left = Some(left);
        if left > 0 {
            return None;
        }
        self.end(ticket, commit.log(directory).load(id, at))
    }

    fn end(&mut self, ticket: u64, message: Result<Stored, Damage>) -> Option<Loaded> {
        let Load { lies, purpose, .. } = self.under_way.remove(&ticket)?;
        Some(Loaded { lies, purpose, message })
    }
}

/// Bring a range into memory; `Event::Populated` follows, with this ticket.
pub(super) fn populate<P: Platform>(
    ticket: u64,
    directory: u16,
    span: Span,
    cx: &mut Context<'_, P>,
) {
    let segment = SegmentName { directory, number: span.segment };
    cx.platform.populate(ticket, segment, span.offset, span.bytes);
}
