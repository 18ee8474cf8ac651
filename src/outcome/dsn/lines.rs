//! Write text as lines of mail: folded, ended by CRLF, free of what could end them early.
//!
//! Invariant: no line is longer than `MAIL_LINE_MAX`; a control character, and without `utf8` any
//! character that is not ASCII, becomes `?`.

use crate::base::limits::MAIL_LINE_MAX;

/// Where lines are folded if they can be (RFC 5322 §2.1.1).
const FOLD: usize = 76;

/// Lines of mail in the making.
#[derive(Debug)]
pub(super) struct Lines {
    octets: Vec<u8>,
    utf8: bool,
}

impl Lines {
    pub(super) fn new(utf8: bool) -> Self {
        Self { octets: Vec::new(), utf8 }
    }

    pub(super) fn into_octets(self) -> Vec<u8> {
        self.octets
    }

    pub(super) fn blank(&mut self) {
        self.octets.extend_from_slice(b"\r\n");
    }

    /// `name: value`, folded at spaces; a line end in `value` becomes a fold.
    pub(super) fn field(&mut self, name: &str, value: &str) {
        self.paragraph(&format!("{name}: "), " ", value);
    }

    /// `text` with `first` before its first line, and `next` before those that follow.
    pub(super) fn paragraph(&mut self, first: &str, next: &str, text: &str) {
        self.octets.extend_from_slice(first.as_bytes());
        let mut column = first.chars().count();
        let mut is_line_empty = true;
        // A line of spaces alone would be a trap for those who read it: leave it out.
        let lines = text.lines().filter(|line| !line.trim_matches(' ').is_empty());
        for (number, line) in lines.enumerate() {
            if number > 0 {
                column = self.go_on(next);
                is_line_empty = true;
            }
            for word in line.split(' ').filter(|word| !word.is_empty()) {
                let width = word.chars().count();
                if !is_line_empty && column + 1 + width > FOLD {
                    column = self.go_on(next);
                } else if !is_line_empty {
                    self.octets.push(b' ');
                    column += 1;
                }
                column = self.word(word, column, next);
                is_line_empty = false;
            }
        }
        self.blank();
    }

    /// Start another line; the column that it stands at.
    fn go_on(&mut self, prefix: &str) -> usize {
        self.blank();
        self.octets.extend_from_slice(prefix.as_bytes());
        prefix.chars().count()
    }

    /// A word, broken where no line could hold it; the column after it.
    fn word(&mut self, word: &str, mut column: usize, next: &str) -> usize {
        for character in word.chars() {
            // A character has up to four octets, and so may all before it on the line.
            if (column + 1) * 4 > MAIL_LINE_MAX {
                column = self.go_on(next);
            }
            let is_fit = !character.is_control() && (self.utf8 || character.is_ascii());
            let written = if is_fit { character } else { '?' };
            self.octets.extend_from_slice(written.encode_utf8(&mut [0; 4]).as_bytes());
            column += 1;
        }
        column
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn field(value: &str, utf8: bool) -> String {
        let mut lines = Lines::new(utf8);
        lines.field("X", value);
        String::from_utf8(lines.into_octets()).expect("text")
    }

    #[test]
    fn long_values_are_folded_at_spaces() {
        assert_eq!(field("a b", false), "X: a b\r\n");
        let long = format!("{} {}", "a".repeat(40), "b".repeat(40));
        assert_eq!(
            field(&long, false),
            format!("X: {}\r\n {}\r\n", "a".repeat(40), "b".repeat(40))
        );
        assert_eq!(field("one\ntwo", false), "X: one\r\n two\r\n");
    }

    #[test]
    fn no_value_breaks_out_of_its_field() {
        assert_eq!(field("a\r\nSubject: x\r\n\r\nbody", false), "X: a\r\n Subject: x\r\n body\r\n");
        assert_eq!(field("a\rb\0\u{7f}é", false), "X: a?b???\r\n");
        assert_eq!(field("é\u{85}", true), "X: é?\r\n");
    }

    proptest! {
        #[test]
        fn lines_are_bounded_and_clean(value in "(?s).{0,400}|[^ ]{0,400}", utf8 in any::<bool>()) {
            let text = field(&value, utf8);
            prop_assert!(utf8 || text.is_ascii());
            prop_assert!(text.ends_with("\r\n"));
            for line in text[..text.len() - 2].split("\r\n").skip(1) {
                prop_assert!(line.starts_with(' '));
            }
            for line in text[..text.len() - 2].split("\r\n") {
                prop_assert!(line.len() <= MAIL_LINE_MAX && !line.contains(char::is_control));
            }
        }
    }
}
