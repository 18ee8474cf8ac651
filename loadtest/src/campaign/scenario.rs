//! A relay domain whose server is down for a while: nothing may be lost, and the relay may not
//! hammer on the door once for each message that waits.
//!
//! In: how long and how much. Out: connection attempts over time, and the account.

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use super::judge;
use super::rig::{Rig, RigOptions};
use super::verdict::Verdict;
use crate::ledger::each_line;
use crate::source::SourceOptions;

/// Attempts are shown for so many seconds at a time.
const BUCKET: Duration = Duration::from_secs(5);
/// Attempts that are allowed whatever the backlog: probes, and those of the first moment.
const ATTEMPTS_FREE: u64 = 200;
/// One attempt for so many messages that wait is still no multiplication by the backlog.
const BACKLOG_SHARE: u64 = 10;

/// How a server is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Down {
    /// It accepts connections and drops them; each is counted here.
    Drop,
    /// Its port is closed; attempts are counted by the relay's event log.
    Closed,
}

/// A server that is down.
#[derive(Args, Clone, Debug)]
pub(crate) struct ScenarioOptions {
    #[command(flatten)]
    rig: RigOptions,
    /// Messages to the relay domain
    #[arg(long, default_value_t = 2_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..10_000_000))]
    messages: u32,
    /// The relay domain
    #[arg(long, default_value = "relay-domain.example")]
    domain: String,
    /// Seconds that its server is down
    #[arg(long, default_value_t = 60)]
    down: u64,
    /// How it is down
    #[arg(long, value_enum, default_value_t = Down::Drop)]
    how: Down,
}

/// Runs the scenario to its end or to a signal.
pub(crate) fn run(options: &ScenarioOptions) -> Result<ExitCode> {
    match crate::stop::run_until_signal(scenario(options))? {
        Some(verdict) => Ok(verdict.exit_code()),
        None => bail!("stopped by a signal; the relay is killed and nothing is judged"),
    }
}

async fn scenario(options: &ScenarioOptions) -> Result<Verdict> {
    let mut rig = Rig::start(&options.rig, &[1], u64::from(options.messages)).await?;
    match options.how {
        Down::Drop => rig.sink.drop_connections(0, true),
        Down::Closed => rig.sink.kill(0),
    }
    let mut source = SourceOptions::campaign(rig.plan.listen, options.messages, 1);
    source.to_domains = vec![options.domain.clone()];
    rig.inject(source, u64::MAX)?;
    let attempts = watch(&mut rig, Duration::from_secs(options.down)).await?;
    let deferred = deferrals(&rig.plan.spool);
    match options.how {
        Down::Drop => rig.sink.drop_connections(0, false),
        Down::Closed => rig.sink.revive(0),
    }
    let back = Instant::now();
    rig.wait_for_the_last().await?;
    let took = back.elapsed();
    let outcome = rig.finish().await?;
    println!("--- while down\nconnections in each {} s: {attempts:?}", BUCKET.as_secs());
    match &deferred {
        Ok(count) => println!("deferrals in the relay's event log: {count}"),
        Err(error) => println!("no event log to count deferrals in: {error:#}"),
    }
    println!("the last message came {took:.1?} after the server was back\n");
    println!("--- ledger\n{}", outcome.account.text(20));
    let mut verdict = Verdict::default();
    judge(&outcome, &mut verdict);
    if options.how == Down::Drop {
        let total = attempts.iter().sum::<u64>();
        let allowed = ATTEMPTS_FREE + u64::from(options.messages) / BACKLOG_SHARE;
        let text = format!("{total} connections while {} messages waited", options.messages);
        verdict.add(total > 0 && total <= allowed, format!("{text} ({allowed} allowed)"));
    }
    print!("{}", verdict.text());
    Ok(verdict)
}

/// Counts connections that the dead server got, for each bucket of time.
async fn watch(rig: &mut Rig, down: Duration) -> Result<Vec<u64>> {
    let begin = Instant::now();
    let (mut counted, mut buckets) = (0, Vec::new());
    while begin.elapsed() < down {
        rig.tick().await?;
        rig.excuse();
        let connections = rig.sink.counters[0].connections.load(Ordering::Relaxed);
        let bucket = begin.elapsed().as_secs() / BUCKET.as_secs();
        let bucket = usize::try_from(bucket).context("a bucket is a small number")?;
        buckets.resize(bucket + 1, 0);
        buckets[bucket] += connections - counted;
        counted = connections;
    }
    Ok(buckets)
}

/// Lines about a deferral in event logs below the spool.
fn deferrals(spool: &Path) -> Result<u64> {
    let (mut files, mut count) = (0, 0);
    let mut folders = vec![spool.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder);
        for entry in entries.with_context(|| format!("reading {}", folder.display()))? {
            let path = entry.context("reading the spool")?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().contains("event") {
                files += 1;
                each_line(&path, |line| count += u64::from(is_deferral(line)))?;
            }
        }
    }
    if files == 0 {
        bail!("no file below {} is named after events", spool.display());
    }
    Ok(count)
}

/// Whether an event's line says that a recipient was deferred, whatever the key.
fn is_deferral(line: &str) -> bool {
    let Ok(serde_json::Value::Object(event)) = serde_json::from_str(line) else { return false };
    event.values().any(|value| value == "deferred")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deferrals_are_counted_in_every_event_log() {
        let spool = tempfile::tempdir().unwrap();
        assert!(deferrals(spool.path()).is_err());
        for (shard, lines) in [
            ("0", "{\"kind\":\"deferred\"}\n{\"kind\":\"delivered\"}\n"),
            ("1", "{\"event\":\"deferred\",\"reply\":\"450 deferred\"}\n{\"to"),
        ] {
            let folder = spool.path().join(shard);
            std::fs::create_dir(&folder).unwrap();
            std::fs::write(folder.join("events.jsonl"), lines).unwrap();
            std::fs::write(folder.join("segment"), lines).unwrap();
        }
        assert_eq!(deferrals(spool.path()).unwrap(), 2);
    }
}
