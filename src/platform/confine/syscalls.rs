//! Deny the system calls that a relay never makes: those that run other programs, change what the
//! machine is, look into other processes, or load code into the kernel.
//!
//! A denied call gets EPERM. Processes are not split and get no namespaces: `clone` is for threads
//! alone, and `clone3`, whose arguments no filter sees, is as if the kernel did not have it: then
//! libraries use `clone`. Rings are made before this, and each may do what a shard does (see
//! `ring/dormant.rs`): nobody makes another.
//!
//! It is a list of what is denied, not of what is allowed: libraries and
//! kernels change what they call for the same end, and a relay that fails a year from now by a call
//! that nobody thought of loses more than it gains.

use std::collections::BTreeMap;
use std::env::consts::ARCH;

use libc::c_long;
use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter,
};

/// On every machine.
const DENIED: &[c_long] = &[
    // Other programs, and other processes.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_perf_event_open,
    // Rings that may do more than those that there are.
    libc::SYS_io_uring_setup,
    // Who and where this process is.
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_capset,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_chroot,
    libc::SYS_pivot_root,
    libc::SYS_personality,
    // File systems.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_mknodat,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    // The kernel, and its keys.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_bpf,
    libc::SYS_userfaultfd,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // Memory and queues that outlive a process, and messages in the kernel of any size.
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_msgget,
    libc::SYS_msgsnd,
    libc::SYS_semget,
    libc::SYS_mq_open,
    // The machine.
    libc::SYS_reboot,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_vhangup,
];

/// And on this one.
#[cfg(target_arch = "x86_64")]
const DENIED_HERE: &[c_long] = &[
    libc::SYS_kexec_file_load,
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_mknod,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
];
#[cfg(not(target_arch = "x86_64"))]
const DENIED_HERE: &[c_long] = &[];

/// The families of sockets that are made: Unix, IPv4, IPv6, and netlink, which tells addresses.
const FAMILIES: [libc::c_int; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// Deny them from now on; how many, or `None` where the kernel has no filters.
pub(super) fn deny() -> Result<Option<usize>, Error> {
    let Ok(target) = TargetArch::try_from(ARCH) else { return Ok(None) };
    let absent = ways_to(libc::SYS_clone3).map(|call| (call, Vec::new())).collect();
    for (rules, errno) in [(rules()?, libc::EPERM), (absent, libc::ENOSYS)] {
        let denied = SeccompAction::Errno(errno.cast_unsigned());
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, denied, target)?;
        let program: BpfProgram = filter.try_into()?;
        match apply_filter(&program) {
            Ok(()) => {}
            Err(Error::Seccomp(error)) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    // With `socket` and `clone`, and `clone3`.
    Ok(Some(DENIED.len() + DENIED_HERE.len() + 3))
}

/// Whether that is the answer of a kernel without filters.
fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL))
}

fn rules() -> Result<BTreeMap<i64, Vec<SeccompRule>>, Error> {
    let all = DENIED.iter().chain(DENIED_HERE).flat_map(|call| ways_to(*call));
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = all.map(|call| (call, Vec::new())).collect();
    for call in ways_to(libc::SYS_socket) {
        rules.insert(call, vec![SeccompRule::new(other_families()?)?]);
    }
    for call in ways_to(libc::SYS_clone) {
        rules.insert(call, vec![SeccompRule::new(vec![no_thread()?])?]);
    }
    Ok(rules)
}

/// The flags of `clone` ask for a process: such alone can be forked, or be in a namespace of users.
fn no_thread() -> Result<SeccompCondition, Error> {
    let thread = SeccompCmpOp::MaskedEq(u64::from(libc::CLONE_THREAD.cast_unsigned()));
    Ok(SeccompCondition::new(0, SeccompCmpArgLen::Dword, thread, 0)?)
}

/// None of [`FAMILIES`].
fn other_families() -> Result<Vec<SeccompCondition>, Error> {
    let is_not = |family: libc::c_int| {
        let family = u64::from(family.cast_unsigned());
        SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, family)
    };
    FAMILIES.into_iter().map(|family| is_not(family).map_err(Error::from)).collect()
}

/// The numbers that lead to a call: some kernels take those of the x32 ABI too.
#[cfg(target_arch = "x86_64")]
fn ways_to(call: c_long) -> impl Iterator<Item = i64> {
    const X32: c_long = 0x4000_0000;
    // These have numbers of their own there.
    let own = match call {
        libc::SYS_execve => Some(520),
        libc::SYS_ptrace => Some(521),
        libc::SYS_kexec_load => Some(528),
        libc::SYS_process_vm_readv => Some(539),
        libc::SYS_process_vm_writev => Some(540),
        libc::SYS_execveat => Some(545),
        _ => None,
    };
    [Some(call), Some(call | X32), own.map(|own| own | X32)].into_iter().flatten()
}

#[cfg(not(target_arch = "x86_64"))]
fn ways_to(call: c_long) -> impl Iterator<Item = i64> {
    std::iter::once(call)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::TcpListener;
    use std::process::Command;

    use socket2::{Domain, Socket, Type};

    use super::*;
    use crate::platform::probe::{ProbeError, probe};
    use crate::platform::ring::{DormantRing, Ring};

    #[test]
    fn each_is_denied_once_and_none_that_is_made() {
        let mut all: Vec<_> = DENIED.iter().chain(DENIED_HERE).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), DENIED.len() + DENIED_HERE.len());
        let made = [libc::SYS_io_uring_enter, libc::SYS_io_uring_register, libc::SYS_prctl];
        assert!(made.iter().all(|call| !all.contains(&call)));
    }

    #[test]
    fn a_filtered_thread_runs_nothing_and_works_on() {
        // A filter holds for the thread that takes it: the others of the harness stay as they are.
        let filtered = std::thread::spawn(|| {
            let ring = DormantRing::new().unwrap();
            assert!(deny().unwrap().is_some_and(|count| count > 50));
            assert!(Ring::<u8>::wake(ring).is_ok(), "it was made before");
            assert_eq!(probe(), Err(ProbeError::Forbidden));
            let refused = |error: io::Error| error.raw_os_error() == Some(libc::EPERM);
            assert!(Command::new("true").status().is_err());
            assert!(
                Socket::new(Domain::from(libc::AF_VSOCK), Type::STREAM, None).is_err_and(refused)
            );
            assert!(
                Socket::new(Domain::from(libc::AF_ALG), Type::SEQPACKET, None).is_err_and(refused)
            );
            assert!(TcpListener::bind("127.0.0.1:0").is_ok());
            assert!(Socket::new(Domain::UNIX, Type::STREAM, None).is_ok());
            assert!(if_addrs::get_if_addrs().is_ok());
            assert!(std::thread::spawn(|| Command::new("true").status()).join().unwrap().is_err());
        });
        filtered.join().unwrap();
        assert!(Command::new("true").status().is_ok());
    }
}
