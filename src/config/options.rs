//! The typed options: what a whole configuration says, checked and without a text form left.
//!
//! Made only by [`crate::config::parse::load`]; whoever holds a [`Config`] need check nothing.
//! Invariants: at least one listener; every group has an upstream; every [`GroupId`] in a route or
//! a relay domain is a place in `groups`; domains occur once; all figures are in their knob's
//! range.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

mod admin;
mod bounces;
mod checks;
mod events;
mod exporters;
mod kpis;
mod senders;
mod shaping;
mod sources;
mod suppression;
mod web;

pub use admin::{AdminAddress, AdminOptions, Role, TokenFile};
pub use bounces::ReturnOptions;
pub use checks::CheckOptions;
pub use events::EventOptions;

pub use exporters::{
    AmqpExchange, Broker, Brokers, Destination, Exporter, KafkaTopic, Outlet, is_here,
};
pub use kpis::KpiOptions;
pub use senders::{Campaign, SenderOptions, SenderTerms, Tenant};
pub use shaping::{ShapingOptions, WarmUpOptions};
pub use sources::{EgressPool, EgressProxy, EgressSource, ProxyKind};
pub use suppression::{HardBounces, SuppressionOptions};
pub use web::{LinkOptions, WebOptions};

use crate::config::origin::InForce;
use crate::mail::address::{Domain, Mailbox};
use crate::mail::durability::Durability;
use crate::mail::handling::TenantName;
use crate::mail::route::{GroupId, HostPort, PoolId, Route, TlsLevel};
use crate::milter;
use crate::policy::authenticity::Mode;
use crate::policy::checks::Mode as CheckMode;
use crate::policy::filtering::OnFailure;
use crate::policy::gate;
use crate::policy::recipients::Unverified;
use crate::policy::signing::Selector;
use crate::policy::tls_report::Reporter;
use crate::smtp::sasl::Name;
use crate::smtp::server::{Auth, Security};

/// Everything that the process was told, or that holds when nobody said otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What this node calls itself in its greeting, in EHLO and in `Received:`.
    pub hostname: Domain,
    /// Where mail for the domainless `<Postmaster>` goes; `None` refuses it.
    pub postmaster: Option<Mailbox>,
    /// Shards, 1 to `SHARDS_MAX`.
    pub cores: u8,
    /// Where and by whom it is asked and steered.
    pub admin: AdminOptions,
    /// Whom the process becomes once it has what only root can have.
    pub user: Option<User>,
    /// Whether the kernel is asked to let the process do less from then on.
    pub is_confined: bool,
    /// The least severe log lines that are written.
    pub log_level: LogLevel,
    /// What is done about domains of which DNS does not say what it must.
    pub domain_check: gate::Mode,
    /// How long a drain may take before sessions are cut.
    pub drain_deadline: Duration,
    /// Where messages are kept.
    pub spool: SpoolOptions,
    /// How event logs are kept.
    pub events: EventOptions,
    /// Who is handed them; their names are unique.
    pub exporters: Vec<Exporter>,
    /// What is counted of what became of mail.
    pub kpis: KpiOptions,
    /// The file of an operator's own rules of what kind of refusal a reply is.
    pub bounce_rules: Option<PathBuf>,
    /// Where bounces and complaints come back to; `None`: not to us.
    pub returns: Option<ReturnOptions>,
    /// How traffic is shaped beside what `site` says.
    pub shaping: ShapingOptions,
    /// How sources are warmed up.
    pub warm_up: WarmUpOptions,
    /// At least one; a listener's place here is its number everywhere.
    pub listeners: Vec<Listener>,
    /// Certificates that this node shows to clients, chosen by the name that they ask for.
    pub certificates: Vec<CertificateFiles>,
    /// The file of those who may log in.
    pub credentials: Option<PathBuf>,
    /// The file of the authorities that are trusted where a peer's certificate is verified.
    pub tls_authorities: PathBuf,
    /// Limits of a shard's sessions and messages.
    pub limits: Limits,
    /// Deadlines of a session in, RFC 5321 §4.5.3.2.
    pub deadlines: Deadlines,
    /// Domains whose mail is accepted from anyone.
    pub relay_domains: Vec<RelayDomain>,
    /// Upstream relays, by [`GroupId`].
    pub groups: Vec<Group>,
    /// From destination domain to next hop.
    pub routes: Vec<RouteRule>,
    /// Where mail goes that no rule matches.
    pub default_route: Route,
    /// What holds for each MX site.
    pub site: SiteLimits,
    /// What TLS connections to MX hosts have, where nothing else is said.
    pub mx_tls: TlsLevel,
    /// Where no MX host is, whatever DNS says.
    pub refused_hops: Vec<IpNet>,
    /// How much more than the mean a shard may have in flight, in hundredths.
    pub shard_excess_percent: u32,
    /// Local addresses to send from; empty leaves the choice to the kernel.
    pub sources: Vec<EgressSource>,
    /// By [`PoolId`]: the default one is there, and the first.
    pub pools: Vec<EgressPool>,
    /// What signs; at most `SIGNATURES_MAX` keys a domain.
    pub dkim_keys: Vec<DkimKey>,
    /// The domain of one of them, which seals the mail that is verified (RFC 8617).
    pub arc_domain: Option<Domain>,
    /// Who tells domains how TLS with their MX hosts does; `None`: nobody.
    pub tls_report: Option<Reporter>,
    /// To whom nothing is sent.
    pub suppression: SuppressionOptions,
    /// Links that lead back to this node; `None`: there are none.
    pub web: Option<WebOptions>,
    /// What is checked before anyone is asked.
    pub checks: CheckOptions,
    /// Who filters what comes in, in this order; their names are unique.
    pub milters: Vec<Milter>,
    /// For whom the node sends.
    pub senders: SenderOptions,
    /// When deferred recipients are tried again, and how long they are kept.
    pub queue: QueueOptions,
    /// Name servers; empty means those of resolv.conf.
    pub dns_servers: Vec<SocketAddr>,
    /// Each knob's value as text, with where it came from: for `check` and for reload.
    pub in_force: Vec<InForce>,
}

