//! Move old messages to the head of the log, so that the oldest segment becomes free.
//!
//! A message is asked for (`LogEvent::Move`), its copy is appended by the shard, which knows its
//! states, and committed; only then the old copy is dead and `Moved` tells the new place. Whatever
//! happens between, one complete copy is on disk.

use std::collections::HashMap;
use std::sync::Arc;

use crate::base::ids::MessageId;
use crate::base::limits::{MOVE_BYTES_MAX, MOVES_MAX, RECORD_MAX};
use crate::spool::format::{Record, RecordKind};
use crate::spool::group::{What, record_bytes};
use crate::spool::log::{Log, LogEvent, MovedRecipient};
use crate::spool::reclaim::{self, Situation};
use crate::spool::record::state::encode_state;
use crate::spool::record::{Extent, MessageView};
use crate::spool::recovery::Damage;
use crate::spool::segment::SegmentName;
use crate::spool::space::Space;
use crate::spool::stored::{EnvelopeAt, RecipientState, Standing, StateAt};

/// What is being moved.
#[derive(Debug, Default)]
pub(super) struct Moves {
    under_way: HashMap<MessageId, UnderWay>,
    bytes: u64,
    /// Where messages are now whose `Moved` was not polled yet.
    untold: HashMap<MessageId, EnvelopeAt>,
}

#[derive(Clone, Copy, Debug)]
struct UnderWay {
    bytes: u32,
    /// The copy was appended.
    is_appended: bool,
    /// The message's end was appended.
    is_ended: bool,
}

/// A message on its way from its old place to its new one.
#[derive(Debug)]
struct Copied {
    /// Of the new record, without extents.
    payload: Vec<u8>,
    /// Recipient and place in the payload of each pending state.
    blocks: Vec<(u16, u32)>,
    /// Where the content is now.
    extents: Vec<Extent>,
}

impl Moves {
    fn start(&mut self, id: MessageId, bytes: u32) {
        let new = UnderWay { bytes, is_appended: false, is_ended: false };
        if self.under_way.insert(id, new).is_none() {
            self.bytes += u64::from(bytes);
        }
    }

    fn finish(&mut self, id: MessageId) -> Option<UnderWay> {
        let move_under_way = self.under_way.remove(&id)?;
        self.bytes -= u64::from(move_under_way.bytes);
        Some(move_under_way)
    }

    /// The copy did not reach the disk: the old one stays, and will be asked for again.
    pub(super) fn failed(&mut self, id: MessageId) {
        self.finish(id);
    }

    /// `Moved` was polled: the caller knows the new place.
    pub(super) fn told(&mut self, id: MessageId) {
        self.untold.remove(&id);
    }

    /// The message's end is being appended: where the message is, which the caller thinks is `at`.
    pub(super) fn end(&mut self, id: MessageId, at: EnvelopeAt) -> EnvelopeAt {
        if let Some(move_under_way) = self.under_way.get_mut(&id) {
            move_under_way.is_ended = true;
        }
        self.untold.get(&id).copied().unwrap_or(at)
    }

    /// The message's end is committed.
    pub(super) fn ended(&mut self, id: MessageId) {
        if self.under_way.get(&id).is_some_and(|move_under_way| !move_under_way.is_appended) {
            self.finish(id);
        }
    }
}

impl Log {
    /// Append a copy of a message with its states, as `LogEvent::Move` asked; the old copy's octets
    /// are read here, so populate `spans` and each `last` first. On damage end the message with
    /// `append_done`. No effect on a message that was ended; one of which a state is not committed
    /// stays where it is, and is asked for again.
    pub fn append_move(
        &mut self,
        id: MessageId,
        at: EnvelopeAt,
        pending: &[MovedRecipient],
    ) -> Result<(), Damage> {
        let is_asked = |log: &Self| {
            let under_way = log.moves.under_way.get(&id);
            under_way.is_some_and(|one| !one.is_appended && !one.is_ended)
        };
        if !is_asked(self) || !self.live.contains(at) {
            return Ok(());
        }
        if self.has_unwritten_state(id) {
            // The caller does not know its place yet, so the copy would lack its reason.
            self.moves.failed(id);
            return Ok(());
        }
        let Copied { payload, blocks, extents: old } = self.copied(id, at, pending)?;
        let mut contents = Vec::with_capacity(old.len());
        for extent in &old {
            contents.push(self.content(id, extent)?.to_vec());
        }
        let last = contents.pop();
        let mut chunks = Vec::with_capacity(old.len());
        for content in contents {
            let group = self.filling(0, content.len()).expect("it fitted when it came");
            group.unfinished.push(id);
            chunks.push(group.push_content(Arc::new(content)));
        }
        let record = record_bytes(payload.len(), old.len());
        let last_bytes = last.as_ref().map_or(0, Vec::len);
        // Cannot fail in segments of the default size: see `RECORD_MAX`. In smaller ones the
        // message stays where it is.
        if let Some(group) = self.filling(record, last_bytes) {
            chunks.extend(last.map(|content| group.push_content(Arc::new(content))));
            group.push_item(id, What::Moved { from: at, blocks }, &payload, chunks);
            if let Some(move_under_way) = self.moves.under_way.get_mut(&id) {
                move_under_way.is_appended = true;
            }
        }
        Ok(())
    }

    /// Whether a state of the message is appended and not told of.
    fn has_unwritten_state(&self, id: MessageId) -> bool {
        let flying = self.in_flight.iter().map(|flight| &flight.group);
        let mut items = self.queue.iter().chain(flying).flat_map(|group| &group.items);
        items.any(|item| item.id == id && matches!(item.what, What::State { .. }))
    }

