//! Commit to a shard's segments: write and sync through the ring, then say so.
//!
//! In: buffers and where they go. Out: `Committed` once all of them are synced, or the first
//! failure. Invariant: one commit under way a directory; a failed sync is reported, never repeated
//! (the pages are gone). Blocking work (create, remove, populate) goes to `blocking.rs`.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::platform::blocking::{Job, Pool};
use crate::platform::channels::Mailbox;
use crate::platform::gear::{Gear, Notice, Tag};
use crate::platform::ring::{Completion, Kept};
use crate::platform::sabotage::{ACKNOWLEDGES_BEFORE_SYNC, Held, HeldBack};
use crate::platform::segment_map::SegmentMap;
use crate::platform::spool_dir::OpenSegment;
use crate::shard::platform::{IoError, PolicyRequest};
use crate::spool::segment::{SegmentBytes, SegmentName};

#[derive(Debug)]
struct Segment {
    file: OwnedFd,
    map: Arc<SegmentMap>,
    commit: Option<Commit>,
    /// To be removed once the commit is over.
    doomed: bool,
}

#[derive(Debug)]
struct Commit {
    /// Where the first octet goes.
    offset: u64,
    total: usize,
    /// Written and synced.
    done: usize,
}

/// The segments that a shard appends to, commits to and reads ahead.
#[derive(Debug)]
pub(super) struct Disk {
    spool: PathBuf,
    segments: HashMap<SegmentName, Segment>,
    pool: Pool,
    mailbox: Arc<Mailbox>,
    held_back: HeldBack,
}

impl Disk {
    /// A shard's part of `spool`, in which nothing is open yet.
    pub(super) fn new(spool: PathBuf, pool: Pool, mailbox: Arc<Mailbox>) -> Self {
        Self { spool, segments: HashMap::new(), pool, mailbox, held_back: HeldBack::default() }
    }

    /// See `Platform::open_segment`.
    pub(super) fn open(&self, segment: SegmentName) {
        self.submit(Job::OpenSegment { spool: self.spool.clone(), segment });
    }

    /// A segment was opened, or not.
    pub(super) fn opened(
        &mut self,
        segment: SegmentName,
        result: Result<OpenSegment, IoError>,
        gear: &mut Gear,
    ) {
        let result = result.map(|open| self.keep(segment, open));
        gear.notices.push_back(Notice::SegmentOpened { segment, result });
    }

    /// See `Platform::fetch_policy`.
    pub(super) fn fetch_policy(&self, ticket: u64, request: PolicyRequest) {
        self.submit(Job::Policy { spool: self.spool.clone(), ticket, request });
    }

    /// See `Platform::create_segment`.
    pub(super) fn create(&self, segment: SegmentName, bytes: u32, keep_free: u64) {
        let spool = self.spool.clone();
        self.submit(Job::CreateSegment { spool, segment, bytes, keep_free });
    }

    /// A segment was made, or not.
    pub(super) fn created(
        &mut self,
        segment: SegmentName,
        result: Result<OpenSegment, IoError>,
        gear: &mut Gear,
    ) {
        let result = result.map(|open| self.keep(segment, open));
        gear.notices.push_back(Notice::SegmentReady { segment, result });
    }

    fn keep(&mut self, name: SegmentName, open: OpenSegment) -> Arc<dyn SegmentBytes> {
        let map = Arc::clone(&open.map);
        let file = OwnedFd::from(open.file);
        let segment = Segment { file, map: open.map, commit: None, doomed: false };
        self.segments.insert(name, segment);
        map
    }

    /// See `Platform::remove_segment`.
    pub(super) fn remove(&mut self, name: SegmentName, gear: &mut Gear) {
        let Some(segment) = self.segments.get_mut(&name) else { return };
        if segment.commit.is_some() {
            segment.doomed = true;
            return;
        }
        if let Some(Segment { file, map, .. }) = self.segments.remove(&name) {
            gear.ring.close(file, Tag::Nobody);
            self.submit(Job::RemoveSegment { spool: self.spool.clone(), segment: name, map });
        }
    }

