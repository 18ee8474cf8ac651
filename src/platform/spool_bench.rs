//! Measure the ways in which commit groups could reach a disk, in a file of their own.
//!
//! In: a directory on that disk. Out: a line for each size of group, kind of file and way.
//! Each group is written and synced as a shard would have it: ask, sleep until it is done, go on.
//! Unit: microseconds a group; CPU of the thread that asks, of its helpers (the ring's workers, a
//! thread of our own) and of the kernel's workers and journals, whomever they work for: measure on
//! a quiet machine.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use crate::base::limits::{BENCH_GROUP_BYTES, BENCH_GROUPS};
use crate::platform::clock;
use crate::platform::gear::Tag;
use crate::platform::ring::{Completion, Ring, Wait};
use crate::platform::spool_dir::preallocate;
use crate::shard::platform::IoError;

/// What a file held before the groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    /// Nothing: its room is reserved, as a new segment's.
    Reserved,
    /// Zeros that were written.
    Zeros,
    /// Other groups, as a recycled segment.
    Groups,
}

const BEFORE: [Before; 3] = [Before::Reserved, Before::Zeros, Before::Groups];

/// How a group is written and synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Through the ring, a write with RWF_DSYNC: the relay's way.
    Synced,
    /// The same past the page cache (O_DIRECT).
    Direct,
    /// A thread that writes and calls fdatasync.
    Thread,
}

const WAYS: [Way; 3] = [Way::Synced, Way::Direct, Way::Thread];

/// What O_DIRECT wants addresses, lengths and offsets to be multiples of, at most.
const ALIGNMENT: usize = 4_096;

/// CPU used up to a point.
#[derive(Clone, Copy, Debug)]
struct Cpu {
    asker: Duration,
    process: Duration,
    kernel: Duration,
}

/// What one way took.
#[derive(Debug)]
struct Row {
    bytes: usize,
    before: Before,
    way: Way,
    /// Of each group, sorted.
    took: Vec<Duration>,
    total: Duration,
    asker: Duration,
    helpers: Duration,
    kernel: Duration,
}

