//! Take content in as it comes: find its end, its load id, and whether a single octet changed.
//!
//! In: bytes after 354, or chunks. Out: what was received. Invariant: only CR LF "." CR LF ends
//! content after DATA (RFC 5321 §4.1.1.4). Unit: `size` counts octets after unstuffing.

use std::fmt;

use xxhash_rust::xxh3::Xxh3;

use crate::message::{BODY_FIELD, BODY_MIN, Filler, ID_FIELD, ID_LEN, SUM_FIELD};

/// Octets of a header that is searched for an id.
const HEADER_MAX: usize = 64 * 1024;
/// Octets that are looked at in a step while the header's end is sought.
const HEADER_STEP: usize = 1_024;
/// Octets of a message that are kept whole when somebody wants it whole.
const WHOLE_MAX: usize = 256 * 1024 * 1024;

/// How the field of a DKIM signature begins (RFC 6376 §3.5), as all who sign write it.
const SIGNATURE_FIELD: &[u8] = b"DKIM-Signature:";

/// Where a reader of dot-stuffed content stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// At the start of a line.
    Start,
    /// After a dot at the start of a line.
    Dot,
    /// After a dot and CR at the start of a line.
    DotCr,
    /// Within a line; `true` after CR.
    Line(bool),
}

/// Removes dot-stuffing and finds the end, at any split.
#[derive(Debug)]
pub(crate) struct DotReader(Place);

impl DotReader {
    pub(crate) fn new() -> Self {
        Self(Place::Start)
    }

    /// Hands unstuffed pieces of `input` to `take`; returns the octets used and whether the end
    /// was among them.
    pub(crate) fn feed(&mut self, input: &[u8], mut take: impl FnMut(&[u8])) -> (usize, bool) {
        let mut at = 0;
        while let Some(&octet) = input.get(at) {
            match self.0 {
                Place::Start if octet == b'.' => (self.0, at) = (Place::Dot, at + 1),
                Place::Start => self.0 = Place::Line(false),
                Place::Dot if octet == b'\r' => (self.0, at) = (Place::DotCr, at + 1),
                Place::Dot => self.0 = Place::Line(false),
                Place::DotCr if octet == b'\n' => return (at + 1, true),
                Place::DotCr => {
                    take(b"\r");
                    self.0 = Place::Line(true);
                }
                Place::Line(true) if octet == b'\n' => {
                    take(b"\n");
                    (self.0, at) = (Place::Start, at + 1);
                }
                Place::Line(_) => at += self.line(&input[at..], &mut take),
            }
        }
        (at, false)
    }

    /// Takes what lies before the next line that starts with a dot; returns the octets used.
    fn line(&mut self, rest: &[u8], take: &mut impl FnMut(&[u8])) -> usize {
        let length = memchr::memmem::find(rest, b"\r\n.").map_or(rest.len(), |found| found + 2);
        let piece = &rest[..length];
        take(piece);
        self.0 = if piece.ends_with(b"\r\n") {
            Place::Start
        } else {
            Place::Line(piece.ends_with(b"\r"))
        };
        length
    }
}

/// What a sink makes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// Every octet as the source made it.
    Intact,
    /// A load message that lost, gained or changed octets.
    Changed,
    /// No load message.
    Unknown,
}

/// One message's content; its buffers are used again for the next.
#[derive(Debug, Default)]
pub(crate) struct Content {
    header: Vec<u8>,
    in_body: bool,
    load: Option<Load>,
    whole: Option<Vec<u8>>,
    /// Signatures in the header.
    pub(crate) signatures: u64,
    /// Octets so far.
    pub(crate) size: u64,
}

/// What the header says about the body, and how far it is true.
#[derive(Debug)]
struct Load {
    id: [u8; ID_LEN],
    body: usize,
    seen: usize,
    intact: bool,
    /// Of a body that is not of our making.
    sum: Option<Sum>,
}

/// What a body must add up to, and what it has so far.
struct Sum {
    wanted: u64,
    so_far: Box<Xxh3>,
}

impl fmt::Debug for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sum({:016x})", self.wanted)
    }
}

impl Content {
    /// Starts a message; `keep_whole` keeps its octets for `whole`.
    pub(crate) fn begin(&mut self, keep_whole: bool) {
        self.header.clear();
        (self.in_body, self.load, self.size, self.signatures) = (false, None, 0, 0);
        self.whole = keep_whole.then(Vec::new);
    }

