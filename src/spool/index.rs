//! Say in short what a segment's records say, so that a start need not read them.
//!
//! In: records as they are committed. Out: the payload of the segment's Index record; and back.
//! Invariant: an index says of a segment exactly what reading its records one by one says.
//! Unit: octets, little-endian. Lives on: the log that writes it, and recovery.
//!
//! | Index payload | | |
//! |---|---|---|
//! | 0 | 4 | epoch |
//! | 4 | 4 | segment in which the last group before this segment lies, as its first group says |
//! | 8 | 4 | where that one ends |
//! | 12 | 4 | groups before the index |
//! | 16 | 4 | octets of the entries |
//! | 20 | 4 | zero |
//! | 24 | | entries, one for each record, in the records' order |
//!
//! | Message | | | State | | | Done | | |
//! |---|---|---|---|---|---|---|---|---|
//! | 0 | 1 | 1 | 0 | 1 | 2 | 0 | 1 | 3 |
//! | 1 | 1 | 1 see record, 2 *handling* | 1 | 8 | message id | 1 | 8 | message id |
//! | 2 | 2 | recipients | 9 | | *standing* | | | |
//! | 4 | 2 | standings | | | | | | |
//! | 6 | 8 | message id | | | | | | |
//! | 14 | 4 | the record's first octet | | | | | | |
//! | 18 | 4 | octets of the record | | | | | | |
//! | 22 | 4 | octets of record and content in this segment | | | | | | |
//! | 26 | 8 | received: milliseconds since 1970, signed | | | | | | |
//! | 34 | 8 | octets of the message as it is sent | | | | | | |
//! | 42 | 8 | XXH3 of the reverse-path | | | | | | |
//! | 50 | | *handling*, *domains*, *standings* (of a moved message) | | | | | | |
//!
//! A handling is as in the record (`record/handling.rs`). A domain is its octets in one octet and
//! its text as the client wrote it, empty for `<Postmaster>`. A standing is recipient (2), 0
//! pending, 1 held or 2 final (1), and the state block's first octet in the segment (4); then,
//! unless it is final, attempts (4) and due (8, milliseconds since 1970, signed). A message with
//! content in other segments, and one that was quarantined, is to be seen itself, and has neither
//! domains nor standings here.

use std::ops::Range;

use crate::base::ids::MessageId;
use crate::base::time::WallTime;
use crate::mail::address::ReversePath;
use crate::mail::handling::Handling;
use crate::spool::format::{
    HeaderBlock, LogEnd, RECORD_HEADER_BYTES, Record, RecordKind, SEGMENT_HEADER_BYTES,
    SegmentHeader, trailer,
};
use crate::spool::record::MessageView;
use crate::spool::record::handling;
use crate::spool::record::reader::Reader;
use crate::spool::record::state::{StateBlock, Summary};
use crate::spool::stored::EnvelopeAt;

const FIXED_BYTES: usize = 24;
const MESSAGE_BYTES: usize = 50;

const MESSAGE: u8 = 1;
const STATE: u8 = 2;
const DONE: u8 = 3;
const SEE_RECORD: u8 = 1;
const HAS_HANDLING: u8 = 2;

/// What a segment's groups have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// Of the run that wrote the segment.
    pub(super) epoch: u32,
    /// How far syncs had succeeded when its first group was written.
    pub(super) before: LogEnd,
    /// How many they are.
    pub(super) groups: u32,
}

/// The index of a segment that is being written, or read.
#[derive(Clone, Debug, Default)]
pub(super) struct Builder {
    pub(super) facts: Facts,
    entries: Vec<u8>,
}

impl Builder {
    /// For a segment whose first group says that syncs had succeeded up to `before`.
    pub(super) fn new(epoch: u32, before: LogEnd) -> Self {
        Self { facts: Facts { epoch, before, groups: 0 }, entries: Vec::new() }
    }

