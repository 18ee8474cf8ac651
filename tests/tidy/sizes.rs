//! Short files, functions and lines; a first line that says the file's job; nothing unfinished.

use crate::source::{Complaint, Source};

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;
const LINE_COLUMNS: usize = 100;

/// Macros and attributes that stand for what is not done, or that only a debugger wants.
const UNFINISHED: [&str; 4] = ["todo!", "unimplemented!", "dbg!", "#[ignore"];
/// Notes to oneself; in pieces, since this file is checked too.
const NOTES: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

/// What is too long or not finished in `source`.
pub(crate) fn check(source: &Source) -> Vec<Complaint> {
    let mut complaints = header(source);
    complaints.extend(file_length(source));
    complaints.extend(lines(source));
    complaints.extend(functions(source));
    for word in UNFINISHED {
        complaints.extend(source.words(word).map(|at| source.complaint(at, word)));
    }
    for note in NOTES {
        let places = source.text.match_indices(note);
        complaints.extend(places.map(|(at, _)| source.complaint(at, note)));
    }
    complaints
}

fn header(source: &Source) -> Vec<Complaint> {
    let first = source.text.lines().next().unwrap_or_default();
    let says_something = first.strip_prefix("//! ").is_some_and(|job| !job.trim().is_empty());
    let missing = || source.complaint(0, "the first line must say the file's job: `//! …`");
    if says_something { Vec::new() } else { vec![missing()] }
}

fn file_length(source: &Source) -> Option<Complaint> {
    let lines = source.text.lines().count();
    (lines > FILE_LINES).then(|| source.complaint(0, format!("{lines} lines in the file")))
}

/// Lines too long, but for pictures: the ` ```text ` blocks of documentation.
fn lines(source: &Source) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    let mut in_picture = false;
    for (number, line) in source.text.lines().enumerate() {
        let words = line.trim_start().trim_start_matches(['/', '!']).trim();
        if words.starts_with("```") {
            in_picture = words == "```text";
        }
        let columns = line.chars().count();
        if columns > LINE_COLUMNS && !(in_picture && line.trim_start().starts_with("//")) {
            let what = format!("{columns} columns");
            complaints.push(Complaint { path: source.path.clone(), line: number + 1, what });
        }
    }
    complaints
}

fn functions(source: &Source) -> Vec<Complaint> {
    source.words("fn").filter_map(|at| function(source, at)).collect()
}

/// The function at `at`, if it is too long. A function pointer's type has no body.
fn function(source: &Source, at: usize) -> Option<Complaint> {
    let rest = &source.code[at..];
    let name: String = rest[2..].trim_start().chars().take_while(|c| *c != '(').collect();
    if name.is_empty() {
        return None;
    }
    let mut nested = 0;
    let open = rest.char_indices().find_map(|(place, c)| {
        match c {
            '(' | '[' => nested += 1,
            ')' | ']' => nested -= 1,
            _ => {}
        }
        (nested == 0 && matches!(c, '{' | ';')).then_some((place, c))
    });
    let (place, _) = open.filter(|(_, c)| *c == '{')?;
    let body = &source.code[at..source.block_end(at + place)];
    let lines = body.lines().count();
    let what = || format!("{lines} lines in {name}");
    (lines > FUNCTION_LINES).then(|| source.complaint(at, what()))
}

#[test]
fn what_is_too_long_is_found() {
    let body = |lines: usize| {
        format!("//! A.\nfn f<T>(a: [u8; 4])\nwhere\n    T: A,\n{{\n{}}}\n", "x;\n".repeat(lines))
    };
    for (text, bad) in [
        (body(FUNCTION_LINES - 5), 0),
        (body(FUNCTION_LINES - 4), 1),
        (format!("//! A.\n{}", "x;\n".repeat(FILE_LINES - 1)), 0),
        (format!("//! A.\n{}", "x;\n".repeat(FILE_LINES)), 1),
        (format!("//! A.\n// {}\n", "é".repeat(LINE_COLUMNS - 3)), 0),
        (format!("//! A.\n// {}\n", "é".repeat(LINE_COLUMNS - 2)), 1),
        (format!("//! A.\n//! ```text\n//! {}\n//! ```\n", "─".repeat(LINE_COLUMNS)), 0),
        (format!("//! A.\n//! ```text\n//! ```\n//! {}\n", "─".repeat(LINE_COLUMNS)), 1),
    ] {
        let found = check(&Source::new("src/a/b.rs", text));
        assert_eq!(found.len(), bad, "{found:?}");
    }
}

#[test]
fn a_function_is_measured_to_its_own_end() {
    let short = "fn f() { \"{\"; '{'; }\n".repeat(FUNCTION_LINES + 1);
    let pointer = format!("struct A {{ f: fn(u8), {}}}\n", "g: u8,\n".repeat(FUNCTION_LINES));
    let declared = format!("trait A {{ fn f(); fn g(&self) -> [u8; 4];\n{}}}\n", "\n".repeat(80));
    for text in [short, pointer, declared] {
        let found = check(&Source::new("src/a/b.rs", format!("//! A.\n{text}")));
        assert_eq!(found, [], "{text}");
    }
    let nested = format!("//! A.\nfn f() {{\nfn g() {{\n{}}}\n}}\n", "x;\n".repeat(FUNCTION_LINES));
    let found = check(&Source::new("src/a/b.rs", nested));
    let found: Vec<String> = found.iter().map(Complaint::to_string).collect();
    assert_eq!(found, ["src/a/b.rs:2: 74 lines in f", "src/a/b.rs:3: 72 lines in g"]);
}

#[test]
fn a_missing_first_line_is_found() {
    for text in ["", "use a::b;\n", "// A.\n", "//!\n//! A.\n", "\n//! A.\n"] {
        assert_eq!(check(&Source::new("src/a/b.rs", text)).len(), 1, "{text:?}");
    }
}

#[test]
fn what_is_unfinished_is_found() {
    let notes = NOTES.map(|note| format!("// {note}: later"));
    let macros =
        ["todo!()", "unimplemented!(\"x\")", "dbg!(x)", "#[ignore]", "#[ignore = \"slow\"]"];
    for line in notes.iter().map(String::as_str).chain(macros) {
        let found = check(&Source::new("src/a/b.rs", format!("//! A.\n{line}\n")));
        assert_eq!((found.len(), found[0].line), (1, 2), "{line}");
    }
    let fine = "//! A.\n// dbg! in a comment\nlet a = \"todo!()\"; mytodo!();\n";
    assert_eq!(check(&Source::new("src/a/b.rs", fine)), []);
}
