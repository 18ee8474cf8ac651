//! See that a spool is its relay's alone: who owns it, and who may look in.
//!
//! Invariant: as root nothing is followed that the spool's user could have laid there, neither
//! links nor names that change meanwhile: each thing is opened first, looked at, and given away
//! as what was looked at.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, chownat, fstat, openat};
use rustix::io::Errno;
use rustix::process::{Gid, Uid, geteuid};

use crate::base::limits::SPOOL_DEPTH_MAX;
use crate::platform::spool_dir::{self, SpoolError};
use crate::platform::way::{self, Astray};

/// What lies in a spool beside the directories of shards. The last one is the file system's own.
const NAMES: [&str; 15] = [
    "LOCK",
    "events",
    "exporters",
    "kpis.redb",
    "injected.redb",
    "suppression.redb",
    "campaigns",
    "paused.json",
    "diverted.json",
    "shaping.json",
    "tls-reports.json",
    "warm-up.jsonl",
    "mta-sts",
    "damaged",
    "lost+found",
];
/// Behind the name of a file that is being written anew.
const NEW: &str = ".new";

/// Whether a spool has such a name in it.
fn is_of_spool(name: &str) -> bool {
    let is_shards = name.len() >= 3 && name.bytes().all(|octet| octet.is_ascii_digit());
    is_shards || NAMES.contains(&name.strip_suffix(NEW).unwrap_or(name))
}

/// Make the directory of a spool if it is missing, for its owner alone; close one that others can
/// look into, or say so where that is not ours to do.
pub(super) fn make(root: &Path) -> io::Result<()> {
    if let Some(parent) = root.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(root) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => close(root),
        made => made,
    }
}

fn close(root: &Path) -> io::Result<()> {
    let metadata = fs::metadata(root)?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let spool = root.display();
    // What everyone may write to was made for more than this, or else is full of lures.
    let is_ours = metadata.uid() == geteuid().as_raw() && mode & 0o1002 == 0 && has_no_more(root)?;
    if !is_ours {
        tracing::warn!("others can look into the spool (mode {mode:o}): chmod 700 {spool}");
        return Ok(());
    }
    fs::set_permissions(root, Permissions::from_mode(0o700))?;
    tracing::info!("the spool {spool} was open to others (mode {mode:o}): it is 700 now");
    Ok(())
}

