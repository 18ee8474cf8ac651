//! Put together what the records of a directory say of each message.
//!
//! In: valid records in the order of the log, and what is known of their group. Out: the messages
//! that exist and are not done, and what lives in each segment.
//! Invariant: a message that comes out has a complete content, or its damage comes out too.

use std::collections::HashSet;

use hashbrown::HashMap;

use crate::base::ids::MessageId;
use crate::base::time::WallTime;
use crate::spool::format::{LogEnd, RECORD_HEADER_BYTES, Record, slice};
use crate::spool::index::{MessageEntry, StandingEntry};
use crate::spool::letter::Segments;
use crate::spool::record::state::{StateBlock, Summary};
use crate::spool::record::{Extent, MessageView};
use crate::spool::recovery::{Damage, Depth, Fault};
use crate::spool::segment::SegmentName;
use crate::spool::stored::{EnvelopeAt, StateAt};

/// What is known of a commit group; see `format.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// It is on stable storage as a whole.
    Proven,
    /// It was the last of its run: verify everything.
    Unproven,
    /// Its commit failed: its messages were refused.
    Abandoned,
}

/// How a recipient stands by its last state block.
#[derive(Clone, Copy, Debug)]
pub(super) enum LastState {
    Pending { attempts: u32, due: WallTime, held: bool, at: StateAt },
    Final,
}

/// A message that is not done.
#[derive(Debug)]
pub(super) struct Draft {
    /// The copy that counts.
    pub(super) at: EnvelopeAt,
    /// Its content is all there.
    pub(super) is_complete: bool,
    recipients: u16,
    /// By recipient; those not listed were never attempted.
    states: Vec<(u16, LastState)>,
}

impl Draft {
    /// How a recipient stands, if anything was written of it.
    pub(super) fn last(&self, recipient: u16) -> Option<LastState> {
        let place = self.states.binary_search_by_key(&recipient, |(other, _)| *other).ok()?;
        Some(self.states[place].1)
    }

    fn note(&mut self, recipient: u16, summary: Summary, at: StateAt) {
        let last = match summary {
            Summary::Pending { attempts, due, held } => {
                LastState::Pending { attempts, due, held, at }
            }
            Summary::Final => LastState::Final,
        };
        match self.states.binary_search_by_key(&recipient, |(other, _)| *other) {
            Ok(place) => self.states[place].1 = last,
            Err(_) if recipient >= self.recipients => {}
            Err(place) => self.states.insert(place, (recipient, last)),
        }
    }

    pub(super) fn is_ended(&self) -> bool {
        let ended = self.states.iter().filter(|(_, last)| matches!(last, LastState::Final));
        ended.count() == usize::from(self.recipients)
    }
}

/// Parts of the table of drafts: it grows part by part, so that no one step copies all of it.
const PARTS: usize = 64;

/// The messages of a directory, while its log is read.
#[derive(Debug)]
pub(super) struct Drafts {
    directory: u16,
    depth: Depth,
    /// By the id's last bits.
    parts: Vec<HashMap<MessageId, Draft>>,
    /// Messages that came and were ended.
    pub(super) done: u64,
    /// All that were ended, if everything is read.
    pub(super) ended: HashSet<MessageId>,
}

impl Drafts {
    pub(super) fn new(directory: u16, depth: Depth) -> Self {
        let parts = (0..PARTS).map(|_| HashMap::new()).collect();
        Self { directory, depth, parts, done: 0, ended: HashSet::new() }
    }

    fn part(&mut self, id: MessageId) -> &mut HashMap<MessageId, Draft> {
        let place = usize::try_from(id.0 % PARTS as u64).expect("below PARTS");
        &mut self.parts[place]
    }

    /// Take the message out, if the copy that counts is at `at`.
    pub(super) fn take(&mut self, id: MessageId, at: EnvelopeAt) -> Option<Draft> {
        let part = self.part(id);
        let draft = part.remove(&id)?;
        if draft.at == at {
            return Some(draft);
        }
        part.insert(id, draft);
        None
    }

    /// What an index says of a Message record that need not be seen.
    pub(super) fn indexed(&mut self, number: u32, message: &MessageEntry<'_>) {
        let (at, recipients) = (message.at(number), message.recipients);
        let mut draft = Draft { at, is_complete: true, recipients, states: Vec::new() };
        for StandingEntry { recipient, summary, offset } in message.standings() {
            draft.note(recipient, summary, StateAt { segment: number, offset });
        }
        self.part(message.id).insert(message.id, draft);
    }

    /// What an index says of a State record.
    pub(super) fn stands(&mut self, id: MessageId, number: u32, standing: &StandingEntry) {
        let StandingEntry { recipient, summary, offset } = *standing;
        if let Some(draft) = self.part(id).get_mut(&id) {
            draft.note(recipient, summary, StateAt { segment: number, offset });
        }
    }

