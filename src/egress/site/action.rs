//! What a site asks its shard to do.

use std::sync::Arc;

use crate::base::ids::ShardId;
use crate::base::time::Monotonic;
use crate::egress::cause::{Cause, Why};
use crate::egress::endpoints::Endpoint;
use crate::egress::pool::PooledId;

/// Who sent a job, for fairness and for calling back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Its home shard.
    pub home: ShardId,
    /// The home's own name for the destination domain (`DomainId`'s bits).
    pub domain: u64,
}

/// What the shard is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action<J> {
    /// Open a connection: `on_ready` or `on_failed` follows.
    Connect {
        /// Its name here.
        connection: PooledId,
        /// Where to.
        endpoint: Endpoint,
        /// From which source, by its place, where the site is shaped; else from any.
        source: Option<usize>,
    },
    /// Send the job's message over a ready connection: `on_done` or `on_failed` follows.
    Assign {
        /// Which connection.
        connection: PooledId,
        /// The job.
        job: J,
    },
    /// Say QUIT and end the connection, which is forgotten here.
    Close {
        /// Which connection.
        connection: PooledId,
    },
    /// The job's attempt failed: every endpoint was tried on its behalf. The judge says what
    /// follows from `cause`.
    Defer {
        /// The job.
        job: J,
        /// What the last endpoint answered.
        cause: Arc<Cause>,
    },
    /// The job was not attempted: send it back to its home, uncounted.
    GiveBack {
        /// The job.
        job: J,
        /// Why it cannot be tried now.
        why: Why,
        /// When it may be.
        until: Monotonic,
    },
    /// Tell a home that was refused that there is room for its domain again.
    CallBack {
        /// The home and its domain.
        to: Origin,
        /// For about so many jobs.
        room: u32,
    },
}
