//! Cut out of the original message what a DSN returns of it: all, or its header (RFC 3461 §4.3).

use memchr::memmem;

use crate::base::limits::{DSN_ORIGINAL_MAX, MAIL_LINE_MAX};
use crate::mail::envelope::{BodyType, Envelope, Ret, TlsWish};
use crate::outcome::dsn::{Action, DsnRequest};

/// What is returned, in lines that mail can carry.
#[derive(Debug)]
pub(super) struct Returned {
    pub(super) content: Vec<u8>,
    pub(super) is_whole: bool,
    pub(super) has_eight_bit_header: bool,
}

impl Returned {
    /// Its media type (RFC 6522 §3; RFC 6533 §4, §6 for those with a header in UTF-8).
    pub(super) fn kind(&self, utf8: bool) -> &'static str {
        match (self.is_whole, utf8 && self.has_eight_bit_header) {
            (true, false) => "message/rfc822",
            (true, true) => "message/global",
            (false, false) => "text/rfc822-headers",
            (false, true) => "message/global-headers",
        }
    }
}

/// The whole message where the sender asked for it and it can be had, else its header.
pub(super) fn cut(request: &DsnRequest<'_>) -> Returned {
    let original = request.original;
    let header = &original[..header_end(original)];
    let has_eight_bit_header = !header.is_ascii();
    if is_whole_wanted(request) && is_whole_possible(request) {
        return Returned { content: original.to_vec(), is_whole: true, has_eight_bit_header };
    }
    Returned { content: clean_header(header), is_whole: false, has_eight_bit_header }
}

//= RFC 3461 §4.3
//# the RET parameter … applies only to DSNs that indicate delivery failure for at least one
//# recipient
//= RFC 8689 §5
//# If a REQUIRETLS message is bounced, the server MUST behave as if RET=HDRS was present
fn is_whole_wanted(request: &DsnRequest<'_>) -> bool {
    let Envelope { ret, tls, .. } = request.envelope;
    request.action == Action::Failed && *ret == Some(Ret::Full) && *tls != TlsWish::Required
}

fn is_whole_possible(request: &DsnRequest<'_>) -> bool {
    let original = request.original;
    let is_all_here = u64::try_from(original.len()) == Ok(request.original_bytes);
    let is_text = request.envelope.body_type != BodyType::BinaryMime && !original.contains(&0);
    let mut lines = original.split(|octet| *octet == b'\n').peekable();
    is_all_here
        && is_text
        && original.len() <= DSN_ORIGINAL_MAX
        && std::iter::from_fn(|| lines.next().map(|line| (line, lines.peek().is_none())))
            .all(|(line, is_last)| is_proper(line, is_last))
}

/// A line without its LF: it ends with the only CR in it, and is not too long.
fn is_proper(line: &[u8], is_last: bool) -> bool {
    let text = match line.strip_suffix(b"\r") {
        Some(text) => text,
        None if is_last => line,
        None => return false,
    };
    text.len() <= MAIL_LINE_MAX && !text.contains(&b'\r')
}

/// Where the header ends, its last CRLF included; the blank line is not of it.
fn header_end(original: &[u8]) -> usize {
    if original.starts_with(b"\r\n") {
        return 0;
    }
    memmem::find(original, b"\r\n\r\n").map_or(original.len(), |at| at + 2)
}

/// The header in lines that mail can carry, cut at a line's end where it is too long.
fn clean_header(header: &[u8]) -> Vec<u8> {
    let mut clean = Vec::with_capacity(header.len().min(DSN_ORIGINAL_MAX) + 2);
    for line in header.split(|octet| *octet == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if clean.len() + line.len() + 2 > DSN_ORIGINAL_MAX {
            break;
        }
        // An empty line would end the header: it can only be the rest after the last line end.
        if line.is_empty() {
            continue;
        }
        let mut rest = line;
        let mut room = MAIL_LINE_MAX;
        while rest.len() > room {
            let (head, tail) = rest.split_at(room);
            push_line(head, &mut clean);
            clean.push(b' ');
            rest = tail;
            room = MAIL_LINE_MAX - 1;
        }
        push_line(rest, &mut clean);
    }
    clean
}

fn push_line(line: &[u8], clean: &mut Vec<u8>) {
    let shown = line.iter().map(|octet| match octet {
        b'\t' | b' '.. if *octet != 0x7f => *octet,
        _ => b'?',
    });
    clean.extend(shown);
    clean.extend_from_slice(b"\r\n");
}

/// The original's Message-ID, if it is one that can be repeated.
pub(super) fn message_id(original: &[u8]) -> Option<&str> {
    const NAME: &str = "message-id:";
    let header = &original[..header_end(original)];
    let mut lines = header.split(|octet| *octet == b'\n');
    let line = lines.find(|line| {
        line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME.as_bytes()))
    })?;
    let id = std::str::from_utf8(&line[NAME.len()..]).ok()?.trim();
    let inside = id.strip_prefix('<')?.strip_suffix('>')?;
    let is_plain = inside.bytes().all(|octet| octet.is_ascii_graphic());
    (is_plain && !inside.contains(['<', '>']) && id.len() <= 250).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_header_ends_at_the_first_blank_line() {
        assert_eq!(header_end(b"A: b\r\n\r\nbody\r\n\r\nmore"), 6);
        assert_eq!(header_end(b"\r\nbody\r\n\r\n"), 0);
        assert_eq!(header_end(b"A: b\r\nC: d"), 10);
        assert_eq!(clean_header(b"A: b\r\nC: \0d\x7f\te"), b"A: b\r\nC: ?d?\te\r\n");
    }

    #[test]
    fn a_message_id_is_repeated_only_if_it_is_one() {
        assert_eq!(message_id(b"X: y\r\nMessage-Id: <a@b>\r\n\r\n"), Some("<a@b>"));
        for broken in ["<a b@c>", "a@b", "<a@b", "<\u{e9}@b>", "<a@b> <c@d>", ""] {
            let header = format!("message-id: {broken}\r\n\r\n");
            assert_eq!(message_id(header.as_bytes()), None, "{broken}");
        }
        assert_eq!(message_id(b"X: y\r\n\r\nMessage-Id: <a@b>\r\n"), None);
    }

    proptest! {
        #[test]
        fn a_cut_header_is_one_block_of_bounded_lines(
            header in proptest::collection::vec(prop_oneof![
                Just(b'\r'), Just(b'\n'), Just(b'a'), any::<u8>()
            ], 0..300),
            long in 0usize..3000,
        ) {
            let header = [vec![b'x'; long], header].concat();
            let clean = clean_header(&header);
            prop_assert!(memmem::find(&clean, b"\r\n\r\n").is_none());
            prop_assert!(!clean.starts_with(b"\r\n"));
            prop_assert!(clean.is_empty() || clean.ends_with(b"\r\n"));
            for line in clean.split(|octet| *octet == b'\n') {
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                prop_assert!(line.len() <= MAIL_LINE_MAX);
                prop_assert!(!line.contains(&b'\r') && !line.contains(&0));
            }
        }
    }
}
