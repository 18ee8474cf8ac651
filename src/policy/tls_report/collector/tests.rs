//! What is counted of sessions, held against the example of RFC 8460's Appendix B.

use std::sync::Arc;

use mail_auth::report::tlsrpt::TlsReport;
use serde_json::{Value, json};

use super::*;
use crate::base::time::WallTime;
use crate::mail::address::Mailbox;
use crate::policy::tls_report::{Ledger, Report, Reporter};

fn domain(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

fn session<'a>(domain: &'a Domain, host: &'a str) -> Session<'a> {
    let peer = "203.0.113.56".parse().unwrap();
    Session { domain, host, peer, own: None, level: TlsLevel::Opportunistic }
}

fn policy(mode: &str, host: &str) -> mta_sts::Policy {
    let text = format!("version: STSv1\nmode: {mode}\nmx: {host}\nmax_age: 86400\n");
    mta_sts::Policy::parse(&text).unwrap()
}

fn found(policy: mta_sts::Policy) -> Found {
    Found { policy: Some(policy), troubles: Vec::new() }
}

fn own() -> [Tlsa; 1] {
    [Tlsa { usage: 3, selector: 1, matching: 1, data: [0xab].into() }]
}

fn no_records<'r>() -> impl Iterator<Item = (&'r str, &'r [Tlsa])> {
    std::iter::empty()
}

