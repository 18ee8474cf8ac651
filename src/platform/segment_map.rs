//! Lend a segment file's bytes through a mapping.
//!
//! Invariant: the file under a mapping is never shortened. Segments are made at their full size
//! under another name, and go away by unlink or by rename, never by truncation; the spool's lock
//! keeps other relays out. What is not committed may change under the reader, as
//! `SegmentBytes` says.
#![expect(unsafe_code, reason = "a mapping is sound only while the file keeps its length")]

use std::fmt;
use std::fs::File;
use std::io;

use memmap2::{Advice, Mmap};

use crate::spool::segment::SegmentBytes;

/// A segment file, mapped for reading.
pub(super) struct SegmentMap(Mmap);

impl SegmentMap {
    /// Map the whole of `file`, which must not be empty.
    pub(super) fn new(file: &File) -> io::Result<Self> {
        // SAFETY: the file is never shortened (see the file's first lines), so that no access
        // faults; committed bytes never change, and readers verify checksums of the others.
        unsafe { Mmap::map(file) }.map(Self)
    }

    /// Read a range from the disk and map it; waits. A range past the end is cut.
    pub(super) fn populate(&self, offset: usize, length: usize) -> io::Result<()> {
        let offset = offset.min(self.0.len());
        let length = length.min(self.0.len() - offset);
        self.0.advise_range(Advice::PopulateRead, offset, length)
    }
}

impl SegmentBytes for SegmentMap {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SegmentMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SegmentMap({} octets)", self.0.len())
    }
}
