//! Sign a message for the domain that it is from (DKIM: RFC 6376, RFC 8301, RFC 8463), or seal what
//! is passed on (ARC: RFC 8617).
//!
//! In: content in pieces cut anywhere, then the time. Out: which signatures it is to have
//! ([`Unsigned`]), each lacking nothing but one operation with its private key, which is dear; then
//! the `DKIM-Signature:` fields, which go before the content. Invariant: the whole body is signed
//! (`l=` is never said), and so are all fields that readers see, with one more of each than there
//! is, so that none can be added behind the signature. Lives on: the home shard, one a transaction.
//!
//! mail-auth's `sign_streaming` would hash the body once a signature, sign as it hashes, ask the
//! clock, and cannot be asked what to sign until the header section is there: so this is ours. What
//! verifies is mail-auth's.

mod field;
mod from;
mod key;
mod seal;
mod signers;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use memchr::memmem;

use crate::base::limits::{CANONICAL_BLOCK, SIGNATURES_MAX};
use crate::base::time::WallTime;
use crate::mail::address::Domain;
use crate::mail::handling::TenantName;
use crate::policy::canonical::body::{BodyHash, Form};
use crate::policy::relay::DomainSet;
use crate::policy::signing::from::from_domain;
use crate::smtp::sasl::Name;

pub use field::Unsigned;
pub use key::{Algorithm, KeyError, PrivateKey, SigningFailed};
pub use seal::{Chain, Seal};
pub use signers::{Selector, Signer, Signers};

/// Reads content as it comes, for the signatures that it will get.
#[derive(Debug)]
pub struct Signing {
    signers: Arc<Signers>,
    reverse_domain: Option<Domain>,
    /// Whose client may send as these alone gets no others' signatures.
    bound_to: Option<Arc<DomainSet>>,
    /// As whom the client has logged in.
    identity: Option<Name>,
    /// Whose it is, as far as that is known.
    tenant: Option<TenantName>,
    /// It gets this set, and no signatures.
    seal: Option<Box<Seal>>,
    header_bytes_max: usize,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// The header section, and nothing behind it yet.
    Header(Vec<u8>),
    /// Behind the header section, of a message that will be signed.
    Body { header: Vec<u8>, signers: Vec<Arc<Signer>>, body: Box<BodyHash> },
    /// In a message that will not be.
    Passed,
}

/// What ends a header section.
const END: &[u8] = b"\r\n\r\n";

impl Signing {
    /// At the start of content. `reverse_domain` signs where the `From:` field's domain has no key;
    /// a larger header section than `header_bytes_max` is not signed.
    pub fn new(
        signers: Arc<Signers>,
        reverse_domain: Option<Domain>,
        header_bytes_max: usize,
    ) -> Self {
        let place = Place::Header(Vec::new());
        Self {
            signers,
            reverse_domain,
            bound_to: None,
            identity: None,
            tenant: None,
            seal: None,
            header_bytes_max,
            place,
        }
    }

    /// At the start of content that is to be sealed.
    pub fn sealing(seal: Seal, header_bytes_max: usize) -> Self {
        let seal = Some(Box::new(seal));
        Self { seal, ..Self::new(Arc::default(), None, header_bytes_max) }
    }

    /// Sign for these domains alone, where there are such: the client may send as no others.
    #[must_use]
    pub fn bound_to(self, domains: Option<Arc<DomainSet>>) -> Self {
        Self { bound_to: domains, ..self }
    }

    /// Sign as for who logged in under this name, with keys that are for them alone too.
    #[must_use]
    pub fn of(self, identity: Option<Name>) -> Self {
        Self { identity, ..self }
    }

    /// Sign as for this tenant, with keys that are for it alone too.
    #[must_use]
    pub fn of_tenant(self, tenant: Option<TenantName>) -> Self {
        Self { tenant, ..self }
    }

    /// The header says whose it is: to be said before the header's end comes.
    pub fn set_tenant(&mut self, tenant: &TenantName) {
        if self.tenant.as_ref() != Some(tenant) {
            self.tenant = Some(tenant.clone());
        }
    }

    /// Take the next piece.
    pub fn push(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Place::Header(header) = &mut self.place {
            if rest.is_empty() {
                return;
            }
            let (piece, after) = rest.split_at(rest.len().min(CANONICAL_BLOCK));
            rest = after;
            let looked_at = header.len().saturating_sub(END.len() - 1);
            header.extend_from_slice(piece);
            if header.starts_with(&END[2..]) {
                // No field at all, so none that says who it is from.
                self.place = Place::Passed;
            } else if let Some(at) = memmem::find(&header[looked_at..], END) {
                let header_end = looked_at + at + 2;
                self.leave_header(header_end);
            } else if header.len() > self.header_bytes_max {
                self.place = Place::Passed;
            }
        }
        if let Place::Body { body, .. } = &mut self.place {
            body.push(rest);
        }
    }

    /// Octets of memory held.
    pub fn memory(&self) -> usize {
        match &self.place {
            Place::Header(header) | Place::Body { header, .. } => header.capacity(),
            Place::Passed => 0,
        }
    }

    /// What the message is to be signed with, at its end.
    pub fn finish(mut self, now: WallTime) -> Unsigned {
        if let Place::Header(header) = &mut self.place {
            // A message may end with its header section, and in the middle of a line.
            if !header.ends_with(b"\r\n") {
                header.extend_from_slice(b"\r\n");
            }
            let header_end = header.len();
            self.leave_header(header_end);
        }
        match self.place {
            Place::Body { header, signers, body } => match self.seal {
                Some(seal) => seal.compose(&header, &body.finish(), now),
                None => field::compose(&header, &body.finish(), &signers, now),
            },
            Place::Header(_) | Place::Passed => Unsigned::default(),
        }
    }

    /// The header section ends at `header_end`; an empty line and some of the body may follow.
    fn leave_header(&mut self, header_end: usize) {
        let Place::Header(header) = &mut self.place else { return };
        let mut header = std::mem::take(header);
        let behind = header.get(header_end + 2..).unwrap_or_default();
        let mut body = Box::new(BodyHash::new(Form::Relaxed));
        body.push(behind);
        header.truncate(header_end);
        let signers = self.choose(&header);
        self.place = match signers.is_empty() || header.len() > self.header_bytes_max {
            true => Place::Passed,
            false => Place::Body { header, signers, body },
        };
    }

    /// Who signs: the domain that the message says it is from, else that of the reverse-path.
    fn choose(&self, header: &[u8]) -> Vec<Arc<Signer>> {
        if let Some(seal) = &self.seal {
            return vec![seal.signer.clone()];
        }
        // A message from nobody, or from several at once, says nothing that could be vouched for.
        let Some(from) = from_domain(header) else { return Vec::new() };
        let (identity, tenant) = (self.identity.as_ref(), self.tenant.as_ref());
        let may = |domain: &&Domain| self.bound_to.as_ref().is_none_or(|set| set.contains(domain));
        let of = |domain: Option<&Domain>| -> Vec<Arc<Signer>> {
            let all = domain.filter(may).map_or(&[][..], |domain| self.signers.of(domain));
            let own = all.iter().filter(|signer| signer.is_for(identity, tenant));
            own.take(SIGNATURES_MAX).cloned().collect()
        };
        let signers = of(from.as_ref());
        if signers.is_empty() { of(self.reverse_domain.as_ref()) } else { signers }
    }
}
