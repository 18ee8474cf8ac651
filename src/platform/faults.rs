//! Know which segment an address is mapped from, without a lock and without memory.
//!
//! In: maps as they come and go. Out: the line that is written when one of them cannot be read.
//! Invariant: everything that `complaint` does may be done in a signal handler.
//! Lives on: every thread.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::base::limits::MAPS_NAMED_MAX;
use crate::spool::segment::SegmentName;

/// One map; free while `end` is 0.
struct Entry {
    start: AtomicUsize,
    end: AtomicUsize,
    /// Directory and number.
    name: AtomicU64,
}

static ENTRIES: [Entry; MAPS_NAMED_MAX] = [const {
    Entry { start: AtomicUsize::new(0), end: AtomicUsize::new(0), name: AtomicU64::new(0) }
}; MAPS_NAMED_MAX];
/// Entries below were used at some time.
static USED: AtomicUsize = AtomicUsize::new(0);
static FREE: Mutex<Vec<usize>> = Mutex::new(Vec::new());

/// That a segment is mapped somewhere, for as long as this lives.
#[derive(Debug)]
pub(super) struct Place(Option<usize>);

impl Place {
    /// Note it, if there is an entry left.
    pub(super) fn note(range: Range<usize>, name: SegmentName) -> Self {
        let free = FREE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let place = free.unwrap_or_else(|| USED.fetch_add(1, Ordering::Relaxed));
        let Some(entry) = ENTRIES.get(place) else { return Self(None) };
        entry.start.store(range.start, Ordering::Relaxed);
        let name = u64::from(name.directory) << 32 | u64::from(name.number);
        entry.name.store(name, Ordering::Relaxed);
        entry.end.store(range.end, Ordering::Release);
        Self(Some(place))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(place) = self.0 {
            ENTRIES[place].end.store(0, Ordering::Release);
            FREE.lock().unwrap_or_else(PoisonError::into_inner).push(place);
        }
    }
}

/// A line of text on the stack.
pub(super) struct Line {
    bytes: [u8; 256],
    length: usize,
}

impl Line {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn text(&mut self, text: &str) {
        for octet in text.bytes() {
            if let Some(place) = self.bytes.get_mut(self.length) {
                *place = octet;
                self.length += 1;
            }
        }
    }

    fn number(&mut self, number: u64, digits_min: usize) {
        let mut digits = [b'0'; 20];
        let (mut rest, mut first) = (number, digits.len());
        while rest > 0 || digits.len() - first < digits_min {
            first -= 1;
            digits[first] = b"0123456789"[usize::try_from(rest % 10).unwrap_or(0)];
            rest /= 10;
        }
        self.text(std::str::from_utf8(&digits[first..]).unwrap_or("?"));
    }
}

/// What to say of a fault at `address`.
pub(super) fn complaint(address: usize) -> Line {
    let mut line = Line { bytes: [0; 256], length: 0 };
    line.text("relay-fast: ");
    let used = USED.load(Ordering::Relaxed).min(MAPS_NAMED_MAX);
    let found = ENTRIES[..used].iter().find(|entry| {
        let end = entry.end.load(Ordering::Acquire);
        (entry.start.load(Ordering::Relaxed)..end).contains(&address)
    });
    let Some(entry) = found else {
        line.text("a mapped file cannot be read (SIGBUS)\n");
        return line;
    };
    let name = entry.name.load(Ordering::Relaxed);
    line.text("spool segment ");
    line.number(name >> 32, 3);
    line.text("/");
    line.number(name & u64::from(u32::MAX), 8);
    line.text(".seg cannot be read at ");
    line.number((address - entry.start.load(Ordering::Relaxed)) as u64, 1);
    line.text(": its disk fails, or its file was shortened; check both, then start again\n");
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(address: usize) -> String {
        String::from_utf8(complaint(address).bytes().to_vec()).expect("text")
    }

    #[test]
    fn an_address_is_told_by_its_segment_while_that_is_mapped() {
        // Addresses of the kernel's half: nothing of a process is there.
        let start = usize::MAX - 0x10_0000;
        let name = SegmentName { directory: 7, number: 123_456_789 };
        let place = Place::note(start..start + 4_096, name);
        assert!(said(start + 4_095).contains(&format!("segment {name} cannot be read at 4095: ")));
        assert!(said(start).ends_with("start again\n") && said(start).contains(" at 0: "));
        assert!(said(start + 4_096).contains("a mapped file"));
        assert!(said(start - 1).contains("a mapped file"));
        drop(place);
        assert!(said(start).contains("a mapped file"));
        let other = SegmentName { directory: 0, number: 1 };
        let _place = Place::note(start..start + 1, other);
        assert!(said(start).contains("segment 000/00000001.seg "));
    }
}
