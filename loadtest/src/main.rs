//! Load, faults and a ledger for a mail relay, as one command line.
//!
//! It takes nothing from the relay's code, so that it can judge it.

mod cpu;
mod dice;
mod dns;
mod ledger;
mod line_log;
mod message;
mod net;
mod sink;
mod source;
mod stop;

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
    /// Account for every message: accepted = delivered + bounced + queued
    Ledger(ledger::LedgerOptions),
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
        Command::Ledger(options) => {
            net::refuse_foreign(options.admin.as_slice(), owned)?;
            ledger::run(&options)
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