    /// See `Platform::populate`.
    pub(super) fn populate(
        &self,
        ticket: u64,
        segment: SegmentName,
        (offset, bytes): (u32, u32),
        gear: &mut Gear,
    ) {
        match self.segments.get(&segment) {
            Some(segment) => {
                let map = Arc::clone(&segment.map);
                let (offset, bytes) = (offset as usize, bytes as usize);
                self.submit(Job::Populate { ticket, map, offset, bytes });
            }
            None => gear.notices.push_back(Notice::Populated { ticket }),
        }
    }

    fn submit(&self, job: Job) {
        self.pool.submit(job, &self.mailbox);
    }

    /// See `Platform::commit`.
    pub(super) fn commit(
        &mut self,
        name: SegmentName,
        offset: u32,
        buffers: Vec<Arc<Vec<u8>>>,
        gear: &mut Gear,
    ) {
        let total: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        let Some(segment) = self.segments.get_mut(&name) else {
            return committed(name, Err(IoError { errno: libc::ENOENT }), gear);
        };
        assert!(segment.commit.is_none(), "two commits of {name} under way");
        // A write past the end would lengthen the file, and the mapping would not show it.
        if offset as usize + total > segment.map.bytes().len() {
            return committed(name, Err(IoError { errno: libc::EFBIG }), gear);
        }
        let offset = u64::from(offset);
        if ACKNOWLEDGES_BEFORE_SYNC {
            return self.pretend(Held { segment: name, offset, buffers }, gear);
        }
        segment.commit = Some(Commit { offset, total, done: 0 });
        write_on(name, segment, buffers, gear);
    }

    /// Say that it is committed, and write it, or another one: see `sabotage.rs`.
    fn pretend(&mut self, held: Held, gear: &mut Gear) {
        let Some(held) = self.held_back.offer(held) else { return };
        committed(held.segment, Ok(()), gear);
        if let Some(Held { segment: name, offset, buffers }) = self.held_back.exchange(held)
            && let Some(segment) = self.segments.get(&name)
        {
            let file = segment.file.as_fd();
            gear.ring.write_gathered(file, offset, (buffers, 0), Tag::Write(name));
        }
    }

    /// The write of a commit came to its end, and with it the sync.
    pub(super) fn written(
        &mut self,
        name: SegmentName,
        completion: Completion<Tag>,
        gear: &mut Gear,
    ) {
        let Kept::Gathered(gathered) = completion.kept else {
            unreachable!("a gathered write keeps its buffers")
        };
        if let Some(held) = self.held_back.written() {
            self.pretend(held, gear);
        }
        let Some(segment) = self.segments.get_mut(&name) else { return };
        let Some(commit) = &mut segment.commit else { return };
        let result = match completion.result {
            Ok(0) if commit.total > 0 => Err(IoError { errno: libc::EIO }),
            Err(error) => Err(error),
            Ok(count) => {
                commit.done += count as usize;
                if commit.done < commit.total {
                    return write_on(name, segment, gathered.buffers, gear);
                }
                Ok(())
            }
        };
        segment.commit = None;
        let doomed = segment.doomed;
        committed(name, result, gear);
        if doomed {
            self.remove(name, gear);
        }
    }
}

/// Write and sync what is left of the commit.
fn write_on(name: SegmentName, segment: &mut Segment, buffers: Vec<Arc<Vec<u8>>>, gear: &mut Gear) {
    let Some(commit) = &segment.commit else { return };
    let offset = commit.offset + commit.done as u64;
    let what = (buffers, commit.done);
    gear.ring.write_gathered(segment.file.as_fd(), offset, what, Tag::Write(name));
}

fn committed(segment: SegmentName, result: Result<(), IoError>, gear: &mut Gear) {
    gear.notices.push_back(Notice::Committed { segment, result });
}