    /// A Message record in a group that starts at `group`. What comes back is why it is not taken.
    pub(super) fn message(
        &mut self,
        segments: &Segments,
        record: &Record<'_>,
        group: LogEnd,
        trust: Trust,
    ) -> Option<Damage> {
        if trust == Trust::Abandoned {
            return None;
        }
        let id = record.header.id;
        let view = MessageView::decode(record.payload)?;
        // Contents before the group were committed before it was written.
        let is_older =
            |extent: &Extent| (extent.segment, extent.offset) < (group.segment, group.offset);
        let verified = |extent: &Extent| {
            let must_match =
                self.depth == Depth::Everything || (trust == Trust::Unproven && !is_older(extent));
            content(segments, extent, group)
                .is_some_and(|content| !must_match || crc32c::crc32c(content) == extent.crc)
        };
        let mut broken = view.extents().filter(|extent| !verified(extent)).peekable();
        let is_complete = broken.peek().is_none();
        let mut torn =
            broken.filter(|extent| !is_older(extent) || content(segments, extent, group).is_none());
        if let (Some(extent), Trust::Unproven) = (torn.next(), trust) {
            let Extent { segment, offset, bytes, .. } = extent;
            return Some(self.damage(segment, offset, bytes, Fault::Content(id)));
        }
        let older = self.part(id).get(&id);
        let yields = older
            .is_some_and(|older| older.is_complete && (!is_complete || trust == Trust::Unproven));
        if yields {
            return None;
        }
        let at =
            EnvelopeAt { segment: group.segment, offset: record.offset, bytes: record.bytes() };
        let recipients = view.recipients();
        let mut draft = Draft { at, is_complete, recipients, states: Vec::new() };
        note_moved_states(&mut draft, &view);
        self.part(id).insert(id, draft);
        None
    }

    /// Contents of the message in `record` that were committed for certain, are here, and are not
    /// what they were.
    pub(super) fn rotten(
        &self,
        segments: &Segments,
        record: &Record<'_>,
        group: LogEnd,
        trust: Trust,
    ) -> Vec<Damage> {
        let Some(view) = MessageView::decode(record.payload) else {
            return Vec::new();
        };
        let fault = Fault::Content(record.header.id);
        let is_rotten = |extent: &Extent| {
            let is_older = (extent.segment, extent.offset) < (group.segment, group.offset);
            let is_committed = trust == Trust::Proven || (trust == Trust::Unproven && is_older);
            let content = content(segments, extent, group);
            is_committed && content.is_some_and(|content| crc32c::crc32c(content) != extent.crc)
        };
        let rotten = view.extents().filter(is_rotten);
        rotten.map(|one| self.damage(one.segment, one.offset, one.bytes, fault)).collect()
    }

    /// A State record.
    pub(super) fn state(&mut self, record: &Record<'_>, segment: u32) {
        let block = StateBlock::split(record.payload).map(|(block, _)| block);
        let at = StateAt { segment, offset: record.offset + RECORD_HEADER_BYTES };
        let summary = block.and_then(|block| Some((block.recipient(), block.summary()?)));
        let id = record.header.id;
        if let Some((draft, (recipient, summary))) = self.part(id).get_mut(&id).zip(summary) {
            draft.note(recipient, summary, at);
        }
    }

    /// A Done record.
    pub(super) fn done(&mut self, id: MessageId) {
        let was_here = self.part(id).remove(&id).is_some();
        self.done += u64::from(was_here);
        if self.depth == Depth::Everything {
            self.ended.insert(id);
        }
    }

    fn damage(&self, number: u32, offset: u32, bytes: u32, fault: Fault) -> Damage {
        let segment = SegmentName { directory: self.directory, number };
        Damage { segment, offset, bytes, fault }
    }
}

/// The octets of an extent, if its segment is here and reaches so far. Content is written before
/// the record that tells of it, so none is in a segment behind that of the record's group; whether
/// that one is open yet must not matter.
fn content<'a>(segments: &'a Segments, extent: &Extent, group: LogEnd) -> Option<&'a [u8]> {
    if extent.segment > group.segment {
        return None;
    }
    let map = segments.get(&extent.segment)?;
    slice(map.bytes(), extent.offset, extent.bytes)
}

/// The states that a moved message brought along.
fn note_moved_states(draft: &mut Draft, view: &MessageView<'_>) {
    let payload = draft.at.offset + RECORD_HEADER_BYTES;
    for (block, place) in view.state_blocks() {
        let offset = payload + u32::try_from(place).expect("inside a segment");
        let at = StateAt { segment: draft.at.segment, offset };
        if let Some(summary) = block.summary() {
            draft.note(block.recipient(), summary, at);
        }
    }
}
