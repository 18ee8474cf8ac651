//! Make acceptors and connectors of what certificates there are.

use std::sync::Arc;

use crate::config::options::Config;
use crate::mail::route::TlsLevel;
use crate::mail::tlsa::Tlsa;
use crate::shard::settings::surroundings::Surroundings;
use crate::smtp::server::Security;
use crate::tls::{Acceptor, Clock, Connector, Identity, TlsError};

/// TLS as the configuration wants it.
#[derive(Debug)]
pub(super) struct TlsSettings {
    /// By listener; `None` where there is no TLS.
    pub(super) acceptors: Vec<Option<Acceptor>>,
    /// By egress source.
    connectors: Vec<Connectors>,
}

/// How a source connects.
#[derive(Debug)]
struct Connectors {
    /// What it shows to peers.
    identity: Option<Identity>,
    opportunistic: Arc<Connector>,
    verifying: Option<Arc<Connector>>,
}

impl TlsSettings {
    /// For the listeners of `config`, and for its sources, of which there is one at least.
    pub(super) fn new(config: &Config, around: &Surroundings) -> Result<Self, TlsError> {
        let acceptor = |(place, listener): (usize, &crate::config::options::Listener)| {
            if listener.security == Security::Clear {
                return Ok(None);
            }
            let authorities = around.client_authorities.get(place).and_then(Option::as_ref);
            Acceptor::new(&around.identities, authorities, &around.clock).map(Some)
        };
        let acceptors = config.listeners.iter().enumerate().map(acceptor).collect::<Result<_, _>>();
        let connectors = |source: usize| {
            let identity = around.source_identities.get(source).and_then(Option::as_ref);
            let verifying = around
                .authorities
                .as_ref()
                .map(|roots| Connector::verifying(roots, identity, &around.clock).map(Arc::new));
            Ok(Connectors {
                identity: identity.cloned(),
                opportunistic: Arc::new(Connector::opportunistic(identity, &around.clock)?),
                verifying: verifying.transpose()?,
            })
        };
        let sources = config.sources.len().max(1);
        let connectors = (0..sources).map(connectors).collect::<Result<_, TlsError>>();
        Ok(Self { acceptors: acceptors?, connectors: connectors? })
    }

    /// How the source at this place connects; `None` in clear.
    pub(super) fn connector(&self, source: usize, level: TlsLevel) -> Option<&Arc<Connector>> {
        let connectors = self.connectors.get(source)?;
        match level {
            TlsLevel::None => None,
            TlsLevel::Opportunistic | TlsLevel::MtaSts => Some(&connectors.opportunistic),
            TlsLevel::Dane | TlsLevel::Policy | TlsLevel::Verify | TlsLevel::Required => {
                connectors.verifying.as_ref()
            }
        }
    }

    /// How the source at this place connects to a host with these records.
    pub(super) fn dane(
        &self,
        source: usize,
        records: &[Tlsa],
        clock: &Arc<Clock>,
    ) -> Option<Arc<Connector>> {
        let identity = self.connectors.get(source)?.identity.as_ref();
        Connector::dane(records, identity, clock).ok().map(Arc::new)
    }
}