    /// Takes a piece of unstuffed content.
    pub(crate) fn take(&mut self, piece: &[u8], filler: &Filler) {
        self.size += piece.len() as u64;
        if let Some(whole) = &mut self.whole
            && whole.len() < WHOLE_MAX
        {
            whole.extend_from_slice(piece);
        }
        let body = if self.in_body { piece } else { self.take_header(piece) };
        if let Some(load) = &mut self.load
            && !body.is_empty()
        {
            match &mut load.sum {
                Some(sum) => sum.so_far.update(body),
                None if load.intact => {
                    load.intact = filler.matches(&load.id, load.body, load.seen, body);
                }
                None => {}
            }
            load.seen += body.len();
        }
    }

    /// Id and state of the body, at the message's end.
    pub(crate) fn judge(&self) -> (Option<&[u8; ID_LEN]>, Body) {
        match &self.load {
            None => (None, Body::Unknown),
            Some(load) if load.is_intact() => (Some(&load.id), Body::Intact),
            Some(load) => (Some(&load.id), Body::Changed),
        }
    }

    /// The whole message, where `begin` was told to keep it.
    pub(crate) fn whole(&self) -> &[u8] {
        self.whole.as_deref().unwrap_or_default()
    }

    /// Adds to the header; returns what of `piece` belongs to the body.
    fn take_header<'a>(&mut self, piece: &'a [u8]) -> &'a [u8] {
        let mut rest = piece;
        while !rest.is_empty() {
            let (step, after) = rest.split_at(rest.len().min(HEADER_STEP));
            let searched = self.header.len().saturating_sub(3);
            self.header.extend_from_slice(step);
            if let Some(found) = memchr::memmem::find(&self.header[searched..], b"\r\n\r\n") {
                let end = searched + found + 4;
                let beyond = self.header.len() - end + after.len();
                self.header.truncate(end);
                self.in_body = true;
                self.load = load_of(&self.header);
                self.signatures = places(&self.header, SIGNATURE_FIELD).count() as u64;
                return &piece[piece.len() - beyond..];
            }
            if self.header.len() > HEADER_MAX {
                self.in_body = true;
                return &[];
            }
            rest = after;
        }
        &[]
    }
}

impl Load {
    fn is_intact(&self) -> bool {
        let adds_up = |sum: &Sum| sum.so_far.digest() == sum.wanted;
        let adds_up = self.sum.as_ref().is_none_or(adds_up);
        self.intact && self.seen == self.body && adds_up
    }
}

fn load_of(header: &[u8]) -> Option<Load> {
    let id = value(header, ID_FIELD)?.try_into().ok()?;
    let body = std::str::from_utf8(value(header, BODY_FIELD)?).ok()?.parse().ok()?;
    let sum = match value(header, SUM_FIELD) {
        Some(text) => Some(u64::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok()?),
        None => None,
    };
    let sum = sum.map(|wanted| Sum { wanted, so_far: Box::new(Xxh3::new()) });
    let is_load = sum.is_some() || body >= BODY_MIN;
    is_load.then_some(Load { id, body, seen: 0, intact: true, sum })
}

/// The value of a field in a header, the first one.
fn value<'a>(header: &'a [u8], field: &[u8]) -> Option<&'a [u8]> {
    let rest = &header[places(header, field).next()? + field.len()..];
    Some(&rest[..memchr::memchr(b'\r', rest)?])
}

/// Where in a header fields of this name begin.
fn places(header: &[u8], field: &[u8]) -> impl Iterator<Item = usize> {
    let all = memchr::memmem::find_iter(header, field);
    all.filter(|&at| at == 0 || header[at - 1] == b'\n')
}