fn unpacked(report: &Report) -> Value {
    let mut text = String::new();
    let mut decoder = flate2::read::GzDecoder::new(&*report.compressed);
    std::io::Read::read_to_string(&mut decoder, &mut text).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn reporter() -> Reporter {
    Reporter {
        from: Mailbox::parse("sts-reporting@company-x.example", false).unwrap(),
        organization: "Company-X".into(),
        contact: Mailbox::parse("sts-reporting@company-x.example", false).unwrap(),
    }
}

/// A day's report of what was counted.
fn report(collector: &mut Collector) -> Report {
    // 2016-04-01.
    let begin = WallTime(1_459_468_800_000);
    let mut ledger = Ledger::new(begin);
    let end = ledger.ends();
    ledger.take_in(&collector.take(), end, Default::default);
    Report::new(&ledger.pop(end).unwrap(), &reporter()).unwrap()
}

/// Appendix B, but for the id, and for addresses in the form of RFC 5952.
fn example() -> Value {
    json!({
        "organization-name": "Company-X",
        "date-range": {
            "start-datetime": "2016-04-01T00:00:00Z",
            "end-datetime": "2016-04-01T23:59:59Z",
        },
        "contact-info": "sts-reporting@company-x.example",
        "report-id": "1459468800.company-y.example@company-x.example",
        "policies": [{
            "policy": {
                "policy-type": "sts",
                "policy-string": [
                    "version: STSv1",
                    "mode: testing",
                    "mx: *.mail.company-y.example",
                    "max_age: 86400",
                ],
                "policy-domain": "company-y.example",
                "mx-host": ["*.mail.company-y.example"],
            },
            "summary": {
                "total-successful-session-count": 5326,
                "total-failure-session-count": 303,
            },
            "failure-details": [
                {
                    "result-type": "certificate-expired",
                    "sending-mta-ip": "2001:db8:abcd:12::1",
                    "receiving-mx-hostname": "mx1.mail.company-y.example",
                    "receiving-ip": "203.0.113.56",
                    "failed-session-count": 100,
                },
                {
                    "result-type": "starttls-not-supported",
                    "sending-mta-ip": "2001:db8:abcd:13::1",
                    "receiving-mx-hostname": "mx2.mail.company-y.example",
                    "receiving-ip": "203.0.113.56",
                    "failed-session-count": 200,
                },
                {
                    "result-type": "validation-failure",
                    "sending-mta-ip": "198.51.100.62",
                    "receiving-ip": "203.0.113.56",
                    "receiving-mx-hostname": "mx-backup.mail.company-y.example",
                    "failed-session-count": 3,
                    "failure-reason-code": "X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED",
                },
            ],
        }],
    })
}

//= RFC 8460 Appendix B, type=test
//# "policy": { "policy-type": "sts", "policy-string": ["version: STSv1","mode: testing", "mx:
//# *.mail.company-y.example","max_age: 86400"], "policy-domain": "company-y.example", "mx-host":
//# "*.mail.company-y.example" }, "summary": { "total-successful-session-count": 5326,
//# "total-failure-session-count": 303 }
#[test]
fn the_example_of_the_standard_comes_out_as_it_stands_there() {
    let mut collector = Collector::default();
    let of = domain("company-y.example");
    let sts = found(policy("testing", "*.mail.company-y.example"));
    collector.learn(&of, &sts, no_records());
    let own = |address: &str| Some(address.parse().unwrap());
    let first = session(&of, "mx1.mail.company-y.example");
    let second = session(&of, "mx2.mail.company-y.example");
    (0..5_326).for_each(|_| collector.count(&first, Ok(())));
    let expired = Err((Trouble::Handshake(Fault::Expired), ""));
    let first = Session { own: own("2001:db8:abcd:12::1"), ..first };
    (0..100).for_each(|_| collector.count(&first, expired));
    let clear = Err((Trouble::NoStartTls, ""));
    let second = Session { own: own("2001:db8:abcd:13::1"), ..second };
    (0..200).for_each(|_| collector.count(&second, clear));
    let other = Err((Trouble::Handshake(Fault::Other), "X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED"));
    let third =
        Session { own: own("198.51.100.62"), ..session(&of, "mx-backup.mail.company-y.example") };
    (0..3).for_each(|_| collector.count(&third, other));
    let report = report(&mut collector);
    let expected = example();
    assert_eq!(unpacked(&report), expected);
    // What reads reports reads this one, and its message.
    let read = TlsReport::parse_json(expected.to_string().as_bytes()).unwrap();
    let message = report.message("reports@company-y.example").unwrap();
    assert_eq!(TlsReport::parse_rfc5322(&message, 1 << 20).unwrap(), read);
    let text = String::from_utf8(message).unwrap();
    for field in [
        "TLS-Required: No\r\n",
        "From: <sts-reporting@company-x.example>\r\n",
        "To: <reports@company-y.example>\r\n",
        "TLS-Report-Domain: company-y.example\r\n",
        "TLS-Report-Submitter: company-x.example\r\n",
        "report-type=\"tlsrpt\"",
        "company-x.example!company-y.example!1459468800!1459555199.json.gz",
    ] {
        assert!(text.contains(field), "{field}\n{text}");
    }
}

#[test]
fn each_session_is_held_against_the_policy_that_goes_before_the_others() {
    let mut collector = Collector::default();
    let of = domain("a.example");
    let own = own();
    let records = [("mx1.a.example", &own[..])];
    collector.learn(&of, &found(policy("enforce", "*.a.example")), records.into_iter());
    let with = |host, level| Session { level, ..session(&of, host) };
    collector.count(&with("mx1.a.example", TlsLevel::Dane), Ok(()));
    let unfit = Err((Trouble::Handshake(Fault::NoRecordFits), "no TLSA record fits"));
    collector.count(&with("mx1.a.example", TlsLevel::Dane), unfit);
    collector.count(&with("mx2.a.example", TlsLevel::Verify), Ok(()));
    collector.count(&with("mx.b.example", TlsLevel::Opportunistic), Ok(()));
    // Nothing is known of it; nor is it to be, where the operator says what TLS there is to be.
    let other = domain("b.example");
    collector.count(&session(&other, "mx.b.example"), Ok(()));
    let own = Session { level: TlsLevel::Verify, ..session(&other, "mx.b.example") };
    collector.count(&own, Ok(()));
    // It has a policy that says that there is none.
    let third = domain("c.example");
    collector.learn(&third, &found(policy("none", "*.a.example")), no_records());
    collector.count(&session(&third, "mx.c.example"), Ok(()));
    let told: Vec<_> = collector
        .take()
        .iter()
        .flat_map(|(_, all)| all.to_vec())
        .map(|one| {
            let kinds = one.failure_details.iter().map(|one| one.result_type);
            let policy = one.policy;
            let (good, bad) = (one.summary.total_success, one.summary.total_failure);
            (policy.policy_type, policy.policy_string.len(), good, bad, kinds.collect::<Vec<_>>())
        })
        .collect();
    let (tlsa, sts, none) = (PolicyType::Tlsa, PolicyType::Sts, PolicyType::NoPolicyFound);
    let invalid = vec![ResultType::TlsaInvalid];
    let named = vec![ResultType::ValidationFailure];
    let expected = [
        (tlsa, 1, 1, 1, invalid),
        (sts, 4, 1, 1, named),
        (none, 0, 1, 0, vec![]),
        (none, 0, 1, 0, vec![]),
    ];
    assert_eq!(told, expected);
    assert!(collector.take().is_empty());
}

#[test]
fn what_is_wrong_with_a_policy_is_told_though_there_is_no_session() {
    let mut collector = Collector::default();
    let of = domain("a.example");
    let troubles = [
        (Trouble::Fetch, "sts", "sts-policy-fetch-error"),
        (Trouble::NoPolicy, "sts", "sts-policy-invalid"),
        (Trouble::PolicyHost, "sts", "sts-webpki-invalid"),
        (Trouble::Dnssec, "tlsa", "dnssec-invalid"),
        (Trouble::NotNamed, "sts", "validation-failure"),
    ];
    for (trouble, kind, result) in troubles {
        let found = Found { policy: None, troubles: vec![(trouble, "mx".into(), "why".into())] };
        collector.learn(&of, &found, no_records());
        let tally = serde_json::to_value(collector.take()).unwrap();
        let policy = &tally["domains"]["a.example"][0];
        assert_eq!(policy["policy"]["policy-type"], kind);
        assert_eq!(policy["failure-details"][0]["result-type"], result);
        assert_eq!(policy["failure-details"][0]["failure-reason-code"], "why");
    }
}

#[test]
fn only_hosts_without_records_are_tested() {
    let mut collector = Collector::default();
    let of = domain("a.example");
    let records: Arc<[Tlsa]> = own().into();
    let testing = found(policy("testing", "*.a.example"));
    collector.learn(&of, &testing, [("mx1.a.example", &*records)].into_iter());
    assert!(
        !collector.is_tested(&of, "mx1.a.example") && collector.is_tested(&of, "mx2.a.example")
    );
    assert!(!collector.is_tested(&domain("b.example"), "mx2.a.example"));
    collector.learn(&of, &found(policy("enforce", "*.a.example")), no_records());
    assert!(!collector.is_tested(&of, "mx2.a.example"));
    collector.clear();
    assert!(collector.known.is_empty());
}

#[test]
fn words_of_peers_have_a_bound() {
    let mut collector = Collector::default();
    let of = domain("a.example");
    let long = "\u{fc}".repeat(1_000);
    collector.count(&session(&of, "mx"), Err((Trouble::NoStartTls, &long)));
    let hosts = (0..90).map(|n| format!("mx: {n}.{}.example\n", "x".repeat(60)));
    let text = format!("version: STSv1\nmode: enforce\nmax_age: 1\n{}", hosts.collect::<String>());
    let wide = mta_sts::Policy::parse(&text).unwrap();
    let other = domain("b.example");
    collector.learn(&other, &found(wide), no_records());
    collector.count(&session(&other, "mx"), Ok(()));
    let tally = serde_json::to_string(&collector.take()).unwrap();
    assert!(tally.len() < 2 * TLS_REPORT_POLICY_MAX + 2_000, "{}", tally.len());
}
