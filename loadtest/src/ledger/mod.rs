//! Account for every message: accepted = delivered + bounced + queued, and nothing lost.
//!
//! In: accepted files, received files, and how many recipients a relay still queues. Out: the
//! account, and an exit code. It believes the files alone, never the relay's word on what it did.

pub(crate) mod account;
pub(crate) mod queued;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use account::{Account, Ledger};

/// Which files to read, and where to ask what is queued.
#[derive(Args, Clone, Debug)]
pub(crate) struct LedgerOptions {
    /// File that a source wrote with --accepted; repeat it
    #[arg(long, required = true, value_name = "FILE")]
    accepted: Vec<PathBuf>,
    /// File that a sink wrote with --received; repeat it
    #[arg(long, required = true, value_name = "FILE")]
    received: Vec<PathBuf>,
    /// Recipients that the relay still queues
    #[arg(long, conflicts_with = "admin")]
    queued: Option<u64>,
    /// Admin address of the relay, which is asked for /v1/queue/stats
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) admin: Option<SocketAddr>,
    /// Ids listed of each kind
    #[arg(long, default_value_t = 20)]
    list: usize,
    /// Print the account as JSON
    #[arg(long)]
    json: bool,
}

/// Reads the files of a run.
///
/// Errors: a file that cannot be read; a file that does not exist yet holds no lines.
pub(crate) fn read(accepted: &[PathBuf], received: &[PathBuf]) -> Result<Ledger> {
    let mut ledger = Ledger::default();
    for path in accepted {
        each_line(path, |line| ledger.accept(line))?;
    }
    for path in received {
        each_line(path, |line| ledger.receive(line))?;
    }
    Ok(ledger)
}

/// Hands each line of a file to `take`, without its end.
pub(crate) fn each_line(path: &Path, mut take: impl FnMut(&str)) -> Result<()> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let mut reader = BufReader::with_capacity(256 * 1024, file);
    let mut line = Vec::new();
    loop {
        line.clear();
        let count = reader.read_until(b'\n', &mut line);
        if count.with_context(|| format!("reading {}", path.display()))? == 0 {
            return Ok(());
        }
        take(String::from_utf8_lossy(&line).trim_end_matches('\n'));
    }
}

/// Prints the account; failure if anything is lost or changed.
pub(crate) fn run(options: &LedgerOptions) -> Result<ExitCode> {
    let ledger = read(&options.accepted, &options.received)?;
    let queued = match (options.queued, options.admin) {
        (Some(count), _) => count,
        (None, Some(admin)) => queued::ask(admin)?,
        (None, None) => 0,
    };
    let account = ledger.account(queued);
    if options.json {
        println!("{:#}", account.json());
    } else {
        print!("{}", account.text(options.list));
    }
    Ok(exit_code(&account))
}

fn exit_code(account: &Account) -> ExitCode {
    if account.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
