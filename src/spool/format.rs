//! THE description of the spool's bytes on disk; version 2.
//!
//! Version 1 is read as well: its messages have no handling, and that is all.
//!
//! All numbers are little-endian. Checksums are CRC-32C. Offsets are octets from the file's start.
//!
//! # A directory
//!
//! `NNN/NUMBER.seg`: one log, cut into segments of one size. Numbers grow by one; only the segment
//! with the lowest number is ever removed. So a record cannot be forgotten before the records that
//! came before it: an end (`Done`) outlives the message that it ends, and nothing is resurrected.
//!
//! # A segment
//!
//! ```text
//! 0                 4096                                             multiple of 4096
//! ├ segment header ─┼ group: head │ contents │ unused up to 4096 ────┼ group … ┤ unused
//! ```
//!
//! | segment header | | |
//! |---|---|---|
//! | 0 | 8 | `RELAYSEG` |
//! | 8 | 4 | checksum of 12..64 |
//! | 12 | 4 | version, 1 or 2 |
//! | 16 | 8 | identity: random, the same in all segments of a directory |
//! | 24 | 8 | nonce: random, this segment's own |
//! | 32 | 4 | number, as in the file's name |
//! | 36 | 4 | epoch: one more at each opening of the directory |
//! | 40 | 2 | directory, as in the path |
//! | 42 | 22 | zero |
//!
//! Valid if and only if magic and checksum are right and number and directory are those of the
//! path. A segment of another identity than its lower neighbours is foreign: reported, not read.
//!
//! # A commit group
//!
//! What one write and one sync put on disk. It starts at a multiple of [`GROUP_ALIGN`], so that no
//! page that holds something committed is ever written again. Its **head** is one Group record and
//! then Message, State and Done records, each at a multiple of 8; right after it lie the
//! **contents**, back to back. Recovery reads heads and skips contents.
//!
//! | record header | | |
//! |---|---|---|
//! | 0 | 4 | checksum of 4..40 |
//! | 4 | 4 | checksum of the payload |
//! | 8 | 4 | octets of the payload |
//! | 12 | 1 | kind: 1 Group, 2 Message, 3 State, 4 Done, 5 Index |
//! | 13 | 3 | zero |
//! | 16 | 8 | nonce of the segment |
//! | 24 | 8 | sequence: grows by one from record to record; a run's first is epoch × 2^46 |
//! | 32 | 8 | message id; 0 for a Group and an Index |
//! | 40 | … | payload, then zeros up to a multiple of 8 |
//!
//! A record is valid if and only if both checksums are right, its nonce is the segment's, its kind
//! is known, its payload is complete and decodes, it ends inside its group's head, and its sequence
//! is above that of every valid record before it in the segment. The nonce is what only this life
//! of this segment carries: neither an older life of a recycled file nor a message's content (whose
//! sender cannot know it) can pass for a record.
//!
//! | Group payload | | |
//! |---|---|---|
//! | 0 | 4 | segment number |
//! | 4 | 4 | epoch |
//! | 8 | 4 | octets of the head, this record included |
//! | 12 | 4 | octets of head and contents |
//! | 16 | 4 | records after this one |
//! | 20 | 4 | segment in which the last group committed in this epoch lies; 0: none yet |
//! | 24 | 4 | where that one ends (its contents included) |
//! | 28 | 4 | zero |
//!
//! Message, State and Done payloads: `record.rs`. A State's payload is one *state block*; a Message
//! that was moved carries one for each of its recipients. A Done's payload is empty.
//!
//! # The index of a segment
//!
//! A segment that is left in good order, because the next group does not fit in it, ends with one
//! more group. Its head has one Index record: what a start needs of every record before it
//! (`index.rs`). Its contents are zeros up to the segment's last octets:
//!
//! | trailer | | |
//! |---|---|---|
//! | 0 | 8 | `RELAYIDX` |
//! | 8 | 4 | checksum of 12..32 |
//! | 12 | 4 | where the Index record starts |
//! | 16 | 8 | nonce of the segment |
//! | 24 | 8 | zero |
//!
//! An index counts if and only if the segment's header is valid, the trailer's checksum is right
//! and its nonce the segment's, and the record that it names is a valid Index record. Then it says
//! all that the segment holds, and that it is proven: it was written after the sync of the last
//! group before it came back, a segment with a failed commit gets none, and nothing is written
//! after it. So it may be believed before it is synced itself: what it says was on stable storage
//! when it was written. Where there is none that counts, the segment is read record by record, and
//! says the same. A segment whose index would be too large, or whose only group fills it, has none.
//!
//! # What a sync is a barrier for
//!
//! A group is written only after the sync of the group before it came back. A Group record says in
//! `20..28` how far syncs had **succeeded** when it was written. So the next Group record of the
//! same epoch settles what a group is:
//!
//! - **proven**: it names this group's end. The group is on stable storage entirely; an invalid
//!   record in it is damage. Contents are not read at recovery.
//! - **abandoned**: it names an earlier end. This group's sync failed, its messages were refused,
//!   its states and ends were appended again after. Its messages do not exist.
//! - **unproven**: no such record follows: it was the last of its run. It may have been
//!   acknowledged and it may be torn anywhere, so everything in it is verified, contents too, at
//!   every recovery.
//!   An invalid record in it is a torn tail, since an acknowledged group is whole.
//!
//! After a failed sync the segment is never written again. A run never writes into a segment of
//! an earlier run. A run hands out no message id before a Group record of its epoch is committed.
//!
//! A message exists if and only if its Message record is valid, its group is not abandoned, all its
//! extents lie inside segments that are present and (group unproven) match their checksums, and
//! no valid Done for its id follows. Of several copies (reclaim moves messages) the latest counts,
//! except that a copy in an unproven group yields to a complete one that is still there: the older
//! one is not removed before the newer one is committed.
//!
//! State blocks and Dones are facts: a valid one counts in any group, in the order of the log.

