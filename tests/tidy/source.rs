//! A Rust file as text, and the same text with all that is no code blanked.
//!
//! Invariant: `text` and `code` have the same octets at every line break, so that a place in one is
//! the same place in the other.

use std::fmt;
use std::ops::Range;
use std::path::Path;

/// A Rust file.
pub(crate) struct Source {
    /// From the repository's root, as `src/base/time.rs`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// `text` with comments and the insides of literals as spaces.
    pub(crate) code: String,
}

/// Something to mend.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    pub(crate) path: String,
    /// Counted from 1.
    pub(crate) line: usize,
    pub(crate) what: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// All Rust files below `folder`, by path.
pub(crate) fn read_below(root: &Path, folder: &Path) -> Vec<Source> {
    let mut found = Vec::new();
    let mut entries: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            found.extend(read_below(root, &path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            found.push(Source::new(path.strip_prefix(root).unwrap().to_str().unwrap(), text));
        }
    }
    found
}

impl Source {
    pub(crate) fn new(path: &str, text: impl Into<String>) -> Self {
        let text = text.into();
        let code = blanked(&text);
        Self { path: path.to_owned(), text, code }
    }

    pub(crate) fn complaint(&self, at: usize, what: impl Into<String>) -> Complaint {
        let line = self.code[..at].matches('\n').count() + 1;
        Complaint { path: self.path.clone(), line, what: what.into() }
    }

    /// Places of `word` in the code, where it is not part of a longer word.
    pub(crate) fn words<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        self.code.match_indices(word).map(|(at, _)| at).filter(move |&at| {
            let before = self.code[..at].chars().next_back();
            let after = self.code[at + word.len()..].chars().next();
            let starts_in_word = word.starts_with(is_word) && before.is_some_and(is_word);
            let ends_in_word = word.ends_with(is_word) && after.is_some_and(is_word);
            !starts_in_word && !ends_in_word
        })
    }

    /// The place after the brace that closes the one at `open`; the end of an unfinished file.
    pub(crate) fn block_end(&self, open: usize) -> usize {
        let mut depth = 0;
        for (at, byte) in self.code.bytes().enumerate().skip(open) {
            match byte {
                b'{' => depth += 1,
                b'}' if depth == 1 => return at + 1,
                b'}' => depth -= 1,
                _ => {}
            }
        }
        self.code.len()
    }

    /// The body of each `mod name { … }`.
    pub(crate) fn inline_modules(&self) -> Vec<Range<usize>> {
        let body = |at: usize| {
            let rest = &self.code[at + 3..];
            let stop = rest.find(['{', ';'])?;
            let named = rest[..stop].trim().chars().all(is_word) && rest[stop..].starts_with('{');
            let open = at + 3 + stop;
            named.then(|| open..self.block_end(open))
        };
        self.words("mod").filter_map(body).collect()
    }

    /// Whether the code at `at` is compiled for tests alone.
    pub(crate) fn is_test(&self, at: usize) -> bool {
        let is_test_file = self.path.ends_with("/tests.rs") || self.path.contains("tests/");
        is_test_file
            || self.inline_modules().iter().any(|body| {
                let before = self.code[..body.start].trim_end();
                let head = before.rsplit(['}', ';']).next().unwrap_or(before);
                body.contains(&at) && head.contains("#[cfg(test)]")
            })
    }
}

pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// `text` with each octet of comments and of the insides of literals as a space.
fn blanked(text: &str) -> String {
    let mut code = text.as_bytes().to_vec();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let (keep, blank) = match rest.as_bytes() {
            [b'/', b'/', ..] => (0, rest.find('\n').unwrap_or(rest.len())),
            [b'/', b'*', ..] => (0, block_comment(rest)),
            [b'"', ..] => (1, string(&rest[1..])),
            [b'r', b'"' | b'#', ..] if !follows_word(text, at) => raw_string(rest),
            [b'\'', ..] => (1, character(&rest[1..])),
            _ => (rest.chars().next().map_or(1, char::len_utf8), 0),
        };
        let blank = at + keep..(at + keep + blank).min(text.len());
        at = blank.end.max(at + 1);
        code[blank].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
    }
    String::from_utf8(code).unwrap()
}

/// Whether the `r` at `at` ends a longer word; the `b` and `c` of byte and C strings do not count.
fn follows_word(text: &str, at: usize) -> bool {
    let before = text[..at].strip_suffix(['b', 'c']).unwrap_or(&text[..at]);
    before.ends_with(is_word)
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    at
}

/// Octets to blank after an opening quote: all up to and with the closing one.
fn string(inside: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in inside.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    inside.len()
}

/// Octets to keep and to blank of `r"…"` and `r#"…"#`; of `r#name` there is nothing to blank.
fn raw_string(rest: &str) -> (usize, usize) {
    let hashes = rest[1..].bytes().take_while(|byte| *byte == b'#').count();
    let open = 1 + hashes;
    if !rest[open..].starts_with('"') {
        return (open, 0);
    }
    let close = format!("\"{}", "#".repeat(hashes));
    let inside = &rest[open + 1..];
    (open + 1, inside.find(&close).map_or(inside.len(), |end| end + close.len()))
}

/// Octets to blank after an apostrophe: none where it begins a lifetime.
fn character(inside: &str) -> usize {
    if inside.starts_with('\\') {
        let escape = inside.chars().nth(1).map_or(1, |c| 1 + c.len_utf8());
        return inside[escape..].find('\'').map_or(inside.len(), |end| escape + end + 1);
    }
    let first = inside.chars().next().map_or(0, char::len_utf8);
    if inside[first..].starts_with('\'') { first + 1 } else { 0 }
}

#[test]
fn comments_and_literals_are_blanked_and_code_is_not() {
    for (text, code) in [
        ("a // b \"c\nd", "a        \nd"),
        ("a /* b /* c */ d */ e", "a                   e"),
        ("f(\"a\\\"b\") g", "f(\"     ) g"),
        ("f(r#\"a\"b\"#) g", "f(r#\"     ) g"),
        ("br\"\\\" + r#type", "br\"   + r#type"),
        ("'a' '\\'' b'{' &'a str", "'   '    b'   &'a str"),
        ("'é' x", "'    x"),
    ] {
        assert_eq!(blanked(text), code, "{text}");
    }
}

#[test]
fn test_code_is_told_from_the_rest() {
    let source = Source::new("src/a/b.rs", "fn a() {}\n#[cfg(test)]\nmod tests { fn b() {} }\n");
    let at = |what| source.code.find(what).unwrap();
    assert!(!source.is_test(at("fn a")) && source.is_test(at("fn b")));
    let source = Source::new("src/a/b.rs", "#[cfg(test)]\nmod tests;\nmod c { fn b() {} }\n");
    assert!(!source.is_test(source.code.find("fn b").unwrap()));
    assert!(Source::new("src/a/tests.rs", "fn a() {}").is_test(0));
}
