//! Own every byte that the kernel may touch through one io_uring, until it has let go.
//!
//! In: what to do, with the buffers it needs. Out: [`Completion`]s that hand the buffers back.
//! Invariant: a buffer's memory lives in `operations` from submission until the completion that
//! says no more follows; whoever asked may be gone by then. So a disconnect frees nothing that the
//! kernel still writes to, and `outstanding() == 0` proves that nothing is leaked.
//! Lives on: the shard's thread, which alone submits (SINGLE_ISSUER).
//!
//! All unsafe of the network and of writes is here; none of it is reachable through a safe misuse.
#![expect(unsafe_code, reason = "the kernel's interface is raw pointers; here they meet owners")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use memmap2::MmapMut;
use socket2::SockAddr;

use crate::base::limits::{
    HEAP_RETURNED_MIN, RECEIVE_BUFFER_BYTES, RECEIVE_BUFFERS, RING_QUIESCE_MAX, SLEEP_MAX,
};
use crate::base::slots::{Slot, Slots};
use crate::platform::clock;
use crate::platform::ring::forms::slices_after;
use crate::shard::platform::IoError;

mod dormant;
mod forms;

pub(super) use dormant::DormantRing;

/// An operation under way, to cancel it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OperationId(Slot);

/// What came of an operation. `T` is what the asker gave to know it by.
#[derive(Debug)]
pub(super) struct Completion<T> {
    /// As given with the operation.
    pub(super) tag: T,
    /// The kernel's count, or its error.
    pub(super) result: Result<u32, IoError>,
    /// Whether further completions of this operation follow.
    pub(super) more: bool,
    /// The receive buffer that was filled, to be given back.
    pub(super) buffer: Option<BufferToken>,
    /// The socket that was accepted.
    pub(super) socket: Option<OwnedFd>,
    /// What the operation held.
    pub(super) kept: Kept,
}

/// Memory that an operation holds for the kernel.
#[derive(Debug)]
pub(super) enum Kept {
    /// Nothing but the ring's own.
    Nothing,
    /// Nothing; what the kernel counts are new sockets.
    Accepting,
    /// Bytes being sent or written.
    Bytes(Vec<u8>),
    /// Where to connect.
    Address(#[expect(dead_code, reason = "held for the kernel")] Box<SockAddr>),
    /// Buffers being written one after another.
    Gathered(Gathered),
}

/// Buffers and the list of slices into them that the kernel reads.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) buffers: Vec<Arc<Vec<u8>>>,
    #[expect(dead_code, reason = "held for the kernel")]
    slices: Box<[libc::iovec]>,
}

#[derive(Debug)]
struct Operation<T> {
    tag: T,
    kept: Kept,
}

/// One io_uring with its operations and receive buffers.
pub(super) struct Ring<T: Copy> {
    // Dropped first: the kernel unmaps and forgets before the memory below goes.
    uring: IoUring,
    operations: Slots<Operation<T>>,
    memory: Rc<ReceiveMemory>,
    /// Completions that had to be taken while the submission queue was full.
    early: Vec<cqueue::Entry>,
    enters: u64,
    /// The kernel can wait for a batch, with a bound on how long (Linux 6.12).
    gathers: bool,
    behind: bool,
}

/// How long to wait for completions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    /// At most so long; for ever if none.
    pub(super) longest: Option<Duration>,
    /// So many completions are worth waiting for ...
    pub(super) batch: usize,
    /// ... as long as this; one is enough after that.
    pub(super) patience: Duration,
}

const RECEIVE_GROUP: u16 = 0;

impl<T: Copy> Ring<T> {
    /// A ring of this thread, and the buffers that its receives fill.
    pub(super) fn new() -> io::Result<(Self, ReceiveBuffers)> {
        Self::wake(DormantRing::new()?)
    }

