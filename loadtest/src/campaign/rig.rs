//! Everything that a run needs, put together: sink, relay, source, their files, and the wait for
//! the last message.
//!
//! Invariant: when a rig is dropped, the relay is gone; its folder goes only after a run that went
//! well.

mod ending;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use tempfile::TempDir;

use super::aside::Aside;
use super::config::{self, Configured, Made, Site};
use super::progress::Progress;
use super::relay::{self, Relay, RelayPlan};
use crate::far;
use crate::ledger;
use crate::ledger::account::{Account, Ledger};
use crate::net::free_ports;
use crate::run::sample::{Sample, Sampler};
use crate::sink::{Sink, SinkOptions, SinkReport};
use crate::source::{self, SourceControl, SourceOptions, SourceReport};
use crate::tls::{Maker, Mode};

/// Shards of a relay of which nobody says how many it has.
const CORES: u32 = 2;
/// How often counts are looked at.
pub(crate) const TICK: Duration = Duration::from_millis(100);
/// How often the files are read while the last messages are waited for.
const ACCOUNT_EVERY: Duration = Duration::from_millis(500);
/// Longest wait for bounces and complaints to be taken.
const RETURNS_WAIT: Duration = Duration::from_secs(60);
/// Time without progress after which the relay is asked whether it still queues anything.
const QUIET: Duration = Duration::from_secs(10);

/// Which relay to run, and where.
#[derive(Args, Clone, Debug)]
pub(crate) struct RigOptions {
    /// The relay's binary; built from this workspace without it
    #[arg(long, value_name = "PATH")]
    pub(crate) relay: Option<PathBuf>,
    /// Configuration file for the relay; @UPSTREAM@ in it stands for the upstreams, @LISTEN@ for
    /// the address of its listener, which are then not given on its command line; for other marks
    /// see loadtest run --help
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Shards of the relay; 2, or what the scenario says
    #[arg(long)]
    pub(crate) cores: Option<u32>,
    /// Folder for spool, logs and the ledger's files, on the disk that is to be measured
    #[arg(long, value_name = "DIR", default_value = "/var/tmp")]
    pub(crate) work: PathBuf,
    /// Keep that folder's contents
    #[arg(long)]
    keep: bool,
    /// Seconds without any progress after which a run is given up
    #[arg(long, default_value_t = 600)]
    wait: u64,
}

impl RigOptions {
    /// A new folder, which stays: only a run that went well has nothing to show.
    fn folder(&self) -> Result<TempDir> {
        let work = std::path::absolute(&self.work).context("finding the working folder")?;
        let folder = tempfile::Builder::new().prefix("relay-fast-load-").tempdir_in(&work);
        let mut folder = folder.with_context(|| format!("a folder in {}", work.display()))?;
        folder.disable_cleanup(true);
        Ok(folder)
    }
}

/// A run under way.
pub(crate) struct Rig {
    options: RigOptions,
    folder: TempDir,
    pub(crate) sink: Sink,
    pub(crate) plan: RelayPlan,
    relay: Option<Relay>,
    source: Option<JoinHandle<Result<SourceReport>>>,
    pub(crate) control: Arc<SourceControl>,
    pub(crate) progress: Progress,
    /// Where samples are wanted: a look is a question to the relay, which costs it CPU.
    sampler: Option<Sampler>,
    /// CPU of relays that were killed.
    cpu_of_killed_us: u64,
    made: Made,
    /// Sources beside its own.
    asides: Vec<Aside>,
    /// Recipients that nothing is to be sent to.
    pub(crate) spared: u64,
    last_count: u64,
    last_change: Instant,
    asked: Option<Instant>,
}

/// What a run brings along instead of files of the operator's.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Files<'a> {
    /// How the sink misbehaves.
    pub(crate) script: Option<&'a str>,
    /// The relay's configuration, where the operator gives none.
    pub(crate) config: Option<&'a str>,
    /// Its shards, where the operator does not say.
    pub(crate) cores: Option<u32>,
    /// How far away the sink is: a round trip.
    pub(crate) far: Option<Duration>,
    /// TLS that the sink offers.
    pub(crate) server_tls: Mode,
    /// Rules of shaping, for the configuration.
    pub(crate) shaping: Option<&'a str>,
    /// URL and secret of who takes events, for the configuration.
    pub(crate) webhook: Option<(&'a str, &'a str)>,
    /// Each server has a host of its own.
    pub(crate) own_hosts: bool,
    /// Each answer to a recipient is written down.
    pub(crate) answers: bool,
}

