//! Keep the segment files of a directory: those written, the one being written, those prepared.
//!
//! In: room that is needed, files that are ready. Out: files to create, places for groups.
//! Invariant: a file is current once only; what a failed commit sealed is never written again; the
//! last `reserve` prepared files are never given to admissions.
//! Unit: octets.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::spool::format::{SEGMENT_HEADER_BYTES, group_start};
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
    tail: Option<Tail>,
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
            tail: None,
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

    /// Whether a group of `bytes` can be placed at once, out of the reserve or not.
    pub(super) fn has_place(&self, bytes: u32, reserve_too: bool) -> bool {
        let kept = if reserve_too { 0 } else { self.reserve };
        self.fits_tail(bytes) || self.prepared.len() > kept
    }

    /// Octets that admissions may still fill, if no further file comes.
    pub(super) fn admissible(&self) -> u64 {
        let tail = self.tail.map_or(0, |tail| u64::from(self.segment_bytes - tail.offset));
        let fresh = self.prepared.len().checked_sub(self.reserve);
        fresh.map_or(0, |fresh| tail + fresh as u64 * u64::from(self.group_max()))
    }

    /// The place of the next group, of `bytes`; `nonce` names the segment if it starts a new one.
    pub(super) fn place(&mut self, bytes: u32, nonce: impl FnOnce() -> u64) -> Option<Tail> {
        if !self.fits_tail(bytes) {
            let (segment, map) = self.prepared.pop_front()?;
            self.written += u64::from(self.segment_bytes);
            self.files.insert(segment, File { map, nonce: Some(nonce()) });
            self.tail = Some(Tail { segment, offset: SEGMENT_HEADER_BYTES });
        }
        let tail = self.tail.as_mut()?;
        let place = *tail;
        let end = tail.offset.checked_add(bytes).filter(|end| *end <= self.segment_bytes);
        tail.offset = group_start(end.expect("a group fits in a segment"));
        Some(place)
    }

    /// Never write the current file again.
    pub(super) fn seal(&mut self) {
        self.tail = None;
    }

    /// A written file.
    pub(super) fn file(&self, number: u32) -> Option<&File> {
        self.files.get(&number)
    }

    /// The oldest written file that is not the current one.
    pub(super) fn oldest(&self) -> Option<u32> {
        let (number, _) = self.files.first_key_value()?;
        let is_current = self.tail.is_some_and(|tail| tail.segment == *number);
        (!is_current).then_some(*number)
    }

    /// Forget a file that holds nothing live.
    pub(super) fn remove(&mut self, number: u32) {
        assert_eq!(self.oldest(), Some(number), "segments go in the order in which they came");
        self.forget(number);
    }

    /// Forget a file in which nothing was ever committed, and which is sealed.
    pub(super) fn discard(&mut self, number: u32) {
        assert!(self.tail.is_none_or(|tail| tail.segment != number), "it is being written");
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

    fn fits_tail(&self, bytes: u32) -> bool {
        self.tail.is_some_and(|tail| bytes <= self.segment_bytes - tail.offset)
    }
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
        assert_eq!(space.place(1, || 7), tail(4, 4_096));
        assert_eq!(space.place(4_097, || unreachable!("no new file")), tail(4, 8_192));
        assert_eq!(space.place(space.group_max() - 12_288, || 8), tail(4, 16_384));
        assert_eq!(space.place(1, || 9), tail(5, 4_096), "the first is full to the octet");
        assert_eq!(space.file(5).and_then(|file| file.nonce), Some(9));
        assert_eq!(space.oldest(), Some(4));
        space.remove(4);
        assert_eq!(space.oldest(), None, "the current one stays");
        space.seal();
        assert_eq!((space.oldest(), space.place(1, || 1)), (Some(5), None));
    }

    #[test]
    fn the_reserve_is_no_room_for_admissions() {
        let mut space = space(1);
        assert_eq!(space.admissible(), 0);
        ready(&mut space, 1);
        assert_eq!((space.admissible(), space.has_place(1, false)), (0, false));
        assert!(space.has_place(1, true));
        ready(&mut space, 1);
        assert_eq!((space.admissible(), space.has_place(1, false)), (61_440, true));
    }

    #[test]
    fn a_full_disk_is_asked_again_only_when_told_or_when_a_file_went() {
        let mut space = space(0);
        ready(&mut space, 1);
        assert!(space.place(1, || 1).is_some());
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
