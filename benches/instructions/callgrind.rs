//! Run this program under valgrind and read what it counted; say which tools that is true for.

use std::path::Path;
use std::process::{Command, Output};

use crate::figures::Tools;
use crate::profile::{Profile, stages};
use crate::relays::Relay;

/// Counted are the second so many messages of a run of twice as many: its start falls out.
const MESSAGES: usize = 1_000;

/// One run of so many messages and one of twice as many.
pub(crate) struct Measured {
    once: Profile,
    twice: Profile,
    /// As the relay saw it.
    pub(crate) cpu: String,
}

impl Measured {
    pub(crate) fn new(valgrind: &Path, relay: &Relay) -> Self {
        let (once, _) = run(valgrind, relay, MESSAGES);
        let (twice, cpu) = run(valgrind, relay, 2 * MESSAGES);
        Self { once, twice, cpu }
    }

    /// Instructions a message.
    pub(crate) fn instructions(&self) -> u64 {
        a_message(self.once.total, self.twice.total)
    }

    /// The same by stage.
    pub(crate) fn stages(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let both = stages(&self.once).zip(stages(&self.twice));
        both.map(|((name, once), (_, twice))| (name, a_message(once, twice)))
    }
}

fn a_message(once: u64, twice: u64) -> u64 {
    (twice - once) / MESSAGES as u64
}

/// What callgrind counts of a whole run, and what the relay printed.
fn run(valgrind: &Path, relay: &Relay, messages: usize) -> (Profile, String) {
    let folder = tempfile::tempdir().expect("a folder for callgrind's output");
    let file = folder.path().join("callgrind.out");
    let program = std::env::current_exe().expect("this program has a path");
    // Without the environment: its length moves the stack, and with it the alignment of buffers.
    let output = Command::new(valgrind)
        .env_clear()
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(program)
        .args(["--relay", relay.name, "--messages", &messages.to_string()])
        .output()
        .expect("valgrind starts");
    let said = said(&output);
    let text = std::fs::read_to_string(&file).expect("callgrind wrote what it counted");
    let profile = Profile::parse(&text);
    let total = format!("\ntotals: {}\n", profile.total);
    assert!(text.contains(&total), "callgrind itself adds up to what was read: {total}");
    (profile, said)
}

/// The first line that a program printed; a panic with all that it said where it failed.
fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{text}{errors}", output.status);
    text.lines().next().unwrap_or_default().trim().to_owned()
}

/// The tools that figures depend on, but for the CPU.
pub(crate) fn tools(valgrind: &Path) -> Tools {
    let version = |program: &Path, argument: &str| {
        let output = Command::new(program).arg(argument).output();
        output.map_or_else(|error| error.to_string(), |output| said(&output))
    };
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    Tools::from([
        ("rustc".to_owned(), version(Path::new(&rustc), "--version")),
        ("libc".to_owned(), version(Path::new("getconf"), "GNU_LIBC_VERSION")),
        ("valgrind".to_owned(), version(valgrind, "--version")),
    ])
}
