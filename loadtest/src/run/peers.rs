//! The same load through another server and through the relay, in turn, in one run.
//!
//! In: a scenario that asks nothing special of a server. Out: what a message costs each, and the
//! ratio. Both sync a message before 250, and each starts on an empty spool for each round.

mod postfix;

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, ValueEnum};

use super::scenario::{self, Scenario};
use crate::campaign::relay::{self, RelayPlan};
use crate::campaign::rig::RigOptions;
use crate::net::free_ports;
use crate::sink::{Sink, SinkOptions};
use crate::source::{self, SourceControl, SourceOptions, SourceReport};

/// Share of the messages that goes before those that are measured.
const WARM: u32 = 10;
/// How often the servers are asked whether all has come.
const LOOK: Duration = Duration::from_millis(20);
/// Longest wait for the last message, after the source has ended.
const PATIENCE: Duration = Duration::from_secs(300);

/// Servers to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PeerName {
    /// Debian's postfix; needs root
    Postfix,
}

/// A scenario, the other server, and how often.
#[derive(Args, Clone, Debug)]
pub(crate) struct PeersOptions {
    /// Name of a scenario that any server can play, or its file
    #[arg(default_value = "plain")]
    scenario: String,
    /// The other server
    #[arg(long, value_enum, default_value_t = PeerName::Postfix)]
    peer: PeerName,
    /// Rounds of each server
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..100))]
    rounds: u32,
    /// Messages, instead of what the scenario says
    #[arg(long, value_parser = clap::value_parser!(u32).range(20..100_000_000))]
    messages: Option<u32>,
    #[command(flatten)]
    rig: RigOptions,
}

/// What a round of one server came to.
#[derive(Clone, Debug)]
struct Round {
    cpu_us: f64,
    accepted_per_s: f64,
    delivered_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
}

/// Runs all rounds, the two servers alternating.
pub(crate) fn run(options: &PeersOptions) -> Result<ExitCode> {
    match crate::stop::run_until_signal(compare(options))? {
        Some(text) => print!("{text}"),
        None => bail!("stopped by a signal; the servers are killed and nothing is compared"),
    }
    Ok(ExitCode::SUCCESS)
}

async fn compare(options: &PeersOptions) -> Result<String> {
    let mut named = scenario::find(&options.scenario)?;
    if !named.scenario.is_plain() {
        bail!(
            "{} asks for what only the relay can do: its own knobs, faults, distance, several \
             upstreams or idle clients",
            named.name
        );
    }
    named.scenario.messages = options.messages.unwrap_or(named.scenario.messages);
    let PeerName::Postfix = options.peer;
    let version = postfix::version()?;
    let binary = relay::binary(options.rig.relay.as_deref()).await?;
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for number in 1..=options.rounds {
        let round = of_postfix(&named.scenario, &options.rig.work).await;
        theirs.push(round.with_context(|| format!("round {number} of {version}"))?);
        let round = of_relay(&named.scenario, &options.rig, &binary).await;
        ours.push(round.with_context(|| format!("round {number} of the relay"))?);
        eprintln!("round {number} of {} is done", options.rounds);
    }
    Ok(text(&version, &theirs, &ours))
}

async fn of_postfix(scenario: &Scenario, work: &Path) -> Result<Round> {
    let folder = folder(work)?;
    let (sink, [listen, _]) = servers(folder.path())?;
    let server = postfix::Postfix::start(folder.path(), listen, sink.addresses[0]).await?;
    let round = measure(scenario, listen, sink, || server.cpu_us()).await;
    server.stop().await?;
    round
}

async fn of_relay(scenario: &Scenario, options: &RigOptions, binary: &Path) -> Result<Round> {
    let folder = folder(&options.work)?;
    let (sink, [listen, admin]) = servers(folder.path())?;
    let spool = folder.path().join("spool");
    std::fs::create_dir(&spool).context("making a spool")?;
    let plan = RelayPlan {
        binary: PathBuf::from(binary),
        config: None,
        cores: options.cores.unwrap_or(scenario.cores),
        listen,
        listens_by_config: false,
        admin,
        upstream: Some(sink.addresses[0].to_string()),
        spool,
        log: folder.path().join("relay.log"),
        dies_at_entry: None,
    };
    let server = plan.start().await?;
    let round = measure(scenario, listen, sink, || Ok(server.cpu_since_ready_us())).await;
    server.stop().await?;
    round
}

fn folder(work: &Path) -> Result<tempfile::TempDir> {
    let folder = tempfile::Builder::new().prefix("relay-fast-peers-").tempdir_in(work);
    folder.with_context(|| format!("a folder in {}", work.display()))
}

