//! The beginning side of handshakes: anyone is taken for the server, unless an authority is given.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Stream, provider};

/// Begins handshakes with one server; sessions of before are resumed where it allows that.
pub(crate) struct Client {
    connector: TlsConnector,
    server: ServerName<'static>,
}

impl Client {
    /// For the server at `address`; with `ca`, a PEM file, its certificate must be of one of these
    /// authorities and for `name`, or without that for the address.
    ///
    /// Errors: a file that cannot be read or has no certificate, a name that is none.
    pub(crate) fn new(ca: Option<&Path>, name: Option<&str>, address: IpAddr) -> Result<Self> {
        let server = match name {
            None => ServerName::IpAddress(address.into()),
            Some(name) => ServerName::try_from(name.to_owned())
                .with_context(|| format!("{name:?} is no server's name"))?,
        };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .context("choosing versions of TLS")?;
        let config = match ca {
            None => {
                let schemes = provider().signature_verification_algorithms.supported_schemes();
                let anyone = Arc::new(Anyone { schemes });
                builder.dangerous().with_custom_certificate_verifier(anyone)
            }
            Some(path) => builder.with_root_certificates(authorities(path)?),
        };
        let config = config.with_no_client_auth();
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), server })
    }

    /// Secures a connection.
    ///
    /// Errors: those of the connection, and of the handshake.
    pub(crate) async fn secure(&self, stream: TcpStream) -> io::Result<Stream> {
        let secured = self.connector.connect(self.server.clone(), stream).await?;
        Ok(Stream::Tls(Box::new(secured.into())))
    }
}

fn authorities(path: &Path) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    let all = CertificateDer::pem_file_iter(path);
    for certificate in all.with_context(|| format!("reading {}", path.display()))? {
        let certificate = certificate.with_context(|| format!("reading {}", path.display()))?;
        store.add(certificate).with_context(|| format!("a certificate in {}", path.display()))?;
    }
    if store.is_empty() {
        bail!("{} has no certificate of an authority", path.display());
    }
    Ok(store)
}

/// Whoever answers: a load test is not about who that is.
#[derive(Debug)]
struct Anyone {
    schemes: Vec<SignatureScheme>,
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
