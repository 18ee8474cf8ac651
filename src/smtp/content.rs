//! Tell end of data from content that merely looks like it.
//!
//! In: octets after 354, or of BDAT's chunks, in pieces of any size. Out: content with dot-stuffing
//! removed, or why it is refused.
//! Invariant: only CR LF "." CR LF ends DATA; of text, nothing but whole CR LF is passed on: a bare
//! CR or LF is refused or becomes CR LF, a NUL is refused. What is refused is still read to its
//! true end. Unit: octets after unstuffing, CRLFs included, without the final dot (RFC 1870 §3).

#[cfg(test)]
mod tests;

use memchr::{memchr, memchr3, memmem, memrchr};

use crate::smtp::stuffing::is_canonical;

/// What to do about a bare CR or LF in content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LineEndings {
    /// Refuse the message.
    #[default]
    Strict,
    /// Make each a CR LF. Dots after it are content as they are: only CR LF begins a stuffed line.
    Normalize,
}

/// Why content is refused. Of several reasons the one counts that stands last here, wherever in the
/// content each of them is: which is seen first depends on how the octets come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A line over its limit.
    LineTooLong,
    /// A bare CR or LF.
    BareLineEnding,
    /// A NUL.
    Nul,
    /// More octets than a message may have.
    TooBig,
}

/// How the end of content is told, and what its octets mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// DATA: text with dot-stuffing, up to the final dot.
    Dot,
    /// BDAT: text, up to an end that the caller knows.
    Chunked,
    /// BDAT with BODY=BINARYMIME: any octets, up to an end that the caller knows.
    Binary,
}

/// The rules that content is read by.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How it ends.
    pub framing: Framing,
    /// What to do about bare line endings.
    pub line_endings: LineEndings,
    /// Octets of a line, CRLF included, stuffed dot not.
    pub line_max: usize,
    /// Octets of the message.
    pub bytes_max: u64,
}

/// Why [`Decoder::decode`] stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All octets are used.
    More,
    /// There is no room for more content.
    Full,
    /// The final dot was read; what follows is the next command.
    End,
}

/// Reads one message's content.
#[derive(Debug)]
pub struct Decoder {
    rules: Rules,
    place: Place,
    /// Octets of the line so far.
    line: usize,
    bytes: u64,
    eight_bit: bool,
    fault: Option<Fault>,
}

/// Where in a line the next octet stands. What the name says has been read and not been copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Behind a CR LF, or at the very beginning.
    Start,
    /// "." at the start of a line.
    Dot,
    /// "." CR at the start of a line.
    DotCr,
    /// Anywhere else, behind a bare line ending too.
    Text,
    /// CR.
    Cr,
}

/// What one octet can become at most: a CR LF for a bare CR before it, and another for itself.
const EXPANSION: usize = 4;

impl Decoder {
    /// Nothing read as yet.
    pub fn new(rules: Rules) -> Self {
        Self { rules, place: Place::Start, line: 0, bytes: 0, eight_bit: false, fault: None }
    }

    /// Append to `into` what `bytes` hold of content, up to `room` octets in it; returns how many
    /// of `bytes` are used. After a fault nothing more is appended.
    pub fn decode(&mut self, bytes: &[u8], into: &mut Vec<u8>, room: usize) -> (usize, Progress) {
        let mut used = 0;
        while used < bytes.len() {
            let share = self.share(room.saturating_sub(into.len()));
            if share == 0 {
                return (used, Progress::Full);
            }
            let piece = &bytes[used..bytes.len().min(used.saturating_add(share))];
            let (taken, ended) = match self.rules.framing {
                Framing::Binary => (self.copy(piece, into), false),
                Framing::Dot | Framing::Chunked => self.scan(piece, into),
            };
            used += taken;
            if ended {
                return (used, Progress::End);
            }
        }
        (used, Progress::More)
    }

    /// The end that the caller knows has come: of BDAT's last chunk.
    pub fn finish(&mut self, into: &mut Vec<u8>) {
        if self.place == Place::Cr {
            self.bare_line_ending(into);
        }
    }

    /// Refuse the content for a reason that was found elsewhere.
    pub fn refuse(&mut self, fault: Fault) {
        self.fault = self.fault.max(Some(fault));
    }

    /// The fault that counts, if there was one.
    pub fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Octets of content so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether an octet above 127 came.
    pub fn is_eight_bit(&self) -> bool {
        self.eight_bit
    }

    /// How many octets of input are sure to fit into so many of room.
    fn share(&self, room: usize) -> usize {
        if self.fault.is_some() {
            return usize::MAX;
        }
        match self.rules.line_endings {
            LineEndings::Strict => room.saturating_sub(EXPANSION),
            LineEndings::Normalize => room.saturating_sub(EXPANSION) / 2,
        }
    }

