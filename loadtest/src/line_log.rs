//! A file of lines that is the ledger's truth: appended in memory, written within milliseconds.
//!
//! In: whole lines. Out: the file. Invariant: a line is never split between two writes that another
//! line could come between. Lives on: the thread of its source or sink.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::Notify;

/// How long a line may wait in memory.
const FLUSH_DELAY: Duration = Duration::from_millis(2);
/// Bytes after which a flush does not wait for the delay.
const FLUSH_BYTES: usize = 256 * 1024;

/// See the module; without a file it counts for nothing and keeps nothing.
#[derive(Debug, Default)]
pub(crate) struct LineLog {
    file: Option<RefCell<File>>,
    waiting: RefCell<Vec<u8>>,
    dirty: Notify,
}

impl LineLog {
    /// Appends to `path`, creating it; without a path lines are dropped.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else {
            return Ok(Self::default());
        };
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.with_context(|| format!("opening {}", path.display()))?;
        Ok(Self { file: Some(RefCell::new(file)), ..Self::default() })
    }

    /// Lets `write` append whole lines to the buffer.
    pub(crate) fn append(&self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.file.is_none() {
            return;
        }
        let mut waiting = self.waiting.borrow_mut();
        let was_empty = waiting.is_empty();
        write(&mut waiting);
        if was_empty || waiting.len() >= FLUSH_BYTES {
            self.dirty.notify_one();
        }
    }

    /// Writes out what waits; an error means that the ledger has lost its truth.
    pub(crate) fn flush(&self) -> Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let mut waiting = self.waiting.borrow_mut();
        file.borrow_mut().write_all(&waiting).context("writing the ledger's lines")?;
        waiting.clear();
        Ok(())
    }

    /// Flushes soon after each append; ends only by an error.
    pub(crate) async fn flush_forever(&self) -> Result<()> {
        loop {
            self.dirty.notified().await;
            if self.waiting.borrow().len() < FLUSH_BYTES {
                tokio::time::sleep(FLUSH_DELAY).await;
            }
            self.flush()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_reach_the_file_on_flush_and_append_to_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        for line in ["one\n", "two\n"] {
            let log = LineLog::open(Some(&path)).unwrap();
            log.append(|buffer| buffer.extend_from_slice(line.as_bytes()));
            log.flush().unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\n");
    }
}
