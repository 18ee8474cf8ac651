//! The checks of the fuzz targets, on every input of their corpora and on mutations of these.

#![allow(
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm,
    clippy::type_complexity,
    reason = "tests cut and match freely"
)]

#[path = "fuzz/checks/mod.rs"]
mod checks;

use std::path::Path;

use checks::TARGETS;
use relay_fast::base::prng::Prng;

/// Mutations of the inputs of a corpus; a tenth of them where each costs many milliseconds.
const MUTATIONS: u64 = 2_000;
const SLOW: [&str; 1] = ["spool"];

/// The inputs of a target's corpus, by name.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.expect("a folder that can be read").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        (name, std::fs::read(&path).expect("a file that can be read"))
    };
    let mut inputs: Vec<_> = entries.map(read).collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "{target} has no corpus");
    inputs
}

/// Hold `input` against the check; says which input it was where that panics.
fn hold(target: &str, check: fn(&[u8]), name: &str, input: &[u8]) {
    struct Named<'a>(&'a str, &'a str, &'a [u8]);
    impl Drop for Named<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("{} {}: {:?}", self.0, self.1, self.2.escape_ascii().to_string());
            }
        }
    }
    let named = Named(target, name, input);
    check(named.2);
}

#[test]
fn every_target_has_a_binary_and_a_corpus_and_nothing_else_has() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
    let names = |folder: &str| {
        let entries = std::fs::read_dir(here.join(folder)).expect("a folder");
        let stem = |entry: std::io::Result<std::fs::DirEntry>| {
            let path = entry.expect("an entry").path();
            path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
        };
        let mut names: Vec<_> = entries.map(stem).collect();
        names.sort();
        names
    };
    let mut targets: Vec<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    targets.sort();
    assert_eq!(names("fuzz_targets"), targets);
    assert_eq!(names("corpus"), targets);
}

#[test]
fn every_input_of_every_corpus_holds() {
    for (target, check) in TARGETS {
        for (name, input) in corpus(target) {
            hold(target, check, &name, &input);
        }
    }
}

/// The same mutations each time: what the fuzzer does for long, for a moment.
#[test]
fn mutations_of_the_corpora_hold() {
    for (target, check) in TARGETS {
        let inputs = corpus(target);
        for seed in 0..MUTATIONS / if SLOW.contains(&target) { 10 } else { 1 } {
            let mut prng = Prng::from_number(seed);
            let input = mutated(&inputs, &mut prng);
            hold(target, check, &format!("mutation {seed}"), &input);
        }
    }
}

/// An input with a few octets changed, removed, doubled or taken from another.
fn mutated(inputs: &[(String, Vec<u8>)], prng: &mut Prng) -> Vec<u8> {
    let mut below = |bound: usize| usize::try_from(prng.below(bound as u64)).expect("an index");
    let mut input = inputs[below(inputs.len())].1.clone();
    for _ in 0..=below(4) {
        let (at, kind) = (below(input.len() + 1), below(6));
        let end = (at + 1 + below(12)).min(input.len());
        match kind {
            0 if at < input.len() => input[at] ^= 1 << below(8),
            1 => input.insert(at, [0, b'\r', b'\n', b'.', b' ', 0xff, 0xfe][below(7)]),
            2 => drop(input.drain(at..end)),
            3 => {
                let part = input[at..end].to_vec();
                input.splice(at..at, part);
            }
            4 => {
                let other = &inputs[below(inputs.len())].1;
                let from = below(other.len() + 1);
                input.splice(at.., other[from..].iter().copied());
            }
            _ => input.truncate(at),
        }
    }
    input
}
