//! How the event log is kept.

use std::time::Duration;

use crate::base::limits::{
    EVENT_FILE_AGE_DEFAULT, EVENT_FILE_BYTES_DEFAULT, EVENT_LOG_BYTES_DEFAULT,
    EVENT_RETENTION_DEFAULT,
};

/// How the event log of a shard is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventOptions {
    /// How long events are kept.
    pub retention: Duration,
    /// Octets of events that are kept, however young.
    pub bytes: u64,
    /// Octets after which a file is ended,
    pub file_bytes: u64,
    /// and its age then.
    pub file_age: Duration,
}

impl Default for EventOptions {
    fn default() -> Self {
        Self {
            retention: EVENT_RETENTION_DEFAULT,
            bytes: EVENT_LOG_BYTES_DEFAULT,
            file_bytes: EVENT_FILE_BYTES_DEFAULT,
            file_age: EVENT_FILE_AGE_DEFAULT,
        }
    }
}
