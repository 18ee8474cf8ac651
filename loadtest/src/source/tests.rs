//! The source against the sink of this package, over loopback sockets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use clap::Parser;

use super::*;
use crate::sink::{Sink, SinkOptions};

#[derive(Parser)]
struct SourceCli {
    #[command(flatten)]
    options: SourceOptions,
}

#[derive(Parser)]
struct SinkCli {
    #[command(flatten)]
    options: SinkOptions,
}

fn source(target: SocketAddr, folder: &Path, words: &str) -> SourceReport {
    let accepted = folder.join("accepted");
    let line = format!("source --target {target} --accepted {} {words}", accepted.display());
    let cli = SourceCli::try_parse_from(line.split_whitespace()).unwrap();
    run(cli.options, SourceControl::new(u64::MAX)).unwrap()
}

fn sink(folder: &Path, script: &str, words: &str) -> Sink {
    let received = folder.join("received");
    let script_file = folder.join("script.toml");
    std::fs::write(&script_file, script).unwrap();
    let line = format!(
        "sink --listen 127.0.0.1:0 --received {} --script {} {words}",
        received.display(),
        script_file.display()
    );
    Sink::start(&SinkCli::try_parse_from(line.split_whitespace()).unwrap().options).unwrap()
}

/// How often each (id, recipient) stands in the accepted and in the received file, and kinds.
fn counts(folder: &Path) -> (BTreeMap<String, u32>, BTreeMap<String, u32>) {
    let mut accepted = BTreeMap::new();
    for line in std::fs::read_to_string(folder.join("accepted")).unwrap().lines() {
        let words: Vec<&str> = line.split(' ').collect();
        for recipient in &words[3..] {
            *accepted.entry(format!("{} {recipient}", words[0])).or_default() += 1;
        }
    }
    let mut received = BTreeMap::new();
    for line in std::fs::read_to_string(folder.join("received")).unwrap().lines() {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(words[4], "ok", "{line}");
        *received.entry(format!("{} {}", words[0], words[2])).or_default() += 1;
    }
    (accepted, received)
}

