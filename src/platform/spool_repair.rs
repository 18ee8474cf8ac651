//! Repair a spool: copy it, salvage, move what is whole, set damaged segments aside.
//!
//! ```text
//! SPOOL.before-repair-N/          the whole spool as it was, synced before anything is changed
//! SPOOL/damaged/ID.eml            a damaged message as it would be sent, damaged octets included
//! SPOOL/damaged/ID.txt            its envelope, how its recipients stand, what is wrong
//! SPOOL/damaged/NNN-SEGMENT-OFFSET.raw   octets of which nobody knows whose they are
//! SPOOL/damaged/NNN/NNNNNNNN.seg  a segment that was emptied
//! ```
//! What is to be done is decided in `spool/repair.rs`; here it is done. New files get the owner of
//! the spool, so that a repair by root leaves a spool that the relay can open.

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hashbrown::HashMap;
use rustix::fs::statvfs;

use crate::base::prng::Prng;
use crate::platform::machine;
use crate::platform::spool_dir::{
    OpenSegment, QuietSpool, Spool, SpoolError, create, paths, sync_directory,
};
use crate::spool::check::{Checked, check};
use crate::spool::log::Io;
use crate::spool::recovery::RecoverError;
use crate::spool::repair::{Repair, RepairError, Repaired, Salvage};
use crate::spool::segment::SegmentName;

/// Why a spool was not repaired: one line. What was whole still is.
#[derive(Debug, thiserror::Error)]
pub enum SpoolRepairError {
    /// It cannot be used.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// It is none of this version's.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// The log cannot go on.
    #[error(transparent)]
    Repair(#[from] RepairError),
    /// No room.
    #[error("a copy of the spool and fresh segments take {needed} octets, and {} has {free}",
        .place.display())]
    Room {
        /// The directory.
        place: PathBuf,
        /// Octets that are needed there.
        needed: u64,
        /// Octets that are free there.
        free: u64,
    },
    /// The kernel refuses.
    #[error("{}: {error}", .path.display())]
    File {
        /// What was to be written.
        path: PathBuf,
        /// The kernel's answer.
        error: io::Error,
    },
}

/// What was done: where the copy is, and what became of each directory that was damaged.
#[derive(Debug)]
pub struct SpoolRepaired {
    /// The spool as it was.
    pub copy: PathBuf,
    /// Each directory that was repaired.
    pub directories: Vec<Repaired>,
}

fn at(path: &Path) -> impl Fn(io::Error) -> SpoolRepairError + '_ {
    move |error| SpoolRepairError::File { path: path.to_owned(), error }
}

/// Repair the spool at `root`; `None`: nothing is to be done, and nothing was changed.
pub fn repair(root: &Path) -> Result<Option<SpoolRepaired>, SpoolRepairError> {
    let quiet = QuietSpool::open_alone(root)?;
    let mut damaged = Vec::new();
    for number in quiet.directories()? {
        let checked = check(number, quiet.segments(number)?)?;
        if checked.needs_repair() {
            damaged.push(checked);
        }
    }
    if damaged.is_empty() {
        return Ok(None);
    }
    // Where no relay ever ran there is no lock yet.
    let _lock = if quiet.is_locked() { None } else { Some(Spool::open(root)?) };
    let copy = set_up_copy(quiet.root(), &damaged)?;
    let bench = Bench::new(quiet.root())?;
    let repaired = damaged.into_iter().map(|checked| bench.repair(checked));
    Ok(Some(SpoolRepaired { copy, directories: repaired.collect::<Result<_, _>>()? }))
}

/// Copy the whole spool beside itself, if there is room for that and for the repair.
fn set_up_copy(root: &Path, damaged: &[Checked]) -> Result<PathBuf, SpoolRepairError> {
    let root = root.canonicalize().map_err(at(root))?;
    let parent = root.parent().unwrap_or(&root);
    let name = root.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let copied = tree_bytes(&root).map_err(at(&root))?;
    let fresh: u64 = damaged.iter().map(Checked::repair_bytes).sum();
    let is_one_disk = device(&root)? == device(parent)?;
    need(parent, if is_one_disk { copied + fresh } else { copied })?;
    need(&root, fresh)?;
    let free = |copy: &PathBuf| !copy.exists();
    let mut names = (1u32..).map(|n| parent.join(format!("{name}.before-repair-{n}")));
    let copy = names.find(free).expect("numbers do not end");
    let part = parent.join(format!("{name}.before-repair.part"));
    if part.exists() {
        // A repair that was cut short left it.
        fs::remove_dir_all(&part).map_err(at(&part))?;
    }
    let done = copy_tree(&root, &part)
        .and_then(|()| fs::rename(&part, &copy))
        .and_then(|()| sync_directory(parent));
    // Half a copy is good for nothing but to fill the disk.
    done.inspect_err(|_| drop(fs::remove_dir_all(&part))).map_err(at(&copy))?;
    Ok(copy)
}

fn device(path: &Path) -> Result<u64, SpoolRepairError> {
    Ok(fs::metadata(path).map_err(at(path))?.dev())
}

