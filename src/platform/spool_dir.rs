//! Lay out the spool on disk: the lock, directories, segment files.
//!
//! ```text
//! SPOOL/LOCK              locked (flock) by the relay that runs; its process id, for people
//! SPOOL/000/00000001.seg  a segment: preallocated at its full size, never shortened
//! SPOOL/000/00000002.new  one being made; removed at start
//! SPOOL/000/00000001.old  one kept for reuse: a segment's nonce tells its lives apart
//! SPOOL/events/           see `event_log.rs`
//! SPOOL/damaged/          what a repair set aside: see `spool_repair.rs`
//! ```
//! Everything here blocks: it runs at boot or on a thread of `blocking.rs`.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock, statvfs};

use crate::base::limits::SEGMENTS_SPARE;
use crate::platform::segment_map::SegmentMap;
use crate::platform::spool_owner;
use crate::spool::index::{self, Ahead};
use crate::spool::letter::Segments;
use crate::spool::recovery::HEAD_BYTES;
use crate::spool::segment::{SegmentBytes, SegmentName};

/// Why a spool cannot be used, with what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Another relay runs on it.
    #[error("the spool {} is in use by another relay (process {holder}): stop it, or choose \
        another directory with --spool", .spool.display())]
    InUse {
        /// The spool.
        spool: PathBuf,
        /// Its process id, or `unknown`.
        holder: String,
    },
    /// A relay runs on what should be checked or repaired. Its segments come and go meanwhile.
    #[error("a relay runs on the spool {} (process {holder}): stop it first, or work on a copy",
        .spool.display())]
    Runs {
        /// The spool.
        spool: PathBuf,
        /// Its process id, or `unknown`.
        holder: String,
    },
    /// A directory of something else.
    #[error("{} is no spool: there is no directory 000 or the like in it", .path.display())]
    NoSpool {
        /// The directory.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("the spool {} cannot be read: {}: {error}", .spool.display(), .path.display())]
    Unreadable {
        /// The spool.
        spool: PathBuf,
        /// What in it.
        path: PathBuf,
        /// The kernel's answer.
        error: io::Error,
    },
    /// It cannot be read or written.
    #[error("the spool {} cannot be used: {}: {error}; it must be a directory that this user can \
        write to", .spool.display(), .path.display())]
    Unusable {
        /// The spool.
        spool: PathBuf,
        /// What in it.
        path: PathBuf,
        /// The kernel's answer.
        error: io::Error,
    },
}

/// A spool that no relay runs on while this lives, to be read and not written.
#[derive(Debug)]
pub struct QuietSpool {
    root: PathBuf,
    /// `None`: no relay ever ran here.
    lock: Option<File>,
}

/// A spool that this process has to itself, as long as this lives.
#[derive(Debug)]
pub struct Spool {
    root: PathBuf,
    /// Unlocked when closed, however the process ends.
    _lock: File,
}

/// A segment file, open for writing and mapped for reading.
#[derive(Debug)]
pub(super) struct OpenSegment {
    pub(super) file: File,
    pub(super) map: Arc<SegmentMap>,
}

