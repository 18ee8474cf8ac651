//! What the source says: text of its own making, or the operator's letters from a folder.
//!
//! A letter is sent as it is, behind three fields: its id, how long its body is, and what that adds
//! up to, by which the sink tells whether an octet changed. Unit: octets before dot-stuffing unless
//! a name says `stuffed`.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use xxhash_rust::xxh3::xxh3_64;

use crate::message::{BODY_FIELD, Filler, ID_FIELD, RunTag, SUM_FIELD, Template};

/// Octets of all letters together.
const CORPUS_MAX: usize = 1 << 30;

/// Where messages come from.
#[derive(Debug)]
pub(super) enum Texts {
    /// Made by the number of each.
    Made(Filler, Template),
    /// Letters of a folder, each in turn.
    Corpus(Vec<Letter>, RunTag),
}

/// A letter, less its last CR LF.
#[derive(Debug)]
pub(super) struct Letter {
    plain: Vec<u8>,
    stuffed: Vec<u8>,
    /// Octets of its body, the last CR LF included, and their sum.
    body: usize,
    sum: u64,
}

impl Texts {
    /// All files of `folder` that end in `.eml`, in the order of their names.
    ///
    /// Errors: there is none, or one that is no message of ASCII text with header and body.
    pub(super) fn from_folder(folder: &Path, tag: RunTag) -> Result<Self> {
        let entries = std::fs::read_dir(folder);
        let entries = entries.with_context(|| format!("reading {}", folder.display()))?;
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|end| end == "eml"));
        paths.sort();
        let mut letters = Vec::new();
        let mut octets = 0;
        for path in &paths {
            let text =
                std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
            let letter = Letter::new(&text).with_context(|| path.display().to_string())?;
            octets += letter.plain.len() + letter.stuffed.len();
            if octets > CORPUS_MAX {
                bail!("{} holds more than {CORPUS_MAX} octets", folder.display());
            }
            letters.push(letter);
        }
        if letters.is_empty() {
            bail!("{} holds no file that ends in .eml", folder.display());
        }
        Ok(Self::Corpus(letters, tag))
    }

    /// The id of message `number`.
    pub(super) fn tag(&self) -> RunTag {
        match self {
            Self::Made(_, template) => template.tag,
            Self::Corpus(_, tag) => *tag,
        }
    }

    /// Append the beginning of message `number` to `out`; what is returned names the rest of it,
    /// which is `plain` or `stuffed` of that name, and CR LF.
    pub(super) fn head(&self, number: u32, to: &[u8], size: usize, out: &mut Vec<u8>) -> usize {
        match self {
            Self::Made(_, template) => template.head(number, to, size, out),
            Self::Corpus(letters, tag) => {
                let place = number as usize % letters.len();
                let Letter { body, sum, .. } = &letters[place];
                out.extend_from_slice(ID_FIELD);
                out.extend_from_slice(&tag.id(number));
                out.extend_from_slice(b"\r\n");
                out.extend_from_slice(BODY_FIELD);
                write!(out, "{body}\r\n").expect("memory takes every write");
                out.extend_from_slice(SUM_FIELD);
                write!(out, "{sum:016x}\r\n").expect("memory takes every write");
                place
            }
        }
    }

    /// The rest of a message.
    pub(super) fn plain(&self, name: usize) -> &[u8] {
        match self {
            Self::Made(filler, _) => filler.plain(name),
            Self::Corpus(letters, _) => &letters[name].plain,
        }
    }

    /// The same as it goes behind DATA.
    pub(super) fn stuffed(&self, name: usize) -> &[u8] {
        match self {
            Self::Made(filler, _) => filler.stuffed(name),
            Self::Corpus(letters, _) => &letters[name].stuffed,
        }
    }
}