fn need(place: &Path, needed: u64) -> Result<(), SpoolRepairError> {
    let stat = statvfs(place).map_err(|error| at(place)(error.into()))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if free >= needed {
        return Ok(());
    }
    Err(SpoolRepairError::Room { place: place.to_owned(), needed, free })
}

fn tree_bytes(path: &Path) -> io::Result<u64> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_dir() {
        return Ok(metadata.len());
    }
    paths(path)?.iter().map(|path| tree_bytes(path)).sum()
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    let metadata = fs::metadata(from)?;
    if metadata.is_dir() {
        fs::create_dir(to)?;
        for path in paths(from)? {
            copy_tree(&path, &to.join(path.file_name().unwrap_or_default()))?;
        }
    } else {
        fs::copy(from, to)?;
    }
    give(to, &metadata)?;
    File::open(to)?.sync_all()
}

/// Let `path` belong to whoever owns the spool.
fn give(path: &Path, owner: &Metadata) -> io::Result<()> {
    let now = fs::metadata(path)?;
    if (now.uid(), now.gid()) == (owner.uid(), owner.gid()) {
        return Ok(());
    }
    chown(path, Some(owner.uid()), Some(owner.gid()))
}

/// Where a repair works.
struct Bench {
    root: PathBuf,
    damaged: PathBuf,
    owner: Metadata,
}

impl Bench {
    fn new(root: &Path) -> Result<Self, SpoolRepairError> {
        let owner = fs::metadata(root).map_err(at(root))?;
        let damaged = root.join("damaged");
        let bench = Self { root: root.to_owned(), damaged, owner };
        bench.make(&bench.damaged).map_err(at(&bench.damaged))?;
        Ok(bench)
    }

    fn make(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)?;
        give(path, &self.owner)?;
        sync_directory(path.parent().unwrap_or(path))
    }

    fn repair(&self, checked: Checked) -> Result<Repaired, SpoolRepairError> {
        let mut repaired = Repaired { directory: checked.directory, ..Repaired::default() };
        for salvage in checked.salvage() {
            self.keep(&salvage).map_err(at(&self.damaged))?;
            repaired.salvaged.push((salvage.name, salvage.notes));
        }
        sync_directory(&self.damaged).map_err(at(&self.damaged))?;
        for segment in checked.foreign().collect::<Vec<_>>() {
            repaired.set_aside.push(self.set_aside(segment)?);
        }
        let mut repair = Repair::new(checked, Prng::from_seed(machine::seed()));
        self.run(&mut repair, &mut repaired)?;
        repaired.moved = repair.moved();
        Ok(repaired)
    }

    /// Do what the log asks until it is done.
    fn run(&self, repair: &mut Repair, repaired: &mut Repaired) -> Result<(), SpoolRepairError> {
        let mut fresh: HashMap<SegmentName, File> = HashMap::new();
        while let Some(io) = repair.poll_io()? {
            match io {
                Io::Create { segment, bytes, .. } => {
                    let made = self.create(segment, bytes).map(|OpenSegment { file, map }| {
                        fresh.insert(segment, file);
                        map as Arc<_>
                    });
                    repair.handle_segment_ready(segment, made.map_err(errno));
                }
                Io::Commit { segment, offset, buffers } => {
                    let written = commit(&fresh[&segment], offset, &buffers);
                    repair.handle_committed(segment, written.map_err(errno));
                }
                Io::Remove { segment } => repaired.set_aside.push(self.set_aside(segment)?),
            }
        }
        Ok(())
    }

    fn create(&self, segment: SegmentName, bytes: u32) -> io::Result<OpenSegment> {
        let open = create(&self.root, segment, bytes, 0)?;
        give(&self.root.join(segment.to_string()), &self.owner)?;
        Ok(open)
    }

    /// Write down what is left of a message.
    fn keep(&self, salvage: &Salvage) -> io::Result<()> {
        let Salvage { name, notes, message, raw } = salvage;
        let notes = Some(notes.as_bytes());
        for (kind, octets) in [("txt", notes), ("eml", message.as_deref()), ("raw", raw.as_deref())]
        {
            let Some(octets) = octets else { continue };
            let path = self.damaged.join(format!("{name}.{kind}"));
            let mut file = File::create(&path)?;
            file.write_all(octets)?;
            file.sync_all()?;
            give(&path, &self.owner)?;
        }
        Ok(())
    }

    fn set_aside(&self, segment: SegmentName) -> Result<SegmentName, SpoolRepairError> {
        let (from, to) =
            (self.root.join(segment.to_string()), self.damaged.join(segment.to_string()));
        let move_it = || -> io::Result<()> {
            self.make(to.parent().unwrap_or(&to))?;
            fs::rename(&from, &to)?;
            sync_directory(to.parent().unwrap_or(&to))?;
            // A later one must not go before this one.
            sync_directory(from.parent().unwrap_or(&from))
        };
        move_it().map_err(at(&to))?;
        Ok(segment)
    }
}

fn commit(file: &File, offset: u32, buffers: &[Arc<Vec<u8>>]) -> io::Result<()> {
    let mut place = u64::from(offset);
    for buffer in buffers {
        file.write_all_at(buffer, place)?;
        place += buffer.len() as u64;
    }
    file.sync_data()
}

fn errno(error: io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}
