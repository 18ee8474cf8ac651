//! Read what the kernel says under /proc.

/// Octets in a field of `/proc/PID/status` or `/proc/meminfo` that is given in kB.
pub(crate) fn octets(status: &str, name: &str) -> Option<u64> {
    let mut lines = status.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kib: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1_024)
}
