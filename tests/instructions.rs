//! The guard of instructions a message: how it compares, records, and reads what callgrind wrote.
//!
//! The guard itself is `benches/instructions.rs`, since only optimized code is worth counting.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "../benches/instructions/figures.rs"]
#[allow(dead_code, reason = "the guard uses the rest")]
mod figures;
#[path = "../benches/instructions/profile.rs"]
mod profile;

use figures::{Figure, Figures, Tools};
use profile::{Profile, stages};

const RECORDED: &str = include_str!("../benches/instructions/figures.toml");

fn figures(relays: &[(&str, u64)]) -> Figures {
    let figure = |(name, instructions): &(&str, u64)| {
        ((*name).to_owned(), Figure { instructions: *instructions, reason: "before".to_owned() })
    };
    let measured_with = Tools::from([("rustc".to_owned(), "1.95.0".to_owned())]);
    Figures { measured_with, relay: relays.iter().map(figure).collect() }
}

#[test]
fn three_percent_above_and_ten_below_are_the_bounds() {
    let recorded = figures(&[("shard", 100_000)]);
    for (measured, word) in [
        (100_000, None),
        (103_000, None),
        (103_001, Some("above")),
        (90_000, None),
        (89_999, Some("below")),
    ] {
        let complaints = recorded.complaints(&[("shard", measured)]);
        assert_eq!(complaints.len(), usize::from(word.is_some()), "{measured}: {complaints:?}");
        assert!(complaints.iter().all(|one| one.contains(word.unwrap())), "{complaints:?}");
    }
}

#[test]
fn a_complaint_says_how_much_and_why_it_was_what_it_was() {
    let complaints = figures(&[("shard", 100_000)]).complaints(&[("shard", 105_000)]);
    let expected = "shard takes 105000 instructions a message: 5.0% above what is recorded, 3% \
                    are allowed: find out why, or --record REASON (last: before)";
    assert_eq!(complaints, [expected]);
}

#[test]
fn what_is_recorded_and_what_is_measured_are_the_same_relays() {
    let complaints = figures(&[("gone", 1), ("kept", 1)]).complaints(&[("kept", 1), ("new", 1)]);
    assert_eq!(complaints.len(), 2);
    assert!(complaints[0].starts_with("new ") && complaints[1].starts_with("gone "));
}

#[test]
fn recording_keeps_the_reasons_of_figures_that_did_not_move() {
    let mut recorded = figures(&[("gone", 1), ("moved", 100_000), ("steady", 100_000)]);
    recorded.record(&[("moved", 94_000), ("new", 7), ("steady", 100_400)], "one copy less");
    let rows = recorded.relay.iter();
    let rows: Vec<_> = rows.map(|(name, f)| (name.as_str(), f.instructions, &*f.reason)).collect();
    let expected = [
        ("moved", 94_000, "one copy less"),
        ("new", 7, "one copy less"),
        ("steady", 100_000, "before"),
    ];
    assert_eq!(rows, expected);
}

#[test]
fn figures_are_read_as_they_were_written() {
    let recorded = figures(&[("a-b", 1), ("c", 2)]);
    assert_eq!(Figures::parse(&recorded.to_text()).unwrap(), recorded);
    assert!(Figures::parse("[measured_with]\n[relay.a]\ninstructions = 1\n").is_err(), "no reason");
}

#[test]
fn the_file_is_as_the_guard_writes_it_and_each_figure_has_its_reason() {
    let recorded = Figures::parse(RECORDED).unwrap();
    assert_eq!(recorded.to_text(), RECORDED);
    assert!(!recorded.relay.is_empty());
    assert!(recorded.relay.values().all(|f| f.instructions > 0 && !f.reason.trim().is_empty()));
}

/// Of a file as callgrind writes it: names stand once, then their numbers; `main` calls `mail`,
/// which has inlined lines of the queue's and calls itself.
const COUNTS: &str = "\
version: 1
cmd: instructions --relay shard-data
events: Ir
fl=(1) src/main.rs
fn=(1) instructions::node::Node::relay
3 10
cfi=(2) src/smtp/command.rs
cfn=(2) relay_fast::smtp::command::mail
calls=2 7
+1 60
fl=(2)
fn=(2)
7 20
fi=(3) src/queue/list.rs
* 15
fe=(2)
cfn=(2)
calls=1 7
-1 25
+2 25
totals: 70
";

#[test]
fn costs_are_added_up_by_function_with_calls_and_by_file_without() {
    let profile = Profile::parse(COUNTS);
    assert_eq!(profile.total, 70);
    let cost = |stage| stages(&profile).find(|(name, _)| *name == stage).unwrap().1;
    assert_eq!(cost("all of it"), 70, "its own 10, and 60 in what it calls");
    assert_eq!(cost("commands parsed"), 60, "a call of itself is not counted twice");
    assert_eq!(cost("queue"), 15, "lines of its files, whoever they were inlined into");
    assert_eq!(cost("stuffing"), 0);
}
