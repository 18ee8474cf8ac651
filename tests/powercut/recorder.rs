//! A mounted file system whose device records its writes and flushes, in the order they came.
//!
//! ```text
//! file system ─ loop device (direct) ─ FUSE ─ `Recorded` in this process ─► image, and the tape
//! ```
//! (qemu-storage-daemon's `blklogwrites` records too, but with several writes under way its log and
//! its image differ.)

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::JoinHandle;

use crate::fuse;
use crate::place::{Mounted, file_system, mkfs};
use crate::process::output;
use crate::tape::{Entry, Recorded, Tape};

/// Octets of the device: xfs wants 300 MiB, the spool of a campaign 200.
const DEVICE_BYTES: u64 = 512 << 20;

#[derive(Debug)]
pub(crate) struct Recorder {
    before: PathBuf,
    /// Unmounted in this order.
    mounted: Mounted,
    device: Mounted,
    server: JoinHandle<()>,
    pub(crate) tape: Tape,
}

/// What was recorded.
#[derive(Debug)]
pub(crate) struct Recording {
    /// The device before the first entry.
    pub(crate) before: PathBuf,
    pub(crate) entries: Vec<Entry>,
}

impl Recorder {
    /// Make a file system in `folder` and mount it.
    pub(crate) fn start(folder: &Path) -> Self {
        let before = folder.join("before");
        File::create(&before).unwrap().set_len(DEVICE_BYTES).unwrap();
        let quietly = if file_system() == "ext4" { "-qEnodiscard" } else { "-qK" };
        output(Command::new(mkfs()).arg(quietly).arg(&before), b"");
        Self::over(before, folder)
    }

    /// Mount the file system in `before`, which stays as it is; all that is needed is in `folder`.
    pub(crate) fn over(before: PathBuf, folder: &Path) -> Self {
        let [image, device] = ["image", "device"].map(|name| folder.join(name));
        copy(&before, &image);
        File::create(&device).unwrap();
        let tape = Tape::default();
        let image = OpenOptions::new().read(true).write(true).open(image).unwrap();
        let recorded = Recorded { image, bytes: DEVICE_BYTES, tape: tape.clone() };
        let server = fuse::mount(&device, recorded);
        let device = Mounted { path: device };
        let mounted = Mounted::image(&device.path, &folder.join("recorded"), true).unwrap();
        Self { before, mounted, device, server, tape }
    }

    /// Where the file system is.
    pub(crate) fn path(&self) -> &Path {
        &self.mounted.path
    }

    /// Unmount; what was recorded.
    pub(crate) fn stop(self) -> Recording {
        drop(self.mounted);
        drop(self.device);
        self.server.join().unwrap();
        Recording { before: self.before, entries: self.tape.take() }
    }
}

/// Copy a file that is mostly holes.
pub(crate) fn copy(from: &Path, to: &Path) {
    output(Command::new("cp").arg("--sparse=auto").arg(from).arg(to), b"");
}