impl Files<'_> {
    /// Where the sink listens.
    fn addresses(&self, ports: &[u16]) -> Vec<SocketAddr> {
        let address = |(place, &port): (u8, &u16)| {
            let host = if self.own_hosts { [127, 0, 1, place] } else { [127, 0, 0, 1] };
            SocketAddr::from((host, port))
        };
        (1..).zip(ports).map(address).collect()
    }

    /// The sink at these addresses; its files are in `folder`.
    fn sink(
        &self,
        addresses: &[SocketAddr],
        folder: &Path,
        (relay, web): (SocketAddr, SocketAddr),
        maker: &Arc<Maker>,
    ) -> Result<SinkOptions> {
        let sink = SinkOptions::plain(addresses.to_vec(), Some(folder.join("received")))
            .with_tls(self.server_tls, Arc::clone(maker));
        let sink = if self.answers { sink.answering(folder.join("answered")) } else { sink };
        let Some(script) = self.script else { return Ok(sink) };
        let script = config::with_servers(script, addresses);
        let script = script.replace(config::WEB_MARK, &web.to_string());
        let sink = sink.with_script(config::write(folder, "sink.toml", &script)?);
        Ok(sink.returning(relay, folder.join("returned")))
    }
}

/// What a run leaves when all is over.
pub(crate) struct Outcome {
    pub(crate) source: SourceReport,
    pub(crate) sink: SinkReport,
    pub(crate) account: Account,
    /// Keys that the relay signs each message with.
    pub(crate) dkim_keys: u64,
    pub(crate) relay_cpu_us: u64,
    /// CPU of each shard of the last relay.
    pub(crate) shards_cpu_us: Vec<u64>,
    pub(crate) samples: Vec<Sample>,
    pub(crate) relay_report: Result<String>,
    /// How the relay ended after SIGTERM, and how long it took; or why it did not.
    pub(crate) end: Result<(std::process::ExitStatus, Duration)>,
}

impl Rig {
    /// Starts a sink with one listener a weight, and the relay in front of them.
    pub(crate) async fn start(options: &RigOptions, weights: &[u32], total: u64) -> Result<Self> {
        Self::with_files(options, weights, total, &Files::default()).await
    }

    /// The same, with a sink that misbehaves and knobs for the relay.
    pub(crate) async fn with_files(
        options: &RigOptions,
        weights: &[u32],
        total: u64,
        files: &Files<'_>,
    ) -> Result<Self> {
        let binary = relay::binary(options.relay.as_deref()).await?;
        let folder = options.folder()?;
        let ports = free_ports(weights.len() + 3)?;
        let at = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let sinks = files.addresses(&ports[3..]);
        let maker = Arc::new(Maker::new()?);
        let doors = (at(ports[0]), at(ports[2]));
        let sink = Sink::start(&files.sink(&sinks, folder.path(), doors, &maker)?)?;
        let upstreams = upstreams(&sinks, weights, files.far).await?;
        let ours = files.config.map(|text| config::write(folder.path(), "knobs.toml", text));
        let ours = ours.transpose()?;
        let config = options.config.as_deref().or(ours.as_deref());
        let site = Site {
            folder: folder.path(),
            binary: &binary,
            upstream: &upstreams,
            listen: at(ports[0]),
            web: at(ports[2]),
            servers: &sinks,
            maker: &maker,
            shaping: files.shaping,
            webhook: files.webhook,
        };
        let Configured { config, upstream, listens_by_config, made } =
            site.configure(config).await?;
        let spool = folder.path().join("spool");
        std::fs::create_dir(&spool).with_context(|| format!("creating {}", spool.display()))?;
        let cores = options.cores.or(files.cores).unwrap_or(CORES);
        let (listen, admin) = (at(ports[0]), at(ports[1]));
        let plan = RelayPlan {
            binary,
            config,
            cores,
            listen,
            listens_by_config,
            admin,
            upstream,
            spool,
            log: folder.path().join("relay.log"),
            dies_at_entry: None,
        };
        eprintln!("{}", plan.shown());
        let relay = Some(plan.start().await?);
        Ok(Self {
            options: options.clone(),
            folder,
            sink,
            plan,
            relay,
            source: None,
            control: SourceControl::new(0),
            progress: Progress::new(total),
            sampler: None,
            cpu_of_killed_us: 0,
            made,
            asides: Vec::new(),
            spared: 0,
            last_count: 0,
            last_change: Instant::now(),
            asked: None,
        })
    }

