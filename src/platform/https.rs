//! Speak HTTPS to strangers: with addresses that our own resolver found, and one way of trusting.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Error};

use crate::base::limits::POLICY_ADDRESSES_MAX;
use crate::tls::Roots;

/// Asks the host that has these addresses, whatever its name; it is who one of `authorities` says.
/// No redirect is followed, no proxy asked, and nothing takes longer than `longest`.
pub(super) fn agent(authorities: &Roots, addresses: Vec<IpAddr>, longest: Duration) -> Agent {
    let roots = authorities.certificates().map(|der| Certificate::from_der(der).to_owned());
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(roots.collect())))
        .unversioned_rustls_crypto_provider(crate::tls::provider())
        .build();
    let config = Agent::config_builder()
        .tls_config(tls)
        .timeout_global(Some(longest))
        .max_redirects(0)
        .https_only(true)
        .proxy(None)
        .build();
    Agent::with_parts(config, DefaultConnector::new(), Known { addresses })
}

/// The name of the host that a URL leads to, if it is one and does.
pub(super) fn host(url: &str) -> Option<String> {
    url.parse::<Uri>().ok()?.host().map(str::to_owned)
}

/// Send `body`, which is of this media type; why nobody took it, if so.
pub(super) fn post(agent: &Agent, url: &str, kind: &str, body: &[u8]) -> Result<(), String> {
    match agent.post(url).content_type(kind).send(body) {
        Ok(response) if response.status().is_success() => Ok(()),
        Ok(response) => Err(response.status().to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether the handshake failed for the certificate's sake.
pub(super) fn is_of_certificate(error: &Error) -> bool {
    let error = if let Error::Rustls(error) = error {
        Some(error)
    } else if let Error::Io(error) = error {
        error.get_ref().and_then(|inner| inner.downcast_ref())
    } else {
        None
    };
    matches!(error, Some(rustls::Error::InvalidCertificate(_)))
}

/// Whether the network between is at fault.
pub(super) fn is_of_network(error: &Error) -> bool {
    let is_lost = |error: &io::Error| {
        matches!(
            error.kind(),
            io::ErrorKind::TimedOut
                | io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable
                | io::ErrorKind::NetworkDown
                | io::ErrorKind::PermissionDenied
        )
    };
    if let Error::Io(error) = error {
        is_lost(error)
    } else {
        matches!(error, Error::Timeout(_) | Error::ConnectionFailed | Error::HostNotFound)
    }
}

/// The addresses that our own resolver found.
#[derive(Debug)]
struct Known {
    addresses: Vec<IpAddr>,
}

impl Resolver for Known {
    fn resolve(&self, uri: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let mut found = self.empty();
        let port = uri.port_u16().unwrap_or(443);
        for address in self.addresses.iter().take(POLICY_ADDRESSES_MAX) {
            found.push(SocketAddr::new(*address, port));
        }
        if found.is_empty() { Err(Error::HostNotFound) } else { Ok(found) }
    }
}
