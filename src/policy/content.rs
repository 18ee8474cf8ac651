//! Know of a message's content what a relay must: hops, header size, eight-bit octets.
//!
//! In: content after dot-stuffing is undone, in pieces cut anywhere. Out: [`ContentFacts`].
//! Nothing is altered or added here: what a relay adds is [`received`], before the content.
//! Invariant: the facts are the same wherever the pieces are cut; memory is a few octets, whatever
//! comes. Unit: octets, line ends included. Lives on: the home shard, one a transaction.

pub mod received;
#[cfg(test)]
mod tests;

use memchr::memchr;

use crate::mail::status::Reply;
use crate::policy::reply;

/// What the content turned out to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContentFacts {
    /// Octets in all.
    pub bytes: u64,
    /// Octets up to where the header section was seen to end.
    pub header_bytes: u64,
    /// `Received:` fields in it: the relays it has passed.
    pub received: u32,
    /// Some octet of the header section is above 127.
    pub header_eight_bit: bool,
    /// Some octet of what follows is above 127.
    pub body_eight_bit: bool,
}

/// Bounds on content; see `limits` of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentLimits {
    /// Octets of the header section.
    pub header_bytes: u32,
    /// `Received:` fields; one more is a loop.
    pub received: u16,
}

impl ContentFacts {
    /// Judge the content so far: a reply refuses it. Once refused it stays refused.
    pub fn check(&self, limits: ContentLimits) -> Result<(), Reply> {
        if self.received > u32::from(limits.received) {
            return Err(reply(554, (5, 4, 6), "Too many hops, this message is looping"));
        }
        if self.header_bytes > u64::from(limits.header_bytes) {
            return Err(reply(552, (5, 3, 4), "Header section too large"));
        }
        Ok(())
    }
}

/// Reads content as it comes.
#[derive(Clone, Debug, Default)]
pub struct ContentScan {
    facts: ContentFacts,
    place: Place,
}

/// Where in the content the next octet stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// At the start of a line of the header section.
    #[default]
    Line,
    /// After so many octets of a field's name, all of which spell `Received` so far, or not.
    Name { octets: usize, received: bool },
    /// After a name, before its colon: RFC 5322 §4.5.7 lets old mail have a space there.
    AfterName { received: bool },
    /// In a field's value; folded lines belong to it.
    Value,
    /// After the CR of a line that holds nothing before it.
    EmptyLine,
    /// After the header section.
    Body,
}

const RECEIVED: &[u8] = b"received";

impl ContentScan {
    /// At the start of content.
    pub fn new() -> Self {
        Self::default()
    }

    /// Take the next piece.
    pub fn push(&mut self, bytes: &[u8]) {
        let (header, body) = bytes.split_at(self.push_header(bytes));
        self.facts.bytes += bytes.len() as u64;
        self.facts.header_bytes += header.len() as u64;
        self.facts.header_eight_bit = self.facts.header_eight_bit || !header.is_ascii();
        self.facts.body_eight_bit = self.facts.body_eight_bit || !body.is_ascii();
    }

    /// What is known so far.
    pub fn facts(&self) -> ContentFacts {
        self.facts
    }

    /// Go through the header section; how many octets of `bytes` belong to it.
    fn push_header(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() && self.place != Place::Body {
            if self.place == Place::Value {
                let Some(line_end) = memchr(b'\n', &bytes[at..]) else {
                    return bytes.len();
                };
                at += line_end + 1;
                self.place = Place::Line;
            } else {
                self.place = self.step(bytes[at]);
                at += 1;
            }
        }
        at
    }

    /// Where `byte` leads from anywhere but a value or the body.
    fn step(&mut self, byte: u8) -> Place {
        match (self.place, byte) {
            (Place::Line, b' ' | b'\t') => Place::Value,
            (Place::Line, b'\r') => Place::EmptyLine,
            (Place::Line, _) => self.name(0, true, byte),
            (Place::Name { octets, received }, _) => self.name(octets, received, byte),
            (Place::AfterName { received }, b' ' | b'\t') => Place::AfterName { received },
            (Place::AfterName { received }, b':') => self.field(received),
            // A line that is no field ends the header section as an empty one does.
            (Place::AfterName { .. } | Place::EmptyLine, _) => Place::Body,
            (Place::Value | Place::Body, _) => self.place,
        }
    }

    /// After `byte`, which follows `octets` of a name.
    fn name(&mut self, octets: usize, received: bool, byte: u8) -> Place {
        let complete = received && octets == RECEIVED.len();
        match byte {
            b':' if octets > 0 => self.field(complete),
            b' ' | b'\t' => Place::AfterName { received: complete },
            b'!'..=b'9' | b';'..=b'~' => {
                let expected = RECEIVED.get(octets).copied();
                let received = received && expected == Some(byte.to_ascii_lowercase());
                Place::Name { octets: octets + 1, received }
            }
            _ => Place::Body,
        }
    }

    /// After the colon.
    fn field(&mut self, received: bool) -> Place {
        self.facts.received += u32::from(received);
        Place::Value
    }
}
