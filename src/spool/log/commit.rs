//! Turn groups into commits, one at a time, and what came of them into events.
//!
//! Invariant: `Accepted` is made here alone, for a group whose sync succeeded. After a failed one
//! the segment is sealed, its messages are refused, its facts go into the next group.

use std::ops::Range;
use std::sync::Arc;

use crate::base::ids::MessageId;
use crate::base::limits::COMMIT_FAILURES_MAX;
use crate::spool::format::{
    GROUP_RECORD_BYTES, LogEnd, RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader,
    record_end,
};
use crate::spool::group::{Chunk, Group, Item, Layout, Place, What, lay_out_index};
use crate::spool::index::Builder;
use crate::spool::log::{Accepted, Io, Log, LogEvent, Refusal};
use crate::spool::segment::{SegmentBytes, SegmentName};
use crate::spool::space::Tail;
use crate::spool::stored::{EnvelopeAt, StateAt};

/// The commit under way.
#[derive(Debug)]
pub(super) struct InFlight {
    /// Empty where a segment's index is committed.
    pub(super) group: Group,
    segment: u32,
    range: Range<u32>,
    /// The first buffer, which ends with the group's records.
    head: Arc<Vec<u8>>,
}

impl Log {
    /// The next thing to ask of the disk, until `None`.
    pub fn poll_io(&mut self) -> Option<Io> {
        if let Some(number) = self.space.poll_create(self.files_wanted()) {
            let bytes = self.options.segment_bytes;
            let is_for_admission = self.options.admits && self.space.has_reserve();
            return Some(Io::Create { segment: self.name(number), bytes, is_for_admission });
        }
        if let Some(io) = self.poll_commit() {
            return Some(io);
        }
        let number = match self.spoiled.pop() {
            Some(number) => {
                self.space.discard(number);
                number
            }
            None => {
                let number = self.removable()?;
                self.space.remove(number);
                number
            }
        };
        self.live.forget(number);
        Some(Io::Remove { segment: self.name(number) })
    }

    /// A `Create` came to its end: the map of the new file, or errno.
    pub fn handle_segment_ready(
        &mut self,
        segment: SegmentName,
        result: Result<Arc<dyn SegmentBytes>, i32>,
    ) {
        assert_eq!(segment.directory, self.directory, "a segment of another log");
        self.space.handle_ready(segment.number, result);
    }

    /// A `Commit` came to its end: all its octets are on stable storage, or errno.
    pub fn handle_committed(&mut self, segment: SegmentName, result: Result<(), i32>) {
        let flight = self.in_flight.take().expect("a commit is under way");
        assert_eq!(segment, self.name(flight.segment), "another segment's commit");
        match result {
            Ok(()) => self.commit_succeeded(flight),
            Err(errno) => self.commit_failed(flight, errno),
        }
        self.ask_moves();
    }

    /// Prepared files to have beside the reserve. A directory that admits nothing makes one only
    /// for what must be written.
    fn files_wanted(&self) -> usize {
        if self.options.admits || self.must_open() {
            return 1;
        }
        let waits = self.queue.front().filter(|group| !group.is_empty());
        usize::from(waits.is_some_and(|group| !self.space.has_place(group.need(), true)))
    }

    fn poll_commit(&mut self) -> Option<Io> {
        if self.in_flight.is_some() || self.is_paused {
            return None;
        }
        while let Some(group) = self.queue.front() {
            if group.is_empty() {
                self.queue.pop_front();
            } else if self.space.is_full()
                && group.is_admission
                && !self.space.has_place(group.need(), false)
            {
                self.refuse_admissions();
            } else {
                break;
            }
        }
        let fails = self.failures_in_a_row > 0;
        if self.queue.is_empty() && (self.must_open() || fails) {
            // Put this run's epoch on disk before any message id of it is told to anyone. And find
            // out whether commits succeed again, whether or not a client comes to try.
            self.queue.push_back(Group::new(self.serial));
            self.serial += 1;
        }
        let group = self.queue.front()?;
        let (need, is_admission) = (group.need(), group.is_admission);
        if let Some((tail, index)) = self.space.leave_for(need) {
            return Some(self.commit_index(tail, &index));
        }
        if !self.space.has_place(need, !is_admission) {
            return None;
        }
        let group = self.queue.pop_front()?;
        Some(self.commit(group))
    }

    /// Whether this run's epoch must get on disk, even if there is nothing else to write.
    fn must_open(&self) -> bool {
        !self.is_open && (self.options.admits || self.evacuated.is_some())
    }

