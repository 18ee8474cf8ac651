//! Reach a directory as root by a way that nobody else could have laid.
//!
//! What root gives away it must not be led to. Invariant: no link is followed that is not root's;
//! below a directory of another nothing counts but what is that owner's, or the one's who is to
//! have it: an owner may put anything there, by any name. Each step is opened first, then looked
//! at, so that nothing changes between.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::Permissions;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf, absolute};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, chownat, fstat, mkdirat, openat, readlinkat,
};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use crate::base::limits::PATH_LINKS_MAX;

/// Where a way was given up, and why.
pub(super) type Astray = (PathBuf, io::Error);

/// Open the directory at `path` for reading; if it is missing it is made, `owner`'s, with `mode`.
/// `None` where it is missing in a directory of `owner`, who can make it.
pub(super) fn reach(path: &Path, owner: (Uid, Gid), mode: Mode) -> Result<Option<OwnedFd>, Astray> {
    let whole = absolute(path).map_err(|error| (path.to_owned(), error))?;
    let mut way = Way { at: PathBuf::from("/"), owner, mode, links: 0, left: steps(&whole) };
    let mut here = way.open(CWD, OsStr::new("/"))?;
    while let Some(name) = way.left.pop_front() {
        way.at.push(&name);
        match way.step(&here, &name)? {
            Step::Into(next) => here = next,
            Step::Top => here = way.open(CWD, OsStr::new("/"))?,
            Step::Same => {}
            Step::OwnersToMake => return Ok(None),
        }
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = openat(&here, c".", flags, Mode::empty());
    opened.map(Some).map_err(|error| way.astray(error))
}

/// A way that is being gone.
struct Way {
    /// As far as it was gone, for people.
    at: PathBuf,
    owner: (Uid, Gid),
    /// Of the last directory, if it has to be made.
    mode: Mode,
    links: usize,
    left: VecDeque<OsString>,
}

/// What a name led to.
enum Step {
    Into(OwnedFd),
    /// A link to somewhere from the top.
    Top,
    /// A link to somewhere from here.
    Same,
    OwnersToMake,
}

impl Way {
    fn step(&mut self, here: &OwnedFd, name: &OsStr) -> Result<Step, Astray> {
        let parent = self.owner_of(here)?;
        let next = match self.open(here, name) {
            Err((_, error)) if error.kind() == io::ErrorKind::NotFound => match parent {
                Uid::ROOT => self.make(here, name)?,
                owner if owner == self.owner.0 => return Ok(Step::OwnersToMake),
                _ => return Err(self.refuse("it is missing in a directory of somebody else")),
            },
            opened => opened?,
        };
        let stat = fstat(&next).map_err(|error| self.astray(error))?;
        let uid = Uid::from_raw(stat.st_uid);
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Symlink {
            return match uid == Uid::ROOT && parent == Uid::ROOT {
                true => self.follow(&next),
                false => Err(self.refuse("it is a link that is not root's alone")),
            };
        }
        if kind != FileType::Directory {
            return Err(self.refuse("it is no directory"));
        }
        match parent == Uid::ROOT || uid == parent || uid == self.owner.0 {
            true => Ok(Step::Into(next)),
            false => {
                Err(self.refuse("it is below a directory of somebody else, who could replace it"))
            }
        }
    }

    fn follow(&mut self, link: &OwnedFd) -> Result<Step, Astray> {
        self.links += 1;
        if self.links > PATH_LINKS_MAX {
            return Err(self.astray(Errno::LOOP));
        }
        let target = readlinkat(link, c"", Vec::new()).map_err(|error| self.astray(error))?;
        let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
        self.at.pop();
        steps(&target).into_iter().rev().for_each(|name| self.left.push_front(name));
        if !target.is_absolute() {
            return Ok(Step::Same);
        }
        self.at = PathBuf::from("/");
        Ok(Step::Top)
    }

    /// Make a directory in one that is root's: the last one is the owner's.
    fn make(&self, here: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Astray> {
        let last = self.left.is_empty();
        let mode = if last { self.mode } else { Mode::from_raw_mode(0o755) };
        mkdirat(here, name, mode).map_err(|error| self.astray(error))?;
        let made = self.open(here, name)?;
        // The process's own mask is for what it makes later.
        set_mode(&made, mode.bits()).map_err(|error| (self.at.clone(), error))?;
        if last {
            let (uid, gid) = self.owner;
            let given = chownat(&made, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH);
            given.map_err(|error| self.astray(error))?;
        }
        Ok(made)
    }

    fn open(&self, here: impl AsFd, name: &OsStr) -> Result<OwnedFd, Astray> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(here, name, flags, Mode::empty()).map_err(|error| self.astray(error))
    }

    fn owner_of(&self, opened: &OwnedFd) -> Result<Uid, Astray> {
        let stat = fstat(opened).map_err(|error| self.astray(error))?;
        Ok(Uid::from_raw(stat.st_uid))
    }

    fn refuse(&self, why: &str) -> Astray {
        (self.at.clone(), io::Error::other(why))
    }

    fn astray(&self, error: Errno) -> Astray {
        (self.at.clone(), error.into())
    }
}

/// Give a mode to what was opened by path alone: such a descriptor takes none itself.
pub(super) fn set_mode(opened: &OwnedFd, mode: u32) -> io::Result<()> {
    let link = format!("/proc/self/fd/{}", opened.as_raw_fd());
    std::fs::set_permissions(link, Permissions::from_mode(mode))
}

/// The names of a path, one after another.
fn steps(path: &Path) -> VecDeque<OsString> {
    let name = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, chown, symlink};

    use super::*;

    const OWNER: u32 = 12_345;
    const OTHER: u32 = 12_346;

    fn go(path: &Path) -> Result<Option<OwnedFd>, String> {
        let owner = (Uid::from_raw(OWNER), Gid::from_raw(OWNER));
        reach(path, owner, Mode::RWXU).map_err(|(at, error)| format!("{}: {error}", at.display()))
    }

    fn directory(path: PathBuf, owner: u32) -> PathBuf {
        fs::create_dir_all(&path).unwrap();
        chown(&path, Some(owner), Some(owner)).unwrap();
        path
    }

    #[test]
    fn what_is_missing_is_made_for_its_owner_alone() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("var/spool");
        assert!(matches!(go(&path), Ok(Some(_))));
        let made = fs::metadata(&path).unwrap();
        assert_eq!((made.uid(), made.gid(), made.mode() & 0o777), (OWNER, OWNER, 0o700));
        let above = fs::metadata(path.parent().unwrap()).unwrap();
        assert_eq!((above.uid(), above.mode() & 0o022), (0, 0));
        let own = directory(folder.path().join("own"), OWNER);
        assert!(matches!(go(&own.join("spool")), Ok(None)), "its owner makes it");
        assert!(!own.join("spool").exists());
    }

    #[test]
    fn roots_links_are_followed() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        directory(folder.path().join("disk/spool"), OWNER);
        for (name, target) in [
            ("absolute", folder.path().join("disk/spool")),
            ("relative", PathBuf::from("disk/../disk/./spool")),
            ("chain", PathBuf::from("relative")),
        ] {
            symlink(target, folder.path().join(name)).unwrap();
            let reached = go(&folder.path().join(name)).unwrap().unwrap();
            assert_eq!(fstat(reached).unwrap().st_uid, OWNER, "{name}");
        }
        symlink("turn", folder.path().join("turn")).unwrap();
        assert!(go(&folder.path().join("turn")).unwrap_err().contains("symbolic links"));
    }

    #[test]
    fn nobody_else_leads_root_anywhere() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let roots = folder.path().join("roots");
        fs::create_dir(&roots).unwrap();
        let own = directory(folder.path().join("own"), OWNER);
        // The owner's own link, root's link in the owner's directory, and a directory moved there.
        let lure = own.join("lure");
        symlink(&roots, &lure).unwrap();
        assert!(go(&lure).unwrap_err().contains("own/lure: it is a link"));
        std::os::unix::fs::lchown(&lure, Some(OWNER), Some(OWNER)).unwrap();
        assert!(go(&lure).unwrap_err().contains("own/lure: it is a link"));
        assert!(go(&lure.join("deeper")).unwrap_err().contains("own/lure: it is a link"));
        fs::rename(&roots, own.join("moved")).unwrap();
        assert!(go(&own.join("moved")).unwrap_err().contains("own/moved: it is below"));
        let others = directory(folder.path().join("other"), OTHER);
        assert!(go(&others.join("new")).unwrap_err().contains("other/new: it is missing"));
        assert!(!others.join("new").exists());
        assert!(matches!(go(&directory(others.join("spool"), OWNER)), Ok(Some(_))));
        fs::write(own.join("file"), "").unwrap();
        assert!(go(&own.join("file")).unwrap_err().contains("own/file: it is no directory"));
    }
}
