//! What machine a run was on: figures of two machines say nothing of two programs.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::proc::octets;

/// The machine, as far as it tells.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_mib: u64,
    pub(crate) kernel: String,
    /// Of the folder that holds the spool.
    pub(crate) file_system: String,
}

impl Machine {
    /// This machine, with the spool in `work`.
    pub(crate) fn here(work: &Path) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        Self {
            cpu: field(&read("/proc/cpuinfo"), "model name").unwrap_or("unknown").to_owned(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_mib: octets(&read("/proc/meminfo"), "MemTotal").unwrap_or_default() >> 20,
            kernel: read("/proc/sys/kernel/osrelease").trim_end().to_owned(),
            file_system: file_system(&read("/proc/self/mounts"), work),
        }
    }

    /// In one line.
    pub(crate) fn line(&self) -> String {
        let Self { cpu, cores, memory_mib, kernel, file_system } = self;
        format!("{cpu}, {cores} CPUs, {memory_mib} MiB; Linux {kernel}; spool on {file_system}")
    }
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let of = |line: &'a str| line.split_once(':').filter(|(key, _)| key.trim() == name);
    text.lines().find_map(of).map(|(_, value)| value.trim())
}

/// The type of the file system that is mounted nearest above `path`.
fn file_system(mounts: &str, path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mount = |line: &str| {
        let mut words = line.split(' ').skip(1);
        let (place, kind) = (words.next()?.to_owned(), words.next()?.to_owned());
        path.starts_with(&place).then_some((place.len(), kind))
    };
    let nearest = mounts.lines().filter_map(mount).max_by_key(|(length, _)| *length);
    nearest.map_or("unknown".to_owned(), |(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_counts() {
        let mounts = "a / ext4 rw 0 0\nb /var xfs rw 0 0\nc /variety btrfs rw 0 0\n";
        assert_eq!(file_system(mounts, Path::new("/var/no/such/place")), "xfs");
        assert_eq!(file_system(mounts, Path::new("/no/such/place")), "ext4");
        assert_eq!(file_system("", Path::new("/no")), "unknown");
    }

    #[test]
    fn this_machine_tells_something() {
        let here = Machine::here(Path::new("/"));
        assert!(here.cores > 0 && here.memory_mib > 0 && !here.kernel.is_empty(), "{here:?}");
        assert_eq!(field("model name\t: X 3\n", "model name"), Some("X 3"));
        assert_eq!(octets("MemTotal:    2048 kB\n", "MemTotal"), Some(2_048 << 10));
    }
}