    /// Starts the source, which may begin `released` messages for now.
    pub(crate) fn inject(&mut self, mut options: SourceOptions, released: u64) -> Result<()> {
        options.accepted = Some(self.accepted_file());
        options.patience = self.options.wait;
        options.auth = options.auth.or_else(|| self.made.login.clone());
        self.control.released.store(released, Ordering::Relaxed);
        let control = Arc::clone(&self.control);
        let thread = std::thread::Builder::new().name("source".to_owned());
        let thread = thread.spawn(move || source::run(options, control));
        self.source = Some(thread.context("starting the source's thread")?);
        Ok(())
    }

    /// Starts a small campaign beside the run's own source.
    pub(crate) fn inject_aside(&mut self, name: &str, mut options: SourceOptions) -> Result<()> {
        options.patience = self.options.wait;
        self.asides.push(Aside::start(self.folder.path(), name, options)?);
        Ok(())
    }

    /// Whether the last one was accepted and is delivered: then what became of it.
    pub(crate) fn aside_account(&mut self) -> Result<Option<Account>> {
        let received = self.received_file();
        let Some(aside) = self.asides.last_mut() else { return Ok(None) };
        if !aside.is_accepted()? {
            return Ok(None);
        }
        Ok(Some(aside.account(&received)?).filter(|account| account.missing.is_empty()))
    }

    /// Whether all mail of the source that was started beside last is accepted.
    pub(crate) fn aside_is_accepted(&mut self) -> Result<bool> {
        self.asides.last_mut().map_or(Ok(true), Aside::is_accepted)
    }

    /// Recipients that were accepted, by whichever source.
    pub(crate) fn accepted(&self) -> u64 {
        let asides = self.asides.iter().map(Aside::accepted).sum::<u64>();
        self.control.accepted.load(Ordering::Relaxed) + asides
    }

    pub(crate) fn received_file(&self) -> PathBuf {
        self.folder.path().join("received")
    }

    pub(crate) fn accepted_file(&self) -> PathBuf {
        self.folder.path().join("accepted")
    }

    /// Recipients that were delivered or reported on.
    fn recorded(&self) -> u64 {
        self.sink.recorded()
    }

    /// The accepted files of all sources, the run's own first.
    pub(crate) fn accepted_files(&self) -> Vec<PathBuf> {
        let asides = self.asides.iter().map(|aside| aside.accepted_file.clone());
        std::iter::once(self.accepted_file()).chain(asides).collect()
    }

    /// Recipients that nothing is to be sent to, of what is sent again.
    pub(crate) fn spared_file(&self) -> PathBuf {
        self.folder.path().join("spared")
    }

    /// What recipients sent back, a line each.
    pub(crate) fn returned_file(&self) -> PathBuf {
        self.folder.path().join("returned")
    }

    /// What the servers answered to recipients, a line each.
    pub(crate) fn answered_file(&self) -> PathBuf {
        self.folder.path().join("answered")
    }

