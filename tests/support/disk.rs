//! A disk in memory for one spool directory: it syncs, fails, fills up and loses power as told.
//!
//! Writes are seen through the maps at once, as through a page cache; what survives a power cut is
//! what was synced, and any part of what was being written.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use relay_fast::spool::log::{Io, Log, LogEvent};
use relay_fast::spool::segment::{SegmentBytes, SegmentName};

/// A map whose octets may change under those who hold it: each change is a new snapshot.
#[derive(Debug)]
pub(crate) struct Map {
    bytes: Box<[u8]>,
    next: OnceLock<Arc<Map>>,
}

impl Map {
    pub(crate) fn new(bytes: Vec<u8>) -> Arc<Self> {
        Arc::new(Self { bytes: bytes.into(), next: OnceLock::new() })
    }

    fn last(&self) -> &Self {
        let mut map = self;
        while let Some(next) = map.next.get() {
            map = next;
        }
        map
    }

    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) {
        let last = self.last();
        let mut copy = last.bytes.to_vec();
        copy[offset..offset + bytes.len()].copy_from_slice(bytes);
        last.next.set(Map::new(copy)).expect("one writer");
    }
}

impl SegmentBytes for Map {
    fn bytes(&self) -> &[u8] {
        &self.last().bytes
    }
}

/// Files as a power cut leaves them.
pub(crate) type Image = BTreeMap<u32, Vec<u8>>;

/// Maps of an image, for recovery.
pub(crate) fn maps(image: &Image) -> Vec<(u32, Arc<dyn SegmentBytes>)> {
    let map = |bytes: &Vec<u8>| Map::new(bytes.clone()) as Arc<dyn SegmentBytes>;
    image.iter().map(|(number, bytes)| (*number, map(bytes))).collect()
}

/// The write that has not come back.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) segment: SegmentName,
    pub(crate) range: Range<usize>,
    pub(crate) bytes: Vec<u8>,
}

/// A disk.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) durable: Image,
    pub(crate) maps: BTreeMap<u32, Arc<dyn SegmentBytes>>,
    written: BTreeMap<u32, Arc<Map>>,
    /// Files of this run with a commit that came back.
    committed: BTreeSet<u32>,
    pub(crate) in_flight: Option<Write>,
    /// Files that fit on it.
    pub(crate) files_max: usize,
    /// What a new file holds: the leavings of a recycled one.
    pub(crate) stale: Option<Vec<u8>>,
    pub(crate) removed: Vec<u32>,
    pub(crate) commits: usize,
}

pub(crate) const ENOSPC: i32 = 28;
pub(crate) const EIO: i32 = 5;

impl Disk {
    pub(crate) fn new(image: Image, opened: Vec<(u32, Arc<dyn SegmentBytes>)>) -> Self {
        Self {
            durable: image,
            maps: opened.into_iter().collect(),
            written: BTreeMap::new(),
            committed: BTreeSet::new(),
            in_flight: None,
            files_max: usize::MAX,
            stale: None,
            removed: Vec::new(),
            commits: 0,
        }
    }

    /// Do all that `log` asks, but leave a commit in flight.
    pub(crate) fn run(&mut self, log: &mut Log) {
        while let Some(io) = log.poll_io() {
            match io {
                Io::Create { segment, bytes, .. } => self.create(log, segment, bytes as usize),
                Io::Commit { segment, offset, buffers } => {
                    let bytes: Vec<u8> =
                        buffers.iter().flat_map(|one| one.iter().copied()).collect();
                    let start = offset as usize;
                    self.written[&segment.number].write(start, &bytes);
                    let range = start..start + bytes.len();
                    assert!(self.in_flight.is_none(), "one commit at a time");
                    assert!(buffers.len() <= 1_000 && buffers.iter().all(|one| !one.is_empty()));
                    self.in_flight = Some(Write { segment, range, bytes });
                }
                Io::Remove { segment } => {
                    let oldest = self.durable.keys().next().copied();
                    let is_next = oldest == Some(segment.number) || self.is_blank(segment.number);
                    assert!(is_next, "{segment} goes before {oldest:?}: first in, first out");
                    self.stale = self.durable.remove(&segment.number);
                    self.maps.remove(&segment.number);
                    self.removed.push(segment.number);
                }
            }
        }
    }

    /// Whether nothing was ever committed in a file of this run.
    fn is_blank(&self, number: u32) -> bool {
        self.written.contains_key(&number) && !self.committed.contains(&number)
    }

    fn create(&mut self, log: &mut Log, segment: SegmentName, bytes: usize) {
        if self.durable.len() >= self.files_max {
            return log.handle_segment_ready(segment, Err(ENOSPC));
        }
        let content = match self.stale.take() {
            Some(stale) if stale.len() == bytes => stale,
            _ => vec![0; bytes],
        };
        let map = Map::new(content.clone());
        assert!(self.durable.insert(segment.number, content).is_none(), "{segment} is used");
        self.maps.insert(segment.number, Arc::clone(&map) as Arc<dyn SegmentBytes>);
        self.written.insert(segment.number, Arc::clone(&map));
        log.handle_segment_ready(segment, Ok(map));
    }

    /// The commit in flight comes back.
    pub(crate) fn finish(&mut self, log: &mut Log) {
        let Some(write) = self.in_flight.take() else {
            return;
        };
        let file = self.durable.get_mut(&write.segment.number).expect("it was created");
        file[write.range].copy_from_slice(&write.bytes);
        self.commits += 1;
        self.committed.insert(write.segment.number);
        log.handle_committed(write.segment, Ok(()));
    }

    /// The commit in flight fails; `kept` says which of its octets reached the disk all the same.
    pub(crate) fn fail(&mut self, log: &mut Log, errno: i32, kept: impl Fn(usize) -> bool) {
        let write = self.in_flight.take().expect("a commit is in flight");
        let file = self.durable.get_mut(&write.segment.number).expect("it was created");
        for (place, octet) in write.range.zip(&write.bytes).filter(|(place, _)| kept(*place)) {
            file[place] = *octet;
        }
        log.handle_committed(write.segment, Err(errno));
    }

    /// What a power cut leaves, where of the write in flight each octet for which `kept` is taken.
    pub(crate) fn cut(&self, mut kept: impl FnMut(usize, u8, u8) -> u8) -> Image {
        let mut image = self.durable.clone();
        if let Some(write) = &self.in_flight {
            let file = image.get_mut(&write.segment.number).expect("it was created");
            for (place, new) in write.range.clone().zip(&write.bytes) {
                file[place] = kept(place - write.range.start, file[place], *new);
            }
        }
        image
    }

    /// Run until the log has nothing more to do; its events, moves included as `on_event` acts.
    pub(crate) fn settle(&mut self, log: &mut Log, mut on_event: impl FnMut(&mut Log, LogEvent)) {
        loop {
            self.run(log);
            while let Some(event) = log.poll_event() {
                on_event(log, event);
            }
            self.run(log);
            if self.in_flight.is_none() {
                return;
            }
            self.finish(log);
        }
    }
}
