//! Keep spool directories on a disk that takes its time, fails, fills up and loses power.
//!
//! What is written is seen through the maps at once, as through a page cache. What a crash leaves
//! is what was synced, and any part of what was not.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use relay_fast::spool::segment::{SegmentBytes, SegmentName};

use crate::agenda::Agenda;
use crate::disk::{EIO, ENOSPC, Image, Map};

/// Spare files that a directory keeps for reuse.
const SPARES: usize = 4;
/// What a message's content has twice: at its beginning and at its end.
pub(crate) const MARK: &[u8] = b"Ledger: ";

/// What is under way in a directory.
#[derive(Debug)]
struct Write {
    segment: u32,
    offset: usize,
    bytes: Vec<u8>,
}

#[derive(Debug, Default)]
struct Directory {
    durable: Image,
    maps: BTreeMap<u32, Arc<Map>>,
    spare: Vec<Vec<u8>>,
    write: Option<Write>,
    making: Option<(u32, usize)>,
    removing: VecDeque<u32>,
}

/// All directories of one spool.
#[derive(Debug, Default)]
pub(crate) struct Store {
    directories: BTreeMap<u16, Directory>,
    /// No file can be made.
    pub(crate) full: bool,
    /// So many commits in a thousand fail.
    pub(crate) failing: u64,
    /// When something of it last went wrong.
    pub(crate) troubled_at: Option<u64>,
    /// Ends of contents that are on stable storage, by number: how many marks, and since when.
    synced: BTreeMap<u64, (u8, u64)>,
}

impl Store {
    /// Numbers of the directories, `shards` new ones included.
    pub(crate) fn prepare(&mut self, shards: u16) -> Vec<u16> {
        for number in 0..shards {
            self.directories.entry(number).or_default();
        }
        self.directories.keys().copied().collect()
    }

    /// Numbers of a directory's segments as they lie there.
    pub(crate) fn open(&mut self, number: u16) -> Vec<u32> {
        let directory = self.directories.get_mut(&number).expect("prepared");
        let map = |(segment, bytes): (&u32, &Vec<u8>)| (*segment, Map::new(bytes.clone()));
        directory.maps = directory.durable.iter().map(map).collect();
        directory.maps.keys().copied().collect()
    }

    /// The map of a segment of an earlier life.
    pub(crate) fn opened(&mut self, segment: SegmentName) -> Arc<dyn SegmentBytes> {
        Arc::clone(&self.directory(segment).maps[&segment.number]) as Arc<dyn SegmentBytes>
    }

    pub(crate) fn start_create(&mut self, segment: SegmentName, bytes: usize) {
        let directory = self.directory(segment);
        assert_eq!(directory.making, None, "one file is made at a time");
        directory.making = Some((segment.number, bytes));
    }

    pub(crate) fn created(
        &mut self,
        segment: SegmentName,
        now: u64,
    ) -> Result<Arc<dyn SegmentBytes>, i32> {
        let full = self.full;
        let directory = self.directory(segment);
        let (number, bytes) = directory.making.take().expect("it was asked for");
        if full {
            self.troubled_at = Some(now);
            return Err(ENOSPC);
        }
        let content = directory.spare.pop().unwrap_or_else(|| vec![0; bytes]);
        let map = Map::new(content.clone());
        directory.maps.insert(number, Arc::clone(&map));
        let former = directory.durable.insert(number, content);
        assert_eq!(former, None, "{segment} is used");
        Ok(map)
    }

    pub(crate) fn start_commit(&mut self, segment: SegmentName, offset: usize, bytes: Vec<u8>) {
        let directory = self.directory(segment);
        assert!(directory.write.is_none(), "one commit a directory is under way");
        directory.maps[&segment.number].write(offset, &bytes);
        directory.write = Some(Write { segment: segment.number, offset, bytes });
    }

