//! Write the log, for people, to standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// A log filter that cannot be read, or a second start.
#[derive(Debug, thiserror::Error)]
#[error("cannot start the log: {0}")]
pub struct TelemetryError(String);

/// Log what `filter` lets through (`info`, `warn,relay_fast=debug`); RUST_LOG goes before it.
pub fn start(filter: &str) -> Result<(), TelemetryError> {
    let chosen = std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_else(|_| filter.to_owned());
    let filter = EnvFilter::try_new(&chosen)
        .map_err(|error| TelemetryError(format!("`{chosen}` is no log filter: {error}")))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .try_init()
        .map_err(|error| TelemetryError(error.to_string()))
}
