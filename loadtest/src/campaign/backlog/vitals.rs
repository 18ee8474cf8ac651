//! What the relay's process holds in memory, as the kernel counts it.

use std::fs;

use anyhow::{Context, Result};

use crate::proc::octets as field;

/// A process at some moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vitals {
    /// Recipients that it queued.
    pub(super) recipients: u64,
    /// Octets of memory that no file stands behind (`RssAnon`): heap, stacks, rings.
    pub(super) anonymous: u64,
    /// Octets of mapped files in memory (`RssFile`), which the kernel takes back when it needs
    /// them.
    pub(super) mapped: u64,
}

impl Vitals {
    /// Those of process `pid`, which queues so many recipients.
    pub(super) fn of(pid: u32, recipients: u64) -> Result<Self> {
        let path = format!("/proc/{pid}/status");
        let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        let field = |name| field(&text, name).with_context(|| format!("{path} has no {name}"));
        Ok(Self { recipients, anonymous: field("RssAnon")?, mapped: field("RssFile")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_octets() {
        let text = "VmRSS:\t     900 kB\nRssAnon:\t     812 kB\nRssFile:\t      88 kB\n";
        assert_eq!((field(text, "RssAnon"), field(text, "RssFile")), (Some(831_488), Some(90_112)));
        assert_eq!(field(text, "Rss"), None);
        let own = Vitals::of(std::process::id(), 7).unwrap();
        assert!(own.anonymous > 0 && own.recipients == 7);
    }
}
