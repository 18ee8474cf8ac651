//! Collect what is appended into a commit group, and lay it out once its place is known.
//!
//! In: payloads, contents. Out: the buffers of one commit, where each record is.
//! Invariant: `bytes` is what `lay_out` produces; a group fits in one segment.
//! Unit: octets. One buffer holds all small things; each content keeps its own, uncopied.

use std::ops::Range;
use std::sync::Arc;

use crate::base::ids::MessageId;
use crate::base::limits::COMMIT_BUFFERS_MAX;
use crate::spool::format::{
    GROUP_RECORD_BYTES, GroupHead, LogEnd, RECORD_HEADER_BYTES, RecordHeader, RecordKind,
    SEGMENT_HEADER_BYTES, SegmentHeader, TRAILER_BYTES, encode_trailer, record_end,
};
use crate::spool::index::Builder;
use crate::spool::record::{EXTENT_BYTES, Extent};
use crate::spool::space::Need;
use crate::spool::stored::EnvelopeAt;

/// A stretch of content on its way to the disk, or there.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    pub(super) place: Place,
    pub(super) bytes: u32,
    pub(super) crc: u32,
    /// The octets, until they are committed.
    pub(super) hot: Option<Arc<Vec<u8>>>,
}

/// Where a chunk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// So far into the contents of a group that has no place yet.
    Group { serial: u64, offset: u32 },
    /// On disk, or being written there.
    Disk { segment: u32, offset: u32 },
}

/// What a record of a group is, and what follows from its commit.
#[derive(Debug)]
pub(super) enum What {
    /// A new message; `is_admission`: a client's, which may not use the reserve.
    Message { is_admission: bool },
    /// A copy of the message at `from`; where in the payload its recipients' blocks are.
    Moved { from: EnvelopeAt, blocks: Vec<(u16, u32)> },
    /// A recipient's state; `is_pending`: the queue wants to know where.
    State { recipient: u16, is_pending: bool },
    /// The end of the message at `at`.
    Done { at: EnvelopeAt },
}

impl What {
    pub(super) fn kind(&self) -> RecordKind {
        match self {
            Self::Message { .. } | Self::Moved { .. } => RecordKind::Message,
            Self::State { .. } => RecordKind::State,
            Self::Done { .. } => RecordKind::Done,
        }
    }

    /// Whether it must be appended again when its commit failed.
    pub(super) fn is_fact(&self) -> bool {
        matches!(self.kind(), RecordKind::State | RecordKind::Done)
    }

    /// Whether it is a client's message.
    pub(super) fn is_admission(&self) -> bool {
        matches!(self, Self::Message { is_admission: true })
    }
}

/// A record of a group.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) id: MessageId,
    pub(super) what: What,
    /// In the group's payloads, without extents.
    payload: Range<usize>,
    /// Checksum of that.
    crc: u32,
    /// In the group's chunks: a message's content.
    chunks: Range<usize>,
}

impl Item {
    /// Octets of the record without what fills up to the next.
    pub(super) fn bytes(&self) -> u32 {
        record_bytes(self.payload.len(), self.chunks.len())
    }

    /// The payload of the record that it was laid out as.
    pub(super) fn payload_of<'a>(&self, record: &'a [u8]) -> &'a [u8] {
        &record[RECORD_HEADER_BYTES as usize..self.bytes() as usize]
    }
}

/// Octets of a record; more than a group can hold where it does not fit in 32 bits.
pub(super) fn record_bytes(payload: usize, extents: usize) -> u32 {
    let extents = extents.saturating_mul(EXTENT_BYTES);
    let bytes = u32::try_from(payload.saturating_add(extents)).unwrap_or(u32::MAX / 2);
    bytes.min(u32::MAX / 2) + RECORD_HEADER_BYTES
}

/// What goes to disk by one write and one sync.
#[derive(Debug)]
pub(super) struct Group {
    /// Names the group until it has a place.
    pub(super) serial: u64,
    pub(super) items: Vec<Item>,
    /// Transactions that were not complete when a chunk of theirs came in here.
    pub(super) unfinished: Vec<MessageId>,
    /// Something of a client's is in it: it may not use the reserve.
    pub(super) is_admission: bool,
    /// A client waits for its commit, or soon may.
    pub(super) is_awaited: bool,
    chunks: Vec<Chunk>,
    payloads: Vec<u8>,
    contents: Vec<Arc<Vec<u8>>>,
    head_bytes: u32,
    content_bytes: u32,
    contents_start: u32,
}

/// Where a group goes, and what its marks say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// Number, nonce, epoch are said in every group; the whole goes before a segment's first.
    pub(super) header: SegmentHeader,
    /// The group's first octet; the segment's header goes before it if it is the first.
    pub(super) start: u32,
    /// How far syncs succeeded in this epoch.
    pub(super) committed: LogEnd,
    /// The sequence of its first record.
    pub(super) sequence: u64,
}