#[test]
fn every_way_of_sending_gets_every_message_through_unchanged() {
    for (hide, words) in [
        ("", ""),
        ("", "--pipelining"),
        ("", "--chunking"),
        ("", "--pipelining --chunking"),
        ("", "--pipelining --chunking --ahead 4 --per-connection 0"),
        ("--hide PIPELINING", "--pipelining --chunking"),
        ("--hide CHUNKING --hide SIZE", "--pipelining --chunking --ahead 3"),
        ("", "--per-connection 1 --size 300-90000"),
        ("", "--pipelining --recipients 5 --zipf 1.0 --size 400-3000"),
        ("", "--rate 5000 --spread poisson --pipelining"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let sink = sink(folder.path(), "", hide);
        let words = format!("--messages 200 --connections 3 {words}");
        let report = source(sink.addresses[0], folder.path(), &words);
        assert!(report.finished);
        assert_eq!(report.tally.accepted, 200, "{words}");
        let violations = sink.finish().unwrap().violations;
        assert_eq!(violations, Vec::<String>::new(), "{words}");
        let (accepted, received) = counts(folder.path());
        assert_eq!(accepted, received, "{words}");
        assert!(accepted.values().all(|&count| count == 1));
    }
}

#[test]
fn every_message_gets_through_under_tls() {
    for (mode, words) in [
        ("starttls", "--pipelining"),
        ("starttls", "--pipelining --chunking --ahead 4 --per-connection 0 --size 300-200000"),
        ("implicit", "--chunking --per-connection 5"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let trusted = folder.path().join("trusted.pem");
        let sink = sink(
            folder.path(),
            "",
            &format!("--tls {mode} --certificate-out {}", trusted.display()),
        );
        let words = format!("--messages 60 --connections 3 --tls {mode} {words} --tls-ca");
        let words = format!("{words} {}", trusted.display());
        let report = source(sink.addresses[0], folder.path(), &words);
        assert!(report.finished && report.tally.broken_connections == 0, "{}", report.text());
        let phases = report.tally.json()["phases"].take();
        assert_eq!(phases["tls"]["count"], report.tally.tls_sessions, "{words}");
        let report = sink.finish().unwrap();
        assert_eq!(report.violations, Vec::<String>::new(), "{words}");
        assert_eq!((report.totals.tls_messages, report.totals.tls_failures), (60, 0), "{words}");
        let (accepted, received) = counts(folder.path());
        assert_eq!(accepted, received, "{words}");
    }
}

#[test]
fn a_certificate_with_a_flaw_is_no_servers() {
    for (flaw, why) in [("expired", "xpired"), ("wrong-name", "not valid for name")] {
        let folder = tempfile::tempdir().unwrap();
        let trusted = folder.path().join("trusted.pem");
        let script = format!("[[listener]]\ncertificate = \"{flaw}\"");
        let words = format!("--tls starttls --certificate-out {}", trusted.display());
        let sink = sink(folder.path(), &script, &words);
        let words =
            format!("--messages 1 --patience 0 --tls starttls --tls-ca {}", trusted.display());
        let report = source(sink.addresses[0], folder.path(), &words);
        assert!(!report.finished);
        let trouble = report.tally.trouble.unwrap();
        assert!(trouble.contains(why), "{trouble}");
        assert!(sink.finish().unwrap().totals.tls_failures > 0);
    }
}

#[test]
fn a_source_that_is_to_be_secured_sends_nothing_in_clear() {
    let rule = |what: &str| format!("[[rule]]\nstage = \"starttls\"\n{what}");
    for (script, why) in [
        ("[[listener]]\nhide = [\"STARTTLS\"]".to_owned(), "STARTTLS is not offered"),
        (rule("reply = \"454 4.7.0 Not now\""), "454 at Tls"),
        (rule("behind = \"clear\""), "octets in clear"),
        (rule("behind = \"garbage\""), ""),
        (rule("behind = \"close\""), ""),
        (rule("behind = \"reset\""), ""),
        (rule("behind = \"stall\""), "elapsed"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let sink = sink(folder.path(), &script, "--tls starttls");
        let words = "--messages 1 --connections 1 --patience 0 --tls starttls --timeout 1";
        let report = source(sink.addresses[0], folder.path(), words);
        assert!(!report.finished && report.tally.accepted == 0, "{script}");
        let trouble = report.tally.trouble.unwrap();
        assert!(trouble.contains(why), "{script}: {trouble}");
        let totals = sink.finish().unwrap().totals;
        assert_eq!((totals.messages, totals.tls_sessions), (0, 0), "{script}");
    }
}

#[test]
fn with_retry_everything_gets_through_a_sink_that_misbehaves() {
    let script = "[[rule]]\nstage = \"greeting\"\nprobability = 0.05\nreply = \"421 4.3.2 Busy\"\n\
        [[rule]]\nstage = \"mail\"\nprobability = 0.05\nreply = \"421 4.7.0 Go away\"\n\
        [[rule]]\nstage = \"rcpt\"\nprobability = 0.1\nreply = \"450 4.2.1 Later\"\n\
        [[rule]]\nstage = \"data\"\nprobability = 0.05\nreply = \"451 4.3.0 Later\"\n\
        [[rule]]\nstage = \"content\"\nprobability = 0.05\ncut = \"reset\"\n\
        [[rule]]\nstage = \"end\"\nprobability = 0.05\nreply = \"452 4.3.1 Full\"\n\
        [[rule]]\nstage = \"end\"\nprobability = 0.05\ncut = \"close\"\n";
    for words in ["", "--pipelining", "--pipelining --chunking --ahead 3 --recipients 3"] {
        let folder = tempfile::tempdir().unwrap();
        let sink = sink(folder.path(), script, "");
        let words = format!("--messages 150 --connections 4 --retry --size 2000 {words}");
        let report = source(sink.addresses[0], folder.path(), &words);
        assert!(report.finished, "{words}");
        assert_eq!(report.tally.refused_recipients, 0, "{words}: {}", report.text());
        assert!(report.tally.sent_again > 0);
        sink.finish().unwrap();
        let (accepted, received) = counts(folder.path());
        let recipients = if words.contains("--recipients") { 450 } else { 150 };
        assert_eq!(accepted.len(), recipients, "{words}");
        assert!(accepted.values().all(|&count| count == 1), "{words}");
        for key in accepted.keys() {
            assert!(received.contains_key(key), "{words}: {key} was accepted and is nowhere");
        }
    }
}

#[test]
fn refusals_for_good_are_counted_and_not_sent_again() {
    let script =
        "[[rule]]\nstage = \"rcpt\"\ndomain = \"d0000001.example\"\nreply = \"550 5.1.1 No\"";
    for words in ["", "--pipelining", "--pipelining --chunking"] {
        let folder = tempfile::tempdir().unwrap();
        let sink = sink(folder.path(), script, "");
        let words = format!("--messages 40 --domains 4 --retry {words}");
        let report = source(sink.addresses[0], folder.path(), &words);
        assert!(report.finished);
        assert_eq!((report.tally.accepted, report.tally.refused_recipients), (30, 10), "{words}");
        sink.finish().unwrap();
        assert_eq!(counts(folder.path()).0, counts(folder.path()).1);
    }
}

#[test]
fn without_retry_what_is_deferred_is_given_up() {
    let script = "[[rule]]\nstage = \"end\"\nfirst = 1\nreply = \"451 4.3.0 Later\"";
    let folder = tempfile::tempdir().unwrap();
    let sink = sink(folder.path(), script, "");
    let report = source(sink.addresses[0], folder.path(), "--messages 20");
    assert!(report.finished);
    assert_eq!((report.tally.accepted, report.tally.given_up_recipients), (0, 20));
    sink.finish().unwrap();
}

#[test]
fn a_sink_that_is_killed_and_revived_gets_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let sink = sink(folder.path(), "", "");
    let target = sink.addresses[0];
    let control = SourceControl::new(50);
    let line = format!(
        "source --target {target} --messages 100 --retry --pipelining --accepted {}",
        folder.path().join("accepted").display()
    );
    let options = SourceCli::try_parse_from(line.split_whitespace()).unwrap().options;
    let running = Arc::clone(&control);
    let thread = std::thread::spawn(move || run(options, running).unwrap());
    let until = |count| {
        while control.accepted.load(Ordering::Relaxed) < count {
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    until(50);
    sink.kill(0);
    control.released.store(100, Ordering::Relaxed);
    while std::net::TcpStream::connect(target).is_ok() {
        std::thread::sleep(Duration::from_millis(5));
    }
    sink.revive(0);
    let report = thread.join().unwrap();
    assert_eq!(report.tally.accepted, 100);
    assert!(sink.recorded() >= 100);
    sink.finish().unwrap();
    let (accepted, received) = counts(folder.path());
    assert_eq!(accepted.len(), 100);
    assert!(accepted.keys().all(|key| received.contains_key(key)));
}

#[test]
fn a_target_that_nobody_listens_on_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let port = crate::net::free_ports(1).unwrap()[0];
    let target = SocketAddr::from(([127, 0, 0, 1], port));
    let report = source(target, folder.path(), "--messages 5 --patience 0");
    assert!(!report.finished);
    assert_eq!(report.tally.accepted, 0);
    assert!(report.tally.broken_connections > 0);
}
