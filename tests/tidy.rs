//! The habits that a machine can check: floors, sizes, and what lives in one place alone.
//!
//! Text is enough for that: comments and literals are blanked (`source`), then rules look for
//! words. Each rule proves itself on small bad samples, and each exception says why it is one and
//! fails when it is no longer needed.

#![allow(
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    clippy::type_complexity,
    reason = "tests cut, match and unwrap freely"
)]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/places.rs"]
mod places;
#[path = "tidy/sizes.rs"]
mod sizes;
#[path = "tidy/source.rs"]
mod source;

use std::path::Path;

use source::{Complaint, Source};

/// All Rust files below `folder` of the repository.
fn files_in(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = source::read_below(root, &root.join(folder));
    assert!(!found.is_empty(), "no files in {folder}");
    found
}

fn assert_tidy(files: &[Source], rule: impl Fn(&Source) -> Vec<Complaint>) {
    let complaints: Vec<String> = files.iter().flat_map(rule).map(|c| c.to_string()).collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn files_import_their_own_folder_and_lower_floors() {
    assert_tidy(&files_in("src"), imports::check);
}

#[test]
fn what_lives_in_one_place_is_nowhere_else() {
    let files = files_in("src");
    assert_tidy(&files, places::check);
    let idle = places::idle_exceptions(&files);
    assert!(idle.is_empty(), "exceptions that nothing needs: {idle:?}");
}

#[test]
fn files_functions_and_lines_are_short_and_finished() {
    for folder in ["src", "loadtest/src", "tests", "benches"] {
        assert_tidy(&files_in(folder), sizes::check);
    }
}
