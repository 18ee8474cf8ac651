//! Floor 2: the spool: what is on disk, and what it proves.

pub mod log;
pub mod recovery;
pub mod segment;
pub mod stored;
