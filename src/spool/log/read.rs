//! Read messages and states back from the maps, and believe nothing unchecked.

use std::sync::Arc;

use crate::base::ids::MessageId;
use crate::base::limits::STATE_BYTES_MAX;
use crate::mail::outcome::Reason;
use crate::spool::format::{Record, RecordKind, slice};
use crate::spool::log::Log;
use crate::spool::record::state::StateBlock;
use crate::spool::record::{Extent, MessageView};
use crate::spool::recovery::{Damage, Fault};
use crate::spool::stored::{EnvelopeAt, Part, RecipientState, Span, Standing, StateAt, Stored};

impl Log {
    /// The octets that `load` and `append_move` will read, content included. Reads the record
    /// itself: populate `at` first.
    pub fn spans(&self, id: MessageId, at: EnvelopeAt) -> Result<Vec<Span>, Damage> {
        let view = self.message(id, at)?;
        let record = Span { segment: at.segment, offset: at.offset, bytes: at.bytes };
        let content = view.extents().map(|extent| {
            let Extent { segment, offset, bytes, .. } = extent;
            Span { segment, offset, bytes }
        });
        Ok(std::iter::once(record).chain(content).collect())
    }

    /// A cold message from the map, record and content verified. Populate `spans` first.
    pub fn load(&self, id: MessageId, at: EnvelopeAt) -> Result<Stored, Damage> {
        let view = self.message(id, at)?;
        let parts = view.extents().map(|extent| {
            self.content(id, &extent)?;
            let file = self.space.file(extent.segment).expect("its content was just read");
            let Extent { offset, bytes, .. } = extent;
            Ok(Part::Mapped { segment: Arc::clone(&file.map), offset, bytes })
        });
        let parts = parts.collect::<Result<_, _>>()?;
        Ok(Stored { parts, ..self.peek(id, at)? })
    }

    /// A cold message's envelope, without its content: for operators and events. Populate `at`
    /// first.
    pub fn peek(&self, id: MessageId, at: EnvelopeAt) -> Result<Stored, Damage> {
        let view = self.message(id, at)?;
        let head = view.head().ok_or_else(|| self.record_damage(at))?;
        let envelope = view.envelope().ok_or_else(|| self.record_damage(at))?;
        Ok(Stored {
            id,
            envelope: Arc::new(envelope),
            received: head.received,
            intake: head.intake,
            prefix: head.prefix.to_vec(),
            content_bytes: head.content_bytes,
            has_eight_bit: head.has_eight_bit,
            is_quarantined: head.is_quarantined,
            origin: head.origin,
            parts: Vec::new(),
        })
    }

    /// A recipient's last state, for `queue show`, events and DSNs.
    pub fn load_state(&self, at: StateAt) -> Result<RecipientState, Damage> {
        let file = self.space.file(at.segment);
        let bytes = file.and_then(|file| file.map.bytes().get(at.offset as usize..));
        let block = bytes.and_then(StateBlock::split).map(|(block, _)| block);
        let bytes = u32::try_from(STATE_BYTES_MAX).expect("a few KiB");
        let damage = self.damage(at.segment, at.offset, bytes, Fault::Record);
        block.and_then(|block| block.state()).ok_or(damage)
    }

    /// What the last attempt came to, if that can still be read.
    pub(super) fn reason(&self, at: StateAt) -> Option<Reason> {
        match self.load_state(at).ok()?.standing {
            Standing::Pending { reason, .. } => reason,
            Standing::Delivered | Standing::Bounced | Standing::Ended => None,
        }
    }

    /// A message's record.
    pub(super) fn message(&self, id: MessageId, at: EnvelopeAt) -> Result<MessageView<'_>, Damage> {
        let file = self.space.file(at.segment);
        let end = at.offset.checked_add(at.bytes);
        let record = file.zip(end).and_then(|(file, end)| {
            let record = Record::decode(file.map.bytes(), at.offset, end)?;
            let header = record.header;
            let is_it = header.kind == RecordKind::Message && header.id == id;
            (is_it && Some(header.nonce) == file.nonce).then_some(record)
        });
        let view = record.and_then(|record| MessageView::decode(record.payload));
        view.ok_or_else(|| self.record_damage(at))
    }

    /// A stretch of a message's content, verified.
    pub(super) fn content(&self, id: MessageId, extent: &Extent) -> Result<&[u8], Damage> {
        let file = self.space.file(extent.segment);
        let content = file.and_then(|file| slice(file.map.bytes(), extent.offset, extent.bytes));
        let whole = content.filter(|content| crc32c::crc32c(content) == extent.crc);
        let Extent { segment, offset, bytes, .. } = *extent;
        whole.ok_or_else(|| self.damage(segment, offset, bytes, Fault::Content(id)))
    }

    fn record_damage(&self, at: EnvelopeAt) -> Damage {
        self.damage(at.segment, at.offset, at.bytes, Fault::Record)
    }

    fn damage(&self, segment: u32, offset: u32, bytes: u32, fault: Fault) -> Damage {
        Damage { segment: self.name(segment), offset, bytes, fault }
    }
}
