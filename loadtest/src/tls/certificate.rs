//! The answering side of handshakes: certificates, made for a run or given, good and flawed.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::{Stream, provider};

/// What is wrong with a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Flaw {
    #[default]
    None,
    /// It was good until the year 2001.
    Expired,
    /// It is for a host of another name.
    WrongName,
}

/// Makes certificates that sign themselves, all with one key and for one holder: who trusts the
/// good one refuses another for its flaw alone.
#[derive(Debug)]
pub(crate) struct Maker {
    key: KeyPair,
}

impl Maker {
    /// With a new key, for ECDSA on P-256.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { key: KeyPair::generate().context("making a key")? })
    }

    /// A certificate for these hosts.
    pub(crate) fn make(&self, flaw: Flaw, name: &str, addresses: &[IpAddr]) -> Result<Identity> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "loadtest");
        let named = |name: &str| name.try_into().map(SanType::DnsName).context("a host's name");
        if flaw == Flaw::WrongName {
            params.subject_alt_names.push(named("elsewhere.example")?);
        } else {
            params.subject_alt_names.push(named(name)?);
            params.subject_alt_names.extend(addresses.iter().copied().map(SanType::IpAddress));
        }
        if flaw == Flaw::Expired {
            params.not_before = date_time_ymd(2000, 1, 1);
            params.not_after = date_time_ymd(2001, 1, 1);
        }
        let certificate = params.self_signed(&self.key).context("signing a certificate")?;
        let key = PrivateKeyDer::try_from(self.key.serialize_der());
        Ok(Identity {
            chain: vec![certificate.der().clone()],
            key: key.map_err(anyhow::Error::msg)?,
            pem: certificate.pem(),
            key_pem: self.key.serialize_pem(),
        })
    }
}

/// A certificate chain and its key, and both as text.
pub(crate) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    pub(crate) pem: String,
    pub(crate) key_pem: String,
}

impl Identity {
    /// That of two PEM files.
    pub(crate) fn read(certificate: &Path, key: &Path) -> Result<Self> {
        let reading = |path: &Path| format!("reading {}", path.display());
        let text = |path: &Path| std::fs::read_to_string(path).with_context(|| reading(path));
        let (pem, key_pem) = (text(certificate)?, text(key)?);
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        Ok(Self {
            chain: chain.with_context(|| reading(certificate))?,
            key: PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).with_context(|| reading(key))?,
            pem,
            key_pem,
        })
    }

    /// What answers handshakes with it.
    ///
    /// Errors: no certificate, or one that the key does not belong to.
    pub(crate) fn server(self) -> Result<Server> {
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .context("choosing versions of TLS")?
            .with_no_client_auth()
            .with_single_cert(self.chain, self.key)
            .context("the certificate and its key")?;
        Ok(Server(TlsAcceptor::from(Arc::new(config))))
    }
}

/// Answers handshakes.
#[derive(Clone)]
pub(crate) struct Server(TlsAcceptor);

impl Server {
    /// Secures a connection that a client began.
    pub(crate) async fn secure(&self, stream: TcpStream) -> io::Result<Stream> {
        let secured = self.0.accept(stream).await?;
        Ok(Stream::Tls(Box::new(secured.into())))
    }
}
