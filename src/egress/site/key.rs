//! Tell sites apart: by where their connections lead.

use std::net::IpAddr;
use std::sync::Arc;

use crate::mail::route::{TlsLevel, UpstreamId};

/// What makes a site the same: where its connections lead.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SiteKey {
    /// An upstream relay.
    Upstream(UpstreamId),
    /// The same, for messages that require TLS.
    Required(UpstreamId),
    /// The MX hosts behind some domains, for connections with such TLS: names, sorted, each once.
    /// See [`SiteKey::hosts`].
    Hosts(TlsLevel, Arc<[Box<str>]>),
    /// An address literal.
    Address(IpAddr),
}

impl SiteKey {
    /// The site of these MX hosts, in whatever order DNS gave them.
    pub fn hosts<'a>(tls: TlsLevel, names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut sorted: Vec<Box<str>> = names.into_iter().map(Box::from).collect();
        sorted.sort_unstable();
        sorted.dedup();
        Self::Hosts(tls, sorted.into())
    }
}
