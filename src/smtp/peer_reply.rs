//! Read replies out of what a peer sends, however it is split.
//!
//! In: bytes. Out: whole [`Reply`]s, one at a time, in order, or what is wrong with them.
//! Invariant: at most `REPLY_LINE_MAX` octets of input and `REPLY_TEXT_MAX` of text are held.
//!
//! A line ends at LF, with or without CR before it, as every client that meets the wild reads it. A
//! code outside RFC 5321's digits but with a known first one (571 is seen) counts as x50, since
//! only the first digit decides about codes one does not know; the text then keeps the real one.

use std::borrow::Cow;

use memchr::memchr;

use crate::base::limits::{REPLY_LINE_MAX, REPLY_LINES_MAX, REPLY_TEXT_MAX};
use crate::base::text::head;
use crate::mail::status::{EnhancedStatus, Reply, ReplyCode};

/// Why a peer's words are no reply. All end the connection: nothing after them can be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAReply {
    /// No line end within `REPLY_LINE_MAX`.
    #[error("reply line longer than {REPLY_LINE_MAX} octets")]
    LineTooLong,
    /// More than `REPLY_LINES_MAX`.
    #[error("reply of more than {REPLY_LINES_MAX} lines")]
    TooManyLines,
    /// Not three digits, 200 to 599, and then a space, a hyphen or nothing; how the line begins.
    #[error("no reply code: {0:?}")]
    NoCode(Box<str>),
    /// Lines of one reply differ in their code.
    #[error("reply code changes from {0} to {1} within a reply")]
    CodeChanges(u16, u16),
}

/// The reader: holds what came of the reply that is under way.
#[derive(Debug, Default)]
pub struct ReplyReader {
    /// The line that has not ended.
    line: Vec<u8>,
    /// The lines before it.
    begun: Option<Begun>,
}

/// A reply of which some lines have come.
#[derive(Debug)]
struct Begun {
    digits: u16,
    lines: usize,
    enhanced: Option<EnhancedStatus>,
    text: String,
}

/// A line, taken apart.
struct Line<'a> {
    digits: u16,
    is_last: bool,
    text: &'a [u8],
}

impl ReplyReader {
    /// Read on in `input` to the end of the next reply; `input` is left behind it. `None`: all of
    /// `input` is read, and the reply goes on. `each_line` sees the text of every line after the
    /// first, whole: what EHLO offers may be longer than the text that is kept.
    pub fn handle_bytes(
        &mut self,
        input: &mut &[u8],
        mut each_line: impl FnMut(&str),
    ) -> Option<Result<Reply, NotAReply>> {
        while let Some(end) = memchr(b'\n', input) {
            let (head, rest) = input.split_at(end + 1);
            *input = rest;
            if self.line.len() + head.len() > REPLY_LINE_MAX {
                return Some(Err(NotAReply::LineTooLong));
            }
            let mut line = std::mem::take(&mut self.line);
            let whole = if line.is_empty() {
                head
            } else {
                line.extend_from_slice(head);
                &line
            };
            if let Some(result) = self.handle_line(whole, &mut each_line).transpose() {
                return Some(result);
            }
        }
        if self.line.len() + input.len() > REPLY_LINE_MAX {
            return Some(Err(NotAReply::LineTooLong));
        }
        self.line.extend_from_slice(std::mem::take(input));
        None
    }

    /// Whether a reply has begun and not ended.
    pub fn is_amid(&self) -> bool {
        self.begun.is_some() || !self.line.is_empty()
    }

    fn handle_line(
        &mut self,
        line: &[u8],
        each_line: &mut impl FnMut(&str),
    ) -> Result<Option<Reply>, NotAReply> {
        let Line { digits, is_last, text } = split_line(line)?;
        let text = clean(text);
        let begun = match &mut self.begun {
            Some(begun) if begun.digits != digits => {
                return Err(NotAReply::CodeChanges(begun.digits, digits));
            }
            Some(begun) => {
                each_line(&text);
                begun.go_on(&text)?;
                begun
            }
            begun @ None => begun.insert(Begun::new(digits, &text)),
        };
        if !is_last {
            return Ok(None);
        }
        let code = begun.code();
        let begun = self.begun.take().expect("set above");
        Ok(Some(Reply { code, enhanced: begun.enhanced, text: begun.text.into() }))
    }
}

impl Begun {
    fn new(digits: u16, text: &str) -> Self {
        let mut begun = Self { digits, lines: 1, enhanced: None, text: String::new() };
        let status = EnhancedStatus::parse_prefix(text);
        // RFC 2034 §4: the class must be the code's first digit; else it is just text.
        let status = status.filter(|(status, _)| u16::from(status.class) == digits / 100);
        begun.enhanced = status.map(|(status, _)| status);
        if ReplyCode::new(digits).is_none() {
            begun.keep(&format!("{digits} "));
        }
        begun.keep(status.map_or(text, |(_, rest)| rest));
        begun
    }

