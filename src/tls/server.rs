//! Answer handshakes: which certificate for which name, and whose certificate is wanted.
//!
//! Lives on: all shards, shared; a reload makes another, and sessions keep theirs.

use std::sync::Arc;

use hashbrown::HashMap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, ServerSessionMemoryCache,
    WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;

use crate::base::limits::TLS_SESSIONS_KEPT;
use crate::tls::client::Roots;
use crate::tls::clock::Clock;
use crate::tls::identity::Identity;
use crate::tls::machine::TlsError;
use crate::tls::provider;

/// The answering side of handshakes.
#[derive(Clone, Debug)]
pub struct Acceptor {
    pub(super) config: Arc<ServerConfig>,
}

impl Acceptor {
    /// Answers as one of `identities`, the first where a client names nobody. A client may show a
    /// certificate of `clients`; one that shows another is not let in.
    pub fn new(
        identities: &[Identity],
        clients: Option<&Roots>,
        clock: &Arc<Clock>,
    ) -> Result<Self, TlsError> {
        Self::build(identities, clients.map(|roots| (roots, false)), clock)
    }

    /// As `new`, but a client without a certificate of `clients` is not let in.
    pub fn for_members(
        identities: &[Identity],
        clients: &Roots,
        clock: &Arc<Clock>,
    ) -> Result<Self, TlsError> {
        Self::build(identities, Some((clients, true)), clock)
    }

    /// What rustls works by, for a runtime that drives it by itself.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }

    fn build(
        identities: &[Identity],
        clients: Option<(&Roots, bool)>,
        clock: &Arc<Clock>,
    ) -> Result<Self, TlsError> {
        let builder = ServerConfig::builder_with_details(provider(), clock.clone())
            .with_safe_default_protocol_versions()?;
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some((roots, is_required)) => {
                let store = roots.store.clone();
                let verifier = WebPkiClientVerifier::builder_with_provider(store, provider());
                let verifier = match is_required {
                    true => verifier.build(),
                    false => verifier.allow_unauthenticated().build(),
                };
                builder.with_client_cert_verifier(verifier.map_err(TlsError::new)?)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(Identities::new(identities)?));
        // A ticket carries the session: nothing is kept here but the key that seals it. Those who
        // speak TLS 1.2 without tickets are kept, some of them.
        config.ticketer = Ticketer::new()?;
        config.send_tls13_tickets = 1;
        config.session_storage = if clients.is_some() {
            Arc::new(NoServerSessionStorage {})
        } else {
            ServerSessionMemoryCache::new(TLS_SESSIONS_KEPT)
        };
        Ok(Self { config: Arc::new(config) })
    }
}

/// Certificates by the name that a client asks for.
#[derive(Debug)]
struct Identities {
    first: Arc<CertifiedKey>,
    by_name: HashMap<Box<str>, Arc<CertifiedKey>>,
}

impl Identities {
    fn new(identities: &[Identity]) -> Result<Self, TlsError> {
        let first = identities.first().ok_or_else(|| TlsError::new("no certificate"))?.key.clone();
        let mut by_name = HashMap::new();
        for identity in identities {
            for name in identity.names() {
                by_name.entry(name.into()).or_insert_with(|| identity.key.clone());
            }
        }
        Ok(Self { first, by_name })
    }

    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        let wildcard = || {
            let (_, parent) = name.split_once('.')?;
            self.by_name.get(format!("*.{parent}").as_str())
        };
        self.by_name.get(name.as_str()).or_else(wildcard)
    }
}

impl ResolvesServerCert for Identities {
    /// A name that is none of ours gets the first certificate: an MX host is asked under many
    /// names, and few of those who ask look at what they get.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let found = hello.server_name().and_then(|name| self.find(name));
        Some(found.unwrap_or(&self.first).clone())
    }
}