    /// As `new`, of a ring that was made before.
    pub(super) fn wake(dormant: DormantRing) -> io::Result<(Self, ReceiveBuffers)> {
        let DormantRing { uring } = dormant;
        let memory = Rc::new(ReceiveMemory::new()?);
        let entries = memory.entries as u64;
        // SAFETY: the entries are page-aligned, initialized and live as long as `uring`: `Ring`
        // drops `uring` before its share of `memory`, and leaks the memory if the kernel is late.
        unsafe {
            uring.submitter().register_buf_ring_with_flags(
                entries,
                RECEIVE_BUFFERS,
                RECEIVE_GROUP,
                0,
            )?;
        }
        // From here on its restrictions hold, and no other thread submits.
        uring.submitter().register_enable_rings()?;
        let mut buffers = ReceiveBuffers { memory: Rc::clone(&memory), tail: 0 };
        (0..RECEIVE_BUFFERS).for_each(|number| buffers.give_back(BufferToken(number)));
        let gathers = uring.params().is_feature_min_timeout();
        let (operations, early) = (Slots::default(), Vec::new());
        Ok((Self { uring, operations, memory, early, enters: 0, gathers, behind: false }, buffers))
    }

    /// Operations that the kernel has not completed.
    pub(super) fn outstanding(&self) -> usize {
        self.operations.len()
    }

    /// Times that the kernel was entered.
    pub(super) fn enters(&self) -> u64 {
        self.enters
    }

    /// Accept on `listener` again and again.
    pub(super) fn accept(&mut self, listener: BorrowedFd<'_>, tag: T) -> OperationId {
        let entry = opcode::AcceptMulti::new(types::Fd(listener.as_raw_fd()))
            .flags(libc::SOCK_CLOEXEC)
            .build();
        self.start(entry, tag, Kept::Accepting)
    }

