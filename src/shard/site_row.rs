//! What an owner keeps for each site beside the site's own machine.
//!
//! Lives on: the owner shard.

use std::net::SocketAddr;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::base::limits::{SITE_ENDPOINTS_MAX, TLS_CLEAR_FOR};
use crate::base::time::Monotonic;
use crate::egress::PooledId;
use crate::egress::site::{Site, SiteKey};
use crate::egress::source::Sources;
use crate::mail::outcome::Failure;
use crate::mail::route::{TlsLevel, UpstreamId};
use crate::shard::delivery::JobId;
use crate::shard::platform::ConnectionId;

/// A site and what this shard keeps for it.
#[derive(Debug)]
pub(super) struct SiteRow {
    pub(super) site: Site<JobId>,
    pub(super) key: SiteKey,
    /// For people: the upstream relay's, or the first MX host's.
    pub(super) name: Box<str>,
    pub(super) sources: Sources,
    /// Its connections, by their names in the site's pool.
    pub(super) connections: HashMap<PooledId, ConnectionId>,
    pub(super) stirred: bool,
    pub(super) armed: Option<Monotonic>,
    /// Nothing has happened at it since then.
    pub(super) quiet_since: Monotonic,
    /// An upstream relay: its addresses hold for so long, as DNS says.
    pub(super) found_until: Monotonic,
    /// What TLS its connections are to have.
    pub(super) tls: TlsLevel,
    /// Addresses with which TLS did not come about though it was offered: why, and until when they
    /// get connections in clear.
    pub(super) tls_failures: HashMap<SocketAddr, (Arc<str>, Monotonic)>,
}

impl SiteRow {
    /// A site that is new here.
    pub(super) fn new(
        site: Site<JobId>,
        key: SiteKey,
        name: Box<str>,
        tls: TlsLevel,
        sources: Sources,
        now: Monotonic,
    ) -> Self {
        Self {
            site,
            key,
            name,
            sources,
            connections: HashMap::new(),
            stirred: false,
            armed: None,
            quiet_since: now,
            found_until: now,
            tls,
            tls_failures: HashMap::new(),
        }
    }

    /// The upstream relay that this site is, or was before the configuration changed.
    pub(super) fn upstream(&self) -> Option<UpstreamId> {
        match self.key {
            SiteKey::Upstream(upstream) => Some(upstream),
            SiteKey::Hosts(..) | SiteKey::Address(_) => None,
        }
    }

    /// The upstream relay's name, if the site is one.
    pub(super) fn upstream_name(&self) -> Option<Box<str>> {
        self.upstream().map(|_| self.name.clone())
    }

    /// Why TLS with an address did not come about a while ago.
    pub(super) fn tls_failed(&self, address: SocketAddr, now: Monotonic) -> Option<Arc<str>> {
        let (why, until) = self.tls_failures.get(&address)?;
        (*until > now).then(|| why.clone())
    }

    /// TLS did not come about on this connection.
    pub(super) fn note_tls_failure(&mut self, pooled: PooledId, failure: &Failure, now: Monotonic) {
        self.tls_failures.retain(|_, (_, until)| *until > now);
        if let Some(address) = self.site.address(pooled)
            && self.tls_failures.len() < SITE_ENDPOINTS_MAX
        {
            let why = failure.to_string().into();
            self.tls_failures.insert(address, (why, now + TLS_CLEAR_FOR));
        }
    }
}
