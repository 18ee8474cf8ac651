//! Run a scenario through the relay, look at it while it runs, and report.
//!
//! In: a scenario. Out: a report for the terminal, as JSON and as one HTML page; the exit code says
//! whether every promise was kept.

mod again;
mod beside;
mod compare;
mod consumer;
mod course;
mod facts;
mod fates;
mod html;
mod kpis;
mod peers;
mod report;
pub(crate) mod sample;
mod scenario;
mod text;
mod warm;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::net::TcpStream;

use crate::campaign::rig::{Files, Outcome, Rig, RigOptions};
use crate::campaign::verdict::Verdict;
use crate::campaign::{config, judge};
use crate::source;
use crate::tls::Mode;
pub(crate) use beside::{BesideOptions, run as beside};
pub(crate) use compare::{CompareOptions, run as compare};
use course::Course;
use facts::Machine;
pub(crate) use peers::{PeersOptions, run as peers};
use report::{Figures, QUANTILES, Report, Server};
use scenario::{Named, Scenario};

/// A scenario, and what of it is to be otherwise.
#[derive(Args, Clone, Debug)]
#[command(after_help = [scenario::REFERENCE, "\n\n", config::REFERENCE].concat())]
pub(crate) struct RunOptions {
    /// Name of a scenario that comes with this program, or its file
    #[arg(required_unless_present = "list")]
    scenario: Option<String>,
    /// Print the scenarios that come with this program
    #[arg(long)]
    list: bool,
    /// Messages, instead of what the scenario says
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..100_000_000))]
    messages: Option<u32>,
    /// Messages a second, instead of what the scenario says
    #[arg(long)]
    rate: Option<f64>,
    /// Folder that gets report.json and report.html
    #[arg(long, value_name = "DIR", default_value = "loadtest-report")]
    out: PathBuf,
    #[command(flatten)]
    rig: RigOptions,
}

