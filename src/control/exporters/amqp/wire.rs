//! Write and read frames of AMQP 0-9-1, and what is in them.
//!
//! In: values, octets. Out: octets, values. Nothing is read beyond a frame's end, and no frame is
//! longer than was agreed on.

use std::collections::VecDeque;

use crate::base::limits::AMQP_FRAME_MAX;
use crate::control::exporters::amqp::session::Trouble;
use crate::control::exporters::octets::Reader;

/// Octets around the content of a frame: its kind, channel and length, and its end.
pub(super) const AROUND: usize = 8;
const END: u8 = 0xce;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carries {
    Method,
    Header,
    Body,
    Heartbeat,
}

impl Carries {
    fn octet(self) -> u8 {
        match self {
            Self::Method => 1,
            Self::Header => 2,
            Self::Body => 3,
            Self::Heartbeat => 8,
        }
    }

    fn of(octet: u8) -> Option<Self> {
        let all = [Self::Method, Self::Header, Self::Body, Self::Heartbeat];
        all.into_iter().find(|one| one.octet() == octet)
    }
}

/// A frame that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) carries: Carries,
    pub(super) content: &'a [u8],
}

/// Write a frame to the end of `output`.
pub(super) fn write(output: &mut VecDeque<u8>, carries: Carries, channel: u16, content: &[u8]) {
    let length = u32::try_from(content.len()).expect("contents are cut to frames");
    output.push_back(carries.octet());
    output.extend(channel.to_be_bytes());
    output.extend(length.to_be_bytes());
    output.extend(content);
    output.push_back(END);
}

/// The frame at the beginning of `input`, and its length; `None`: it is not whole yet.
pub(super) fn read(input: &[u8]) -> Result<Option<(Frame<'_>, usize)>, Trouble> {
    if input.starts_with(b"AMQP") {
        // What a broker says that speaks another version, before it closes.
        return Err(Trouble::Version);
    }
    let Some((&[octet, _, _, a, b, c, d], rest)) = input.split_first_chunk() else {
        return Ok(None);
    };
    let carries = Carries::of(octet).ok_or(Trouble::Foreign("a frame of no known kind"))?;
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if length > AMQP_FRAME_MAX - AROUND {
        return Err(Trouble::Foreign("a frame that is longer than was agreed on"));
    }
    match rest.get(length) {
        None => Ok(None),
        Some(&END) => {
            let content = &rest[..length];
            Ok(Some((Frame { carries, content }, length + AROUND)))
        }
        Some(_) => Err(Trouble::Foreign("a frame without an end")),
    }
}

/// The content of a frame that is written.
#[derive(Debug)]
pub(super) struct Content(Vec<u8>);

impl Content {
    /// Of a method.
    pub(super) fn method(class: u16, method: u16) -> Self {
        Self(Vec::new()).short(class).short(method)
    }

