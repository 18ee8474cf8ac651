//! Floor 2: the spool: what is on disk, and what it proves.

pub mod format;
mod group;
mod live;
pub mod log;
mod reclaim;
pub mod record;
pub mod recovery;
mod scan;
pub mod segment;
mod space;
pub mod stored;
