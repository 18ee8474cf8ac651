//! Pass signals on to the shards, and notice how each of them ends.
//!
//! Lives on: the main thread.

use std::error::Error;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, mpsc};
use tokio::time::MissedTickBehavior;

use crate::base::ids::ShardId;
use crate::base::limits::{FILES_LOOK_EVERY, MAILBOX_LOOK_EVERY};
use crate::platform::channels::Posts;
use crate::platform::drive::DriveError;
use crate::shard::mesh::Crossing;
use crate::shard::platform::PlatformCounters;

/// Why a node that ran did not end by a drain.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A second signal came: nothing is lost, what was in flight may be delivered again.
    #[error("left at once, on a second signal")]
    LeftAtOnce,
    /// A shard's machine could not be made.
    #[error("shard {shard} cannot start: {error}")]
    Start {
        /// Which.
        shard: ShardId,
        /// What it says.
        error: StartError,
    },
    /// A shard ended by a failure.
    #[error("shard {shard}: {error}")]
    Drive {
        /// Which.
        shard: ShardId,
        /// Why.
        error: DriveError,
    },
    /// A shard's thread could not be made, or is gone.
    #[error("shard {shard}: its thread ended: {detail}")]
    Thread {
        /// Which.
        shard: ShardId,
        /// Why.
        detail: String,
    },
    /// Signals cannot be waited for.
    #[error("cannot wait for signals: {0}")]
    Signals(std::io::Error),
}

/// Why a machine cannot be made from what was found on disk.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(#[from] pub Box<dyn Error + Send + Sync>);

/// How a shard ended; no outcome where its thread did not live to say.
#[derive(Debug)]
pub(super) struct End {
    shard: ShardId,
    outcome: Option<Result<PlatformCounters, RunError>>,
}

/// A shard's duty to say how it ended, fulfilled even by a panic.
#[derive(Debug)]
pub(super) struct Report {
    shard: ShardId,
    ends: mpsc::UnboundedSender<End>,
    told: bool,
}

impl Report {
    pub(super) fn new(shard: ShardId, ends: mpsc::UnboundedSender<End>) -> Self {
        Self { shard, ends, told: false }
    }

    /// The shard ended like this.
    pub(super) fn tell(mut self, outcome: Result<PlatformCounters, RunError>) {
        self.told = true;
        self.send(Some(outcome));
    }

    fn send(&self, outcome: Option<Result<PlatformCounters, RunError>>) {
        // Nobody listens once the node leaves at once.
        let _ = self.ends.send(End { shard: self.shard, outcome });
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if !self.told {
            self.send(None);
        }
    }
}

/// The signals that mean something here.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Catch them from now on; inside a runtime.
    pub(super) fn catch() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

/// What whoever runs a node is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// SIGHUP.
    Hangup,
    /// Somebody asked for what SIGHUP asks for.
    Asked,
    /// It is time to see whether the files that it names have changed.
    Look,
    /// The first signal that ends it: it drains.
    Drain,
}

/// The way to ask whoever runs a node for what SIGHUP asks for.
#[derive(Clone, Debug, Default)]
pub struct Wish(Arc<Notify>);

impl Wish {
    /// Have it told. Once is enough, however often it is said meanwhile.
    pub fn say(&self) {
        self.0.notify_one();
    }
}

/// What waits for signals and ends.
pub(super) struct Supervisor {
    pub(super) posts: Posts,
    pub(super) wish: Wish,
    pub(super) signals: Signals,
    pub(super) ended: mpsc::UnboundedReceiver<End>,
    pub(super) threads: Vec<JoinHandle<()>>,
}

impl Supervisor {
    /// Return once all shards are drained, or with the first failure; sums what they counted.
    pub(super) async fn run(
        mut self,
        mut tell: impl FnMut(Occasion),
    ) -> Result<PlatformCounters, RunError> {
        let mut draining = false;
        let mut left = self.posts.shards();
        let mut sum = PlatformCounters::default();
        let mut look = tokio::time::interval(MAILBOX_LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut files = tokio::time::interval(FILES_LOOK_EVERY);
        files.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut waiting = 0;
        while left > 0 {
            tokio::select! {
                _ = look.tick() => self.nudge(&mut waiting),
                _ = self.signals.terminate.recv() => self.drain(&mut draining, &mut tell)?,
                _ = self.signals.interrupt.recv() => self.drain(&mut draining, &mut tell)?,
                _ = self.signals.hangup.recv() => tell(Occasion::Hangup),
                () = self.wish.0.notified() => tell(Occasion::Asked),
                _ = files.tick() => tell(Occasion::Look),
                Some(end) = self.ended.recv() => {
                    sum = sum.plus(&self.outcome(end)?);
                    left -= 1;
                }
            }
        }
        for (thread, shard) in self.threads.drain(..).zip(self.posts.shard_ids()) {
            join(thread, shard)?;
        }
        Ok(sum)
    }

    /// See that no shard sleeps over what was posted to it.
    fn nudge(&self, waiting: &mut u64) {
        let shards = self.posts.nudge(waiting);
        if shards != 0 {
            tracing::info!(shards = format!("{shards:#b}"), "these take no mail: woken");
        }
    }

    /// The first signal drains, the second leaves.
    fn drain(&self, draining: &mut bool, mut tell: impl FnMut(Occasion)) -> Result<(), RunError> {
        if std::mem::replace(draining, true) {
            return Err(RunError::LeftAtOnce);
        }
        tell(Occasion::Drain);
        tracing::info!("draining: a second signal leaves at once");
        self.posts.shard_ids().for_each(|shard| self.posts.post(shard, Crossing::Drain));
        Ok(())
    }

    fn outcome(&mut self, end: End) -> Result<PlatformCounters, RunError> {
        let shard = end.shard;
        end.outcome.unwrap_or_else(|| {
            // The thread is ending: it has dropped what it was to run.
            join(self.threads.swap_remove(shard.index()), shard)?;
            Err(panicked(shard))
        })
    }
}

fn join(thread: JoinHandle<()>, shard: ShardId) -> Result<(), RunError> {
    thread.join().map_err(|_| panicked(shard))
}

fn panicked(shard: ShardId) -> RunError {
    RunError::Thread { shard, detail: "a panic; the lines above say where".to_owned() }
}
