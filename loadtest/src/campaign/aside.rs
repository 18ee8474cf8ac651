//! A small campaign of its own, by a source beside the run's own one, and how long its mail takes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow};

use crate::ledger;
use crate::ledger::account::Account;
use crate::source::{self, SourceControl, SourceOptions, SourceReport};

/// See the module.
#[derive(Debug)]
pub(crate) struct Aside {
    pub(crate) control: Arc<SourceControl>,
    pub(crate) accepted_file: PathBuf,
    thread: Option<JoinHandle<Result<SourceReport>>>,
}

impl Aside {
    /// Starts it; its file gets `name`.
    pub(super) fn start(folder: &Path, name: &str, mut options: SourceOptions) -> Result<Self> {
        let accepted_file = folder.join(name);
        options.accepted = Some(accepted_file.clone());
        let control = SourceControl::new(u64::MAX);
        let theirs = Arc::clone(&control);
        let thread = std::thread::Builder::new().name(name.to_owned());
        let thread = thread.spawn(move || source::run(options, theirs));
        let thread = Some(thread.context("starting a source's thread")?);
        Ok(Self { control, accepted_file, thread })
    }

    /// Recipients that were accepted.
    pub(super) fn accepted(&self) -> u64 {
        self.control.accepted.load(Ordering::Relaxed)
    }

    /// Whether all of its mail was accepted.
    ///
    /// Errors: it could not be.
    pub(crate) fn is_accepted(&mut self) -> Result<bool> {
        if self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return Ok(false);
        }
        if let Some(thread) = self.thread.take() {
            let report = thread.join().map_err(|_| anyhow!("a source's thread panicked"))??;
            if !report.finished || report.tally.refused_recipients > 0 {
                return Err(anyhow!("the small campaign was not accepted: {}", report.text()));
            }
        }
        Ok(true)
    }

    /// What became of its mail by now.
    pub(super) fn account(&self, received: &Path) -> Result<Account> {
        let files = [self.accepted_file.clone()];
        Ok(ledger::read(&files, &[received.to_owned()])?.account(0))
    }
}
