//! Ask the machine what it is: its name, its CPUs, its addresses, where state belongs.

use std::env;
use std::net::IpAddr;
use std::path::PathBuf;

use rustix::thread::{CpuSet, sched_getaffinity};

use crate::config::flags::Machine;

/// This machine, as this process may use it.
pub fn machine() -> Machine {
    let uname = rustix::system::uname();
    Machine {
        hostname: uname.nodename().to_string_lossy().into_owned(),
        cpus: allowed_cpus().len().max(1),
        state_home: env::var_os("XDG_STATE_HOME").map(PathBuf::from),
        home: env::var_os("HOME").map(PathBuf::from),
    }
}

/// The addresses of this machine's interfaces; none where they cannot be told.
pub fn addresses() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    interfaces.iter().map(|interface| interface.ip()).collect()
}

/// What nobody can guess.
pub(super) fn seed() -> [u8; 32] {
    let mut seed = [0; 32];
    let filled = rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty());
    assert_eq!(filled, Ok(seed.len()), "the kernel's randomness comes whole up to 256 octets");
    seed
}

/// The CPUs that this process may run on.
pub(super) fn allowed_cpus() -> Vec<usize> {
    let Ok(mask) = sched_getaffinity(None) else { return Vec::new() };
    (0..CpuSet::MAX_CPU).filter(|cpu| mask.is_set(*cpu)).collect()
}
