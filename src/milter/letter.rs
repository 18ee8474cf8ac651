//! Hold a message and who brought it, in the shape that milters see it in.
//!
//! Invariant: what is not changed is kept octet by octet. Unit: octets. Lives on: the home shard.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::base::ids::MessageId;
use crate::base::limits::RECORD_CONTENT_MAX;
use crate::mail::envelope::Envelope;

/// Who brings a message: the same for all messages of an SMTP session, unless it says EHLO anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visitor {
    /// Its address and port.
    pub peer: SocketAddr,
    /// What it said at EHLO or HELO.
    pub hello: Box<str>,
    /// What this node calls itself: `j`.
    pub hostname: Box<str>,
    /// The listener that it came to: `{daemon_name}`.
    pub listener: Box<str>,
    /// TLS version and cipher, where there is TLS.
    pub tls: Option<(&'static str, &'static str)>,
    /// The name that it has shown to be its own: `{auth_authen}`.
    pub login: Option<Box<str>>,
}

/// A message, and all that milters are told of it.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Who brings it.
    pub visitor: Arc<Visitor>,
    /// Its name: `i`.
    pub id: MessageId,
    /// Reverse-path and recipients.
    pub envelope: Envelope,
    /// The header section.
    pub fields: Vec<Field>,
    /// An empty line follows the header section.
    pub has_empty_line: bool,
    /// What follows that.
    pub body: Body,
}

impl Letter {
    /// Octets of the content.
    pub fn bytes(&self) -> usize {
        let header: usize = self.fields.iter().map(|field| field.as_bytes().len()).sum();
        header + 2 * usize::from(self.has_empty_line) + self.body.len()
    }

    /// Octets of memory that the content takes.
    pub fn memory(&self) -> usize {
        let header: usize = self.fields.iter().map(|field| field.text.capacity()).sum();
        header + self.fields.capacity() * size_of::<Field>() + self.body.memory()
    }
}

/// A field of the header section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    text: Vec<u8>,
    name: usize,
    colon: usize,
}

impl Field {
    /// Of `text`, folded lines and the last CRLF included. `None` where it does not begin with a
    /// name and a colon. RFC 5322 §4.5.7 lets old mail have white space between them.
    pub fn new(text: Vec<u8>) -> Option<Self> {
        let colon = text.iter().position(|octet| *octet == b':')?;
        let name = text[..colon].trim_ascii_end().len();
        let is_name = |octet: &u8| matches!(octet, b'!'..=b'~');
        let fits = name > 0 && text[..name].iter().all(is_name) && text.ends_with(b"\r\n");
        fits.then_some(Self { text, name, colon })
    }

    /// All of it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.text
    }

    /// Its name.
    pub fn name(&self) -> &[u8] {
        &self.text[..self.name]
    }

    /// What is behind the colon, without the last CRLF.
    pub fn value(&self) -> &[u8] {
        &self.text[self.colon + 1..self.text.len() - 2]
    }
}

/// Octets in pieces, none of them empty, none longer than a record of the spool holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    pieces: Vec<Vec<u8>>,
    bytes: usize,
}

impl Body {
    /// Add a piece at the end, at most `RECORD_CONTENT_MAX` octets.
    pub fn push(&mut self, piece: Vec<u8>) {
        debug_assert!(piece.len() <= RECORD_CONTENT_MAX, "{} octets", piece.len());
        self.bytes += piece.len();
        if !piece.is_empty() {
            self.pieces.push(piece);
        }
    }

    /// Add octets at the end, so that many small additions make few pieces.
    pub fn append(&mut self, mut octets: &[u8]) {
        self.bytes += octets.len();
        while !octets.is_empty() {
            let has_room = |piece: &Vec<u8>| piece.len() < RECORD_CONTENT_MAX;
            if !self.pieces.last().is_some_and(has_room) {
                self.pieces.push(Vec::new());
            }
            let Some(last) = self.pieces.last_mut() else { return };
            let (fits, rest) = octets.split_at(octets.len().min(RECORD_CONTENT_MAX - last.len()));
            last.extend_from_slice(fits);
            octets = rest;
        }
    }

    /// The pieces, in order.
    pub fn pieces(&self) -> &[Vec<u8>] {
        &self.pieces
    }

    /// The pieces, to be kept.
    pub fn into_pieces(self) -> Vec<Vec<u8>> {
        self.pieces
    }

    /// Octets in all.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Octets of memory held.
    pub fn memory(&self) -> usize {
        self.pieces.iter().map(Vec::capacity).sum()
    }
}
