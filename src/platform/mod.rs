//! Floor 6: the only code that touches the kernel.
//!
//! [`boot`] checks the machine, makes sockets and spool, and runs N shards; [`drive`] turns one
//! shard's loop over the [`ring`]; the others are each one part of what a shard asks for.

mod blocking;
pub mod boot;
mod campaigns;
pub mod channels;
pub mod clock;
pub mod confine;
mod datagram;
mod disk;
mod diversions;
pub mod domain_check;
pub mod doors;
pub mod drive;
pub mod event_log;
mod faults;
pub mod files;
mod gear;
mod https;
mod kernel;
pub mod listener;
pub mod machine;
pub mod manager;
mod name_servers;
mod orders;
pub mod pauses;
mod policies;
pub mod probe;
pub mod relay;
mod reopened;
mod repeats;
mod ring;
mod sabotage;
mod segment_map;
mod shaping;
pub mod spool_bench;
pub mod spool_dir;
mod spool_owner;
pub mod spool_repair;
mod standings;
mod stream;
pub mod supervise;
mod suppression;
pub mod telemetry;
#[cfg(test)]
mod tests;
pub mod tls_reports;
pub mod user;
mod warm_up;
mod way;