    fn commit(&mut self, mut group: Group) -> Io {
        let prng = &mut self.prng;
        let bytes = group.bytes();
        let tail = self.space.place(group.need(), || prng.next_u64()).expect("it has a place");
        let header = self.header(tail.segment);
        let start = tail.offset;
        if start == SEGMENT_HEADER_BYTES {
            self.space.begin_index(self.epoch, self.committed);
        }
        let (committed, sequence) = (self.committed, self.sequence);
        let buffers = group.lay_out(&Layout { header, start, committed, sequence });
        self.sequence += 1 + group.items.len() as u64;
        self.settle(&group, tail.segment);
        let segment = self.name(tail.segment);
        let offset = if start == SEGMENT_HEADER_BYTES { 0 } else { start };
        let range = start..start + bytes;
        let head = Arc::clone(&buffers[0]);
        self.in_flight = Some(InFlight { group, segment: tail.segment, range, head });
        Io::Commit { segment, offset, buffers }
    }

    /// End a segment that was left with its index.
    fn commit_index(&mut self, tail: Tail, index: &Builder) -> Io {
        let Tail { segment, offset } = tail;
        let header = self.header(segment);
        let (committed, sequence) = (self.committed, self.sequence);
        let layout = Layout { header, start: offset, committed, sequence };
        let buffers = lay_out_index(index, &layout, self.options.segment_bytes);
        self.sequence += 2;
        let group = Group::new(self.serial);
        self.serial += 1;
        let range = offset..self.options.segment_bytes;
        let head = Arc::clone(&buffers[0]);
        self.in_flight = Some(InFlight { group, segment, range, head });
        Io::Commit { segment: self.name(segment), offset, buffers }
    }

    /// The header of a segment of this run.
    fn header(&self, number: u32) -> SegmentHeader {
        let nonce = self.space.file(number).and_then(|file| file.nonce);
        SegmentHeader {
            identity: self.identity,
            nonce: nonce.expect("named when it became current"),
            number,
            epoch: self.epoch,
            directory: self.directory,
        }
    }

    /// Tell those whose chunks are in `group`, but not their envelope, where the chunks are.
    fn settle(&mut self, group: &Group, segment: u32) {
        if group.unfinished.is_empty() {
            return;
        }
        let base = group.contents_start();
        let transactions = &mut self.transactions;
        let open = group.unfinished.iter();
        open.for_each(|id| {
            let chunks = transactions.get_mut(id).map(|open| open.chunks.as_mut_slice());
            chunks.unwrap_or_default().iter_mut().for_each(|chunk| {
                chunk.settle(group.serial, segment, base);
            });
        });
        for chunk in self.queue.iter_mut().flat_map(Group::chunks_mut) {
            chunk.settle(group.serial, segment, base);
        }
    }

    fn commit_succeeded(&mut self, flight: InFlight) {
        let InFlight { group, segment, range, head } = flight;
        self.committed = LogEnd { segment, offset: range.end };
        self.is_open = true;
        self.counters.groups += 1;
        if std::mem::take(&mut self.failures_in_a_row) > 0 {
            self.events.push_back(LogEvent::Healthy);
        }
        for id in &group.unfinished {
            let chunks = self.transactions.get_mut(id).map(|open| open.chunks.as_mut_slice());
            let here =
                chunks.unwrap_or_default().iter_mut().filter(|one| one.is_in(segment, &range));
            here.for_each(|chunk| chunk.hot = None);
        }
        let mut offset = range.start + GROUP_RECORD_BYTES;
        if let Some(index) = self.space.index(segment) {
            index.facts.groups += 1;
        }
        let mut records = &head[head.len() - group.records_bytes()..];
        for item in &group.items {
            let at = EnvelopeAt { segment, offset, bytes: item.bytes() };
            let (record, rest) = records.split_at(record_end(item.bytes()) as usize);
            records = rest;
            if let Some(index) = self.space.index(segment) {
                index.push(segment, item.id, item.what.kind(), offset, item.payload_of(record));
            }
            self.item_committed(&group, item, at);
            offset += record_end(item.bytes());
        }
    }

