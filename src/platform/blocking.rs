//! Do what would block a shard on a thread of its own: a closed list.
//!
//! Lanes. Changes to directories run one after another, so that what a shard asks for happens in
//! that order; reads from the disk do not wait behind them, and neither waits for the network.
//! Passwords are checked at a low priority, and no more of them wait than a bound; nor do clients'
//! recipients that are looked for on suppression lists.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::base::limits::{
    AUTH_CHECKS_MAX, AUTH_THREADS, POLICY_THREADS, SUPPRESSION_LOOKUPS_MAX, SUPPRESSION_THREADS,
};
use crate::platform::channels::Mailbox;
use crate::platform::event_log::{self, EventFile};
use crate::platform::gear::io_error;
use crate::platform::policies;
use crate::platform::segment_map::SegmentMap;
use crate::platform::spool_dir::{self, OpenSegment};
use crate::policy::credentials::Check;
use crate::policy::mta_sts::PolicyTrouble;
use crate::policy::suppression::{AllFound, Found, Lookup, Unreadable, run_all};
use crate::shard::platform::{ConnectionId, FetchedPolicy, IoError, PolicyRequest};
use crate::spool::segment::SegmentName;

/// Everything that blocks.
#[derive(Debug)]
pub(super) enum Job {
    /// Make a segment, or take a spare one.
    CreateSegment { spool: PathBuf, segment: SegmentName, bytes: u32, keep_free: u64 },
    /// Open a segment of an earlier run, and read what a start reads of it.
    OpenSegment { spool: PathBuf, segment: SegmentName },
    /// Unlink a segment, or keep it as a spare where nobody reads it any more.
    RemoveSegment { spool: PathBuf, segment: SegmentName, map: Arc<SegmentMap> },
    /// Read a range of a segment from the disk.
    Populate { ticket: u64, map: Arc<SegmentMap>, offset: usize, bytes: usize },
    /// Find a policy on disk, or fetch it from the network.
    Policy { spool: PathBuf, ticket: u64, request: PolicyRequest },
    /// Check a client's password: it takes a CPU some time, on purpose.
    Verify { connection: ConnectionId, check: Check },
    /// Look for a recipient on suppression lists.
    LookUp { connection: ConnectionId, lookup: Lookup },
    /// The same for recipients of a message.
    LookUpAll { ticket: u64, lookups: Vec<(u16, Lookup)> },
    /// Begin an event file, and remove the oldest ones.
    OpenEvents(EventFile),
}

/// What a job came to; those that nobody waits for are not told.
#[derive(Debug)]
pub(super) enum Finished {
    /// See [`Job::CreateSegment`].
    Segment { segment: SegmentName, result: Result<OpenSegment, IoError> },
    /// See [`Job::OpenSegment`].
    Opened { segment: SegmentName, result: Result<OpenSegment, IoError> },
    /// See [`Job::Populate`]; what cannot be read shows when it is touched.
    Populated { ticket: u64 },
    /// See [`Job::Policy`].
    Policy { ticket: u64, result: Result<FetchedPolicy, PolicyTrouble> },
    /// See [`Job::Verify`].
    Verified { connection: ConnectionId, right: bool },
    /// See [`Job::LookUp`].
    LookedUp { connection: ConnectionId, found: Found },
    /// See [`Job::LookUpAll`].
    AllLookedUp { ticket: u64, found: AllFound },
    /// See [`Job::OpenEvents`].
    Events { result: Result<OwnedFd, IoError> },
}

/// A shard's way to the threads; the last one that is dropped ends them.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    lanes: Arc<Lanes>,
}

#[derive(Debug)]
struct Lanes {
    directories: Lane,
    reads: Lane,
    /// The network may take its time: one host that is slow keeps few others waiting.
    network: Lane,
    passwords: Lane,
    lookups: Lane,
}

impl Pool {
    /// Start the threads.
    pub(super) fn start() -> std::io::Result<Self> {
        let directories = Lane::start("spool", 1)?;
        let reads = Lane::start("populate", 1)?;
        let network = Lane::start("policies", POLICY_THREADS)?;
        let passwords = Lane::start("passwords", AUTH_THREADS)?;
        let lookups = Lane::start("suppressed", SUPPRESSION_THREADS)?;
        let lanes = Lanes { directories, reads, network, passwords, lookups };
        Ok(Self { lanes: Arc::new(lanes) })
    }

    /// Run `job`; what it comes to arrives in `mailbox`.
    pub(super) fn submit(&self, job: Job, mailbox: &Arc<Mailbox>) {
        let lane = match job {
            Job::CreateSegment { .. } | Job::RemoveSegment { .. } | Job::OpenEvents(_) => {
                &self.lanes.directories
            }
            Job::Populate { .. } | Job::OpenSegment { .. } => &self.lanes.reads,
            Job::Policy { .. } => &self.lanes.network,
            Job::Verify { .. } => &self.lanes.passwords,
            Job::LookUp { .. } | Job::LookUpAll { .. } => &self.lanes.lookups,
        };
        lane.submit(Some((job, Arc::clone(mailbox))));
    }