    /// Octets of the payload.
    pub(super) fn bytes(&self) -> u32 {
        u32::try_from(FIXED_BYTES + self.entries.len()).expect("bounded by INDEX_MAX")
    }

    /// Add a record of segment `number`, as it lies at `offset`. No effect for a Group or an Index.
    pub(super) fn push(
        &mut self,
        number: u32,
        id: MessageId,
        kind: RecordKind,
        offset: u32,
        payload: &[u8],
    ) {
        match kind {
            RecordKind::Message => self.push_message(number, id, offset, payload),
            RecordKind::State => {
                if let Some((block, _)) = StateBlock::split(payload) {
                    self.entries.push(STATE);
                    self.put(&id.0.to_le_bytes());
                    self.push_standing(&block, offset + RECORD_HEADER_BYTES);
                }
            }
            RecordKind::Done => {
                self.entries.push(DONE);
                self.put(&id.0.to_le_bytes());
            }
            RecordKind::Group | RecordKind::Index => {}
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        self.entries.extend_from_slice(bytes);
    }

    fn push_message(&mut self, number: u32, id: MessageId, offset: u32, payload: &[u8]) {
        let Some(view) = MessageView::decode(payload) else { return };
        let bytes = u32::try_from(payload.len()).expect("bounded by RECORD_MAX");
        let bytes = bytes + RECORD_HEADER_BYTES;
        let here = view.extents().filter(|extent| extent.segment == number);
        let live = here.map(|extent| extent.bytes).fold(bytes, u32::saturating_add);
        let start = self.entries.len();
        self.put(&[MESSAGE, 0]);
        self.put(&view.recipients().to_le_bytes());
        self.put(&[0; 2]);
        self.put(&id.0.to_le_bytes());
        [offset, bytes, live].iter().for_each(|field| self.put(&field.to_le_bytes()));
        self.put(&view.received().0.to_le_bytes());
        self.put(&view.bytes().to_le_bytes());
        let is_here = view.extents().all(|extent| extent.segment == number);
        let is_here = is_here && !view.is_quarantined();
        let paths = view.paths().filter(|_| is_here);
        let said = paths.and_then(|(reverse_path, mut forward_paths)| {
            self.put(&ReversePath::hash_of(reverse_path).to_le_bytes());
            if let Some(said) = view.handling() {
                self.entries[start + 1] = HAS_HANDLING;
                handling::encode(&said, &mut self.entries);
            }
            forward_paths.try_for_each(|path| self.push_domain(path?))
        });
        if said.is_none() {
            self.entries.truncate(start + MESSAGE_BYTES - 8);
            self.put(&[0; 8]);
            self.entries[start + 1] = SEE_RECORD;
            return;
        }
        let mut count = 0u16;
        for (block, place) in view.state_blocks() {
            let place = u32::try_from(place).expect("inside a record");
            self.push_standing(&block, offset + RECORD_HEADER_BYTES + place);
            count += 1;
        }
        self.entries[start + 4..start + 6].copy_from_slice(&count.to_le_bytes());
    }

    fn push_domain(&mut self, path: &str) -> Option<()> {
        let domain = path.rsplit_once('@').map_or("", |(_, domain)| domain);
        self.entries.push(u8::try_from(domain.len()).ok()?);
        self.put(domain.as_bytes());
        Some(())
    }

    fn push_standing(&mut self, block: &StateBlock<'_>, offset: u32) {
        let summary = block.summary().unwrap_or(Summary::Final);
        let code = match summary {
            Summary::Pending { held: false, .. } => 0,
            Summary::Pending { held: true, .. } => 1,
            Summary::Final => 2,
        };
        self.put(&block.recipient().to_le_bytes());
        self.entries.push(code);
        self.put(&offset.to_le_bytes());
        if let Summary::Pending { attempts, due, .. } = summary {
            self.put(&attempts.to_le_bytes());
            self.put(&due.0.to_le_bytes());
        }
    }

    /// Append the Index record's payload.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let Facts { epoch, before, groups } = self.facts;
        let entries = self.bytes() - u32::try_from(FIXED_BYTES).expect("small");
        for field in [epoch, before.segment, before.offset, groups, entries, 0] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&self.entries);
    }
}

