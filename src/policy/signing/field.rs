//! Write `DKIM-Signature:` fields (RFC 6376 §3.5): first all but the signature, then that.
//!
//! In: a header section, the hash of the body, keys, the time. Out: fields, folded, with CRLF.
//! Invariant: lines are within 998 octets; a field's text before its signature is what was hashed.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, Digest, SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::base::limits::{PREFIX_MAX, SIGNATURE_FIELD_MAX, SIGNATURES_MAX, SIGNED_NAMES_MAX};
use crate::base::time::WallTime;
use crate::mail::address::Domain;
use crate::policy::canonical::header::{Field, fields, write_relaxed, write_relaxed_value};
use crate::policy::signing::key::SigningFailed;
use crate::policy::signing::signers::Signer;

// Half of the prefix is left to the other fields in it.
const _: () = assert!(SIGNATURES_MAX * SIGNATURE_FIELD_MAX <= PREFIX_MAX / 2);

/// Octets of a folded line.
const LINE: usize = 72;

/// How often a field is signed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Often {
    /// Once more than it is there, be it not there at all: none may be added.
    OneMore,
    /// The same where it is there; a relay may add it where it is not (RFC 6409 §8).
    OneMoreIfAny,
    /// As often as it is there.
    AsIs,
}

/// What is signed: what readers and their programs go by (RFC 6376 §5.4.1).
const SIGNED: [(&str, Often); 21] = [
    ("from", Often::OneMore),
    ("to", Often::OneMore),
    ("cc", Often::OneMore),
    ("subject", Often::OneMore),
    ("date", Often::OneMoreIfAny),
    ("reply-to", Often::OneMore),
    ("message-id", Often::OneMoreIfAny),
    ("mime-version", Often::OneMore),
    ("content-type", Often::OneMore),
    ("list-unsubscribe", Often::OneMore),
    ("list-unsubscribe-post", Often::OneMore),
    ("content-transfer-encoding", Often::AsIs),
    ("sender", Often::AsIs),
    ("in-reply-to", Often::AsIs),
    ("references", Often::AsIs),
    ("list-id", Often::AsIs),
    ("feedback-id", Often::AsIs),
    // RFC 9477 §3.1.4.
    ("cfbl-address", Often::AsIs),
    ("cfbl-feedback-id", Often::AsIs),
    // RFC 8460 §5.3.
    ("tls-report-domain", Often::AsIs),
    ("tls-report-submitter", Often::AsIs),
];

/// The signatures that a message is to have, in order; those that are made are in `fields`.
#[derive(Debug, Default)]
pub struct Unsigned {
    /// To come, the next one last.
    drafts: Vec<Draft>,
    fields: Vec<u8>,
    /// Where in `fields` the last one begins.
    last: usize,
}

/// A field without its signature.
pub(super) struct Draft {
    signer: Arc<Signer>,
    /// All of it up to and with `b=`.
    text: Vec<u8>,
    /// Of what is signed before this field.
    hash: Context,
    /// The field that is made before it is signed too.
    with_last: bool,
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Draft").field(&String::from_utf8_lossy(&self.text)).finish()
    }
}

impl Draft {
    /// A field that signs what `hash` has seen.
    fn new(text: String, signer: Arc<Signer>, hash: Context) -> Self {
        Self { signer, text: text.into_bytes(), hash, with_last: false }
    }

    /// The same, and the field before it.
    pub(super) fn seal(text: String, signer: Arc<Signer>, hash: Context) -> Self {
        Self { with_last: true, ..Self::new(text, signer, hash) }
    }

    /// All that is signed.
    fn digest(&self, last: &[u8]) -> Digest {
        let mut relaxed = Vec::new();
        if let Some(last) = Field::of(last).filter(|_| self.with_last) {
            write_relaxed(&last, &mut relaxed);
        }
        //= RFC 6376 §3.7
        //# the DKIM-Signature header field … with the value of the "b=" tag … deleted,
        //# canonicalized … and without a trailing CRLF
        let field = Field::of(&self.text).expect("it is written with its name");
        relaxed.extend(field.name.iter().map(u8::to_ascii_lowercase));
        relaxed.push(b':');
        write_relaxed_value(field.value, &mut relaxed);
        let mut hash = self.hash.clone();
        hash.update(&relaxed);
        hash.finish()
    }
}

impl Unsigned {
    /// An ARC set: its first field is there, the other two are to be signed.
    pub(super) fn of_set(results: Vec<u8>, signature: Draft, seal: Draft) -> Self {
        let last = results.len();
        Self { drafts: vec![seal, signature], fields: results, last }
    }

    /// The domains that these are for.
    pub fn domains(&self) -> impl Iterator<Item = &Domain> {
        self.drafts.iter().map(|draft| &draft.signer.domain)
    }

    /// Signatures that are still to be made.
    pub fn left(&self) -> usize {
        self.drafts.len()
    }

