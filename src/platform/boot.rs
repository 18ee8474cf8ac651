//! Bring the shards up, one thread each, pass signals on to them, and wait for their end.
//!
//! ```text
//! Node::prepare  io_uring? spool locked? ports free? each failure one line with its remedy
//! Node::run      N threads; SIGTERM or SIGINT drains, a second one leaves at once; SIGHUP reloads
//! ```

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use socket2::SockRef;
use tokio::sync::mpsc;

use crate::base::ids::ShardId;
use crate::base::limits::SHARDS_MAX;
use crate::base::time::Now;
use crate::outcome::event::sequence;
use crate::platform::blocking::Pool;
use crate::platform::channels::Posts;
use crate::platform::clock;
use crate::platform::drive::Drive;
use crate::platform::event_log::{self, EventLogOptions};
use crate::platform::kernel::Parts;
use crate::platform::listener::{self, BindError};
use crate::platform::machine;
use crate::platform::probe::{self, ProbeError};
use crate::platform::ring::{self, DormantRing};
use crate::platform::sabotage::{self, Sabotaged};
use crate::platform::segment_map;
use crate::platform::spool_dir::{self, Spool, SpoolError};
use crate::platform::spool_owner;
use crate::platform::supervise::{
    End, Occasion, Report, RunError, Signals, StartError, Supervisor, Wish,
};
use crate::platform::user::{User, UserError};
use crate::shard::platform::{Machine, PlatformCounters};
use crate::spool::segment::SegmentName;

/// What a node is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// Shards: 1 to `SHARDS_MAX`.
    pub shards: usize,
    /// Addresses to listen on; `Event::Accepted` counts in this order.
    pub listeners: Vec<SocketAddr>,
    /// The spool directory.
    pub spool: PathBuf,
    /// The event log's files.
    pub events: EventLogOptions,
    /// Whom to become once the addresses are bound, and before the spool is opened.
    pub user: Option<User>,
}