impl Letter {
    fn new(text: &[u8]) -> Result<Self> {
        if !text.is_ascii() || text.contains(&0) {
            bail!("octets above 127 and NUL cannot be sent as they are: encode them");
        }
        let lines = text.split(|octet| *octet == b'\n');
        let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let mut lines: Vec<&[u8]> = lines.collect();
        // What stands behind the last line end is no line.
        if lines.last() == Some(&&b""[..]) {
            lines.pop();
        }
        if lines.iter().any(|line| line.contains(&b'\r')) {
            bail!("a CR without LF");
        }
        let blank = lines.iter().position(|line| line.is_empty());
        let Some(blank) = blank.filter(|blank| *blank > 0 && blank + 1 < lines.len()) else {
            bail!("a message has a header, an empty line and a body");
        };
        let plain = lines.join(&b"\r\n"[..]);
        let stuff = |line: &&[u8]| {
            if line.starts_with(b".") { [b".", *line].concat() } else { line.to_vec() }
        };
        let stuffed = lines.iter().map(stuff).collect::<Vec<_>>().join(&b"\r\n"[..]);
        let body = [&lines[blank + 1..].join(&b"\r\n"[..]), &b"\r\n"[..]].concat();
        Ok(Self { plain, stuffed, body: body.len(), sum: xxh3_64(&body) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::{Judged, judged};

    #[test]
    fn letters_of_a_folder_go_out_in_turn_and_are_told_from_changed_ones() {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("b.eml", "Subject: b\n\nhi\n.dot\n");
        write("a.eml", "Subject: a\r\nTo: x\r\n\r\n..\r\nno end");
        write("notes.txt", "no letter");
        let tag = RunTag::from_seed(1);
        let texts = Texts::from_folder(folder.path(), tag).unwrap();
        for (number, rest, stuffed) in [
            (0, &b"Subject: a\r\nTo: x\r\n\r\n..\r\nno end"[..], &b"...\r\nno end"[..]),
            (1, b"Subject: b\r\n\r\nhi\r\n.dot", b"hi\r\n..dot"),
            (2, b"Subject: a\r\nTo: x\r\n\r\n..\r\nno end", b"...\r\nno end"),
        ] {
            let mut message = Vec::new();
            let name = texts.head(number, b"x@y.example", 0, &mut message);
            assert_eq!(texts.plain(name), rest);
            assert!(texts.stuffed(name).ends_with(stuffed));
            message.extend_from_slice(texts.plain(name));
            message.extend_from_slice(b"\r\n");
            for cut in [0, 20, message.len() - 5, message.len()] {
                let pieces = [&b"Received: by x\r\n"[..], &message[..cut], &message[cut..]];
                assert_eq!(
                    judged(&pieces),
                    (Some(tag.id(number)), Judged::Intact),
                    "{number}, {cut}"
                );
            }
            let last = message.len() - 4;
            message[last] ^= 1;
            assert_eq!(judged(&[&message]).1, Judged::Changed);
            assert_eq!(judged(&[&message[..last]]).1, Judged::Changed);
        }
    }

    #[test]
    fn what_is_no_letter_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let tag = RunTag::from_seed(1);
        let refused = |text: &[u8]| {
            std::fs::write(folder.path().join("x.eml"), text).unwrap();
            format!("{:#}", Texts::from_folder(folder.path(), tag).unwrap_err())
        };
        for (text, words) in [
            (&b"Subject: x\r\n"[..], "a header, an empty line and a body"),
            (b"\r\nbody\r\n", "a header, an empty line and a body"),
            (b"Subject: x\r\n\r\n\xff\r\n", "above 127"),
            (b"Subject: x\r\n\r\na\rb\r\n", "a CR without LF"),
        ] {
            let error = refused(text);
            assert!(error.contains(words) && error.contains("x.eml"), "{error}");
        }
        std::fs::remove_file(folder.path().join("x.eml")).unwrap();
        let none = format!("{:#}", Texts::from_folder(folder.path(), tag).unwrap_err());
        assert!(none.contains("holds no file"), "{none}");
    }
}
