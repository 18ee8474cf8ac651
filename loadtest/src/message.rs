//! What a load message looks like: its id, its header, and a body that the sink can check octet by
//! octet without having been told.
//!
//! The body is one line with the id, then a prefix of the filler, then CR LF. The filler repeats
//! every 64,896 octets (no power of two, so that a block of a file or a page in the wrong place
//! shows), and every sixteenth line starts with a dot, so that transparency (RFC 5321 §4.5.2) is
//! exercised by each message. Units: octets before dot-stuffing unless a name says `stuffed`.

use std::io::Write;

use crate::dice::Dice;

/// Octets of an id: a run's tag, a dash, and the message's number.
pub(crate) const ID_LEN: usize = TAG_LEN + 1 + 8;
/// Octets of a run's tag.
pub(crate) const TAG_LEN: usize = 8;
/// Header field that carries the id, as it stands in the header.
pub(crate) const ID_FIELD: &[u8] = b"X-Load-Id: ";
/// Header field that carries the length of the body.
pub(crate) const BODY_FIELD: &[u8] = b"X-Load-Body: ";
/// Header field with the XXH3 sum of the body in hexadecimal, where that is not of our making.
pub(crate) const SUM_FIELD: &[u8] = b"X-Load-Sum: ";
/// Octets of the id's line in the body.
const ID_LINE: usize = ID_LEN + 2;
/// Shortest body: the id's line and the last CR LF.
pub(crate) const BODY_MIN: usize = ID_LINE + 2;

const LINE: usize = 78;
const LINES: usize = 832;
const PERIOD: usize = LINE * LINES;
/// Every so many lines one starts with a dot, the first of them at `DOT_FIRST`.
const DOT_EVERY: usize = 16;
const DOT_FIRST: usize = 5;
const _: () = assert!(LINES.is_multiple_of(DOT_EVERY), "the dots must repeat with the filler");

/// Tag of a run: what tells its messages from those of another run in the same files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunTag([u8; TAG_LEN]);

impl RunTag {
    /// A tag from a seed, of lower-case letters and digits.
    pub(crate) fn from_seed(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        Self(std::array::from_fn(|_| b"abcdefghjkmnpqrstuvwxyz23456789"[index(&mut dice, 31)]))
    }

    /// The id of message `number`.
    pub(crate) fn id(self, number: u32) -> [u8; ID_LEN] {
        let mut id = [b'-'; ID_LEN];
        id[..TAG_LEN].copy_from_slice(&self.0);
        let mut left = number;
        for digit in id[TAG_LEN + 1..].iter_mut().rev() {
            *digit = b'0' + u8::try_from(left % 10).expect("one digit");
            left /= 10;
        }
        id
    }
}

