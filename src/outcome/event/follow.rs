//! Follow a shard's event log from line to line, over the ends of its files, while it is written.
//!
//! In: which files there are, octets of them. Out: whole lines, each once, in order; what is
//! missing. The loop of whoever has the files:
//!
//! ```text
//! handle_files ─► wants? ─► handle_octets ─► head, take, head, take … ─► wants? … ─► nothing: dry
//!                    │  nothing more there: handle_end; no file: handle_gone
//!                    └─ dry until the next handle_files
//! ```
//!
//! Invariant: a line is given out once its line feed was seen, never in part. A file is left only
//! where a list that was made before it was read to its end had a newer one: its writer ends it
//! before it begins another. What follows the last line feed then was cut by a crash, and was in
//! no reader's hands. Bounded: `EVENT_LINE_MAX` and what one read brings.

use std::collections::VecDeque;
use std::fmt;

use crate::base::limits::{EVENT_LINE_MAX, EVENT_NOTES_MAX};
use crate::outcome::event::cursor::Mark;
use crate::outcome::event::filter::{Filter, Glance};

/// Something that a reader should have had, and has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// Files went before they were read: between these two numbers, both of which were read.
    Removed {
        /// The last number before; 0 where none was read.
        after: u64,
        /// The first number behind.
        before: u64,
    },
    /// Numbers between these two were never written, or damaged: so many events.
    Lost {
        /// The last number before.
        after: u64,
        /// The first number behind.
        before: u64,
    },
    /// What stands there is no event.
    Damaged {
        /// In the file with this start,
        file: i64,
        /// from here,
        offset: u64,
        /// so many octets.
        octets: u64,
    },
    /// A file is shorter than it was: it is read again from its beginning.
    Shrunk {
        /// In the file with this start.
        file: i64,
    },
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Removed { after, before } => write!(
                f,
                "events are gone before they were read (events.retention, events.size): those \
                after number {after}, up to number {before}"
            ),
            Self::Lost { after, before } => {
                let count = before - after - 1;
                write!(f, "{count} events were never written: between {after} and {before}")
            }
            Self::Damaged { file, offset, octets } => {
                write!(f, "{octets} octets at {offset} of the file of {file} are no event")
            }
            Self::Shrunk { file } => {
                write!(f, "the file of {file} is shorter than it was: it is read anew")
            }
        }
    }
}

/// The next line, before it is taken.
#[derive(Clone, Copy, Debug)]
struct Head {
    glance: Glance,
    /// Octets, with the line feed.
    length: usize,
}

/// A reader of one shard's log.
#[derive(Debug, Default)]
pub struct Follower {
    /// Behind the last line that was taken; `None` where there was no file yet.
    mark: Option<Mark>,
    /// All files at the last look, in order.
    files: Vec<i64>,
    /// What was read; the first `taken` octets were taken.
    buffer: Vec<u8>,
    taken: usize,
    head: Option<Head>,
    /// There was nothing more at the last look.
    is_dry: bool,
    /// Files before this one may have gone unread.
    has_jumped: bool,
    /// The line before this one was in the same file.
    is_inside: bool,
    gaps: VecDeque<Gap>,
}

impl Follower {
    /// From a mark on; without one, from the first file on.
    pub fn new(mark: Option<Mark>) -> Self {
        let is_inside = mark.is_some_and(|mark| mark.offset > 0 && mark.sequence > 0);
        Self { mark, is_dry: true, is_inside, ..Self::default() }
    }

    /// Where it stands: behind the last line taken.
    pub fn mark(&self) -> Option<Mark> {
        self.mark
    }

    /// These files of the shard are there now, in order of their starts.
    pub fn handle_files(&mut self, starts: &[i64]) {
        debug_assert!(starts.is_sorted(), "in order");
        self.files.clear();
        self.files.extend_from_slice(starts);
        let Some(first) = starts.first() else { return };
        let mark = self.mark.get_or_insert_with(|| Mark::beginning(*first));
        self.is_dry = false;
        if starts.binary_search(&mark.file).is_err() {
            self.handle_gone();
        }
    }