/// An index that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Index {
    pub(super) facts: Facts,
    /// Where in the segment the entries are.
    pub(super) entries: Range<u32>,
}

impl Index {
    /// The index of the segment with these octets and this header.
    pub(super) fn find(segment: &[u8], header: &SegmentHeader) -> Option<Self> {
        let limit = u32::try_from(segment.len()).ok()?;
        let record = Record::decode(segment, trailer(segment, header.nonce)?, limit)?;
        let index = Self::decode(&record)?;
        let is_its = record.header.nonce == header.nonce && index.facts.epoch == header.epoch;
        let mut rest = &segment[index.entries.start as usize..index.entries.end as usize];
        // Whoever counts on the records' order would be led astray by one that says another.
        let (mut last, mut is_in_order) = (0, true);
        while let Some((entry, after)) = Entry::split(rest) {
            if let Entry::Message(message) = entry {
                is_in_order &= message.offset > last;
                last = message.offset;
            }
            rest = after;
        }
        (is_its && is_in_order && rest.is_empty()).then_some(index)
    }

    /// What an Index record says.
    pub(super) fn decode(record: &Record<'_>) -> Option<Self> {
        if record.header.kind != RecordKind::Index {
            return None;
        }
        let mut reader = Reader::new(record.payload);
        let [epoch, segment, offset] = [reader.u32()?, reader.u32()?, reader.u32()?];
        let [groups, bytes, _] = [reader.u32()?, reader.u32()?, reader.u32()?];
        let start = record.offset + RECORD_HEADER_BYTES + u32::try_from(FIXED_BYTES).ok()?;
        let facts = Facts { epoch, before: LogEnd { segment, offset }, groups };
        let is_whole = record.payload.len() == FIXED_BYTES + bytes as usize;
        is_whole.then_some(Self { facts, entries: start..start + bytes })
    }
}

/// What an index says of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry<'a> {
    Message(MessageEntry<'a>),
    State { id: MessageId, standing: StandingEntry },
    Done { id: MessageId },
}

/// Of a Message record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MessageEntry<'a> {
    pub(super) id: MessageId,
    /// The record's first octet, and its octets.
    pub(super) offset: u32,
    pub(super) bytes: u32,
    /// Octets of record and content in this segment.
    pub(super) live: u32,
    pub(super) received: WallTime,
    /// Octets of the message as it is sent.
    pub(super) octets: u64,
    pub(super) reverse_path: u64,
    pub(super) recipients: u16,
    /// More is to be known than is said here.
    pub(super) see_record: bool,
    handling: Option<&'a [u8]>,
    domains: &'a [u8],
    standings: u16,
    rest: &'a [u8],
}

/// Of a state block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StandingEntry {
    pub(super) recipient: u16,
    pub(super) summary: Summary,
    /// The block's first octet in the segment.
    pub(super) offset: u32,
}

impl<'a> Entry<'a> {
    /// The entry at the front of `bytes`, and what follows it.
    pub(super) fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let mut reader = Reader::new(bytes);
        let entry = match reader.u8()? {
            MESSAGE => Self::Message(MessageEntry::read(&mut reader)?),
            STATE => {
                let id = MessageId(reader.u64()?);
                Self::State { id, standing: StandingEntry::read(&mut reader)? }
            }
            DONE => Self::Done { id: MessageId(reader.u64()?) },
            _ => return None,
        };
        Some((entry, reader.rest()))
    }
}

