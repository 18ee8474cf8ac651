//! Floor 2: the spool: what is on disk, and what it proves.

pub mod check;
pub mod format;
mod group;
pub mod letter;
mod live;
pub mod log;
mod reclaim;
pub mod record;
pub mod recovery;
pub mod repair;
mod scan;
pub mod segment;
mod space;
pub mod stored;
