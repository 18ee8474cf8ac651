//! The command line: run a node, or ask a running one.

use std::cell::RefCell;
use std::error::Error;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use relay_fast::config::problem::Problems;
use relay_fast::config::{Config, duration, reference, reload};
use relay_fast::control::cli::{Cli, NodeFlags, QueueVerb, SpoolVerb, Verb};
use relay_fast::control::commands::Shards;
use relay_fast::control::queue::ask;
use relay_fast::control::spool::Teller;
use relay_fast::control::{http, report};
use relay_fast::platform::machine::machine;
use relay_fast::platform::relay::{self, Handle, Relay};
use relay_fast::platform::spool_dir::QuietSpool;
use relay_fast::platform::spool_repair::repair;
use relay_fast::platform::{clock, spool_bench, telemetry};
use relay_fast::spool::check::{Checked, check as check_directory};

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(Verb::Spool { verb }) = &cli.command {
        return spool(&cli.node, verb).unwrap_or_else(|error| {
            eprintln!("relay-fast: {error}");
            ExitCode::from(CANNOT_BE_READ)
        });
    }
    let done = match &cli.command {
        None => run(&cli.node),
        Some(Verb::Check) => check(&cli.node),
        Some(Verb::Knobs) => {
            print!("{}", reference::render());
            Ok(())
        }
        Some(Verb::Queue { verb }) => queue(&cli.node, verb),
        Some(Verb::Spool { .. }) => unreachable!("answered above, with a code of its own"),
        Some(Verb::Report { since }) => summary(&cli.node, since),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("relay-fast: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(node: &NodeFlags) -> Result<(), Box<dyn Error>> {
    let config = node.load(&machine())?;
    telemetry::start(config.log_level)?;
    let listener = http::bind(config.admin)?;
    // As bound, not as configured: port 0 is the kernel's choice.
    let admin = listener.local_addr()?;
    let relay = Relay::prepare(&config)?;
    let handle = relay.handle();
    let posts = handle.posts.clone();
    http::serve(listener, Shards::new(config.cores, move |shard, c| posts.post(shard, c)))?;
    let Config { hostname, cores, .. } = &config;
    tracing::info!(%hostname, cores, listen = ?relay.addresses(), %admin, "ready");
    let in_force = RefCell::new(config);
    relay.run(|| match again(node, &handle, &in_force) {
        Ok(changes) => tracing::info!(changes, "reloaded"),
        Err(error) => {
            tracing::error!("not reloaded, nothing has changed: {}", in_one_line(&*error))
        }
    })?;
    tracing::info!("drained");
    Ok(())
}

/// A log has a line for each thing that happens.
fn in_one_line(error: &(dyn Error + 'static)) -> String {
    let problems = error.downcast_ref::<Problems>();
    problems.map_or_else(|| error.to_string(), Problems::in_one_line)
}

/// Put the file's present content in force, or change nothing.
fn again(
    node: &NodeFlags,
    handle: &Handle,
    in_force: &RefCell<Config>,
) -> Result<usize, Box<dyn Error>> {
    let after = node.load(&machine())?;
    let changes = reload::diff(&in_force.borrow(), &after)?.len();
    handle.reload(&after)?;
    in_force.replace(after);
    Ok(changes)
}

fn check(node: &NodeFlags) -> Result<(), Box<dyn Error>> {
    let file = node.config.as_ref().map(|path| path.display().to_string());
    let config = node.load(&machine())?;
    relay::check(&config)?;
    print!("{}", config.describe(file.as_deref()));
    Ok(())
}

fn queue(node: &NodeFlags, verb: &QueueVerb) -> Result<(), Box<dyn Error>> {
    print!("{}", ask(node.load(&machine())?.admin, &verb.into())?);
    Ok(())
}

fn summary(node: &NodeFlags, since: &str) -> Result<(), Box<dyn Error>> {
    let span = duration(since).map_err(|error| format!("--since {since}: {error}"))?;
    let spool = node.load(&machine())?.spool.directory;
    let events = report::since(&spool, clock::now().wall - span)
        .map_err(|error| format!("cannot read the event log under {}: {error}", spool.display()))?;
    print!("{events}");
    Ok(())
}

/// The exit code of `spool` verbs on what cannot be read; 1 is for what is damaged.
const CANNOT_BE_READ: u8 = 2;

fn spool(node: &NodeFlags, verb: &SpoolVerb) -> Result<ExitCode, Box<dyn Error>> {
    let (named, id) = verb.names()?;
    let configured = || node.load(&machine()).map(|config| config.spool.directory);
    let root = named.map_or_else(configured, Ok)?;
    let is_well = match verb {
        SpoolVerb::Bench { .. } => spool_bench::bench(&root, io::stdout()).map(|()| true)?,
        SpoolVerb::Check { json, .. } => told(Teller::new(*json), Teller::check, &root)?,
        SpoolVerb::Dump { json, .. } => {
            told(Teller::new(*json), |teller, checked| teller.dump(checked, id), &root)?
        }
        SpoolVerb::Repair { json, .. } => {
            let mut teller = Teller::new(*json);
            match repair(&root)? {
                None => teller.nothing_to_repair()?,
                Some(done) => teller.repaired(&done.copy, &done.directories)?,
            }
            true
        }
    };
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Tell of each directory of a spool that no node runs on; whether all is well.
fn told(
    mut teller: Teller,
    tell: impl Fn(&mut Teller, &Checked) -> io::Result<()>,
    root: &Path,
) -> Result<bool, Box<dyn Error>> {
    let quiet = QuietSpool::open(root)?;
    for number in quiet.directories()? {
        tell(&mut teller, &check_directory(number, quiet.segments(number)?)?)?;
    }
    Ok(teller.end(root)?)
}
