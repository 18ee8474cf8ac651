//! The whole of failure policy as one table, and what must hold for all of it.

use super::*;
use crate::mail::status::{REQUIRETLS_NEEDED, ReplyCode};
use std::fmt::Write;

/// Written anew by `UPDATE_GOLDEN=1 cargo test`; what changes in it is a change of policy.
const GOLDEN: &str = "tests/data/judge.golden";

const CODES: &[u16] = &[
    354, 421, 450, 451, 452, 454, 455, 500, 501, 502, 503, 504, 521, 530, 535, 550, 551, 552, 553,
    554, 555, 556,
];

fn reply(text: &str) -> Failure {
    let (code, rest) = text.split_once(' ').unwrap_or((text, ""));
    let code = code.parse().ok().and_then(ReplyCode::new).expect("a code");
    let enhanced = EnhancedStatus::parse_prefix(rest).map(|(status, _)| status);
    Failure::Reply(Reply { code, enhanced, text: "".into() })
}

fn others() -> Vec<(&'static [Stage], Failure)> {
    const CONNECTED: &[Stage] = &[
        Stage::Greeting,
        Stage::Hello,
        Stage::Tls,
        Stage::Mail,
        Stage::Rcpt,
        Stage::Data,
        Stage::Content,
        Stage::Quit,
    ];
    const TIMED: &[Stage] = &[
        Stage::Connect,
        Stage::Greeting,
        Stage::Hello,
        Stage::Tls,
        Stage::Mail,
        Stage::Rcpt,
        Stage::Data,
        Stage::Content,
        Stage::Quit,
    ];
    let status = EnhancedStatus::new(5, 6, 7);
    let require_tls =
        Failure::RequireTls { status: REQUIRETLS_NEEDED, detail: "REQUIRETLS".into() };
    vec![
        (&[Stage::Connect], Failure::Connect("refused".into())),
        (&[Stage::Tls], Failure::Tls("certificate expired".into())),
        (&[Stage::Route, Stage::Hello, Stage::Tls], require_tls),
        (TIMED, Failure::TimedOut),
        (CONNECTED, Failure::Closed),
        (CONNECTED, Failure::Protocol("nonsense".into())),
        (&[Stage::Route], Failure::NoSuchDomain),
        (&[Stage::Route], Failure::Unroutable("127.0.0.1".into())),
        (&[Stage::Route], Failure::NullMx),
        (&[Stage::Route], Failure::Loop),
        (&[Stage::Route], Failure::Dns("SERVFAIL".into())),
        (&[Stage::Mail], Failure::Incapable { status, detail: "SMTPUTF8".into() }),
        (&[Stage::Route], Failure::Expired),
        (&[Stage::Route], Failure::Removed),
    ]
}

fn describe(judgement: Judgement) -> String {
    let verdict = format!("{:?}", judgement.verdict).to_lowercase();
    let scope = format!("{:?}", judgement.scope).to_lowercase();
    format!("{verdict:<6} {scope:<10} {}", judgement.status)
}

fn table() -> String {
    let mut out =
        String::from("# Failure policy, by stage. Written by src/outcome/judge/tests.rs.\n");
    for stage in &ANY[2..] {
        writeln!(out, "\n## a reply at {stage}").expect("text");
        for code in CODES {
            let judgement = judge(*stage, &reply(&code.to_string()));
            writeln!(out, "{:<34}{}", code, describe(judgement)).expect("text");
        }
        for text in ["450 4.7.1", "452 4.2.2", "452 4.5.3", "550 5.1.1", "552 5.2.2", "552 5.5.3"] {
            writeln!(out, "{text:<34}{}", describe(judge(*stage, &reply(text)))).expect("text");
        }
    }
    writeln!(out, "\n## no reply").expect("text");
    for (stages, failure) in others() {
        for stage in stages {
            let judgement = judge(*stage, &failure);
            let name = format!("{failure:?}");
            let name = name.split([' ', '(']).next().expect("a word");
            writeln!(out, "{:<34}{}", format!("{name} at {stage}"), describe(judgement))
                .expect("text");
        }
    }
    out
}

#[test]
fn the_whole_table_is_as_it_was_agreed() {
    let path = format!("{}/{GOLDEN}", env!("CARGO_MANIFEST_DIR"));
    let table = table();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &table).expect("a writable tree");
    }
    let golden = std::fs::read_to_string(&path).expect("the golden table");
    assert!(table == golden, "the policy has changed; UPDATE_GOLDEN=1 accepts this:\n{table}");
}

#[test]
fn every_code_at_every_stage_has_a_verdict_whose_class_fits() {
    for stage in ANY {
        for code in (200..560).filter_map(ReplyCode::new) {
            for enhanced in
                [None, Some(EnhancedStatus::new(2, 1, 5)), Some(EnhancedStatus::new(4, 2, 2))]
            {
                let reply = Reply { code, enhanced, text: "".into() };
                let judgement = judge(*stage, &Failure::Reply(reply));
                let class = match judgement.verdict {
                    Verdict::Defer => 4,
                    Verdict::Bounce => 5,
                };
                assert_eq!(judgement.status.class, class, "{stage} {code}");
            }
        }
    }
}

//= RFC 5321 §4.2.1, type=test
//# 4yz Transient Negative Completion reply … the action may be requested again
#[test]
fn nothing_transient_bounces() {
    for stage in ANY {
        for code in (400..500).filter_map(ReplyCode::new) {
            let reply = Reply { code, enhanced: None, text: "".into() };
            assert_eq!(
                judge(*stage, &Failure::Reply(reply)).verdict,
                Verdict::Defer,
                "{stage} {code}"
            );
        }
    }
}

#[test]
fn every_rule_is_needed() {
    for rule in RULES {
        let decides = ANY.iter().any(|stage| {
            (200..560).filter_map(ReplyCode::new).any(|code| {
                let reply = Reply { code, enhanced: None, text: "".into() };
                let fits = |rule: &&Rule| rule.stages.contains(stage) && rule.replies.has(&reply);
                RULES.iter().find(fits).is_some_and(|first| std::ptr::eq(first, rule))
            })
        });
        assert!(decides, "never the first that fits: {rule:?}");
    }
}
