//! Keep the segment files of a directory: those written, the one being written, those prepared.
//!
//! In: room that is needed, files that are ready. Out: files to create, places for groups.
//! Invariant: a file is current once only; what a failed commit sealed is never written again; the
//! last `reserve` prepared files are never given to admissions; the current file has room left for
//! its index, or goes without.
//! Unit: octets.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::base::limits::{INDEX_MAX, INDEX_SHARE};
use crate::spool::format::{
    GROUP_RECORD_BYTES, LogEnd, RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES, TRAILER_BYTES,
    group_start, record_end,
};
use crate::spool::index::Builder;
use crate::spool::segment::SegmentBytes;

/// A file that was written, in this run or an earlier one.
#[derive(Debug)]
pub(super) struct File {
    pub(super) map: Arc<dyn SegmentBytes>,
    /// In all its records; `None` where recovery found none that is valid.
    pub(super) nonce: Option<u64>,
}

/// Where the next group of the current file goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tail {
    pub(super) segment: u32,
    pub(super) offset: u32,
}

/// The octets that a group needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Need {
    /// Its own.
    pub(super) bytes: u32,
    /// Those of its head: no less than what the segment's index will say of it.
    pub(super) head: u32,
}

/// The file that is being written.
#[derive(Debug)]
struct Current {
    tail: Tail,
    /// What its groups hold; `None`: it goes without.
    index: Option<Builder>,
}

/// A file that is being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Making {
    Nothing,
    /// Under way.
    Asked(u32),
    /// It failed: no further one until `retry`.
    Failed,
}

/// The files of one directory.
#[derive(Debug)]
pub(super) struct Space {
    segment_bytes: u32,
    reserve: usize,
    files: BTreeMap<u32, File>,
    /// Octets of `files`.
    written: u64,
    current: Option<Current>,
    prepared: VecDeque<(u32, Arc<dyn SegmentBytes>)>,
    making: Making,
    /// The disk gave no file when it last answered.
    full: bool,
    next_number: u32,
}

impl Space {
    pub(super) fn new(
        segment_bytes: u32,
        reserve: u32,
        files: BTreeMap<u32, File>,
        next_number: u32,
    ) -> Self {
        let written = files.values().map(|file| file.map.bytes().len() as u64).sum();
        Self {
            segment_bytes,
            reserve: reserve as usize,
            files,
            written,
            current: None,
            prepared: VecDeque::new(),
            making: Making::Nothing,
            full: false,
            next_number,
        }
    }

    /// Octets that one group may have.
    pub(super) fn group_max(&self) -> u32 {
        self.segment_bytes - SEGMENT_HEADER_BYTES
    }

    /// The next file to create, if fewer than `wanted` are prepared beside the reserve.
    pub(super) fn poll_create(&mut self, wanted: usize) -> Option<u32> {
        let enough = self.prepared.len() >= wanted + self.reserve;
        if enough || self.making != Making::Nothing {
            return None;
        }
        self.making = Making::Asked(self.next_number);
        Some(self.next_number)
    }

    /// Whether as many files are prepared as are kept back from admissions.
    pub(super) fn has_reserve(&self) -> bool {
        self.prepared.len() >= self.reserve
    }

    /// A file is ready, or could not be made: then its number is free to be tried again.
    pub(super) fn handle_ready(&mut self, number: u32, result: Result<Arc<dyn SegmentBytes>, i32>) {
        assert_eq!(self.making, Making::Asked(number), "a segment that was not asked for");
        // A file of a wrong size is as good as none.
        let map = result.ok().filter(|map| map.bytes().len() == self.segment_bytes as usize);
        self.full = map.is_none();
        match map {
            Some(map) => {
                self.making = Making::Nothing;
                self.next_number += 1;
                self.prepared.push_back((number, map));
            }
            None => self.making = Making::Failed,
        }
    }

    /// Files may be asked for again after one could not be made.
    pub(super) fn retry(&mut self) {
        if self.making == Making::Failed {
            self.making = Making::Nothing;
        }
    }

    /// Whether no file is asked for until `retry`.
    pub(super) fn is_stuck(&self) -> bool {
        self.making == Making::Failed
    }

    /// Whether the disk gave no file when it last answered.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// Whether a group can be placed at once, out of the reserve or not.
    pub(super) fn has_place(&self, need: Need, reserve_too: bool) -> bool {
        let kept = if reserve_too { 0 } else { self.reserve };
        self.fits_current(need) || self.prepared.len() > kept
    }

