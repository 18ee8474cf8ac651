//! Count what is asked at the public door, and what came of it.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Opened,
    Clicked,
    Unsubscribed,
    /// A page that asks, or one for robots.
    Page,
    /// It was told of a moment ago, and is not again.
    Repeated,
    /// Its browser asks that it is not told.
    Unwanted,
    /// It is not told, since there are too many, or a shard did not take it.
    Lost,
    /// No link of ours, or not asked for as it must be; a connection of a client with too many.
    Refused,
    /// It could not be done, and is to be asked again.
    Failed,
}

const NAMES: [&str; 9] = [
    "opened",
    "clicked",
    "unsubscribed",
    "page",
    "repeated",
    "unwanted",
    "lost",
    "refused",
    "failed",
];

/// Since the process began.
#[derive(Debug, Default)]
pub struct Counts([AtomicU64; NAMES.len()]);

impl Counts {
    pub(super) fn increment(&self, what: What) {
        self.add(what, 1);
    }

    pub(super) fn add(&self, what: What, count: u64) {
        self.0[what as usize].fetch_add(count, Ordering::Relaxed);
    }

    /// In Prometheus' text format; nothing where nothing was asked.
    pub fn metrics(&self) -> String {
        let counts = self.0.each_ref().map(|count| count.load(Ordering::Relaxed));
        if counts.iter().all(|count| *count == 0) {
            return String::new();
        }
        let name = "relay_fast_web_requests_total";
        let mut out = format!(
            "# HELP {name} Requests for links of messages, by what came of them.\n\
             # TYPE {name} counter\n"
        );
        for (what, count) in NAMES.iter().zip(counts) {
            let _ = writeln!(out, "{name}{{what=\"{what}\"}} {count}");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_stand_under_their_names() {
        let counts = Counts::default();
        assert_eq!(counts.metrics(), "");
        counts.increment(What::Opened);
        counts.add(What::Failed, 2);
        let text = counts.metrics();
        assert!(text.contains("_total{what=\"opened\"} 1\n"), "{text}");
        assert!(text.ends_with("_total{what=\"failed\"} 2\n"), "{text}");
    }
}