/// Somebody whom a process can become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum User {
    /// By name, with the groups that it is in.
    Name(Box<str>),
    /// By numbers, in this group alone.
    Ids {
        /// Not root's.
        uid: u32,
        /// Of the one group.
        gid: u32,
    },
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ids { uid, gid } => write!(f, "{uid}:{gid}"),
        }
    }
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// What needs an operator.
    Error,
    /// What may need one.
    Warn,
    /// Starts, stops, reloads, changes of health.
    Info,
    /// Each thing that happens to a recipient, as in the event log.
    Debug,
    /// Each command and reply.
    Trace,
}

/// Where and how messages are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolOptions {
    /// The spool; each shard has a directory in it, and so have the event logs.
    pub directory: PathBuf,
    /// Octets of a segment file.
    pub segment_bytes: u32,
    /// Octets of messages that a shard keeps in RAM for their first attempt.
    pub hot_bytes: usize,
    /// Octets of the file system that are left free: below, MAIL gets 452 4.3.1.
    pub reserve_bytes: u64,
}

/// One address that clients connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where.
    pub address: SocketAddr,
    /// Clients that may relay to any domain.
    pub relay_for: Vec<IpNet>,
    /// Proxies that begin with a PROXY header.
    pub proxy_from: Vec<IpNet>,
    /// Clients that may say XCLIENT.
    pub xclient_from: Vec<IpNet>,
    /// What TLS is to its sessions.
    pub security: Security,
    /// The file of the authorities whose certificates let a client relay.
    pub client_authorities: Option<PathBuf>,
    /// What is done about messages whose form is wrong; `None`: they are not checked.
    pub checks: Option<CheckMode>,
    /// What is done to find out from whom strangers' mail is.
    pub verify: Option<Mode>,
    /// How clients can log in.
    pub auth: Auth,
    /// Clients can say priorities.
    pub offers_priorities: bool,
    /// Clients can say by when.
    pub offers_deliver_by: bool,
    /// For how long clients can have messages held; zero: not at all.
    pub hold: Duration,
    /// What is done about a bare CR or LF.
    pub line_endings: LineEndings,
    /// When a message gets its 250.
    pub durability: Durability,
    /// Sessions on this listener, a shard.
    pub sessions: u32,
    /// Octets of a message taken here.
    pub message_bytes: u64,
}

/// A mail filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Milter {
    /// What it is called.
    pub name: Box<str>,
    /// Where it listens.
    pub address: milter::Address,
    /// Whose messages it is asked about: places in `listeners`.
    pub listeners: Vec<usize>,
    /// What is done where it cannot be asked.
    pub on_failure: OnFailure,
    /// It is asked about messages with the null reverse-path too.
    pub sees_null: bool,
    /// Connections to it, a shard.
    pub connections: usize,
    /// For a connection and its options.
    pub connect: Duration,
    /// For each answer before the end of the message.
    pub command: Duration,
    /// For the answer to the end of the message.
    pub end: Duration,
}

/// A certificate and its key, as files in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, and those of the authorities between it and a known one.
    pub chain: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What is done about a bare CR or LF in content. Neither is ever passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineEndings {
    /// The message is refused.
    Strict,
    /// They become CRLF.
    Normalize,
}