/// A sink that writes down in `folder` what comes, and where a server before it is to listen, for
/// mail and for its operator.
fn servers(folder: &Path) -> Result<(Sink, [SocketAddr; 2])> {
    let ports = free_ports(3)?;
    let [listen, admin, behind] =
        [0, 1, 2].map(|place| SocketAddr::from((Ipv4Addr::LOCALHOST, ports[place])));
    let received = Some(folder.join("received"));
    Ok((Sink::start(&SinkOptions::plain(vec![behind], received))?, [listen, admin]))
}

/// Warms a server up, loads it, and waits for the last delivery.
async fn measure(
    scenario: &Scenario,
    listen: SocketAddr,
    sink: Sink,
    cpu_us: impl Fn() -> Result<u64>,
) -> Result<Round> {
    let source = scenario.source(listen)?;
    let warm = SourceOptions { messages: (source.messages / WARM).max(1), ..source.clone() };
    let warm = inject(warm).await?;
    wait_for(&sink, warm.tally.accepted_recipients).await?;
    let (before, begin, used) = (sink.recorded(), Instant::now(), cpu_us()?);
    let report = inject(source).await?;
    let accepted = report.tally.accepted_recipients;
    wait_for(&sink, before + accepted).await?;
    let (took, used) = (begin.elapsed(), cpu_us()? - used);
    let each = |time: Duration| accepted as f64 / time.as_secs_f64().max(0.001);
    let latency = report.tally.at(&[0.5, 0.99]);
    let (_, message) =
        latency.into_iter().find(|(phase, _)| *phase == "final").context("no 250")?;
    sink.finish()?;
    Ok(Round {
        cpu_us: used as f64 / accepted.max(1) as f64,
        accepted_per_s: each(report.elapsed),
        delivered_per_s: each(took),
        p50_ms: message[0],
        p99_ms: message[1],
    })
}

async fn inject(options: SourceOptions) -> Result<SourceReport> {
    let control: Arc<SourceControl> = SourceControl::new(u64::MAX);
    let running = tokio::task::spawn_blocking(move || source::run(options, control));
    let report = running.await.map_err(|_| anyhow!("the source panicked"))??;
    if !report.finished {
        bail!("not every message was accepted:\n{}", report.text());
    }
    Ok(report)
}

async fn wait_for(sink: &Sink, count: u64) -> Result<()> {
    let begin = Instant::now();
    while sink.recorded() < count {
        if begin.elapsed() > PATIENCE {
            bail!("{} of {count} messages were delivered in {PATIENCE:?}", sink.recorded());
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

fn text(version: &str, theirs: &[Round], ours: &[Round]) -> String {
    let mut out = format!(
        "{:<14}{:>16}{:>12}{:>12}{:>12}{:>12}\n",
        "", "CPU µs/message", "accepted/s", "delivered/s", "p50 ms", "p99 ms"
    );
    for (name, rounds) in [(version, theirs), ("relay-fast", ours)] {
        for (number, round) in rounds.iter().enumerate() {
            let name = if number == 0 { name } else { "" };
            let Round { cpu_us, accepted_per_s, delivered_per_s, p50_ms, p99_ms } = round;
            writeln!(
                out,
                "{name:<14}{cpu_us:>16.1}{accepted_per_s:>12.0}{delivered_per_s:>12.0}\
                 {p50_ms:>12.2}{p99_ms:>12.2}"
            )
            .expect("memory takes every write");
        }
    }
    let (theirs, ours) = (median(theirs), median(ours));
    writeln!(
        out,
        "\n{version} uses {:.1} times the CPU of relay-fast for a message (medians {theirs:.0} and \
         {ours:.0} µs).\nNote: all on one machine, over loopback; p50 and p99 are those of the \
         final 250.",
        theirs / ours.max(f64::MIN_POSITIVE)
    )
    .expect("memory takes every write");
    out
}

fn median(rounds: &[Round]) -> f64 {
    let mut all: Vec<f64> = rounds.iter().map(|round| round.cpu_us).collect();
    all.sort_by(f64::total_cmp);
    let middle = all.len() / 2;
    if all.len() % 2 == 1 { all[middle] } else { f64::midpoint(all[middle - 1], all[middle]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(cpu_us: f64) -> Round {
        Round { cpu_us, accepted_per_s: 1.0, delivered_per_s: 1.0, p50_ms: 1.0, p99_ms: 1.0 }
    }

    #[test]
    fn medians_make_the_ratio() {
        let (theirs, ours) = ([2_000.0, 9_000.0, 1_000.0].map(round), [100.0, 60.0].map(round));
        let text = text("Postfix 3", &theirs, &ours);
        let words =
            "Postfix 3 uses 25.0 times the CPU of relay-fast for a message (medians 2000 and";
        assert!(text.contains(words), "{text}");
        assert_eq!(text.matches("relay-fast  ").count(), 1, "{text}");
    }
}
