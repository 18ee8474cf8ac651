//! SIGINT and SIGTERM: how a subcommand that runs for ever is told to end.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};

/// How often an end for another reason is looked for.
const LOOK: Duration = Duration::from_millis(200);

/// Waits for either signal.
pub(crate) async fn signalled() -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("waiting for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("waiting for SIGTERM")?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// Runs `work` on this thread until it is done or a signal comes; nothing in the latter case.
pub(crate) fn run_until_signal<T>(work: impl Future<Output = Result<T>>) -> Result<Option<T>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("starting a runtime")?.block_on(async {
        tokio::select! {
            done = work => done.map(Some),
            caught = signalled() => caught.map(|()| None),
        }
    })
}

/// Waits for either signal, or until `ended` says so.
pub(crate) fn wait_for_signal_or(ended: impl Fn() -> bool) -> Result<()> {
    let waiting = async {
        while !ended() {
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    };
    run_until_signal(waiting).map(|_| ())
}
