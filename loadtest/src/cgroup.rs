//! A control group of one program: the CPU of all that it ever started, and the end of all of it.
//!
//! In: a program that enters before it is executed. Out: CPU, processes. Invariant: no process is
//! left in it when it is dropped. Needs the second version's hierarchy, and leave to write there.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

/// How often, and how many times, a group is looked at until the killed have left it.
const LOOK: Duration = Duration::from_millis(10);
const LOOKS_MAX: u32 = 300;

/// Groups that this process has made.
static MADE: AtomicU32 = AtomicU32::new(0);

/// A group below that of this process.
#[derive(Debug)]
pub(crate) struct Cgroup {
    folder: PathBuf,
}

impl Cgroup {
    /// An empty group.
    ///
    /// Errors: no hierarchy of the second version, or no leave to make a group in it.
    pub(crate) fn new() -> Result<Self> {
        let mounts =
            fs::read_to_string("/proc/self/mounts").context("reading /proc/self/mounts")?;
        let own = fs::read_to_string("/proc/self/cgroup").context("reading /proc/self/cgroup")?;
        let own = own_folder(&mounts, &own).context("no cgroup2 is mounted here")?;
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let folder = own.join(format!("relay-fast-{}-{number}", std::process::id()));
        fs::create_dir(&folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(Self { folder })
    }

    /// Where it is; see [`enter`].
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// CPU time of all processes that were ever in it, in microseconds.
    pub(crate) fn cpu_us(&self) -> Result<u64> {
        let path = self.folder.join("cpu.stat");
        let text = fs::read_to_string(&path);
        let text = text.with_context(|| format!("reading {}", path.display()))?;
        usage_us(&text).with_context(|| format!("{} reads {text:?}", path.display()))
    }

    /// Processes that are in it now.
    pub(crate) fn pids(&self) -> Result<Vec<u32>> {
        let path = self.folder.join("cgroup.procs");
        let text = fs::read_to_string(&path);
        let text = text.with_context(|| format!("reading {}", path.display()))?;
        Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
    }

    fn kill_all(&self) {
        for pid in self.pids().unwrap_or_default() {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                // It may have ended meanwhile.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

impl Drop for Cgroup {
    /// Kills what is left. A group that stays all the same is empty, and costs little.
    fn drop(&mut self) {
        for _ in 0..LOOKS_MAX {
            self.kill_all();
            if fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            std::thread::sleep(LOOK);
        }
    }
}

/// Moves this process into the group of `folder`, and so all that it starts from now on.
pub(crate) fn enter(folder: &Path) -> Result<()> {
    // Zero is whoever writes it.
    fs::write(folder.join("cgroup.procs"), "0")
        .with_context(|| format!("entering {}", folder.display()))
}

/// The folder of a process' group, from its lists of mounts and of groups (cgroups(7)).
fn own_folder(mounts: &str, own: &str) -> Option<PathBuf> {
    let mut mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let mount = mounts.find(|fields| fields.get(2) == Some(&"cgroup2"))?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(Path::new(mount.get(1)?).join(path))
}

/// `usage_usec` of `cpu.stat`, which every group has, whatever is controlled in it.
fn usage_us(stat: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix("usage_usec ")?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_group_is_below_the_mount_of_the_second_version() {
        let hybrid = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        let own = "2:cpu:/elsewhere\n0::/user.slice/a.scope\n";
        let folder = own_folder(hybrid, own).unwrap();
        assert_eq!(folder, Path::new("/sys/fs/cgroup/unified/user.slice/a.scope"));
        assert_eq!(own_folder(hybrid, "0::/\n").unwrap(), Path::new("/sys/fs/cgroup/unified"));
        assert_eq!(own_folder("cgroup /x cgroup rw 0 0\n", own), None);
        assert_eq!(own_folder(hybrid, "2:cpu:/elsewhere\n"), None);
    }

    #[test]
    fn usage_is_one_line_of_many() {
        let stat = "usage_usec 1234\nuser_usec 1000\nsystem_usec 234\n";
        assert_eq!(usage_us(stat), Some(1_234));
        assert_eq!(usage_us("user_usec 1000\n"), None);
    }
}