    /// Read text; returns how many octets are used, and whether the final dot was.
    ///
    /// Whole runs are copied: `run` is where the octets begin that are content as they stand.
    fn scan(&mut self, bytes: &[u8], into: &mut Vec<u8>) -> (usize, bool) {
        let dots = self.rules.framing == Framing::Dot;
        let (mut run, mut at) = (0, 0);
        // Until it is not: then each line is looked at, so that no octet is looked at often.
        let mut is_plain = true;
        while let Some(&octet) = bytes.get(at) {
            match self.place {
                Place::Start if octet == b'.' && dots => {
                    self.copy(&bytes[run..at], into);
                    self.place = Place::Dot;
                    (at, run) = (at + 1, at + 1);
                }
                Place::Start | Place::Text if is_plain => {
                    let lines = self.plain_lines(&bytes[at..]);
                    is_plain = lines > 0;
                    at += lines;
                }
                Place::Start | Place::Text => (run, at) = self.scan_line(bytes, run, at, into),
                Place::Cr if octet == b'\n' => {
                    self.copy(b"\r\n", into);
                    self.end_line(2);
                    (at, run) = (at + 1, at + 1);
                }
                Place::DotCr if octet == b'\n' => return (at + 1, true),
                Place::Cr | Place::DotCr => self.bare_line_ending(into),
                Place::Dot => {
                    let cr = octet == b'\r';
                    self.place = if cr { Place::DotCr } else { Place::Text };
                    at += usize::from(cr);
                    run = at;
                }
            }
        }
        self.copy(&bytes[run..], into);
        (at, false)
    }

    /// Read as many whole lines as are content as they stand, all at once; returns their octets.
    /// None may mean that there are some all the same. Begins inside a line or at the start of one
    /// that has no dot.
    fn plain_lines(&mut self, bytes: &[u8]) -> usize {
        let dotted = match self.rules.framing {
            Framing::Dot => memmem::find(bytes, b"\r\n.").map(|at| at + 2),
            Framing::Chunked | Framing::Binary => None,
        };
        let Some(end) = dotted.or_else(|| Some(memrchr(b'\n', bytes)? + 1)) else { return 0 };
        let lines = &bytes[..end];
        let is_text = is_canonical(lines) && memchr(0, lines).is_none();
        if !is_text || !self.are_short(lines) {
            return 0;
        }
        self.line = 0;
        self.place = Place::Start;
        end
    }

    /// Whether every line is sure to keep to its limit: there is an end in each half of it.
    fn are_short(&self, lines: &[u8]) -> bool {
        let has_end = |half: &[u8]| memchr(b'\n', half).is_some();
        let first = memchr(b'\n', lines).map_or(lines.len(), |at| at + 1);
        let halves = lines.chunks_exact((self.rules.line_max / 2).max(1));
        self.line + first <= self.rules.line_max && halves.into_iter().all(has_end)
    }

    /// Read from inside a line up to its end, or to something that is no text; returns where the
    /// run begins and where to go on.
    fn scan_line(
        &mut self,
        bytes: &[u8],
        run: usize,
        at: usize,
        into: &mut Vec<u8>,
    ) -> (usize, usize) {
        self.place = Place::Text;
        let rest = &bytes[at..];
        let Some(length) = memchr3(b'\r', b'\n', 0, rest) else {
            self.lengthen(rest.len());
            return (run, bytes.len());
        };
        let stop = at + length;
        self.lengthen(length);
        match (bytes[stop], bytes.get(stop + 1)) {
            (b'\r', Some(b'\n')) => {
                self.end_line(2);
                return (run, stop + 2);
            }
            (b'\r', _) => {
                self.copy(&bytes[run..stop], into);
                self.place = Place::Cr;
            }
            (b'\n', _) => {
                self.copy(&bytes[run..stop], into);
                self.bare_line_ending(into);
            }
            (_, _) => {
                self.copy(&bytes[run..stop], into);
                self.refuse(Fault::Nul);
            }
        }
        (stop + 1, stop + 1)
    }

    fn lengthen(&mut self, octets: usize) {
        self.line += octets;
        if self.line > self.rules.line_max {
            self.refuse(Fault::LineTooLong);
        }
    }

    fn end_line(&mut self, octets: usize) {
        self.lengthen(octets);
        self.line = 0;
        self.place = Place::Start;
    }

    /// A CR without LF, or a LF without CR. What follows is not at the start of a line in the sense
    /// of dot-stuffing: a dot there ends nothing, and none is removed.
    fn bare_line_ending(&mut self, into: &mut Vec<u8>) {
        match self.rules.line_endings {
            LineEndings::Strict => self.refuse(Fault::BareLineEnding),
            LineEndings::Normalize => {
                self.copy(b"\r\n", into);
                self.end_line(2);
            }
        }
        self.place = Place::Text;
    }

    fn copy(&mut self, run: &[u8], into: &mut Vec<u8>) -> usize {
        // Lossless: a slice has at most isize::MAX octets.
        self.bytes += run.len() as u64;
        if self.bytes > self.rules.bytes_max {
            self.refuse(Fault::TooBig);
        }
        if self.fault.is_none() {
            self.eight_bit = self.eight_bit || !run.is_ascii();
            into.extend_from_slice(run);
        }
        run.len()
    }
}
