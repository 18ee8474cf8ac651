//! Append a shard's events to its own files, without ever holding the shard up.
//!
//! `SPOOL/events/shard-NN-START.jsonl`, START being the wall clock in milliseconds when the file
//! began, or what comes after the START of the one before if the clock was set back, so that names
//! sort by age. Only whole lines are handed to a write; a file whose last
//! line has no line feed was cut by a crash or a full disk, and that line is in the next file.
//!
//! Written at the latest `EVENT_LOG_DELAY` after it was given, or as soon as `EVENT_LOG_BATCH`
//! octets wait; not synced: events are not mail. What cannot be written waits, up to
//! `EVENT_LOG_PENDING_MAX`; more is counted as lost.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::base::ids::ShardId;
use crate::base::limits::{
    EVENT_FILE_START_MAX, EVENT_FILES_MIN, EVENT_LOG_BATCH, EVENT_LOG_DELAY, EVENT_LOG_PENDING_MAX,
};
use crate::base::time::{Monotonic, Now, WallTime};
use crate::config::options::EventOptions;
use crate::outcome::event::cursor::FileName;
use crate::platform::blocking::{Job, Pool};
use crate::platform::channels::Mailbox;
use crate::platform::gear::{Gear, Tag, Timer};
use crate::platform::ring::{Completion, Kept};
use crate::shard::platform::IoError;

mod last;

pub(super) use last::last_sequence;

/// When an event file ends and how many are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventLogOptions {
    /// Octets after which a file is ended.
    pub file_bytes: u64,
    /// Age after which a file is ended, once there is something to write.
    pub file_age: Duration,
    /// Files kept a shard, the one being written included; at least 1.
    pub files: usize,
    /// Files that ended longer ago go too, when another begins.
    pub retention: Duration,
}

impl Default for EventLogOptions {
    fn default() -> Self {
        (&EventOptions::default()).into()
    }
}

impl From<&EventOptions> for EventLogOptions {
    /// Files are begun often enough for their retention.
    fn from(knobs: &EventOptions) -> Self {
        let files = usize::try_from(knobs.bytes / knobs.file_bytes).unwrap_or(usize::MAX);
        Self {
            file_bytes: knobs.file_bytes,
            file_age: knobs.file_age.min(knobs.retention),
            files: files.max(EVENT_FILES_MIN),
            retention: knobs.retention,
        }
    }
}

/// A file to begin, and which older ones to remove then.
#[derive(Clone, Debug)]
pub(super) struct EventFile {
    /// `SPOOL/events`.
    pub(super) directory: PathBuf,
    pub(super) shard: ShardId,
    /// Shards that run: files of others, left by a run with more, are removed in turn too.
    pub(super) shards: usize,
    pub(super) start: WallTime,
    /// Files to keep of each shard, this one included.
    pub(super) files: usize,
    /// When those ended that are too old.
    pub(super) oldest_end: WallTime,
}

#[derive(Debug)]
enum Output {
    /// None yet, or the last one is over.
    Closed,
    /// A thread makes one.
    Opening,
    Open(OwnedFd),
}

/// One shard's event log.
#[derive(Debug)]
pub(super) struct EventLog {
    options: EventLogOptions,
    directory: PathBuf,
    shard: ShardId,
    shards: usize,
    pending: Vec<u8>,
    output: Output,
    /// Octets of the file that hold whole lines.
    written: u64,
    opened: Monotonic,
    /// When the log began.
    began: Now,
    writing: bool,
    timer_set: bool,
    /// The last write or open failed; said once, until one succeeds.
    failing: bool,
    pool: Pool,
    mailbox: Arc<Mailbox>,
}

impl EventLog {
    /// A log below `spool`; its first file begins with the first event.
    pub(super) fn new(
        spool: &Path,
        (shard, shards): (ShardId, usize),
        options: EventLogOptions,
        began: Now,
        (pool, mailbox): (Pool, Arc<Mailbox>),
    ) -> Self {
        Self {
            options,
            directory: spool.join("events"),
            shard,
            shards,
            pending: Vec::new(),
            output: Output::Closed,
            written: 0,
            opened: Monotonic(0),
            began,
            writing: false,
            timer_set: false,
            failing: false,
            pool,
            mailbox,
        }
    }

    /// See `Platform::log_events`.
    pub(super) fn append(&mut self, lines: &[u8], gear: &mut Gear) {
        if lines.is_empty() {
            return;
        }
        debug_assert!(lines.ends_with(b"\n"), "an event log holds whole lines");
        if self.pending.len() + lines.len() > EVENT_LOG_PENDING_MAX {
            return lose(lines, gear);
        }
        self.pending.extend_from_slice(lines);
        if self.pending.len() >= EVENT_LOG_BATCH && !self.failing {
            self.write(gear);
        } else {
            self.set_timer(gear);
        }
    }

    /// Events have waited long enough.
    pub(super) fn timer(&mut self, gear: &mut Gear) {
        self.timer_set = false;
        self.write(gear);
    }

