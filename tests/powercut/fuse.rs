//! Serve one file by the kernel's FUSE protocol, request by request, in the order they come.
//!
//! Requests and replies are those of `linux/fuse.h`, version 7.31, in native byte order. There is
//! no directory: the file is the root of its mount, and is mounted on a file.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;

/// What stands behind the file.
pub(crate) trait Store: Send + 'static {
    /// Octets.
    fn size(&self) -> u64;
    fn read(&mut self, offset: u64, into: &mut [u8]);
    fn write(&mut self, offset: u64, octets: &[u8]);
    fn sync(&mut self);
}

const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const READ: u32 = 15;
const WRITE: u32 = 16;
const STATFS: u32 = 17;
const RELEASE: u32 = 18;
const FSYNC: u32 = 20;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const INTERRUPT: u32 = 36;
const DESTROY: u32 = 38;
const BATCH_FORGET: u32 = 42;

const IN_HEADER: usize = 40;
const WRITE_IN: usize = 40;
/// Octets of a write, at most.
const WRITE_BYTES: usize = 1 << 20;
/// `FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_ASYNC_DIO | FUSE_MAX_PAGES`.
const FLAGS: u32 = 1 | 1 << 5 | 1 << 15 | 1 << 22;
/// Past the page cache: what is written comes here at once.
const FOPEN_DIRECT_IO: u32 = 1;
const REGULAR_FILE: u32 = 0o100_600;

/// Mount `store` on the file `path`, until it is unmounted; then the thread ends.
pub(crate) fn mount(path: &Path, store: impl Store) -> JoinHandle<()> {
    let device = OpenOptions::new().read(true).write(true).open("/dev/fuse").unwrap();
    let status = Command::new("mount")
        .args(["-i", "-t", "fuse", "-o", "fd=0,rootmode=100000,user_id=0,group_id=0"])
        .arg("powercut")
        .arg(path)
        .stdin(Stdio::from(device.try_clone().unwrap()))
        .status()
        .unwrap();
    assert!(status.success(), "cannot mount on {}: {status}", path.display());
    std::thread::spawn(move || serve(device, store))
}

fn serve(mut device: File, mut store: impl Store) {
    let mut request = vec![0; WRITE_BYTES + 4_096];
    loop {
        let count = match device.read(&mut request) {
            Ok(count) => count,
            // Taken back before it was read.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            // Unmounted.
            Err(_) => return,
        };
        let request = &request[..count];
        let (operation, unique) = (u32_at(request, 4), u64_at(request, 8));
        if let Some(answer) = answer(operation, &request[IN_HEADER..], &mut store) {
            let (error, body) = match answer {
                Ok(body) => (0, body),
                Err(errno) => (-errno, Vec::new()),
            };
            let mut reply = Vec::with_capacity(16 + body.len());
            put(&mut reply, &[16 + body.len() as u32, error as u32]);
            reply.extend_from_slice(&unique.to_ne_bytes());
            reply.extend_from_slice(&body);
            // Who asked may be gone.
            drop(device.write(&reply));
        }
    }
}

/// The reply, where there is to be one.
fn answer(operation: u32, body: &[u8], store: &mut impl Store) -> Option<Result<Vec<u8>, i32>> {
    let mut out = Vec::new();
    match operation {
        FORGET | BATCH_FORGET | INTERRUPT => return None,
        INIT => {
            let (readahead, wanted) = (u32_at(body, 8), u32_at(body, 12));
            // Background requests 12 and congestion at 9, as two halves of a word.
            put(&mut out, &[7, 31, readahead, wanted & FLAGS, 9 << 16 | 12, WRITE_BYTES as u32, 1]);
            put(&mut out, &[(WRITE_BYTES / 4_096) as u32]);
            out.resize(64, 0);
        }
        GETATTR => {
            out.resize(16, 0);
            for wide in [1, store.size(), store.size() / 512, 0, 0, 0] {
                out.extend_from_slice(&wide.to_ne_bytes());
            }
            put(&mut out, &[0, 0, 0, REGULAR_FILE, 1, 0, 0, 0, 4_096, 0]);
        }
        OPEN => put(&mut out, &[0, 0, FOPEN_DIRECT_IO, 0]),
        READ => {
            let offset = u64_at(body, 8);
            let count = u64::from(u32_at(body, 16)).min(store.size().saturating_sub(offset));
            out.resize(count as usize, 0);
            store.read(offset, &mut out);
        }
        WRITE => {
            let (offset, count) = (u64_at(body, 8), u32_at(body, 16));
            store.write(offset, &body[WRITE_IN..WRITE_IN + count as usize]);
            put(&mut out, &[count, 0]);
        }
        FSYNC => store.sync(),
        STATFS => out.resize(80, 0),
        RELEASE | FLUSH | DESTROY => {}
        _ => return Some(Err(rustix::io::Errno::NOSYS.raw_os_error())),
    }
    Some(Ok(out))
}

fn put(out: &mut Vec<u8>, words: &[u32]) {
    words.iter().for_each(|word| out.extend_from_slice(&word.to_ne_bytes()));
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_ne_bytes(bytes[offset..offset + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_ne_bytes(bytes[offset..offset + 8].try_into().unwrap())
}