/// Runs a scenario to its end or to a signal.
pub(crate) fn run(options: &RunOptions) -> Result<ExitCode> {
    let Some(name) = options.scenario.as_ref().filter(|_| !options.list) else {
        print!("{}", scenario::list()?);
        return Ok(ExitCode::SUCCESS);
    };
    let mut named = scenario::find(name)?;
    let scenario = &mut named.scenario;
    scenario.messages = options.messages.unwrap_or(scenario.messages);
    scenario.rate = options.rate.or(scenario.rate);
    std::fs::create_dir_all(&options.out)
        .with_context(|| format!("making {}", options.out.display()))?;
    let Some(report) = crate::stop::run_until_signal(play(&named, &options.rig))? else {
        bail!("stopped by a signal; the relay is killed and nothing is reported")
    };
    print!("{}", text::text(&report));
    let (json, page) = (options.out.join("report.json"), options.out.join("report.html"));
    report.save(&json)?;
    std::fs::write(&page, html::page(&report))
        .with_context(|| format!("writing {}", page.display()))?;
    println!("\n{}\n{}", json.display(), page.display());
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Plays a scenario, from the start of its servers to the end of the relay.
async fn play(named: &Named, options: &RigOptions) -> Result<Report> {
    let Named { scenario, .. } = named;
    let mut course = Course::new(scenario).await?;
    let webhook = course.webhook();
    let files = Files {
        script: scenario.sink.as_deref(),
        config: scenario.config.as_deref(),
        cores: Some(scenario.cores),
        far: scenario.far()?,
        server_tls: scenario.server_tls,
        shaping: scenario.shaping.as_deref(),
        webhook: webhook.as_ref().map(|(url, secret)| (&**url, &**secret)),
        own_hosts: scenario.own_hosts,
        answers: scenario.kpis.is_some(),
    };
    let total = u64::from(scenario.messages);
    let mut rig = Rig::with_files(options, &scenario.upstreams, total, &files).await?;
    let idle = stay_idle(scenario.idle, &rig).await?;
    course.begin(&mut rig).await?;
    rig.sample();
    let begin = Instant::now();
    rig.inject(scenario.source(rig.plan.listen)?, u64::MAX)?;
    while !rig.source_is_done() {
        rig.tick().await?;
        if rig.is_stuck() {
            bail!("nothing was accepted or delivered for a long time");
        }
        course.step(&mut rig).await?;
    }
    course.end(&mut rig).await?;
    if scenario.relents {
        rig.progress.say("the servers take everything from now on");
        rig.relent().await?;
    }
    rig.wait_for_the_last().await?;
    let mut verdict = Verdict::default();
    again::send(scenario, &mut rig, &mut verdict).await?;
    drop(idle);
    let delivering = rig.last_change().duration_since(begin);
    let server = Server {
        version: version(&rig).await?,
        command: rig.plan.shown(),
        shards: rig.plan.cores,
        durability: durability(options, scenario)?,
    };
    course.judge(&rig, &mut verdict).await?;
    let outcome = rig.finish().await?;
    judge(&outcome, &mut verdict);
    judge_protection(&outcome, scenario, &mut verdict);
    Ok(Report {
        scenario: named.name.clone(),
        description: scenario.description.clone(),
        scenario_text: named.text.clone(),
        time: format!("{:.0}", jiff::Timestamp::now()),
        machine: Machine::here(&options.work),
        server,
        figures: figures(&outcome, delivering),
        latency_ms: latency(&outcome),
        shards_cpu_us: outcome.shards_cpu_us,
        samples: outcome.samples,
        verdict: verdict.findings().to_vec(),
    })
}

/// What a scenario with TLS or signatures promises beside: of servers that keep their word.
fn judge_protection(outcome: &Outcome, scenario: &Scenario, verdict: &mut Verdict) {
    let totals = &outcome.sink.totals;
    let messages = totals.messages;
    if scenario.server_tls != Mode::None && scenario.sink.is_none() {
        let secured = totals.tls_messages;
        verdict.add(secured == messages, format!("{secured} of {messages} went out under TLS"));
    }
    if outcome.dkim_keys > 0 {
        let (signatures, keys) = (totals.signatures, outcome.dkim_keys);
        let text = format!("{signatures} signatures by {keys} keys on {messages} messages");
        verdict.add(signatures == keys * messages, text);
    }
}

/// Clients that are connected and say nothing; they go when they are dropped.
async fn stay_idle(count: u32, rig: &Rig) -> Result<Vec<TcpStream>> {
    let mut limits = getrlimit(Resource::Nofile);
    limits.current = limits.maximum;
    setrlimit(Resource::Nofile, limits).context("asking for more open files")?;
    let mut idle = Vec::new();
    for number in 0..count {
        let client = TcpStream::connect(rig.plan.listen).await;
        idle.push(client.with_context(|| format!("connecting client {number} of {count}"))?);
    }
    Ok(idle)
}

async fn version(rig: &Rig) -> Result<String> {
    let mut command = tokio::process::Command::new(&rig.plan.binary);
    let output = command.arg("--version").output().await.context("asking for the version")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// What a 250 of this relay promises, by its configuration.
fn durability(options: &RigOptions, scenario: &Scenario) -> Result<String> {
    let own = options.config.as_ref().map(std::fs::read_to_string).transpose();
    let own = own.context("reading the configuration")?;
    let config = own.as_deref().or(scenario.config.as_deref()).unwrap_or("");
    let knobs: toml::Table = toml::from_str(config).context("reading the configuration")?;
    let of = |table: &toml::Value| {
        table.get("durability").and_then(toml::Value::as_str) == Some("memory")
    };
    let listeners = knobs.get("listener").and_then(toml::Value::as_array);
    let in_memory = listeners.is_some_and(|all| all.iter().any(of)) || knobs.values().any(of);
    Ok(match in_memory {
        true => "250 before the sync (durability = memory)".to_owned(),
        false => "synced before 250".to_owned(),
    })
}

fn figures(outcome: &Outcome, delivering: Duration) -> Figures {
    let Outcome { source, sink, account, relay_cpu_us, shards_cpu_us, samples, .. } = outcome;
    let each = |us: u64| us as f64 / account.delivered.max(1) as f64;
    let a_second = |count: u64, time: Duration| count as f64 / time.as_secs_f64().max(0.001);
    let mean = shards_cpu_us.iter().sum::<u64>() as f64 / shards_cpu_us.len().max(1) as f64;
    let most = shards_cpu_us.iter().max().copied().unwrap_or_default();
    Figures {
        accepted: account.accepted,
        delivered: account.delivered,
        bounced: account.bounced,
        queued: account.queued,
        lost: account.lost,
        duplicates: account.duplicates,
        accepting_s: source.elapsed.as_secs_f64(),
        delivering_s: delivering.as_secs_f64(),
        accepted_per_s: a_second(account.accepted, source.elapsed),
        delivered_per_s: a_second(account.delivered, delivering),
        relay_cpu_us: each(*relay_cpu_us),
        source_cpu_us: each(source.cpu_us),
        sink_cpu_us: each(sink.cpu_us),
        memory_peak_mib: samples.iter().map(|sample| sample.memory_kib).max().unwrap_or_default()
            as f64
            / 1_024.0,
        queue_peak: samples.iter().map(|sample| sample.queued).max().unwrap_or_default(),
        busiest_shard: if mean > 0.0 { most as f64 / mean } else { 0.0 },
        tls_sessions_in: source.tally.tls_sessions,
        tls_sessions_out: sink.totals.tls_sessions,
        tls_failures_out: sink.totals.tls_failures,
        tls_messages_out: sink.totals.tls_messages,
        signatures: sink.totals.signatures,
    }
}

fn latency(outcome: &Outcome) -> Vec<(String, Vec<f64>)> {
    let quantiles = QUANTILES.map(|(quantile, _)| quantile);
    let phases = outcome.source.tally.at(&quantiles).into_iter();
    let mut all: Vec<_> = phases.map(|(name, at)| (name.to_owned(), at)).collect();
    all.push(("end to end".to_owned(), source::at(&outcome.account.latency, &quantiles)));
    all
}