    /// Write what waits now: the shard ends.
    pub(super) fn flush(&mut self, gear: &mut Gear) {
        self.write(gear);
    }

    /// Whether nothing is left to write, or nothing can be written.
    pub(super) fn is_idle(&self) -> bool {
        let opening = matches!(self.output, Output::Opening);
        !self.writing && !opening && (self.pending.is_empty() || self.failing)
    }

    /// Close the file, counting what could not be written as lost.
    pub(super) fn close(&mut self, gear: &mut Gear) {
        let pending = std::mem::take(&mut self.pending);
        lose(&pending, gear);
        self.end_file(gear);
    }

    fn set_timer(&mut self, gear: &mut Gear) {
        if !std::mem::replace(&mut self.timer_set, true) {
            gear.timers.insert(gear.now.mono + EVENT_LOG_DELAY, Timer::EventLog);
        }
    }

    /// Start a write of all that waits, into a new file if it is time for one.
    fn write(&mut self, gear: &mut Gear) {
        if self.writing || self.pending.is_empty() {
            return;
        }
        let old = gear.now.mono.since(self.opened) >= self.options.file_age;
        if self.written > 0 && (old || self.written >= self.options.file_bytes) {
            self.end_file(gear);
        }
        match &self.output {
            Output::Opening => {}
            Output::Closed => self.begin_file(gear),
            Output::Open(file) => {
                let bytes = std::mem::replace(&mut self.pending, gear.buffer());
                self.writing = true;
                gear.ring.write(file.as_fd(), self.written, bytes, 0, Tag::Events);
            }
        }
    }

    fn begin_file(&mut self, gear: &Gear) {
        self.output = Output::Opening;
        // A wall clock that was set ahead makes no file too old before the next start.
        let passed = self.began.wall + gear.now.mono.since(self.began.mono);
        let job = Job::OpenEvents(EventFile {
            directory: self.directory.clone(),
            shard: self.shard,
            shards: self.shards,
            start: gear.now.wall,
            files: self.options.files,
            oldest_end: gear.now.wall.min(passed) - self.options.retention,
        });
        self.pool.submit(job, &self.mailbox);
    }

    fn end_file(&mut self, gear: &mut Gear) {
        if matches!(self.output, Output::Open(_))
            && let Output::Open(file) = std::mem::replace(&mut self.output, Output::Closed)
        {
            gear.ring.close(file, Tag::Nobody);
        }
        self.written = 0;
    }

    /// A file was begun, or could not be.
    pub(super) fn opened(&mut self, result: Result<OwnedFd, IoError>, gear: &mut Gear) {
        match result {
            Ok(file) => {
                self.output = Output::Open(file);
                self.written = 0;
                self.opened = gear.now.mono;
                self.write(gear);
            }
            Err(error) => {
                self.output = Output::Closed;
                self.failed(error, gear);
            }
        }
    }

    /// A write came to its end.
    pub(super) fn wrote(&mut self, completion: Completion<Tag>, gear: &mut Gear) {
        let Kept::Bytes(bytes) = completion.kept else { unreachable!("a write keeps its bytes") };
        self.writing = false;
        let count = completion.result.map_or(0, |count| count as usize);
        if count == bytes.len() {
            self.written += count as u64;
            self.failing = false;
            gear.recycle(bytes);
            if self.pending.len() >= EVENT_LOG_BATCH {
                self.write(gear);
            } else if !self.pending.is_empty() {
                // The timer may have come, and found this write under way.
                self.set_timer(gear);
            }
            return;
        }
        // Go on after the last whole line. A new file for each try would push out old ones, which
        // were written, as long as the disk is full.
        let whole = memchr::memrchr(b'\n', &bytes[..count]).map_or(0, |last| last + 1);
        self.written += whole as u64;
        let newer = std::mem::take(&mut self.pending);
        self.pending = bytes;
        self.pending.drain(..whole);
        if self.pending.len() + newer.len() > EVENT_LOG_PENDING_MAX {
            lose(&newer, gear);
        } else {
            self.pending.extend_from_slice(&newer);
        }
        self.failed(completion.result.err().unwrap_or(IoError { errno: libc::ENOSPC }), gear);
    }

    fn failed(&mut self, error: IoError, gear: &mut Gear) {
        if !std::mem::replace(&mut self.failing, true) {
            tracing::error!(shard = %self.shard, %error, "cannot write the event log; going on");
        }
        self.set_timer(gear);
    }
}

fn lose(lines: &[u8], gear: &mut Gear) {
    let count = memchr::memchr_iter(b'\n', lines).count() as u64;
    if gear.counters.event_lines_lost == 0 && count > 0 {
        tracing::error!("events are being lost: the event log cannot be written");
    }
    gear.counters.event_lines_lost += count;
}

