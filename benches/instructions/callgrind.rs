//! Run this program under valgrind and read what it counted; say which tools that is true for.

use std::path::Path;
use std::process::{Command, Output};

use crate::figures::Tools;
use crate::relays::Relay;

/// Counted are the second so many messages of a run of twice as many: its start falls out.
pub(crate) const MESSAGES: usize = 1_000;

/// Instructions that `relay` takes a message, and the CPU as it saw it.
pub(crate) fn measure(valgrind: &Path, relay: &Relay) -> (u64, String) {
    let (once, _) = count(valgrind, relay, MESSAGES);
    let (twice, cpu) = count(valgrind, relay, 2 * MESSAGES);
    ((twice - once) / MESSAGES as u64, cpu)
}

/// Instructions of a whole run.
fn count(valgrind: &Path, relay: &Relay, messages: usize) -> (u64, String) {
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
    let counts = std::fs::read_to_string(&file).unwrap_or_default();
    let total = total(&counts).unwrap_or_else(|| panic!("{}: no count in it", file.display()));
    (total, said)
}

/// The line of a callgrind file that sums it up: `totals: 123`.
pub(crate) fn total(counts: &str) -> Option<u64> {
    counts.lines().rev().find_map(|line| line.strip_prefix("totals:"))?.trim().parse().ok()
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