    /// Octets that admissions may still fill, if no further file comes.
    pub(super) fn admissible(&self) -> u64 {
        let index = self.index_max();
        let left = |current: &Current| {
            let left = self.segment_bytes - current.tail.offset;
            left.saturating_sub(if current.index.is_some() { index } else { 0 })
        };
        let tail = self.current.as_ref().map_or(0, left);
        let fresh = self.prepared.len().checked_sub(self.reserve);
        let each = u64::from(self.group_max() - index);
        fresh.map_or(0, |fresh| u64::from(tail) + fresh as u64 * each)
    }

    /// The place of the next group; `nonce` names the segment if it starts a new one.
    pub(super) fn place(&mut self, need: Need, nonce: impl FnOnce() -> u64) -> Option<Tail> {
        if !self.fits_current(need) {
            let (segment, map) = self.prepared.pop_front()?;
            self.written += u64::from(self.segment_bytes);
            self.files.insert(segment, File { map, nonce: Some(nonce()) });
            let tail = Tail { segment, offset: SEGMENT_HEADER_BYTES };
            self.current = Some(Current { tail, index: Some(Builder::default()) });
        }
        let (segment_bytes, index_max) = (self.segment_bytes, self.index_max());
        let current = self.current.as_mut()?;
        let place = current.tail;
        let end = place.offset.checked_add(need.bytes).filter(|end| *end <= segment_bytes);
        current.tail.offset = group_start(end.expect("a group fits in a segment"));
        let room = segment_bytes - current.tail.offset.min(segment_bytes);
        let fits = |bytes: u32| bytes <= index_max && group_of(bytes) <= room;
        current.index.take_if(|index| !fits(index.bytes() + need.head));
        Some(place)
    }

    /// What the current file's groups hold, to be added to; `None` if it goes without an index.
    pub(super) fn index(&mut self, segment: u32) -> Option<&mut Builder> {
        let current = self.current.as_mut().filter(|current| current.tail.segment == segment);
        current?.index.as_mut()
    }

    /// The current file's first group was written when syncs had succeeded up to `before`.
    pub(super) fn begin_index(&mut self, epoch: u32, before: LogEnd) {
        if let Some(index) = self.current.as_mut().and_then(|current| current.index.as_mut()) {
            *index = Builder::new(epoch, before);
        }
    }

    /// Leave the current file because this group does not fit: its index and where that goes, if it
    /// gets one. It is not written again but for that.
    pub(super) fn leave_for(&mut self, need: Need) -> Option<(Tail, Builder)> {
        if self.fits_current(need) {
            return None;
        }
        let Current { tail, index } = self.current.take_if(|current| current.index.is_some())?;
        index.map(|index| (tail, index))
    }

    /// Never write the current file again.
    pub(super) fn seal(&mut self) {
        self.current = None;
    }

    /// Take in a file of an earlier run.
    pub(super) fn adopt(&mut self, number: u32, file: File) {
        assert!(number < self.next_number, "segment {number} is of no earlier run");
        self.written += file.map.bytes().len() as u64;
        let former = self.files.insert(number, file);
        assert!(former.is_none(), "segment {number} is here already");
    }

    /// A written file.
    pub(super) fn file(&self, number: u32) -> Option<&File> {
        self.files.get(&number)
    }

    /// The oldest written file that is not the current one.
    pub(super) fn oldest(&self) -> Option<u32> {
        let (number, _) = self.files.first_key_value()?;
        let is_current = self.is_current(*number);
        (!is_current).then_some(*number)
    }

    /// Forget a file that holds nothing live.
    pub(super) fn remove(&mut self, number: u32) {
        assert_eq!(self.oldest(), Some(number), "segments go in the order in which they came");
        self.forget(number);
    }

    /// Forget a file in which nothing was ever committed, and which is sealed.
    pub(super) fn discard(&mut self, number: u32) {
        assert!(!self.is_current(number), "it is being written");
        self.forget(number);
    }

    fn forget(&mut self, number: u32) {
        let file = self.files.remove(&number);
        self.written -= file.map_or(0, |file| file.map.bytes().len() as u64);
        // What this frees may be what was missing.
        self.retry();
    }

    /// Octets of the written files.
    pub(super) fn written_bytes(&self) -> u64 {
        self.written
    }

    /// Octets of all files.
    pub(super) fn disk_bytes(&self) -> u64 {
        self.written + self.prepared.len() as u64 * u64::from(self.segment_bytes)
    }

    /// All files.
    pub(super) fn segments(&self) -> usize {
        self.files.len() + self.prepared.len()
    }

