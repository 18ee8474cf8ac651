//! The shipped rules, held against replies that mail systems send.

use std::collections::BTreeMap;

use super::*;
use crate::mail::status::{Reply, ReplyCode};

const CORPUS: &str = include_str!("corpus.tsv");

fn shipped() -> Classifier {
    Classifier::new(None).expect("the shipped rules")
}

/// A reply as it stands in a log.
fn reply(line: &str) -> Reply {
    let (code, text) = line.split_at(3);
    let code = ReplyCode::new(code.parse().unwrap()).unwrap_or(ReplyCode::known(554));
    let text = text.trim_start_matches([' ', '-']);
    match EnhancedStatus::parse_prefix(text) {
        Some((status, rest)) => Reply { code, enhanced: Some(status), text: rest.into() },
        None => Reply { code, enhanced: None, text: text.into() },
    }
}

fn class_of(rules: &Classifier, line: &str) -> Class {
    let Reply { code, enhanced, text } = reply(line);
    let refusal = Refusal {
        code: Some(code.as_u16()),
        status: enhanced,
        text: &text,
        peer: "mx[192.0.2.1]:25",
    };
    rules.find(&refusal).class
}

/// Each line of a part of the corpus, and what is made of it.
fn judged(part: usize) -> Vec<(Class, Class, &'static str)> {
    let rules = shipped();
    let part = CORPUS.split("\n# ").nth(part).unwrap();
    let lines = part.lines().filter_map(|line| line.split_once('\t'));
    let class = |word: &str| *Class::ALL.iter().find(|class| class.as_str() == word).unwrap();
    lines.map(|(word, line)| (class(word), class_of(&rules, line), line)).collect()
}

/// By class: how much of what it should have it has, and how much of what it has it should have.
fn recall_and_precision(judged: &[(Class, Class, &str)]) -> BTreeMap<Class, (f64, f64)> {
    let share = |hits: usize, all: usize| if all == 0 { 1.0 } else { hits as f64 / all as f64 };
    let count =
        |is: &dyn Fn(&(Class, Class, &str)) -> bool| judged.iter().filter(|one| is(one)).count();
    let mut figures = BTreeMap::new();
    for class in Class::ALL {
        let hits = count(&|(expected, found, _)| (*expected, *found) == (class, class));
        let recall = share(hits, count(&|(expected, _, _)| *expected == class));
        let precision = share(hits, count(&|(_, found, _)| *found == class));
        figures.insert(class, (recall, precision));
    }
    figures
}

fn wrong(judged: &[(Class, Class, &str)]) -> Vec<String> {
    let wrong = judged.iter().filter(|(expected, found, _)| expected != found);
    wrong.map(|(expected, found, line)| format!("{found}, not {expected}: {line}")).collect()
}

#[test]
fn replies_of_mail_systems_have_their_classes() {
    let judged = judged(0);
    assert!(judged.len() > 130);
    for (class, (recall, precision)) in recall_and_precision(&judged) {
        let fine = recall >= 0.9 && precision >= 0.9;
        assert!(
            fine,
            "{class}: recall {recall:.2}, precision {precision:.2}\n{:#?}",
            wrong(&judged)
        );
    }
    assert!(wrong(&judged).len() * 50 <= judged.len(), "98 of 100: {:#?}", wrong(&judged));
}

#[test]
fn replies_that_the_rules_were_not_made_for_have_them_too() {
    let judged = judged(1);
    assert!(judged.len() > 40);
    assert!(wrong(&judged).len() * 10 <= judged.len(), "9 of 10: {:#?}", wrong(&judged));
}

