//! Cut a session's octets into command lines.
//!
//! In: octets in pieces of any size. Out: lines without their CRLF, or why a line is refused.
//! Invariant: only CR LF ends a line; a CR, LF or NUL that is not part of it refuses the line, and
//! the line still goes on to its CR LF: nothing inside it is taken for a command of its own.
//! Unit: `COMMAND_LINE_MAX`, and `AUTH_LINE_MAX` in a SASL exchange, count octets with the CRLF.

use std::borrow::Cow;

use memchr::{memchr3, memmem};
use zeroize::Zeroize as _;

use crate::base::limits::{COMMAND_LINE_MAX, COMMAND_SKIP_MAX};

/// Why a command line is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineFault {
    /// More octets than a line may have.
    TooLong,
    /// A CR that no LF follows.
    BareCr,
    /// A LF that no CR precedes.
    BareLf,
    /// A NUL.
    Nul,
    /// `COMMAND_SKIP_MAX` octets of a refused line, and still no end.
    Endless,
}

/// What came of some octets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read<'a> {
    /// No end of line yet; all octets are used.
    Partial,
    /// A line, without its CRLF. Give an owned one back by [`LineReader::reuse`].
    Line(Cow<'a, [u8]>),
    /// A line is refused, and what is left of it will be skipped. Told once a line, with what came
    /// of it before the fault; `Endless` may follow.
    Refused(LineFault, Cow<'a, [u8]>),
}

/// Keeps what came of a line until the rest arrives. Copies only lines that come in pieces.
#[derive(Debug)]
pub struct LineReader {
    kept: Vec<u8>,
    skip: Option<Skip>,
    octets_max: usize,
}

impl Default for LineReader {
    /// For command lines.
    fn default() -> Self {
        Self { kept: Vec::new(), skip: None, octets_max: COMMAND_LINE_MAX }
    }
}

/// A refused line whose CRLF is looked for.
#[derive(Clone, Copy, Debug)]
struct Skip {
    skipped: usize,
    /// The octet before was a CR.
    cr: bool,
}

impl LineReader {
    /// Lines from the next one on have so many octets at most. What is kept of one is erased: to be
    /// called where none has begun.
    pub fn limit(&mut self, octets_max: usize) {
        self.kept.zeroize();
        self.octets_max = octets_max;
    }

    /// Take octets up to the end of a line: how many, and what came of them.
    pub fn read<'a>(&mut self, bytes: &'a [u8]) -> (usize, Read<'a>) {
        match self.skip.take() {
            None => self.read_line(bytes),
            Some(skip) => self.skip_line(bytes, skip),
        }
    }

    /// Erase an owned line, which held a password.
    pub fn erase(line: Cow<'_, [u8]>) {
        if let Cow::Owned(mut buffer) = line {
            buffer.zeroize();
        }
    }

    /// Take back the buffer of an owned line.
    pub fn reuse(&mut self, line: Cow<'_, [u8]>) {
        if let Cow::Owned(mut buffer) = line
            && self.kept.is_empty()
        {
            buffer.clear();
            self.kept = buffer;
        }
    }

    fn read_line<'a>(&mut self, bytes: &'a [u8]) -> (usize, Read<'a>) {
        if self.kept.last() == Some(&b'\r') {
            return match bytes.first() {
                None => (0, Read::Partial),
                Some(b'\n') => (1, Read::Line(self.take_line(&bytes[..1]))),
                Some(_) => self.refuse(LineFault::BareCr, &bytes[..0], false),
            };
        }
        let room = self.octets_max - self.kept.len();
        let seen = &bytes[..bytes.len().min(room)];
        let Some(at) = memchr3(b'\r', b'\n', 0, seen) else {
            return self.keep(seen, room);
        };
        match (seen[at], seen.get(at + 1)) {
            (b'\r', Some(b'\n')) => (at + 2, Read::Line(self.take_line(&bytes[..at + 2]))),
            (b'\r', Some(_)) => self.refuse(LineFault::BareCr, &bytes[..=at], false),
            (b'\r', None) => self.keep(seen, room),
            (b'\n', _) => self.refuse(LineFault::BareLf, &bytes[..=at], false),
            (_, _) => self.refuse(LineFault::Nul, &bytes[..=at], false),
        }
    }

    /// No end in `seen`: keep it, unless the line would pass its limit.
    fn keep<'a>(&mut self, seen: &'a [u8], room: usize) -> (usize, Read<'a>) {
        if seen.len() == room {
            let cr = seen.last() == Some(&b'\r');
            return self.refuse(LineFault::TooLong, seen, cr);
        }
        self.kept.extend_from_slice(seen);
        (seen.len(), Read::Partial)
    }

    fn refuse<'a>(&mut self, fault: LineFault, seen: &'a [u8], cr: bool) -> (usize, Read<'a>) {
        self.skip = Some(Skip { skipped: 0, cr });
        (seen.len(), Read::Refused(fault, self.take(seen)))
    }

    /// The line that `tail`, up to its CRLF, completes.
    fn take_line<'a>(&mut self, tail: &'a [u8]) -> Cow<'a, [u8]> {
        match self.take(tail) {
            Cow::Borrowed(line) => Cow::Borrowed(&line[..line.len() - 2]),
            Cow::Owned(mut line) => {
                line.truncate(line.len() - 2);
                Cow::Owned(line)
            }
        }
    }

    fn take<'a>(&mut self, tail: &'a [u8]) -> Cow<'a, [u8]> {
        if self.kept.is_empty() {
            return Cow::Borrowed(tail);
        }
        self.kept.extend_from_slice(tail);
        Cow::Owned(std::mem::take(&mut self.kept))
    }

    fn skip_line<'a>(&mut self, bytes: &'a [u8], skip: Skip) -> (usize, Read<'a>) {
        if skip.cr && bytes.first() == Some(&b'\n') {
            return (1, Read::Partial);
        }
        if let Some(end) = memmem::find(bytes, b"\r\n") {
            return (end + 2, Read::Partial);
        }
        let skipped = skip.skipped + bytes.len();
        if skipped > COMMAND_SKIP_MAX {
            return (bytes.len(), Read::Refused(LineFault::Endless, Cow::Borrowed(&[])));
        }
        self.skip = Some(Skip { skipped, cr: bytes.last() == Some(&b'\r') });
        (bytes.len(), Read::Partial)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;

    /// What `input` gives when it comes in pieces that end at `cuts`.
    fn read_all(input: &[u8], mut piece: impl FnMut() -> usize) -> Vec<Result<Vec<u8>, LineFault>> {
        let mut reader = LineReader::default();
        let mut results = Vec::new();
        let mut rest = input;
        while !rest.is_empty() {
            let (now, _) = rest.split_at(piece().clamp(1, rest.len()));
            let (used, read) = reader.read(now);
            match read {
                Read::Partial => {}
                Read::Line(line) => {
                    results.push(Ok(line.to_vec()));
                    reader.reuse(line);
                }
                Read::Refused(fault, _) => results.push(Err(fault)),
            }
            rest = &rest[used..];
        }
        results
    }

    fn line(text: &str) -> Result<Vec<u8>, LineFault> {
        Ok(text.as_bytes().to_vec())
    }

    //= RFC 5321 §2.3.8, type=test
    //# Conforming implementations MUST NOT recognize or generate any other character or character
    //# sequence as a line terminator.
    #[test]
    fn only_crlf_ends_a_line() {
        let whole = |input: &[u8]| read_all(input, || usize::MAX);
        assert_eq!(whole(b"NOOP\r\n\r\nQUIT\r\n"), [line("NOOP"), line(""), line("QUIT")]);
        assert_eq!(whole(b"NOOP\nRSET\r\nQUIT\r\n"), [Err(LineFault::BareLf), line("QUIT")]);
        assert_eq!(whole(b"NOOP\rRSET\r\nQUIT\r\n"), [Err(LineFault::BareCr), line("QUIT")]);
        assert_eq!(whole(b"NOOP\r\r\nQUIT\r\n"), [Err(LineFault::BareCr), line("QUIT")]);
        assert_eq!(whole(b"NO\0OP\r\nQUIT\r\n"), [Err(LineFault::Nul), line("QUIT")]);
        assert_eq!(whole(b"\n\r\nQUIT\r\n"), [Err(LineFault::BareLf), line("QUIT")]);
    }

    #[test]
    fn a_line_may_have_just_so_many_octets() {
        let mut longest = vec![b'x'; COMMAND_LINE_MAX - 2];
        longest.extend_from_slice(b"\r\nQUIT\r\n");
        let results = read_all(&longest, || usize::MAX);
        assert!(matches!(&results[..], [Ok(_), Ok(_)]), "{results:?}");
        longest.insert(0, b'x');
        for piece in [1, 7, 2_047, 2_048, 2_049, usize::MAX] {
            let results = read_all(&longest, || piece);
            assert_eq!(results, [Err(LineFault::TooLong), line("QUIT")], "pieces of {piece}");
        }
    }

    #[test]
    fn a_line_that_never_ends_is_told_so() {
        let endless = vec![b'x'; COMMAND_LINE_MAX + COMMAND_SKIP_MAX + 5_000];
        let results = read_all(&endless, || 4_096);
        assert_eq!(results[..2], [Err(LineFault::TooLong), Err(LineFault::Endless)]);
    }

    #[test]
    fn pieces_make_no_difference() {
        for seed in 0..2_000 {
            let mut prng = Prng::from_number(seed);
            let octets = b"\r\r\n\n\0aaaaaa";
            let mut below =
                |bound: usize| usize::try_from(prng.below(bound as u64)).expect("below a usize");
            let mut input: Vec<u8> = (0..40).map(|_| octets[below(octets.len())]).collect();
            input.extend_from_slice(b"\r\n");
            let whole = read_all(&input, || usize::MAX);
            let pieces = read_all(&input, || below(6));
            assert_eq!(pieces, whole, "seed {seed}: {input:?}");
        }
    }
}