    fn is_current(&self, number: u32) -> bool {
        self.current.as_ref().is_some_and(|current| current.tail.segment == number)
    }

    /// Octets that an index's payload may have.
    fn index_max(&self) -> u32 {
        (self.segment_bytes / INDEX_SHARE).min(INDEX_MAX)
    }

    fn fits_current(&self, need: Need) -> bool {
        self.current.as_ref().is_some_and(|Current { tail, index }| {
            let room = self.segment_bytes - tail.offset.min(self.segment_bytes);
            let grown = index.as_ref().map(|index| index.bytes() + need.head);
            match grown.filter(|grown| *grown <= self.index_max()) {
                Some(grown) => group_start(need.bytes) + group_of(grown) <= room,
                None => need.bytes <= room,
            }
        })
    }
}

/// Octets of the group of an index whose payload has so many, without what fills up the segment.
fn group_of(payload: u32) -> u32 {
    GROUP_RECORD_BYTES + record_end(RECORD_HEADER_BYTES + payload) + TRAILER_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Zeros(usize);

    impl SegmentBytes for Zeros {
        fn bytes(&self) -> &[u8] {
            &[0; 65_536][..self.0]
        }
    }

    fn space(reserve: u32) -> Space {
        Space::new(65_536, reserve, BTreeMap::new(), 4)
    }

    fn need(bytes: u32) -> Need {
        Need { bytes, head: 0 }
    }

    fn ready(space: &mut Space, wanted: usize) -> u32 {
        let number = space.poll_create(wanted).expect("one is wanted");
        space.handle_ready(number, Ok(Arc::new(Zeros(65_536))));
        number
    }

    #[test]
    fn files_are_asked_for_one_at_a_time_and_numbered_in_order() {
        let mut space = space(1);
        let first = space.poll_create(1).expect("nothing is prepared");
        assert_eq!((first, space.poll_create(1)), (4, None));
        space.handle_ready(4, Ok(Arc::new(Zeros(65_536))));
        assert_eq!(ready(&mut space, 1), 5);
        assert_eq!(space.poll_create(1), None, "one and the reserve");
    }

    #[test]
    fn groups_fill_a_file_page_by_page_and_then_take_the_next() {
        let mut space = space(0);
        ready(&mut space, 2);
        ready(&mut space, 2);
        let tail = |segment, offset| Some(Tail { segment, offset });
        assert_eq!(space.place(need(1), || 7), tail(4, 4_096));
        assert_eq!(space.place(need(4_097), || unreachable!("no new file")), tail(4, 8_192));
        assert_eq!(space.place(need(space.group_max() - 16_384), || 8), tail(4, 16_384));
        assert_eq!(space.leave_for(need(1)).map(|(tail, _)| tail), tail(4, 61_440), "index's room");
        assert_eq!(space.place(need(1), || 9), tail(5, 4_096));
        assert_eq!(space.file(5).and_then(|file| file.nonce), Some(9));
        assert_eq!(space.oldest(), Some(4));
        space.remove(4);
        assert_eq!(space.oldest(), None, "the current one stays");
        space.seal();
        assert_eq!((space.oldest(), space.place(need(1), || 1)), (Some(5), None));
    }

    #[test]
    fn the_reserve_is_no_room_for_admissions() {
        let mut space = space(1);
        assert_eq!(space.admissible(), 0);
        ready(&mut space, 1);
        assert_eq!((space.admissible(), space.has_place(need(1), false)), (0, false));
        assert!(space.has_place(need(1), true));
        ready(&mut space, 1);
        assert_eq!((space.admissible(), space.has_place(need(1), false)), (53_248, true));
    }

    #[test]
    fn a_full_disk_is_asked_again_only_when_told_or_when_a_file_went() {
        let mut space = space(0);
        ready(&mut space, 1);
        assert!(space.place(need(1), || 1).is_some());
        let number = space.poll_create(1).expect("none is prepared");
        space.handle_ready(number, Err(28));
        assert_eq!((space.is_full(), space.poll_create(1)), (true, None));
        space.retry();
        assert_eq!(space.poll_create(1), Some(number), "the same name again");
        space.handle_ready(number, Ok(Arc::new(Zeros(10))));
        assert!(space.is_full(), "a short file is no file");
        space.seal();
        space.remove(4);
        assert_eq!((space.is_full(), space.poll_create(1)), (true, Some(number)));
        space.handle_ready(number, Ok(Arc::new(Zeros(65_536))));
        assert!(!space.is_full());
    }
}
