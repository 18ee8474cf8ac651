//! What an owner keeps for each site beside the site's own machine.
//!
//! Lives on: the owner shard.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hashbrown::HashMap;

use crate::base::limits::{PROXY_REST, REFUSAL_KEPT_FOR, SITE_ENDPOINTS_MAX, TLS_CLEAR_FOR};
use crate::base::time::{Monotonic, WallTime};
use crate::egress::PooledId;
use crate::egress::endpoints::Endpoint;
use crate::egress::site::{Leads, Site, SiteKey};
use crate::egress::source::Sources;
use crate::mail::outcome::{Failure, Reason};
use crate::mail::route::{TlsLevel, UpstreamId};
use crate::mail::tlsa::Tlsa;
use crate::shard::delivery::JobId;
use crate::shard::mesh::Settlement;
use crate::shard::platform::ConnectionId;
use crate::shard::securing::Records;
use crate::shard::settings::Settings;
use crate::smtp::client;
use crate::tls::Connector;

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
    /// When it last refused something, and how: for people.
    pub(super) refused: Option<(WallTime, Reason)>,
    /// What signed DNS says of its hosts' certificates, and how to connect by that.
    dane: HashMap<Box<str>, Dane>,
}

#[derive(Debug)]
struct Dane {
    records: Arc<[Tlsa]>,
    /// By the place of the egress source, which may have a certificate to show.
    connectors: HashMap<usize, Arc<Connector>>,
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
            refused: None,
            dane: HashMap::new(),
        }
    }

    /// The upstream relay that this site is, or was before the configuration changed.
    pub(super) fn upstream(&self) -> Option<UpstreamId> {
        match self.key.leads {
            Leads::Upstream(upstream) | Leads::Required(upstream) => Some(upstream),
            Leads::Hosts(..) | Leads::Address(_) => None,
        }
    }

    /// The upstream relay's name, if the site is one.
    pub(super) fn upstream_name(&self) -> Option<Box<str>> {
        self.upstream().map(|_| self.name.clone())
    }

    /// Why TLS with an address did not come about a while ago.
    fn tls_failed(&self, address: SocketAddr, now: Monotonic) -> Option<Arc<str>> {
        let (why, until) = self.tls_failures.get(&address)?;
        (*until > now).then(|| why.clone())
    }

    /// Take what signed DNS says now; what is as before keeps its sessions.
    pub(super) fn set_tlsa(&mut self, records: &Records) {
        let mut before = std::mem::take(&mut self.dane);
        for (host, records) in records {
            let same = before.remove(host).filter(|dane| dane.records == *records);
            let new = || Dane { records: records.clone(), connectors: HashMap::new() };
            self.dane.insert(host.clone(), same.unwrap_or_else(new));
        }
    }

    /// What TLS a connection to `endpoint` is to have, how it begins, and why it is to be in clear
    /// though it would not have to be.
    pub(super) fn protection(
        &mut self,
        endpoint: &Endpoint,
        source: usize,
        settings: &Settings,
        now: Monotonic,
    ) -> (TlsLevel, Option<Arc<Connector>>, Option<Arc<str>>) {
        let dane = self.dane.get_mut(&*endpoint.host);
        let level = match (self.tls, dane.is_some()) {
            (TlsLevel::Dane | TlsLevel::Policy | TlsLevel::Required, true) => TlsLevel::Dane,
            (TlsLevel::Dane, false) => TlsLevel::Opportunistic,
            (TlsLevel::Policy | TlsLevel::Required, false) => TlsLevel::Verify,
            (level, _) => level,
        };
        if let (TlsLevel::Dane, Some(dane)) = (level, dane) {
            let known = dane.connectors.get(&source).cloned();
            let connector = known.or_else(|| settings.dane_connector(source, &dane.records));
            if let Some(connector) = &connector {
                dane.connectors.insert(source, connector.clone());
            }
            return (level, connector, None);
        }
        let failed = self.tls_failed(endpoint.address, now);
        match failed.filter(|_| level == TlsLevel::Opportunistic) {
            Some(why) => (TlsLevel::None, None, Some(why)),
            None => (level, settings.connector(source, level), None),
        }
    }

    /// How a connection is run, as the shape of its source wants it.
    pub(super) fn shape_client(
        &self,
        pooled: PooledId,
        options: Arc<client::Options>,
    ) -> Arc<client::Options> {
        let outlet = || self.site.shaped()?.outlet(self.site.outlet_of(pooled)?);
        match outlet() {
            Some(here) if !here.shape.pipelining => {
                Arc::new(client::Options { use_pipelining: false, ..(*options).clone() })
            }
            Some(_) | None => options,
        }
    }

    /// Something was refused here. One that has just been noted stands for those that follow it.
    pub(super) fn note_refusal(&mut self, settlement: Option<&Settlement>, now: WallTime) {
        let Some(Settlement::Deferred(reason) | Settlement::Bounced(reason)) = settlement else {
            return;
        };
        if self.refused.as_ref().is_none_or(|(at, _)| *at + REFUSAL_KEPT_FOR <= now) {
            self.refused = Some((now, reason.clone()));
        }
    }

    /// The proxy of a connection's source failed, of the source at `place` in its pool: it is left
    /// alone for a while. Whether another can connect to `peer`, or the mail is to wait.
    pub(super) fn rest_source(
        &mut self,
        pooled: PooledId,
        place: usize,
        peer: IpAddr,
        now: Monotonic,
    ) -> bool {
        let outlet = || self.site.shaped()?.outlet(self.site.outlet_of(pooled)?);
        match outlet() {
            Some(here) => {
                let why = format!("the proxy of {} does not answer", here.outlet.source());
                here.outlet.suspend(now + PROXY_REST, &why.into());
                true
            }
            None => self.sources.rest(place, peer, now),
        }
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
