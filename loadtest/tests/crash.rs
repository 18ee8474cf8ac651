//! `loadtest crash` at a size for every run: kill -9 under load loses nothing, and the tool says so.

#![allow(clippy::unwrap_used, reason = "a test unwraps freely")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

mod support;
#[path = "../../tests/support/unsafe_relay.rs"]
mod unsafe_relay;

use support::relay;

fn crash(relay: &Path, arguments: &[&str]) -> Output {
    let mut tool = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    let work = tempfile::tempdir().unwrap();
    tool.arg("crash").arg("--relay").arg(relay).arg("--work").arg(work.path()).args(arguments);
    // Only a build that loses mail knows this; any other keeps its promises all the same.
    tool.env(unsafe_relay::PERMIT, "before-write");
    tool.output().unwrap()
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat()
}

/// What was printed, of a run that kept every promise.
fn kept(output: &Output) -> String {
    let all = said(output);
    assert!(output.status.success(), "{all}");
    for promise in [
        "ok   0 lost\n",
        "ok   0 still queued\n",
        "ok   0 changed\n",
        "ok   0 came twice that were not in flight at a kill\n",
    ] {
        assert!(all.contains(promise), "{promise}{all}");
    }
    all
}

#[test]
fn kill_9_at_random_moments_loses_nothing() {
    let output = crash(&relay(), &["--cycles", "3", "--messages", "300", "--cores", "2"]);
    let all = kept(&output);
    let cycles = all.lines().filter(|line| line.starts_with("killed at "));
    assert_eq!(cycles.filter(|line| line.contains(" 0 lost, ")).count(), 3, "{all}");
}

#[test]
fn kill_9_at_ring_entries_loses_nothing() {
    if Command::new("strace").arg("--version").output().is_err() {
        let line = "\nSKIPPED: kill_9_at_ring_entries: no strace here; tests/run installs it\n";
        assert!(std::env::var_os("CI").is_none(), "{line}");
        return std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
    let output = crash(&relay(), &["--cycles", "2", "--messages", "300", "--at-ring-entry"]);
    let all = kept(&output);
    assert_eq!(all.lines().filter(|line| line.starts_with("killed at entry ")).count(), 2, "{all}");
}

#[test]
fn a_relay_that_acknowledges_before_the_write_is_found_out() {
    let workspace = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let unsafe_relay = unsafe_relay::built(Path::new(env!("CARGO_BIN_EXE_loadtest")), workspace);
    let options = ["--cycles", "5", "--messages", "300", "--cores", "2", "--patience", "5"];
    let output = crash(&unsafe_relay, &options);
    let all = said(&output);
    assert_eq!(output.status.code(), Some(1), "{all}");
    let lost = |line: &str| line.starts_with("FAIL ") && line.ends_with(" lost in a cycle");
    assert!(all.lines().any(lost) && all.contains("\nlost: "), "{all}");
}

#[test]
fn a_relay_that_cannot_be_started_is_no_success() {
    let work = tempfile::tempdir().unwrap();
    let mut tool = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    tool.args(["crash", "--relay", "/bin/false", "--cycles", "1", "--work"]).arg(work.path());
    let output = tool.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("ended at once"));
}