    /// The file, by its start, and the place in it from where octets are wanted; `None` while a
    /// line is there to be taken, and until the next look where nothing is left.
    pub fn wants(&self) -> Option<(i64, u64)> {
        let mark = self.mark.filter(|_| !self.is_dry && self.head.is_none())?;
        Some((mark.file, mark.offset + (self.buffer.len() - self.taken) as u64))
    }

    /// These octets are there, which were wanted; not empty.
    pub fn handle_octets(&mut self, octets: &[u8], filter: &Filter) {
        self.buffer.drain(..std::mem::take(&mut self.taken));
        self.buffer.extend_from_slice(octets);
        self.find_head(filter);
        if self.head.is_none() && self.buffer.len() >= EVENT_LINE_MAX {
            self.skip(self.buffer.len());
        }
    }

    /// There are none: the file has so many octets.
    pub fn handle_end(&mut self, length: u64) {
        let Some(mark) = &mut self.mark else { return };
        self.buffer.clear();
        self.taken = 0;
        if let Some(next) = self.files.iter().copied().find(|file| *file > mark.file) {
            (mark.file, mark.offset) = (next, 0);
            self.is_inside = false;
        } else if length < mark.offset {
            mark.offset = 0;
            self.is_inside = false;
            let file = mark.file;
            self.tell(Gap::Shrunk { file });
        } else {
            self.is_dry = true;
        }
    }

    /// The file is not there any more. Lines that were read of it can still be taken.
    pub fn handle_gone(&mut self) {
        let Some(mark) = &mut self.mark else { return };
        if self.head.is_some() {
            return;
        }
        self.buffer.clear();
        self.taken = 0;
        match self.files.iter().copied().find(|file| *file > mark.file) {
            Some(next) => {
                (mark.file, mark.offset) = (next, 0);
                (self.has_jumped, self.is_inside) = (true, false);
            }
            None => self.is_dry = true,
        }
    }

    /// What the next line is, if one is there.
    pub fn head(&self) -> Option<Glance> {
        self.head.map(|head| head.glance)
    }

    /// Append the next line, with its line feed, to `into`, and pass it.
    pub fn take(&mut self, into: &mut Vec<u8>, filter: &Filter) {
        if let Some(head) = &self.head {
            into.extend_from_slice(&self.buffer[self.taken..][..head.length]);
        }
        self.pass(filter);
    }

    /// Pass the next line.
    pub fn pass(&mut self, filter: &Filter) {
        let (Some(Head { glance, length }), Some(mark)) = (self.head.take(), &mut self.mark) else {
            return;
        };
        self.taken += length;
        mark.offset += length as u64;
        (mark.sequence, mark.time) = (glance.sequence, glance.time);
        self.is_inside = true;
        self.find_head(filter);
    }

    /// What is missing before the next line, once.
    pub fn poll_gap(&mut self) -> Option<Gap> {
        self.gaps.pop_front()
    }

    /// Look at the next whole line, past what is no event.
    fn find_head(&mut self, filter: &Filter) {
        while let Some(end) = memchr::memchr(b'\n', &self.buffer[self.taken..]) {
            let line = &self.buffer[self.taken..][..end];
            if let Ok(glance) = filter.look(line) {
                self.head = Some(Head { glance, length: end + 1 });
                return self.check(glance.sequence);
            }
            self.skip(end + 1);
        }
    }

    /// Whether anything is missing before this number.
    fn check(&mut self, sequence: u64) {
        let Some(after) = self.mark.map(|mark| mark.sequence) else { return };
        let is_next = sequence == after + 1;
        if std::mem::take(&mut self.has_jumped) {
            if !is_next {
                self.tell(Gap::Removed { after, before: sequence });
            }
        } else if self.is_inside && sequence > after && !is_next {
            self.tell(Gap::Lost { after, before: sequence });
        }
    }

    /// Pass octets that are no event.
    fn skip(&mut self, octets: usize) {
        let Some(mark) = &mut self.mark else { return };
        let (file, offset, count) = (mark.file, mark.offset, octets as u64);
        mark.offset += count;
        self.taken += octets;
        self.tell(Gap::Damaged { file, offset, octets: count });
    }

    /// Gaps that nobody asks for are kept up to a bound: the first say enough.
    fn tell(&mut self, gap: Gap) {
        if self.gaps.len() < EVENT_NOTES_MAX {
            self.gaps.push_back(gap);
        }
    }
}

#[cfg(test)]
mod tests;