use std::ops::Range;

use crate::base::ids::MessageId;
use crate::base::limits::EPOCHS_MAX;

/// What a commit group's start is a multiple of: the page of kernel and disk.
pub const GROUP_ALIGN: u32 = 4_096;
/// Octets of a segment's header block.
pub const SEGMENT_HEADER_BYTES: u32 = GROUP_ALIGN;
/// The version of the format that this file describes.
pub const VERSION: u32 = 2;
/// The oldest one that is read.
pub const VERSION_OLDEST: u32 = 1;
/// Octets of a record's header.
pub const RECORD_HEADER_BYTES: u32 = 40;
/// What a record's start is a multiple of.
pub const RECORD_ALIGN: u32 = 8;
/// Octets of a Group record.
pub const GROUP_RECORD_BYTES: u32 = RECORD_HEADER_BYTES + GROUP_PAYLOAD_BYTES;

/// Octets of the trailer that names a segment's Index record.
pub(super) const TRAILER_BYTES: u32 = 32;
/// Records that a run may write: those of its epoch have sequences of their own.
const SEQUENCES_PER_EPOCH: u64 = 1 << 46;
// Two centuries of ten thousand records a second.
const _: () = assert!(EPOCHS_MAX as u64 - 1 <= u64::MAX / SEQUENCES_PER_EPOCH);

const MAGIC: &[u8; 8] = b"RELAYSEG";
const TRAILER_MAGIC: &[u8; 8] = b"RELAYIDX";
const SEGMENT_HEADER_USED: usize = 64;
const GROUP_PAYLOAD_BYTES: u32 = 32;
/// Where in a record its nonce is.
pub(super) const NONCE_OFFSET: usize = 16;

/// `bytes` rounded up to where the next record may start.
pub(super) fn record_end(bytes: u32) -> u32 {
    bytes.next_multiple_of(RECORD_ALIGN)
}

/// The sequence of the first record of the run that has this epoch.
pub(super) fn first_sequence(epoch: u32) -> u64 {
    u64::from(epoch) * SEQUENCES_PER_EPOCH
}

/// Append the trailer that names the Index record at `offset`.
pub(super) fn encode_trailer(offset: u32, nonce: u64, out: &mut Vec<u8>) {
    let mut trailer = [0; TRAILER_BYTES as usize];
    trailer[..8].copy_from_slice(TRAILER_MAGIC);
    trailer[12..16].copy_from_slice(&offset.to_le_bytes());
    trailer[16..24].copy_from_slice(&nonce.to_le_bytes());
    let crc = crc32c::crc32c(&trailer[12..]);
    trailer[8..12].copy_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&trailer);
}

/// Where a segment with this nonce says that its Index record is.
pub(super) fn trailer(segment: &[u8], nonce: u64) -> Option<u32> {
    let trailer = segment.last_chunk::<{ TRAILER_BYTES as usize }>()?;
    let is_whole = &trailer[..8] == TRAILER_MAGIC
        && crc32c::crc32c(&trailer[12..]) == u32_at(trailer, 8)
        && u64_at(trailer, 16) == nonce;
    is_whole.then(|| u32_at(trailer, 12))
}

/// `offset` rounded up to where the next group may start.
pub(super) fn group_start(offset: u32) -> u32 {
    offset.next_multiple_of(GROUP_ALIGN)
}

fn u16_at(bytes: &[u8], offset: usize) -> u16 {
    u16::from_le_bytes(bytes[offset..offset + 2].try_into().expect("two octets"))
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(bytes[offset..offset + 4].try_into().expect("four octets"))
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(bytes[offset..offset + 8].try_into().expect("eight octets"))
}

