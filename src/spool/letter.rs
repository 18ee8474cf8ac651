//! Show a stored message as a person wants to see it: whole or not.
//!
//! In: where a record is and how its recipients stand. Out: envelope, standings, content with each
//! stretch told whole or damaged.
//! Unit: octets. Lives on: whoever checks a spool that no relay runs on.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::ids::MessageId;
use crate::base::time::WallTime;
use crate::mail::durability::Durability;
use crate::mail::envelope::Envelope;
use crate::spool::format::{Record, slice};
use crate::spool::record::state::StateBlock;
use crate::spool::record::{Extent, MessageHead, MessageView};
use crate::spool::recovery::RecoveredMessage;
use crate::spool::segment::SegmentBytes;
use crate::spool::stored::{EnvelopeAt, Standing, StateAt};

/// The segments of a directory by number.
pub type Segments = BTreeMap<u32, Arc<dyn SegmentBytes>>;

/// A message as it is on disk.
#[derive(Clone, Debug)]
pub struct Letter<'a> {
    /// Its name.
    pub id: MessageId,
    /// Where its record is.
    pub at: EnvelopeAt,
    /// Reverse-path and recipients.
    pub envelope: Envelope,
    /// How each recipient stands, in the envelope's order; none where that is not known.
    pub standings: Vec<Standing>,
    /// When it was received.
    pub received: WallTime,
    /// What the 250 to its content was worth.
    pub durability: Durability,
    /// What the relay put before the content.
    pub prefix: &'a [u8],
    /// Its content, in order.
    pub content: Vec<Stretch<'a>>,
}

/// A stretch of content.
#[derive(Clone, Copy, Debug)]
pub struct Stretch<'a> {
    /// Where it is.
    pub extent: Extent,
    /// What is there; `None`: its segment is missing or too short.
    pub octets: Option<&'a [u8]>,
    /// It is what was written.
    pub is_whole: bool,
}

impl<'a> Letter<'a> {
    /// A message that recovery found.
    pub(super) fn read(segments: &'a Segments, message: &RecoveredMessage) -> Option<Self> {
        let RecoveredMessage { id, at, .. } = *message;
        let map = segments.get(&at.segment)?;
        let record = Record::decode(map.bytes(), at.offset, at.offset.checked_add(at.bytes)?)?;
        let letter = Self::of_payload(segments, id, at, record.payload)?;
        let mut standings = vec![Standing::Ended; letter.envelope.recipients.len()];
        for one in &message.pending {
            let (attempts, due, held) = (one.attempts, one.due, one.held);
            let noted = one.last.and_then(|at| standing(segments, at));
            let known = Standing::Pending { attempts, due, held, reason: None };
            standings[usize::from(one.recipient)] = noted.unwrap_or(known);
        }
        Some(Self { standings, ..letter })
    }

    /// What a Message record's payload says, valid or not.
    pub(super) fn of_payload(
        segments: &'a Segments,
        id: MessageId,
        at: EnvelopeAt,
        payload: &'a [u8],
    ) -> Option<Self> {
        let view = MessageView::decode(payload)?;
        let MessageHead { prefix, origin, .. } = view.head()?;
        let durability = origin.durability();
        let content = view.extents().map(|extent| Stretch::read(segments, extent)).collect();
        let (envelope, received) = (view.envelope()?, view.received());
        let standings = Vec::new();
        Some(Self { id, at, envelope, standings, received, durability, prefix, content })
    }

    /// Octets of the message as it is sent.
    pub fn bytes(&self) -> u64 {
        let content = self.content.iter().map(|stretch| u64::from(stretch.extent.bytes));
        self.prefix.len() as u64 + content.sum::<u64>()
    }

    /// Whether all of its content is what was written.
    pub fn is_whole(&self) -> bool {
        self.content.iter().all(|stretch| stretch.is_whole)
    }
}

impl<'a> Stretch<'a> {
    fn read(segments: &'a Segments, extent: Extent) -> Self {
        let map = segments.get(&extent.segment);
        let octets = map.and_then(|map| slice(map.bytes(), extent.offset, extent.bytes));
        let is_whole = octets.is_some_and(|octets| crc32c::crc32c(octets) == extent.crc);
        Self { extent, octets, is_whole }
    }
}

/// The state block at `at`, if it is valid.
fn standing(segments: &Segments, at: StateAt) -> Option<Standing> {
    let bytes = segments.get(&at.segment)?.bytes().get(at.offset as usize..)?;
    StateBlock::split(bytes)?.0.state().map(|state| state.standing)
}
