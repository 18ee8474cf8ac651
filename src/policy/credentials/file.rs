//! Read and write a file of credentials.
//!
//! ```text
//! # a comment
//! :decoys:BASE64                    the secret that decoys are made of, 32 octets
//! NAME:VERIFIER[ VERIFIER][:OPTIONS]
//! ```
//! A verifier is an argon2id PHC string or `SCRAM-SHA-256$…`, at most one of each. The one option
//! is `domains=DOMAIN,.SUFFIX,…`: what the name may send as.
//! Invariant: a name stands once, in its prepared form; what is wrong is said with line and column.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hashbrown::HashSet;

use crate::base::limits::{SALT_BYTES, SCRAM_ITERATIONS_DEFAULT};
use crate::mail::address::Domain;
use crate::policy::credentials::Identity;
use crate::policy::credentials::argon::Argon2Verifier;
use crate::policy::relay::DomainSet;
use crate::smtp::sasl::{Name, Password, ScramVerifier};

/// What is wrong with a file of credentials, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {what}")]
pub struct CredentialsError {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// In a few words. Never a verifier.
    pub what: String,
}

/// What begins the line of the secret: no name is empty.
pub(super) const SECRET: &str = ":decoys:";

/// Who is in a file, in its order, and its secret.
pub(super) fn parse(text: &str) -> Result<(Vec<Identity>, Option<[u8; 32]>), CredentialsError> {
    let (mut identities, mut names) = (Vec::new(), HashSet::new());
    let mut secret = None;
    for (number, line) in text.lines().enumerate() {
        let mut reader = Reader { line: number + 1, text: line, at: 0 };
        if is_empty(line) {
            continue;
        }
        if let Some(encoded) = line.strip_prefix(SECRET) {
            reader.at = SECRET.len();
            if secret.is_some() {
                return Err(reader.wrong("the secret of decoys stands twice"));
            }
            let octets = STANDARD.decode(encoded).ok().and_then(|octets| octets.try_into().ok());
            let octets = octets.ok_or_else(|| reader.wrong("must be 32 octets in base64"))?;
            secret = Some(octets);
            continue;
        }
        let identity = reader.identity()?;
        if !names.insert(identity.name.clone()) {
            reader.at = 0;
            return Err(reader.wrong("this name stands twice"));
        }
        identities.push(identity);
    }
    Ok((identities, secret))
}

/// Whether nothing stands in a line.
fn is_empty(line: &str) -> bool {
    line.trim().is_empty() || line.starts_with('#')
}

/// The name that a line is of, if it is one's.
pub(super) fn name_of(line: &str) -> Option<&str> {
    let (name, _) = line.split_once(':').filter(|_| !is_empty(line))?;
    Some(name).filter(|name| !name.is_empty())
}

