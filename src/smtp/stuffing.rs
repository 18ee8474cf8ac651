//! Write content as DATA carries it: dots doubled, an end that nothing else looks like.
//!
//! In: content, in windows of any size. Out: the same with every line that starts with a dot given
//! one more (RFC 5321 §4.5.2), and CR LF "." CR LF at the end. Invariant: what goes out holds no CR
//! and no LF but in pairs, whatever comes in, so that no peer can see an end of data that we do not
//! (SMTP smuggling). Content of ours is canonical already; a stray CR or LF becomes CR LF.

use memchr::memmem;

/// Where in a line the content stands; one for each transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stuffing {
    last: Last,
}

/// What the last octet was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    /// LF, or there was none: a line starts.
    LineEnd,
    /// CR, written as CR LF already: an LF that follows belongs to it.
    Return,
    /// Any other.
    Other,
}

impl Default for Stuffing {
    fn default() -> Self {
        Self { last: Last::LineEnd }
    }
}

impl Stuffing {
    /// Append `content`, stuffed, to `into`.
    pub fn push(&mut self, content: &[u8], into: &mut Vec<u8>) {
        let mut rest = content;
        // At the start of a line, and amid its end, what comes first needs a look of its own.
        while self.last != Last::Other
            && let [octet, behind @ ..] = rest
        {
            self.push_octet(*octet, into);
            rest = behind;
        }
        // Whether a CR at the end is a stray, the next window tells.
        let end = rest.len() - usize::from(rest.ends_with(b"\r"));
        if is_canonical(&rest[..end]) {
            self.push_canonical(&rest[..end], into);
            rest = &rest[end..];
        }
        rest.iter().for_each(|octet| self.push_octet(*octet, into));
    }

    /// Append the end of data to `into`, with CR LF before it if the content did not end with one.
    pub fn finish(self, into: &mut Vec<u8>) {
        let end: &[u8] = match self.last {
            Last::LineEnd | Last::Return => b".\r\n",
            Last::Other => b"\r\n.\r\n",
        };
        into.extend_from_slice(end);
    }

    /// `content` is canonical, and stands amid a line.
    fn push_canonical(&mut self, content: &[u8], into: &mut Vec<u8>) {
        into.reserve(content.len() + 16);
        let mut start = 0;
        for at in memmem::find_iter(content, b"\n.") {
            into.extend_from_slice(&content[start..=at]);
            into.push(b'.');
            start = at + 1;
        }
        into.extend_from_slice(&content[start..]);
        match content.last() {
            Some(b'\n') => self.last = Last::LineEnd,
            Some(_) => self.last = Last::Other,
            None => {}
        }
    }

    fn push_octet(&mut self, octet: u8, into: &mut Vec<u8>) {
        match (self.last, octet) {
            (Last::Return, b'\n') => self.last = Last::LineEnd,
            (_, b'\r') => {
                into.extend_from_slice(b"\r\n");
                self.last = Last::Return;
            }
            (_, b'\n') => {
                into.extend_from_slice(b"\r\n");
                self.last = Last::LineEnd;
            }
            (Last::LineEnd | Last::Return, b'.') => {
                into.extend_from_slice(b"..");
                self.last = Last::Other;
            }
            (_, octet) => {
                into.push(octet);
                self.last = Last::Other;
            }
        }
    }
}

