//! Floor 3: where mail leaves, through which connection, and how fast.
//!
//! `nexthop` routes a destination domain; `upstream` and `health` choose an upstream relay of a
//! group; `pools` chooses the sources that a message may leave from, `source` one of them for a
//! connection; `owner` chooses the shard that delivers; `site` decides what that shard does next
//! at one site: connect, assign, close, give back. It uses `line` (jobs), `endpoints` (addresses
//! and which of them are dead), `pool` (connections) and `throttle` (limits that hold over all
//! shards, by `seats`). `warm_up` counts what new sources send each day, over all shards.
//! `asking` decides how one upstream relay is asked about recipients.

pub mod asking;
mod callbacks;
pub mod cause;
pub mod diversions;
pub mod endpoints;
pub mod health;
pub mod line;
pub mod nexthop;
pub mod owner;
mod pool;
pub mod pools;
mod rendezvous;
mod seats;
pub mod shaping;
pub mod site;
pub mod source;
mod suspension;
pub mod throttle;
mod turns;
pub mod upstream;
pub mod warm_up;

pub use crate::egress::pool::PooledId;
pub use crate::egress::rendezvous::domain_hash;