/// The number in an id, or nothing if the text is no id.
pub(crate) fn number_of(id: &[u8]) -> Option<u32> {
    let digits = id.strip_prefix(id.get(..TAG_LEN)?)?.strip_prefix(b"-")?;
    if digits.len() != ID_LEN - TAG_LEN - 1 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The text that bodies are cut from, plain and as it goes over the wire after DATA.
#[derive(Debug)]
pub(crate) struct Filler {
    plain: Vec<u8>,
    stuffed: Vec<u8>,
}

impl Filler {
    /// Enough filler for bodies of `body_max` octets, and at least one period.
    pub(crate) fn new(body_max: usize) -> Self {
        let period = one_period();
        let periods = body_max.div_ceil(PERIOD).max(1);
        let plain = period.repeat(periods);
        let mut stuffed = Vec::with_capacity(plain.len() + dots_before(plain.len()));
        for line in plain.chunks(LINE) {
            if line.starts_with(b".") {
                stuffed.push(b'.');
            }
            stuffed.extend_from_slice(line);
        }
        Self { plain, stuffed }
    }

    /// The filler of a body of `body` octets, as it is.
    pub(crate) fn plain(&self, body: usize) -> &[u8] {
        &self.plain[..filler_len(body)]
    }

    /// The filler of a body of `body` octets, dot-stuffed.
    pub(crate) fn stuffed(&self, body: usize) -> &[u8] {
        let length = filler_len(body);
        &self.stuffed[..length + dots_before(length)]
    }

    /// Whether `piece` is what a body holds from `offset` on, where `body` is its length.
    pub(crate) fn matches(
        &self,
        id: &[u8; ID_LEN],
        body: usize,
        offset: usize,
        piece: &[u8],
    ) -> bool {
        let (mut at, mut left) = (offset, piece);
        while let Some(&first) = left.first() {
            let end_of_filler = body - 2;
            if at >= body {
                return false;
            } else if at >= end_of_filler {
                if first != b"\r\n"[at - end_of_filler] {
                    return false;
                }
                (at, left) = (at + 1, &left[1..]);
            } else if at < ID_LINE {
                if first != *id.get(at).unwrap_or(&b"\r\n"[at.saturating_sub(ID_LEN)]) {
                    return false;
                }
                (at, left) = (at + 1, &left[1..]);
            } else {
                let from = (at - ID_LINE) % PERIOD;
                let length = left.len().min(end_of_filler - at).min(PERIOD - from);
                if left[..length] != self.plain[from..from + length] {
                    return false;
                }
                (at, left) = (at + length, &left[length..]);
            }
        }
        true
    }
}

/// Parts of a message that do not change within a run.
#[derive(Debug)]
pub(crate) struct Template {
    pub(crate) from: String,
    pub(crate) date: String,
    pub(crate) tag: RunTag,
}

impl Template {
    /// Appends header and the id's line to `out`; returns the length of the whole body, which is
    /// that line, `Filler::plain` or `Filler::stuffed` of that length, and CR LF.
    ///
    /// Header and body make `size` octets, or the shortest that is possible; one less where the
    /// filler would end between CR and LF.
    pub(crate) fn head(&self, number: u32, to: &[u8], size: usize, out: &mut Vec<u8>) -> usize {
        let start = out.len();
        let id = self.tag.id(number);
        out.extend_from_slice(b"From: <");
        out.extend_from_slice(self.from.as_bytes());
        out.extend_from_slice(b">\r\nTo: <");
        out.extend_from_slice(to);
        out.extend_from_slice(b">\r\nSubject: load ");
        out.extend_from_slice(&id);
        out.extend_from_slice(b"\r\nDate: ");
        out.extend_from_slice(self.date.as_bytes());
        out.extend_from_slice(b"\r\nMessage-ID: <");
        out.extend_from_slice(&id);
        out.extend_from_slice(b"@load.example>\r\n");
        out.extend_from_slice(ID_FIELD);
        out.extend_from_slice(&id);
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(BODY_FIELD);
        let header = out.len() - start + 10 + 4;
        let mut body = size.saturating_sub(header).max(BODY_MIN);
        if (body - BODY_MIN) % LINE == LINE - 1 {
            body -= 1;
        }
        write!(out, "{body:010}\r\n\r\n").expect("memory takes every write");
        out.extend_from_slice(&id);
        out.extend_from_slice(b"\r\n");
        body
    }
}

fn filler_len(body: usize) -> usize {
    body - BODY_MIN
}

/// Lines that start with a dot among the first `length` octets of the filler.
fn dots_before(length: usize) -> usize {
    let first = DOT_FIRST * LINE;
    if length <= first { 0 } else { (length - first - 1) / (DOT_EVERY * LINE) + 1 }
}

fn one_period() -> Vec<u8> {
    let mut dice = Dice::new(0x5EED);
    let mut period = Vec::with_capacity(PERIOD);
    for line in 0..LINES {
        let dotted = line % DOT_EVERY == DOT_FIRST;
        for column in 0..LINE - 2 {
            period.push(match column {
                0 if dotted => b'.',
                _ => b"abcdefghijklmnopqrstuvwxyz 0123456789"[index(&mut dice, 37)],
            });
        }
        period.extend_from_slice(b"\r\n");
    }
    period
}

fn index(dice: &mut Dice, count: u64) -> usize {
    usize::try_from(dice.roll() % count).expect("a small number")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template() -> Template {
        Template {
            from: "a@load.example".into(),
            date: "Mon, 01 Jan 2024 00:00:00 +0000".into(),
            tag: RunTag::from_seed(1),
        }
    }

    fn whole(size: usize, filler: &Filler) -> (Vec<u8>, usize) {
        let mut out = Vec::new();
        let body = template().head(7, b"u@d.example", size, &mut out);
        out.extend_from_slice(filler.plain(body));
        out.extend_from_slice(b"\r\n");
        (out, body)
    }

    #[test]
    fn ids_hold_their_number() {
        let tag = RunTag::from_seed(3);
        assert_eq!(number_of(&tag.id(12_345)), Some(12_345));
        assert_eq!(number_of(b"short"), None);
        assert_eq!(number_of(b"abcdefgh-1234567x"), None);
        assert_ne!(tag, RunTag::from_seed(4));
    }

    #[test]
    fn a_message_has_the_size_asked_for_and_no_bare_cr() {
        let filler = Filler::new(70_000);
        for size in (400..2_000).chain([10_240, 65_536, 70_000]) {
            let (message, body) = whole(size, &filler);
            assert!(message.len() == size || message.len() + 1 == size, "{size}");
            let header = memchr::memmem::find(&message, b"\r\n\r\n").unwrap() + 4;
            assert_eq!(message.len() - header, body);
            let returns = message.iter().filter(|&&octet| octet == b'\r').count();
            let pairs = memchr::memmem::find_iter(&message, b"\r\n").count();
            assert_eq!(returns, pairs, "size {size}");
        }
    }

    #[test]
    fn stuffed_filler_loses_exactly_its_dots() {
        let filler = Filler::new(200_000);
        for body in [BODY_MIN, 300, 411, 412, 413, 5_000, 64_900, 150_000] {
            let mut unstuffed = Vec::new();
            let mut at_start = true;
            for &octet in filler.stuffed(body) {
                if !(at_start && octet == b'.') {
                    unstuffed.push(octet);
                    at_start = octet == b'\n';
                } else {
                    at_start = false;
                }
            }
            assert_eq!(unstuffed, filler.plain(body), "body {body}");
        }
    }

    #[test]
    fn a_body_matches_itself_in_any_pieces_and_nothing_else() {
        let filler = Filler::new(140_000);
        let id = RunTag::from_seed(1).id(7);
        let (message, body) = whole(140_000, &filler);
        let text = message[message.len() - body..].to_vec();
        let small = Filler::new(0);
        for step in [1, 7, 4_096, 140_000] {
            for (piece, offset) in text.chunks(step).zip((0..).step_by(step)) {
                assert!(small.matches(&id, body, offset, piece), "{offset}");
            }
        }
        for at in [0, 18, 19, 500, 100_000, body - 2, body - 1] {
            let mut changed = text.clone();
            changed[at] ^= 1;
            assert!(!small.matches(&id, body, 0, &changed), "{at}");
        }
        assert!(!small.matches(&id, body, 0, &[&text[..], b"x"].concat()));
    }
}
