//! What a listener counted; read by other threads while it counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts of one listener since its start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: AtomicU64,
    pub(crate) open: AtomicU64,
    pub(crate) messages: AtomicU64,
    /// Recipients of messages that are no reports.
    pub(crate) recipients: AtomicU64,
    /// Recipients that DSNs reported on.
    pub(crate) reports: AtomicU64,
    /// Messages whose body changed on the way.
    pub(crate) changed: AtomicU64,
    /// Replies from 400 on.
    pub(crate) refusals: AtomicU64,
    /// Connections that a rule cut.
    pub(crate) cuts: AtomicU64,
    /// Things that a client may not do.
    pub(crate) violations: AtomicU64,
}

impl Counters {
    /// Name and value of each count.
    pub(crate) fn all(&self) -> [(&'static str, u64); 8] {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [
            ("connections", read(&self.connections)),
            ("messages", read(&self.messages)),
            ("recipients", read(&self.recipients)),
            ("reports", read(&self.reports)),
            ("changed", read(&self.changed)),
            ("refusals", read(&self.refusals)),
            ("cuts", read(&self.cuts)),
            ("violations", read(&self.violations)),
        ]
    }
}
