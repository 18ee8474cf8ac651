//! A file imports its own folder and lower floors, never sideways, never up.

use crate::source::{Complaint, Source, is_word};

/// The folders of `src/` and their floors, as in `src/lib.rs`. `control` stands beside the house:
/// it sees what shards publish, and nobody sees it.
const FLOORS: [(&str, u8); 15] = [
    ("base", 0),
    ("mail", 1),
    ("smtp", 2),
    ("dns", 2),
    ("spool", 2),
    ("tls", 2),
    ("milter", 2),
    ("policy", 3),
    ("queue", 3),
    ("egress", 3),
    ("outcome", 3),
    ("config", 4),
    ("shard", 5),
    ("platform", 6),
    ("control", 6),
];

fn floor(folder: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == folder).map(|(_, floor)| *floor)
}

/// Imports of `source` that its floor does not allow.
pub(crate) fn check(source: &Source) -> Vec<Complaint> {
    // lib.rs declares the folders; main.rs puts them together from outside.
    let Some(folder) = source.path.strip_prefix("src/").and_then(|path| path.split_once('/'))
    else {
        return Vec::new();
    };
    let own = folder.0;
    let Some(own_floor) = floor(own) else {
        return vec![source.complaint(0, format!("no floor is known for src/{own}"))];
    };
    let mut complaints = Vec::new();
    for (at, imported) in imported(source) {
        match floor(imported) {
            _ if imported == own => {}
            Some(floor) if floor < own_floor => {}
            Some(floor) => {
                let what = format!("{own} (floor {own_floor}) imports {imported} (floor {floor})");
                complaints.push(source.complaint(at, what));
            }
            None => complaints.push(source.complaint(at, format!("imports crate::{imported}"))),
        }
    }
    complaints
}

/// The folder that each path from the crate's root leads into, with its place: `crate::…`, as
/// many `super::` as lead there, and our own name from outside.
fn imported(source: &Source) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for root in ["crate::", "relay_fast::"] {
        for at in source.words(root) {
            found.extend(heads(&source.code[at + root.len()..]).into_iter().map(|head| (at, head)));
        }
    }
    for at in source.words("super::") {
        // In the middle of a chain: its first one counts the whole.
        if source.code[..at].ends_with("::") {
            continue;
        }
        let rest = &source.code[at..];
        let after = rest.trim_start_matches("super::");
        let levels = (rest.len() - after.len()) / "super::".len();
        if levels >= depth(source, at) {
            found.extend(heads(after).into_iter().map(|head| (at, head)));
        }
    }
    found
}

/// The first segment of a path, or of each branch of `{a::b, c::{d, e}}`.
fn heads(path: &str) -> Vec<&str> {
    if let Some(tree) = path.strip_prefix('{') {
        return branches(tree).into_iter().flat_map(heads).collect();
    }
    let end = path.find(|c| !is_word(c)).unwrap_or(path.len());
    // A glob from the root imports every floor.
    vec![if end == 0 { "*" } else { &path[..end] }]
}

/// What stands between the commas of `a::b, c::{d, e}}…`, up to the brace that ends it.
fn branches(tree: &str) -> Vec<&str> {
    let mut branches = Vec::new();
    let mut nested = 0;
    let mut start = 0;
    for (at, c) in tree.char_indices() {
        match c {
            '{' => nested += 1,
            '}' if nested > 0 => nested -= 1,
            ',' | '}' if nested == 0 => {
                branches.push(tree[start..at].trim());
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    branches.retain(|branch| !branch.is_empty());
    branches
}

/// How many modules deep the code at `at` is: 1 in `src/a/mod.rs`, 2 in `src/a/b.rs`.
fn depth(source: &Source, at: usize) -> usize {
    let path = source.path.trim_start_matches("src/").trim_end_matches(".rs");
    let file = path.trim_end_matches("/mod").split('/').count();
    file + source.inline_modules().iter().filter(|body| body.contains(&at)).count()
}

#[test]
fn imports_up_and_sideways_are_found() {
    for (path, text, bad) in [
        ("src/dns/a.rs", "use crate::base::time::Now;", 0),
        ("src/dns/a.rs", "use crate::dns::b::{C, d::E};", 0),
        ("src/dns/a.rs", "use crate::smtp::line;", 1),
        ("src/dns/a.rs", "use crate::{base::time, smtp::{line, reply}, mail, queue::entry};", 2),
        ("src/dns/a.rs", "use crate::{\n    base::time,\n    shard,\n};", 1),
        ("src/dns/a.rs", "fn f() -> crate::queue::entry::Entry { crate::egress::g() }", 2),
        ("src/dns/a.rs", "// crate::shard\nconst A: &str = \"crate::shard\";", 0),
        ("src/dns/a.rs", "/// [`crate::shard`]\nfn f() {}", 0),
        ("src/dns/a.rs", "use super::b; use super::super::mail::address;", 0),
        ("src/dns/a.rs", "use super::super::smtp::line;", 1),
        ("src/dns/mod.rs", "use super::smtp::line;", 1),
        ("src/dns/a.rs", "mod tests { use super::smtp; use super::super::super::queue; }", 1),
        ("src/dns/a/b.rs", "use super::super::smtp;", 0),
        ("src/dns/a.rs", "use crate::*;", 1),
        ("src/dns/a.rs", "use relay_fast::shard::drain;", 1),
        ("src/dns/a.rs", "pub(crate) fn f() {}", 0),
        ("src/shard/a.rs", "use crate::platform::clock;", 1),
        ("src/control/a.rs", "use crate::shard::drain; use crate::platform::clock;", 1),
        ("src/platform/a.rs", "use crate::control::http;", 1),
        ("src/attic/a.rs", "", 1),
        ("src/lib.rs", "pub mod dns;", 0),
        ("src/main.rs", "use relay_fast::platform;", 0),
    ] {
        let found = check(&Source::new(path, text));
        assert_eq!(found.len(), bad, "{path}: {text}: {found:?}");
    }
}

#[test]
fn a_complaint_says_where() {
    let found = check(&Source::new("src/base/a.rs", "//! A.\n\nuse crate::mail::address;\n"));
    assert_eq!(found[0].to_string(), "src/base/a.rs:3: base (floor 0) imports mail (floor 1)");
}
