//! Begin handshakes: who is trusted to be the peer, and who we say we are.
//!
//! Lives on: all shards, shared; a reload makes another, and connections keep theirs.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::base::limits::{TLS_SESSIONS_KEPT, TLS_SESSIONS_KEPT_A_HOST};
use crate::mail::tlsa::Tlsa;
use crate::tls::clock::Clock;
use crate::tls::dane::Named;
use crate::tls::identity::Identity;
use crate::tls::machine::TlsError;
use crate::tls::provider;

/// Authorities whose certificates are trusted.
#[derive(Clone, Debug)]
pub struct Roots {
    pub(super) store: Arc<RootCertStore>,
    certificates: Arc<[CertificateDer<'static>]>,
}

/// Why a text names no authority.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootsError {
    /// It is no PEM.
    #[error("not a PEM certificate: {0}")]
    Certificate(String),
    /// There is none in it that can be used.
    #[error("no certificate of an authority in it")]
    Empty,
}

impl Roots {
    /// The authorities in a PEM text. What cannot be read of a system's collection is passed over:
    /// it would trust nobody else.
    pub fn from_pem(certificates: &[u8]) -> Result<Self, RootsError> {
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificates).collect();
        let all = all.map_err(|error| RootsError::Certificate(error.to_string()))?;
        let mut store = RootCertStore::empty();
        let (added, _) = store.add_parsable_certificates(all.iter().cloned());
        if added == 0 {
            return Err(RootsError::Empty);
        }
        Ok(Self { store: Arc::new(store), certificates: all.into() })
    }

    /// Asks for a certificate of theirs.
    pub(super) fn verifier(&self) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
        let builder = WebPkiServerVerifier::builder_with_provider(self.store.clone(), provider());
        builder.build().map_err(TlsError::new)
    }

    /// Their certificates in DER.
    pub fn certificates(&self) -> impl Iterator<Item = &[u8]> {
        self.certificates.iter().map(|one| &**one)
    }
}

/// The name that a peer's certificate is to be for, and that it is asked by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerName(pub(super) ServerName<'static>);

impl PeerName {
    /// A host's name; its address where it has none that a certificate could hold.
    pub fn new(host: &str, address: IpAddr) -> Self {
        let name = host.strip_suffix('.').unwrap_or(host);
        let named = ServerName::try_from(name).map(|name| name.to_owned());
        Self(named.unwrap_or_else(|_| ServerName::IpAddress(address.into())))
    }
}

/// The beginning side of handshakes.
#[derive(Clone, Debug)]
pub struct Connector {
    pub(super) config: Arc<ClientConfig>,
}

impl Connector {
    /// Takes any certificate: nobody listens in, but the peer may be anyone (RFC 7435). Shows
    /// `identity` where the peer wants one.
    pub fn opportunistic(
        identity: Option<&Identity>,
        clock: &Arc<Clock>,
    ) -> Result<Self, TlsError> {
        Self::new(Arc::new(Anyone::default()), identity, clock, TLS_SESSIONS_KEPT)
    }

    /// Takes a certificate of `roots` for the peer's name alone.
    pub fn verifying(
        roots: &Roots,
        identity: Option<&Identity>,
        clock: &Arc<Clock>,
    ) -> Result<Self, TlsError> {
        Self::new(roots.verifier()?, identity, clock, TLS_SESSIONS_KEPT)
    }

    /// Takes a certificate that fits one of `records`: what the peer's domain says of it in signed
    /// DNS. Where none of them can be used, anyone's (RFC 7672 §2.2).
    pub fn dane(
        records: &[Tlsa],
        identity: Option<&Identity>,
        clock: &Arc<Clock>,
    ) -> Result<Self, TlsError> {
        Self::new(Arc::new(Named::new(records)), identity, clock, TLS_SESSIONS_KEPT_A_HOST)
    }

    fn new(
        verifier: Arc<dyn ServerCertVerifier>,
        identity: Option<&Identity>,
        clock: &Arc<Clock>,
        sessions: usize,
    ) -> Result<Self, TlsError> {
        let builder = ClientConfig::builder_with_details(provider(), clock.clone())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let shown = rustls::sign::SingleCertAndKey::from(identity.key.clone());
                builder.with_client_cert_resolver(Arc::new(shown))
            }
        };
        // Sessions are resumed only by this connector: what it verified stays what it verified.
        config.resumption = Resumption::in_memory_sessions(sessions);
        Ok(Self { config: Arc::new(config) })
    }
}

/// Whoever answers.
#[derive(Debug)]
struct Anyone {
    schemes: Vec<SignatureScheme>,
}

impl Default for Anyone {
    fn default() -> Self {
        Self { schemes: provider().signature_verification_algorithms.supported_schemes() }
    }
}

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    // A signature by the key of a certificate that anyone may have made says nothing; and some of
    // the certificates in use are of forms that cannot be read.
    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}
