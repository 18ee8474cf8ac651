//! All writes and flushes of a block device, in the order in which it did them.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};

use crate::fuse::Store;

pub(crate) const SECTOR: usize = 512;

/// A moment: how many entries the tape had. A write is on the tape before the kernel hears of its
/// end, and so is a flush: what anybody knew at a moment rests on the entries before it.
pub(crate) type Moment = usize;

/// What happened on the device at one point.
#[derive(Debug)]
pub(crate) enum Entry {
    /// All that was written before is on stable storage.
    Flush,
    Write {
        /// The first octet on the device.
        offset: u64,
        octets: Vec<u8>,
    },
}

/// The tape while it runs; also the clock.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tape {
    entries: Arc<Mutex<Vec<Entry>>>,
}

impl Tape {
    pub(crate) fn now(&self) -> Moment {
        self.entries.lock().unwrap().len()
    }

    /// All that was recorded.
    pub(crate) fn take(&self) -> Vec<Entry> {
        std::mem::take(&mut *self.entries.lock().unwrap())
    }

    fn push(&self, entry: Entry) {
        self.entries.lock().unwrap().push(entry);
    }
}

/// A device that records.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) image: File,
    pub(crate) bytes: u64,
    pub(crate) tape: Tape,
}

impl Store for Recorded {
    fn size(&self) -> u64 {
        self.bytes
    }

    fn read(&mut self, offset: u64, into: &mut [u8]) {
        self.image.read_exact_at(into, offset).unwrap();
    }

    fn write(&mut self, offset: u64, octets: &[u8]) {
        assert!(octets.len().is_multiple_of(SECTOR) && offset.is_multiple_of(SECTOR as u64));
        self.image.write_all_at(octets, offset).unwrap();
        self.tape.push(Entry::Write { offset, octets: octets.to_vec() });
    }

    fn sync(&mut self) {
        self.tape.push(Entry::Flush);
    }
}
