//! CPU time of this thread and of another process with its children, in microseconds.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::param::clock_ticks_per_second;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// CPU time that the calling thread has used.
pub(crate) fn of_this_thread_us() -> u64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(tv_sec).unwrap_or_default();
    seconds * 1_000_000 + u64::try_from(tv_nsec).unwrap_or_default() / 1_000
}

/// CPU time of process `pid` and of its children that have ended; resolution is a clock tick
/// (10,000 µs on most kernels).
pub(crate) fn of_process_us(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let ticks = ticks_of(&text).with_context(|| format!("{path} reads {text:?}"))?;
    Ok(ticks * 1_000_000 / clock_ticks_per_second())
}

/// The same of `pid` and all processes below it. What a process used that its parent did not wait
/// for is lost when it ends; a [`crate::cgroup::Cgroup`] has that too.
pub(crate) fn of_tree_us(pid: u32) -> Result<u64> {
    let folder = fs::read_dir("/proc").context("reading /proc")?;
    let mut all: Vec<(u32, u32, u64)> = Vec::new();
    for entry in folder.flatten() {
        // A process may end meanwhile: then its parent has what it used.
        let text = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        all.extend(number.and_then(|pid| Some((pid, parent_of(&text)?, ticks_of(&text)?))));
    }
    let mut tree = vec![pid];
    let mut ticks = 0;
    while let Some(of) = tree.pop() {
        let here = all.iter().filter(|(pid, ..)| *pid == of).map(|(.., used)| *used);
        ticks += here.sum::<u64>();
        tree.extend(all.iter().filter(|(_, parent, _)| *parent == of).map(|(pid, ..)| *pid));
    }
    Ok(ticks * 1_000_000 / clock_ticks_per_second())
}

/// Field 4 of proc_pid_stat(5).
fn parent_of(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// CPU time that a process uses from some moment on, by the scheduler's own count (the first word
/// of `/proc/PID/task/TID/schedstat`): finer than a tick, but for threads that end meanwhile.
#[derive(Debug)]
pub(crate) struct Meter {
    pid: u32,
    begun_ns: BTreeMap<OsString, u64>,
}

impl Meter {
    /// Counts from now on.
    pub(crate) fn start(pid: u32) -> Result<Self> {
        Ok(Self { pid, begun_ns: threads_ns(pid)? })
    }

    /// Used until now.
    pub(crate) fn spent(&self) -> Result<Duration> {
        let now = threads_ns(self.pid)?;
        let each = now.iter().map(|(thread, ns)| {
            let before = self.begun_ns.get(thread).copied().unwrap_or_default();
            ns.saturating_sub(before)
        });
        Ok(Duration::from_nanos(each.sum()))
    }
}

fn threads_ns(pid: u32) -> Result<BTreeMap<OsString, u64>> {
    let folder = format!("/proc/{pid}/task");
    let tasks = fs::read_dir(&folder).with_context(|| format!("reading {folder}"))?;
    let mut all = BTreeMap::new();
    for task in tasks {
        let task = task.with_context(|| format!("reading {folder}"))?;
        // A thread may end meanwhile.
        all.insert(task.file_name(), of_task_ns(&task.path()).unwrap_or_default());
    }
    Ok(all)
}

/// CPU time of the thread with this folder, by the scheduler's own count.
pub(crate) fn of_task_ns(task: &Path) -> Option<u64> {
    let text = fs::read_to_string(task.join("schedstat")).ok()?;
    text.split(' ').next()?.parse().ok()
}

/// Sum of utime, stime, cutime and cstime (fields 14 to 17 of proc_pid_stat(5)).
fn ticks_of(stat: &str) -> Option<u64> {
    // The command name may hold spaces and brackets; what follows the last bracket may not.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let mut sum = 0;
    for _ in 0..4 {
        sum += fields.next()?.parse::<u64>().ok()?;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 100 20 3 1 20 0 1 0 9";
        assert_eq!(ticks_of(stat), Some(124));
        assert_eq!(ticks_of("7 (a S 1"), None);
        assert_eq!(parent_of(stat), Some(1));
    }

    #[test]
    fn a_tree_has_used_at_least_what_its_root_has() {
        let this = std::process::id();
        let alone = of_process_us(this).unwrap();
        assert!(of_tree_us(this).unwrap() >= alone);
        assert!(of_tree_us(1).unwrap() >= alone || alone == 0);
    }

    #[test]
    fn this_process_is_readable() {
        of_process_us(std::process::id()).unwrap();
        let meter = Meter::start(std::process::id()).unwrap();
        let before = of_this_thread_us();
        let mut sum = 0_u64;
        while of_this_thread_us() < before + 1_000 {
            sum = sum.wrapping_add(of_this_thread_us());
        }
        assert!(sum > 0);
        assert!(meter.spent().unwrap() > Duration::ZERO);
    }
}