/// A line and how far it has been read, in octets.
struct Reader<'a> {
    line: usize,
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn wrong(&self, what: impl Into<String>) -> CredentialsError {
        let column = self.text.get(..self.at).map_or(0, |before| before.chars().count()) + 1;
        CredentialsError { line: self.line, column, what: what.into() }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn identity(&mut self) -> Result<Identity, CredentialsError> {
        let Some((name, _)) = self.text.split_once(':') else {
            return Err(self.wrong("a line is NAME:VERIFIER; make one with `relay-fast passwd`"));
        };
        let prepared = self::name(name).map_err(|what| self.wrong(what))?;
        self.at = name.len() + 1;
        let (argon2, scram) = self.verifiers()?;
        let domains =
            if self.rest().starts_with(':') { Some(Arc::new(self.options()?)) } else { None };
        Ok(Identity { name: prepared, argon2, scram, domains })
    }

    fn verifiers(
        &mut self,
    ) -> Result<(Option<Argon2Verifier>, Option<ScramVerifier>), CredentialsError> {
        let (mut argon2, mut scram) = (None, None);
        loop {
            let rest = self.rest();
            let is_scram = rest.starts_with(ScramVerifier::PREFIX);
            if !is_scram && !rest.starts_with(Argon2Verifier::PREFIX) {
                return Err(self.wrong("a verifier begins with $argon2id$ or SCRAM-SHA-256$"));
            }
            // A SCRAM verifier has two colons of its own.
            let own = if is_scram { 2 } else { 0 };
            let colon = rest.match_indices(':').nth(own).map(|(at, _)| at);
            let end = rest.find(' ').unwrap_or(rest.len()).min(colon.unwrap_or(rest.len()));
            let verifier = &rest[..end];
            let is_second = if is_scram { scram.is_some() } else { argon2.is_some() };
            if is_second {
                return Err(self.wrong("a second verifier of the same kind"));
            }
            if is_scram {
                let read = ScramVerifier::parse(verifier).map_err(|malformed| {
                    self.at += malformed.at;
                    self.wrong(malformed.what)
                });
                scram = Some(read?);
            } else {
                let read = Argon2Verifier::parse(verifier);
                argon2 = Some(read.map_err(|what| self.wrong(format!("verifier {what}")))?);
            }
            self.at += end;
            if !self.rest().starts_with(' ') {
                return Ok((argon2, scram));
            }
            self.at += 1;
        }
    }

    fn options(&mut self) -> Result<DomainSet, CredentialsError> {
        self.at += 1;
        let Some(list) = self.rest().strip_prefix("domains=") else {
            return Err(self.wrong("the one option is domains=…"));
        };
        self.at += "domains=".len();
        domains(list).map_err(|(at, what)| {
            self.at += at;
            self.wrong(what)
        })
    }
}

/// Read a name that a file may hold, in the form in which it is compared.
pub fn name(text: &str) -> Result<Name, &'static str> {
    let name = Name::prepare(text.as_bytes());
    let name = name.map_err(|_| "a name has 1 to 255 octets and no control characters")?;
    if name.as_str() != text {
        return Err("the name is not as SASLprep (RFC 4013) has it");
    }
    if text.starts_with('#') || text.contains(':') || text.trim() != text {
        return Err("a name has no colon, no # and no white space around it");
    }
    Ok(name)
}

/// Read `a.example,.b.example`; otherwise at which octet it is wrong, and how.
pub fn domains(list: &str) -> Result<DomainSet, (usize, String)> {
    let mut set = DomainSet::default();
    let mut at = 0;
    for word in list.split(',') {
        let wrong = |_| (at, format!("`{}` is no domain", word.escape_debug()));
        match word.strip_prefix('.') {
            Some(parent) => set.insert_below(&Domain::parse(parent).map_err(wrong)?),
            None => set.insert(Domain::parse(word).map_err(wrong)?),
        }
        at += word.len() + 1;
    }
    Ok(set)
}

/// Random octets for new verifiers, never used before.
#[derive(Clone, Copy, Debug)]
pub struct Salts {
    /// Of the argon2id verifier.
    pub argon2: [u8; SALT_BYTES],
    /// Of the SCRAM verifier.
    pub scram: [u8; SALT_BYTES],
    /// The secret of decoys, where the file has none as yet.
    pub decoys: [u8; 32],
}

/// Both verifiers of a password, as a line has them: slow by design.
pub(super) fn verifiers(password: &Password, salts: &Salts) -> impl fmt::Display + use<> {
    let argon2 = Argon2Verifier::derive(password, salts.argon2);
    let scram = ScramVerifier::derive(password, &salts.scram, SCRAM_ITERATIONS_DEFAULT);
    format!("{argon2} {scram}")
}

/// The options of a line that `parse` accepted, with the colon before them.
pub(super) fn options_of(line: &str) -> &str {
    line.find(":domains=").and_then(|at| line.get(at..)).unwrap_or_default()
}

/// The line of a secret.
pub(super) fn secret_line(secret: &[u8; 32]) -> String {
    format!("{SECRET}{}", STANDARD.encode(secret))
}
