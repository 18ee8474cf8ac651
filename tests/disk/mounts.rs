//! File systems of a test's own: small ones, and ones whose device has no room behind it.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::tool;

/// Set in the process that has mounts of its own.
const INSIDE: &str = "RELAY_FAST_TEST_MOUNTS";

/// Run `body` in a process that has mounts of its own; `test` is the calling test's whole name.
pub(crate) fn in_own_mounts(test: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    for name in ["unshare", "mount", "mkfs.ext4"] {
        if tool::find(name).is_none() {
            return;
        }
    }
    let own = || {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private"]);
        command
    };
    let allowed = own().arg("true").stderr(Stdio::null()).status().unwrap();
    if !allowed.success() {
        return tool::skip("mounts of its own need root");
    }
    let myself = std::env::current_exe().unwrap();
    let mut inside = own();
    inside.arg(myself).args(["--exact", test, "--nocapture"]).env(INSIDE, "1");
    let output = inside.output().unwrap();
    let text = [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "no test is named {test}: {text}");
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
}

/// A tmpfs of so many MiB at `place`, which is made.
pub(crate) fn tmpfs(place: &Path, mib: u64) {
    fs::create_dir_all(place).unwrap();
    let size = format!("size={mib}m");
    run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", place.to_str().unwrap()]);
}

/// An ext4 of so many MiB at `place`, in a file at `image`; without a journal, so that an error
/// of its device is an error of a file and not the end of it.
pub(crate) fn ext4(place: &Path, image: &Path, mib: u64) {
    fs::create_dir_all(place).unwrap();
    File::create(image).unwrap().set_len(mib << 20).unwrap();
    let (place, image) = (place.to_str().unwrap(), image.to_str().unwrap());
    run("mkfs.ext4", &["-q", "-m", "0", "-O", "^has_journal", "-E", "nodiscard", image]);
    run("mount", &["-o", "loop,nodiscard", image, place]);
}

/// A file that takes all room that is left where it is; it is gone when dropped.
pub(crate) struct Ballast(PathBuf);

impl Ballast {
    pub(crate) fn new(path: PathBuf) -> Self {
        let mut file = File::create(&path).unwrap();
        let chunk = vec![0x55; 1 << 16];
        let full = loop {
            if let Err(error) = file.write_all(&chunk) {
                break error;
            }
        };
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull, "{full}");
        // To the last octet: the loop above leaves less than a chunk.
        while file.write_all(&[0x55; 512]).is_ok() {}
        Self(path)
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        fs::remove_file(&self.0).unwrap();
    }
}