/// Whether nothing but a spool is in a directory.
fn has_no_more(root: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(root)? {
        if !entry?.file_name().to_str().is_some_and(is_of_spool) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Give the spool at `root`, with all that is in it, to a user and its group; as root. What is
/// another relay's at the moment, or holds what no spool does, is left alone.
pub(super) fn hand_over(root: &Path, (uid, gid): (u32, u32)) -> Result<(), SpoolError> {
    let owner = Owner { uid: Uid::from_raw(uid), gid: Gid::from_raw(gid) };
    let unusable =
        |(path, error): Astray| SpoolError::Unusable { spool: root.to_owned(), path, error };
    let opened = way::reach(root, (owner.uid, owner.gid), Mode::RWXU);
    let Some(opened) = opened.map_err(unusable)? else {
        return Ok(());
    };
    look_through(&opened, root).map_err(unusable)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match openat(&opened, "LOCK", flags, Mode::empty()) {
        Ok(lock) => spool_dir::lock(&mut File::from(lock), root)?,
        Err(Errno::NOENT) => {}
        Err(error) => return Err(unusable((root.join("LOCK"), error.into()))),
    }
    owner.take_directory(opened, root, 0).map_err(unusable)
}

/// See that this is a spool, or empty: what is given away cannot be had back.
fn look_through(directory: &OwnedFd, root: &Path) -> Result<(), Astray> {
    let at = |error: Errno| (root.to_owned(), error.into());
    for entry in Dir::read_from(directory).map_err(at)? {
        let entry = entry.map_err(at)?;
        let name = entry.file_name().to_string_lossy();
        if ![".", ".."].contains(&&*name) && !is_of_spool(&name) {
            let error = io::Error::other("no spool has such a name in it: is this one?");
            return Err((root.join(&*name), error));
        }
    }
    Ok(())
}

/// Who gets it.
#[derive(Clone, Copy, Debug)]
struct Owner {
    uid: Uid,
    gid: Gid,
}

impl Owner {
    fn take_directory(self, directory: OwnedFd, path: &Path, depth: usize) -> Result<(), Astray> {
        let at = |error: Errno| (path.to_owned(), error.into());
        if depth > SPOOL_DEPTH_MAX {
            let error = io::Error::other("directories within directories: this is no spool");
            return Err((path.to_owned(), error));
        }
        for entry in Dir::read_from(&directory).map_err(at)? {
            let entry = entry.map_err(at)?;
            let name = entry.file_name();
            // The file system's own, where the spool is all of one: root's, and empty.
            if [c".", c"..", c"lost+found"].contains(&name) {
                continue;
            }
            let path = path.join(name.to_string_lossy().as_ref());
            let at = |error: Errno| (path.clone(), error.into());
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let opened = match openat(&directory, name, flags, Mode::empty()) {
                Ok(opened) => opened,
                // Removed meanwhile: a relay runs there. It is told when the spool is opened.
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(at(error)),
            };
            let stat = fstat(&opened).map_err(at)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                    let flags = flags | OFlags::NOFOLLOW;
                    // By what was opened, not by its name.
                    let listed = openat(&opened, c".", flags, Mode::empty()).map_err(at)?;
                    self.take_directory(listed, &path, depth + 1)?;
                }
                FileType::RegularFile if stat.st_nlink == 1 => {
                    self.take(&opened).map_err(at)?;
                }
                FileType::RegularFile => {
                    let error = io::Error::other("it has another name, outside perhaps");
                    return Err((path, error));
                }
                FileType::Symlink
                | FileType::Fifo
                | FileType::Socket
                | FileType::CharacterDevice
                | FileType::BlockDevice
                | FileType::Unknown => {
                    return Err((path, io::Error::other("it is no file and no directory")));
                }
            }
        }
        self.take(&directory).map_err(at)
    }

    /// Own what was opened.
    fn take(self, opened: impl AsFd) -> rustix::io::Result<()> {
        let opened = opened.as_fd();
        let stat = fstat(opened)?;
        if (stat.st_uid, stat.st_gid) == (self.uid.as_raw(), self.gid.as_raw()) {
            return Ok(());
        }
        chownat(opened, c"", Some(self.uid), Some(self.gid), AtFlags::EMPTY_PATH)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn owner(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().uid()
    }

    #[test]
    fn a_new_spool_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("var/spool");
        make(&root).unwrap();
        assert_eq!(fs::metadata(&root).unwrap().mode() & 0o777, 0o700);
        assert_ne!(fs::metadata(root.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
        make(&root).unwrap();
        let mode = || fs::metadata(&root).unwrap().mode() & 0o7777;
        assert_eq!(mode(), 0o700, "closed");
        for (name, open) in [("LOCK", 0o1777), ("LOCK", 0o777), ("others.txt", 0o755)] {
            fs::write(root.join(name), "").unwrap();
            fs::set_permissions(&root, fs::Permissions::from_mode(open)).unwrap();
            make(&root).unwrap();
            assert_eq!(mode(), open, "complained of, not changed");
        }
    }

    #[test]
    fn all_of_a_spool_is_given_away_and_nothing_outside() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("spool");
        fs::create_dir_all(root.join("000")).unwrap();
        let beside = [
            "injected.redb",
            "kpis.redb",
            "suppression.redb",
            "paused.json",
            "diverted.json",
            "tls-reports.json.new",
        ];
        for name in beside.into_iter().chain(["LOCK", "000/00000001.seg"]) {
            fs::write(root.join(name), "").unwrap();
        }
        hand_over(&root, (12_345, 12_345)).unwrap();
        for name in ["", "LOCK", "kpis.redb", "tls-reports.json.new", "000", "000/00000001.seg"] {
            assert_eq!(owner(&root.join(name)), 12_345, "{name}");
        }
        hand_over(&root, (12_346, 12_346)).unwrap();
        assert_eq!(owner(&root.join("000/00000001.seg")), 12_346, "and to another");

        let secret = folder.path().join("secret");
        fs::write(&secret, "root's").unwrap();
        let lure = root.join("000/lure");
        let refused = |words: &str| {
            let error = hand_over(&root, (12_345, 12_345)).unwrap_err().to_string();
            assert!(error.contains("000/lure") && error.contains(words), "{error}");
            assert_eq!(owner(&secret), 0);
            fs::remove_file(&lure).unwrap();
        };
        symlink(&secret, &lure).unwrap();
        refused("no file and no directory");
        fs::hard_link(&secret, &lure).unwrap();
        refused("another name");
        symlink(folder.path(), &lure).unwrap();
        refused("no file and no directory");

        let error = hand_over(folder.path(), (12_345, 12_345)).unwrap_err().to_string();
        assert!(error.contains("no spool has such a name in it"), "{error}");
        assert_eq!((owner(&secret), owner(folder.path())), (0, 0));
        let _other = spool_dir::Spool::open(&root).unwrap();
        let error = hand_over(&root, (12_347, 12_347)).unwrap_err().to_string();
        assert!(error.contains("in use by another relay"), "{error}");
        assert_eq!(owner(&root), 12_346);
    }
}