    /// Whether another password may wait to be checked. Shards that ask at the same time may all be
    /// told yes: then as many more wait.
    pub(super) fn has_room_for_passwords(&self) -> bool {
        self.lanes.passwords.waiting() < AUTH_CHECKS_MAX
    }

    /// Whether another recipient may wait to be looked up, as above.
    pub(super) fn has_room_for_lookups(&self) -> bool {
        self.lanes.lookups.waiting() < SUPPRESSION_LOOKUPS_MAX
    }
}

/// Threads and what waits for them; they end when the lane is dropped and nothing waits.
#[derive(Debug)]
struct Lane {
    line: Arc<Line>,
    threads: Vec<JoinHandle<()>>,
}

/// A job and who asked for it; `None` ends the thread that takes it.
#[derive(Debug)]
struct Entry(Option<(Job, Arc<Mailbox>)>);

#[derive(Debug, Default)]
struct Line {
    waiting: Mutex<VecDeque<Entry>>,
    changed: Condvar,
}

impl Lane {
    fn start(name: &str, threads: usize) -> std::io::Result<Self> {
        let mut lane = Self { line: Arc::default(), threads: Vec::new() };
        for _ in 0..threads {
            let work = Arc::clone(&lane.line);
            let builder = std::thread::Builder::new().name(name.to_owned());
            lane.threads.push(builder.spawn(move || {
                while let Some((job, mailbox)) = work.take() {
                    if let Some(finished) = run(job) {
                        mailbox.finish(finished);
                    }
                }
            })?);
        }
        Ok(lane)
    }

    fn waiting(&self) -> usize {
        self.line.waiting.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// `None` is the end: nothing is taken after it.
    fn submit(&self, job: Option<(Job, Arc<Mailbox>)>) {
        // A panic while the lock is held is impossible but for memory; the line is whole anyway.
        self.line.waiting.lock().unwrap_or_else(PoisonError::into_inner).push_back(Entry(job));
        self.line.changed.notify_one();
    }
}

impl Line {
    fn take(&self) -> Option<(Job, Arc<Mailbox>)> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = self.changed.wait_while(waiting, |waiting| waiting.is_empty());
        waiting.unwrap_or_else(PoisonError::into_inner).pop_front()?.0
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.threads.iter().for_each(|_| self.submit(None));
        for thread in self.threads.drain(..) {
            // Its panic was printed when it happened.
            let _ = thread.join();
        }
    }
}

fn run(job: Job) -> Option<Finished> {
    match job {
        Job::CreateSegment { spool, segment, bytes, keep_free } => {
            let result = spool_dir::create(&spool, segment, bytes, keep_free);
            let result = result.map_err(|e| io_error(&e));
            Some(Finished::Segment { segment, result })
        }
        Job::OpenSegment { spool, segment } => {
            let result = spool_dir::reopen(&spool, segment).map_err(|e| io_error(&e));
            Some(Finished::Opened { segment, result })
        }
        Job::RemoveSegment { spool, segment, map } => {
            if let Err(error) = spool_dir::remove(&spool, segment, map) {
                // It holds nothing live: the next start finds and removes it.
                tracing::warn!(%segment, %error, "cannot remove a segment");
            }
            None
        }
        Job::Populate { ticket, map, offset, bytes } => {
            if let Err(error) = map.populate(offset, bytes) {
                tracing::warn!(%error, "cannot read a range of a segment ahead");
            }
            Some(Finished::Populated { ticket })
        }
        Job::Policy { spool, ticket, request } => {
            let result = policies::obtain(&spool, &request);
            Some(Finished::Policy { ticket, result })
        }
        Job::Verify { connection, check } => {
            make_way();
            Some(Finished::Verified { connection, right: check.run() })
        }
        Job::LookUp { connection, lookup } => {
            Some(Finished::LookedUp { connection, found: caught(|| lookup.run()) })
        }
        Job::LookUpAll { ticket, lookups } => {
            Some(Finished::AllLookedUp { ticket, found: caught(|| run_all(&lookups)) })
        }
        Job::OpenEvents(file) => {
            let result = event_log::open(&file).map_err(|error| io_error(&error));
            Some(Finished::Events { result })
        }
    }
}

/// A store that panics costs a client its recipient, or a message time, and nobody the thread.
fn caught<T>(look_up: impl FnOnce() -> Result<T, Unreadable>) -> Result<T, Unreadable> {
    let found = catch_unwind(AssertUnwindSafe(look_up));
    found.unwrap_or_else(|_| Err(Unreadable("it panicked".to_owned())))
}

/// Let shards go first on this thread's CPU. Where the kernel will not have it, that is all that is
/// lost.
fn make_way() {
    let _ = rustix::process::setpriority_process(None, 10);
}
