//! Read what callgrind counted, and show which stage of a message's path takes how much of it.
//!
//! A stage is some functions with all that they call, as callgrind's file has it, so one stage may
//! be within another, and allocation and long copies are within most. What the compiler inlines
//! everywhere has no function left: of the queue the lines of its own source are counted.

use std::collections::HashMap;

/// What a stage consists of.
enum Part {
    /// Functions whose names contain these words, with all that they call.
    Calls(&'static [&'static str]),
    /// Lines of files whose paths contain this, without what they call.
    Lines(&'static str),
}

use Part::{Calls, Lines};

const STAGES: [(&str, Part); 16] = [
    ("all of it", Calls(&["Node::relay"])),
    (
        "peers, which are no part of the relay",
        Calls(&["Kernel as relay_fast::shard::platform::Platform>::send"]),
    ),
    ("commands parsed", Calls(&["command::mail", "command::rcpt", "Verb::split"])),
    ("content decoded", Calls(&["content::Decoder::decode"])),
    ("header looked through", Calls(&["ContentScan::push"])),
    ("trace field written", Calls(&["Received::to_field"])),
    ("record appended, CRC included", Calls(&["Log>::append_message"])),
    ("CRC of record and content", Calls(&["crc32c::hw_x86_64::crc32c"])),
    ("commit begun and ended", Calls(&["Log>::poll_io", "Log>::handle_committed"])),
    ("queue", Lines("src/queue/")),
    ("next hop's replies read", Calls(&["Client::handle_bytes"])),
    ("transaction begun, content written", Calls(&["Client::begin", "Client::push_content"])),
    ("stuffing", Calls(&["Stuffing::push"])),
    ("events written", Calls(&["Journal::tell"])),
    ("memory taken and given back", Calls(&["malloc", "free", "realloc", "calloc"])),
    ("copies by memcpy", Calls(&["__memcpy_avx_unaligned_erms"])),
];

/// Instructions of one run.
#[derive(Debug, Default)]
pub(crate) struct Profile {
    pub(crate) total: u64,
    /// By function, what it calls included.
    calls: HashMap<String, u64>,
    /// By source file, what is called excluded.
    lines: HashMap<String, u64>,
}

impl Profile {
    /// Read a callgrind file: lines of cost, each for the function and file that were named last,
    /// or, behind `calls=`, for the call. A name is defined where it first stands, by a number.
    pub(crate) fn parse(text: &str) -> Self {
        let (mut profile, mut names) = (Self::default(), HashMap::new());
        let (mut file, mut function, mut callee) = (String::new(), String::new(), String::new());
        let mut is_call = false;
        for line in text.lines() {
            match line.split_once('=') {
                Some(("fl" | "fi" | "fe", name)) => file = named("f", name, &mut names),
                Some(("fn", name)) => function = named("n", name, &mut names),
                Some(("cfn", name)) => callee = named("n", name, &mut names),
                Some(("cfi" | "cfl", name)) => drop(named("f", name, &mut names)),
                Some(("calls", _)) => is_call = true,
                Some(_) => {}
                None => {
                    let Some(cost) = cost(line) else { continue };
                    // What a function that calls itself takes is counted there already.
                    if !(is_call && callee == function) {
                        *profile.calls.entry(function.clone()).or_default() += cost;
                    }
                    if !is_call {
                        *profile.lines.entry(file.clone()).or_default() += cost;
                        profile.total += cost;
                    }
                    is_call = false;
                }
            }
        }
        profile
    }

    fn cost(&self, part: &Part) -> u64 {
        let sum = |costs: &HashMap<String, u64>, is_in: &dyn Fn(&str) -> bool| {
            costs.iter().filter(|(name, _)| is_in(name)).map(|(_, cost)| cost).sum()
        };
        match part {
            Calls(words) => sum(&self.calls, &|name| words.iter().any(|word| ends(name, word))),
            Lines(path) => sum(&self.lines, &|name| name.contains(path)),
        }
    }
}

/// Whether `name` is `word`, or ends with it as a whole segment of its path.
fn ends(name: &str, word: &str) -> bool {
    let before = name.strip_suffix(word);
    before.is_some_and(|before| before.is_empty() || before.ends_with([':', ' ', '<']))
}

/// The name that `(7) name` defines or `(7)` refers to; files and functions are numbered apart.
fn named<'a>(
    kind: &'static str,
    text: &'a str,
    names: &mut HashMap<(&'static str, &'a str), &'a str>,
) -> String {
    let (number, name) = text.split_once(' ').unwrap_or((text, ""));
    if !name.is_empty() {
        names.insert((kind, number), name);
    }
    names.get(&(kind, number)).map_or_else(|| text.to_owned(), |name| (*name).to_owned())
}

/// The cost of a line such as `+3 17`: position, instructions.
fn cost(line: &str) -> Option<u64> {
    let (position, cost) = line.split_once(' ')?;
    position.starts_with(|c: char| c.is_ascii_digit() || "+-*".contains(c)).then_some(())?;
    cost.trim().parse().ok()
}

/// The stages, and what each takes in `profile`.
pub(crate) fn stages(profile: &Profile) -> impl Iterator<Item = (&'static str, u64)> {
    STAGES.iter().map(|(name, part)| (*name, profile.cost(part)))
}