/// The first 64 octets of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The spool directory's random name.
    pub identity: u64,
    /// The segment's random name, in each of its records.
    pub nonce: u64,
    /// As in the file's name.
    pub number: u32,
    /// The opening of the directory in which it was first written.
    pub epoch: u32,
    /// As in the path.
    pub directory: u16,
}

/// What a segment's first block turns out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderBlock {
    /// A valid header, of whatever number and directory.
    Valid(SegmentHeader),
    /// Written by another version.
    Version(u32),
    /// Never written: zeros.
    Blank,
    /// Anything else.
    Invalid,
}

impl SegmentHeader {
    /// Append the whole header block.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.identity.to_le_bytes());
        out.extend_from_slice(&self.nonce.to_le_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.extend_from_slice(&self.directory.to_le_bytes());
        out.resize(start + SEGMENT_HEADER_BYTES as usize, 0);
        let crc = crc32c::crc32c(&out[start + 12..start + SEGMENT_HEADER_USED]);
        out[start + 8..start + 12].copy_from_slice(&crc.to_le_bytes());
    }

    /// Read the block at a segment's start.
    pub fn decode(bytes: &[u8]) -> HeaderBlock {
        let Some(used) = bytes.get(..SEGMENT_HEADER_USED) else {
            return HeaderBlock::Invalid;
        };
        if used.iter().all(|octet| *octet == 0) {
            return HeaderBlock::Blank;
        }
        if &used[..8] != MAGIC || crc32c::crc32c(&used[12..]) != u32_at(used, 8) {
            return HeaderBlock::Invalid;
        }
        match u32_at(used, 12) {
            VERSION_OLDEST..=VERSION => HeaderBlock::Valid(Self {
                identity: u64_at(used, 16),
                nonce: u64_at(used, 24),
                number: u32_at(used, 32),
                epoch: u32_at(used, 36),
                directory: u16_at(used, 40),
            }),
            other => HeaderBlock::Version(other),
        }
    }
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// A commit group starts.
    Group,
    /// A message: envelope, prefix, where its content is.
    Message,
    /// How one recipient stands.
    State,
    /// A message has ended.
    Done,
    /// What the segment's other records say, in short.
    Index,
}

impl RecordKind {
    fn code(self) -> u8 {
        match self {
            Self::Group => 1,
            Self::Message => 2,
            Self::State => 3,
            Self::Done => 4,
            Self::Index => 5,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::Group, Self::Message, Self::State, Self::Done, Self::Index]
            .into_iter()
            .find(|kind| kind.code() == code)
    }
}

/// What a record's header says beside the payload's length and checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// What it is.
    pub kind: RecordKind,
    /// The segment's.
    pub nonce: u64,
    /// Its place in the log.
    pub sequence: u64,
    /// The message it speaks of; 0 for a Group.
    pub id: MessageId,
}

impl RecordHeader {
    /// The header of a record whose payload has this length and checksum.
    pub fn encode(
        &self,
        payload_bytes: u32,
        payload_crc: u32,
    ) -> [u8; RECORD_HEADER_BYTES as usize] {
        let mut header = [0u8; RECORD_HEADER_BYTES as usize];
        header[4..8].copy_from_slice(&payload_crc.to_le_bytes());
        header[8..12].copy_from_slice(&payload_bytes.to_le_bytes());
        header[12] = self.kind.code();
        header[16..24].copy_from_slice(&self.nonce.to_le_bytes());
        header[24..32].copy_from_slice(&self.sequence.to_le_bytes());
        header[32..40].copy_from_slice(&self.id.0.to_le_bytes());
        let crc = crc32c::crc32c(&header[4..]);
        header[..4].copy_from_slice(&crc.to_le_bytes());
        header
    }
}

/// A record with right checksums, as it lies in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// What its header says.
    pub header: RecordHeader,
    /// Its first octet in the segment.
    pub offset: u32,
    /// What it holds.
    pub payload: &'a [u8],
}

impl<'a> Record<'a> {
    /// The record at `offset` of `segment`, if its checksums are right and it ends by `end`.
    /// Whether nonce and sequence are right is for the caller to say.
    pub fn decode(segment: &'a [u8], offset: u32, end: u32) -> Option<Self> {
        let start = offset as usize;
        let inside = segment.get(start..(end as usize).min(segment.len()))?;
        let (header, rest) = inside.split_at_checked(RECORD_HEADER_BYTES as usize)?;
        if crc32c::crc32c(&header[4..]) != u32_at(header, 0) {
            return None;
        }
        let payload = rest.get(..u32_at(header, 8) as usize)?;
        if crc32c::crc32c(payload) != u32_at(header, 4) {
            return None;
        }
        let header = RecordHeader {
            kind: RecordKind::from_code(header[12])?,
            nonce: u64_at(header, NONCE_OFFSET),
            sequence: u64_at(header, 24),
            id: MessageId(u64_at(header, 32)),
        };
        Some(Self { header, offset, payload })
    }

