//! Cut content into header fields and body, and join it again.
//!
//! Invariant: `join` of what `split` made is the content, octet by octet.

use crate::base::limits::RECORD_CONTENT_MAX;
use crate::milter::{Body, Field, Letter};

/// Cut `pieces` of content, each at most `RECORD_CONTENT_MAX` octets, into fields, whether an empty
/// line follows them, and the rest. The first `header_bytes` are the header section, as
/// `ContentScan` saw it.
pub fn split(pieces: Vec<Vec<u8>>, header_bytes: u64) -> (Vec<Field>, bool, Body) {
    let mut left = usize::try_from(header_bytes).unwrap_or(usize::MAX);
    let mut header = Vec::new();
    let mut behind = Vec::new();
    for mut piece in pieces {
        let taken = left.min(piece.len());
        header.extend(piece.drain(..taken));
        left -= taken;
        behind.push(piece);
    }
    let (fields, has_empty_line, used) = read_fields(&header);
    let mut body = Body::default();
    body.append(&header[used..]);
    behind.into_iter().for_each(|piece| body.push(piece));
    (fields, has_empty_line, body)
}

/// The fields at the start of `header`, whether an empty line follows, and where that ends. A line
/// that is no field ends them too.
fn read_fields(header: &[u8]) -> (Vec<Field>, bool, usize) {
    let mut fields = Vec::new();
    let mut at = 0;
    loop {
        let rest = &header[at..];
        if rest.starts_with(b"\r\n") {
            return (fields, true, at + 2);
        }
        let Some(field) = field_length(rest).and_then(|end| Field::new(rest[..end].to_vec()))
        else {
            return (fields, false, at);
        };
        at += field.as_bytes().len();
        fields.push(field);
    }
}

/// Octets of the first line and of those that continue it.
fn field_length(text: &[u8]) -> Option<usize> {
    let mut end = 0;
    loop {
        end += memchr::memchr(b'\n', &text[end..])? + 1;
        if !matches!(text.get(end), Some(b' ' | b'\t')) {
            return Some(end);
        }
    }
}

/// The content of `letter`, in pieces of at most `RECORD_CONTENT_MAX` octets.
pub fn join(letter: Letter) -> Vec<Vec<u8>> {
    let Letter { fields, has_empty_line, body, .. } = letter;
    let mut header = Body::default();
    fields.iter().for_each(|field| header.append(field.as_bytes()));
    if has_empty_line {
        header.append(b"\r\n");
    }
    let mut pieces = header.into_pieces();
    let mut behind = body.into_pieces().into_iter();
    if let Some(first) = behind.next() {
        match pieces.last_mut() {
            // One record instead of two, for all but large messages.
            Some(last) if last.len() + first.len() <= RECORD_CONTENT_MAX => last.extend(first),
            Some(_) | None => pieces.push(first),
        }
    }
    pieces.extend(behind);
    pieces
}
