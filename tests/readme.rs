//! Hold the README to what the program says of itself.

use relay_fast::config::reference;
use relay_fast::control::metrics;

#[test]
fn the_table_of_knobs_is_the_programs_own() {
    let readme = include_str!("../README.md");
    let (_, rest) = readme.split_once("<!-- knobs -->\n").expect("the table's beginning");
    let (table, _) = rest.split_once("<!-- /knobs -->").expect("the table's end");
    assert_eq!(table, reference::render(), "print it anew with `relay-fast knobs`");
}

#[test]
fn the_table_of_metrics_is_the_programs_own() {
    let readme = include_str!("../README.md");
    let (_, rest) = readme.split_once("<!-- metrics -->\n").expect("the table's beginning");
    let (table, _) = rest.split_once("<!-- /metrics -->").expect("the table's end");
    assert_eq!(table, metrics::reference::render(), "print it anew with `relay-fast metrics`");
}

/// Knobs have dots, or are alone on the first level; what other servers call theirs has none.
#[test]
fn guides_name_knobs_that_there_are() {
    let known: Vec<&str> = relay_fast::config::knobs::ALL.iter().map(|knob| knob.path).collect();
    let guides = [include_str!("../docs/migration.md"), include_str!("../docs/operations.md")];
    let mut named = 0;
    for guide in guides {
        for line in guide.lines().filter(|line| line.starts_with('|')) {
            // What is on the left is another server's.
            let Some(here) = line.split('|').nth(2) else { continue };
            for word in here.split('`').skip(1).step_by(2) {
                let is_path = word.contains('.') && !word.contains([' ', '/']);
                if is_path && word.chars().all(|c| c.is_ascii_lowercase() || "._[]".contains(c)) {
                    assert!(known.contains(&word), "there is no knob {word}: {line}");
                    named += 1;
                }
            }
        }
    }
    assert!(named > 80, "only {named} knobs are named");
}
