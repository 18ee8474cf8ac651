//! Load, faults and a ledger for a mail relay, as one command line.
//!
//! It takes nothing from the relay's code, so that it can judge it.

mod campaign;
mod cgroup;
mod cpu;
mod dice;
mod dns;
mod far;
mod ledger;
mod line_log;
mod message;
mod net;
mod proc;
mod run;
mod sink;
mod source;
mod stop;
mod tls;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use source::SourceControl;

/// Load, faults and a ledger for a mail relay.
#[derive(Parser, Debug)]
#[command(version, about)]
struct Cli {
    /// Allow addresses that are not loopback: load and faults leave this machine
    #[arg(long, global = true)]
    i_own_this_network: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Inject messages by SMTP and write down which were accepted
    Source(source::SourceOptions),
    /// Accept mail, misbehave by script, and write down what came
    Sink(sink::SinkOptions),
    /// Answer DNS questions: many domains on shared MX sites, and names that misbehave
    Dns(dns::DnsOptions),
    /// Pass TCP on to somebody who is far away: each octet comes later by half a round trip
    Far(far::FarOptions),
    /// Account for every message: accepted = delivered + bounced + queued
    Ledger(ledger::LedgerOptions),
    /// Run a scenario and write a report: terminal, JSON, and one HTML page
    Run(run::RunOptions),
    /// Set two reports side by side
    Compare(run::CompareOptions),
    /// Play several scenarios in turn, and compare what a message costs
    Beside(run::BesideOptions),
    /// Put another server in the relay's place, in turn, and compare what a message costs
    Peers(run::PeersOptions),
    /// Run a whole campaign through the relay, and account for every message
    Campaign(campaign::CampaignOptions),
    /// Kill the relay again and again under load, and account for every message after each kill
    Crash(campaign::CrashOptions),
    /// Fill the relay's queue while nobody takes its mail, and measure what that costs
    Backlog(campaign::BacklogOptions),
    /// Run the relay in front of a server that is down for a while
    Scenario(campaign::ScenarioOptions),
    /// Become another program that dies with this one's parent (used by campaign)
    #[command(hide = true)]
    Become {
        /// Folder of a control group to enter
        #[arg(long)]
        cgroup: Option<PathBuf>,
        program: PathBuf,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("loadtest: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    let owned = cli.i_own_this_network;
    match cli.command {
        Command::Source(options) => {
            net::refuse_foreign(&[options.target], owned)?;
            run_source(options)
        }
        Command::Sink(options) => {
            net::refuse_foreign(&options.addresses(), owned)?;
            sink::run(&options).map(|()| ExitCode::SUCCESS)
        }
        Command::Dns(options) => {
            net::refuse_foreign(&options.addresses()?, owned)?;
            dns::run(&options).map(|()| ExitCode::SUCCESS)
        }
        Command::Far(options) => {
            net::refuse_foreign(&options.addresses(), owned)?;
            far::run(&options).map(|()| ExitCode::SUCCESS)
        }
        Command::Ledger(options) => {
            net::refuse_foreign(options.admin.as_slice(), owned)?;
            ledger::run(&options)
        }
        Command::Run(options) => run::run(&options),
        Command::Compare(options) => run::compare(&options),
        Command::Beside(options) => run::beside(&options),
        Command::Peers(options) => run::peers(&options),
        Command::Campaign(options) => campaign::run(&options),
        Command::Crash(options) => campaign::run_crash(&options),
        Command::Backlog(options) => campaign::run_backlog(&options),
        Command::Scenario(options) => campaign::run_scenario(&options),
        Command::Become { cgroup, program, arguments } => {
            cgroup.as_deref().map_or(Ok(()), cgroup::enter)?;
            campaign::relay::become_program(&program, &arguments).map(|()| ExitCode::SUCCESS)
        }
    }
}

fn run_source(options: source::SourceOptions) -> Result<ExitCode> {
    let json = options.json;
    let report = source::run(options, SourceControl::new(u64::MAX))?;
    if json {
        println!("{:#}", report.json());
    } else {
        print!("{}", report.text());
    }
    Ok(if report.finished { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