    /// Whether the source has ended.
    pub(crate) fn source_is_done(&self) -> bool {
        self.source.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for the source to end; another one may be started then.
    pub(crate) async fn source_report(&mut self) -> Result<SourceReport> {
        let source = self.source.take().context("no source was started")?;
        let joined = tokio::task::spawn_blocking(move || source.join()).await;
        joined
            .context("waiting for the source")?
            .map_err(|_| anyhow!("the source's thread panicked"))?
    }

    /// Waits a tick, shows the counts, and fails if a part has died or nothing moves any more.
    pub(crate) async fn tick(&mut self) -> Result<()> {
        tokio::time::sleep(TICK).await;
        let (accepted, recorded) = (self.accepted(), self.recorded());
        self.progress.show(accepted, recorded);
        if let Some((sampler, relay)) = self.sampler.as_mut().zip(self.relay.as_ref())
            && let Some(pid) = relay.pid()
        {
            let killed = self.cpu_of_killed_us;
            sampler.look(pid, self.plan.admin, || Sample {
                accepted,
                delivered: recorded,
                relay_cpu_us: killed + relay.cpu_since_ready_us(),
                ..Sample::default()
            });
        }
        if self.plan.dies_at_entry.is_none() {
            self.relay.as_mut().map_or(Ok(()), Relay::expect_running)?;
        }
        if self.sink.has_ended() {
            bail!("the sink has ended");
        }
        if self.last_count != accepted + recorded {
            (self.last_count, self.last_change) = (accepted + recorded, Instant::now());
        }
        Ok(())
    }

    /// Take samples from now on.
    pub(crate) fn sample(&mut self) {
        self.sampler = Some(Sampler::start());
    }

    /// When something was accepted or delivered last.
    pub(crate) fn last_change(&self) -> Instant {
        self.last_change
    }

    /// Whether nothing has moved for longer than the operator would wait.
    pub(crate) fn is_stuck(&self) -> bool {
        self.last_change.elapsed() > Duration::from_secs(self.options.wait)
    }

    /// Counts waiting as progress, when standing still is what is wanted.
    pub(crate) fn excuse(&mut self) {
        self.last_change = Instant::now();
    }

    /// SIGKILL for the relay, and a new one with `cores` on the same spool.
    pub(crate) async fn crash(&mut self, cores: u32) -> Result<Duration> {
        self.kill().await?;
        self.plan.cores = cores;
        let begin = Instant::now();
        self.relay = Some(self.plan.start().await?);
        self.excuse();
        Ok(begin.elapsed())
    }

    /// SIGKILL for the relay, if it runs.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        if let Some(relay) = self.relay.take() {
            self.cpu_of_killed_us += relay.cpu_since_ready_us();
            relay.kill().await?;
        }
        Ok(())
    }

    /// SIGTERM for the relay: how long it took to end.
    pub(crate) async fn stop(&mut self) -> Result<Duration> {
        let relay = self.relay.take().context("no relay is running")?;
        self.cpu_of_killed_us += relay.cpu_since_ready_us();
        let (status, took) = relay.stop().await?;
        if !status.success() {
            bail!("the relay ended with {status} after SIGTERM");
        }
        Ok(took)
    }

    /// The relay's process.
    pub(crate) fn pid(&self) -> Result<u32> {
        self.relay.as_ref().and_then(Relay::pid).context("no relay is running")
    }

    /// Starts the relay, killed before, without waiting until it is ready.
    pub(crate) fn spawn(&mut self) -> Result<()> {
        assert!(self.relay.is_none(), "it runs");
        self.relay = Some(self.plan.spawn()?);
        Ok(())
    }

    /// Whether the relay has ended.
    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        self.relay.as_mut().map_or(Ok(true), |relay| Ok(relay.ended()?.is_some()))
    }

    /// What the files say by now.
    pub(crate) fn ledger(&self) -> Result<Ledger> {
        let spared = Some(self.spared_file()).filter(|file| file.exists());
        let received: Vec<_> = std::iter::once(self.received_file()).chain(spared).collect();
        ledger::read(&self.accepted_files(), &received)
    }
}

/// The servers with their weights, as the relay takes them; far away where that is wanted.
async fn upstreams(sinks: &[SocketAddr], weights: &[u32], far: Option<Duration>) -> Result<String> {
    let mut all = Vec::new();
    for (&sink, weight) in sinks.iter().zip(weights) {
        let reached = match far {
            Some(round_trip) => far::stand_between(sink, round_trip / 2).await?,
            None => sink,
        };
        all.push(format!("{reached}*{weight}"));
    }
    Ok(all.join(","))
}