/// What a sink makes of a message that comes in these pieces.
#[cfg(test)]
pub(crate) fn judged(pieces: &[&[u8]]) -> (Option<[u8; ID_LEN]>, Body) {
    let filler = Filler::new(0);
    let mut content = Content::default();
    content.begin(false);
    pieces.iter().for_each(|piece| content.take(piece, &filler));
    let (id, body) = content.judge();
    (id.copied(), body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{RunTag, Template};

    fn read(pieces: &[&[u8]]) -> (Vec<u8>, usize, bool) {
        let mut reader = DotReader::new();
        let (mut out, mut used) = (Vec::new(), 0);
        for piece in pieces {
            let (count, ended) = reader.feed(piece, |text| out.extend_from_slice(text));
            used += count;
            if ended {
                return (out, used, true);
            }
        }
        (out, used, false)
    }

    //= RFC 5321 §4.1.1.4, type=test
    //# the sequence "<LF>.<LF>" … MUST NOT be treated as equivalent to <CRLF>.<CRLF>
    #[test]
    fn only_the_five_octets_end_content() {
        for text in ["a\n.\n", "a\r\n.\n", "a\n.\r\n", "a\r.\r\n", "a\r\n..\r\n", "a\r\n.\r\r\n"] {
            assert!(!read(&[text.as_bytes()]).2, "{text:?}");
        }
        assert_eq!(read(&[b".\r\nQUIT"]), (Vec::new(), 3, true));
        assert_eq!(read(&[b"a\r\n.\r\nQUIT"]), (b"a\r\n".to_vec(), 6, true));
    }

    //= RFC 5321 §4.5.2, type=test
    //# If the first character is a period and there are other characters on the line, the first
    //# character is deleted.
    #[test]
    fn stuffed_content_is_the_same_at_every_pair_of_splits() {
        let text = b"..a\r\n.b\r\nc.\r\n..\r\n\r\n.\rx\r\nd\r\n.\r\nNOOP\r\n";
        let expected = (b".a\r\nb\r\nc.\r\n.\r\n\r\n\rx\r\nd\r\n".to_vec(), text.len() - 6, true);
        for first in 0..text.len() {
            for second in first..text.len() {
                let pieces = [&text[..first], &text[first..second], &text[second..]];
                assert_eq!(read(&pieces), expected, "cut at {first} and {second}");
            }
        }
    }

    fn message() -> Vec<u8> {
        let template = Template {
            from: "a@b.example".into(),
            date: "Mon, 01 Jan 2024 00:00:00 +0000".into(),
            tag: RunTag::from_seed(1),
        };
        let filler = Filler::new(3_000);
        let mut message = Vec::new();
        let body = template.head(5, b"u@d.example", 3_000, &mut message);
        message.extend_from_slice(filler.plain(body));
        message.extend_from_slice(b"\r\n");
        message
    }

    fn judged(pieces: &[&[u8]]) -> (bool, Body) {
        let (id, body) = super::judged(pieces);
        (id == Some(RunTag::from_seed(1).id(5)), body)
    }

    #[test]
    fn a_message_is_intact_at_every_split() {
        let message = message();
        for cut in 0..message.len() {
            let pieces = [&message[..cut], &message[cut..]];
            assert_eq!(judged(&pieces), (true, Body::Intact), "cut at {cut}");
        }
    }

    #[test]
    fn a_field_added_above_changes_nothing_and_one_octet_below_does() {
        let message = message();
        assert_eq!(judged(&[b"Received: by x\r\n", &message]), (true, Body::Intact));
        let mut changed = message.clone();
        changed[2_000] ^= 1;
        assert_eq!(judged(&[&changed]), (true, Body::Changed));
        assert_eq!(judged(&[&message[..2_000]]), (true, Body::Changed));
        assert_eq!(judged(&[&message, b"\r\n"]), (true, Body::Changed));
    }

    #[test]
    fn signatures_are_counted_in_the_header_alone() {
        let message = message();
        for (above, count) in [("", 0), ("DKIM-Signature: a\r\n\tb\r\nDKIM-Signature: c\r\n", 2)] {
            let mut content = Content::default();
            content.begin(false);
            let after = b"X-DKIM-Signature: no\r\n";
            let below = b"DKIM-Signature: no\r\n";
            for piece in [above.as_bytes(), after, &message, below] {
                content.take(piece, &Filler::new(0));
            }
            assert_eq!(content.signatures, count);
        }
    }

    #[test]
    fn mail_of_others_is_unknown() {
        assert_eq!(
            judged(&[b"Subject: hi\r\n\r\nX-Load-Id: abcdefgh-00000001\r\n"]).1,
            Body::Unknown
        );
        assert_eq!(judged(&[&vec![b'x'; 100_000]]).1, Body::Unknown);
        assert_eq!(judged(&[]).1, Body::Unknown);
    }
}
