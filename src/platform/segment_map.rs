//! Lend a segment file's bytes through a mapping.
//!
//! Invariant: the file under a mapping is never shortened. Segments are made at their full size
//! under another name, and go away by unlink or by rename, never by truncation; the spool's lock
//! keeps other relays out. What is not committed may change under the reader, as
//! `SegmentBytes` says. Where others break it, or the disk cannot be read, the process ends:
//! see `end_on_faults`.
#![expect(unsafe_code, reason = "a mapping is sound only while the file keeps its length")]

use std::ffi::{c_int, c_void};
use std::fmt;
use std::fs::File;
use std::io;

use memmap2::{Advice, Mmap};

use crate::platform::faults::{Place, complaint};
use crate::spool::segment::{SegmentBytes, SegmentName};

/// A segment file, mapped for reading.
pub(super) struct SegmentMap {
    /// Dropped before the map, after which its addresses may be another's.
    _place: Place,
    map: Mmap,
}

impl SegmentMap {
    /// Map the whole of `file`, which must not be empty.
    pub(super) fn new(file: &File, name: SegmentName) -> io::Result<Self> {
        // SAFETY: the file is never shortened (see the file's first lines), so that no access
        // faults; committed bytes never change, and readers verify checksums of the others.
        let map = unsafe { Mmap::map(file) }?;
        let start = map.as_ptr().addr();
        Ok(Self { _place: Place::note(start..start + map.len(), name), map })
    }

    /// Read a range from the disk and map it; waits. A range past the end is cut.
    pub(super) fn populate(&self, offset: usize, length: usize) -> io::Result<()> {
        let offset = offset.min(self.map.len());
        let length = length.min(self.map.len() - offset);
        self.map.advise_range(Advice::PopulateRead, offset, length)
    }
}

impl SegmentBytes for SegmentMap {
    fn bytes(&self) -> &[u8] {
        &self.map
    }
}

impl fmt::Debug for SegmentMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SegmentMap({} octets)", self.map.len())
    }
}

/// The exit code after a fault in a map: EX_IOERR of sysexits.h.
const EXIT_ON_FAULT: c_int = 74;

/// From now on a fault in a map ends the process with one line that names the segment.
pub(super) fn end_on_faults() -> io::Result<()> {
    // SAFETY: zeros are a valid sigaction, with an empty mask; the handler has the signature that
    // SA_SIGINFO asks for, and does only what a signal handler may.
    let failed = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_fault as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut()) != 0
    };
    if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Async-signal-safe: atomics, memory on the stack, write and _exit.
extern "C" fn on_fault(_signal: c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
    // SAFETY: the kernel hands a valid siginfo_t of a SIGBUS, which has an address.
    let address = unsafe { (*info).si_addr() }.addr();
    let line = complaint(address);
    let bytes = line.bytes();
    // SAFETY: the buffer outlives the call; _exit ends the process without running anything of it.
    unsafe {
        libc::write(libc::STDERR_FILENO, bytes.as_ptr().cast(), bytes.len());
        libc::_exit(EXIT_ON_FAULT);
    }
}
