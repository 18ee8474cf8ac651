//! Put together what the records of a directory say of each message.
//!
//! In: valid records in the order of the log, and what is known of their group. Out: the messages
//! that exist and are not done, and what lives in each segment.
//! Invariant: a message that comes out has a complete content, or its damage comes out too.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::base::ids::MessageId;
use crate::base::time::WallTime;
use crate::spool::format::{LogEnd, RECORD_HEADER_BYTES, Record, slice};
use crate::spool::live::Live;
use crate::spool::record::state::{StateBlock, Summary};
use crate::spool::record::{Extent, MessageView};
use crate::spool::recovery::messages::Messages;
use crate::spool::recovery::{Damage, Depth, Fault};
use crate::spool::segment::{SegmentBytes, SegmentName};
use crate::spool::stored::{EnvelopeAt, StateAt};

/// All segments by number.
pub(super) type Maps<'a> = BTreeMap<u32, &'a Arc<dyn SegmentBytes>>;

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
    is_complete: bool,
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

    fn note(&mut self, block: &StateBlock<'_>, at: StateAt) {
        let last = match block.summary() {
            Some(Summary::Pending { attempts, due, held }) => {
                LastState::Pending { attempts, due, held, at }
            }
            Some(Summary::Final) => LastState::Final,
            None => return,
        };
        let recipient = block.recipient();
        match self.states.binary_search_by_key(&recipient, |(other, _)| *other) {
            Ok(place) => self.states[place].1 = last,
            Err(_) if recipient >= self.recipients => {}
            Err(place) => self.states.insert(place, (recipient, last)),
        }
    }

    fn is_ended(&self) -> bool {
        let ended = self.states.iter().filter(|(_, last)| matches!(last, LastState::Final));
        ended.count() == usize::from(self.recipients)
    }
}

/// The messages of a directory, while its log is read.
#[derive(Debug)]
pub(super) struct Drafts<'a> {
    directory: u16,
    segments: &'a Maps<'a>,
    depth: Depth,
    drafts: HashMap<MessageId, Draft>,
    /// Messages that came and were ended.
    done: u64,
    /// All that were ended, if everything is read.
    ended: HashSet<MessageId>,
}

/// What the records of a directory come to.
#[derive(Debug)]
pub(super) struct Finished {
    /// In the queue.
    pub(super) messages: Messages,
    /// What of it lives where.
    pub(super) live: Live,
    /// Should be in the queue, and are not whole.
    pub(super) lost: Messages,
    /// Messages that came and are done.
    pub(super) done: u64,
    /// All that have an end, if everything is read.
    pub(super) ended: HashSet<MessageId>,
}

impl<'a> Drafts<'a> {
    pub(super) fn new(directory: u16, segments: &'a Maps<'a>, depth: Depth) -> Self {
        Self { directory, segments, depth, drafts: HashMap::new(), done: 0, ended: HashSet::new() }
    }

