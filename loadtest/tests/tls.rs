//! `loadtest run` with TLS, AUTH and signatures, at a size for every run: the relay keeps what its
//! README says of peers that do STARTTLS well, badly, or with a certificate that is not theirs.

#![allow(clippy::unwrap_used, reason = "a test unwraps freely")]

use std::process::Command;

use serde_json::Value;

mod support;

use support::relay;

/// Runs a scenario, shipped or of this text: whether it kept every promise, its words, its report.
fn run_with(scenario: &str, messages: u64, more: &[&str]) -> (bool, String, Value) {
    let work = tempfile::tempdir().unwrap();
    let name = if scenario.contains('\n') {
        let file = work.path().join("scenario.toml");
        std::fs::write(&file, scenario).unwrap();
        file
    } else {
        scenario.into()
    };
    let mut tool = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    tool.arg("run").arg(name).args(["--messages", &messages.to_string()]).args(more);
    tool.arg("--relay").arg(relay()).arg("--work").arg(work.path());
    let output = tool.arg("--out").arg(work.path()).output().unwrap();
    let said = [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat();
    assert!(said.contains("ok   0 lost\n"), "{said}");
    let report = std::fs::read_to_string(work.path().join("report.json")).unwrap();
    (output.status.success(), said, serde_json::from_str(&report).unwrap())
}

/// The report of a run that delivers everything and keeps every promise.
fn run(scenario: &str, messages: u64) -> Value {
    let (kept, said, report) = run_with(scenario, messages, &[]);
    assert!(kept && report["figures"]["delivered"] == messages, "{said}");
    report
}

/// Whether the source went through a phase.
fn has_phase(report: &Value, name: &str) -> bool {
    report["latency_ms"].as_array().unwrap().iter().any(|phase| phase[0] == name)
}

fn figure(report: &Value, name: &str) -> u64 {
    report["figures"][name].as_u64().unwrap()
}

#[test]
fn mail_goes_in_by_tls_and_auth_and_out_by_starttls() {
    let report = run("tls", 300);
    assert_eq!(figure(&report, "tls_messages_out"), 300);
    assert!(figure(&report, "tls_sessions_in") > 0 && figure(&report, "tls_sessions_out") > 0);
    assert_eq!(figure(&report, "tls_failures_out"), 0);
    assert!(has_phase(&report, "tls") && has_phase(&report, "auth"));
}

#[test]
fn mail_goes_in_by_implicit_tls_and_login() {
    let report = run(
        r#"
        description = "Implicit TLS, and AUTH LOGIN alone"
        messages = 1
        per_connection = 5
        connections = 3
        tls = "implicit"
        config = '''
            [auth]
            credentials = "@CREDENTIALS@"
            [[certificate]]
            file = "@CERTIFICATE@"
            key = "@CERTIFICATE_KEY@"
            [[listener]]
            address = "@LISTEN@"
            tls = "implicit"
            relay_for = []
            auth = "require"
            auth_mechanisms = ["LOGIN"]
        '''
        "#,
        30,
    );
    assert!(figure(&report, "tls_sessions_in") >= 6);
    assert!(has_phase(&report, "tls") && has_phase(&report, "auth"));
    assert_eq!(figure(&report, "tls_messages_out"), 0);
}

#[test]
fn every_message_is_signed_by_both_keys() {
    assert_eq!(figure(&run("dkim", 60), "signatures"), 120);
}

#[test]
fn peers_that_break_their_word_on_starttls_get_their_mail_in_clear() {
    let report = run(
        r#"
        description = "Each server breaks STARTTLS in another way"
        messages = 1
        domains = 60
        upstreams = [1, 1, 1, 1, 1, 1]
        server_tls = "starttls"
        sink = '''
            [[rule]]
            listener = "@SERVER1@"
            stage = "starttls"
            reply = "454 4.7.0 TLS is not here today"
            [[rule]]
            listener = "@SERVER2@"
            stage = "starttls"
            cut = "close"
            [[rule]]
            listener = "@SERVER3@"
            stage = "starttls"
            behind = "garbage"
            [[rule]]
            listener = "@SERVER4@"
            stage = "starttls"
            behind = "close"
            [[rule]]
            listener = "@SERVER5@"
            stage = "starttls"
            behind = "reset"
            [[rule]]
            listener = "@SERVER6@"
            stage = "starttls"
            behind = "clear"
        '''
        "#,
        120,
    );
    assert_eq!(figure(&report, "tls_messages_out"), 0);
    assert_eq!(figure(&report, "tls_sessions_out"), 0);
    // The sixth one waited for a handshake, and the relay did not begin it.
    assert!(figure(&report, "tls_failures_out") > 0);
}

/// Servers with a certificate that is no good, for a relay that wants a good one.
fn flawed(flaw: &str, more: &str) -> String {
    format!(
        r#"
        description = "A certificate that is no good"
        messages = 1
        server_tls = "starttls"
        {more}
        sink = '''
            [[listener]]
            certificate = "{flaw}"
        '''
        config = '''
            default_route = "servers"
            [tls]
            ca = "@SERVER_CERTIFICATE@"
            [[upstream]]
            name = "servers"
            hosts = "@UPSTREAM@"
            tls = "verify"
        '''
        "#
    )
}

#[test]
fn mail_that_wants_a_verified_peer_waits_while_there_is_none() {
    let (kept, said, report) = run_with(&flawed("wrong-name", ""), 30, &["--wait", "10"]);
    assert!(!kept && said.contains("FAIL 30 still queued\n"), "{said}");
    assert!(figure(&report, "tls_failures_out") > 0, "{said}");
    assert_eq!((figure(&report, "delivered"), figure(&report, "tls_messages_out")), (0, 0));
}

#[test]
fn mail_that_waited_for_a_good_certificate_goes_out_under_tls() {
    let report = run(&flawed("expired", "relents = true"), 60);
    assert_eq!(figure(&report, "tls_messages_out"), 60);
}
