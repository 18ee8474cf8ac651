//! Put other text into a body as its transfer encoding has it, and leave all else as it is.
//!
//! In: a body as it is sent, its encoding (RFC 2045 §6), and which octets of what it stands for are
//! to be others. Out: the body with them. Invariant: of `7bit`, `8bit` and quoted-printable no
//! octet outside of what is replaced changes; of base64 none of what it stands for. No line becomes
//! longer than it may be: what would make one so is not replaced.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use memchr::{memchr, memrchr};

use crate::base::limits::{LINKED_LINE_MAX, MIME_LINE_MAX};

/// How a body is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// As it is: `7bit`, `8bit`, `binary`.
    Identity,
    /// `quoted-printable`.
    QuotedPrintable,
    /// `base64`.
    Base64,
}

/// What is to stand in a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edit {
    /// Of what the body stands for.
    pub(super) place: Range<usize>,
    /// ASCII without spaces, in place of a word; or whole lines, in place of nothing.
    pub(super) text: String,
}

/// A body, and what it stands for.
#[derive(Debug)]
pub(super) struct Decoded<'a> {
    body: &'a [u8],
    encoding: Encoding,
    text: Vec<u8>,
    /// Of quoted-printable: where each octet of the text begins in the body.
    starts: Vec<u32>,
}

impl<'a> Decoded<'a> {
    /// `None`: it is no base64.
    pub(super) fn new(body: &'a [u8], encoding: Encoding) -> Option<Self> {
        let (text, starts) = match encoding {
            Encoding::Identity => (Vec::new(), Vec::new()),
            Encoding::QuotedPrintable => from_quoted_printable(body)?,
            Encoding::Base64 => {
                let letters: Vec<u8> =
                    body.iter().filter(|octet| !octet.is_ascii_whitespace()).copied().collect();
                (BASE64.decode(letters).ok()?, Vec::new())
            }
        };
        Some(Self { body, encoding, text, starts })
    }

    /// What it stands for.
    pub(super) fn text(&self) -> &[u8] {
        match self.encoding {
            Encoding::Identity => self.body,
            Encoding::QuotedPrintable | Encoding::Base64 => &self.text,
        }
    }

    /// The body with `edits`, which are in order and apart; and how many of them were made.
    pub(super) fn edit(&self, edits: &[Edit]) -> (Vec<u8>, usize) {
        match self.encoding {
            Encoding::Identity => edit_lines(self.body, edits),
            Encoding::QuotedPrintable => (self.edit_quoted(edits), edits.len()),
            Encoding::Base64 => (self.edit_base64(edits), edits.len()),
        }
    }

    fn edit_quoted(&self, edits: &[Edit]) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.body.len() + edits.len() * 256);
        let mut done = 0;
        for Edit { place, text } in edits {
            let start = self.start(place.start);
            let end = match place.end.checked_sub(1).filter(|last| *last >= place.start) {
                Some(last) => self.end(last),
                None => start,
            };
            out.extend_from_slice(&self.body[done..start]);
            write_quoted(text, &mut out);
            done = end;
        }
        out.extend_from_slice(&self.body[done..]);
        out
    }

    /// Where an octet of the text begins in the body.
    fn start(&self, place: usize) -> usize {
        self.starts.get(place).map_or(self.body.len(), |start| *start as usize)
    }

    /// Where it ends there, before a soft line break that may follow.
    fn end(&self, place: usize) -> usize {
        let start = self.start(place);
        match self.body.get(start..start + 3) {
            Some([b'=', high, low]) if hex(*high, *low).is_some() => start + 3,
            _ => start + 1,
        }
    }

    fn edit_base64(&self, edits: &[Edit]) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.text.len() + edits.len() * 256);
        let mut done = 0;
        for Edit { place, text: new } in edits {
            text.extend_from_slice(&self.text[done..place.start]);
            text.extend_from_slice(new.as_bytes());
            done = place.end;
        }
        text.extend_from_slice(&self.text[done..]);
        let letters = BASE64.encode(text);
        let first = memchr(b'\r', self.body).unwrap_or(self.body.len());
        let is_line = first > 0 && first.is_multiple_of(4) && first <= MIME_LINE_MAX;
        let lines = letters.as_bytes().chunks(if is_line { first } else { MIME_LINE_MAX });
        let mut out = lines.collect::<Vec<_>>().join(&b"\r\n"[..]);
        let is_end = |octet: &u8| !octet.is_ascii_whitespace();
        let end = self.body.iter().rposition(is_end).map_or(0, |last| last + 1);
        out.extend_from_slice(&self.body[end..]);
        out
    }
}