    /// Receive from `socket` again and again, each time into a receive buffer; 0 is the end.
    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>, tag: T) -> OperationId {
        let entry = opcode::RecvMulti::new(types::Fd(socket.as_raw_fd()), RECEIVE_GROUP).build();
        self.start(entry, tag, Kept::Nothing)
    }

    /// Receive from `socket` once, into one receive buffer; 0 is the end.
    pub(super) fn receive_once(&mut self, socket: BorrowedFd<'_>, tag: T) -> OperationId {
        // The buffer, and so its length, is the kernel's choice: none is pointed to.
        let entry = opcode::Recv::new(types::Fd(socket.as_raw_fd()), std::ptr::null_mut(), 0);
        let entry = entry.buf_group(RECEIVE_GROUP).build().flags(squeue::Flags::BUFFER_SELECT);
        self.start(entry, tag, Kept::Nothing)
    }

    /// Send `bytes` from place `from` on; the count is short only where the connection broke.
    pub(super) fn send(&mut self, socket: BorrowedFd<'_>, bytes: Vec<u8>, from: usize, tag: T) {
        let rest = &bytes[from..];
        let length = u32::try_from(rest.len()).expect("a send is bounded far below 4 GiB");
        let entry = opcode::Send::new(types::Fd(socket.as_raw_fd()), rest.as_ptr(), length)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build();
        self.start(entry, tag, Kept::Bytes(bytes));
    }

    /// Connect `socket` to `peer`.
    pub(super) fn connect(&mut self, socket: BorrowedFd<'_>, peer: SockAddr, tag: T) {
        let peer = Box::new(peer);
        let fd = types::Fd(socket.as_raw_fd());
        let entry = opcode::Connect::new(fd, peer.as_ptr().cast(), peer.len()).build();
        self.start(entry, tag, Kept::Address(peer));
    }

    /// Close `fd` after all that was asked of it before has been submitted.
    pub(super) fn close(&mut self, fd: OwnedFd, tag: T) {
        let entry = opcode::Close::new(types::Fd(fd.into_raw_fd())).build();
        self.start(entry, tag, Kept::Nothing);
    }

    /// Write `bytes` from place `from` on at `offset`; the count may be short.
    pub(super) fn write(
        &mut self,
        file: BorrowedFd<'_>,
        offset: u64,
        bytes: Vec<u8>,
        from: usize,
        tag: T,
    ) {
        let rest = &bytes[from..];
        let length = u32::try_from(rest.len()).expect("a write is bounded far below 4 GiB");
        let entry = opcode::Write::new(types::Fd(file.as_raw_fd()), rest.as_ptr(), length)
            .offset(offset)
            .build();
        self.start(entry, tag, Kept::Bytes(bytes));
    }

    /// Write `buffers`, less their first `skip` octets, at `offset`. What was written is on stable
    /// storage when this completes; the count may be short.
    pub(super) fn write_gathered(
        &mut self,
        file: BorrowedFd<'_>,
        offset: u64,
        (buffers, skip): (Vec<Arc<Vec<u8>>>, usize),
        tag: T,
    ) {
        let slices = slices_after(&buffers, skip);
        let count = u32::try_from(slices.len()).expect("at most WRITE_SLICES_MAX");
        let entry = opcode::Writev::new(types::Fd(file.as_raw_fd()), slices.as_ptr(), count)
            .offset(offset)
            .rw_flags(libc::RWF_DSYNC)
            .build();
        self.start(entry, tag, Kept::Gathered(Gathered { buffers, slices }));
    }

    /// Read what there is in `file` now, or comes to be there, into `bytes`, as much as has room.
    pub(super) fn read(&mut self, file: BorrowedFd<'_>, mut bytes: Vec<u8>, tag: T) -> OperationId {
        let length = u32::try_from(bytes.len()).expect("a read is bounded far below 4 GiB");
        let entry = opcode::Read::new(types::Fd(file.as_raw_fd()), bytes.as_mut_ptr(), length)
            .offset(u64::MAX)
            .build();
        self.start(entry, tag, Kept::Bytes(bytes))
    }

    /// Ask for the end of one operation: its last completion comes all the same.
    pub(super) fn cancel(&mut self, operation: OperationId, tag: T) {
        let entry = opcode::AsyncCancel::new(operation.0.to_bits()).build();
        self.start(entry, tag, Kept::Nothing);
    }

    /// Ask for the end of all operations on `fd` that were submitted before.
    pub(super) fn cancel_all_of(&mut self, fd: BorrowedFd<'_>, tag: T) {
        let which = types::CancelBuilder::fd(types::Fd(fd.as_raw_fd())).all();
        self.start(opcode::AsyncCancel2::new(which).build(), tag, Kept::Nothing);
    }

    /// Whether the kernel refused the last call: what was asked waits for the next one.
    pub(super) fn is_behind(&self) -> bool {
        self.behind
    }

    /// Submit all that was asked and let the kernel post what is complete; never waits. What the
    /// kernel does not take is submitted by the next call.
    pub(super) fn enter(&mut self) -> io::Result<()> {
        self.enter_with(0, &types::SubmitArgs::new())
    }

    /// As `enter`, but if nothing is complete wait until something is, or as long as `wait` lets.
    pub(super) fn enter_and_wait(&mut self, wait: Wait) -> io::Result<()> {
        if !self.early.is_empty() {
            return self.enter();
        }
        let longest = types::Timespec::from(wait.longest.unwrap_or(SLEEP_MAX));
        let arguments = types::SubmitArgs::new().timespec(&longest);
        if !self.gathers || wait.batch <= 1 {
            return self.enter_with(1, &arguments);
        }
        let patience = u32::try_from(wait.patience.as_micros()).unwrap_or(u32::MAX);
        self.enter_with(wait.batch, &arguments.min_wait_usec(patience))
    }

    fn enter_with(&mut self, want: usize, arguments: &types::SubmitArgs<'_, '_>) -> io::Result<()> {
        self.enters += 1;
        self.behind = false;
        // After a part of the submissions the kernel neither waits nor posts completions: it
        // returns, and the next call goes on.
        let Err(error) = self.uring.submitter().submit_with_args(want, arguments) else {
            return Ok(());
        };
        match error.raw_os_error() {
            // A signal, or the time is over.
            Some(libc::EINTR | libc::ETIME) => Ok(()),
            // The completion queue overflows or memory is short: reap, and come again.
            Some(libc::EBUSY | libc::EAGAIN) => {
                self.behind = true;
                Ok(())
            }
            _ => Err(error),
        }
    }

    /// Append to `into` what has completed.
    pub(super) fn reap(&mut self, into: &mut Vec<Completion<T>>) {
        let Self { uring, operations, early, .. } = self;
        let entries = early.drain(..).chain(uring.completion());
        into.extend(entries.map(|entry| completion(operations, &entry)));
    }

    /// Keep `kept` in `operations`, then queue `entry`, which points to nothing but `kept`.
    fn start(&mut self, entry: squeue::Entry, tag: T, kept: Kept) -> OperationId {
        self.make_room();
        let slot = self.operations.insert(Operation { tag, kept });
        let entry = entry.user_data(slot.to_bits());
        // SAFETY: what `entry` points to is on the heap and owned by the operation, which stays
        // in `operations` until its last completion; moving the owner does not move the heap.
        unsafe { self.uring.submission().push(&entry).expect("make_room made room") };
        OperationId(slot)
    }

    fn make_room(&mut self) {
        loop {
            let queue = self.uring.submission();
            if !queue.is_full() {
                return;
            }
            drop(queue);
            self.enter().expect("a ring that was entered before can be entered");
            // A backlog of completions can hold submissions up.
            self.early.extend(self.uring.completion());
        }
    }
}

