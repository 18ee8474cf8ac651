//! One command for the main job: a sink, the relay and a source, with every message accounted for.
//!
//! Out: live progress, the relay's own report, the ledger, each upstream's share of the domains,
//! CPU a message, and a verdict on each promise; the exit code says whether all were kept.

mod aside;
mod backlog;
mod blow;
pub(crate) mod config;
mod crash;
mod duplicates;
mod outage;
mod progress;
pub(crate) mod relay;
pub(crate) mod rig;
mod scenario;
mod shares;
pub(crate) mod verdict;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::ledger::each_line;
use crate::message::number_of;
use crate::source::{Sizes, SourceOptions};
pub(crate) use backlog::{BacklogOptions, run as run_backlog};
pub(crate) use crash::{CrashOptions, run as run_crash};
use outage::{Crashes, Order, Outage, other_cores};
use rig::{Outcome, Rig, RigOptions};
pub(crate) use scenario::{ScenarioOptions, run as run_scenario};
use shares::{Shares, Span, expected};
use verdict::Verdict;

/// How long after its death an upstream's last deliveries may still be written down, in ms.
const DEATH_RATTLE_MS: u64 = 1_000;

/// A campaign: how much mail, over how many upstreams, and what goes wrong meanwhile.
#[derive(Args, Clone, Debug)]
pub(crate) struct CampaignOptions {
    #[command(flatten)]
    rig: RigOptions,
    /// Messages
    #[arg(long, default_value_t = 10_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(20..100_000_000))]
    messages: u32,
    /// Destination domains
    #[arg(long, default_value_t = 1_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..10_000_000))]
    domains: u32,
    /// Octets of a message, header included: N or MIN-MAX
    #[arg(long, default_value = "10240")]
    size: Sizes,
    /// Connections of the source
    #[arg(long, default_value_t = 20)]
    connections: usize,
    /// Messages a second; as fast as can be without it
    #[arg(long)]
    rate: Option<f64>,
    /// Weights of the upstreams; there are as many as there are weights
    #[arg(long, value_delimiter = ':', default_value = "3:2:1", value_name = "W:W…",
          value_parser = clap::value_parser!(u32).range(1..1_000))]
    upstreams: Vec<u32>,
    /// Kill the first upstream when half is accepted, and start it again
    #[arg(long, conflicts_with = "kill_relay")]
    kill_upstream: bool,
    /// Seconds that a killed upstream is down at least
    #[arg(long, default_value_t = 10)]
    down: u64,
    /// Kill the relay by SIGKILL so many times, each time starting it with other --cores
    #[arg(long, value_name = "TIMES", default_value_t = 0)]
    kill_relay: u64,
}

/// When the first upstream was killed and revived, and who shows what came back.
#[derive(Clone, Copy, Debug)]
struct Downtime {
    killed_ms: u64,
    revived_ms: u64,
    after_from: u64,
}

/// Runs a campaign to its end or to a signal.
pub(crate) fn run(options: &CampaignOptions) -> Result<ExitCode> {
    match crate::stop::run_until_signal(campaign(options))? {
        Some(verdict) => Ok(verdict.exit_code()),
        None => bail!("stopped by a signal; the relay is killed and nothing is judged"),
    }
}

async fn campaign(options: &CampaignOptions) -> Result<Verdict> {
    let total = u64::from(options.messages);
    let mut rig = Rig::start(&options.rig, &options.upstreams, total).await?;
    let mut source = SourceOptions::campaign(rig.plan.listen, options.messages, options.domains);
    source.size = options.size;
    source.connections = options.connections;
    source.rate = options.rate;
    let (downtime, crashes) = if options.kill_upstream {
        (Some(with_outage(&mut rig, source, options).await?), 0)
    } else {
        (None, with_crashes(&mut rig, source, options).await?)
    };
    rig.wait_for_the_last().await?;
    let sinks = rig.sink.addresses.clone();
    let received = rig.received_file();
    // The folder may go with the rig, so the file is read before.
    let shares = read_shares(&received, &sinks, downtime)?;
    let outcome = rig.finish().await?;
    show(&outcome);
    let mut verdict = Verdict::default();
    if crashes > 0 {
        println!("the relay was killed {crashes} times");
    }
    judge(&outcome, &mut verdict);
    judge_shares(&shares, options, downtime.is_some(), &mut verdict);
    print!("{}", verdict.text());
    Ok(verdict)
}

