//! Guard the instructions that a message costs: count them and compare with the recorded figures.
//!
//! ```sh
//! cargo bench --no-default-features --bench instructions                        # compare
//! cargo bench --no-default-features --bench instructions -- --record "REASON"   # take them over
//! cargo bench --no-default-features --bench instructions -- --stages            # by stage
//! ```
//!
//! Time depends on what else a machine does, instructions do not: callgrind counts the same ones
//! each run, to a hundredth of a percent. The relays run in memory, so what the kernel does for a
//! message is not in the figures; and a long copy, by `rep movsb`, counts as an instruction an
//! octet. More than 3% above a recorded figure fails; more than 10% below it fails too, so that it
//! is recorded. With other tools than the recorded ones, or in another build, nothing fails: the
//! figures are shown.

#![allow(missing_docs, reason = "a program of its own")]

#[path = "instructions/callgrind.rs"]
mod callgrind;
#[path = "instructions/figures.rs"]
mod figures;
#[path = "support/mail.rs"]
mod mail;
#[path = "instructions/node.rs"]
mod node;
#[path = "support/pair.rs"]
mod pair;
#[path = "instructions/parties.rs"]
mod parties;
#[path = "instructions/profile.rs"]
mod profile;
#[path = "instructions/relays.rs"]
mod relays;
#[path = "support/spool.rs"]
mod spool;
#[path = "../tests/support/tool.rs"]
mod tool;
#[path = "support/waiting.rs"]
mod waiting;

use std::process::ExitCode;

use callgrind::Measured;
use figures::{Figures, Tools};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions/figures.toml");
const USAGE: &str = "[--test] | --record REASON | --stages | --relay NAME --messages N";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["--relay", name, "--messages", count] => run(name, count),
        [] | ["--test"] => guard(None),
        ["--stages"] => show_stages(),
        ["--record", _] if relays::build() != relays::GUARDED_BUILD => {
            say("figures are recorded by `cargo bench --no-default-features` alone");
            ExitCode::FAILURE
        }
        ["--record", reason] if !reason.trim().is_empty() => guard(Some(reason)),
        _ => {
            say(USAGE);
            ExitCode::FAILURE
        }
    }
}

fn say(line: &str) {
    eprintln!("instructions: {line}");
}

/// Be the program that is counted.
fn run(name: &str, count: &str) -> ExitCode {
    let (Some(relay), Ok(messages)) = (relays::named(name), count.parse()) else {
        say(USAGE);
        return ExitCode::FAILURE;
    };
    (relay.run)(messages);
    println!("{}", relays::cpu());
    ExitCode::SUCCESS
}

/// Count, then compare or record.
fn guard(reason: Option<&str>) -> ExitCode {
    let Some(valgrind) = tool::find("valgrind") else { return ExitCode::SUCCESS };
    let text = std::fs::read_to_string(FILE).unwrap_or_else(|error| panic!("{FILE}: {error}"));
    let recorded = Figures::parse(&text).unwrap_or_else(|error| panic!("{FILE}: {error}"));
    let mut tools = callgrind::tools(&valgrind);
    tools.insert("build".to_owned(), relays::build().to_owned());
    let mut measured = Vec::new();
    for relay in &relays::ALL {
        let counted = Measured::new(&valgrind, relay);
        let instructions = counted.instructions();
        tools.insert("cpu".to_owned(), counted.cpu);
        show(&recorded, relay.name, instructions);
        measured.push((relay.name, instructions));
    }
    let Some(reason) = reason else { return compare(&recorded, &tools, &measured) };
    let mut figures = Figures { measured_with: tools, ..recorded };
    figures.record(&measured, reason);
    std::fs::write(FILE, figures.to_text()).unwrap_or_else(|error| panic!("{FILE}: {error}"));
    say(&format!("recorded in {FILE}"));
    ExitCode::SUCCESS
}

/// Print a table of the whole shard's stages, one column a relay.
fn show_stages() -> ExitCode {
    let Some(valgrind) = tool::find("valgrind") else { return ExitCode::SUCCESS };
    let shards = relays::ALL.iter().filter(|relay| relay.name.starts_with("shard"));
    let (names, measured): (Vec<_>, Vec<_>) =
        shards.map(|relay| (relay.name, Measured::new(&valgrind, relay))).unzip();
    println!("| instructions a message | {} |", names.join(" | "));
    println!("|---|{}", "---|".repeat(names.len()));
    let mut columns: Vec<_> = measured.iter().map(Measured::stages).collect();
    while let Some(row) = columns.iter_mut().map(Iterator::next).collect::<Option<Vec<_>>>() {
        let costs: Vec<String> = row.iter().map(|(_, cost)| cost.to_string()).collect();
        println!("| {} | {} |", row[0].0, costs.join(" | "));
    }
    ExitCode::SUCCESS
}

/// A relay's line.
fn show(recorded: &Figures, name: &str, instructions: u64) {
    let change = recorded.change(name, instructions);
    let change = change.map_or_else(|| "not recorded".to_owned(), |c| format!("{c:+.2}%"));
    println!("{name:20} {instructions:>9} instructions a message {change:>14}");
}

/// Whether the figures are as recorded, as far as these tools can tell.
fn compare(recorded: &Figures, tools: &Tools, measured: &[(&str, u64)]) -> ExitCode {
    if recorded.measured_with != *tools {
        say("the figures were recorded with other tools or in another build: nothing fails here");
        say(&format!("recorded with {:?}", recorded.measured_with));
        say(&format!("measured with {tools:?}"));
        say("if these are here to stay, see that the changes are theirs, and --record REASON");
        return ExitCode::SUCCESS;
    }
    let complaints = recorded.complaints(measured);
    complaints.iter().for_each(|complaint| say(complaint));
    if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