    /// What may be a record at `offset`, whose checksums need not be right.
    pub(super) fn peek(segment: &'a [u8], offset: u32) -> Option<Peeked<'a>> {
        let rest = segment.get(offset as usize..)?;
        let (header, rest) = rest.split_at_checked(RECORD_HEADER_BYTES as usize)?;
        let payload = &rest[..rest.len().min(u32_at(header, 8) as usize)];
        let is_header_whole = crc32c::crc32c(&header[4..]) == u32_at(header, 0);
        let header = RecordHeader {
            kind: RecordKind::from_code(header[12])?,
            nonce: u64_at(header, NONCE_OFFSET),
            sequence: u64_at(header, 24),
            id: MessageId(u64_at(header, 32)),
        };
        Some(Peeked { record: Self { header, offset, payload }, is_header_whole })
    }

    /// Octets of header and payload, without what fills up to the next record.
    pub fn bytes(&self) -> u32 {
        let payload = u32::try_from(self.payload.len()).expect("inside a segment");
        RECORD_HEADER_BYTES + payload
    }

    /// Where the next record may start.
    pub fn end(&self) -> u32 {
        record_end(self.offset + self.bytes())
    }
}

/// Octets that may have been a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peeked<'a> {
    /// As it reads.
    pub(super) record: Record<'a>,
    /// The header's checksum is right: kind, id and length are what was written.
    pub(super) is_header_whole: bool,
}

/// A place in the log: proof that everything before it is on stable storage, where a sync came
/// back well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogEnd {
    /// The segment; 0: before the first.
    pub segment: u32,
    /// The end of the group's contents.
    pub offset: u32,
}

/// What a Group record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupHead {
    /// The segment's number.
    pub segment: u32,
    /// The opening of the directory.
    pub epoch: u32,
    /// Octets of the head.
    pub head_bytes: u32,
    /// Octets of head and contents.
    pub bytes: u32,
    /// Records after the Group record.
    pub records: u32,
    /// How far syncs had succeeded in this epoch.
    pub committed: LogEnd,
}

impl GroupHead {
    /// Append the Group record.
    pub fn encode(&self, nonce: u64, sequence: u64, out: &mut Vec<u8>) {
        let mut payload = [0u8; GROUP_PAYLOAD_BYTES as usize];
        let fields = [
            self.segment,
            self.epoch,
            self.head_bytes,
            self.bytes,
            self.records,
            self.committed.segment,
            self.committed.offset,
        ];
        for (place, field) in payload.chunks_exact_mut(4).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        let crc = crc32c::crc32c(&payload);
        let header = RecordHeader { kind: RecordKind::Group, nonce, sequence, id: MessageId(0) };
        out.extend_from_slice(&header.encode(GROUP_PAYLOAD_BYTES, crc));
        out.extend_from_slice(&payload);
    }

    /// The segment that a Group record names, if its payload at least is what it was.
    pub(super) fn segment_of(record: &[u8]) -> Option<u32> {
        let (header, payload) = record.split_at_checked(RECORD_HEADER_BYTES as usize)?;
        let payload = payload.get(..GROUP_PAYLOAD_BYTES as usize)?;
        (crc32c::crc32c(payload) == u32_at(header, 4)).then(|| u32_at(payload, 0))
    }

    /// Read a Group record's payload; `room` octets are left in the segment from its start.
    pub fn decode(record: &Record<'_>, room: u32) -> Option<Self> {
        let payload = record.payload;
        let is_group = record.header.kind == RecordKind::Group;
        if !is_group || payload.len() != GROUP_PAYLOAD_BYTES as usize {
            return None;
        }
        let head = Self {
            segment: u32_at(payload, 0),
            epoch: u32_at(payload, 4),
            head_bytes: u32_at(payload, 8),
            bytes: u32_at(payload, 12),
            records: u32_at(payload, 16),
            committed: LogEnd { segment: u32_at(payload, 20), offset: u32_at(payload, 24) },
        };
        let whole = head.head_bytes >= GROUP_RECORD_BYTES
            && head.head_bytes.is_multiple_of(RECORD_ALIGN)
            && head.head_bytes <= head.bytes
            && head.bytes <= room;
        whole.then_some(head)
    }
}

/// The octets `offset..offset + bytes` of a segment, if they are inside.
pub(super) fn slice(segment: &[u8], offset: u32, bytes: u32) -> Option<&[u8]> {
    let range: Range<usize> = offset as usize..(offset as usize).checked_add(bytes as usize)?;
    segment.get(range)
}

#[cfg(test)]
mod tests;
