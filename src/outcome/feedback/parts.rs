//! Take a report apart into its MIME parts (RFC 2046), as far as it has any.
//!
//! In: octets, whoever wrote them. Out: the parts that have no parts, in their order; a message in
//! it is one. Invariant: at most `FEEDBACK_PARTS_MAX` of them, from at most `FEEDBACK_DEPTH_MAX`
//! multiparts in each other: each octet is read so often at most. A part that never ends, ends with
//! the message.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::decoders::html::html_to_text;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;
use memchr::memmem;

use crate::base::limits::{FEEDBACK_DEPTH_MAX, FEEDBACK_PARTS_MAX, FEEDBACK_TEXT_MAX};
use crate::outcome::feedback::fields::{Fields, line, split_header};

/// A message, taken apart.
pub(super) struct Parts<'a> {
    /// Its header.
    pub(super) fields: Fields<'a>,
    /// Its parts.
    pub(super) leaves: Vec<Part<'a>>,
}

/// A part that has no parts.
#[derive(Clone, Debug)]
pub(super) struct Part<'a> {
    /// As `text/plain`, in lower case.
    pub(super) kind: Box<str>,
    charset: Option<Box<str>>,
    coding: Coding,
    /// As it stands in the message.
    body: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Plain,
    Base64,
    QuotedPrintable,
}

/// What stands in Content-Type.
struct Kind {
    name: Box<str>,
    charset: Option<Box<str>>,
    boundary: Option<String>,
}

impl<'a> Parts<'a> {
    pub(super) fn of(message: &'a [u8]) -> Self {
        let mut leaves = Vec::new();
        let (header, body) = split_header(message);
        walk(Fields::of(header), body, FEEDBACK_DEPTH_MAX, &mut leaves);
        Self { fields: Fields::of(header), leaves }
    }
}

fn walk<'a>(fields: Fields<'a>, body: &'a [u8], depth: usize, leaves: &mut Vec<Part<'a>>) {
    if leaves.len() >= FEEDBACK_PARTS_MAX {
        return;
    }
    let kind = Kind::of(fields);
    if kind.name.starts_with("multipart/") && depth > 0 {
        let boundary = kind.boundary.or_else(|| guess_boundary(body));
        let parts = boundary.map(|boundary| split(body, &boundary)).unwrap_or_default();
        if !parts.is_empty() {
            for part in parts {
                let (header, body) = split_header(part);
                walk(Fields::of(header), body, depth - 1, leaves);
            }
            return;
        }
    }
    let coding = match fields.get("Content-Transfer-Encoding") {
        Some(coding) if coding.eq_ignore_ascii_case("base64") => Coding::Base64,
        Some(coding) if coding.eq_ignore_ascii_case("quoted-printable") => Coding::QuotedPrintable,
        _ => Coding::Plain,
    };
    let name = if kind.name.starts_with("multipart/") { "text/plain".into() } else { kind.name };
    leaves.push(Part { kind: name, charset: kind.charset, coding, body });
}

/// The stretches between the lines that have the boundary.
fn split<'a>(body: &'a [u8], boundary: &str) -> Vec<&'a [u8]> {
    let delimiter = format!("--{boundary}");
    let mut parts = Vec::new();
    let mut start = None;
    for at in memmem::find_iter(body, delimiter.as_bytes()) {
        if at > 0 && body[at - 1] != b'\n' {
            continue;
        }
        let (rest, after) = line(&body[at + delimiter.len()..]);
        let tail = rest.trim_ascii_end();
        if !tail.is_empty() && tail != b"--" {
            continue;
        }
        if let Some(start) = start {
            parts.push(without_line_end(&body[start..at.max(start)]));
        }
        start = Some(body.len() - after.len());
        if tail == b"--" || parts.len() >= FEEDBACK_PARTS_MAX {
            return parts;
        }
    }
    if let Some(start) = start {
        parts.push(&body[start..]);
    }
    parts
}

fn without_line_end(part: &[u8]) -> &[u8] {
    let part = part.strip_suffix(b"\n").unwrap_or(part);
    part.strip_suffix(b"\r").unwrap_or(part)
}

/// The first line that looks like a boundary, where Content-Type has none.
fn guess_boundary(body: &[u8]) -> Option<String> {
    let mut rest = &body[..body.len().min(FEEDBACK_TEXT_MAX)];
    while !rest.is_empty() {
        let (line, after) = line(rest);
        if let Some(boundary) = line.strip_prefix(b"--").filter(|text| text.len() >= 8) {
            return std::str::from_utf8(boundary).ok().map(|text| text.trim_end().to_owned());
        }
        rest = after;
    }
    None
}

impl Kind {
    fn of(fields: Fields<'_>) -> Self {
        let value = fields.get("Content-Type").unwrap_or_default();
        let (name, mut rest) = value.split_once(';').unwrap_or((&value, ""));
        let name = name.trim().to_ascii_lowercase();
        let name = if name.contains('/') { name } else { "text/plain".to_owned() };
        let mut kind = Self { name: name.into(), charset: None, boundary: None };
        while !rest.is_empty() {
            let (parameter, after) = parameter(rest);
            rest = after;
            match parameter {
                Some((name, value)) if name.eq_ignore_ascii_case("boundary") => {
                    kind.boundary = Some(value).filter(|value| !value.is_empty());
                }
                Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
                    kind.charset = Some(value.into());
                }
                _ => {}
            }
        }
        kind
    }
}

