//! Hash a body in its simple or relaxed form (RFC 6376 §3.4.3, §3.4.4) while it comes.
//!
//! In: the body in pieces cut anywhere. Out: the SHA-256 of its form. Invariant: the hash
//! is the same wherever the pieces are cut; memory is one block, whatever comes.
//! Unit: octets. Lives on: the home shard, one a transaction.
//!
//! A stretch that is its own relaxed form, as most of most mail is, is hashed where it lies. Of the
//! rest (runs of blanks, tabs, blanks at the ends of lines) the relaxed form is written to a block.

use aws_lc_rs::digest::{Context, Digest, SHA256};
use memchr::memchr;

use crate::base::limits::CANONICAL_BLOCK;

/// What may change on the way, and is taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Empty lines at the end.
    Simple,
    /// And runs of blanks, and blanks at the ends of lines.
    Relaxed,
}

/// Hashes a body as it comes.
#[derive(Clone)]
pub struct BodyHash {
    form: Form,
    hash: Context,
    /// Relaxed, and not hashed yet.
    block: Vec<u8>,
    /// Line ends since the last octet that was passed on: a body's last ones do not count.
    line_ends: u64,
    /// Blanks since then, on the present line.
    blanks: bool,
    /// The last octet is a CR that may begin a line end.
    cr: bool,
    /// Something but line ends and blanks has come.
    any: bool,
}

impl std::fmt::Debug for BodyHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BodyHash({:?})", self.form)
    }
}

impl BodyHash {
    /// Of a body of which nothing has come.
    pub fn new(form: Form) -> Self {
        Self {
            form,
            hash: Context::new(&SHA256),
            block: Vec::new(),
            line_ends: 0,
            blanks: false,
            cr: false,
            any: false,
        }
    }

    /// Take the next piece.
    pub fn push(&mut self, bytes: &[u8]) {
        for stretch in bytes.chunks(CANONICAL_BLOCK) {
            self.push_stretch(stretch);
        }
    }

    /// The hash of all that came.
    pub fn finish(mut self) -> Digest {
        if self.cr {
            self.pass(b'\r');
        }
        // Blanks at the end of a line, and empty lines at the end of the body, do not count; what
        // is left of a body ends with one CRLF.
        //= RFC 6376 §3.4.3
        //# If there is no body or no trailing CRLF on the message body, a CRLF is added.
        if self.any || self.form == Form::Simple {
            self.block.extend_from_slice(b"\r\n");
        }
        self.flush();
        self.hash.finish()
    }

    fn push_stretch(&mut self, stretch: &[u8]) {
        // Blanks and line ends at its end may turn out not to count.
        let end = text_of(stretch).len();
        let start = stretch[..end].iter().position(|octet| !is_open(octet)).unwrap_or(end);
        let inside = &stretch[start..end];
        self.step_through(&stretch[..start]);
        if self.cr || (self.form == Form::Relaxed && !is_relaxed(inside)) {
            self.step_through(inside);
        } else if !inside.is_empty() {
            self.before_octet();
            self.flush();
            self.hash.update(inside);
        }
        self.step_through(&stretch[end..]);
    }

    /// What has to be looked at, line by line; of most lines, only their beginning.
    fn step_through(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(octet) = rest.first() {
            if self.cr || is_open(octet) {
                self.step(*octet);
                rest = &rest[1..];
                continue;
            }
            let line = memchr(b'\r', rest).map_or(rest, |end| &rest[..end]);
            let text = text_of(line);
            if self.form == Form::Simple || is_relaxed(text) {
                self.before_octet();
                self.block.extend_from_slice(text);
            } else {
                text.iter().for_each(|octet| self.step(*octet));
            }
            rest = &rest[text.len()..];
        }
        if self.block.len() >= CANONICAL_BLOCK {
            self.flush();
        }
    }

    fn step(&mut self, octet: u8) {
        if std::mem::take(&mut self.cr) {
            if octet == b'\n' {
                self.blanks = false;
                self.line_ends += 1;
                return;
            }
            self.pass(b'\r');
        }
        match octet {
            b' ' | b'\t' if self.form == Form::Relaxed => self.blanks = true,
            b'\r' => self.cr = true,
            _ => self.pass(octet),
        }
    }

    /// Pass on an octet that counts.
    fn pass(&mut self, octet: u8) {
        if self.line_ends > 0 || self.blanks || !self.any {
            self.before_octet();
        }
        self.block.push(octet);
    }

    /// Pass on what was kept back, since an octet that counts follows it.
    fn before_octet(&mut self) {
        self.any = true;
        while self.line_ends > 0 {
            self.line_ends -= 1;
            self.block.extend_from_slice(b"\r\n");
            if self.block.len() >= CANONICAL_BLOCK {
                self.flush();
            }
        }
        if std::mem::take(&mut self.blanks) {
            self.block.push(b' ');
        }
    }

    fn flush(&mut self) {
        if !self.block.is_empty() {
            self.hash.update(&self.block);
            self.block.clear();
        }
    }
}

/// Whether an octet may turn out not to count.
fn is_open(octet: &u8) -> bool {
    matches!(octet, b' ' | b'\t' | b'\r' | b'\n')
}