fn completion<T: Copy>(
    operations: &mut Slots<Operation<T>>,
    entry: &cqueue::Entry,
) -> Completion<T> {
    let slot = Slot::from_bits(entry.user_data());
    let more = cqueue::more(entry.flags());
    let operation = operations.get(slot).expect("every completion is of an operation under way");
    let (tag, accepting) = (operation.tag, matches!(operation.kept, Kept::Accepting));
    let kept = match more {
        true => Kept::Nothing,
        false => operations.remove(slot).map_or(Kept::Nothing, |operation| operation.kept),
    };
    // SAFETY: the result of an accept is a socket that the kernel made for this completion, which
    // is taken from the queue once; nobody else owns it.
    let socket =
        (accepting && entry.result() >= 0).then(|| unsafe { OwnedFd::from_raw_fd(entry.result()) });
    let result = u32::try_from(entry.result()).map_err(|_| IoError { errno: -entry.result() });
    let buffer = cqueue::buffer_select(entry.flags()).map(BufferToken);
    Completion { tag, result, more, buffer, socket, kept }
}

impl<T: Copy> Drop for Ring<T> {
    /// Cancel what is under way and wait until the kernel has let go of every buffer.
    fn drop(&mut self) {
        let start = clock::now().mono;
        while !self.operations.is_empty() && clock::now().mono.since(start) < RING_QUIESCE_MAX {
            let any = opcode::AsyncCancel2::new(types::CancelBuilder::any()).build();
            // SAFETY: points to nothing; if the queue is full, the next round has room.
            let _ = unsafe { self.uring.submission().push(&any.user_data(NO_OPERATION)) };
            if self.uring.submit_and_wait(1).is_err() {
                break;
            }
            let Self { uring, operations, early, .. } = self;
            let ended = early.drain(..).chain(uring.completion());
            for entry in ended.filter(|entry| entry.user_data() != NO_OPERATION) {
                drop(completion(operations, &entry));
            }
        }
        if !self.operations.is_empty() {
            tracing::error!(operations = self.operations.len(), "the kernel holds on to buffers");
            std::mem::forget(std::mem::take(&mut self.operations));
            std::mem::forget(Rc::clone(&self.memory));
        }
    }
}