impl<'a> MessageEntry<'a> {
    fn read(reader: &mut Reader<'a>) -> Option<Self> {
        let flags = reader.u8()?;
        let see_record = flags & SEE_RECORD != 0;
        let [recipients, standings] = [reader.u16()?, reader.u16()?];
        let id = MessageId(reader.u64()?);
        let [offset, bytes, live] = [reader.u32()?, reader.u32()?, reader.u32()?];
        let (received, octets) = (WallTime(reader.i64()?), reader.u64()?);
        let reverse_path = reader.u64()?;
        let handling = (flags & HAS_HANDLING != 0).then(|| reader.rest());
        if handling.is_some() {
            handling::decode(reader)?;
        }
        let domains = reader.rest();
        for _ in 0..if see_record { 0 } else { recipients } {
            let bytes = reader.u8()?;
            reader.bytes(bytes.into())?;
        }
        let rest = reader.rest();
        for _ in 0..standings {
            StandingEntry::read(reader)?;
        }
        Some(Self {
            id,
            offset,
            bytes,
            live,
            received,
            octets,
            reverse_path,
            recipients,
            see_record,
            handling,
            domains,
            standings,
            rest,
        })
    }

    /// Where the record is, if the index is that of segment `number`.
    pub(super) fn at(&self, number: u32) -> EnvelopeAt {
        EnvelopeAt { segment: number, offset: self.offset, bytes: self.bytes }
    }

    /// How the sender wants it handled, where something was said of it.
    pub(super) fn handling(&self) -> Option<Handling> {
        handling::decode(&mut Reader::new(self.handling?))
    }

    /// The recipients' domains as text, in the envelope's order.
    pub(super) fn domains(&self) -> impl Iterator<Item = Option<&'a str>> + use<'a> {
        let mut reader = Reader::new(self.domains);
        (0..self.recipients).map(move |_| {
            let bytes = reader.u8()?;
            reader.text(bytes.into())
        })
    }

    /// How the recipients stood when the message was moved here.
    pub(super) fn standings(&self) -> impl Iterator<Item = StandingEntry> + use<'a> {
        let mut reader = Reader::new(self.rest);
        (0..self.standings).map_while(move |_| StandingEntry::read(&mut reader))
    }
}

impl StandingEntry {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let (recipient, code, offset) = (reader.u16()?, reader.u8()?, reader.u32()?);
        let summary = match code {
            0 | 1 => {
                let (attempts, due) = (reader.u32()?, WallTime(reader.i64()?));
                Summary::Pending { attempts, due, held: code == 1 }
            }
            2 => Summary::Final,
            _ => return None,
        };
        Some(Self { recipient, summary, offset })
    }
}

/// What a start will read of a segment with these octets, beside its header and its last octets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ahead {
    /// Nothing was written in it.
    Nothing,
    /// These ranges of it, which were synced long ago.
    Index(Vec<Range<u32>>),
    /// All of it, and what a killed run did not sync must be synced first: it would be believed and
    /// acted on, and a power cut could still take it back.
    Everything,
}

/// See [`Ahead`]. Reads the index, if there is one: to be called where waiting for the disk is
/// allowed.
pub fn ahead(segment: &[u8]) -> Ahead {
    let index = match SegmentHeader::decode(segment) {
        HeaderBlock::Blank if is_blank(segment) => return Ahead::Nothing,
        HeaderBlock::Valid(header) => Index::find(segment, &header),
        HeaderBlock::Blank | HeaderBlock::Version(_) | HeaderBlock::Invalid => None,
    };
    let Some(index) = index else { return Ahead::Everything };
    let mut ranges = vec![index.entries.clone()];
    let mut entries = &segment[index.entries.start as usize..index.entries.end as usize];
    while let Some((entry, rest)) = Entry::split(entries) {
        if let Entry::Message(message) = entry
            && message.see_record
        {
            ranges.push(message.offset..message.offset.saturating_add(message.bytes));
        }
        entries = rest;
    }
    Ahead::Index(ranges)
}

/// Whether nothing stands where the first group would begin.
fn is_blank(segment: &[u8]) -> bool {
    let first = segment.iter().skip(SEGMENT_HEADER_BYTES as usize);
    first.take(RECORD_HEADER_BYTES as usize).all(|octet| *octet == 0)
}

#[cfg(test)]
mod tests;