/// Limits of a shard's sessions and messages, for all listeners together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sessions in, a shard.
    pub sessions: u32,
    /// Sessions in from one client address, a shard.
    pub sessions_per_address: u32,
    /// Connections from such an address that may not relay, a shard; `None` is without limit.
    pub connection_rate: Option<Rate>,
    /// Messages from there of clients that have not said who they are, a shard.
    pub message_rate: Option<Rate>,
    /// Recipients a transaction.
    pub recipients: u16,
    /// Errors in a session before 421.
    pub errors: u32,
    /// Octets in a text line, CRLF included.
    pub text_line_bytes: u32,
    /// Octets of a header section.
    pub header_bytes: u32,
    /// `Received:` fields before a message counts as looping.
    pub received: u16,
    /// Octets of uncommitted messages, a shard: above, MAIL gets 452 4.3.1.
    pub memory_bytes: usize,
    /// Connections out, a shard.
    pub connections: u32,
}

/// How long a session in may take for a step (RFC 5321 §4.5.3.2.7 and its like).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// From one command to the next.
    pub command: Duration,
    /// For each `CONTENT_BLOCK` octets of content.
    pub content_block: Duration,
    /// For the content of one message.
    pub content: Duration,
    /// For the session; it is cut between transactions only.
    pub session: Duration,
}

/// A domain for which mail is accepted from anyone, to be passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayDomain {
    /// The domain or the suffix.
    pub domain: DomainPattern,
    /// Who takes its mail.
    pub group: GroupId,
    /// How it is known who there is.
    pub recipients: Recipients,
}

/// How it is known which recipients of a relay domain there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Recipients {
    /// It is not.
    #[default]
    Any,
    /// By this file.
    List(Arc<Path>),
    /// Whoever takes its mail is asked; so is done where there is no answer.
    Callout(Unverified),
}

impl fmt::Display for Recipients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::List(path) => write!(f, "{}", path.display()),
            Self::Callout(_) => f.write_str("callout"),
        }
    }
}

/// A domain, or all domains below one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DomainPattern {
    /// `example.com`: that domain.
    Exact(Domain),
    /// `.example.com`: every domain below it, not itself.
    Suffix(Domain),
}

impl fmt::Display for DomainPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(domain) => write!(f, "{domain}"),
            Self::Suffix(domain) => write!(f, ".{domain}"),
        }
    }
}

/// Upstream relays that stand in for one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Unique among groups.
    pub name: Box<str>,
    /// At least one, in the order written.
    pub upstreams: Vec<Upstream>,
    /// What holds for each of them.
    pub limits: SiteLimits,
    /// What TLS connections to them have.
    pub tls: TlsLevel,
}

/// One upstream relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Host and port.
    pub host: HostPort,
    /// Its share among those of its preference, at least 1.
    pub weight: u32,
    /// 0 first; a higher one only while all lower ones fail.
    pub preference: u16,
}

/// Limits of one site or one upstream, exact over all shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SiteLimits {
    /// Connections at a time.
    pub connections: u32,
    /// Messages before a connection is closed.
    pub messages_per_connection: u32,
    /// Messages a time; `None` is without limit.
    pub rate: Option<Rate>,
}

/// So many messages in so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At least 1.
    pub messages: u32,
    /// A second, a minute or an hour.
    pub per: Duration,
}

/// One rule of the route table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteRule {
    /// Destination domains.
    pub domain: DomainPattern,
    /// Where their mail goes.
    pub route: Route,
    /// Where it leaves from, unless its sender has a pool.
    pub pool: Option<PoolId>,
}

/// A key to sign with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DkimKey {
    /// The domain that it signs for; no address literal.
    pub domain: Domain,
    /// Its name there.
    pub selector: Selector,
    /// The file that it is in.
    pub file: PathBuf,
    /// Whether it signs for domains below `domain` too.
    pub subdomains: bool,
    /// Whose mail alone it signs; everybody's where there are none.
    pub identities: Box<[Name]>,
    /// Whose mail alone it signs: these tenants'; empty: everybody's.
    pub tenants: Box<[TenantName]>,
}

/// When deferred recipients are tried again, and how long they are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueOptions {
    /// From the first attempt to the second.
    pub retry_first: Duration,
    /// Each later wait is this many times as long, in hundredths: 200 doubles it.
    pub retry_factor_percent: u32,
    /// No wait is longer.
    pub retry_longest: Duration,
    /// Waits are spread by this many hundredths up and down.
    pub retry_jitter_percent: u32,
    /// From acceptance to expiry.
    pub lifetime: Duration,
    /// From acceptance to the delay report.
    pub delay_report: Duration,
}

impl LogLevel {
    /// As the file writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}
