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
