//! Write to a milter what it is to be told of a message, step by step.
//!
//! In: the message and what was agreed on. Out: packets. Invariant: steps come in the protocol's
//! order, each with its macros before it; what a milter does not want to see is left out; no text
//! in a packet holds a NUL of its own.

use std::collections::VecDeque;
use std::net::IpAddr;

use crate::base::limits::{MILTER_CHUNK_MAX, MILTER_CHUNKS_UNANSWERED};
use crate::mail::envelope::BodyType;
use crate::milter::Stage;
use crate::milter::flags::Agreed;
use crate::milter::letter::{Field, Letter, Visitor};
use crate::milter::packet::write;

/// How far a message has been told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Script {
    /// What is told next.
    next: Next,
    skips_body: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Connect,
    Hello,
    Mail,
    Rcpt(usize),
    Data,
    Field(usize),
    EndOfHeader,
    Body { piece: usize, offset: usize },
    End,
    Nothing,
}

impl Next {
    fn stage(self) -> Stage {
        match self {
            Self::Connect => Stage::Connect,
            Self::Hello => Stage::Hello,
            Self::Mail => Stage::Mail,
            Self::Rcpt(_) => Stage::Rcpt,
            Self::Data => Stage::Data,
            Self::Field(_) => Stage::Header,
            Self::EndOfHeader => Stage::EndOfHeader,
            Self::Body { .. } => Stage::Body,
            Self::End | Self::Nothing => Stage::End,
        }
    }

    /// What follows it, told or not.
    fn following(self, letter: &Letter) -> Self {
        let start_of_body = Self::Body { piece: 0, offset: 0 };
        match self {
            Self::Connect => Self::Hello,
            Self::Hello => Self::Mail,
            Self::Mail => Self::Rcpt(0),
            Self::Rcpt(index) if index + 1 < letter.envelope.recipients.len() => {
                Self::Rcpt(index + 1)
            }
            Self::Rcpt(_) => Self::Data,
            Self::Data if letter.fields.is_empty() => Self::EndOfHeader,
            Self::Data => Self::Field(0),
            Self::Field(index) if index + 1 < letter.fields.len() => Self::Field(index + 1),
            Self::Field(_) => Self::EndOfHeader,
            Self::EndOfHeader if letter.body.is_empty() => Self::End,
            Self::EndOfHeader => start_of_body,
            Self::Body { piece, offset } => {
                let (pieces, end) = (letter.body.pieces(), offset + MILTER_CHUNK_MAX);
                match pieces.get(piece) {
                    Some(octets) if end < octets.len() => Self::Body { piece, offset: end },
                    _ if piece + 1 < pieces.len() => Self::Body { piece: piece + 1, offset: 0 },
                    _ => Self::End,
                }
            }
            Self::End | Self::Nothing => Self::Nothing,
        }
    }
}

impl Script {
    /// At the start of a message; `same_client`: of one that the milter knows.
    pub(super) fn new(same_client: bool) -> Self {
        let next = if same_client { Next::Mail } else { Next::Connect };
        Self { next, skips_body: false }
    }

    /// What is told next.
    pub(super) fn stage(&self) -> Stage {
        self.next.stage()
    }

    /// The milter has seen enough of the body.
    pub(super) fn skip_body(&mut self) {
        self.skips_body = true;
    }

    /// Append the next thing that the milter wants to be told; which that was. `None`: all has been
    /// told, or the milter is to answer first.
    pub(super) fn write_next(
        &mut self,
        letter: &Letter,
        agreed: Agreed,
        unanswered: &VecDeque<Stage>,
        into: &mut Vec<u8>,
    ) -> Option<Stage> {
        loop {
            let (next, stage) = (self.next, self.next.stage());
            if next == Next::Nothing {
                return None;
            }
            if stage == Stage::Body && (self.skips_body || !agreed.tells(stage)) {
                self.next = Next::End;
                continue;
            }
            let in_body = unanswered.iter().rev().take_while(|stage| **stage == Stage::Body);
            if stage == Stage::Body && in_body.count() >= MILTER_CHUNKS_UNANSWERED {
                return None;
            }
            self.next = next.following(letter);
            if agreed.tells(stage) {
                write_step(next, letter, agreed, into);
                return Some(stage);
            }
        }
    }
}

