//! Kill the relay again and again under full load, and account for every message after each kill.
//!
//! In: how often, how much, a seed. Out: a line a cycle, the account, a verdict. Some domains are
//! refused for good, so that there are DSNs; some are deferred once; those of one stay in the queue
//! through every kill and are delivered at the end.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use super::blow::{Blow, Moment};
use super::duplicates::{Kills, without_excuse};
use super::rig::{Files, Rig, RigOptions, TICK};
use super::verdict::Verdict;
use super::{judge, show, unix_ms};
use crate::dice::Dice;
use crate::ledger::account::Account;
use crate::ledger::queued;
use crate::source::{Sizes, SourceOptions};
use std::sync::atomic::Ordering;

/// How often the moment of a kill is looked for.
const LOOK: Duration = Duration::from_millis(1);
/// How long a relay that was to die at a ring entry is left alive once all is accepted.
const SPARED: Duration = Duration::from_secs(2);
/// What stays in the queue until the end.
const STUCK: &str = "@d0000007.example";
const DOMAINS: u32 = 50;

const SCRIPT: &str = r#"
[[rule]]
stage = "rcpt"
domain = "d0000003.example"
reply = "550 5.1.1 No such user"
[[rule]]
stage = "rcpt"
domain = "d0000005.example"
first = 1
reply = "451 4.7.1 Try again later"
[[rule]]
stage = "rcpt"
domain = "d0000007.example"
reply = "452 4.2.2 Mailbox full"
"#;

const CONFIG: &str = r#"
[spool]
segment_size = "16MiB"
[queue]
retry_first = "1s"
retry_longest = "10s"
"#;

/// How often the relay is killed, and under what load.
#[derive(Args, Clone, Debug)]
pub(crate) struct CrashOptions {
    #[command(flatten)]
    rig: RigOptions,
    /// Times that the relay is killed, at least
    #[arg(long, default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..100_000))]
    cycles: u32,
    /// Messages of each cycle
    #[arg(long, default_value_t = 2_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(100..1_000_000))]
    messages: u32,
    /// Octets of a message, header included: N or MIN-MAX
    #[arg(long, default_value = "1024-65536")]
    size: Sizes,
    /// Connections of the source
    #[arg(long, default_value_t = 20)]
    connections: usize,
    /// Seconds without progress after which what is missing will not come
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    patience: u64,
    /// Seed of the moments; another one each run without it
    #[arg(long)]
    seed: Option<u64>,
    /// Kill it as one of its threads enters a ring for the Nth time, by seed; needs strace
    #[arg(long)]
    at_ring_entry: bool,
}

/// What became of a cycle.
#[derive(Debug, Default)]
struct Findings {
    lost: Vec<String>,
    loose: Vec<String>,
    /// Kills at a ring entry that the relay lived to see.
    spared: u32,
}

/// Runs all cycles, to their end or to a signal.
pub(crate) fn run(options: &CrashOptions) -> Result<ExitCode> {
    match crate::stop::run_until_signal(cycles(options))? {
        Some(verdict) => Ok(verdict.exit_code()),
        None => bail!("stopped by a signal; the relay is killed and nothing is judged"),
    }
}

async fn cycles(options: &CrashOptions) -> Result<Verdict> {
    let total = options.cycles.checked_mul(options.messages).context("too many messages")?;
    let seed = options.seed.map_or_else(unix_ms, Ok)?;
    println!("seed {seed}");
    let mut dice = Dice::new(seed);
    let files = Files { script: Some(SCRIPT), config: Some(CONFIG), ..Files::default() };
    let mut rig = Rig::with_files(&options.rig, &[1], u64::from(total), &files).await?;
    let mut source = SourceOptions::campaign(rig.plan.listen, total, DOMAINS);
    source.size = options.size;
    source.connections = options.connections;
    source.seed = Some(seed);
    rig.inject(source, 0)?;
    let (mut kills, mut findings) = (Kills::default(), Findings::default());
    for cycle in 0..options.cycles {
        let blow = Blow::roll(&mut dice, options.messages, rig.plan.cores, options.at_ring_entry);
        let done = u64::from(cycle) * u64::from(options.messages);
        one_cycle(&mut rig, options, done, &blow, &mut kills, &mut findings).await?;
        if !findings.lost.is_empty() {
            break;
        }
    }
    finish(rig, options.still(), &kills, findings).await
}

impl CrashOptions {
    fn still(&self) -> Duration {
        Duration::from_secs(self.patience)
    }
}

