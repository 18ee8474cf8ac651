//! The same load through other servers and through the relay, in turn, in one run.
//!
//! In: a scenario that asks nothing special of a server. Out: what a message costs each, and the
//! ratios. Each starts on an empty spool for each round, and syncs a message before 250 unless the
//! table says otherwise.

mod exim;
mod haraka;
mod opensmtpd;
mod postfix;
mod server;
mod table;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, ValueEnum};

use self::exim::Exim;
use self::haraka::Haraka;
use self::opensmtpd::OpenSmtpd;
use self::postfix::Postfix;
use self::server::{Peer, Place, Promise, Server};
use self::table::{Round, Row};
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
    /// Exim 4, on PATH; needs root and a cgroup2 below which groups can be made
    Exim,
    /// OpenSMTPD's smtpd, on PATH; needs the same; does not sync before 250
    Opensmtpd,
    /// Haraka, on PATH; syncs messages before 250, but not the names of their files
    Haraka,
}

impl PeerName {
    /// As it is written.
    fn shown(self) -> &'static str {
        match self {
            Self::Postfix => "Postfix",
            Self::Exim => "Exim",
            Self::Opensmtpd => "OpenSMTPD",
            Self::Haraka => "Haraka",
        }
    }

    /// The server, where it is installed and can be run.
    fn find(self) -> Result<Box<dyn Peer>> {
        Ok(match self {
            Self::Postfix => Box::new(Postfix::find()?),
            Self::Exim => Box::new(Exim::find()?),
            Self::Opensmtpd => Box::new(OpenSmtpd::find()?),
            Self::Haraka => Box::new(Haraka::find()?),
        })
    }
}

/// A scenario, the other servers, and how often.
#[derive(Args, Clone, Debug)]
pub(crate) struct PeersOptions {
    /// Name of a scenario that any server can play, or its file
    #[arg(default_value = "plain")]
    scenario: String,
    /// Another server, or several; all that are installed without it
    #[arg(long = "peer", value_name = "PEER", value_enum, value_delimiter = ',')]
    peers: Vec<PeerName>,
    /// Rounds of each server
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..100))]
    rounds: u32,
    /// Messages, instead of what the scenario says
    #[arg(long, value_parser = clap::value_parser!(u32).range(20..100_000_000))]
    messages: Option<u32>,
    #[command(flatten)]
    rig: RigOptions,
}

/// Runs all rounds, the servers alternating.
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
    let Taking { peers, left_out } = taking_part(&options.peers, PeerName::find)?;
    let binary = relay::binary(options.rig.relay.as_deref()).await?;
    let mut rows: Vec<Row> =
        peers.iter().map(|peer| Row::new(peer.version(), peer.promise())).collect();
    let mut ours = Row::new("relay-fast", Promise::Synced);
    for number in 1..=options.rounds {
        for (peer, row) in peers.iter().zip(&mut rows) {
            let round = of_peer(&named.scenario, &options.rig.work, peer.as_ref()).await;
            let doing = || format!("round {number} of {}", peer.version());
            row.rounds.push(round.with_context(doing)?);
        }
        let round = of_relay(&named.scenario, &options.rig, &binary).await;
        ours.rounds.push(round.with_context(|| format!("round {number} of the relay"))?);
        eprintln!("round {number} of {} is done", options.rounds);
    }
    Ok(table::text(&rows, &ours, &left_out))
}

/// Who takes part, and of everybody else why not.
struct Taking<T> {
    peers: Vec<T>,
    left_out: Vec<String>,
}

/// Those that are `asked` for, or all that are found.
///
/// Errors: one that is asked for is not found, or nobody is.
fn taking_part<T>(asked: &[PeerName], find: impl Fn(PeerName) -> Result<T>) -> Result<Taking<T>> {
    let mut taking = Taking { peers: Vec::new(), left_out: Vec::new() };
    for name in PeerName::value_variants() {
        let shown = name.shown();
        if !asked.is_empty() && !asked.contains(name) {
            continue;
        }
        match find(*name) {
            Ok(peer) => taking.peers.push(peer),
            Err(error) if !asked.is_empty() => return Err(error.context(shown)),
            Err(error) => {
                eprintln!("without {shown}: {error:#}");
                taking.left_out.push(format!("{shown}: {error:#}"));
            }
        }
    }
    if taking.peers.is_empty() {
        bail!("there is nobody to compare with:\n{}", taking.left_out.join("\n"));
    }
    Ok(taking)
}

async fn of_peer(scenario: &Scenario, work: &Path, peer: &dyn Peer) -> Result<Round> {
    let folder = folder(work)?;
    let (sink, [listen, _]) = servers(folder.path())?;
    let place = Place { folder: folder.path(), listen, upstream: sink.addresses[0] };
    let server = Server::start(peer, &place).await?;
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
    // Servers run in folders of their own.
    let work = std::path::absolute(work).context("finding the working folder")?;
    let folder = tempfile::Builder::new().prefix("relay-fast-peers-").tempdir_in(&work);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: PeerName) -> Result<PeerName> {
        match name {
            PeerName::Postfix | PeerName::Haraka => Ok(name),
            PeerName::Exim | PeerName::Opensmtpd => bail!("not installed"),
        }
    }

    #[test]
    fn all_that_are_found_take_part_unless_some_are_asked_for() {
        let all = taking_part(&[], found).unwrap();
        assert_eq!(all.peers, [PeerName::Postfix, PeerName::Haraka]);
        assert_eq!(all.left_out, ["Exim: not installed", "OpenSMTPD: not installed"]);
        let asked = taking_part(&[PeerName::Haraka, PeerName::Haraka], found).unwrap();
        assert_eq!((asked.peers, asked.left_out.len()), (vec![PeerName::Haraka], 0));
        let error = taking_part(&[PeerName::Postfix, PeerName::Exim], found).err().unwrap();
        assert_eq!(format!("{error:#}"), "Exim: not installed");
        let nobody = taking_part::<()>(&[], |_| bail!("absent")).err().unwrap();
        assert!(nobody.to_string().contains("nobody"), "{nobody:#}");
        assert!(nobody.to_string().contains("\nHaraka: absent"), "{nobody:#}");
    }
}
