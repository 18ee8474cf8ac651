//! A mounted file system whose device records its writes and flushes, in the order they came.
//!
//! ```text
//! file system ─ loop device (direct) ─ FUSE export ─ blklogwrites ─► image, and a log of all writes
//! ```
//! qemu-storage-daemon records. A write is in its log before the kernel hears of its end, and so is
//! a flush; so what anybody knew at a moment rests on what was in the log at that moment. How long
//! the log is ([`Clock`]) therefore serves as the time.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use crate::node::wait_for;
use crate::place::{Mounted, file_system, mkfs};
use crate::process::{Running, output};

/// Octets of the device: xfs wants 300 MiB, the spool of a campaign 200.
const DEVICE_BYTES: u64 = 512 << 20;

/// A moment: octets of the log by then.
pub(crate) type Moment = u64;

/// Tells moments.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    log: PathBuf,
}

impl Clock {
    pub(crate) fn now(&self) -> Moment {
        fs::metadata(&self.log).unwrap().len()
    }
}

#[derive(Debug)]
pub(crate) struct Recorder {
    folder: PathBuf,
    daemon: Running,
    mounted: Option<Mounted>,
}

/// What was recorded.
#[derive(Debug)]
pub(crate) struct Recording {
    /// The device before the first write.
    pub(crate) before: PathBuf,
    pub(crate) log: PathBuf,
}

impl Recorder {
    /// Make a file system in `folder` and mount it.
    pub(crate) fn start(folder: &Path) -> Self {
        let at = |name: &str| folder.join(name);
        File::create(at("before")).unwrap().set_len(DEVICE_BYTES).unwrap();
        let no_discard: &[&str] = match file_system().as_str() {
            "ext4" => &["-q", "-E", "nodiscard"],
            "xfs" => &["-q", "-K"],
            "btrfs" => &["-q", "-K"],
            other => panic!("how is {other} made without discards?"),
        };
        output(Command::new(mkfs()).args(no_discard).arg(at("before")), b"");
        copy(&at("before"), &at("image"));
        File::create(at("log")).unwrap();
        File::create(at("device")).unwrap();
        let file =
            |name: &str| format!("driver=file,node-name={name},filename={}", at(name).display());
        let export =
            format!("type=fuse,id=e,node-name=r,writable=on,mountpoint={}", at("device").display());
        let mut daemon = Command::new("qemu-storage-daemon");
        daemon.args(["--blockdev", &file("image"), "--blockdev", &file("log"), "--blockdev"]);
        daemon.arg("driver=blklogwrites,node-name=r,file=image,log=log,log-sector-size=512");
        daemon.args(["--export", &export]);
        let mut daemon = Running::start(&daemon, &at("daemon.log"));
        wait_for("the recorded device", || {
            assert!(daemon.is_alive(), "{}", daemon.log());
            (fs::metadata(at("device")).ok()?.size() == DEVICE_BYTES).then_some(())
        });
        let mounted = Mounted::image(&at("device"), &at("recorded"), true).unwrap();
        Self { folder: folder.to_owned(), daemon, mounted: Some(mounted) }
    }

    /// Where the file system is.
    pub(crate) fn path(&self) -> &Path {
        &self.mounted.as_ref().expect("until it stops").path
    }

    pub(crate) fn clock(&self) -> Clock {
        Clock { log: self.folder.join("log") }
    }

    /// Unmount; what was recorded.
    pub(crate) fn stop(mut self) -> Recording {
        drop(self.mounted.take());
        let daemon = Pid::from_raw(self.daemon.id() as i32).unwrap();
        kill_process(daemon, Signal::TERM).unwrap();
        wait_for("the recorder's end", || (!self.daemon.is_alive()).then_some(()));
        Recording { before: self.folder.join("before"), log: self.folder.join("log") }
    }
}

/// Copy a file that is mostly holes.
pub(crate) fn copy(from: &Path, to: &Path) {
    output(Command::new("cp").arg("--sparse=auto").arg(from).arg(to), b"");
}
