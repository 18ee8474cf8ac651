//! Hold the pages to what the program says of itself, and their links to what is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use relay_fast::config::reference;
use relay_fast::control::metrics;

#[test]
fn the_table_of_knobs_is_the_programs_own() {
    let page = include_str!("../docs/knobs.md");
    let (_, rest) = page.split_once("<!-- knobs -->\n").expect("the table's beginning");
    let (table, _) = rest.split_once("<!-- /knobs -->").expect("the table's end");
    assert_eq!(table, reference::render(), "print it anew with `relay-fast knobs`");
}

#[test]
fn the_table_of_metrics_is_the_programs_own() {
    let page = include_str!("../docs/metrics.md");
    let (_, rest) = page.split_once("<!-- metrics -->\n").expect("the table's beginning");
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

/// The pages, by their path from the repository's root.
const PAGES: [(&str, &str); 12] = [
    ("README.md", include_str!("../README.md")),
    ("docs/customers.md", include_str!("../docs/customers.md")),
    ("docs/knobs.md", include_str!("../docs/knobs.md")),
    ("docs/measuring.md", include_str!("../docs/measuring.md")),
    ("docs/metrics.md", include_str!("../docs/metrics.md")),
    ("docs/migration.md", include_str!("../docs/migration.md")),
    ("docs/operations.md", include_str!("../docs/operations.md")),
    ("docs/receiving.md", include_str!("../docs/receiving.md")),
    ("docs/security.md", include_str!("../docs/security.md")),
    ("docs/sending.md", include_str!("../docs/sending.md")),
    ("docs/steering.md", include_str!("../docs/steering.md")),
    ("docs/tls.md", include_str!("../docs/tls.md")),
];

#[test]
fn no_page_is_left_out() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let names = fs::read_dir(root.join("docs")).expect("the folder of pages");
    let there: BTreeSet<String> = names
        .map(|entry| format!("docs/{}", entry.expect("a page").file_name().display()))
        .collect();
    let known = PAGES[1..].iter().map(|(path, _)| (*path).to_owned()).collect();
    assert_eq!(there, known);
    let readme = PAGES[0].1;
    for page in there {
        assert!(readme.contains(&format!("]({page})")), "README leads to {page}");
    }
}

#[test]
fn links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut followed = 0;
    for (path, text) in PAGES {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("https://") || link.contains(char::is_whitespace) {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let folder = Path::new(path).parent().expect("a file's folder");
            let target = match file {
                "" => root.join(path),
                _ => root.join(folder).join(file),
            };
            assert!(target.exists(), "{path} leads to {link}, which is not there");
            if !heading.is_empty() {
                let page = fs::read_to_string(&target).expect("a page");
                let mut headings = page.lines().filter(|line| line.starts_with('#'));
                assert!(headings.any(|line| anchor(line) == heading), "{path}: no heading {link}");
            }
            followed += 1;
        }
    }
    assert!(followed > 20, "only {followed} links were found");
}

/// What a heading is called in a link.
fn anchor(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = words.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}