/// Begin `file` and remove the files that are too many; blocks.
pub(super) fn open(file: &EventFile) -> io::Result<OwnedFd> {
    let own = prefix(file.shard.index());
    let before = names(&file.directory)?;
    let newest =
        before.iter().filter(|name| name.starts_with(&own)).filter_map(|name| start_of(name));
    // Later ones have more digits than sort by their names.
    let newest = newest.filter(|start| start.0 < EVENT_FILE_START_MAX).max();
    let mut start = newest.map_or(0, |newest| newest.0 + 1).max(file.start.0);
    let options = OpenOptions::new().write(true).create_new(true).clone();
    let made = loop {
        let name = FileName { shard: file.shard, start };
        match options.open(file.directory.join(name.to_string())) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => start += 1,
            made => break made?,
        }
    };
    remove_oldest(file)?;
    Ok(made.into())
}

fn prefix(shard: usize) -> String {
    format!("shard-{shard:02}-")
}

/// When the file of this name began.
fn start_of(name: &str) -> Option<WallTime> {
    let name: FileName = name.parse().ok()?;
    Some(WallTime(name.start))
}

/// All event files, in order of name.
pub(super) fn names(directory: &Path) -> io::Result<Vec<String>> {
    let names: io::Result<Vec<_>> =
        fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name())).collect();
    let mut names: Vec<String> =
        names?.into_iter().filter_map(|name| name.into_string().ok()).collect();
    names.sort_unstable();
    Ok(names)
}

fn remove_oldest(file: &EventFile) -> io::Result<()> {
    let names = names(&file.directory)?;
    let mine = (file.shard.index()..=usize::from(u8::MAX)).step_by(file.shards);
    for prefix in mine.map(prefix) {
        let of_one: Vec<_> = names.iter().filter(|name| name.starts_with(&prefix)).collect();
        let many = of_one.len().saturating_sub(file.files.max(1));
        // A file ended when the next one began; the last one is never too old.
        let is_old = |next: &&&String| start_of(next).is_some_and(|end| end < file.oldest_end);
        let old = of_one.iter().skip(1).take_while(is_old).count();
        let surplus = many.max(old);
        for name in &of_one[..surplus] {
            fs::remove_file(file.directory.join(name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        super::names(directory).unwrap()
    }

    #[test]
    fn the_oldest_files_of_a_shard_and_of_those_it_stands_for_go() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["shard-01-0000000000001.jsonl", "shard-03-0000000000001.jsonl"] {
            fs::write(directory.path().join(name), "").unwrap();
            fs::write(directory.path().join(name.replace("1.jsonl", "2.jsonl")), "").unwrap();
        }
        fs::write(directory.path().join("shard-00-0000000000001.jsonl"), "").unwrap();
        let file = EventFile {
            directory: directory.path().to_owned(),
            shard: ShardId(1),
            shards: 2,
            start: WallTime(3),
            files: 1,
            oldest_end: WallTime(0),
        };
        open(&file).unwrap();
        let left = [
            "shard-00-0000000000001.jsonl",
            "shard-01-0000000000003.jsonl",
            "shard-03-0000000000002.jsonl",
        ];
        assert_eq!(names(directory.path()), left);
    }

    #[test]
    fn files_go_that_ended_too_long_ago() {
        let directory = tempfile::tempdir().unwrap();
        for start in [10, 20, 30] {
            let name = format!("shard-00-{start:013}.jsonl");
            fs::write(directory.path().join(name), "").unwrap();
        }
        let mut file = EventFile {
            directory: directory.path().to_owned(),
            shard: ShardId(0),
            shards: 1,
            start: WallTime(40),
            files: 9,
            oldest_end: WallTime(20),
        };
        open(&file).unwrap();
        // The first ended at 20, which is just not too old.
        assert_eq!(names(directory.path()).len(), 4);
        (file.start, file.oldest_end) = (WallTime(50), WallTime(31));
        open(&file).unwrap();
        let left = [30, 40, 50].map(|start| format!("shard-00-{start:013}.jsonl"));
        assert_eq!(names(directory.path()), left);
    }

    #[test]
    fn a_clock_set_back_does_not_make_the_newest_file_the_oldest() {
        let directory = tempfile::tempdir().unwrap();
        let other = "shard-01-0000000000099.jsonl";
        fs::write(directory.path().join(other), "").unwrap();
        for start in [50, 20, 10] {
            let file = EventFile {
                directory: directory.path().to_owned(),
                shard: ShardId(0),
                shards: 2,
                start: WallTime(start),
                files: 2,
                oldest_end: WallTime(0),
            };
            open(&file).unwrap();
        }
        let left = ["shard-00-0000000000051.jsonl", "shard-00-0000000000052.jsonl", other];
        assert_eq!(names(directory.path()), left);
    }

    #[test]
    fn two_files_begun_in_one_millisecond_have_two_names() {
        let directory = tempfile::tempdir().unwrap();
        let file = EventFile {
            directory: directory.path().to_owned(),
            shard: ShardId(0),
            shards: 1,
            start: WallTime(7),
            files: 9,
            oldest_end: WallTime(0),
        };
        open(&file).unwrap();
        open(&file).unwrap();
        let both = ["shard-00-0000000000007.jsonl", "shard-00-0000000000008.jsonl"];
        assert_eq!(names(directory.path()), both);
    }
}