/// Injects everything, killing the relay now and then; returns how often.
async fn with_crashes(
    rig: &mut Rig,
    source: SourceOptions,
    options: &CampaignOptions,
) -> Result<u64> {
    let mut crashes = Crashes::new(u64::from(options.messages), options.kill_relay);
    rig.inject(source, u64::MAX)?;
    while !rig.source_is_done() {
        rig.tick().await?;
        if rig.is_stuck() {
            bail!("nothing was accepted or delivered for a long time");
        }
        if crashes.is_due(rig.accepted()) {
            let cores = other_cores(rig.plan.cores, crashes.done());
            let took = rig.crash(cores).await?;
            let at = rig.accepted();
            rig.progress.say(&format!(
                "killed at {at} accepted; ready again with {cores} cores after {took:.1?}"
            ));
        }
    }
    Ok(crashes.done())
}

/// Injects everything while the first upstream dies and comes back.
async fn with_outage(
    rig: &mut Rig,
    source: SourceOptions,
    options: &CampaignOptions,
) -> Result<Downtime> {
    let total = u64::from(options.messages);
    let mut outage = Outage::new(total, Duration::from_secs(options.down));
    rig.inject(source, outage.released_at_first())?;
    let (mut killed_ms, mut revived_ms) = (u64::MAX, u64::MAX);
    while !rig.source_is_done() {
        rig.tick().await?;
        if rig.is_stuck() {
            bail!("nothing was accepted or delivered for a long time");
        }
        let recorded = rig.sink.counters[0].recipients.load(Ordering::Relaxed);
        match outage.step(Instant::now(), rig.accepted(), recorded) {
            Order::Nothing => {}
            Order::Kill => {
                rig.sink.kill(0);
                killed_ms = unix_ms()?;
                rig.progress.say(&format!("killed upstream {}", rig.sink.addresses[0]));
            }
            Order::Revive => {
                rig.sink.revive(0);
                revived_ms = unix_ms()?;
                rig.progress.say(&format!("revived upstream {}", rig.sink.addresses[0]));
            }
            Order::Release(count) => rig.control.released.store(count, Ordering::Relaxed),
        }
    }
    let after_from = outage.after_from().context("the source ended before the outage was over")?;
    Ok(Downtime { killed_ms, revived_ms, after_from })
}

fn unix_ms() -> Result<u64> {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    u64::try_from(wall.as_millis()).context("the clock is far ahead")
}

impl Downtime {
    /// In which span message `number`, received at `ms`, counts.
    fn span(self, number: u32, ms: u64) -> Option<Span> {
        if ms < self.killed_ms {
            Some(Span::Before)
        } else if ms < self.revived_ms {
            (ms > self.killed_ms + DEATH_RATTLE_MS).then_some(Span::Down)
        } else {
            (u64::from(number) >= self.after_from).then_some(Span::After)
        }
    }
}

/// Who took which domain, from the received file.
fn read_shares(
    received: &std::path::Path,
    sinks: &[SocketAddr],
    downtime: Option<Downtime>,
) -> Result<Shares> {
    let names: Vec<String> = sinks.iter().map(ToString::to_string).collect();
    let mut shares = Shares::new(names.len());
    each_line(received, |line| {
        let words: Vec<&str> = line.split(' ').collect();
        let [id, listener, recipient, ms, "ok" | "changed"] = words[..] else { return };
        let (Some(number), Ok(ms)) = (number_of(id.as_bytes()), ms.parse()) else { return };
        let span = downtime.map_or(Some(Span::Before), |down| down.span(number, ms));
        let upstream = names.iter().position(|name| name == listener);
        let domain = recipient.rsplit_once('@').map(|(_, domain)| domain);
        if let (Some(span), Some(upstream), Some(domain)) = (span, upstream, domain) {
            shares.note(span, upstream, domain);
        }
    })?;
    Ok(shares)
}