/// Load, a kill, another start, and the account once nothing moves any more.
async fn one_cycle(
    rig: &mut Rig,
    options: &CrashOptions,
    done: u64,
    blow: &Blow,
    kills: &mut Kills,
    findings: &mut Findings,
) -> Result<()> {
    let wanted = done + u64::from(options.messages);
    let first = kills.count();
    let was = match blow.moment {
        Moment::Accepted { count, and_then } => {
            rig.control.released.store(wanted, Ordering::Relaxed);
            until_accepted(rig, done + u64::from(count)).await?;
            tokio::time::sleep(and_then).await;
            format!("at {count:>5} accepted")
        }
        Moment::RingEntry(entry) => {
            // The orderly one before it makes way for one that is to die.
            rig.kill().await?;
            kills.add(unix_ms()?);
            rig.plan.dies_at_entry = Some(entry);
            rig.spawn()?;
            rig.control.released.store(wanted, Ordering::Relaxed);
            let died = until_dead(rig, wanted).await?;
            findings.spared += u32::from(!died);
            rig.plan.dies_at_entry = None;
            format!("at entry {entry:>5}{}", if died { "" } else { " (not reached)" })
        }
    };
    rig.kill().await?;
    kills.add(unix_ms()?);
    rig.plan.cores = blow.cores;
    if let Some(after) = blow.again {
        rig.spawn()?;
        tokio::time::sleep(after).await;
        rig.kill().await?;
        kills.add(unix_ms()?);
    }
    let took = rig.crash(blow.cores).await?;
    let (account, lost) = settled(rig, wanted, options.still()).await?;
    let loose = without_excuse(&rig.ledger()?, &account, &rig.received_file(), kills)?;
    rig.progress.say(&format!(
        "killed {was}{}, ready with {} cores after {took:.1?}: {} = {} + {} + {} queued, {} lost, \
         {} duplicates ({} of the source, {} without excuse)",
        if kills.count() - first > 1 && blow.again.is_some() { " and in recovery" } else { "" },
        blow.cores,
        account.accepted,
        account.delivered,
        account.bounced,
        account.queued,
        lost.len(),
        account.duplicates,
        account.duplicates_of_source,
        loose.len(),
    ));
    findings.lost = lost;
    findings.loose = loose;
    Ok(())
}

async fn until_accepted(rig: &mut Rig, count: u64) -> Result<()> {
    let mut ticked = Instant::now();
    while rig.accepted() < count {
        tokio::time::sleep(LOOK).await;
        if ticked.elapsed() > TICK {
            rig.tick().await?;
            ticked = Instant::now();
            if rig.accepted() < count && (rig.is_stuck() || rig.source_is_done()) {
                bail!("{} accepted, and no more comes", rig.accepted());
            }
        }
    }
    Ok(())
}

/// Whether the relay died, before everything was accepted and a while had passed.
async fn until_dead(rig: &mut Rig, wanted: u64) -> Result<bool> {
    let mut accepted_at = None::<Instant>;
    while !rig.has_ended()? {
        rig.tick().await?;
        if rig.accepted() >= wanted {
            let at = *accepted_at.get_or_insert_with(Instant::now);
            if at.elapsed() > SPARED {
                return Ok(false);
            }
        }
        if rig.is_stuck() {
            bail!("nothing was accepted, and the relay lives");
        }
    }
    Ok(true)
}

/// The account once all is accepted and only what is meant to be queued is; and who is neither
/// there nor in the queue.
async fn settled(rig: &mut Rig, wanted: u64, patience: Duration) -> Result<(Account, Vec<String>)> {
    until_accepted(rig, wanted).await?;
    let mut still = (0, Instant::now());
    loop {
        rig.tick().await?;
        let account = rig.ledger()?.account(0);
        let absent = |name: &&String| !name.ends_with(STUCK);
        let absent: Vec<String> = account.missing.iter().filter(absent).cloned().collect();
        if still.0 != absent.len() {
            still = (absent.len(), Instant::now());
        }
        if absent.is_empty() || still.1.elapsed() > patience {
            let count = queued::ask(rig.plan.admin)?;
            let account = rig.ledger()?.account(count);
            let lost = if account.lost > 0 { account.missing.clone() } else { absent };
            return Ok((account, lost));
        }
    }
}

/// The sink takes everything, so that what was queued all the time comes too; then all is judged.
async fn finish(
    mut rig: Rig,
    patience: Duration,
    kills: &Kills,
    mut findings: Findings,
) -> Result<Verdict> {
    if findings.lost.is_empty() {
        rig.relent().await?;
        let mut still = (usize::MAX, Instant::now());
        while still.0 > 0 && still.1.elapsed() < patience {
            rig.tick().await?;
            let missing = rig.ledger()?.account(0).missing.len();
            if missing != still.0 {
                still = (missing, Instant::now());
            }
        }
    }
    // What came at the end may have come before, too.
    let ledger = rig.ledger()?;
    findings.loose = without_excuse(&ledger, &ledger.account(0), &rig.received_file(), kills)?;
    let outcome = rig.finish().await?;
    show(&outcome);
    let mut verdict = Verdict::default();
    verdict.add(kills.count() > 0, format!("the relay was killed {} times", kills.count()));
    if findings.spared > 0 {
        println!("{} ring entries were not reached", findings.spared);
    }
    for name in findings.lost.iter().take(20) {
        println!("lost: {name}");
    }
    for name in findings.loose.iter().take(20) {
        println!("twice without excuse: {name}");
    }
    judge(&outcome, &mut verdict);
    verdict.add(findings.lost.is_empty(), format!("{} lost in a cycle", findings.lost.len()));
    let loose = findings.loose.len();
    verdict.add(loose == 0, format!("{loose} came twice that were not in flight at a kill"));
    print!("{}", verdict.text());
    Ok(verdict)
}
