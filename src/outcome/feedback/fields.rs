//! Read the fields of a header section, or of a block of a report, as far as they can be read.
//!
//! In: octets, whoever wrote them. Out: names and unfolded values. Invariant: a value is text of at
//! most `FEEDBACK_FIELD_MAX` octets; lines that are no fields are passed over; nothing behind
//! `FEEDBACK_TEXT_MAX` octets is read.

use std::borrow::Cow;

use mail_parser::HeaderValue;
use mail_parser::parsers::MessageStream;

use crate::base::limits::{FEEDBACK_FIELD_MAX, FEEDBACK_TEXT_MAX, PATH_MAX};
use crate::base::text::head;
use crate::mail::address::Mailbox;

/// A header section.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a>(&'a [u8]);

/// One field.
#[derive(Clone, Debug)]
pub(super) struct Field<'a> {
    /// As it was written.
    pub(super) name: &'a str,
    /// Unfolded, without blanks around it.
    pub(super) value: String,
}

impl Field<'_> {
    /// Whether it has this name.
    pub(super) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

impl<'a> Fields<'a> {
    /// Of these octets.
    pub(super) fn of(header: &'a [u8]) -> Self {
        Self(&header[..header.len().min(FEEDBACK_TEXT_MAX)])
    }

    /// All fields, in their order.
    pub(super) fn iter(self) -> impl Iterator<Item = Field<'a>> {
        Walk { rest: self.0 }
    }

    /// The values of all fields of this name.
    pub(super) fn all(self, name: &str) -> impl Iterator<Item = String> {
        self.iter().filter(move |field| field.is(name)).map(|field| field.value)
    }

    /// The value of the first one.
    pub(super) fn get(self, name: &str) -> Option<String> {
        self.all(name).next()
    }

    /// Whether there is one.
    pub(super) fn has(self, name: &str) -> bool {
        self.iter().any(|field| field.is(name))
    }

    /// The first value, with its encoded words read (RFC 2047).
    pub(super) fn text(self, name: &str) -> Option<String> {
        let value = self.get(name)? + "\n";
        let HeaderValue::Text(text) = MessageStream::new(value.as_bytes()).parse_unstructured()
        else {
            return None;
        };
        Some(text.into_owned())
    }
}

struct Walk<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Walk<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        while !self.rest.is_empty() {
            let (line, rest) = line(self.rest);
            self.rest = rest;
            let Some((name, value)) = split(line) else { continue };
            let mut value = value.to_owned();
            while matches!(self.rest, [b' ' | b'\t', ..]) {
                let (more, rest) = self::line(self.rest);
                self.rest = rest;
                let room = FEEDBACK_FIELD_MAX.saturating_sub(value.len());
                value.extend_from_slice(&more[..more.len().min(room)]);
            }
            value.truncate(FEEDBACK_FIELD_MAX);
            let value = String::from_utf8_lossy(&value);
            return Some(Field { name, value: head(value.trim(), FEEDBACK_FIELD_MAX).into() });
        }
        None
    }
}

/// Name and value of a line that begins a field.
fn split(line: &[u8]) -> Option<(&str, &[u8])> {
    let colon = memchr::memchr(b':', &line[..line.len().min(FEEDBACK_FIELD_MAX)])?;
    let name = std::str::from_utf8(&line[..colon]).ok()?.trim_end();
    let is_name = !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_graphic());
    is_name.then_some((name, &line[colon + 1..]))
}

/// The first line, without its end, and what follows it. A line ends with LF, CR LF or the text.
pub(super) fn line(text: &[u8]) -> (&[u8], &[u8]) {
    let (line, rest) = match memchr::memchr(b'\n', text) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &text[text.len()..]),
    };
    (line.strip_suffix(b"\r").unwrap_or(line), rest)
}

/// A header section, and what follows the empty line behind it.
pub(super) fn split_header(message: &[u8]) -> (&[u8], &[u8]) {
    let mut rest = message;
    while !rest.is_empty() {
        let (line, after) = line(rest);
        if line.is_empty() {
            return (&message[..message.len() - rest.len()], after);
        }
        rest = after;
    }
    (message, rest)
}

/// The address in a field of a report, as `rfc822; <user@example.com>`; its type may be missing.
pub(super) fn address(value: &str) -> Option<Mailbox> {
    let (kind, text) = match value.split_once(';') {
        Some((kind, text)) if !kind.contains('@') => (kind.trim(), text),
        _ => ("", value),
    };
    let text = if kind.eq_ignore_ascii_case("utf-8") { unescaped(text) } else { text.into() };
    mailbox(&text)
}

