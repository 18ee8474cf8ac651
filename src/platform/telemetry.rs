//! Write the log, for people, to standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::options::LogLevel;

/// A log filter that cannot be read, or a second start.
#[derive(Debug, thiserror::Error)]
#[error("cannot start the log: {0}")]
pub struct TelemetryError(String);

/// Log what is at least as severe as `level`, and of the crates that are used, warnings at most.
/// RUST_LOG, a whole filter, goes before it.
pub fn start(level: LogLevel) -> Result<(), TelemetryError> {
    let others = level.min(LogLevel::Warn).as_str();
    // What NATS does about its connection is told by the exporter that waits for it.
    let filter = format!("{others},async_nats=off,relay_fast={}", level.as_str());
    let chosen = std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or(filter);
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
