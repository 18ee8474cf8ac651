//! A queue that only grows: nobody takes the mail, and what a large queue costs is measured.
//!
//! In: how much mail, and at which sizes to look. Out: a table with a column a size (memory a
//! queued recipient, what operators' verbs cost), one with a line a restart, the ledger, a verdict.
//! Times are shown and judge nothing.
//! Unit: recipients, octets of the process' anonymous memory.

mod restart;
mod table;
mod verbs;
mod vitals;

use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;

use super::rig::{Files, Outcome, Rig, RigOptions, TICK};
use super::verdict::Verdict;
use crate::ledger::queued;
use crate::source::{Sizes, SourceOptions};
use restart::{End, Restart};
use table::{Look, Memory};
use verbs::Verbs;
use vitals::Vitals;

/// What a queued recipient may cost in RAM (the relay's DESIGN says so).
const OCTETS_MAX: f64 = 128.0;
/// Fewer recipients prove nothing: the rows of a thousand domains and fuller buffers, 1.5 MiB, are
/// not spread over enough.
const JUDGED_FROM: u64 = 500_000;
/// Messages that are delivered before: so the empty relay's memory is that of one at work.
const WARM: u32 = 5_000;
/// Domains that are flushed at each look, and recipients of each.
const FLUSHES: u32 = 5;
const FLUSHED: u32 = 100;
/// How long the relay is left alone before its memory is read.
const REST: Duration = Duration::from_secs(1);

/// What goes to `.flush.example` is deferred, as long as the sink lives.
const SCRIPT: &str = r#"
[[rule]]
stage = "rcpt"
domain = ".flush.example"
reply = "451 4.7.1 Try again later"
"#;

/// No message stays in memory for its first attempt: it is the queue that is measured.
const CONFIG: &str = r#"
[spool]
hot_memory = "0B"
[queue]
retry_first = "1d"
retry_longest = "1d"
"#;

/// How large the queue grows, and of what.
#[derive(Args, Clone, Debug)]
pub(crate) struct BacklogOptions {
    #[command(flatten)]
    rig: RigOptions,
    /// Messages that are queued in the end
    #[arg(long, default_value_t = 100_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1_000..100_000_000))]
    messages: u32,
    /// Numbers of messages at which the relay is looked at before
    #[arg(long, value_delimiter = ',', default_value = "1000", value_name = "N,…")]
    at: Vec<u32>,
    /// Octets of a message, header included: N or MIN-MAX; 10KB and 10KiB are understood
    #[arg(long, default_value = "10KB")]
    size: Sizes,
    /// Recipients of a message, each at another domain
    #[arg(long, default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=64))]
    recipients_per_message: u32,
    /// Destination domains
    #[arg(long, default_value_t = 1_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..10_000_000))]
    domains: u32,
    /// Exponent of Zipf's law for the domains; each in turn without it
    #[arg(long)]
    zipf: Option<f64>,
    /// Connections of the source
    #[arg(long, default_value_t = 20)]
    connections: usize,
    /// Restart nothing: look at the growing queue only
    #[arg(long)]
    no_restarts: bool,
}

/// Runs it to its end or to a signal.
pub(crate) fn run(options: &BacklogOptions) -> Result<ExitCode> {
    match crate::stop::run_until_signal(backlog(options))? {
        Some(verdict) => Ok(verdict.exit_code()),
        None => bail!("stopped by a signal; the relay is killed and nothing is judged"),
    }
}

async fn backlog(options: &BacklogOptions) -> Result<Verdict> {
    let mut points: Vec<u32> = options.at.clone();
    points.retain(|point| *point < options.messages);
    points.push(options.messages);
    points.sort_unstable();
    points.dedup();
    let looks = u32::try_from(points.len())? + 1;
    let total = bulk(options) + u64::from(WARM + looks * FLUSHES * FLUSHED);
    let files = Files { script: Some(SCRIPT), config: Some(CONFIG), ..Files::default() };
    let mut rig = Rig::with_files(&options.rig, &[1], total, &files).await?;
    let empty = warm_up(&mut rig, options, looks * FLUSHES).await?;
    rig.sink.kill(0);
    let mut source = SourceOptions::campaign(rig.plan.listen, options.messages, options.domains);
    source.size = options.size;
    source.recipients = options.recipients_per_message;
    source.zipf = options.zipf;
    source.connections = options.connections;
    let before = rig.accepted();
    rig.inject(source, 0)?;
    let mut found = Vec::new();
    for (turn, point) in (0..).zip(&points) {
        rig.control.released.store(u64::from(*point), Ordering::Relaxed);
        let wanted = before + u64::from(*point) * u64::from(options.recipients_per_message);
        until_accepted(&mut rig, wanted).await?;
        let name = format!("{point} messages");
        found.push(look(&mut rig, name, empty, turn * FLUSHES).await?);
    }
    let mut restarts = Vec::new();
    if !options.no_restarts {
        for (end, is_cold) in [(End::Term, false), (End::Kill, false), (End::Kill, true)] {
            restarts.push(restart::restart(&mut rig, end, is_cold).await?);
            if restarts.len() == 1 {
                let name = "after a restart".to_owned();
                found.push(look(&mut rig, name, empty, (looks - 1) * FLUSHES).await?);
            }
        }
    }
    let outcome = rig.finish().await?;
    let verdict = judge(options, &outcome, &found, &restarts);
    print!("{}\n{}\n", table::looks(&found), table::restarts(&restarts));
    println!("--- ledger\n{}", outcome.account.text(20));
    print!("{}", verdict.text());
    Ok(verdict)
}