/// The address in text that has little else in it.
pub(super) fn mailbox(text: &str) -> Option<Mailbox> {
    let text = head(text.trim(), FEEDBACK_FIELD_MAX);
    let inside = match (text.find('<'), text.rfind('>')) {
        (Some(start), Some(end)) if start < end => &text[start + 1..end],
        _ => text,
    };
    let is_around = |c: char| c.is_whitespace() || "<>()[]{},;:'".contains(c);
    let word = if inside.starts_with('"') {
        inside
    } else {
        let inside = inside.trim_matches(is_around);
        inside.split(is_around).next().unwrap_or(inside).trim_end_matches('.')
    };
    let word = word.strip_prefix("mailto:").unwrap_or(word);
    let fits = word.len() <= PATH_MAX && is_public(word);
    if fits { Mailbox::parse(word, true).ok() } else { None }
}

/// Whether there is a domain with a dot in it behind the `@`, and no redaction before it (RFC 6590
/// lets providers put other text in the place of who complains).
fn is_public(address: &str) -> bool {
    let Some((local, domain)) = address.rsplit_once('@') else { return false };
    let local = local.to_ascii_lowercase();
    domain.contains('.') && !local.contains("redacted") && !local.contains("undisclosed")
}

//= RFC 6533 §3
//# EmbeddedUnicodeChar = %x5C.78 "{" HEXPOINT "}"
fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains("\\x{") {
        return text.into();
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\\x{") {
        let (before, escaped) = rest.split_at(at);
        plain.push_str(before);
        let point = escaped[3..].split_once('}').filter(|(digits, _)| digits.len() <= 6);
        let character = point.and_then(|(digits, after)| {
            let character = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32)?;
            Some((character, after))
        });
        match character {
            Some((character, after)) => {
                plain.push(character);
                rest = after;
            }
            None => {
                plain.push_str("\\x{");
                rest = &escaped[3..];
            }
        }
    }
    plain.push_str(rest);
    plain.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_unfolded_and_other_lines_passed_over() {
        let header = b"From someone\nA: 1\r\n folded\n\tagain\r\nnothing\nB : two\nb:3\n\xff: 4\n";
        let fields = Fields(header);
        let read: Vec<_> = fields.iter().map(|field| (field.name, field.value)).collect();
        let expected = [("A", "1 folded\tagain"), ("B", "two"), ("b", "3")];
        assert_eq!(read, expected.map(|(name, value)| (name, value.to_owned())));
        assert_eq!(fields.all("B").collect::<Vec<_>>(), ["two", "3"]);
        assert_eq!(fields.get("C"), None);
    }

    #[test]
    fn encoded_words_are_read() {
        let fields = Fields(b"Subject: =?utf-8?B?VW56dXN0ZWxsYmFyOiDDnGJlcg==?= =?q?broken\n");
        let subject = fields.text("subject").expect("a subject");
        assert!(subject.starts_with("Unzustellbar: \u{dc}ber"), "{subject}");
    }

    #[test]
    fn a_header_ends_at_its_empty_line() {
        for (message, header, body) in [
            ("A: 1\r\n\r\nbody", "A: 1\r\n", "body"),
            ("A: 1\n\nbody", "A: 1\n", "body"),
            ("A: 1\n", "A: 1\n", ""),
            ("\nbody", "", "body"),
            ("", "", ""),
        ] {
            let split = split_header(message.as_bytes());
            assert_eq!(split, (header.as_bytes(), body.as_bytes()));
        }
    }

    //= RFC 6533 §3, type=test
    //# utf-8-addr-xtext … EmbeddedUnicodeChar = %x5C.78 "{" HEXPOINT "}"
    #[test]
    fn addresses_are_found_behind_their_type() {
        for (value, expected) in [
            ("rfc822; user@example.com", Some("user@example.com")),
            ("RFC822;<user@example.com>", Some("user@example.com")),
            ("user@example.com", Some("user@example.com")),
            ("rfc822; User Name <user@example.com>", Some("user@example.com")),
            ("rfc822;user@example.com (a comment)", Some("user@example.com")),
            ("rfc822; \"a b\"@example.com", Some("\"a b\"@example.com")),
            ("utf-8; us\\x{E9}r@example.com", Some("us\u{e9}r@example.com")),
            ("utf-8; us\\x{zz}r@example.com", None),
            ("rfc822; redacted-0af3@example.com", None),
            ("X-local; user", None),
            ("rfc822; user@localhost", None),
            ("", None),
        ] {
            let found = address(value);
            assert_eq!(found.as_ref().map(Mailbox::as_str), expected, "{value}");
        }
    }
}
