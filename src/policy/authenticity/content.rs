//! Read what verification needs of content, and take out what pretends to be ours.
//!
//! In: content in chunks. Out: the same chunks, without `Authentication-Results:` fields that bear
//! this node's name (RFC 8601 §5); in the end [`Facts`]. Invariant: the header section is held
//! until it is whole, within its bound; of the body a block is held at most.

use aws_lc_rs::digest::Digest;
use memchr::memmem;

use crate::mail::address::Domain;
use crate::policy::canonical::body::{BodyHash, Form};
use crate::policy::canonical::header::{Field, fields, folded};

/// What verification needs of content.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The header section as it came, with the empty line that ends it.
    pub header: Vec<u8>,
    /// The hash of the body in its simple form, if some signature is over that.
    pub simple: Option<Digest>,
    /// The same of its relaxed form.
    pub relaxed: Option<Digest>,
    /// Octets of all of it.
    pub bytes: u64,
}

/// Reads content as it comes.
#[derive(Debug)]
pub struct ContentReader {
    /// Whose forged fields are taken out; nobody's where nothing is changed.
    own: Option<Domain>,
    header_bytes_max: usize,
    /// What it is needed for beside: an ARC set is over the relaxed form of the body.
    seals: bool,
    bytes: u64,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// The header section so far.
    Header(Vec<u8>),
    /// Behind it.
    Body { header: Vec<u8>, hashes: Vec<(Form, BodyHash)> },
    /// In a message whose header section is too large: it will be refused.
    Passed,
}

/// What ends a header section.
const END: &[u8] = b"\r\n\r\n";

impl ContentReader {
    /// At the start of content.
    pub fn new(own: Option<Domain>, header_bytes_max: usize) -> Self {
        Self { own, header_bytes_max, seals: false, bytes: 0, place: Place::Header(Vec::new()) }
    }

    /// The same of content that may be sealed.
    #[must_use]
    pub fn sealing(self, seals: bool) -> Self {
        Self { seals, ..self }
    }

    /// Octets of memory held.
    pub fn memory(&self) -> usize {
        match &self.place {
            Place::Header(header) | Place::Body { header, .. } => header.capacity(),
            Place::Passed => 0,
        }
    }

    /// Take a chunk; what is to be passed on now.
    pub fn push(&mut self, chunk: Vec<u8>) -> Vec<u8> {
        self.bytes += chunk.len() as u64;
        match &mut self.place {
            Place::Passed => chunk,
            Place::Body { hashes, .. } => {
                hashes.iter_mut().for_each(|(_, hash)| hash.push(&chunk));
                chunk
            }
            Place::Header(held) => {
                let looked_at = held.len().saturating_sub(END.len() - 1);
                held.extend_from_slice(&chunk);
                let end = match held.starts_with(&END[2..]) {
                    true => Some(0),
                    false => memmem::find(&held[looked_at..], END).map(|at| looked_at + at + 2),
                };
                match end {
                    Some(end) => self.leave_header(end),
                    None if held.len() > self.header_bytes_max => {
                        let held = std::mem::take(held);
                        self.place = Place::Passed;
                        held
                    }
                    None => Vec::new(),
                }
            }
        }
    }

    /// Take the last chunk; what is to be passed on, and what is known then.
    pub fn end(mut self, chunk: Vec<u8>) -> (Vec<u8>, Facts) {
        let mut rest = self.push(chunk);
        if let Place::Header(held) = &mut self.place {
            // All of it is header, and no empty line ends it: one is lent.
            let is_cut = !held.ends_with(b"\r\n");
            let lent = if is_cut { END } else { &END[2..] };
            held.extend_from_slice(lent);
            let end = held.len() - 2;
            rest = self.leave_header(end);
            rest.truncate(rest.len().saturating_sub(lent.len()));
        }
        let mut facts = Facts { bytes: self.bytes, ..Facts::default() };
        if let Place::Body { header, hashes } = self.place {
            facts.header = header;
            for (form, hash) in hashes {
                match form {
                    Form::Simple => facts.simple = Some(hash.finish()),
                    Form::Relaxed => facts.relaxed = Some(hash.finish()),
                }
            }
        }
        (rest, facts)
    }

    /// The header section ends at `end`, where an empty line follows; what is to be passed on.
    fn leave_header(&mut self, end: usize) -> Vec<u8> {
        let Place::Header(held) = &mut self.place else { return Vec::new() };
        let mut header = std::mem::take(held);
        let body = header.split_off(end + 2);
        let section = &header[..end];
        let mut passed = match &self.own {
            Some(own) => without_forged(section, own),
            None => section.to_vec(),
        };
        passed.extend_from_slice(&header[end..]);
        passed.extend_from_slice(&body);
        let hash = |form: Form| {
            let mut hash = BodyHash::new(form);
            hash.push(&body);
            (form, hash)
        };
        let mut forms = forms(section);
        if self.seals && !forms.contains(&Form::Relaxed) {
            forms.push(Form::Relaxed);
        }
        let hashes = forms.into_iter().map(hash).collect();
        self.place = match header.len() > self.header_bytes_max {
            true => Place::Passed,
            false => Place::Body { header, hashes },
        };
        passed
    }
}

/// Which forms of the body the signatures in a header section are over.
fn forms(section: &[u8]) -> Vec<Form> {
    let names = ["DKIM-Signature", "ARC-Message-Signature"];
    let mut forms = Vec::new();
    for field in fields(section).filter(|field| names.iter().any(|name| field.is(name))) {
        let value = field.value.to_ascii_lowercase();
        let is_relaxed = memmem::find(&value, b"/relaxed").is_some();
        let form = if is_relaxed { Form::Relaxed } else { Form::Simple };
        if !forms.contains(&form) {
            forms.push(form);
        }
    }
    forms
}

/// A header section without the results that bear our name and are not ours.
fn without_forged(section: &[u8], own: &Domain) -> Vec<u8> {
    let is_forged = |line: &[u8]| {
        Field::of(line).is_some_and(|field| {
            field.is("Authentication-Results")
                && authserv_id(field.value).eq_ignore_ascii_case(own.as_str().as_bytes())
        })
    };
    folded(section).filter(|line| !is_forged(line)).collect::<Vec<_>>().concat()
}

/// Whose results a field says that it has (RFC 8601 §2.2): its first word, quoted or not, behind
/// blanks and comments.
fn authserv_id(value: &[u8]) -> Vec<u8> {
    let (mut depth, mut quoted, mut escaped) = (0_u32, false, false);
    let mut id = Vec::new();
    for octet in value {
        match octet {
            _ if std::mem::take(&mut escaped) => {
                if depth == 0 {
                    id.push(*octet);
                }
            }
            b'\\' if quoted || depth > 0 => escaped = true,
            b'"' if depth == 0 => quoted = !quoted,
            b'(' if !quoted => depth += 1,
            b')' if !quoted => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            b' ' | b'\t' | b'\r' | b'\n' | b';' if !quoted => {
                if !id.is_empty() || *octet == b';' {
                    break;
                }
            }
            other => id.push(*other),
        }
    }
    id.strip_suffix(b".").map(<[u8]>::to_vec).unwrap_or(id)
}
