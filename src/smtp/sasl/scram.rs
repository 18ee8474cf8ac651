//! Let a client prove that it knows its password without saying it: SCRAM-SHA-256 (RFC 5802, 7677).
//!
//! ```text
//! client: gs2-header n=name,r=nonce            First ─► Lookup, answered with the verifier
//! server: r=nonce+ours,s=salt,i=iterations     Proof
//! client: c=channel,r=nonce+ours,p=proof       Proof ─► Final, or it is disproved
//! server: v=signature                          Final
//! client: (an empty line: RFC 4954 §4 has no room for the signature in 235)
//! ```
//! Invariant: both sides sign all that was said, the gs2-header included, so that nobody between
//! them can change it.

use crate::smtp::sasl::message::{decode, encode};
use crate::smtp::sasl::{Awaited, Channel, Fault, Name, Next, ScramVerifier};

/// The server's part of the nonce: printable, without a comma.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nonce(Box<str>);

impl Nonce {
    /// A nonce of random octets, never used before.
    pub fn new(octets: [u8; 18]) -> Self {
        Self(encode(&octets).into())
    }

    /// The nonce of a test vector.
    #[cfg(test)]
    pub(super) fn known(text: &str) -> Self {
        Self(text.into())
    }
}

/// The client's first message is awaited.
#[derive(Debug)]
pub(super) struct First {
    pub(super) channel: Channel,
    pub(super) plus: bool,
}

/// The client's first message, which waits for the verifier of its name.
#[derive(Debug)]
pub struct Lookup {
    name: Name,
    first_bare: Box<str>,
    nonce: Box<str>,
    /// What `c=` has to be.
    binding: Vec<u8>,
}

/// The client's proof is awaited.
#[derive(Debug)]
pub(super) struct Proof {
    name: Name,
    verifier: ScramVerifier,
    /// The first messages of both sides.
    said: String,
    /// Of both sides.
    nonce: String,
    binding: Vec<u8>,
}

/// The client has what proves us to it; it has nothing to add.
#[derive(Debug)]
pub(super) struct Final(Name);

impl First {
    pub(super) fn take(self, message: &[u8]) -> Result<Lookup, Fault> {
        let message = std::str::from_utf8(message).map_err(|_| Fault::Malformed)?;
        let (flag, rest) = message.split_once(',').ok_or(Fault::Malformed)?;
        let (acts_as, bare) = rest.split_once(',').ok_or(Fault::Malformed)?;
        let bound = self.bound_by(flag)?;
        // An extension that we had to know would stand first, as `m=…` (RFC 5802 §5.1).
        let (name, rest) = attribute(bare, "n=")?;
        let (nonce, _extensions) = attribute(rest.ok_or(Fault::Malformed)?, "r=")?;
        if nonce.is_empty() || !nonce.bytes().all(|octet| matches!(octet, b'!'..=b'~')) {
            return Err(Fault::Malformed);
        }
        let name = saslname(name)?;
        if let Some(acts_as) = acts_as.strip_prefix("a=") {
            if saslname(acts_as)? != name {
                return Err(Fault::ActsForOther);
            }
        } else if !acts_as.is_empty() {
            return Err(Fault::Malformed);
        }
        let header = &message[..message.len() - bare.len()];
        let binding =
            [header.as_bytes(), bound.as_ref().map_or(&[], |octets| &octets[..])].concat();
        Ok(Lookup { name, first_bare: bare.into(), nonce: nonce.into(), binding })
    }

    /// What the flag of the gs2-header says that the channel is bound by.
    ///
    /// `y` says that we offered no -PLUS; where we did, somebody took it out of what we said.
    fn bound_by(&self, flag: &str) -> Result<Option<[u8; 32]>, Fault> {
        match (flag, self.plus) {
            ("n", false) => Ok(None),
            ("y", false) if self.channel.0.is_none() => Ok(None),
            ("p=tls-exporter", true) => self.channel.0.map(Some).ok_or(Fault::WrongChannel),
            ("n" | "y", _) => Err(Fault::WrongChannel),
            (other, _) if other.starts_with("p=") => Err(Fault::WrongChannel),
            (_, _) => Err(Fault::Malformed),
        }
    }
}

impl Lookup {
    /// Whose verifier is wanted.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Go on with it, real or a decoy.
    pub fn found(self, verifier: ScramVerifier, nonce: &Nonce) -> Next {
        let Self { name, first_bare, nonce: theirs, binding } = self;
        let nonce = format!("{theirs}{}", nonce.0);
        let (salt, iterations) = (encode(verifier.salt()), verifier.iterations());
        let first = format!("r={nonce},s={salt},i={iterations}");
        let said = format!("{first_bare},{first}");
        let proof = Proof { name, verifier, said, nonce, binding };
        Awaited::Proof(proof).asked_for(first.as_bytes())
    }
}

impl Proof {
    pub(super) fn take(self, message: &[u8]) -> Result<Next, Fault> {
        let message = std::str::from_utf8(message).map_err(|_| Fault::Malformed)?;
        let (unproved, proof) = message.rsplit_once(",p=").ok_or(Fault::Malformed)?;
        let (binding, rest) = attribute(unproved, "c=")?;
        let (nonce, _extensions) = attribute(rest.ok_or(Fault::Malformed)?, "r=")?;
        let binding = decode(binding.as_bytes()).ok_or(Fault::Malformed)?;
        let proof = decode(proof.as_bytes()).ok_or(Fault::Malformed)?;
        let proof = proof.as_slice().try_into().map_err(|_| Fault::Malformed)?;
        if *binding != self.binding {
            return Err(Fault::WrongChannel);
        }
        if nonce != self.nonce {
            return Err(Fault::Malformed);
        }
        let said = format!("{},{unproved}", self.said);
        if !self.verifier.is_proved(proof, said.as_bytes()) {
            return Ok(Next::Disproved(self.name));
        }
        let signature = encode(&self.verifier.signature(said.as_bytes()));
        Ok(Awaited::Final(Final(self.name)).asked_for(format!("v={signature}").as_bytes()))
    }
}

impl Final {
    pub(super) fn take(self, message: &[u8]) -> Result<Next, Fault> {
        if message.is_empty() { Ok(Next::Proved(self.0)) } else { Err(Fault::Malformed) }
    }
}

/// The value of the attribute that `text` begins with, and what follows its comma, if there is one.
fn attribute<'a>(text: &'a str, name: &str) -> Result<(&'a str, Option<&'a str>), Fault> {
    let rest = text.strip_prefix(name).ok_or(Fault::Malformed)?;
    Ok(match rest.split_once(',') {
        Some((value, rest)) => (value, Some(rest)),
        None => (rest, None),
    })
}

/// A name in which `=2C` is a comma and `=3D` an equals sign (RFC 5802 §5.1).
fn saslname(text: &str) -> Result<Name, Fault> {
    let mut parts = text.split('=');
    let mut name = String::from(parts.next().unwrap_or_default());
    for part in parts {
        match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => name.extend([",", rest]),
            (None, Some(rest)) => name.extend(["=", rest]),
            (None, None) => return Err(Fault::Malformed),
        }
    }
    Name::prepare(name.as_bytes())
}