/// Measure the disk below `directory`, and write a line for each way to `out`. It takes some tens
/// of seconds, and at most 64 MiB of room until it ends; a relay may run meanwhile.
///
/// Errors: a file cannot be made there, or not written.
pub fn bench(directory: &Path, mut out: impl Write) -> io::Result<()> {
    let file = Temporary(directory.join(format!("bench-{}.new", std::process::id())));
    File::create(&file.0).map_err(|error| {
        let text = format!("{} cannot be written to: {error}", directory.display());
        io::Error::new(error.kind(), text)
    })?;
    writeln!(out, "{HEADING}")?;
    for bytes in BENCH_GROUP_BYTES {
        for before in BEFORE {
            for way in WAYS {
                prepare(&file.0, bytes, before)?;
                match measure(&file.0, bytes, before, way) {
                    Ok(row) => writeln!(out, "{row}")?,
                    Err(error) if is_refused(way, &error) => {
                        writeln!(out, "{bytes:>6}  {before:<8}  {way:<22} not possible here")?;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }
    writeln!(out, "{FOOTING}")
}

/// Not every file system can be written past its cache.
fn is_refused(way: Way, error: &io::Error) -> bool {
    way == Way::Direct && error.raw_os_error() == Some(libc::EINVAL)
}

const HEADING: &str = "\
 group                                               latency, µs      CPU, µs a group\n\
octets  file had  way                    groups/s    p50    p99   asker helper kernel";
const FOOTING: &str =
    "* is how the relay writes: to new segments (reserved) and recycled ones (groups)";

/// A file that is gone when this is.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

fn prepare(path: &Path, bytes: usize, before: Before) -> io::Result<()> {
    drop(fs::remove_file(path));
    let total = u32::try_from(bytes * BENCH_GROUPS).expect("64 MiB at most");
    preallocate(path, total)?;
    let octet = match before {
        Before::Reserved => return Ok(()),
        Before::Zeros => 0,
        Before::Groups => 7,
    };
    let file = OpenOptions::new().write(true).open(path)?;
    let group = vec![octet; bytes];
    (0..BENCH_GROUPS).try_for_each(|n| file.write_all_at(&group, (n * bytes) as u64))?;
    file.sync_all()
}

fn measure(path: &Path, bytes: usize, before: Before, way: Way) -> io::Result<Row> {
    let flags = if way == Way::Direct { libc::O_DIRECT } else { 0 };
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
    let mut writer = Writer::new(way, file, bytes)?;
    let mut took = Vec::with_capacity(BENCH_GROUPS);
    let (begin, cpu) = (clock::now().mono, Cpu::now());
    for n in 0..BENCH_GROUPS {
        let asked = clock::now().mono;
        writer.write((n * bytes) as u64)?;
        took.push(clock::now().mono.since(asked));
    }
    let (total, used) = (clock::now().mono.since(begin), Cpu::now());
    took.sort_unstable();
    let asker = used.asker.saturating_sub(cpu.asker);
    let helpers = used.process.saturating_sub(cpu.process).saturating_sub(asker);
    let kernel = used.kernel.saturating_sub(cpu.kernel);
    Ok(Row { bytes, before, way, took, total, asker, helpers, kernel })
}

/// One that asks, and whom it asks.
enum Writer {
    Ring(Box<RingWriter>),
    Thread { ask: Sender<u64>, told: Receiver<io::Result<()>> },
}

struct RingWriter {
    file: File,
    ring: Ring<Tag>,
    completed: Vec<Completion<Tag>>,
    group: Arc<Vec<u8>>,
    /// Where the group begins: aligned, as O_DIRECT wants it.
    from: usize,
}

impl Writer {
    fn new(way: Way, file: File, bytes: usize) -> io::Result<Self> {
        let mut group: Vec<u8> = Vec::with_capacity(bytes + ALIGNMENT);
        let from = group.as_ptr().align_offset(ALIGNMENT);
        group.resize(from + bytes, 9);
        if way == Way::Thread {
            let ((ask, asked), (tell, told)) = (channel(), channel());
            thread::Builder::new().spawn(move || {
                for offset in asked {
                    let written = file.write_all_at(&group[from..], offset);
                    if tell.send(written.and_then(|()| file.sync_data())).is_err() {
                        return;
                    }
                }
            })?;
            return Ok(Self::Thread { ask, told });
        }
        let (ring, _) = Ring::new()?;
        let (completed, group) = (Vec::new(), Arc::new(group));
        Ok(Self::Ring(Box::new(RingWriter { file, ring, completed, group, from })))
    }

    /// Return once a group is on stable storage at `offset`.
    fn write(&mut self, offset: u64) -> io::Result<()> {
        match self {
            Self::Ring(writer) => writer.write(offset),
            Self::Thread { ask, told } => {
                ask.send(offset).map_err(ended)?;
                told.recv().map_err(ended)?
            }
        }
    }
}

/// What a thread that is gone comes to.
fn ended<E>(_: E) -> io::Error {
    io::Error::other("the thread has ended")
}

impl RingWriter {
    fn write(&mut self, offset: u64) -> io::Result<()> {
        let what = (vec![Arc::clone(&self.group)], self.from);
        self.ring.write_gathered(self.file.as_fd(), offset, what, Tag::Nobody);
        loop {
            let wait = Wait { longest: None, batch: 1, patience: Duration::ZERO };
            self.ring.enter_and_wait(wait)?;
            self.ring.reap(&mut self.completed);
            if let Some(completion) = self.completed.pop() {
                let failed = |error: IoError| io::Error::from_raw_os_error(error.errno);
                return completion.result.map(drop).map_err(failed);
            }
        }
    }
}

impl Cpu {
    fn now() -> Self {
        let kernel = Duration::from_nanos(kernel_threads().unwrap_or(0));
        Self { asker: clock::thread_cpu(), process: clock::process_cpu(), kernel }
    }
}

/// Nanoseconds of CPU that the kernel's workers and journals have used.
fn kernel_threads() -> io::Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
        if name.starts_with("kworker") || name.starts_with("jbd2") {
            let times = fs::read_to_string(path.join("schedstat")).unwrap_or_default();
            let first = times.split(' ').next();
            total += first.and_then(|nanos| nanos.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Ok(total)
}

impl fmt::Display for Before {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Reserved => "reserved",
            Self::Zeros => "zeros",
            Self::Groups => "groups",
        })
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Synced => "* write RWF_DSYNC",
            Self::Direct => "  the same, O_DIRECT",
            Self::Thread => "  thread, fdatasync",
        })
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, before, way, took, total, asker, helpers, kernel } = self;
        let rate = took.len() as f64 / total.as_secs_f64();
        let at = |share: usize| took[took.len() * share / 100].as_micros();
        let each = |cpu: &Duration| cpu.as_micros() as f64 / took.len() as f64;
        write!(f, "{bytes:>6}  {before:<8}  {way:<22} {rate:>8.0} {:>6} {:>6}", at(50), at(99))?;
        write!(f, "  {:>6.0} {:>6.0} {:>6.0}", each(asker), each(helpers), each(kernel))
    }
}