fn write_step(next: Next, letter: &Letter, agreed: Agreed, into: &mut Vec<u8>) {
    let visitor = &*letter.visitor;
    match next {
        Next::Connect => write_connect(visitor, into),
        Next::Hello => {
            let (version, cipher) = visitor.tls.unwrap_or_default();
            write_macros(b'H', &[("{tls_version}", version), ("{cipher}", cipher)], into);
            write(b'H', &[visitor.hello.as_bytes(), b"\0"], into);
        }
        Next::Mail => write_mail(letter, into),
        Next::Rcpt(index) => {
            let path = &letter.envelope.recipients[index].forward_path;
            write_macros(b'R', &[("{rcpt_addr}", path.as_str())], into);
            write(b'R', &[b"<", path.as_str().as_bytes(), b">\0"], into);
        }
        Next::Data => {
            write_id(b'T', letter, into);
            write(b'T', &[], into);
        }
        Next::Field(index) => write_field(&letter.fields[index], agreed, into),
        Next::EndOfHeader => {
            write_id(b'N', letter, into);
            write(b'N', &[], into);
        }
        Next::Body { piece, offset } => {
            let octets = letter.body.pieces().get(piece).map_or(&[][..], |one| &one[offset..]);
            write(b'B', &[&octets[..octets.len().min(MILTER_CHUNK_MAX)]], into);
        }
        Next::End => {
            write_id(b'E', letter, into);
            write(b'E', &[], into);
        }
        Next::Nothing => {}
    }
}

/// Macros that `command` goes with; those without a value are left out.
fn write_macros(command: u8, macros: &[(&str, &str)], into: &mut Vec<u8>) {
    let given = macros.iter().filter(|(_, value)| !value.is_empty());
    let of_command = [command];
    let mut parts: Vec<&[u8]> = vec![&of_command];
    for (name, value) in given {
        parts.extend([name.as_bytes(), b"\0", value.as_bytes(), b"\0"]);
    }
    if parts.len() > 1 {
        write(b'D', &parts, into);
    }
}

fn write_id(command: u8, letter: &Letter, into: &mut Vec<u8>) {
    write_macros(command, &[("i", &letter.id.to_string())], into);
}

/// Nobody's name was looked up, which is "unknown" in the words of Postfix.
fn write_connect(visitor: &Visitor, into: &mut Vec<u8>) {
    let peer = visitor.peer;
    let (address, port) = (peer.ip().to_canonical(), peer.port());
    let (text, digits) = (address.to_string(), port.to_string());
    let macros = [
        ("j", &*visitor.hostname),
        ("{daemon_name}", &*visitor.listener),
        ("v", concat!("relay-fast ", env!("CARGO_PKG_VERSION"))),
        ("{client_addr}", &text),
        ("{client_name}", "unknown"),
        ("{client_port}", &digits),
        ("_", &format!("unknown [{text}]")),
    ];
    write_macros(b'C', &macros, into);
    let family = match address {
        IpAddr::V4(_) => b"4",
        IpAddr::V6(_) => b"6",
    };
    write(b'C', &[b"unknown\0", family, &port.to_be_bytes(), text.as_bytes(), b"\0"], into);
}

fn write_mail(letter: &Letter, into: &mut Vec<u8>) {
    let (envelope, visitor) = (&letter.envelope, &letter.visitor);
    let path = envelope.reverse_path.as_str();
    let login = visitor.login.as_deref().unwrap_or_default();
    let id = letter.id.to_string();
    write_macros(b'M', &[("i", &id), ("{mail_addr}", path), ("{auth_authen}", login)], into);
    let size = format!("SIZE={}\0", letter.bytes());
    let body: &[u8] = match envelope.body_type {
        BodyType::SevenBit => b"",
        BodyType::EightBitMime => b"BODY=8BITMIME\0",
        BodyType::BinaryMime => b"BODY=BINARYMIME\0",
    };
    let utf8: &[u8] = if envelope.smtp_utf8 { b"SMTPUTF8\0" } else { b"" };
    write(b'M', &[b"<", path.as_bytes(), b">\0", size.as_bytes(), body, utf8], into);
}

/// Line ends within a value are LF alone, as sendmail and Postfix have it. A value may be larger
/// than a packet: then the milter sees its beginning.
fn write_field(field: &Field, agreed: Agreed, into: &mut Vec<u8>) {
    let name = field.name();
    let name = &name[..name.len().min(MILTER_CHUNK_MAX / 2)];
    let value = field.value();
    let value = match value.strip_prefix(b" ") {
        Some(rest) if !agreed.keeps_leading_space() => rest,
        Some(_) | None => value,
    };
    let is_kept = |octet: &u8| !matches!(octet, b'\r' | b'\0');
    let mut text: Vec<u8> = value.iter().copied().filter(is_kept).collect();
    text.truncate(MILTER_CHUNK_MAX - name.len() - 2);
    write(b'L', &[name, b"\0", &text, b"\0"], into);
}
