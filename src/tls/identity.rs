//! Read a certificate with its key: who we are to a peer.
//!
//! In: two PEM texts. Out: an [`Identity`]. Invariant: the key is the certificate's. Of the
//! certificate alone: a [`Chain`], for whoever compares it with what DNS says of it.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use webpki::EndEntityCert;

use crate::base::limits::TLS_CHAIN_MAX;
use crate::mail::tlsa::Tlsa;
use crate::tls::provider;

/// A certificate and those of the authorities between it and a known one.
#[derive(Clone, Debug)]
pub struct Chain {
    /// At least one; the host's own first.
    certificates: Vec<CertificateDer<'static>>,
    /// The host names of the first one, in lower case, `*.example.com` among them.
    names: Vec<Box<str>>,
}

/// A certificate chain and its key.
#[derive(Clone, Debug)]
pub struct Identity {
    pub(super) key: Arc<CertifiedKey>,
    /// The host names of the certificate, in lower case, `*.example.com` among them.
    names: Vec<Box<str>>,
}

/// Why it is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The text of the certificates is no PEM.
    #[error("not a PEM certificate: {0}")]
    Certificate(String),
    /// There is no certificate in it.
    #[error("no certificate in it: a PEM block `BEGIN CERTIFICATE` is wanted, the server's first")]
    NoCertificate,
    /// More than anyone's chain is long.
    #[error("{0} certificates: at most {TLS_CHAIN_MAX} make a chain")]
    Chain(usize),
    /// The text of the key is no PEM, or has no key in it.
    #[error("no private key in it: a PEM block `BEGIN PRIVATE KEY` without a passphrase is wanted")]
    Key,
    /// The key is of a kind that is not used, or belongs to another certificate.
    #[error("{0}")]
    Pair(String),
}

impl Chain {
    /// The chain that a PEM text holds; the certificate of this node comes first.
    pub fn from_pem(certificates: &[u8]) -> Result<Self, IdentityError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificates).collect();
        let chain = chain.map_err(|error| IdentityError::Certificate(error.to_string()))?;
        let Some(first) = chain.first() else { return Err(IdentityError::NoCertificate) };
        if chain.len() > TLS_CHAIN_MAX {
            return Err(IdentityError::Chain(chain.len()));
        }
        let parsed = EndEntityCert::try_from(first)
            .map_err(|error| IdentityError::Certificate(error.to_string()))?;
        let names = parsed.valid_dns_names().map(|name| name.to_ascii_lowercase().into()).collect();
        Ok(Self { certificates: chain, names })
    }

    /// Whether the certificate is for `host`, in lower case; `*.` stands for one label.
    pub fn is_for(&self, host: &str) -> bool {
        self.names.iter().any(|name| match name.strip_prefix("*.") {
            None => **name == *host,
            Some(parent) => host.split_once('.').is_some_and(|(_, rest)| rest == parent),
        })
    }

    /// What DNS should say of it: RFC 7672 §3.1, `3 1 1`, which holds as long as its key.
    pub fn record(&self) -> Option<Tlsa> {
        Tlsa::of_key(self.certificates.first()?)
    }

    /// Whether one of the records is met by this chain, as far as it can be seen without a peer.
    pub fn meets(&self, records: &[Tlsa]) -> bool {
        let Some((own, authorities)) = self.certificates.split_first() else { return false };
        records.iter().any(|record| record.is_met_by(own, authorities))
    }
}

impl Identity {
    /// The identity that these PEM texts hold; the certificate of this node comes first.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        let Chain { certificates: chain, names } = Chain::from_pem(certificates)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| IdentityError::Key)?;
        let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| {
            let is_of_another = matches!(error, rustls::Error::InconsistentKeys(_));
            let known = "the key is not that of the certificate".to_owned();
            IdentityError::Pair(if is_of_another { known } else { error.to_string() })
        })?;
        Ok(Self { key: Arc::new(key), names })
    }

    /// The host names that the certificate is for.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }
}
