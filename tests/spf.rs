//! The public test suite for SPF (openspf.org, RFC 7208), against what this node makes of a client.

#[path = "support/tool.rs"]
mod tool;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use relay_fast::base::time::Monotonic;
use relay_fast::dns::{Answer, Finding, Kind, MxRecord, Name, Question, Records};
use relay_fast::mail::address::Domain;
use relay_fast::policy::authenticity::{Session, SpfCheck, SpfProgress, Verifier};
use serde::Deserialize;
use serde_json::Value;

/// Where Debian's python3-spf has it.
const SUITE: &str = "/usr/share/doc/python3-spf/rfc7208-tests.yml.gz";

/// What the relay says otherwise, and why that is left so. A row that agrees fails the test too.
const OTHERWISE: [(&str, &str, &str); 5] = [
    ("a-colon-domain", "permerror", COLON),
    ("a-colon-domain-ip4mapped", "permerror", COLON),
    ("mx-colon-domain", "permerror", COLON),
    ("mx-colon-domain-ip4mapped", "permerror", COLON),
    ("macro-mania-in-domain", "fail", "nobody is asked for names with `%` and blanks in them"),
];

const COLON: &str = "the library takes no domain with a colon and a slash in its name";

#[derive(Debug, Deserialize)]
struct Scenario {
    description: String,
    zone: HashMap<String, Vec<Value>>,
    tests: HashMap<String, Test>,
}

#[derive(Debug, Deserialize)]
struct Test {
    helo: String,
    host: String,
    mailfrom: String,
    results: Vec<String>,
}

/// The suite, read by Python; `None` where it is not installed.
fn suite() -> Option<Vec<Scenario>> {
    if !Path::new(SUITE).exists() {
        tool::skip("no python3-spf here; tests/run installs it");
        return None;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/spf/vectors.py");
    // Debian's modules are for Debian's Python, which may not be the first on the PATH.
    let pythons = [tool::find("python3")?, "/usr/bin/python3".into()];
    let said = pythons.iter().find_map(|python| {
        let output = Command::new(python).args([script, SUITE]).output().ok()?;
        output.status.success().then_some(output.stdout)
    });
    if said.is_none() {
        tool::skip("no Python with yaml here; tests/run installs it");
    }
    Some(serde_json::from_slice(&said?).expect("JSON of ours"))
}

impl Scenario {
    /// What name servers say.
    fn answer(&self, question: &Question) -> Answer {
        let mut name = question.name.as_str().to_owned();
        let mut finding = self.find(&name, question.kind);
        for _ in 0..8 {
            let Some(target) = self.alias(&name) else { break };
            finding = self.find(&target, question.kind);
            name = target;
        }
        let (authenticated, expires) = (false, Monotonic(u64::MAX));
        Answer { question: question.clone(), finding, authenticated, expires }
    }

    fn alias(&self, name: &str) -> Option<String> {
        let target = self.zone.get(name)?.iter().find(|row| row[0] == "CNAME")?;
        Some(target[1].as_str()?.trim_end_matches('.').to_lowercase())
    }

    fn find(&self, name: &str, kind: Kind) -> Finding {
        let Some(rows) = self.zone.get(name) else { return Finding::NoSuchName };
        let word = match kind {
            Kind::A => "A",
            Kind::Aaaa => "AAAA",
            Kind::Mx => "MX",
            Kind::Ptr => "PTR",
            Kind::Txt => "TXT",
            Kind::Tlsa => return Finding::NoRecords,
        };
        let of_kind: Vec<&Value> =
            rows.iter().filter(|row| row[0] == word).map(|row| &row[1]).collect();
        let is_silent = of_kind.iter().any(|value| **value == "TIMEOUT")
            || (of_kind.is_empty() && rows.iter().any(|row| *row == "TIMEOUT"));
        if is_silent {
            return Finding::Temporary("no answer".into());
        }
        if of_kind.is_empty() {
            return Finding::NoRecords;
        }
        let texts = || of_kind.iter().map(|value| value.as_str().expect("text"));
        let names = |text: &str| Name::parse(text.trim_end_matches('.')).ok();
        Finding::Records(match kind {
            Kind::A => Records::A(texts().map(|text| text.parse().expect("IPv4")).collect()),
            Kind::Aaaa => Records::Aaaa(texts().map(|text| text.parse().expect("IPv6")).collect()),
            Kind::Ptr => Records::Ptr(texts().filter_map(names).collect()),
            Kind::Mx => Records::Mx(of_kind.iter().map(|value| mx(value)).collect()),
            Kind::Txt | Kind::Tlsa => {
                Records::Txt(of_kind.iter().map(|value| octets(value)).collect())
            }
        })
    }
}

fn mx(value: &Value) -> MxRecord {
    let preference = u16::try_from(value[0].as_u64().expect("a number")).expect("16 bits");
    let host = value[1].as_str().expect("text").trim_end_matches('.');
    MxRecord { preference, exchange: Name::parse(host).ok() }
}

/// Character strings of a TXT record, joined (RFC 7208 §3.3).
fn octets(value: &Value) -> Box<[u8]> {
    let parts = value.as_array().expect("a list").iter();
    let chars = parts.flat_map(|part| part.as_str().expect("text").chars().collect::<Vec<_>>());
    chars.map(|one| u8::try_from(u32::from(one)).expect("an octet")).collect()
}

fn check(scenario: &Scenario, test: &Test, verifier: &Arc<Verifier>) -> &'static str {
    let session = Session {
        // As the relay has it: RFC 7208 §5 wants IPv4-mapped clients taken for IPv4.
        client: test.host.parse::<IpAddr>().expect("an address").to_canonical(),
        hello: test.helo.as_str().into(),
        reverse_path: test.mailfrom.as_str().into(),
        hostname: Domain::parse("receiver.example").expect("a domain"),
    };
    let mut check = SpfCheck::new(Arc::clone(verifier), session);
    loop {
        match check.advance() {
            SpfProgress::Done(spf) => return spf.as_str(),
            SpfProgress::Ask(questions) => {
                for question in questions {
                    check.handle_answer(&Arc::new(scenario.answer(&question)));
                }
            }
        }
    }
}

#[test]
fn the_public_test_suite_agrees() {
    let Some(scenarios) = suite() else { return };
    let verifier = Arc::new(Verifier::new().expect("a verifier"));
    let (mut all, mut wrong) = (0, Vec::new());
    let expects =
        |name: &str, said: &str| OTHERWISE.iter().any(|row| (row.0, row.1) == (name, said));
    for scenario in &scenarios {
        for (name, test) in &scenario.tests {
            all += 1;
            let said = check(scenario, test, &verifier);
            let agrees = test.results.iter().any(|result| result == said);
            if agrees == expects(name, said) {
                let description = &scenario.description;
                wrong.push(format!("{description}: {name}: {said}, not {:?}", test.results));
            }
        }
    }
    wrong.sort();
    assert!(all >= 200, "{all} tests");
    assert!(wrong.is_empty(), "{} of {all}:\n{}", wrong.len(), wrong.join("\n"));
}