/// Why a node cannot start: one line, with what to do.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// A build that is made to lose mail.
    #[error(transparent)]
    Sabotaged(#[from] Sabotaged),
    /// io_uring is not ours to use.
    #[error(transparent)]
    Ring(#[from] ProbeError),
    /// The spool is not ours to use.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// It is not for us to be that user.
    #[error(transparent)]
    User(#[from] UserError),
    /// An address is not ours to listen on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Too few or too many shards.
    #[error("{0} shards: 1 to {SHARDS_MAX} are possible; choose with --cores")]
    Shards(usize),
    /// The kernel is out of something small.
    #[error("cannot start: {0}")]
    System(#[from] std::io::Error),
}

/// What a shard's machine is made from.
#[derive(Debug)]
pub struct ShardStart {
    /// Which it is.
    pub shard: ShardId,
    /// How many there are.
    pub shards: usize,
    /// Both clocks.
    pub now: Now,
    /// Randomness from the kernel.
    pub seed: [u8; 32],
    /// The spool directories that are this shard's, in order: its own (of its own number), where
    /// it appends, and those that a run with more shards left.
    pub directories: Vec<u16>,
    /// All segments of these directories, in order; none is open.
    pub segments: Vec<SegmentName>,
    /// The number of its first event.
    pub first_event: u64,
    spool: PathBuf,
}

impl ShardStart {
    /// The numbers of a directory's segments, in order.
    pub fn numbers(&self, directory: u16) -> Vec<u32> {
        let all = self.segments.iter().filter(|segment| segment.directory == directory);
        all.map(|segment| segment.number).collect()
    }

    /// The first octets of a segment, as `recovery::begin` wants them; reads the disk.
    pub fn head(&self, segment: SegmentName) -> Result<Vec<u8>, SpoolError> {
        spool_dir::head(&self.spool, segment)
    }
}

/// A machine that is ready to become a relay: all that can be refused has been asked for.
#[derive(Debug)]
pub struct Node {
    spool: Spool,
    events: EventLogOptions,
    posts: Posts,
    wish: Wish,
    addresses: Vec<SocketAddr>,
    /// For each shard: its listening sockets and the segments of its directories.
    shards: Vec<Share>,
    /// One each. They are made here: a process that is confined makes none.
    rings: Vec<DormantRing>,
}

/// A shard's part of the machine.
#[derive(Debug, Default)]
struct Share {
    listeners: Vec<OwnedFd>,
    segments: Vec<SegmentName>,
}

impl Node {
    /// Ask for everything that a relay needs of this machine.
    pub fn prepare(options: &Options) -> Result<Self, BootError> {
        if !(1..=SHARDS_MAX).contains(&options.shards) {
            return Err(BootError::Shards(options.shards));
        }
        sabotage::confess()?;
        probe::probe()?;
        segment_map::end_on_faults()?;
        #[cfg(target_env = "gnu")]
        ring::return_large_buffers();
        raise_open_files();
        let mut shards: Vec<Share> = (0..options.shards).map(|_| Share::default()).collect();
        let (spool, addresses) = if let Some(user) = &options.user {
            // As root no more than must be: the spool is that user's, and so is what may lie there.
            let addresses = bind(options, &mut shards)?;
            spool_owner::hand_over(&options.spool, user.ids())?;
            user.assume()?;
            (Spool::open(&options.spool)?, addresses)
        } else {
            (Spool::open(&options.spool)?, bind(options, &mut shards)?)
        };
        for number in (0u16..).take(options.shards) {
            spool.prepare(number)?;
        }
        for name in spool.segments()? {
            let adopter = usize::from(name.directory) % options.shards;
            shards[adopter].segments.push(name);
        }
        let posts = Posts::new(options.shards)?;
        let rings = (0..options.shards).map(|_| DormantRing::new()).collect::<Result<_, _>>()?;
        let (events, wish) = (options.events, Wish::default());
        Ok(Self { spool, events, posts, wish, addresses, shards, rings })
    }

    /// The way to the shards for the control thread.
    pub fn posts(&self) -> Posts {
        self.posts.clone()
    }

    /// What tells whoever runs it that it is asked to do what SIGHUP asks for.
    pub fn wish(&self) -> Wish {
        self.wish.clone()
    }

    /// Where clients are awaited, in the order of the configuration; port 0 is resolved.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Run until every shard is drained. `make` runs on each shard's thread; `tell` on this one.
    pub fn run<M, F>(
        self,
        make: F,
        tell: impl FnMut(Occasion),
    ) -> Result<PlatformCounters, RunError>
    where
        M: Machine + 'static,
        F: Fn(ShardStart) -> Result<M, StartError> + Send + Sync + 'static,
    {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(RunError::Signals)?;
        let signals = runtime.block_on(async { Signals::catch() }).map_err(RunError::Signals)?;
        let (ends, ended) = mpsc::unbounded_channel();
        let (posts, wish) = (self.posts(), self.wish());
        let threads = self.spawn(&Arc::new(make), &ends)?;
        drop(ends);
        let supervisor = Supervisor { posts, wish, signals, ended, threads };
        runtime.block_on(supervisor.run(tell))
    }

    fn spawn<M, F>(
        self,
        make: &Arc<F>,
        ends: &mpsc::UnboundedSender<End>,
    ) -> Result<Vec<JoinHandle<()>>, RunError>
    where
        M: Machine + 'static,
        F: Fn(ShardStart) -> Result<M, StartError> + Send + Sync + 'static,
    {
        let placements = placements(self.posts.shards());
        let spool = Arc::new(self.spool);
        let pool = Pool::start().map_err(RunError::Signals)?;
        let shards = self.posts.shard_ids().zip(placements).zip(self.shards).zip(self.rings);
        let spawned = shards.map(|(((shard, placement), Share { listeners, segments }), ring)| {
            let report = Report::new(shard, ends.clone());
            let (make, spool, posts) = (Arc::clone(make), Arc::clone(&spool), self.posts.clone());
            let (pool, events) = (pool.clone(), self.events);
            let spawned = Builder::new().name(format!("shard-{shard}")).spawn(move || {
                if let Some(cpu) = placement {
                    pin_to(cpu);
                }
                let root = spool.root();
                let parts = Parts { shard, posts, listeners, spool: root, pool, events, ring };
                report.tell(run_shard(parts, segments, make.as_ref()));
            });
            spawned.map_err(|error| RunError::Thread { shard, detail: error.to_string() })
        });
        spawned.collect()
    }
}

/// Give each shard its sockets; where they are.
fn bind(options: &Options, shards: &mut [Share]) -> Result<Vec<SocketAddr>, BootError> {
    let mut addresses = Vec::new();
    for address in &options.listeners {
        let sockets = listener::bind(*address, options.shards)?;
        addresses.push(SockRef::from(&sockets[0]).local_addr()?.as_socket().unwrap_or(*address));
        shards.iter_mut().zip(sockets).for_each(|(share, socket)| share.listeners.push(socket));
    }
    Ok(addresses)
}

fn run_shard<M, F>(
    parts: Parts<'_>,
    segments: Vec<SegmentName>,
    make: &F,
) -> Result<PlatformCounters, RunError>
where
    M: Machine,
    F: Fn(ShardStart) -> Result<M, StartError>,
{
    let shard = parts.shard;
    let machine = make(start_of(&parts, segments));
    let machine = machine.map(Box::new).map_err(|error| RunError::Start { shard, error })?;
    let drive = Drive::new(parts, machine).map_err(|error| RunError::Drive { shard, error })?;
    drive.run().map_err(|error| RunError::Drive { shard, error })
}

fn start_of(parts: &Parts<'_>, segments: Vec<SegmentName>) -> ShardStart {
    let own = u16::from(parts.shard.0);
    let mut directories: Vec<u16> = segments.iter().map(|name| name.directory).collect();
    directories.push(own);
    directories.sort_unstable();
    directories.dedup();
    // Adopted numbers are the own one plus multiples of the number of shards.
    assert_eq!(directories[0], own, "a shard's own directory is the first of its directories");
    let now = clock::now();
    let last_event = event_log::last_sequence(parts.spool, parts.shard);
    ShardStart {
        shard: parts.shard,
        shards: parts.posts.shards(),
        now,
        first_event: sequence::first(now.wall, last_event),
        seed: machine::seed(),
        directories,
        segments,
        spool: parts.spool.to_owned(),
    }
}

/// Every descriptor that the hard limit grants: a connection is one.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

/// Where each of `shards` runs: on a CPU of its own while there are enough.
fn placements(shards: usize) -> Vec<Option<usize>> {
    let cpus = allowed_cpus();
    if shards <= cpus.len() {
        return cpus.into_iter().take(shards).map(Some).collect();
    }
    tracing::info!(shards, cpus = cpus.len(), "more shards than CPUs: they are not pinned");
    vec![None; shards]
}

/// Keep this thread on `cpu`: its data stay in one cache.
fn pin_to(cpu: usize) {
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    if let Err(error) = sched_setaffinity(None, &cpus) {
        tracing::warn!(cpu, %error, "a shard cannot be pinned");
    }
}

/// The CPUs that this process may run on.
fn allowed_cpus() -> Vec<usize> {
    let Ok(mask) = sched_getaffinity(None) else { return Vec::new() };
    (0..CpuSet::MAX_CPU).filter(|cpu| mask.is_set(*cpu)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_pinned_to_allowed_cpus_while_there_are_enough() {
        let cpus = allowed_cpus();
        assert!(!cpus.is_empty());
        let pinned: Vec<_> = cpus.iter().copied().map(Some).collect();
        assert_eq!(placements(cpus.len()), pinned);
        assert_eq!(placements(cpus.len() + 1), vec![None; cpus.len() + 1]);
    }
}