    fn go_on(&mut self, text: &str) -> Result<(), NotAReply> {
        self.lines += 1;
        if self.lines > REPLY_LINES_MAX {
            return Err(NotAReply::TooManyLines);
        }
        self.keep("\n");
        let repeated = EnhancedStatus::parse_prefix(text);
        let repeated = repeated.filter(|(status, _)| Some(*status) == self.enhanced);
        self.keep(repeated.map_or(text, |(_, rest)| rest));
        Ok(())
    }

    /// Append what still fits.
    fn keep(&mut self, text: &str) {
        let room = REPLY_TEXT_MAX - self.text.len();
        self.text.push_str(head(text, room));
    }

    fn code(&self) -> ReplyCode {
        let known = ReplyCode::new(self.digits);
        known.or_else(|| ReplyCode::new(self.digits / 100 * 100 + 50)).expect("2xx to 5xx")
    }
}

/// RFC 5321 §4.2: `Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP … ] CRLF`.
fn split_line(line: &[u8]) -> Result<Line<'_>, NotAReply> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let no_code = || NotAReply::NoCode((*clean(&line[..line.len().min(64)])).into());
    let (digits, rest) = line.split_at_checked(3).ok_or_else(no_code)?;
    let first_is_known = matches!(digits[0], b'2'..=b'5');
    if !first_is_known || !digits.iter().all(u8::is_ascii_digit) {
        return Err(no_code());
    }
    let digits = digits.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    match rest {
        [] => Ok(Line { digits, is_last: true, text: rest }),
        [b' ', text @ ..] => Ok(Line { digits, is_last: true, text }),
        [b'-', text @ ..] => Ok(Line { digits, is_last: false, text }),
        _ => Err(no_code()),
    }
}