/// Recipients that are queued in the end, without those of the flushed domains.
fn bulk(options: &BacklogOptions) -> u64 {
    u64::from(options.messages) * u64::from(options.recipients_per_message)
}

/// Delivers some messages, and lets those wait that will be flushed; the memory of the relay then.
async fn warm_up(rig: &mut Rig, options: &BacklogOptions, flushes: u32) -> Result<Vitals> {
    let mut source = SourceOptions::campaign(rig.plan.listen, WARM, 1);
    source.size = options.size;
    source.connections = options.connections;
    rig.inject(source, u64::MAX)?;
    rig.source_report().await?;
    let mut source = SourceOptions::campaign(rig.plan.listen, flushes * FLUSHED, 1);
    source.to_domains = (0..flushes).map(verbs::flushed_domain).collect();
    rig.inject(source, u64::MAX)?;
    rig.source_report().await?;
    let (waiting, begin) = (u64::from(flushes * FLUSHED), Instant::now());
    while rig.sink.recorded() < u64::from(WARM) || queued::deferred(rig.plan.admin)? < waiting {
        rig.tick().await?;
        if begin.elapsed() > Duration::from_secs(60) {
            bail!("{} of {WARM} delivered while all was well", rig.sink.recorded());
        }
    }
    tokio::time::sleep(REST).await;
    Vitals::of(rig.pid()?, queued::ask(rig.plan.admin)?)
}

async fn until_accepted(rig: &mut Rig, count: u64) -> Result<()> {
    while rig.accepted() < count {
        rig.tick().await?;
        if rig.is_stuck() {
            bail!("{} of {count} accepted, and no more comes", rig.accepted());
        }
    }
    tokio::time::sleep(TICK).await;
    Ok(())
}

/// Measures memory and verbs; `flush` is the first of the domains that are flushed.
async fn look(rig: &mut Rig, name: String, empty: Vitals, flush: u32) -> Result<Look> {
    rig.progress.say(&format!("looking at {name}"));
    tokio::time::sleep(REST).await;
    let vitals = Vitals::of(rig.pid()?, queued::ask(rig.plan.admin)?)?;
    let memory = Memory { empty, vitals };
    let verbs = Verbs::measure(rig.pid()?, rig.plan.admin, flush, FLUSHES).await?;
    rig.excuse();
    Ok(Look { name, memory, verbs })
}

fn judge(
    options: &BacklogOptions,
    outcome: &Outcome,
    looks: &[Look],
    restarts: &[Restart],
) -> Verdict {
    let mut verdict = Verdict::default();
    let account = &outcome.account;
    for look in looks.iter().filter(|look| look.memory.vitals.recipients >= JUDGED_FROM) {
        let octets = look.memory.octets_each();
        let text = format!("{octets:.1} octets of RAM a queued recipient, {}", look.name);
        verdict.add(octets <= OCTETS_MAX, format!("{text} ({OCTETS_MAX} allowed)"));
    }
    for look in looks {
        let Verbs { flushed, .. } = look.verbs;
        let wanted = u64::from(FLUSHES * FLUSHED);
        verdict.add(flushed == wanted, format!("{flushed} recipients flushed, {}", look.name));
    }
    for Restart { end, recovered, expected, .. } in restarts {
        let text = format!("{recovered} of {expected} queued after {end}");
        verdict.add(recovered == expected, text);
    }
    let bulk = bulk(options);
    verdict.add(outcome.source.finished, "every message was accepted".to_owned());
    verdict.add(account.queued >= bulk, format!("{} still queued", account.queued));
    verdict.add(account.lost == 0, format!("{} lost", account.lost));
    verdict.add(account.changed.is_empty(), format!("{} changed", account.changed.len()));
    verdict
}
