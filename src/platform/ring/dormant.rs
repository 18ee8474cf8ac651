//! A ring that is made before its thread is, and that never does more than a shard asks of it.
//!
//! It is made while rings may still be made: seccomp denies that to a process that is confined. The
//! kernel keeps the list of what it may do from then on, so that whoever takes over a shard cannot
//! use its ring to get round the filter of system calls: no socket of another family, no file
//! opened, no program's other way in, and nothing registered.
//!
//! Lives on: the main thread, until its shard's thread wakes it.

use std::io;

use io_uring::register::Restriction;
use io_uring::{IoUring, opcode, squeue};

use crate::base::limits::{RING_COMPLETIONS, RING_SUBMISSIONS};

/// All operations that `ring.rs` asks for.
const OPERATIONS: [u8; 9] = [
    opcode::Accept::CODE,
    opcode::AsyncCancel::CODE,
    opcode::Close::CODE,
    opcode::Connect::CODE,
    opcode::Read::CODE,
    opcode::Recv::CODE,
    opcode::Send::CODE,
    opcode::Write::CODE,
    opcode::Writev::CODE,
];

/// A ring that takes nothing yet.
pub(in crate::platform) struct DormantRing {
    pub(super) uring: IoUring,
}

impl DormantRing {
    /// Ask the kernel for one; the thread that wakes it is the one that it belongs to.
    pub(in crate::platform) fn new() -> io::Result<Self> {
        let uring: IoUring = IoUring::builder()
            .setup_r_disabled()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(RING_COMPLETIONS)
            .build(RING_SUBMISSIONS)?;
        let mut allowed: Vec<_> = OPERATIONS.into_iter().map(Restriction::sqe_op).collect();
        // Receives take the kernel's choice of buffer.
        allowed.push(Restriction::sqe_flags_allowed(squeue::Flags::BUFFER_SELECT.bits()));
        uring.submitter().register_restrictions(&mut allowed)?;
        Ok(Self { uring })
    }
}

impl std::fmt::Debug for DormantRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DormantRing").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;

    use io_uring::types;

    use crate::platform::ring::{Kept, Ring, Wait};
    use crate::shard::platform::IoError;

    use super::*;

    #[test]
    fn what_no_shard_asks_for_is_refused() {
        let (mut ring, _buffers) = Ring::new().unwrap();
        let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let fd = types::Fd(socket.as_raw_fd());
        let refused = [
            opcode::Nop::new().build(),
            opcode::Socket::new(libc::AF_ALG, libc::SOCK_SEQPACKET, 0).build(),
            opcode::Shutdown::new(fd, libc::SHUT_RDWR).build(),
            opcode::Close::new(fd).build().flags(squeue::Flags::ASYNC),
        ];
        let count = refused.len();
        for entry in refused {
            ring.start(entry, (), Kept::Nothing);
        }
        let wait = Wait { longest: None, batch: 1, patience: std::time::Duration::ZERO };
        let mut completed = Vec::new();
        while completed.len() < count {
            ring.enter_and_wait(wait).unwrap();
            ring.reap(&mut completed);
        }
        for completion in completed {
            assert_eq!(completion.result, Err(IoError { errno: libc::EACCES }));
        }
        let registered = ring.uring.submitter().register_files(&[socket.as_raw_fd()]);
        assert_eq!(registered.unwrap_err().raw_os_error(), Some(libc::EACCES));
    }
}
