//! Tell sites apart: by where their connections lead, and from which pool of sources.

use std::net::IpAddr;
use std::sync::Arc;

use crate::mail::address::Domain;
use crate::mail::route::{PoolId, TlsLevel, UpstreamId};

/// What makes a site the same. Mail of different pools never meets: not in a line, nor on a
/// connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SiteKey {
    /// Where its connections lead.
    pub leads: Leads,
    /// Where they leave from.
    pub pool: PoolId,
}

/// Where the connections of a site lead.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Leads {
    /// An upstream relay.
    Upstream(UpstreamId),
    /// The same, for messages that require TLS.
    Required(UpstreamId),
    /// The MX hosts behind some domains, for connections with such TLS: names, sorted, each once.
    /// See [`Leads::hosts`]. A domain that is shaped by itself has a site of its own.
    Hosts(TlsLevel, Arc<[Box<str>]>, Option<Domain>),
    /// An address literal.
    Address(IpAddr),
}

impl Leads {
    /// The site of these MX hosts, in whatever order DNS gave them.
    pub fn hosts<'a>(tls: TlsLevel, names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut sorted: Vec<Box<str>> = names.into_iter().map(Box::from).collect();
        sorted.sort_unstable();
        sorted.dedup();
        Self::Hosts(tls, sorted.into(), None)
    }

    /// The same, for mail to `domain` alone, if one is given.
    #[must_use]
    pub fn of(self, domain: Option<Domain>) -> Self {
        match self {
            Self::Hosts(tls, hosts, _) => Self::Hosts(tls, hosts, domain),
            other @ (Self::Upstream(_) | Self::Required(_) | Self::Address(_)) => other,
        }
    }

    /// From there.
    pub fn from(self, pool: PoolId) -> SiteKey {
        SiteKey { leads: self, pool }
    }
}
