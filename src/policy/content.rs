//! Know of a message's content what a relay must: hops, header size, eight-bit octets, and whether
//! its sender waives TLS.
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
    /// `TLS-Required: No` is in it (RFC 8689 §5).
    pub tls_waived: bool,
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
    /// After so many octets of a field's name, which spell some of [`NAMES`] so far: a bit each.
    Name { octets: usize, fits: u8 },
    /// After a name, before its colon: RFC 5322 §4.5.7 lets old mail have a space there.
    AfterName { field: Option<Field> },
    /// In a field's value; folded lines belong to it.
    Value,
    /// In the value of `TLS-Required`, after white space and so many octets of [`NO`].
    Waiver { octets: usize },
    /// After the CR of a line that holds nothing before it.
    EmptyLine,
    /// After the header section.
    Body,
}

/// A field that counts here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Received,
    TlsRequired,
}

const NAMES: [(Field, &[u8]); 2] =
    [(Field::Received, b"received"), (Field::TlsRequired, b"tls-required")];

/// What `TLS-Required` says (RFC 8689 §5); it has no other value.
const NO: &[u8] = b"no";

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
            (Place::Line, _) => self.name(0, u8::MAX, byte),
            (Place::Name { octets, fits }, _) => self.name(octets, fits, byte),
            (Place::AfterName { field }, b' ' | b'\t') => Place::AfterName { field },
            (Place::AfterName { field }, b':') => self.field(field),
            (Place::Waiver { octets }, _) => self.waiver(octets, byte),
            // A line that is no field ends the header section as an empty one does.
            (Place::AfterName { .. } | Place::EmptyLine, _) => Place::Body,
            (Place::Value | Place::Body, _) => self.place,
        }
    }

    /// After `byte`, which follows `octets` of a name.
    fn name(&mut self, octets: usize, fits: u8, byte: u8) -> Place {
        match byte {
            b':' if octets > 0 => self.field(field_named(octets, fits)),
            b' ' | b'\t' => Place::AfterName { field: field_named(octets, fits) },
            b'!'..=b'9' | b';'..=b'~' => {
                Place::Name { octets: octets + 1, fits: still_fits(octets, fits, byte) }
            }
            _ => Place::Body,
        }
    }

    /// After the colon.
    fn field(&mut self, field: Option<Field>) -> Place {
        match field {
            None => Place::Value,
            Some(Field::Received) => {
                self.facts.received += 1;
                Place::Value
            }
            Some(Field::TlsRequired) => Place::Waiver { octets: 0 },
        }
    }

    /// After `byte` of the value, which follows `octets` of [`NO`].
    fn waiver(&mut self, octets: usize, byte: u8) -> Place {
        match byte {
            b' ' | b'\t' if octets == 0 || octets == NO.len() => Place::Waiver { octets },
            b'\r' if octets == NO.len() => {
                self.facts.tls_waived = true;
                Place::Value
            }
            b'\n' => Place::Line,
            _ if NO.get(octets) == Some(&byte.to_ascii_lowercase()) => {
                Place::Waiver { octets: octets + 1 }
            }
            _ => Place::Value,
        }
    }
}

/// Those of [`NAMES`] that a name still spells with `byte` behind `octets` of it.
fn still_fits(octets: usize, fits: u8, byte: u8) -> u8 {
    if fits == 0 {
        return 0;
    }
    let byte = Some(byte.to_ascii_lowercase());
    let bits = NAMES.iter().enumerate().map(|(place, (_, name))| (1 << place, name));
    let spells = bits.filter(|(bit, name)| fits & bit != 0 && name.get(octets).copied() == byte);
    spells.fold(0, |all, (bit, _)| all | bit)
}

/// Which field a name of so many octets is.
fn field_named(octets: usize, fits: u8) -> Option<Field> {
    let mut places = NAMES.iter().enumerate();
    let named = |(place, (_, name)): &(usize, &(Field, &[u8]))| {
        fits & (1 << place) != 0 && name.len() == octets
    };
    places.find(named).map(|(_, (field, _))| *field)
}