fn edit_lines(body: &[u8], edits: &[Edit]) -> (Vec<u8>, usize) {
    let mut out = Vec::with_capacity(body.len() + edits.len() * 256);
    let (mut done, mut made) = (0, 0);
    for Edit { place, text } in edits {
        let before = out.len();
        out.extend_from_slice(&body[done..place.start]);
        let line = memrchr(b'\n', &out).map_or(out.len(), |end| out.len() - end - 1);
        let rest = &body[place.end..];
        let rest = memchr(b'\r', rest).unwrap_or(rest.len());
        let lengths = text.split("\r\n").map(str::len).collect::<Vec<_>>();
        let fits = match lengths.as_slice() {
            [only] => line + only + rest <= LINKED_LINE_MAX,
            [first, .., last] => line + first <= LINKED_LINE_MAX && last + rest <= LINKED_LINE_MAX,
            [] => true,
        };
        if fits {
            out.extend_from_slice(text.as_bytes());
            (done, made) = (place.end, made + 1);
        } else {
            out.truncate(before);
        }
    }
    out.extend_from_slice(&body[done..]);
    (out, made)
}

/// On lines of its own, between soft line breaks: whatever stands before and behind it makes no
/// line longer than it was.
fn write_quoted(text: &str, out: &mut Vec<u8>) {
    let (text, end) = match text.strip_suffix("\r\n") {
        Some(text) => (text, "\r\n"),
        None => (text, "=\r\n"),
    };
    let mut column = MIME_LINE_MAX;
    for character in text.bytes() {
        // A line that begins with `--` could be taken for a boundary.
        let is_start = column + 3 >= MIME_LINE_MAX;
        if is_start {
            out.extend_from_slice(b"=\r\n");
            column = 0;
        }
        let is_plain =
            matches!(character, b'!'..=b'<' | b'>'..=b'~') && !(is_start && character == b'-');
        if is_plain || (character == b' ' && !is_start) {
            out.push(character);
            column += 1;
        } else {
            out.extend_from_slice(format!("={character:02X}").as_bytes());
            column += 3;
        }
    }
    out.extend_from_slice(end.as_bytes());
}

/// What quoted-printable stands for, and where each octet of that begins. An `=` that begins
/// nothing stands for itself, as most readers have it.
fn from_quoted_printable(body: &[u8]) -> Option<(Vec<u8>, Vec<u32>)> {
    u32::try_from(body.len()).ok()?;
    let (mut text, mut starts) = (Vec::with_capacity(body.len()), Vec::with_capacity(body.len()));
    let (mut at, mut start) = (0, 0_u32);
    while let Some(&octet) = body.get(at) {
        let (stands_for, width) = match octet {
            b'=' => escaped(&body[at..]),
            octet => (Some(octet), 1),
        };
        if let Some(octet) = stands_for {
            text.push(octet);
            starts.push(start);
        }
        at += width;
        start += u32::try_from(width).ok()?;
    }
    Some((text, starts))
}

/// What the `=` stands for that begins there, and how many octets do. A soft line break stands for
/// nothing; white space may stand before the line's end.
fn escaped(rest: &[u8]) -> (Option<u8>, usize) {
    if let Some([high, low]) = rest.get(1..3)
        && let Some(octet) = hex(*high, *low)
    {
        return (Some(octet), 3);
    }
    let spaces = rest[1..].iter().take_while(|octet| b" \t".contains(octet)).count();
    match rest[1 + spaces..].starts_with(b"\r\n") {
        true => (None, spaces + 3),
        false => (Some(b'='), 1),
    }
}

fn hex(high: u8, low: u8) -> Option<u8> {
    let digit =
        |octet: u8| char::from(octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

#[cfg(test)]
mod tests;