impl Group {
    pub(super) fn new(serial: u64) -> Self {
        Self {
            serial,
            items: Vec::new(),
            unfinished: Vec::new(),
            is_admission: false,
            is_awaited: false,
            chunks: Vec::new(),
            payloads: Vec::new(),
            contents: Vec::new(),
            head_bytes: GROUP_RECORD_BYTES,
            content_bytes: 0,
            contents_start: 0,
        }
    }

    /// Octets on disk.
    pub(super) fn bytes(&self) -> u32 {
        self.head_bytes + self.content_bytes
    }

    /// Octets that it needs in a segment.
    pub(super) fn need(&self) -> Need {
        Need { bytes: self.bytes(), head: self.head_bytes }
    }

    /// Octets of the records after the Group record.
    pub(super) fn records_bytes(&self) -> usize {
        (self.head_bytes - GROUP_RECORD_BYTES) as usize
    }

    /// Where the contents of a placed group start.
    pub(super) fn contents_start(&self) -> u32 {
        self.contents_start
    }

    /// Whether nothing was appended.
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty() && self.contents.is_empty()
    }

    /// Whether a record and a content of these sizes go in, where a group may have `max` octets.
    pub(super) fn fits(&self, record: u32, content: u32, max: u32) -> bool {
        let more = u64::from(record_end(record)) + u64::from(content);
        u64::from(self.bytes()) + more <= u64::from(max)
            && (content == 0 || self.contents.len() + 2 <= COMMIT_BUFFERS_MAX)
    }

    /// Append a content; what refers to it. Not for empty ones.
    pub(super) fn push_content(&mut self, hot: Arc<Vec<u8>>) -> Chunk {
        let bytes = u32::try_from(hot.len()).expect("checked by `fits`");
        let crc = crc32c::crc32c(&hot);
        let place = Place::Group { serial: self.serial, offset: self.content_bytes };
        self.contents.push(Arc::clone(&hot));
        self.content_bytes += bytes;
        Chunk { place, bytes, crc, hot: Some(hot) }
    }

    /// Append a record. A message's payload is followed by an extent for each of `chunks`.
    pub(super) fn push_item(
        &mut self,
        id: MessageId,
        what: What,
        payload: &[u8],
        chunks: Vec<Chunk>,
    ) {
        let payload_start = self.payloads.len();
        self.payloads.extend_from_slice(payload);
        let chunks_start = self.chunks.len();
        self.chunks.extend(chunks.into_iter().map(|chunk| Chunk { hot: None, ..chunk }));
        let item = Item {
            id,
            what,
            payload: payload_start..self.payloads.len(),
            crc: crc32c::crc32c(payload),
            chunks: chunks_start..self.chunks.len(),
        };
        self.head_bytes += record_end(item.bytes());
        self.items.push(item);
    }

    /// Chunks of complete messages in this group, to learn where they are.
    pub(super) fn chunks_mut(&mut self) -> impl Iterator<Item = &mut Chunk> {
        self.chunks.iter_mut()
    }

    /// Segments in which chunks of this group's messages lie already.
    pub(super) fn lowest_segment(&self) -> Option<u32> {
        self.chunks.iter().filter_map(Chunk::segment).min()
    }

    /// An item's chunks.
    pub(super) fn chunks_of(&self, item: &Item) -> &[Chunk] {
        &self.chunks[item.chunks.clone()]
    }

    /// Where the content of a placed group's item is.
    pub(super) fn extents_of(&self, item: &Item) -> impl Iterator<Item = Extent> + '_ {
        self.chunks_of(item).iter().map(Chunk::extent)
    }

    /// Drop the items that `keep` refuses, and return them. Their content stays.
    pub(super) fn retain(&mut self, keep: impl Fn(&Self, &Item) -> bool) -> Vec<Item> {
        let items = std::mem::take(&mut self.items);
        let (kept, dropped): (Vec<_>, Vec<_>) = items.into_iter().partition(|one| keep(self, one));
        self.items = kept;
        let records: u32 = self.items.iter().map(|item| record_end(item.bytes())).sum();
        self.head_bytes = GROUP_RECORD_BYTES + records;
        dropped
    }

    /// Drop all content, once no item refers to it.
    pub(super) fn drop_contents(&mut self) {
        assert!(self.items.iter().all(|item| item.what.is_fact()), "content is still needed");
        self.items.iter_mut().for_each(|item| item.chunks = 0..0);
        self.contents.clear();
        self.chunks.clear();
        self.unfinished.clear();
        (self.is_admission, self.is_awaited) = (false, false);
        self.content_bytes = 0;
    }

    /// Give the group its place: its chunks learn theirs, and its octets come out.
    pub(super) fn lay_out(&mut self, layout: &Layout) -> Vec<Arc<Vec<u8>>> {
        self.contents_start = layout.start + self.head_bytes;
        let base = self.contents_start;
        let segment = layout.header.number;
        let serial = self.serial;
        self.chunks.iter_mut().for_each(|chunk| chunk.settle(serial, segment, base));
        let is_first = layout.start == SEGMENT_HEADER_BYTES;
        let header_bytes = if is_first { SEGMENT_HEADER_BYTES } else { 0 };
        let mut small = Vec::with_capacity((header_bytes + self.head_bytes) as usize);
        if is_first {
            layout.header.encode(&mut small);
        }
        let head = GroupHead {
            segment,
            epoch: layout.header.epoch,
            head_bytes: self.head_bytes,
            bytes: self.bytes(),
            records: u32::try_from(self.items.len()).expect("bounded by the group's octets"),
            committed: layout.committed,
        };
        head.encode(layout.header.nonce, layout.sequence, &mut small);
        for (item, sequence) in self.items.iter().zip(layout.sequence + 1..) {
            self.encode_item(item, layout.header.nonce, sequence, &mut small);
        }
        assert_eq!(small.len(), (header_bytes + self.head_bytes) as usize);
        let contents = self.contents.iter().map(Arc::clone);
        std::iter::once(Arc::new(small)).chain(contents).collect()
    }

    fn encode_item(&self, item: &Item, nonce: u64, sequence: u64, out: &mut Vec<u8>) {
        let start = out.len();
        let payload = start + RECORD_HEADER_BYTES as usize;
        out.resize(payload, 0);
        out.extend_from_slice(&self.payloads[item.payload.clone()]);
        let extents = out.len();
        self.extents_of(item).for_each(|extent| extent.encode(out));
        let crc = crc32c::crc32c_append(item.crc, &out[extents..]);
        let header = RecordHeader { kind: item.what.kind(), nonce, sequence, id: item.id };
        let header = header.encode(item.bytes() - RECORD_HEADER_BYTES, crc);
        out[start..payload].copy_from_slice(&header);
        let aligned = record_end(item.bytes()) - item.bytes();
        out.resize(out.len() + aligned as usize, 0);
    }
}

