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
    /// Handshakes that came to their end, and that did not.
    pub(crate) tls_sessions: AtomicU64,
    pub(crate) tls_failures: AtomicU64,
    /// Messages that came under TLS.
    pub(crate) tls_messages: AtomicU64,
    /// `DKIM-Signature:` fields of messages.
    pub(crate) signatures: AtomicU64,
    /// Things that a client may not do.
    pub(crate) violations: AtomicU64,
}

impl Counters {
    /// Name and value of each count.
    pub(crate) fn all(&self) -> [(&'static str, u64); 12] {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [
            ("connections", read(&self.connections)),
            ("messages", read(&self.messages)),
            ("recipients", read(&self.recipients)),
            ("reports", read(&self.reports)),
            ("changed", read(&self.changed)),
            ("refusals", read(&self.refusals)),
            ("cuts", read(&self.cuts)),
            ("TLS sessions", read(&self.tls_sessions)),
            ("failed handshakes", read(&self.tls_failures)),
            ("messages under TLS", read(&self.tls_messages)),
            ("signatures", read(&self.signatures)),
            ("violations", read(&self.violations)),
        ]
    }

    /// What a report is made of.
    pub(crate) fn totals(all: &[Self]) -> Totals {
        let sum = |of: fn(&Self) -> &AtomicU64| {
            all.iter().map(|counters| of(counters).load(Ordering::Relaxed)).sum()
        };
        Totals {
            messages: sum(|counters| &counters.messages),
            tls_sessions: sum(|counters| &counters.tls_sessions),
            tls_failures: sum(|counters| &counters.tls_failures),
            tls_messages: sum(|counters| &counters.tls_messages),
            signatures: sum(|counters| &counters.signatures),
        }
    }
}

/// Counts over all listeners: see `Counters`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) messages: u64,
    pub(crate) tls_sessions: u64,
    pub(crate) tls_failures: u64,
    pub(crate) tls_messages: u64,
    pub(crate) signatures: u64,
}