/// Whether CR and LF come in pairs only. Written so that the compiler makes vector code of it: an
/// octet for each pair of neighbours, and no branch among them.
pub(super) fn is_canonical(content: &[u8]) -> bool {
    let starts_well = content.first() != Some(&b'\n');
    let ends_well = content.last() != Some(&b'\r');
    let behind = content.get(1..).unwrap_or(&[]);
    let stray = |(a, b): (&u8, &u8)| u8::from((*a == b'\r') != (*b == b'\n'));
    let strays = content.iter().zip(behind).map(stray).fold(0, |any, stray| any | stray);
    starts_well && ends_well && strays == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stuff(windows: &[&[u8]]) -> Vec<u8> {
        let (mut stuffing, mut out) = (Stuffing::default(), Vec::new());
        windows.iter().for_each(|window| stuffing.push(window, &mut out));
        stuffing.finish(&mut out);
        out
    }

    /// What a receiver makes of it: unstuffed content, once the end of data is found, and only
    /// then.
    fn receive(wire: &[u8]) -> Vec<u8> {
        let mut content = Vec::new();
        let mut rest = wire;
        while let Some(end) = memmem::find(rest, b"\r\n") {
            let (line, behind) = rest.split_at(end + 2);
            rest = behind;
            if line == b".\r\n" {
                assert!(rest.is_empty(), "an end of data in the middle: {wire:?}");
                return content;
            }
            content.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        }
        panic!("no end of data: {wire:?}");
    }

    /// Content as it must arrive: stray CR and LF made line ends, the last line ended.
    fn canonical(content: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut octets = content.iter().copied().peekable();
        while let Some(octet) = octets.next() {
            match octet {
                b'\r' => {
                    octets.next_if_eq(&b'\n');
                    out.extend_from_slice(b"\r\n");
                }
                b'\n' => out.extend_from_slice(b"\r\n"),
                octet => out.push(octet),
            }
        }
        if !out.is_empty() && !out.ends_with(b"\r\n") {
            out.extend_from_slice(b"\r\n");
        }
        out
    }

    //= RFC 5321 §4.5.2, type=test
    //# Before sending a line of mail text, the SMTP client checks the first character of the line.
    //# If it is a period, one additional period is inserted at the beginning of the line.
    #[test]
    fn a_dot_that_starts_a_line_is_doubled() {
        assert_eq!(stuff(&[b".\r\n..\r\na.b\r\n.c\r\n"]), b"..\r\n...\r\na.b\r\n..c\r\n.\r\n");
    }

    //= RFC 5321 §4.1.1.4, type=test
    //# the extra <CRLF> … would … end the data … if the mail data did not end with <CRLF>, the
    //# client … MUST add … <CRLF> before the "."
    #[test]
    fn the_end_stands_on_a_line_of_its_own() {
        assert_eq!(stuff(&[]), b".\r\n");
        assert_eq!(stuff(&[b"a"]), b"a\r\n.\r\n");
        assert_eq!(stuff(&[b"a\r\n"]), b"a\r\n.\r\n");
        assert_eq!(stuff(&[b"a\r"]), b"a\r\n.\r\n");
    }

    //= RFC 5321 §2.3.8, type=test
    //# SMTP client implementations MUST NOT transmit "bare" "CR" or "LF" characters
    #[test]
    fn no_stray_line_end_leaves() {
        for smuggled in [&b"a\n.\nb"[..], b"a\r.\rb", b"a\n.\r\nb", b"a\r\n.\rb", b"a\r\r\n.\r\nb"]
        {
            let wire = stuff(&[smuggled]);
            assert!(is_canonical(&wire), "{wire:?}");
            assert_eq!(receive(&wire), canonical(smuggled));
        }
    }

    #[test]
    fn every_split_of_every_arrangement_arrives() {
        const OCTETS: [u8; 4] = [b'\r', b'\n', b'.', b'x'];
        for number in 0..4usize.pow(7) {
            let content: Vec<u8> = (0..7).map(|place| OCTETS[number >> (2 * place) & 3]).collect();
            let whole = stuff(&[&content]);
            assert!(is_canonical(&whole), "{content:?}");
            assert_eq!(receive(&whole), canonical(&content), "{content:?}");
            for cut in 0..=content.len() {
                let (head, tail) = content.split_at(cut);
                assert_eq!(stuff(&[head, tail]), whole, "{content:?} cut at {cut}");
            }
        }
    }

    proptest! {
        #[test]
        fn long_content_arrives_in_windows_of_any_size(
            lines in proptest::collection::vec("[.a-c\r\n]{0,9}", 0..60),
            window in 1usize..70,
            clean in any::<bool>(),
        ) {
            let content = lines.join("\r\n").into_bytes();
            let content = if clean { canonical(&content) } else { content };
            let windows: Vec<&[u8]> = content.chunks(window).collect();
            prop_assert_eq!(receive(&stuff(&windows)), canonical(&content));
        }
    }
}
