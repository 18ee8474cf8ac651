//! Read reply lines of a server from the bytes as they come, without allocating.
//!
//! In: bytes, cut anywhere. Out: code and text of each line. Invariant: a line is at most
//! `LINE_MAX` octets, and no reply code is made up where a line has none.

use std::io;

use tokio::io::AsyncReadExt;

use crate::tls::Stream;

/// Octets that are held; a longer line ends the session.
const LINE_MAX: usize = 8 * 1024;

/// One line of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReplyLine<'a> {
    pub(crate) code: u16,
    /// Whether it is the last line of its reply.
    pub(crate) last: bool,
    pub(crate) text: &'a [u8],
}

/// Bytes that a server sent and nobody has read yet.
#[derive(Debug)]
pub(crate) struct Replies {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Replies {
    pub(crate) fn new() -> Self {
        Self { buffer: vec![0; LINE_MAX].into_boxed_slice(), start: 0, end: 0 }
    }

    /// Waits for the code of the next whole reply; `each` sees its lines.
    ///
    /// Errors: what reading gives, end of stream, and a line that is no reply.
    pub(crate) async fn next(
        &mut self,
        stream: &mut Stream,
        mut each: impl FnMut(ReplyLine<'_>),
    ) -> io::Result<u16> {
        loop {
            while let Some(line) = self.line()? {
                each(line);
                if line.last {
                    return Ok(line.code);
                }
            }
            self.make_room()?;
            let count = stream.read(&mut self.buffer[self.end..]).await?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.end += count;
        }
    }

    /// Whether nothing came that was not read as a reply.
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Takes the next whole line, if there is one.
    fn line(&mut self) -> io::Result<Option<ReplyLine<'_>>> {
        let held = &self.buffer[self.start..self.end];
        let Some(length) = memchr::memchr(b'\n', held) else {
            return Ok(None);
        };
        let from = self.start;
        self.start += length + 1;
        let line = &self.buffer[from..from + length];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        parse(line).map(Some).ok_or_else(|| {
            let text = String::from_utf8_lossy(line).into_owned();
            io::Error::new(io::ErrorKind::InvalidData, format!("not a reply: {text:?}"))
        })
    }

    fn make_room(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if self.end == self.buffer.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "endless reply line"));
        }
        Ok(())
    }
}

/// RFC 5321 §4.2.1: three digits, then a hyphen, a space or the end.
fn parse(line: &[u8]) -> Option<ReplyLine<'_>> {
    let (digits, rest) = line.split_at_checked(3)?;
    let mut code = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        code = code * 10 + u16::from(digit - b'0');
    }
    let (last, text) = match rest.split_first() {
        None => (true, rest),
        Some((b' ', text)) => (true, text),
        Some((b'-', text)) => (false, text),
        Some(_) => return None,
    };
    (200..600).contains(&code).then_some(ReplyLine { code, last, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reply_lines_are_parsed_to_the_grammar() {
        let line = |code, last, text| Some(ReplyLine { code, last, text });
        assert_eq!(parse(b"250 2.0.0 Ok"), line(250, true, b"2.0.0 Ok".as_slice()));
        assert_eq!(parse(b"250-SIZE"), line(250, false, b"SIZE".as_slice()));
        assert_eq!(parse(b"354"), line(354, true, b"".as_slice()));
        for wrong in ["", "25", "2500", "abc ok", "199 x", "600 x", "25 0"] {
            assert_eq!(parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn replies_come_out_the_same_at_every_split() {
        let text = b"250-a\r\n250-b\r\n250 c\r\n354 go\n421 bye\r\n";
        for cut in 0..text.len() {
            let mut replies = Replies::new();
            let mut codes = Vec::new();
            for piece in [&text[..cut], &text[cut..]] {
                replies.make_room().unwrap();
                replies.buffer[replies.end..replies.end + piece.len()].copy_from_slice(piece);
                replies.end += piece.len();
                while let Some(line) = replies.line().unwrap() {
                    codes.push((line.code, line.last));
                }
            }
            let expected = [(250, false), (250, false), (250, true), (354, true), (421, true)];
            assert_eq!(codes, expected, "cut at {cut}");
        }
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut replies = Replies::new();
        replies.end = LINE_MAX;
        assert!(replies.make_room().is_err());
    }
}