    /// A Message record in a group that starts at `group`. What comes back is why it is not taken.
    pub(super) fn message(
        &mut self,
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
            self.content(extent)
                .is_some_and(|content| !must_match || crc32c::crc32c(content) == extent.crc)
        };
        let mut broken = view.extents().filter(|extent| !verified(extent)).peekable();
        let is_complete = broken.peek().is_none();
        let mut torn = broken.filter(|extent| !is_older(extent) || self.content(extent).is_none());
        if let (Some(extent), Trust::Unproven) = (torn.next(), trust) {
            let Extent { segment, offset, bytes, .. } = extent;
            return Some(self.damage(segment, offset, bytes, Fault::Content(id)));
        }
        let yields = self
            .drafts
            .get(&id)
            .is_some_and(|older| older.is_complete && (!is_complete || trust == Trust::Unproven));
        if yields {
            return None;
        }
        let at =
            EnvelopeAt { segment: group.segment, offset: record.offset, bytes: record.bytes() };
        let recipients = view.recipients();
        let mut draft = Draft { at, is_complete, recipients, states: Vec::new() };
        note_moved_states(&mut draft, &view);
        self.drafts.insert(id, draft);
        None
    }

    /// Contents of the message in `record` that were committed for certain, are here, and are not
    /// what they were.
    pub(super) fn rotten(&self, record: &Record<'_>, group: LogEnd, trust: Trust) -> Vec<Damage> {
        let Some(view) = MessageView::decode(record.payload) else {
            return Vec::new();
        };
        let fault = Fault::Content(record.header.id);
        let is_rotten = |extent: &Extent| {
            let is_older = (extent.segment, extent.offset) < (group.segment, group.offset);
            let is_committed = trust == Trust::Proven || (trust == Trust::Unproven && is_older);
            let content = self.content(extent);
            is_committed && content.is_some_and(|content| crc32c::crc32c(content) != extent.crc)
        };
        let rotten = view.extents().filter(is_rotten);
        rotten.map(|one| self.damage(one.segment, one.offset, one.bytes, fault)).collect()
    }

    /// A State record.
    pub(super) fn state(&mut self, record: &Record<'_>, segment: u32) {
        let block = StateBlock::split(record.payload).map(|(block, _)| block);
        let at = StateAt { segment, offset: record.offset + RECORD_HEADER_BYTES };
        if let Some((draft, block)) = self.drafts.get_mut(&record.header.id).zip(block) {
            draft.note(&block, at);
        }
    }

    /// A Done record.
    pub(super) fn done(&mut self, id: MessageId) {
        self.done += u64::from(self.drafts.remove(&id).is_some());
        if self.depth == Depth::Everything {
            self.ended.insert(id);
        }
    }

    /// All records were read.
    pub(super) fn finish(self) -> Finished {
        let mut lost: Vec<(MessageId, Draft)> = Vec::new();
        let mut live = Live::default();
        let known = self.drafts.len() as u64;
        let mut drafts: Vec<(MessageId, Draft)> = Vec::with_capacity(self.drafts.len());
        let mut all: Vec<_> =
            self.drafts.into_iter().filter(|(_, draft)| !draft.is_ended()).collect();
        all.sort_by_key(|(_, draft)| draft.at);
        let done = self.done + known - all.len() as u64;
        let (directory, segments, ended) = (self.directory, self.segments, self.ended);
        for (id, draft) in all {
            if draft.is_complete {
                live.add(id, draft.at, extents(segments, draft.at));
                drafts.push((id, draft));
            } else {
                lost.push((id, draft));
            }
        }
        let messages = |drafts: Vec<(MessageId, Draft)>| {
            let maps = segments.iter().map(|(number, map)| (*number, Arc::clone(map))).collect();
            Messages { directory, maps, drafts: drafts.into_iter() }
        };
        Finished { messages: messages(drafts), live, lost: messages(lost), done, ended }
    }

    /// The octets of an extent, if its segment is here and reaches so far.
    fn content(&self, extent: &Extent) -> Option<&'a [u8]> {
        let map = self.segments.get(&extent.segment)?;
        slice(map.bytes(), extent.offset, extent.bytes)
    }

    fn damage(&self, number: u32, offset: u32, bytes: u32, fault: Fault) -> Damage {
        let segment = SegmentName { directory: self.directory, number };
        Damage { segment, offset, bytes, fault }
    }
}

/// The states that a moved message brought along.
fn note_moved_states(draft: &mut Draft, view: &MessageView<'_>) {
    let start = draft.at.offset as usize + RECORD_HEADER_BYTES as usize + view.states_offset();
    let mut rest = view.states;
    while let Some((block, after)) = StateBlock::split(rest) {
        let offset = start + view.states.len() - rest.len();
        let offset = u32::try_from(offset).expect("inside a segment");
        draft.note(&block, StateAt { segment: draft.at.segment, offset });
        rest = after;
    }
}

/// Where the content of the message at `at` is.
fn extents<'a>(segments: &'a Maps<'_>, at: EnvelopeAt) -> impl Iterator<Item = Extent> + 'a {
    let map = segments.get(&at.segment);
    let end = at.offset.saturating_add(at.bytes);
    let record = map.and_then(|map| Record::decode(map.bytes(), at.offset, end));
    let view = record.and_then(|record| MessageView::decode(record.payload));
    view.into_iter().flat_map(|view| view.extents())
}