    pub(super) fn octet(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    pub(super) fn short(mut self, value: u16) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(super) fn long(mut self, value: u32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(super) fn longlong(mut self, value: u64) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    /// Up to 255 octets; of more the last ones, in which what is like each other differs.
    pub(super) fn shortstr(mut self, text: &str) -> Self {
        let tail = &text.as_bytes()[text.len().saturating_sub(255)..];
        self.0.push(u8::try_from(tail.len()).expect("no more than 255"));
        self.0.extend(tail);
        self
    }

    pub(super) fn longstr(self, octets: &[u8]) -> Self {
        let length = u32::try_from(octets.len()).expect("what is said is short");
        let mut content = self.long(length);
        content.0.extend(octets);
        content
    }

    /// Fields of a table, each a text.
    fn fields(texts: &[(&str, &str)]) -> Self {
        let field = |all: Self, (name, text): &(&str, &str)| {
            all.shortstr(name).octet(b'S').longstr(text.as_bytes())
        };
        texts.iter().fold(Self(Vec::new()), field)
    }

    /// A table of texts.
    pub(super) fn texts(self, texts: &[(&str, &str)]) -> Self {
        self.longstr(Self::fields(texts).octets())
    }

    /// What a client says of itself: texts, and what it is able to.
    pub(super) fn properties(self, texts: &[(&str, &str)], able: &[&str]) -> Self {
        let can = |all: Self, name: &&str| all.shortstr(name).octet(b't').octet(1);
        let able = able.iter().fold(Self(Vec::new()), can);
        let table = Self::fields(texts).shortstr("capabilities").octet(b'F').longstr(&able.0);
        self.longstr(table.octets())
    }

    pub(super) fn octets(&self) -> &[u8] {
        &self.0
    }
}

/// The content of a frame, by AMQP's types.
impl<'a> Reader<'a> {
    pub(super) fn octet(&mut self) -> Option<u8> {
        self.number::<1>().map(|[octet]| octet)
    }

    pub(super) fn short(&mut self) -> Option<u16> {
        self.number().map(u16::from_be_bytes)
    }

    pub(super) fn long(&mut self) -> Option<u32> {
        self.number().map(u32::from_be_bytes)
    }

    pub(super) fn longlong(&mut self) -> Option<u64> {
        self.number().map(u64::from_be_bytes)
    }

    pub(super) fn shortstr(&mut self) -> Option<String> {
        let length = usize::from(self.octet()?);
        self.text(length)
    }

    /// A long text, or a table, as octets.
    pub(super) fn longstr(&mut self) -> Option<&'a [u8]> {
        let length = self.long()? as usize;
        self.take(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_as_they_were_written_however_they_are_cut() {
        let mut output = VecDeque::new();
        let method = Content::method(10, 40).shortstr("/").longstr(b"x").longlong(7);
        write(&mut output, Carries::Method, 0, method.octets());
        write(&mut output, Carries::Heartbeat, 0, b"");
        write(&mut output, Carries::Body, 1, b"{}");
        let mut input = Vec::new();
        let mut frames = Vec::new();
        for octet in output {
            input.push(octet);
            if let Some((frame, length)) = read(&input).unwrap() {
                assert_eq!(length, input.len());
                frames.push((frame.carries, frame.content.to_vec()));
                input.clear();
            }
        }
        assert!(input.is_empty());
        let kinds: Vec<_> = frames.iter().map(|(carries, _)| *carries).collect();
        assert_eq!(kinds, [Carries::Method, Carries::Heartbeat, Carries::Body]);
        let mut reader = Reader::new(&frames[0].1);
        assert_eq!((reader.short(), reader.short()), (Some(10), Some(40)));
        assert_eq!((reader.shortstr().as_deref(), reader.longstr()), (Some("/"), Some(&b"x"[..])));
        assert_eq!((reader.longlong(), reader.octet()), (Some(7), None));
    }

    #[test]
    fn what_is_no_frame_is_told() {
        let told = |octets: &[u8]| read(octets).unwrap_err().to_string();
        assert!(told(b"AMQP\0\0\x09\x01").contains("another version"));
        assert!(told(b"HTTP/1.1 400").contains("no known kind"));
        assert!(told(&[1, 0, 0, 0xff, 0xff, 0xff, 0xff]).contains("longer"));
        assert!(told(&[1, 0, 0, 0, 0, 0, 1, 7, 7]).contains("without an end"));
        assert_eq!(Reader::new(&[9, b'x']).shortstr(), None);
        assert_eq!(Reader::new(&[0xff; 4]).longstr(), None);
    }

    #[test]
    fn of_a_text_that_is_too_long_its_end_stays() {
        let text = "x".repeat(300) + "/1/7";
        let content = Content(Vec::new()).shortstr(&text);
        let read = Reader::new(content.octets()).shortstr().unwrap();
        assert!(read.len() == 255 && read.ends_with("/1/7"));
    }
}
