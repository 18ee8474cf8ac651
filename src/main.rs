//! The command line: run a node, or ask a running one.

use std::cell::RefCell;
use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use relay_fast::config::problem::Problems;
use relay_fast::config::{Config, reference, reload};
use relay_fast::control::check_domain::USAGE;
use relay_fast::control::cli::{Cli, NodeFlags, Verb};
use relay_fast::control::commands::Shards;
use relay_fast::control::{http, passwd};
use relay_fast::platform::machine::machine;
use relay_fast::platform::relay::{Handle, Relay};
use relay_fast::platform::supervise::Occasion;
use relay_fast::platform::telemetry;

use crate::verbs::{CANNOT_BE_READ, check, check_domain, dkim, queue, spool, summary};

mod verbs;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(Verb::Spool { verb }) = &cli.command {
        return spool(&cli.node, verb).unwrap_or_else(|error| {
            eprintln!("relay-fast: {error}");
            ExitCode::from(CANNOT_BE_READ)
        });
    }
    if let Some(Verb::CheckDomain(ask)) = &cli.command {
        return check_domain(&cli.node, ask).unwrap_or_else(|error| {
            eprintln!("relay-fast: {error}");
            ExitCode::from(USAGE)
        });
    }
    let done = match &cli.command {
        None => run(&cli.node),
        Some(Verb::Check) => check(&cli.node),
        Some(Verb::Knobs) => {
            print!("{}", reference::render());
            Ok(())
        }
        Some(Verb::Dkim { verb }) => dkim(&cli.node, verb),
        Some(Verb::Queue { verb }) => queue(&cli.node, verb),
        Some(Verb::Spool { .. } | Verb::CheckDomain(_)) => {
            unreachable!("answered above, with codes of their own")
        }
        Some(Verb::Passwd(change)) => passwd::run(change).map_err(Box::from),
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
    let relay = Relay::prepare(&config, node.config.as_deref())?;
    // By the rights that are left: what a reload could not read is told now.
    let reread = node.load(&machine()).map_err(|error| match &config.user {
        Some(user) => format!("as user {user}: {error}").into(),
        None => error,
    })?;
    reload::diff(&config, &reread)?;
    let handle = relay.handle();
    let posts = handle.posts.clone();
    http::serve(listener, Shards::new(config.cores, move |shard, c| posts.post(shard, c)))?;
    let Config { hostname, cores, .. } = &config;
    tracing::info!(%hostname, cores, listen = ?relay.addresses(), %admin, "ready");
    let in_force = RefCell::new(config);
    relay.run(|occasion| match again(occasion, node, &handle, &in_force) {
        Ok(None) => {}
        Ok(Some(changes)) => tracing::info!(changes, "reloaded"),
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

/// Put the present content of the file in force, or that of the files that it names where only they
/// were looked at, or change nothing. How many values are others; `None` where no file is.
fn again(
    occasion: Occasion,
    node: &NodeFlags,
    handle: &Handle,
    in_force: &RefCell<Config>,
) -> Result<Option<usize>, Box<dyn Error>> {
    if occasion == Occasion::Look {
        return Ok(handle.look(&in_force.borrow())?.then_some(0));
    }
    let after = node.load(&machine())?;
    let changes = reload::diff(&in_force.borrow(), &after)?.len();
    handle.reload(&after)?;
    in_force.replace(after);
    Ok(Some(changes))
}