/// Text that can be shown, logged and mailed: UTF-8 without control characters.
fn clean(text: &[u8]) -> Cow<'_, str> {
    let is_plain = text.iter().all(|octet| matches!(octet, b' '..=b'~'));
    let text = String::from_utf8_lossy(text);
    if !is_plain && text.contains(char::is_control) {
        return text.replace(char::is_control, "?").into();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All replies in `input`, given in pieces that end at `cuts`.
    fn read_in_pieces(
        input: &[u8],
        cuts: &[usize],
    ) -> (Vec<Result<Reply, NotAReply>>, Vec<String>) {
        let (mut replies, mut lines) = (Vec::new(), Vec::new());
        let mut reader = ReplyReader::default();
        let mut start = 0;
        for end in cuts.iter().copied().chain([input.len()]) {
            let mut piece = &input[start..end.max(start)];
            start = end.max(start);
            while let Some(result) = reader.handle_bytes(&mut piece, |line| lines.push(line.into()))
            {
                let broken = result.is_err();
                replies.push(result);
                if broken {
                    return (replies, lines);
                }
            }
        }
        (replies, lines)
    }

    fn read(input: &str) -> Result<Reply, NotAReply> {
        let (mut replies, _) = read_in_pieces(input.as_bytes(), &[]);
        assert_eq!(replies.len(), 1, "{input:?}");
        replies.remove(0)
    }

    fn reply(code: u16, enhanced: Option<(u8, u16, u16)>, text: &str) -> Reply {
        let enhanced =
            enhanced.map(|(class, subject, detail)| EnhancedStatus::new(class, subject, detail));
        Reply { code: ReplyCode::new(code).expect("a code"), enhanced, text: text.into() }
    }

    //= RFC 5321 §4.2, type=test
    //# an SMTP reply … may be a three digit number … only … a client MUST be prepared to receive …
    //# a code alone without text
    #[test]
    fn one_line_is_a_reply() {
        assert_eq!(read("250 OK\r\n"), Ok(reply(250, None, "OK")));
        assert_eq!(read("250\r\n"), Ok(reply(250, None, "")));
        assert_eq!(read("250 \r\n"), Ok(reply(250, None, "")));
        assert_eq!(read("354 go on\n"), Ok(reply(354, None, "go on")));
    }

    //= RFC 5321 §4.2.1, type=test
    //# the reply text may be longer than a single line; in these cases the complete text must be
    //# marked so the SMTP client knows when it can stop reading the reply
    #[test]
    fn lines_with_a_hyphen_go_on() {
        let text = "250-mx.example.net\r\n250-SIZE 1000\r\n250 DSN\r\n";
        let (replies, lines) = read_in_pieces(text.as_bytes(), &[]);
        assert_eq!(replies, [Ok(reply(250, None, "mx.example.net\nSIZE 1000\nDSN"))]);
        assert_eq!(lines, ["SIZE 1000", "DSN"]);
    }

    //= RFC 2034 §4, type=test
    //# enhanced status codes … appear immediately after the reply code; in a multi-line reply on
    //# every line
    #[test]
    fn enhanced_statuses_are_taken_off_every_line() {
        let text = "550-5.1.1 No such user\r\n550-5.1.1 Try another\r\n550 5.1.2 bye\r\n";
        let expected = reply(550, Some((5, 1, 1)), "No such user\nTry another\n5.1.2 bye");
        assert_eq!(read(text), Ok(expected));
        assert_eq!(read("250 2.0.0\r\n"), Ok(reply(250, Some((2, 0, 0)), "")));
    }

    #[test]
    fn an_enhanced_status_of_another_class_is_only_text() {
        assert_eq!(read("550 4.7.1 later\r\n"), Ok(reply(550, None, "4.7.1 later")));
        assert_eq!(read("354 5.0.0 odd\r\n"), Ok(reply(354, None, "5.0.0 odd")));
    }

    //= RFC 5321 §4.3.2, type=test
    //# an SMTP client … MUST be able to handle … codes not … here, and MUST
    //# interpret the first digit
    #[test]
    fn unknown_codes_count_by_their_first_digit() {
        assert_eq!(read("571 5.7.1 spam\r\n"), Ok(reply(550, Some((5, 7, 1)), "571 spam")));
        assert_eq!(read("499 x\r\n"), Ok(reply(450, None, "499 x")));
    }

    #[test]
    fn what_is_no_reply_is_refused_with_its_beginning() {
        for line in ["", "25", "HTTP/1.1 400 Bad", "199 x", "600 x", "2x0 OK", "250x", "250\tOK"] {
            let error = NotAReply::NoCode(line.replace('\t', "?").into());
            assert_eq!(read(&format!("{line}\r\n")), Err(error), "{line}");
        }
    }

    //= RFC 5321 §4.2.1, type=test
    //# In a multiline reply, the reply code on each of the lines MUST be the same.
    #[test]
    fn a_code_that_changes_within_a_reply_is_refused() {
        assert_eq!(read("250-a\r\n550 b\r\n"), Err(NotAReply::CodeChanges(250, 550)));
    }

    #[test]
    fn a_peer_cannot_make_us_hold_more_than_the_limits() {
        let endless = "2".repeat(REPLY_LINE_MAX + 1);
        assert_eq!(read(&endless), Err(NotAReply::LineTooLong));
        let long = format!("250 {}\r\n", "x".repeat(REPLY_LINE_MAX));
        assert_eq!(read(&long), Err(NotAReply::LineTooLong));
        let longest = format!("250 {}\r\n", "é".repeat((REPLY_LINE_MAX - 6) / 2));
        let kept = read(&longest).expect("the longest line").text;
        assert_eq!(kept.len(), REPLY_TEXT_MAX);
        let many = "250-\r\n".repeat(REPLY_LINES_MAX + 1);
        assert_eq!(read(&many), Err(NotAReply::TooManyLines));
        let most = "250-\r\n".repeat(REPLY_LINES_MAX - 1) + "250 \r\n";
        assert!(read(&most).is_ok());
    }

    #[test]
    fn what_is_no_text_is_replaced() {
        let (replies, _) = read_in_pieces(b"250 a\xffb\0c\x1b[1md\re\r\n", &[]);
        assert_eq!(replies, [Ok(reply(250, None, "a\u{fffd}b?c?[1md?e"))]);
    }

    const DIALOGUE: &[u8] = b"220 mx ESMTP\r\n250-mx\r\n250-PIPELINING\n250 SIZE 1\r\n\
        250 2.1.0 ok\r\n550-5.1.1 a\r\n550 5.1.1 b\xc3\xa9\r\n354\r\n571 no\r\n250-x\r\n421 y\r\n";

    #[test]
    fn every_split_reads_the_same() {
        let whole = read_in_pieces(DIALOGUE, &[]);
        assert_eq!((whole.0.len(), whole.1.len()), (7, 3));
        for first in 0..DIALOGUE.len() {
            for second in first..DIALOGUE.len() {
                assert_eq!(read_in_pieces(DIALOGUE, &[first, second]), whole, "{first} {second}");
            }
        }
        let every: Vec<_> = (0..DIALOGUE.len()).collect();
        assert_eq!(read_in_pieces(DIALOGUE, &every), whole);
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_no_split_matters(
            bytes in proptest::collection::vec(prop_oneof![
                Just(b'2'), Just(b'5'), Just(b'0'), Just(b'-'), Just(b' '), Just(b'\r'),
                Just(b'\n'), Just(b'.'), any::<u8>()
            ], 0..200),
            cut in 0usize..200,
        ) {
            let cut = cut.min(bytes.len());
            prop_assert_eq!(read_in_pieces(&bytes, &[cut]), read_in_pieces(&bytes, &[]));
        }
    }
}