    fn item_committed(&mut self, group: &Group, item: &Item, at: EnvelopeAt) {
        let id = item.id;
        let payload = at.offset + RECORD_HEADER_BYTES;
        match &item.what {
            What::Message { .. } => {
                self.live.add(id, at, group.extents_of(item));
                self.counters.accepted += 1;
                self.events.push_back(LogEvent::Accepted(Accepted { id, at }));
            }
            What::Moved { from, blocks } => {
                let states = blocks.iter().map(|(recipient, offset)| {
                    (*recipient, StateAt { segment: at.segment, offset: payload + offset })
                });
                self.moved(id, *from, at, group.extents_of(item), states.collect());
            }
            What::State { recipient, is_pending } => {
                let (recipient, at) =
                    (*recipient, StateAt { segment: at.segment, offset: payload });
                if *is_pending {
                    self.events.push_back(LogEvent::Noted { id, recipient, at });
                }
            }
            What::Done { at } => {
                self.live.remove(id, *at);
                self.moves.ended(id);
            }
        }
    }

    fn commit_failed(&mut self, flight: InFlight, errno: i32) {
        let InFlight { mut group, segment, range, head: _ } = flight;
        self.space.seal();
        if range.start == SEGMENT_HEADER_BYTES {
            // Its first group: nothing in it was ever committed, and nobody refers to it. Kept, the
            // attempts of an hour would fill the disk.
            self.spoiled.push(segment);
        }
        self.counters.failures += 1;
        self.failures_in_a_row += 1;
        self.is_paused = self.failures_in_a_row >= COMMIT_FAILURES_MAX;
        let refused = group.retain(|_, item| item.what.is_fact());
        self.refuse(refused, Refusal::Failed);
        self.lose(&group.unfinished, Refusal::Failed, |chunk| chunk.is_in(segment, &range));
        group.drop_contents();
        self.queue.push_front(group);
        self.events.push_back(LogEvent::Unhealthy { segment: self.name(segment), errno });
    }

    /// Only the reserve is left: what clients wait for in the next group is refused, so that
    /// outcomes can be written.
    fn refuse_admissions(&mut self) {
        let Some(group) = self.queue.front_mut() else {
            return;
        };
        let serial = group.serial;
        let refused = group.retain(|_, item| !item.what.is_admission());
        let unfinished = std::mem::take(&mut group.unfinished);
        (group.is_admission, group.is_awaited) = (false, false);
        if group.items.iter().all(|item| item.what.is_fact()) {
            group.drop_contents();
        }
        self.refuse(refused, Refusal::Full);
        self.lose(&unfinished, Refusal::Full, |chunk| match chunk.place {
            Place::Group { serial: other, .. } => other == serial,
            Place::Disk { .. } => false,
        });
    }

    /// Chunks that `is_lost` names will not reach the disk: nor will the messages that they are of.
    fn lose(&mut self, ids: &[MessageId], why: Refusal, is_lost: impl Fn(&Chunk) -> bool) {
        if ids.is_empty() {
            return;
        }
        for id in ids {
            let open = self.transactions.get_mut(id);
            if let Some(open) = open.filter(|open| open.chunks.iter().any(&is_lost)) {
                open.lose(why);
            }
        }
        for place in 0..self.queue.len() {
            let keep = |group: &Group, item: &Item| {
                // Chunks of the same group are with their message: they share its fate.
                item.what.is_fact() || !group.chunks_of(item).iter().any(&is_lost)
            };
            let refused = self.queue[place].retain(keep);
            self.refuse(refused, why);
        }
    }

    fn refuse(&mut self, items: Vec<Item>, why: Refusal) {
        for item in items {
            match item.what {
                What::Message { .. } => {
                    self.events.push_back(LogEvent::Refused { id: item.id, why });
                }
                What::Moved { .. } => self.moves.failed(item.id),
                What::State { .. } | What::Done { .. } => unreachable!("facts are kept"),
            }
        }
    }

    /// The oldest segment, if nothing in it is needed any more. Never one that this run did not get
    /// past with a commit: it may be the only one that says what the epoch was.
    fn removable(&self) -> Option<u32> {
        let is_meant = |oldest| self.evacuated.is_none_or(|through| oldest <= through);
        let oldest = self.space.oldest().filter(|oldest| *oldest < self.committed.segment)?;
        if !is_meant(oldest) || self.is_recovering {
            return None;
        }
        let flying = self.in_flight.as_ref();
        let is_empty =
            self.live.bytes_in(oldest) == 0 && flying.is_none_or(|flight| flight.segment != oldest);
        if !is_empty {
            return None;
        }
        let groups = self.queue.iter().chain(flying.map(|flight| &flight.group));
        let open = self.transactions.values().flat_map(|open| &open.chunks);
        let chunks = open.filter_map(Chunk::segment).min();
        let pinned = groups.filter_map(Group::lowest_segment).chain(chunks).min();
        pinned.is_none_or(|lowest| lowest > oldest).then_some(oldest)
    }
}