/// No slot: an index that a slab never reaches.
const NO_OPERATION: u64 = u64::MAX;

/// A receive buffer that the kernel has filled and will not touch until it is given back.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BufferToken(u16);

/// The buffers that receives are filled into, and the right to read those that are.
pub(super) struct ReceiveBuffers {
    memory: Rc<ReceiveMemory>,
    tail: u16,
}

impl ReceiveBuffers {
    /// The first `length` octets of a buffer that the kernel has filled.
    pub(super) fn bytes(&self, token: &BufferToken, length: usize) -> &[u8] {
        assert!(length <= RECEIVE_BUFFER_BYTES, "a receive of {length} octets");
        // SAFETY: the memory lives as long as `self`; a token exists only between the completion
        // that filled its buffer and `give_back`, which needs `&mut self` and so ends this loan.
        unsafe { std::slice::from_raw_parts(self.memory.buffer(token.0), length) }
    }

    /// Let the kernel fill the buffer again.
    pub(super) fn give_back(&mut self, token: BufferToken) {
        let mask = RECEIVE_BUFFERS - 1;
        // SAFETY: the index is below RECEIVE_BUFFERS, so inside the mapping; the kernel reads an
        // entry only after the tail below has passed it. It never writes to entries.
        unsafe {
            let entry = &mut *self.memory.entries.add(usize::from(self.tail & mask));
            entry.set_addr(self.memory.buffer(token.0) as u64);
            entry.set_len(u32::try_from(RECEIVE_BUFFER_BYTES).expect("small"));
            entry.set_bid(token.0);
        }
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: `tail` is the aligned field of the first entry that the kernel reads atomically.
        unsafe {
            let tail = types::BufRingEntry::tail(self.memory.entries).cast_mut();
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
        }
    }
}

/// The mapping: first the entries by which buffers are given to the kernel, then the buffers.
struct ReceiveMemory {
    entries: *mut types::BufRingEntry,
    buffers: *mut u8,
    /// Never touched but through the pointers above.
    _mapping: MmapMut,
}

const ENTRIES_BYTES: usize = RECEIVE_BUFFERS as usize * size_of::<types::BufRingEntry>();

impl ReceiveMemory {
    fn new() -> io::Result<Self> {
        let buffers = usize::from(RECEIVE_BUFFERS) * RECEIVE_BUFFER_BYTES;
        let mut mapping = MmapMut::map_anon(ENTRIES_BYTES + buffers)?;
        let start = mapping.as_mut_ptr();
        // SAFETY: ENTRIES_BYTES is inside the mapping, which is that much and the buffers.
        let buffers = unsafe { start.add(ENTRIES_BYTES) };
        // A mapping starts on a page, so an entry's alignment is met.
        Ok(Self { entries: start.cast(), buffers, _mapping: mapping })
    }

    fn buffer(&self, number: u16) -> *mut u8 {
        assert!(number < RECEIVE_BUFFERS, "receive buffer {number}");
        // SAFETY: below RECEIVE_BUFFERS, so inside the mapping.
        unsafe { self.buffers.add(usize::from(number) * RECEIVE_BUFFER_BYTES) }
    }
}

/// Let the heap give large buffers back to the kernel as soon as they are free: before threads
/// start. Content comes in such, and what a burst of it took would otherwise stay for good.
#[cfg(target_env = "gnu")]
pub(super) fn return_large_buffers() {
    // SAFETY: takes two numbers by value, and changes nothing but how the heap behaves.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, HEAP_RETURNED_MIN) };
}

/// Let `bind` to port 0 leave the port to `connect`, which can choose it by the whole four-tuple
/// (IP_BIND_ADDRESS_NO_PORT, ip(7)); for both families.
pub(super) fn choose_port_at_connect(socket: &impl AsFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    let length = libc::socklen_t::try_from(size_of_val(&on)).expect("four octets");
    // SAFETY: the option takes an int, which lives through the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            length,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