#[test]
fn an_operators_rules_go_before_the_shipped_ones() {
    let own = "[[rule]]\nclass = \"policy\"\nname = \"ours\"\n\
        words = ['user unknown']\n\
        codes = [\"55x\"]\npeer = ['^mx\\.odd\\.example\\[']\n\
        [[rule]]\nclass = \"tls\"\nstatus = [\"5.9.x\"]\n";
    let rules = Classifier::new(Some(own)).unwrap();
    let find = |code: u16, status: Option<EnhancedStatus>, peer: &str| {
        let text = "<a@b.example>: User Unknown";
        rules.find(&Refusal { code: Some(code), status, text, peer })
    };
    let odd = "mx.odd.example[192.0.2.1]:25";
    assert_eq!(find(550, None, odd), Found { class: Class::Policy, rule: Some("ours") });
    assert_eq!(find(450, None, odd).class, Class::BadMailbox, "another code");
    assert_eq!(
        find(550, None, "mx.example[192.0.2.1]:25").class,
        Class::BadMailbox,
        "another peer"
    );
    let status = Some(EnhancedStatus::new(5, 9, 77));
    assert_eq!(find(550, status, "").class, Class::Tls);
    let nothing = Refusal { code: Some(550), status: None, text: "", peer: "" };
    assert_eq!(rules.find(&nothing), Found { class: Class::Other, rule: None });
}

#[test]
fn what_is_no_rule_is_refused_with_its_place() {
    for (text, expected) in [
        ("[[rule]]\nclass = \"odd\"\nwords = ['a']", "line 2: unknown variant `odd`"),
        ("[[rule]]\nclass = \"tls\"", "rule 1 (tls): it fits everything"),
        ("[[rule]]\nclass = \"tls\"\nwords = ['']", "rule 1 (tls): a pattern has 1 to"),
        ("[[rule]]\nclass = \"tls\"\ncodes = [\"55\"]", "rule 1 (tls): `55` is no code"),
        ("[[rule]]\nclass = \"tls\"\nstatus = [\"5.x\"]", "rule 1 (tls): `5.x` is no code"),
        ("[[rule]]\nclass = \"tls\"\nwords = ['(']", "a pattern cannot be used: "),
        ("[[rule]]\nclass = \"tls\"\nwords = ['(\\w{500}){500}']", "a pattern cannot be used: "),
        ("[[rule]]\nclass = \"tls\"\nword = ['a']", "line 3: unknown field `word`"),
        ("rules = 1", "line 1: unknown field `rules`"),
    ] {
        let error = Classifier::new(Some(text)).expect_err(text).to_string();
        assert!(error.starts_with(expected), "{text}\n{error}");
    }
}

#[test]
fn what_no_peer_said_is_classed_by_how_far_it_came() {
    use crate::mail::outcome::Failure;
    use crate::outcome::judge::judge;
    let rules = shipped();
    let class = |stage: Stage, failure: &Failure| {
        let status = judge(stage, failure).status;
        let (detail, peer) = (failure.to_string().into(), "".into());
        rules.class(&Reason { stage, status, reply: None, detail, peer })
    };
    let words = || "words".into();
    for (stage, failure, expected) in [
        (Stage::Connect, Failure::Connect(words()), Class::NoAnswer),
        (Stage::Connect, Failure::TimedOut, Class::NoAnswer),
        (Stage::Mail, Failure::Closed, Class::NoAnswer),
        (Stage::Route, Failure::Dns(words()), Class::NoAnswer),
        (Stage::Route, Failure::NoSuchDomain, Class::BadDomain),
        (Stage::Route, Failure::NullMx, Class::BadDomain),
        (Stage::Route, Failure::Loop, Class::Routing),
        (Stage::Route, Failure::Unroutable(words()), Class::Routing),
        (Stage::Tls, Failure::Tls(words()), Class::Tls),
        (Stage::Rcpt, Failure::Protocol(words()), Class::Protocol),
        (Stage::Route, Failure::Expired, Class::GivenUp),
        (Stage::Route, Failure::Removed, Class::GivenUp),
    ] {
        assert_eq!(class(stage, &failure), expected, "{failure:?}");
    }
}

#[test]
fn a_long_reply_costs_no_more_than_its_head() {
    let long = "\u{fc}".repeat(CLASS_TEXT_MAX) + " user unknown";
    let refusal = Refusal { code: Some(550), status: None, text: &long, peer: "" };
    assert_eq!(shipped().find(&refusal).class, Class::Other);
}
