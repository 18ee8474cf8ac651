//! TLS-RPT (RFC 8460): what is counted of MX hosts with DANE and MTA-STS, and how their domains are
//! told, by mail that dkimpy verifies and Python's email package reads, and by HTTPS.

use serde_json::{Value, json};

use super::network::Network;
use super::policy::{HOSTS, World};
use super::process::{output, until};
use super::python::script;
use super::signed_dns::network;
use super::signing::keygen;
use super::verifiers::{Records, ask_dkimpy, dkimpy};

/// Who wants to be told, and how; `own` does not.
const WISHES: &str = "\
_smtp._tls.sts TXT \"v=TLSRPTv1; rua=mailto:reports@own.example\"
_smtp._tls.clear TXT \"v=TLSRPTv1; rua=mailto:reports@own.example,https://mta-sts.sts.example/v1\"
_smtp._tls.other TXT \"v=TLSRPTv1; rua=https://mta-sts.sts.example/v1\"
_smtp._tls.forged TXT \"v=TLSRPTv1; rua=https://mx.own.example/nobody\"
";

/// What was POSTed.
fn posted(world: &World<'_>) -> Vec<Value> {
    let text = std::fs::read_to_string(world.web.path().join("posted")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What is told of a policy: its type, sessions that did well, that failed, and how.
fn told(report: &Value) -> Vec<(&str, u64, u64, Vec<&str>)> {
    let policies = report["policies"].as_array().unwrap();
    policies.iter().map(told_of).collect()
}

fn told_of(policy: &Value) -> (&str, u64, u64, Vec<&str>) {
    let failures = policy["failure-details"].as_array().map_or(&[][..], Vec::as_slice);
    let kinds = failures.iter().map(|one| one["result-type"].as_str().unwrap()).collect();
    let summary = &policy["summary"];
    let well = summary["total-successful-session-count"].as_u64().unwrap();
    let failed = summary["total-failure-session-count"].as_u64().unwrap();
    (policy["policy"]["policy-type"].as_str().unwrap(), well, failed, kinds)
}

//= RFC 8460 §3, type=test
//# In the case of https, reports should be submitted via POST … In the case of mailto, reports
//# should be submitted to the specified email address … Reports sent via SMTP MUST contain a valid
//# … signature by the reporting domain.
#[test]
fn domains_are_told_how_tls_with_their_hosts_does() {
    let Some(python) = dkimpy() else { return };
    let Some(network) = network(HOSTS.map(|(_, address)| address)) else { return };
    let world = World::with(&network, WISHES);
    world.serve("sts", "testing", "mx.sts.example");
    world.serve("clear", "testing", "mx.clear.example");
    world.serve("forged", "enforce", "mx.sts.example");
    let folder = tempfile::tempdir().unwrap();
    let mut records = Records::new();
    let key = keygen(folder.path(), &["own.example", "--selector", "s"], &mut records);
    let section = "[tls_report]\nfrom = \"tls@own.example\"\norganization = \"We\"\n";
    let node = world.node_with("policy", &format!("{key}{section}"));
    for (kind, domain) in [
        ("delivered", "own"),
        ("delivered", "sts"),
        ("delivered", "clear"),
        ("deferred", "other"),
        ("deferred", "forged"),
    ] {
        world.event(&node, kind, domain);
    }
    for line in [
        "own.example     tlsa             1 well, 0 failed",
        "sts.example     sts              1 well, 0 failed",
        "clear.example   sts              0 well, 1 failed",
        "1 starttls-not-supported mx.clear.example: STARTTLS is not offered, or refused",
        "other.example   tlsa             0 well, 1 failed",
        "1 tlsa-invalid mx.other.example: no TLSA record fits the certificate",
        "forged.example  sts              0 well, 1 failed",
        "1 validation-failure mx.clear.example: none of its MX hosts is one of",
        "0 reports waiting to go out",
    ] {
        let shown = node.ask(&["tls-reports", "show"]);
        assert!(shown.contains(line), "{line}\n{shown}");
    }
    let sent = node.ask(&["tls-reports", "send"]);
    assert_eq!(sent, "5 reports on the way to whoever wants to be told\n");
    let posted = until("reports come by HTTPS", || {
        let posted = posted(&world);
        (posted.len() == 2).then_some(posted)
    });
    posted.iter().for_each(assert_posted);
    let mails = until("reports come by mail", || {
        let kept = world.sinks[0].kept();
        let reports: Vec<_> =
            kept.into_iter().filter(|kept| kept.is_for("reports@own.example")).collect();
        (reports.len() == 2).then_some(reports)
    });
    for kept in &mails {
        assert!(kept.mail.starts_with("MAIL FROM:<tls@own.example>"), "{kept:?}");
        let right = vec![("s".to_owned(), String::new())];
        assert_eq!(ask_dkimpy(python, &records, &kept.content()), right);
        assert_mailed(&kept.content());
    }
    // What carried reports is not counted itself.
    let shown = node.ask(&["tls-reports", "show"]);
    assert!(shown.contains("no session with an MX host"), "{shown}");
    // Who does not answer is tried again, and that is shown.
    until("the report that nobody takes waits", || {
        let shown = node.ask(&["tls-reports", "show"]);
        let waits = shown.contains("1 report waiting to go out")
            && shown.contains("forged.example to https://mx.own.example/nobody: not handed over: ");
        waits.then_some(())
    });
}

/// See that this is the report to `other` or `clear`, as a web server got it.
fn assert_posted(one: &Value) {
    let at = (&one["host"], &one["path"], &one["type"]);
    let (host, kind) = ("mta-sts.sts.example", "application/tlsrpt+gzip");
    assert_eq!(at, (&json!(host), &json!("/v1"), &json!(kind)));
    let report = &one["body"];
    assert_eq!(report["organization-name"], "We");
    assert_eq!(report["contact-info"], "tls@own.example");
    let policy = &report["policies"][0]["policy"];
    if policy["policy-domain"] == "mx.other.example" {
        assert_eq!(told(report), [("tlsa", 0, 1, vec!["tlsa-invalid"])]);
        assert_eq!(policy["mx-host"], json!(["mx.other.example"]));
        assert!(policy["policy-string"][0].as_str().unwrap().starts_with("3 1 1 "));
        let failure = &report["policies"][0]["failure-details"][0];
        assert_eq!(failure["receiving-ip"], "10.25.0.3");
        assert!(failure["sending-mta-ip"].is_string(), "{failure}");
    } else {
        assert_eq!(told(report), [("sts", 0, 1, vec!["starttls-not-supported"])]);
    }
}

/// See that this is the report to `sts` or `clear`, as Python's email package reads it.
fn assert_mailed(content: &[u8]) {
    let mut command = Network::Shared.command("python3");
    let read = output(command.arg(script("tlsrpt.py")), content);
    let read: Value = serde_json::from_slice(&read).unwrap();
    let headers = &read["headers"];
    assert_eq!(read["defects"], json!([]));
    assert_eq!(read["type"], json!(["multipart/report", "tlsrpt", 2]));
    assert_eq!(read["part"][0], "application/tlsrpt+gzip");
    assert_eq!(headers["tls-required"], "No");
    assert_eq!(headers["tls-report-submitter"], "own.example");
    let domain = headers["tls-report-domain"].as_str().unwrap();
    let signed = headers["dkim-signature"].as_str().unwrap();
    let signed = signed.split_whitespace().collect::<String>().to_ascii_lowercase();
    assert!(signed.contains(":tls-report-domain:tls-report-submitter"), "{signed}");
    let id = read["report"]["report-id"].as_str().unwrap();
    let subject = format!("Report Domain: {domain} Submitter: own.example Report-ID: <{id}>");
    assert_eq!(headers["subject"], json!(subject));
    let name = read["part"][1].as_str().unwrap();
    assert!(name.starts_with(&format!("own.example!{domain}!")), "{name}");
    let expected = match domain {
        "sts.example" => ("sts", 1, 0, vec![]),
        _ => ("sts", 0, 1, vec!["starttls-not-supported"]),
    };
    assert_eq!(told(&read["report"]), [expected], "{domain}");
}
