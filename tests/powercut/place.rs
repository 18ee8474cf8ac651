//! Where an audit runs: a process and mount namespace of its own, so that nothing outlives it.
//!
//! Whatever ends the test, the kernel then ends its processes; with them go the mounts, and with
//! the mounts their loop devices.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tempfile::TempDir;

use crate::process::{outcome, output};
use crate::tool;

/// Set inside the namespaces.
const INSIDE: &str = "POWERCUT_INSIDE";

/// One audit at a time: each keeps all CPUs busy.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Run `test`, which is all that the test of this `name` does, in namespaces of its own; a line
/// says why where that is not possible.
pub(crate) fn alone(name: &str, test: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return test();
    }
    let _turn = turn();
    for tool in ["unshare", "setpriv", "losetup", "findmnt", &mkfs()] {
        if tool::find(tool).is_none() {
            return;
        }
    }
    if !rustix::process::geteuid().is_root() {
        return tool::skip("only root mounts file systems");
    }
    for device in ["/dev/fuse", "/dev/loop-control"] {
        if !Path::new(device).exists() {
            return tool::skip(&format!("no {device} on this machine"));
        }
    }
    let status = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--", "unshare", "--mount", "--propagation", "private"])
        .args(["--pid", "--fork", "--mount-proc", "--kill-child=KILL", "--"])
        .arg(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{name}: {status}; what it said is above");
}

/// The file system of the audit.
pub(crate) fn file_system() -> String {
    std::env::var("POWERCUT_FS").unwrap_or_else(|_| "ext4".to_owned())
}

/// What makes that file system.
pub(crate) fn mkfs() -> String {
    format!("mkfs.{}", file_system())
}

/// A folder in memory, which goes with the namespace.
#[derive(Debug)]
pub(crate) struct Folder {
    memory: Mounted,
    /// Under it; removed after it.
    _folder: TempDir,
}

impl Folder {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        output(mount.args(["-t", "tmpfs", "powercut"]).arg(folder.path()), b"");
        Self { memory: Mounted { path: folder.path().to_owned() }, _folder: folder }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.memory.path
    }
}

/// A mounted file system, until dropped.
#[derive(Debug)]
pub(crate) struct Mounted {
    pub(crate) path: PathBuf,
}

impl Mounted {
    /// Mount the file system in `image` through a loop device; the reason if that fails.
    pub(crate) fn image(image: &Path, path: &Path, direct: bool) -> Result<Self, String> {
        std::fs::create_dir_all(path).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", &file_system(), "-o", "loop,noatime"]).arg(image).arg(path);
        let (is_mounted, _, why) = outcome(&mut mount, b"");
        if !is_mounted {
            return Err(why);
        }
        let mounted = Self { path: path.to_owned() };
        if direct {
            let mut find = Command::new("findmnt");
            let device = output(find.args(["-n", "-o", "SOURCE", "--mountpoint"]).arg(path), b"");
            let device = String::from_utf8(device).unwrap();
            output(Command::new("losetup").args(["--direct-io=on", device.trim()]), b"");
        }
        Ok(mounted)
    }
}

impl Drop for Mounted {
    /// A process that was killed lets go of its files a little later.
    fn drop(&mut self) {
        for _ in 0..600 {
            if outcome(Command::new("umount").arg(&self.path), b"").0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        eprintln!("{} stays mounted until this process ends", self.path.display());
    }
}