/// Prints what was measured.
fn show(outcome: &Outcome) {
    println!("--- source\n{}", outcome.source.text());
    match &outcome.relay_report {
        Ok(text) => println!("--- relay-fast report --since 1h\n{text}"),
        Err(error) => println!("--- no report of the relay: {error:#}\n"),
    }
    println!("--- ledger\n{}", outcome.account.text(20));
    let delivered = outcome.account.delivered.max(1);
    let each = |cpu_us: u64| cpu_us as f64 / delivered as f64;
    println!(
        "--- CPU a message delivered\nrelay {:.1} µs, source {:.1} µs, sink {:.1} µs \
         (loopback, all on one machine: not what a network costs)\n",
        each(outcome.relay_cpu_us),
        each(outcome.source.cpu_us),
        each(outcome.sink.cpu_us),
    );
    for violation in &outcome.sink.violations {
        println!("the relay, as a client: {violation}");
    }
}

/// Judges what holds for every run.
pub(crate) fn judge(outcome: &Outcome, verdict: &mut Verdict) {
    let account = &outcome.account;
    let finished = outcome.source.finished && outcome.source.tally.refused_recipients == 0;
    verdict.add(finished, "every message was accepted".to_owned());
    verdict.add(account.lost == 0, format!("{} lost", account.lost));
    verdict.add(account.queued == 0, format!("{} still queued", account.queued));
    verdict.add(account.changed.is_empty(), format!("{} changed", account.changed.len()));
    let violations = outcome.sink.violations.len();
    verdict.add(violations == 0, format!("{violations} violations of SMTP by the relay"));
    match &outcome.end {
        Ok((status, took)) => {
            let text = format!("the relay ended with {status}, {took:.1?} after SIGTERM");
            verdict.add(status.success(), text);
        }
        Err(error) => verdict.add(false, format!("the relay did not end: {error:#}")),
    }
}

fn judge_shares(shares: &Shares, options: &CampaignOptions, killed: bool, verdict: &mut Verdict) {
    let weights = &options.upstreams;
    let spans: &[(Span, &str)] = if killed {
        &[(Span::Before, "before"), (Span::Down, "while down"), (Span::After, "after")]
    } else {
        &[(Span::Before, "of all")]
    };
    println!("--- each upstream's share of the domains");
    for &(span, name) in spans {
        let (of, domains) = shares.of(span);
        let mut living = weights.clone();
        if span == Span::Down {
            living[0] = 0;
        }
        let wanted = expected(&living, domains);
        let columns: Vec<String> = of
            .iter()
            .zip(&wanted)
            .map(|(is, (share, _))| format!("{:5.1}% ({:.1}%)", is * 100.0, share * 100.0))
            .collect();
        let split = shares.split(span);
        println!("{name:<10} {domains} domains: {}; {split} on several", columns.join("  "));
        let fits = of.iter().zip(&wanted).all(|(is, (share, slack))| (is - share).abs() <= *slack);
        verdict.add(fits, format!("shares {name} follow the weights"));
    }
    println!();
    if !killed {
        return;
    }
    let moves = shares.moves(0);
    let first = |names: &[String]| names.iter().take(5).cloned().collect::<Vec<_>>().join(" ");
    let strays = &moves.moved_without_need;
    verdict.add(
        moves.moved > 0 && strays.is_empty(),
        format!(
            "{} domains of the dead one moved, {} others {}",
            moves.moved,
            strays.len(),
            first(strays)
        ),
    );
    let away = &moves.not_back;
    verdict.add(
        moves.back > 0 && away.is_empty(),
        format!("{} came back, {} did not {}", moves.back, away.len(), first(away)),
    );
    if moves.unseen > 0 {
        println!("{} domains had no mail in one of the spans", moves.unseen);
    }
}
