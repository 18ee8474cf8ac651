//! Say what is wrong with a configuration as a good compiler would: where, what, and what to do.
//!
//! In: problems found in any order. Out: all of them, by place. Invariant: every text from the file
//! is shown with its control characters escaped, and cut, so that it cannot garble a terminal.

use std::fmt;
use std::ops::Range;

use crate::base::limits::{CONFIG_ERRORS_MAX, EXCERPT_MAX};
use crate::base::text::head;
use crate::config::units::Wrong;

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Octets of the file.
    File(Range<usize>),
    /// A flag, as `--cores`.
    Flag(&'static str),
    /// Nowhere: what the machine says, or does not.
    Machine,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file's name and the line there, counted from 1; `None` for a flag or the machine.
    pub line: Option<(Box<str>, usize)>,
    /// `relay.toml:12:8`, `--cores`.
    pub place: String,
    /// What is wrong.
    pub what: String,
    /// The line of the file, and the column and the width of what is wrong in it, in characters.
    pub excerpt: Option<(String, usize, usize)>,
    /// What to do about it.
    pub help: Option<String>,
}

/// Everything that is wrong, in the order of the file; then flags and machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// What was found; at most `CONFIG_ERRORS_MAX` are shown.
    pub fn all(&self) -> &[Problem] {
        &self.0
    }

    /// All of it in one line, without the excerpts: for a log.
    pub fn in_one_line(&self) -> String {
        let line = |problem: &Problem| match &problem.help {
            Some(help) => format!("{}: {} ({help})", problem.place, problem.what),
            None => format!("{}: {}", problem.place, problem.what),
        };
        let shown: Vec<_> = self.0.iter().take(CONFIG_ERRORS_MAX).map(line).collect();
        shown.join("; ")
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in self.0.iter().take(CONFIG_ERRORS_MAX) {
            writeln!(f, "{problem}")?;
        }
        match self.0.len() {
            1 => write!(f, "1 error in the configuration"),
            count => write!(f, "{count} errors in the configuration"),
        }
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.place, self.what)?;
        if let (Some((_, line)), Some((text, column, width))) = (&self.line, &self.excerpt) {
            writeln!(f, "{line:>6} | {text}")?;
            writeln!(f, "       | {}{}", " ".repeat(*column), "^".repeat(*width))?;
        }
        match &self.help {
            Some(help) => writeln!(f, "       = {help}"),
            None => Ok(()),
        }
    }
}

/// Collects problems of one file.
#[derive(Debug)]
pub(super) struct Finder<'a> {
    name: &'a str,
    text: &'a str,
    found: Vec<(Place, Problem)>,
}

impl<'a> Finder<'a> {
    pub(super) fn new(name: &'a str, text: &'a str) -> Self {
        Self { name, text, found: Vec::new() }
    }

    /// Note that what stands at `place` is wrong.
    pub(super) fn add(&mut self, place: &Place, wrong: Wrong) {
        let problem = match place {
            Place::File(range) => self.in_file(range, wrong),
            Place::Flag(flag) => problem((*flag).to_owned(), wrong),
            Place::Machine => problem(String::from("this machine"), wrong),
        };
        self.found.push((place.clone(), problem));
    }

    /// How much was found.
    pub(super) fn len(&self) -> usize {
        self.found.len()
    }

    /// Whether nothing was found.
    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Everything that was found, in order.
    pub(super) fn finish(mut self) -> Problems {
        self.found.sort_by_key(|(place, _)| match place {
            Place::File(range) => (0, range.start),
            Place::Flag(_) => (1, 0),
            Place::Machine => (2, 0),
        });
        self.found.dedup_by(|(_, a), (_, b)| a == b);
        Problems(self.found.into_iter().map(|(_, problem)| problem).collect())
    }

    /// The line that octet `at` of the file is on, counted from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        memchr::memchr_iter(b'\n', before).count() + 1
    }

    fn in_file(&self, range: &Range<usize>, wrong: Wrong) -> Problem {
        let at = head(self.text, range.start).len();
        let line = self.line(at);
        let start = self.text[..at].rfind('\n').map_or(0, |before| before + 1);
        let end = self.text[at..].find('\n').map_or(self.text.len(), |after| at + after);
        let until = head(self.text, range.end.clamp(at, end)).len();
        let column = self.text[start..at].chars().count();
        let width = self.text[at..until].chars().count().max(1);
        let excerpt = (column + width <= EXCERPT_MAX).then(|| {
            let text = &self.text[start..end];
            (text.chars().take(EXCERPT_MAX).map(printable).collect(), column, width)
        });
        Problem {
            line: Some((self.name.into(), line)),
            excerpt,
            ..problem(format!("{}:{line}:{}", self.name, column + 1), wrong)
        }
    }
}

fn problem(place: String, wrong: Wrong) -> Problem {
    let clean = |text: String| text.chars().map(printable).collect();
    Problem {
        line: None,
        place,
        what: clean(wrong.what),
        excerpt: None,
        help: wrong.help.map(clean),
    }
}

/// One character for one, so that columns stay; a tab becomes a space for the same reason.
fn printable(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, range: Range<usize>, wrong: Wrong) -> String {
        let mut finder = Finder::new("relay.toml", text);
        finder.add(&Place::File(range), wrong);
        finder.finish().to_string()
    }

    #[test]
    fn a_problem_shows_its_line_and_points_at_what_is_wrong() {
        let wrong = Wrong::new("unknown key `corse`").help("did you mean `cores`?");
        assert_eq!(
            shown("# é\n\tcorse = 4\nx", 6..11, wrong),
            "relay.toml:2:2: unknown key `corse`\n     2 |  corse = 4\n       |  ^^^^^\n       \
             = did you mean `cores`?\n\n1 error in the configuration"
        );
    }

    #[test]
    fn any_range_of_any_text_can_be_shown() {
        for text in ["", "é", "a\nb\u{1b}[31m\n", "\n\n"] {
            for start in 0..6 {
                for end in start..7 {
                    let text = shown(text, start..end, Wrong::new("bad\u{7}"));
                    assert!(!text.contains(['\u{1b}', '\u{7}']), "{text:?}");
                }
            }
        }
    }

    #[test]
    fn problems_come_in_the_order_of_the_file_and_are_counted() {
        let mut finder = Finder::new("f", "a\nb\nc\n");
        finder.add(&Place::Machine, Wrong::new("m"));
        finder.add(&Place::File(4..5), Wrong::new("third"));
        finder.add(&Place::Flag("--cores"), Wrong::new("flag"));
        finder.add(&Place::File(0..1), Wrong::new("first"));
        finder.add(&Place::File(0..1), Wrong::new("first"));
        let problems = finder.finish();
        let whats: Vec<_> = problems.all().iter().map(|one| one.what.as_str()).collect();
        assert_eq!(whats, ["first", "third", "flag", "m"]);
        assert!(problems.to_string().ends_with("4 errors in the configuration"));
        assert_eq!(
            problems.in_one_line(),
            "f:1:1: first; f:3:1: third; --cores: flag; \
            this machine: m"
        );
    }
}