/// The first `name=value` or `name="value"`, and what follows its `;`.
fn parameter(text: &str) -> (Option<(&str, String)>, &str) {
    let end = text.find([';', '=']).unwrap_or(text.len());
    let name = text[..end].trim();
    let Some(value) = text[end..].strip_prefix('=') else {
        return (None, text[end..].strip_prefix(';').unwrap_or(""));
    };
    let value = value.trim_start();
    let Some(quoted) = value.strip_prefix('"') else {
        let (value, rest) = value.split_once(';').unwrap_or((value, ""));
        return (Some((name, value.trim().to_owned())), rest);
    };
    let mut plain = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => {
                let rest = quoted[at + 1..].split_once(';').map_or("", |(_, rest)| rest);
                return (Some((name, plain)), rest);
            }
            '\\' => plain.extend(characters.next().map(|(_, escaped)| escaped)),
            _ => plain.push(character),
        }
    }
    (Some((name, plain)), "")
}

impl Part<'_> {
    /// As it stands, its coding undone.
    pub(super) fn octets(&self, max: usize) -> Vec<u8> {
        let body = &self.body[..self.body.len().min(max)];
        match self.coding {
            Coding::Plain => body.to_vec(),
            Coding::Base64 => base64(body),
            Coding::QuotedPrintable => {
                quoted_printable_decode(body).unwrap_or_else(|| body.to_vec())
            }
        }
    }

    /// As text for people; `FEEDBACK_TEXT_MAX` octets of it.
    pub(super) fn text(&self) -> String {
        let octets = self.octets(FEEDBACK_TEXT_MAX);
        let decoder = self.charset.as_deref().and_then(|name| charset_decoder(name.as_bytes()));
        let text = match decoder {
            Some(decode) => decode(&octets),
            None => String::from_utf8_lossy(&octets).into_owned(),
        };
        if &*self.kind == "text/html" { html_to_text(&text) } else { text }
    }
}

/// What is not of its alphabet is passed over (RFC 2045 §6.8).
fn base64(body: &[u8]) -> Vec<u8> {
    let config =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let engine = GeneralPurpose::new(&STANDARD, config.with_decode_allow_trailing_bits(true));
    let is_digit = |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'/');
    let mut digits: Vec<u8> = body.iter().copied().filter(is_digit).collect();
    if digits.len() % 4 == 1 {
        digits.pop();
    }
    engine.decode(digits).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(message: &str) -> Vec<(String, String)> {
        let parts = Parts::of(message.as_bytes());
        parts.leaves.iter().map(|part| (part.kind.to_string(), part.text())).collect()
    }

    fn expected<const N: usize>(parts: [(&str, &str); N]) -> Vec<(String, String)> {
        parts.map(|(kind, text)| (kind.to_owned(), text.to_owned())).to_vec()
    }

    //= RFC 2046 §5.1.1, type=test
    //# The boundary delimiter MUST occur at the beginning of a line
    #[test]
    fn parts_stand_between_their_boundaries() {
        let message = "Content-Type: multipart/report; report-type=x;\r\n \
            boundary=\"a\\b c\"\r\n\r\npreamble\r\n\
            --ab c\r\n\r\nfirst --ab c\r\n--ab cd\r\n--ab c  \r\n\
            Content-Type: Multipart/mixed; boundary=in\r\n\r\n--in\r\n\
            Content-Type: message/rfc822\r\n\r\nA: 1\r\n\r\nbody\r\n--in--\r\n\
            --ab c--\r\nafter\r\n";
        let found =
            [("text/plain", "first --ab c\r\n--ab cd"), ("message/rfc822", "A: 1\r\n\r\nbody")];
        assert_eq!(kinds(message), expected(found));
    }

    #[test]
    fn codings_and_charsets_are_undone() {
        for (header, body, text) in [
            ("Content-Transfer-Encoding: BASE64", "dGV4\r\ndA=", "text"),
            ("Content-Transfer-Encoding: base64", "!dGV4dA", "text"),
            ("Content-Transfer-Encoding: quoted-printable", "te=\r\nx=74=3D", "text="),
            ("Content-Type: text/plain; charset=iso-8859-1", "\u{fc}", "\u{c3}\u{bc}"),
            ("Content-Type: text/plain; charset=nothing", "\u{fc}", "\u{fc}"),
        ] {
            let found = kinds(&format!("{header}\r\n\r\n{body}"));
            assert_eq!(found[0].1, text, "{header}");
        }
        let html = kinds("Content-Type: text/html\n\n<p>one<br>two &lt;a@b.c&gt;</p>");
        assert!(html[0].1.contains("<a@b.c>"), "{html:?}");
    }

    #[test]
    fn what_is_broken_is_read_as_far_as_it_goes() {
        let open = "Content-Type: multipart/report; boundary=\"x\n\n--x\n\none\n--x\n\ntwo";
        assert_eq!(kinds(open), expected([("text/plain", "one"), ("text/plain", "two")]));
        let unnamed = "Content-Type: multipart/report\n\n--=_guessed\n\none\n--=_guessed--\n";
        assert_eq!(kinds(unnamed), expected([("text/plain", "one")]));
        let missing = "Content-Type: multipart/report; boundary=y\n\njust text";
        assert_eq!(kinds(missing), expected([("text/plain", "just text")]));
        assert_eq!(kinds("Content-Type: text\n\nx"), expected([("text/plain", "x")]));
    }

    #[test]
    fn parts_and_depth_are_bounded() {
        let many = format!("Content-Type: multipart/x; boundary=b\n\n{}", "--b\n\nx\n".repeat(999));
        assert_eq!(kinds(&many).len(), FEEDBACK_PARTS_MAX);
        let deep: String = (0..99)
            .map(|n| format!("Content-Type: multipart/x; boundary={n}x\n\n--{n}x\n"))
            .collect();
        assert_eq!(kinds(&deep).len(), 1);
    }
}
