//! Read the log of a recorded device: the format of the kernel's dm-log-writes.
//!
//! One sector of superblock, then for each write or flush one sector that says where and how much,
//! and what was written. Numbers are little-endian.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::recorder::Moment;

pub(crate) const SECTOR: u64 = 512;
const MAGIC: u64 = 0x006a_7366_7773_6872;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;

/// What happened on the device at one point.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) what: What,
    /// Where its entry ends in the log: it had happened at all moments from there on.
    pub(crate) end: Moment,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    /// All that was written before is on stable storage.
    Flush,
    Write(Write),
}

#[derive(Clone, Debug)]
pub(crate) struct Write {
    /// The first octet on the device.
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    /// Where in the log its octets are; `None`: zeros.
    source: Option<u64>,
    /// On stable storage once it is written.
    pub(crate) is_forced: bool,
}

#[derive(Debug)]
pub(crate) struct BlockLog {
    file: File,
    pub(crate) entries: Vec<Entry>,
}

impl BlockLog {
    pub(crate) fn read(path: &Path) -> Self {
        let file = File::open(path).unwrap();
        let number = |offset: u64| {
            let mut octets = [0; 8];
            file.read_exact_at(&mut octets, offset).unwrap();
            u64::from_le_bytes(octets)
        };
        assert_eq!((number(0), number(8)), (MAGIC, 1), "no log of writes");
        assert_eq!(number(24) & 0xffff_ffff, SECTOR);
        let mut entries = Vec::new();
        let mut at = SECTOR;
        for _ in 0..number(16) {
            let [sector, sectors, flags] = [number(at), number(at + 8), number(at + 16)];
            at += SECTOR;
            let source = (flags & DISCARD == 0).then_some(at);
            if source.is_some() {
                at += sectors * SECTOR;
            }
            if flags & FLUSH != 0 {
                entries.push(Entry { what: What::Flush, end: at });
            }
            if sectors > 0 {
                let (offset, bytes) = (sector * SECTOR, sectors * SECTOR);
                let write = Write { offset, bytes, source, is_forced: flags & FUA != 0 };
                entries.push(Entry { what: What::Write(write), end: at });
            }
        }
        Self { file, entries }
    }

    /// The octets of a write.
    pub(crate) fn octets(&self, write: &Write) -> Vec<u8> {
        let mut octets = vec![0; write.bytes as usize];
        if let Some(source) = write.source {
            self.file.read_exact_at(&mut octets, source).unwrap();
        }
        octets
    }

    /// How many entries had surely happened at `moment`, or a few more.
    pub(crate) fn by(&self, moment: Moment) -> usize {
        let whole = self.entries.partition_point(|entry| entry.end < moment);
        (whole + 1).min(self.entries.len())
    }

    /// The moment of a cut behind the first `count` entries.
    pub(crate) fn moment(&self, count: usize) -> Moment {
        count.checked_sub(1).map_or(0, |last| self.entries[last].end)
    }

    /// Flushes among the first `count` entries.
    pub(crate) fn flushes(&self, count: usize) -> usize {
        self.entries[..count].iter().filter(|entry| matches!(entry.what, What::Flush)).count()
    }
}