    /// What the copy's record will hold.
    fn copied(
        &self,
        id: MessageId,
        at: EnvelopeAt,
        pending: &[MovedRecipient],
    ) -> Result<Copied, Damage> {
        let view = self.message(id, at)?;
        let extents: Vec<Extent> = view.extents().collect();
        let (mut states, mut blocks) = self.moved_states(&view, pending, true);
        if record_bytes(at.bytes as usize + states.len(), 0) as usize > RECORD_MAX {
            (states, blocks) = self.moved_states(&view, pending, false);
        }
        let count = u32::try_from(extents.len()).expect("it was read as such");
        let mut payload = Vec::with_capacity(at.bytes as usize + states.len());
        view.encode_moved(&states, count, &mut payload);
        let start = u32::try_from(view.states_offset()).expect("inside a record");
        blocks.iter_mut().for_each(|(_, offset)| *offset += start);
        Ok(Copied { payload, blocks, extents })
    }

    /// A block for each recipient; recipient and place of those whose last state is copied.
    fn moved_states(
        &self,
        view: &MessageView<'_>,
        pending: &[MovedRecipient],
        with_reasons: bool,
    ) -> (Vec<u8>, Vec<(u16, u32)>) {
        let (mut states, mut blocks) = (Vec::new(), Vec::new());
        let mut pending = pending.to_vec();
        pending.sort_by_key(|recipient| recipient.recipient);
        for recipient in 0..view.recipients() {
            let found = pending.binary_search_by_key(&recipient, |one| one.recipient);
            let Ok(moved) = found.map(|place| pending[place]) else {
                encode_state(&RecipientState { recipient, standing: Standing::Ended }, &mut states);
                continue;
            };
            let reason = moved.last.filter(|_| with_reasons).and_then(|at| self.reason(at));
            let MovedRecipient { attempts, due, held, .. } = moved;
            let standing = Standing::Pending { attempts, due, held, reason };
            if moved.last.is_some() {
                let offset = u32::try_from(states.len()).expect("bounded by RECORD_MAX");
                blocks.push((recipient, offset));
            }
            encode_state(&RecipientState { recipient, standing }, &mut states);
        }
        (states, blocks)
    }

    /// A copy is committed.
    pub(super) fn moved(
        &mut self,
        id: MessageId,
        from: EnvelopeAt,
        at: EnvelopeAt,
        extents: impl Iterator<Item = Extent>,
        states: Vec<(u16, StateAt)>,
    ) {
        let is_ended = self.moves.finish(id).is_none_or(|under_way| under_way.is_ended);
        // The end of an ended message names the old place, and comes after the copy in the log.
        if is_ended || !self.live.remove(id, from) {
            return;
        }
        self.live.add(id, at, extents);
        self.counters.moved += 1;
        self.moves.untold.insert(id, at);
        self.events.push_back(LogEvent::Moved { id, at, states });
    }

    /// Empty all segments up to `through`, whatever they hold: `LogEvent::Move` comes for each
    /// message that lives there, and `Io::Remove` for each segment in turn; no other is removed.
    /// Call it again after each `Io::Remove`. A repair's wish.
    pub(in crate::spool) fn evacuate(&mut self, through: u32) {
        self.evacuated = Some(through);
        self.ask_moves();
    }

    /// Whether all that `evacuate` was told of is gone; otherwise the segment that is left.
    pub(in crate::spool) fn evacuated(&self) -> Result<(), SegmentName> {
        let oldest = self.space.oldest();
        let left = oldest.filter(|oldest| self.evacuated.is_some_and(|last| *oldest <= last));
        left.map_or(Ok(()), |left| Err(self.name(left)))
    }

    /// Ask for the next messages to move, if the files take too much.
    pub(super) fn ask_moves(&mut self) {
        let Some(oldest) = self.space.oldest().filter(|_| !self.is_recovering) else {
            return;
        };
        let full = self.space.is_full();
        let situation = Situation {
            written: self.space.written_bytes(),
            live: self.live.bytes(),
            segment: u64::from(self.options.segment_bytes),
            oldest_live: self.live.bytes_in(oldest),
            left_on_full_disk: full.then(|| self.space.admissible()),
        };
        let by_size = || reclaim::should_move(&situation);
        if !self.evacuated.map_or_else(by_size, |through| oldest <= through) {
            return;
        }
        let under_way = &self.moves.under_way;
        // Asked for by the batch, they are brought into memory by the batch.
        let many = MOVES_MAX / 2;
        if under_way.len() > many || self.moves.bytes > MOVE_BYTES_MAX as u64 / 2 {
            return;
        }
        let space = &self.space;
        let candidates = self.live.messages_in(oldest, |offset| id_at(space, oldest, offset));
        let mut candidates: Vec<(MessageId, u32)> =
            candidates.filter(|(id, _)| !under_way.contains_key(id)).take(MOVES_MAX).collect();
        let bytes = candidates.iter().map(|(_, bytes)| *bytes);
        candidates.truncate(reclaim::batch(under_way.len(), self.moves.bytes, bytes));
        for (id, bytes) in candidates {
            self.moves.start(id, bytes);
            self.events.push_back(LogEvent::Move { id });
        }
    }
}

/// The id in the header of a message's record. The page may be cold, but few are asked for at a
/// time, and all of the record is read next.
fn id_at(space: &Space, segment: u32, offset: u32) -> Option<MessageId> {
    let file = space.file(segment)?;
    let peeked = Record::peek(file.map.bytes(), offset).filter(|peeked| peeked.is_header_whole);
    let header = peeked?.record.header;
    let is_it = header.kind == RecordKind::Message && Some(header.nonce) == file.nonce;
    is_it.then_some(header.id)
}
