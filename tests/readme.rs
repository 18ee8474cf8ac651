//! Hold the README to what the program says of itself.

use relay_fast::config::reference;

#[test]
fn the_table_of_knobs_is_the_programs_own() {
    let readme = include_str!("../README.md");
    let (_, rest) = readme.split_once("<!-- knobs -->\n").expect("the table's beginning");
    let (table, _) = rest.split_once("<!-- /knobs -->").expect("the table's end");
    assert_eq!(table, reference::render(), "print it anew with `relay-fast knobs`");
}