/// Up to the last octet that counts.
fn text_of(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|octet| !is_open(octet)).map_or(0, |last| last + 1);
    &bytes[..end]
}

/// Whether a stretch that neither begins nor ends with a blank or a line end is its own relaxed
/// form: no tab, no blank before another or before a CR. Without early exit, so that the compiler
/// can look at many octets at a time.
fn is_relaxed(stretch: &[u8]) -> bool {
    let pairs = stretch.iter().zip(stretch.iter().skip(1));
    let is_altered = |(first, second): (&u8, &u8)| {
        (*first == b'\t') | ((*first == b' ') & ((*second == b' ') | (*second == b'\r')))
    };
    !pairs.fold(false, |any, pair| any | is_altered(pair))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::digest::digest;
    use proptest::prelude::*;

    fn hash_of(pieces: &[&[u8]]) -> Vec<u8> {
        hash_in(Form::Relaxed, pieces)
    }

    fn hash_in(form: Form, pieces: &[&[u8]]) -> Vec<u8> {
        let mut hash = BodyHash::new(form);
        pieces.iter().for_each(|piece| hash.push(piece));
        hash.finish().as_ref().to_vec()
    }

    fn sha256(text: &[u8]) -> Vec<u8> {
        digest(&SHA256, text).as_ref().to_vec()
    }

    /// The relaxed form by the words of the RFC, a line at a time.
    fn relaxed(body: &[u8]) -> Vec<u8> {
        let mut lines = vec![Vec::new()];
        let mut rest = body;
        while let Some((first, after)) = rest.split_first() {
            let line = lines.last_mut().unwrap();
            rest = after;
            match first {
                b'\r' if rest.first() == Some(&b'\n') => {
                    rest = &rest[1..];
                    lines.push(Vec::new());
                }
                b' ' | b'\t' if line.last() == Some(&b' ') => {}
                b' ' | b'\t' => line.push(b' '),
                other => line.push(*other),
            }
        }
        let trimmed = lines.iter_mut().map(|line| line.strip_suffix(b" ").unwrap_or(line));
        let mut lines: Vec<&[u8]> = trimmed.collect();
        while lines.last().is_some_and(|line| line.is_empty()) {
            lines.pop();
        }
        lines.iter().flat_map(|line| [line, &b"\r\n"[..]].concat()).collect()
    }

    //= RFC 6376 §3.4.5, type=test
    //# relaxed: a body of " C \r\nD \t E\r\n\r\n\r\n" becomes " C\r\nD E\r\n"
    #[test]
    fn the_example_of_the_standard() {
        assert_eq!(hash_of(&[b" C \r\nD \t E\r\n\r\n\r\n"]), sha256(b" C\r\nD E\r\n"));
    }

    //= RFC 6376 §3.4.4, type=test
    //# If the body is non-empty but does not end with a CRLF, a CRLF is added; an empty body, and
    //# one of empty lines only, is of no octets at all
    #[test]
    fn ends_of_bodies() {
        for (body, form) in [
            ("", ""),
            ("\r\n", ""),
            (" \t\r\n\r\n ", ""),
            ("a", "a\r\n"),
            ("a \r\n\r\n", "a\r\n"),
            ("\r\n\r\na\r", "\r\n\r\na\r\r\n"),
            ("a\n\r\n", "a\n\r\n"),
        ] {
            assert_eq!(hash_of(&[body.as_bytes()]), sha256(form.as_bytes()), "{body:?}");
            assert_eq!(relaxed(body.as_bytes()), form.as_bytes(), "{body:?}");
        }
    }

    //= RFC 6376 §3.4.5, type=test
    //# simple: the body of the same message becomes " C \r\nD \t E\r\n"
    #[test]
    fn simple_bodies_lose_empty_lines_at_their_end() {
        for (body, form) in [
            (" C \r\nD \t E\r\n\r\n\r\n", " C \r\nD \t E\r\n"),
            ("", "\r\n"),
            ("\r\n\r\n", "\r\n"),
            ("a", "a\r\n"),
            ("\r\na \r\n \r\n\r\n", "\r\na \r\n \r\n"),
        ] {
            for cut in 0..=body.len() {
                let (first, second) = body.as_bytes().split_at(cut);
                let hash = hash_in(Form::Simple, &[first, second]);
                assert_eq!(hash, sha256(form.as_bytes()), "{body:?} {cut}");
            }
        }
    }

    #[test]
    fn long_runs_of_line_ends_cost_one_block() {
        let ends = "\r\n".repeat(100_000);
        let body = format!("a{ends}b{ends}");
        assert_eq!(hash_of(&[body.as_bytes()]), sha256(format!("a{ends}b\r\n").as_bytes()));
    }

    proptest! {
        #[test]
        fn the_same_wherever_the_pieces_are_cut(
            words in proptest::collection::vec(
                proptest::sample::select(vec![" ", "\t", "\r\n", "\r", "\n", "a", "b c", "d  e"]),
                0..60,
            ),
            cuts in proptest::collection::vec(0_usize..300, 0..6),
        ) {
            let body = words.concat().into_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(body.len())).collect();
            cuts.extend([0, body.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|two| &body[two[0]..two[1]]).collect();
            prop_assert_eq!(hash_of(&pieces), sha256(&relaxed(&body)));
        }
    }
}