/// Lay out the group that ends a segment of `segment_bytes`: its index, and nothing else.
pub(super) fn lay_out_index(
    index: &Builder,
    layout: &Layout,
    segment_bytes: u32,
) -> Vec<Arc<Vec<u8>>> {
    let Layout { header, start, committed, sequence } = *layout;
    let (nonce, record) = (header.nonce, RECORD_HEADER_BYTES + index.bytes());
    let head_bytes = GROUP_RECORD_BYTES + record_end(record);
    let head = GroupHead {
        segment: header.number,
        epoch: header.epoch,
        head_bytes,
        bytes: segment_bytes - start,
        records: 1,
        committed,
    };
    let mut small = Vec::with_capacity(head_bytes as usize);
    head.encode(nonce, sequence, &mut small);
    small.resize((GROUP_RECORD_BYTES + RECORD_HEADER_BYTES) as usize, 0);
    index.encode(&mut small);
    let (before, payload) = small.split_at_mut((GROUP_RECORD_BYTES + RECORD_HEADER_BYTES) as usize);
    let (kind, sequence, id) = (RecordKind::Index, sequence + 1, MessageId(0));
    let header = RecordHeader { kind, nonce, sequence, id };
    let header = header.encode(index.bytes(), crc32c::crc32c(payload));
    before[GROUP_RECORD_BYTES as usize..].copy_from_slice(&header);
    small.resize(head_bytes as usize, 0);
    let rest = segment_bytes - start - head_bytes - TRAILER_BYTES;
    let mut filled = vec![0; rest as usize];
    encode_trailer(start + GROUP_RECORD_BYTES, nonce, &mut filled);
    vec![Arc::new(small), Arc::new(filled)]
}

impl Chunk {
    /// The group that it is in has a place.
    pub(super) fn settle(&mut self, group: u64, segment: u32, base: u32) {
        match self.place {
            Place::Group { serial, offset } if serial == group => {
                self.place = Place::Disk { segment, offset: base + offset };
            }
            Place::Group { .. } | Place::Disk { .. } => {}
        }
    }

    /// The segment, once it is known.
    pub(super) fn segment(&self) -> Option<u32> {
        match self.place {
            Place::Group { .. } => None,
            Place::Disk { segment, .. } => Some(segment),
        }
    }

    /// Whether it lies in this stretch of the log.
    pub(super) fn is_in(&self, number: u32, range: &Range<u32>) -> bool {
        match self.place {
            Place::Group { .. } => false,
            Place::Disk { segment, offset } => segment == number && range.contains(&offset),
        }
    }

    fn extent(&self) -> Extent {
        let Place::Disk { segment, offset } = self.place else {
            unreachable!("groups are laid out in the order in which they were filled");
        };
        Extent { segment, offset, bytes: self.bytes, crc: self.crc }
    }
}
