//! What a shard works by: the configuration in force, in the shapes that its parts ask.
//!
//! Made once from a [`Config`] and shared by all shards; a reload makes a new one.

use std::sync::Arc;

use crate::base::time::WallTime;
use crate::config::options::{self, Config, DomainPattern};
use crate::dns;
use crate::egress::nexthop::Router;
use crate::egress::source::Source;
use crate::egress::throttle::{Rate, SiteLimits};
use crate::egress::upstream::{Group, Member};
use crate::mail::address::{Domain, Mailbox};
use crate::mail::route::{GroupId, Route};
use crate::policy::admission::AdmissionLimits;
use crate::policy::content::ContentLimits;
use crate::policy::relay::{AddressSet, DomainSet, RelayPolicy};
use crate::queue::backoff::Schedule;
use crate::smtp::{client, server};

/// The configuration in force.
#[derive(Debug)]
pub struct Settings {
    /// What this node calls itself.
    pub hostname: Domain,
    /// By listener.
    listeners: Vec<Arc<server::Options>>,
    /// Who may relay where.
    pub relay: RelayPolicy,
    /// Bounds on content.
    pub content_limits: ContentLimits,
    /// Bounds on sessions.
    pub admission: AdmissionLimits,
    /// When what failed is tried again.
    pub schedule: Schedule,
    /// From destination domain to next hop.
    pub router: Router,
    /// Upstream groups, by `GroupId`.
    pub groups: Vec<GroupSettings>,
    /// What holds for each MX site.
    pub mx_limits: SiteLimits,
    /// Where mail leaves from; never empty.
    pub sources: Arc<[Source]>,
    /// How connections out are run, by source.
    pub clients: Vec<Arc<client::Options>>,
    /// Name servers and how they are asked.
    pub dns: dns::Options,
    /// What this node is called, to see itself among MX hosts.
    pub own_names: Arc<dns::OwnNames>,
    /// Octets of messages kept in RAM for their first attempt.
    pub hot_bytes: usize,
    /// How long a drain may take.
    pub drain_deadline: std::time::Duration,
}