impl Spool {
    /// Lock the spool at `root`, made if it is missing.
    pub fn open(root: &Path) -> Result<Self, SpoolError> {
        let unusable = |path: &Path, error| SpoolError::Unusable {
            spool: root.to_owned(),
            path: path.to_owned(),
            error,
        };
        spool_owner::make(root).map_err(|error| unusable(root, error))?;
        fs::create_dir_all(root.join("events")).map_err(|error| unusable(root, error))?;
        let path = root.join("LOCK");
        let options =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).clone();
        let mut lock = options.open(&path).map_err(|error| unusable(&path, error))?;
        self::lock(&mut lock, root)?;
        // Always of one length, so that a full disk has room for it.
        let signed = (&lock).write_all(format!("{:>10}\n", std::process::id()).as_bytes());
        signed.or_else(ignore_full).map_err(|error| unusable(&path, error))?;
        sync_directory(root).map_err(|error| unusable(root, error))?;
        Ok(Self { root: root.to_owned(), _lock: lock })
    }

    /// Where the spool is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Make directory `number` if it is missing.
    pub(super) fn prepare(&self, number: u16) -> Result<(), SpoolError> {
        let path = self.root.join(format!("{number:03}"));
        let make = || -> io::Result<()> {
            fs::create_dir_all(&path)?;
            sync_directory(&self.root)?;
            // Somebody else's directory would otherwise show at the first message.
            let probe = path.join("probe.new");
            File::create(&probe)?;
            fs::remove_file(&probe)
        };
        make().map_err(|error| self.unusable(&path, error))
    }

    /// The names of all segments, in order; leftovers of a crash are removed.
    pub(super) fn segments(&self) -> Result<Vec<SegmentName>, SpoolError> {
        let mut found = Vec::new();
        for directory in self.entries(&self.root)? {
            let Some(number) = directory_number(&directory) else { continue };
            for path in self.entries(&directory)? {
                if path.extension() == Some(OsStr::new("new")) {
                    fs::remove_file(&path).map_err(|error| self.unusable(&path, error))?;
                }
                let Some(segment) = segment_number(&path) else { continue };
                found.push(SegmentName { directory: number, number: segment });
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    fn entries(&self, directory: &Path) -> Result<Vec<PathBuf>, SpoolError> {
        paths(directory).map_err(|error| self.unusable(directory, error))
    }

    fn unusable(&self, path: &Path, error: io::Error) -> SpoolError {
        SpoolError::Unusable { spool: self.root.clone(), path: path.to_owned(), error }
    }
}

impl QuietSpool {
    /// Find the spool at `root`, which no relay may use meanwhile. Nothing in it is changed.
    pub fn open(root: &Path) -> Result<Self, SpoolError> {
        Self::lock(root, FlockOperation::NonBlockingLockShared)
    }

    /// As `open`, but nobody else may read it meanwhile.
    pub(super) fn open_alone(root: &Path) -> Result<Self, SpoolError> {
        Self::lock(root, FlockOperation::NonBlockingLockExclusive)
    }

    fn lock(root: &Path, how: FlockOperation) -> Result<Self, SpoolError> {
        let unreadable = |path: &Path, error| SpoolError::Unreadable {
            spool: root.to_owned(),
            path: path.to_owned(),
            error,
        };
        fs::read_dir(root).map_err(|error| unreadable(root, error))?;
        let path = root.join("LOCK");
        let mut lock = match File::open(&path) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { root: root.to_owned(), lock: None });
            }
            Err(error) => return Err(unreadable(&path, error)),
        };
        match flock(&lock, how) {
            Ok(()) => Ok(Self { root: root.to_owned(), lock: Some(lock) }),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let holder = holder_of(&mut lock).unwrap_or_else(|| "unknown".to_owned());
                Err(SpoolError::Runs { spool: root.to_owned(), holder })
            }
            Err(error) => Err(unreadable(&path, error.into())),
        }
    }

    /// Where the spool is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether relays that start are kept out: there is a lock.
    pub(super) fn is_locked(&self) -> bool {
        self.lock.is_some()
    }

    /// The numbers of its directories, in order.
    pub fn directories(&self) -> Result<Vec<u16>, SpoolError> {
        let entries = paths(&self.root).map_err(|error| self.unreadable(&self.root, error))?;
        let mut numbers: Vec<u16> =
            entries.iter().filter_map(|one| directory_number(one)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        if numbers.is_empty() {
            return Err(SpoolError::NoSpool { path: self.root.clone() });
        }
        Ok(numbers)
    }

    /// The segments of a directory, all read once: what the disk cannot read is an error here, and
    /// no fault later.
    pub fn segments(&self, directory: u16) -> Result<Segments, SpoolError> {
        let path = self.root.join(format!("{directory:03}"));
        let mut found = Segments::new();
        for path in paths(&path).map_err(|error| self.unreadable(&path, error))? {
            let Some(number) = segment_number(&path) else { continue };
            let segment = SegmentName { directory, number };
            let map = read(&path, segment).map_err(|error| self.unreadable(&path, error))?;
            found.insert(number, Arc::new(map));
        }
        Ok(found)
    }

    fn unreadable(&self, path: &Path, error: io::Error) -> SpoolError {
        SpoolError::Unreadable { spool: self.root.clone(), path: path.to_owned(), error }
    }
}

/// Lock the spool at `root` by its file, as long as that is open.
pub(super) fn lock(file: &mut File, root: &Path) -> Result<(), SpoolError> {
    match flock(&*file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let holder = holder_of(file).unwrap_or_else(|| "unknown".to_owned());
            Err(SpoolError::InUse { spool: root.to_owned(), holder })
        }
        Err(error) => Err(SpoolError::Unusable {
            spool: root.to_owned(),
            path: root.join("LOCK"),
            error: error.into(),
        }),
    }
}

/// Map a file that is not written, with everything in memory that fits.
fn read(path: &Path, segment: SegmentName) -> io::Result<SegmentMap> {
    let file = File::open(path)?;
    // What a power cut could still take back must not be trusted.
    file.sync_data()?;
    let map = SegmentMap::new(&file, segment)?;
    map.populate(0, map.bytes().len())?;
    Ok(map)
}

/// The process id is for people: a relay starts without it, to make room by delivering.
fn ignore_full(error: io::Error) -> io::Result<()> {
    let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded].contains(&error.kind());
    if full { Ok(()) } else { Err(error) }
}

fn holder_of(lock: &mut File) -> Option<String> {
    let mut text = String::new();
    lock.read_to_string(&mut text).ok()?;
    text.trim().parse::<u32>().ok().map(|pid| pid.to_string())
}

