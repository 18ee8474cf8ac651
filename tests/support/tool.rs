//! Find a program that a test drives, or say loudly that the test is skipped.

use std::io::Write;
use std::path::PathBuf;

/// Where `tool` is: on the PATH or in an sbin folder.
///
/// Without it: a panic where `CI` is set, else `None` and one line on stderr, past the test
/// harness, which shows the output of failed tests alone.
pub(crate) fn find(tool: &str) -> Option<PathBuf> {
    let found = look_for(tool);
    if found.is_none() {
        skip(&format!("no {tool} here; tests/run installs it"));
    }
    found
}

/// Say that this test is skipped; a panic where `CI` is set.
pub(crate) fn skip(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let line = format!("\nSKIPPED: {test}: {why}\n");
    assert!(std::env::var_os("CI").is_none(), "{line}");
    std::io::stderr().write_all(line.as_bytes()).expect("stderr takes a line");
}

fn look_for(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let sbin = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    let folders = std::env::split_paths(&path).chain(sbin);
    folders.map(|folder| folder.join(tool)).find(|file| file.is_file())
}

#[test]
fn a_tool_is_found_where_it_is() {
    assert!(look_for("sh").is_some_and(|file| file.ends_with("sh")));
    assert_eq!(look_for("no-such-tool-anywhere"), None);
}