    pub(crate) fn committed(
        &mut self,
        segment: SegmentName,
        agenda: &mut Agenda,
    ) -> Result<(), i32> {
        let fails = agenda.chance(self.failing);
        let directory = self.directory(segment);
        let write = directory.write.take().expect("it was asked for");
        if fails {
            directory.tear(&write, agenda);
            self.troubled_at = Some(agenda.now);
            return Err(EIO);
        }
        // Not there: removed while it was written to.
        if let Some(file) = directory.durable.get_mut(&write.segment) {
            file[write.offset..][..write.bytes.len()].copy_from_slice(&write.bytes);
        }
        self.note_marks(&write.bytes, agenda.now);
        Ok(())
    }

    /// Note the ends of contents in what is on stable storage now.
    fn note_marks(&mut self, bytes: &[u8], now: u64) {
        for at in memchr::memmem::find_iter(bytes, MARK) {
            let digits = bytes[at + MARK.len()..].iter().take_while(|byte| byte.is_ascii_digit());
            let number = digits.fold(0, |number, byte| number * 10 + u64::from(byte - b'0'));
            let (marks, since) = self.synced.entry(number).or_default();
            if *marks < 2 {
                (*marks, *since) = (*marks + 1, now);
            }
        }
    }

    /// Since when the whole content of message `number` is on stable storage.
    pub(crate) fn synced_since(&self, number: u64) -> Option<u64> {
        self.synced.get(&number).filter(|(marks, _)| *marks == 2).map(|(_, since)| *since)
    }

    pub(crate) fn start_remove(&mut self, segment: SegmentName) {
        let directory = self.directory(segment);
        directory.maps.remove(&segment.number);
        directory.removing.push_back(segment.number);
    }

    /// The removal that was asked for first is done.
    pub(crate) fn removed(&mut self, segment: SegmentName) {
        self.directory(segment).remove_next();
    }

    /// Whether a file is about to go.
    pub(crate) fn is_removing(&self) -> bool {
        self.directories.values().any(|directory| !directory.removing.is_empty())
    }

    /// The process ends in good order: first its thread does what was asked of it.
    pub(crate) fn end(&mut self) {
        for directory in self.directories.values_mut() {
            if let Some((number, bytes)) = directory.making.take() {
                directory.durable.insert(number, vec![0; bytes]);
            }
            while !directory.removing.is_empty() {
                directory.remove_next();
            }
        }
    }

    /// The process dies, and perhaps the power fails.
    pub(crate) fn crash(&mut self, agenda: &mut Agenda) {
        for directory in self.directories.values_mut() {
            if let Some(write) = directory.write.take() {
                directory.tear(&write, agenda);
            }
            if let Some((number, bytes)) = directory.making.take()
                && agenda.chance(500)
            {
                directory.durable.insert(number, vec![0; bytes]);
            }
            for _ in 0..agenda.index(directory.removing.len() + 1) {
                directory.remove_next();
            }
            directory.removing.clear();
        }
    }

    fn directory(&mut self, segment: SegmentName) -> &mut Directory {
        self.directories.get_mut(&segment.directory).expect("prepared")
    }
}

impl Directory {
    fn remove_next(&mut self) {
        let Some(number) = self.removing.pop_front() else { return };
        let bytes = self.durable.remove(&number).expect("removed once");
        if self.spare.len() < SPARES {
            self.spare.push(bytes);
        }
    }

    /// Let some part of `write` reach the disk.
    fn tear(&mut self, write: &Write, agenda: &mut Agenda) {
        let Some(file) = self.durable.get_mut(&write.segment) else { return };
        let target = &mut file[write.offset..][..write.bytes.len()];
        match agenda.prng.below(4) {
            0 => {}
            1 => target.copy_from_slice(&write.bytes),
            2 => {
                let end = agenda.index(target.len() + 1);
                target[..end].copy_from_slice(&write.bytes[..end]);
            }
            _ => {
                for (old, new) in target.chunks_mut(512).zip(write.bytes.chunks(512)) {
                    if agenda.chance(500) {
                        old.copy_from_slice(new);
                    }
                }
            }
        }
    }
}
