//! `loadtest run`, `compare` and `peers` at a size for every run.

#![allow(clippy::unwrap_used, reason = "a test unwraps freely")]

use std::path::Path;
use std::process::{Command, Output};

mod support;

use support::relay;

fn loadtest(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadtest")).args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs a scenario with `messages`; its folder, which has the reports.
fn report(scenario: &str, messages: &str, work: &Path) -> std::path::PathBuf {
    let out = work.join(scenario);
    let (relay, folder) = (relay(), work.to_owned());
    let words = ["run", scenario, "--messages", messages, "--relay", text(&relay), "--work"];
    let output = loadtest(&[&words[..], &[text(&folder), "--out", text(&out)]].concat());
    assert!(output.status.success(), "{}", said(&output));
    let printed = said(&output);
    for words in ["ok   every message was accepted\n", "ok   0 lost\n", "Note: Source, relay and"] {
        assert!(printed.contains(words), "{words}{printed}");
    }
    out
}

#[test]
fn a_run_leaves_a_report_for_people_and_one_for_machines() {
    let work = tempfile::tempdir().unwrap();
    let [first, second] = ["plain", "dead-upstream"].map(|name| report(name, "300", work.path()));
    let json = std::fs::read_to_string(first.join("report.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["figures"]["accepted"], 300);
    assert_eq!(json["figures"]["delivered"], 300);
    assert_eq!(json["server"]["durability"], "synced before 250");
    assert!(json["figures"]["relay_cpu_us"].as_f64().unwrap() > 0.0);
    assert!(!json["samples"].as_array().unwrap().is_empty());
    assert_eq!(json["shards_cpu_us"].as_array().unwrap().len(), 2);
    let page = std::fs::read_to_string(first.join("report.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("every promise kept"));
    let files = [first.join("report.json"), second.join("report.json")];
    let compared = loadtest(&["compare", text(&files[0]), text(&files[1])]);
    let printed = said(&compared);
    assert!(compared.status.success(), "{printed}");
    assert!(
        printed.contains("relay_cpu_us") && printed.contains("the scenario differs"),
        "{printed}"
    );
}

#[test]
fn many_who_send_share_a_node_and_each_of_their_messages_is_told_of() {
    let work = tempfile::tempdir().unwrap();
    let shipped = include_str!("../scenarios/esp.toml");
    // The same at a size for every run, on machines of which nobody knows how busy they are.
    let mut small = shipped.to_owned();
    for (from, to) in
        [("\"60s\"", "\"2s\""), ("times = 2", "times = 1000"), ("rate = 600", "rate = 200")]
    {
        assert!(small.contains(from), "{from}");
        small = small.replace(from, to);
    }
    let scenario = work.path().join("small.toml");
    std::fs::write(&scenario, small).unwrap();
    let out = work.path().join("out");
    let (relay, folder) = (relay(), work.path());
    let words = ["run", text(&scenario), "--messages", "900", "--relay", text(&relay)];
    let output = loadtest(&[&words[..], &["--work", text(folder), "--out", text(&out)]].concat());
    let printed = said(&output);
    assert!(output.status.success(), "{printed}");
    for words in [
        "ok   0 lost\n",
        "ok   the consumer has ",
        "ok   the event log says what the",
        "ok   the suppression lists have ",
        "ok   the new source sent ",
        "ok   of 900 messages sent again ",
        "ok   the figures of all mail are the ledger's: ",
        "ok   the figures by campaign are the ledger's: 52 keys",
    ] {
        assert!(printed.contains(words), "{words}{printed}");
    }
    assert!(!printed.contains(" 0 complained") && !printed.contains(" 0 later"), "{printed}");
}

#[test]
fn what_cannot_be_run_is_refused_before_anything_starts() {
    for (arguments, words) in [
        (&["run", "no-such"][..], "is neither a file nor one of campaign,"),
        (&["peers", "backlog"][..], "asks for what only the relay can do"),
        (&["compare", "/dev/null", "/dev/null"][..], "is no report of loadtest run"),
    ] {
        let output = loadtest(arguments);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(words), "{}", said(&output));
    }
    let listed = loadtest(&["run", "--list"]);
    assert!(said(&listed).contains("\nbacklog "), "{}", said(&listed));
}

#[test]
fn postfix_is_put_in_the_relays_place() {
    if !Path::new("/usr/lib/postfix/sbin/master").exists() || !rustix::process::geteuid().is_root()
    {
        assert!(std::env::var_os("CI").is_none(), "no Postfix, or not root");
        return eprintln!("SKIPPED: Postfix is not there, or this is not root");
    }
    // Postfix's user must reach its folder.
    let work = Path::new("/var/tmp");
    let relay = relay();
    let words = ["peers", "--rounds", "1", "--messages", "200", "--relay", text(&relay)];
    let output = loadtest(&[&words[..], &["--work", text(work)]].concat());
    let printed = said(&output);
    assert!(output.status.success(), "{printed}");
    assert!(printed.contains("times the CPU of relay-fast for a message"), "{printed}");
}