    /// Make the next signature: one operation with a private key. Nothing to do where none is left.
    pub fn sign_one(&mut self) -> Result<(), SigningFailed> {
        let Some(draft) = self.drafts.pop() else { return Ok(()) };
        let digest = draft.digest(&self.fields[self.last..]);
        let signature = BASE64.encode(draft.signer.key.sign(&digest)?);
        self.last = self.fields.len();
        self.fields.extend_from_slice(&draft.text);
        let first = LINE - "\tb=".len();
        let (mut line, mut rest) = signature.split_at(signature.len().min(first));
        loop {
            self.fields.extend_from_slice(line.as_bytes());
            self.fields.extend_from_slice(b"\r\n");
            if rest.is_empty() {
                return Ok(());
            }
            self.fields.push(b'\t');
            (line, rest) = rest.split_at(rest.len().min(LINE));
        }
    }

    /// The fields; all signatures must have been made.
    pub fn into_fields(self) -> Vec<u8> {
        assert!(self.drafts.is_empty(), "signatures are missing");
        self.fields
    }

    /// Octets of memory held.
    pub fn memory(&self) -> usize {
        let drafts: usize = self.drafts.iter().map(|draft| draft.text.capacity()).sum();
        self.fields.capacity() + drafts
    }
}

/// What is to be signed of a message; nothing where it has more of the signed fields than a
/// signature can name.
pub(super) fn compose(
    header: &[u8],
    body: &Digest,
    signers: &[Arc<Signer>],
    now: WallTime,
) -> Unsigned {
    let fields: Vec<Field<'_>> = fields(header).collect();
    let Some((names, hash)) = select(&fields, &SIGNED) else { return Unsigned::default() };
    let body = BASE64.encode(body.as_ref());
    let draft = |signer: &Arc<Signer>| {
        let text = unsigned_text("DKIM-Signature: v=1;", signer, now, (&names, &body));
        Draft::new(text, signer.clone(), hash.clone())
    };
    Unsigned { drafts: signers.iter().rev().map(draft).collect(), ..Unsigned::default() }
}

/// What the second field of an ARC set signs (RFC 8617 §4.1.2): the same, and signatures that are
/// there; `None` as above.
pub(super) fn arc_signature(
    fields: &[Field<'_>],
    body: &Digest,
    signer: &Arc<Signer>,
    instance: u32,
    now: WallTime,
) -> Option<Draft> {
    let signed = SIGNED.into_iter().chain([("dkim-signature", Often::AsIs)]).collect::<Vec<_>>();
    let (names, hash) = select(fields, &signed)?;
    let head = format!("ARC-Message-Signature: i={instance};");
    let text = unsigned_text(&head, signer, now, (&names, &BASE64.encode(body.as_ref())));
    Some(Draft::new(text, signer.clone(), hash))
}

/// The names to be signed, folded, and what has seen the relaxed form of the fields that they mean,
/// in the same order.
fn select(fields: &[Field<'_>], signed: &[(&'static str, Often)]) -> Option<(String, Context)> {
    let (mut names, mut relaxed) = (Vec::new(), Vec::new());
    for &(name, often) in signed {
        let before = names.len();
        //= RFC 6376 §5.4.2
        //# Signers … MUST sign such header fields in order from the bottom of the header field
        //# block to the top.
        for field in fields.iter().rev().filter(|field| field.is(name)) {
            names.push(name);
            write_relaxed(field, &mut relaxed);
        }
        let one_more = match often {
            Often::OneMore => true,
            Often::OneMoreIfAny => names.len() > before,
            Often::AsIs => false,
        };
        if one_more {
            names.push(name);
        }
    }
    let mut hash = Context::new(&SHA256);
    hash.update(&relaxed);
    (names.len() <= SIGNED_NAMES_MAX).then(|| (folded(&names), hash))
}

/// The names joined by colons, folded.
fn folded(names: &[&str]) -> String {
    let mut text = String::new();
    let mut line = "\th=".len();
    for (place, name) in names.iter().enumerate() {
        if place > 0 {
            text.push(':');
            line += 1;
        }
        if line + name.len() >= LINE {
            text.push_str("\r\n\t");
            line = 1;
        }
        text.push_str(name);
        line += name.len();
    }
    text
}

fn unsigned_text(
    head: &str,
    signer: &Signer,
    now: WallTime,
    (names, body): (&str, &str),
) -> String {
    let Signer { domain, selector, key, .. } = signer;
    let algorithm = key.algorithm().as_str();
    let seconds = now.0 / 1_000;
    let mut text = String::with_capacity(256 + names.len());
    write!(
        text,
        "{head} a={algorithm}; c=relaxed/relaxed; t={seconds};\r\n\
         \td={domain}; s={selector};\r\n\th={names};\r\n\tbh={body};\r\n\tb="
    )
    .expect("memory takes every write");
    text
}
