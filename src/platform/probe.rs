//! Find out whether this machine lets us use io_uring, and if not, why and what to do.
//!
//! A ring is made as a shard makes its own, before anything else is asked of the machine.

use std::io;

use rustix::process::{Resource, getrlimit};

use crate::platform::gear::Tag;
use crate::platform::ring::Ring;

/// What keeps io_uring from us, with the remedy. One line each.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// ENOSYS.
    #[error(
        "this kernel has no io_uring: Linux 6.1 or newer with CONFIG_IO_URING is needed, and \
        a container's seccomp profile must let io_uring_setup, _enter and _register pass"
    )]
    Missing,
    /// EINVAL.
    #[error(
        "this kernel's io_uring is too old: Linux 6.1 or newer is needed (uname -r shows \
        which runs)"
    )]
    Old,
    /// EPERM, and the sysctl says so.
    #[error(
        "io_uring is switched off by kernel.io_uring_disabled = {0}: set it to 0 with \
        `sysctl -w kernel.io_uring_disabled=0` (or, for 1, add this user's group to \
        kernel.io_uring_group)"
    )]
    Disabled(u8),
    /// EPERM, and the sysctl does not say so.
    #[error(
        "io_uring is forbidden to this process, most likely by seccomp: let io_uring_setup, \
        _enter and _register pass (docker: --security-opt seccomp=FILE; systemd: \
        SystemCallFilter=)"
    )]
    Forbidden,
    /// ENOMEM.
    #[error(
        "too little memory for io_uring: there is none, or too little may be locked ({kib} KiB; \
        `ulimit -l`, LimitMEMLOCK= in systemd)"
    )]
    Memlock {
        /// The limit in force.
        kib: u64,
    },
    /// Anything else.
    #[error("io_uring cannot be used: {0}")]
    Other(String),
}

/// Make a ring as a shard would, and drop it.
pub fn probe() -> Result<(), ProbeError> {
    let kib = getrlimit(Resource::Memlock).current.map_or(u64::MAX, |bytes| bytes / 1_024);
    Ring::<Tag>::new().map(drop).map_err(|error| explain(&error, disabled(), kib))
}

/// `kernel.io_uring_disabled`; 0 where there is no such knob.
fn disabled() -> u8 {
    let text = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
    text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

fn explain(error: &io::Error, disabled: u8, kib: u64) -> ProbeError {
    match error.raw_os_error() {
        Some(libc::ENOSYS) => ProbeError::Missing,
        Some(libc::EINVAL) => ProbeError::Old,
        Some(libc::EPERM | libc::EACCES) if disabled > 0 => ProbeError::Disabled(disabled),
        Some(libc::EPERM | libc::EACCES) => ProbeError::Forbidden,
        Some(libc::ENOMEM) => ProbeError::Memlock { kib },
        _ => ProbeError::Other(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_obstacle_has_its_own_remedy_in_one_line() {
        let explained = |errno, disabled| {
            explain(&io::Error::from_raw_os_error(errno), disabled, 64).to_string()
        };
        let cases = [
            (libc::ENOSYS, 0, "CONFIG_IO_URING"),
            (libc::EINVAL, 0, "6.1 or newer"),
            (libc::EPERM, 2, "sysctl -w kernel.io_uring_disabled=0"),
            (libc::EPERM, 0, "seccomp"),
            (libc::ENOMEM, 0, "64 KiB"),
            (libc::EMFILE, 0, "open files"),
        ];
        for (errno, disabled, remedy) in cases {
            let line = explained(errno, disabled);
            assert!(line.contains(remedy) && !line.contains('\n'), "{errno}: {line}");
        }
    }

    #[test]
    fn this_machine_passes() {
        assert_eq!(probe(), Ok(()));
    }
}
