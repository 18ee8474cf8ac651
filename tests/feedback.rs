//! A corpus of bounces, complaints and automatic replies, held against what is to be read of them.
//!
//! `data/feedback/*.eml` are written for this test, in the style of what mail systems send;
//! `data/feedback/expected` has a line for each recipient that one of them speaks of, by hand.

#![allow(
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm,
    reason = "tests cut and match freely"
)]

use std::collections::BTreeMap;
use std::path::Path;

use relay_fast::outcome::classes::{Classifier, Refusal};
use relay_fast::outcome::feedback::{self, Feedback, Kind};

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/feedback")
}

/// Name and octets of each message, its lines ended as they are on the wire.
fn corpus() -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(folder()).expect("a folder");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".eml"))
        .collect();
    names.sort();
    let read = |name: String| {
        let text = std::fs::read_to_string(folder().join(&name)).expect("text");
        (name, text.replace('\n', "\r\n").into_bytes())
    };
    names.into_iter().map(read).collect()
}

/// A line for each recipient, as in `expected`.
fn lines(name: &str, feedback: &Feedback) -> Vec<String> {
    let classes = Classifier::shipped();
    let line = |told: &feedback::Told| {
        let or = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        let refusal =
            Refusal { code: told.code, status: told.status, text: &told.text, peer: &told.peer };
        let is_failure = matches!(told.kind, Kind::Bounced | Kind::Delayed);
        let class = is_failure.then(|| classes.find(&refusal).class.to_string());
        format!(
            "{name} {:?} {} {} {} {} {}",
            feedback.form,
            told.kind,
            or(told.recipient.as_ref().map(ToString::to_string)),
            or(told.status.map(|status| status.to_string())),
            or(told.code.map(|code| code.to_string())),
            or(class),
        )
    };
    feedback.told.iter().map(line).collect()
}

fn expected() -> BTreeMap<String, Vec<String>> {
    let text = std::fs::read_to_string(folder().join("expected")).expect("the table");
    let mut table: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        let name = line.split(' ').next().expect("a name").to_owned();
        table.entry(name).or_default().push(line);
    }
    table
}

#[test]
fn each_message_says_what_the_table_has() {
    let expected = expected();
    let mut wrong = String::new();
    for (name, content) in corpus() {
        let read = lines(&name, &feedback::read(&content));
        if expected.get(&name) != Some(&read) {
            wrong += &format!("{}\n", read.join("\n"));
        }
    }
    assert!(wrong.is_empty(), "read otherwise:\n{wrong}");
    let names: Vec<String> = corpus().into_iter().map(|(name, _)| name).collect();
    assert!(expected.keys().all(|name| names.contains(name)), "no such file");
}

/// How often something was read of messages, and how often rightly.
#[derive(Debug, Default)]
struct Tally {
    right: usize,
    wrong: Vec<String>,
    missed: Vec<String>,
}

impl Tally {
    fn precision(&self) -> f64 {
        self.right as f64 / (self.right + self.wrong.len()) as f64
    }

    fn recall(&self) -> f64 {
        self.right as f64 / (self.right + self.missed.len()) as f64
    }
}

/// Lines of one kind that were read, held against those of the table.
fn tally(of: &str, change: impl Fn(&[u8]) -> Vec<u8>) -> Tally {
    let expected = expected();
    let about = |line: &String| {
        let words: Vec<&str> = line.split(' ').collect();
        (words[2] == of).then(|| words[3].to_owned())
    };
    let mut tally = Tally::default();
    for (name, content) in corpus() {
        let read = lines(&name, &feedback::read(&change(&content)));
        let truth: Vec<String> = expected[&name].iter().filter_map(about).collect();
        let found: Vec<String> = read.iter().filter_map(about).collect();
        let without = |some: &[String], others: &[String]| {
            let left = some.iter().filter(|recipient| !others.contains(recipient));
            left.map(|recipient| format!("{name} {recipient}")).collect::<Vec<_>>()
        };
        // A bounce of nobody in particular is half of one: who holds its token knows of whom.
        let named: Vec<String> =
            found.iter().filter(|of| truth.is_empty() || **of != "-").cloned().collect();
        let wrong = without(&named, &truth);
        tally.right += named.len() - wrong.len();
        tally.wrong.extend(wrong);
        tally.missed.extend(without(&truth, &found));
    }
    tally
}

fn bare_line_feeds(content: &[u8]) -> Vec<u8> {
    content.iter().copied().filter(|octet| *octet != b'\r').collect()
}

/// As a gateway leaves it that knows nothing of MIME.
fn without_types(content: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(content);
    text.replace("Content-Type: ", "X-Type: ").into_bytes()
}

/// As a gateway leaves it that adds a footer.
fn in_a_mixed(content: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(content);
    let (header, body) = text.split_once("\r\n\r\n").expect("a header");
    let (mut kept, mut typed, mut is_typed) = (String::new(), String::new(), false);
    for line in header.split_inclusive("\r\n") {
        is_typed =
            if line.starts_with([' ', '\t']) { is_typed } else { line.starts_with("Content-") };
        if is_typed { &mut typed } else { &mut kept }.push_str(line);
    }
    let kept = kept.trim_end();
    format!(
        "{kept}\r\nContent-Type: multipart/mixed; boundary=outer\r\n\r\n--outer\r\n\
        {typed}\r\n\r\n{body}\r\n--outer\r\n\r\nThis mail was scanned.\r\n--outer--\r\n"
    )
    .into_bytes()
}

/// What was delivered is never told as a bounce, and hardly a bounce is missed, however it came.
#[test]
fn bounces_and_complaints_are_found_and_nothing_else_is_taken_for_one() {
    type Change = fn(&[u8]) -> Vec<u8>;
    let changes: [(&str, Change, f64); 4] = [
        ("as it is", <[u8]>::to_vec, 1.0),
        ("bare line feeds", bare_line_feeds, 1.0),
        ("in a mixed", in_a_mixed, 1.0),
        ("without types", without_types, 0.9),
    ];
    for (what, change, recall) in changes {
        for of in ["bounced", "delayed", "abuse"] {
            let tally = tally(of, change);
            let figures = format!("{what}, {of}: {tally:?}");
            println!("{figures}");
            assert!(tally.precision() >= 1.0, "{figures}");
            assert!(of != "bounced" || tally.recall() >= recall, "{figures}");
        }
    }
}