/// `NNN`, a spool directory.
fn directory_number(path: &Path) -> Option<u16> {
    let name = path.file_name()?.to_str()?;
    let digits = name.len() >= 3 && name.bytes().all(|byte| byte.is_ascii_digit());
    if digits { name.parse().ok() } else { None }
}

/// `NNNNNNNN.seg`, a segment.
fn segment_number(path: &Path) -> Option<u32> {
    let name = path.file_name()?.to_str()?.strip_suffix(".seg")?;
    let digits = name.len() >= 8 && name.bytes().all(|byte| byte.is_ascii_digit());
    if digits { name.parse().ok() } else { None }
}

/// Make `segment` of `bytes` octets, from a spare file if there is one of that size.
pub(super) fn create(
    spool: &Path,
    segment: SegmentName,
    bytes: u32,
    keep_free: u64,
) -> io::Result<OpenSegment> {
    let path = spool.join(segment.to_string());
    let directory = parent(&path);
    if path.try_exists()? {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    if !reuse(directory, &path, bytes)? {
        if keep_free > 0 && free(spool)? < u64::from(bytes) + keep_free {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        let new = path.with_extension("new");
        // What failed half way must not keep the room that it took.
        preallocate(&new, bytes).inspect_err(|_| drop(fs::remove_file(&new)))?;
        fs::rename(&new, &path)?;
    }
    sync_directory(directory)?;
    open(&path, segment)
}

/// Octets of the file system that may still be taken.
fn free(path: &Path) -> io::Result<u64> {
    let status = statvfs(path)?;
    Ok(status.f_bavail.saturating_mul(status.f_frsize))
}

/// Make a file of `bytes` octets at `path`, all of them there to be written.
pub(super) fn preallocate(path: &Path, bytes: u32) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    fallocate(&file, FallocateFlags::empty(), 0, u64::from(bytes))?;
    file.sync_all()
}

/// Give a spare file of `bytes` octets the name `path`; false if there is none.
fn reuse(directory: &Path, path: &Path, bytes: u32) -> io::Result<bool> {
    for spare in spares(directory)? {
        if fs::metadata(&spare)?.len() == u64::from(bytes) {
            fs::rename(&spare, path)?;
            return Ok(true);
        }
        // Of another segment size, as the knob was before.
        fs::remove_file(&spare)?;
    }
    Ok(false)
}

pub(super) fn paths(directory: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect()
}

fn spares(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut spares = paths(directory)?;
    spares.retain(|path| path.extension() == Some(OsStr::new("old")));
    Ok(spares)
}

/// Take `segment` out of the spool. Its file is kept as a spare only if `map` was the last one:
/// whoever still reads it must not see another segment's bytes.
pub(super) fn remove(spool: &Path, segment: SegmentName, map: Arc<SegmentMap>) -> io::Result<()> {
    let path = spool.join(segment.to_string());
    let directory = parent(&path);
    if Arc::into_inner(map).is_some() && spares(directory)?.len() < SEGMENTS_SPARE {
        fs::rename(&path, path.with_extension("old"))?;
    } else {
        fs::remove_file(&path)?;
    }
    // A later removal must not reach the disk before this one.
    sync_directory(directory)
}

/// Open a segment of an earlier run, with what a start reads of it in memory.
pub(super) fn reopen(spool: &Path, segment: SegmentName) -> io::Result<OpenSegment> {
    let open = open(&spool.join(segment.to_string()), segment)?;
    match index::ahead(open.map.bytes()) {
        Ahead::Nothing => {}
        Ahead::Index(ranges) => ranges.iter().try_for_each(|range| {
            let (start, end) = (range.start as usize, range.end as usize);
            open.map.populate(start, end - start)
        })?,
        Ahead::Everything => {
            open.file.sync_data()?;
            read_through(&open.file)?;
        }
    }
    Ok(open)
}

/// Bring a file into the kernel's memory, without mapping pages of which few are looked at.
fn read_through(mut file: &File) -> io::Result<()> {
    let mut window = vec![0; READ_WINDOW];
    while file.read(&mut window)? > 0 {}
    Ok(())
}

/// Octets that are read at a time.
const READ_WINDOW: usize = 1024 * 1024;

/// The first octets of a segment, for `recovery::begin`.
pub(super) fn head(spool: &Path, segment: SegmentName) -> Result<Vec<u8>, SpoolError> {
    let path = spool.join(segment.to_string());
    let read = || {
        let mut head = Vec::new();
        File::open(&path)?.take(HEAD_BYTES.into()).read_to_end(&mut head)?;
        Ok(head)
    };
    read().map_err(|error| SpoolError::Unusable { spool: spool.to_owned(), path, error })
}

fn open(path: &Path, name: SegmentName) -> io::Result<OpenSegment> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let map = Arc::new(SegmentMap::new(&file, name)?);
    Ok(OpenSegment { file, map })
}

fn parent(path: &Path) -> &Path {
    path.parent().expect("a segment's path has its directory")
}

pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
