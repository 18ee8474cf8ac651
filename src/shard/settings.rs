//! What a shard works by: the configuration in force, in the shapes that its parts ask.
//!
//! Made once from a [`Config`] and shared by all shards; a reload makes a new one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::base::limits::HOLD_SECONDS_MAX;
use crate::config::options::{self, Config, DomainPattern, Recipients};
use crate::dns;
use crate::egress::diversions::{Diversions, MX, Orders};
use crate::egress::health::GroupHealth;
use crate::egress::nexthop::Router;
use crate::egress::pools::Pools;
use crate::egress::shaping::Shaping;
use crate::egress::site::{Leads, SiteKey};
use crate::egress::throttle::SiteLimits;
use crate::egress::upstream::Group;
use crate::egress::warm_up::Roster;
use crate::mail::address::Domain;
use crate::mail::durability::Durability;
use crate::mail::handling::Handling;
use crate::mail::route::{GroupId, Route, TlsLevel, UpstreamId};
use crate::mail::tlsa::Tlsa;
use crate::outcome::classes::Classifier;
use crate::policy::admission::AdmissionLimits;
use crate::policy::authenticity::{Mode, Verifier};
use crate::policy::block_lists::BlockList;
use crate::policy::checks;
use crate::policy::content::ContentLimits;
use crate::policy::credentials::Credentials;
use crate::policy::gate::Gate;
use crate::policy::links::letter;
use crate::policy::pace::Pace;
use crate::policy::rates::RateLimits;
use crate::policy::recipients::{self, Check, RecipientList};
use crate::policy::relay::{AddressSet, DomainSet, RelayPolicy};
use crate::policy::returns::Returns;
use crate::policy::senders::Senders;
use crate::policy::signing::{Signer, Signers};
use crate::policy::suppression::{At, Suppression};
use crate::queue::Tenants;
use crate::queue::backoff::Schedule;
use crate::shard::delivery::SMTP_PORT;
use crate::smtp::content::LineEndings;
use crate::smtp::deadline::Deadlines;
use crate::smtp::extension::Offered;
use crate::smtp::{client, server};
use crate::tls::{Acceptor, Clock, Connector, Roots, TlsError};

mod bounces;
mod clients;
pub(crate) mod filters;
mod links;
mod proxies;
mod routing;
mod senders;
mod sources;
mod surroundings;
mod tls;

use clients::Clients;
use filters::{Filters, ListenerFilters};
use proxies::Proxies;
use routing::{group, router, site_limits};
pub use surroundings::Surroundings;
use tls::TlsSettings;

/// The configuration in force.
#[derive(Debug)]
pub struct Settings {
    /// What this node calls itself.
    pub hostname: Domain,
    /// By listener.
    listeners: Vec<Arc<server::Options>>,
    /// By listener: when a message gets its 250, where nothing is said of who sends it.
    durability: Vec<Durability>,
    /// Who may relay where.
    pub relay: RelayPolicy,
    /// By listener: who may say for whom they connect.
    proxies: Vec<Proxies>,
    /// By relay domain: who there is.
    pub recipients: recipients::Checks,
    /// What comes back to us; `None`: nothing does.
    pub returns: Option<Arc<Returns>>,
    /// What tenants want of their messages' links; `None`: nothing.
    pub links: Option<Arc<letter::Rules>>,
    /// Domains that are not used.
    pub gate: Gate,
    /// To whom nothing is sent, where that is looked up at RCPT.
    pub suppressed_at_rcpt: Option<Arc<Suppression>>,
    /// Where it is looked up before each attempt.
    pub suppressed_in_queue: Option<Arc<Suppression>>,
    /// Bounds on content.
    pub content_limits: ContentLimits,
    /// By listener: what is done about messages whose form is wrong.
    checks: Vec<Option<checks::Mode>>,
    /// What form that is.
    pub check_rules: Arc<checks::Rules>,
    /// Who is asked about strangers.
    pub block_lists: Arc<[BlockList]>,
    /// By listener: what is done about where strangers' mail is from.
    verify: Vec<Option<Mode>>,
    /// What finds that out, if any listener wants it.
    pub verifier: Option<Arc<Verifier>>,
    /// By listener: its address, for milters.
    listener_names: Vec<Box<str>>,
    /// By listener.
    filters: Vec<ListenerFilters>,
    /// Keys that sign.
    pub signers: Arc<Signers>,
    /// What seals the mail that is verified.
    pub sealer: Option<Arc<Signer>>,
    /// Bounds on sessions.
    pub admission: AdmissionLimits,
    /// How often strangers may come.
    pub rates: RateLimits,
    /// Octets of content that is not committed yet, a shard.
    pub memory_bytes: usize,
    /// Octets of the spool's file system that new mail leaves free.
    pub reserve_bytes: u64,
    /// When what failed is tried again.
    pub schedule: Schedule,
    /// From destination domain to next hop.
    pub router: Router,
    /// Upstream groups, by `GroupId`.
    pub groups: Vec<GroupSettings>,
    /// What holds for each MX site.
    pub mx_limits: SiteLimits,
    /// What TLS connections to MX hosts have, where nothing else is said.
    pub mx_tls: TlsLevel,
    /// Where no MX host is, whatever DNS says.
    pub refused_hops: AddressSet,
    /// How much more than the mean a shard may have in flight, in hundredths.
    pub shard_excess_percent: u32,
    /// Where mail leaves from.
    pub pools: Arc<Pools>,
    /// How connections out are run, by source.
    clients: Vec<Clients>,
    tls: TlsSettings,
    /// Who is trusted to say who a peer is, where anyone is to be verified.
    pub authorities: Option<Roots>,
    /// Whether sessions with MX hosts are counted, for reports to their domains.
    pub tells_of_tls: bool,
    /// How it is known who sends.
    pub senders: Arc<Senders>,
    /// What holds for tenants and campaigns of which something is said.
    pub tenants: Tenants,
    /// What kind of refusal a reply is.
    pub classifier: Arc<Classifier>,
    /// How traffic is shaped, where rules say so.
    pub shaping: Option<Arc<Shaping>>,
    /// The sources that are warmed up, if there are any.
    pub warm_up: Option<Arc<Roster>>,
    /// Who may log in.
    pub credentials: Arc<Credentials>,
    /// The time that certificates are judged by.
    pub clock: Arc<Clock>,
    /// Name servers and how they are asked.
    pub dns: dns::Options,
    /// What this node is called, to see itself among MX hosts.
    pub own_names: Arc<dns::OwnNames>,
    /// Octets of messages kept in RAM for their first attempt.
    pub hot_bytes: usize,
    /// Connections out, a shard.
    pub connections_max: usize,
    /// How long a drain may take.
    pub drain_deadline: std::time::Duration,
}

/// An upstream group, ready for use.
#[derive(Clone, Debug)]
pub struct GroupSettings {
    /// Its name in the configuration.
    pub name: Box<str>,
    /// Its members and how they share.
    pub group: Group,
    /// What holds for each of them.
    pub limits: SiteLimits,
    /// What TLS connections to them have.
    pub tls: TlsLevel,
}

impl Settings {
    /// The settings that `config` means `around` it.
    pub fn new(config: &Config, around: &Surroundings) -> Result<Self, TlsError> {
        let clients = sources::sources(config, around).iter().map(Clients::new).collect();
        Ok(Self {
            hostname: config.hostname.clone(),
            listeners: config.listeners.iter().map(|one| server_options(config, one)).collect(),
            durability: config.listeners.iter().map(|one| one.durability).collect(),
            relay: relay_policy(config),
            proxies: config.listeners.iter().map(Proxies::new).collect(),
            recipients: recipient_checks(config, &around.recipients),
            returns: bounces::returns(config, around),
            links: links::links(config, around),
            gate: Gate { mode: config.domain_check, board: around.board.clone() },
            suppressed_at_rcpt: around.suppressed(config, At::Rcpt),
            suppressed_in_queue: around.suppressed(config, At::Queue),
            content_limits: ContentLimits {
                header_bytes: config.limits.header_bytes,
                received: config.limits.received,
            },
            checks: config.listeners.iter().map(|one| one.checks).collect(),
            check_rules: Arc::new(check_rules(config)),
            block_lists: config.checks.block_lists.as_slice().into(),
            verify: config.listeners.iter().map(|one| one.verify).collect(),
            verifier: verifier(config),
            listener_names: config.listeners.iter().map(listener_name).collect(),
            filters: filters::filters(config),
            signers: around.signers.clone(),
            sealer: config.arc_domain.as_ref().and_then(|domain| around.signers.sealer(domain)),
            admission: admission_limits(config),
            rates: rate_limits(&config.limits),
            memory_bytes: config.limits.memory_bytes,
            reserve_bytes: config.spool.reserve_bytes,
            schedule: schedule(&config.queue),
            router: router(config),
            groups: config.groups.iter().map(group).collect(),
            mx_tls: config.mx_tls,
            mx_limits: site_limits(&config.site),
            refused_hops: AddressSet::new(config.refused_hops.clone()),
            shard_excess_percent: config.shard_excess_percent,
            pools: Arc::new(sources::pools(config, around)),
            clients,
            tls: TlsSettings::new(config, around)?,
            authorities: around.authorities.clone(),
            tells_of_tls: config.tls_report.is_some(),
            senders: Arc::new(senders::senders(config)),
            tenants: senders::tenants(config),
            classifier: around.classifier.clone().unwrap_or_else(Classifier::shipped),
            shaping: around.shaping.clone(),
            warm_up: sources::warm_up(config).map(Arc::new),
            credentials: around.credentials.clone(),
            clock: around.clock.clone(),
            dns: dns_options(config, &around.resolv_conf),
            own_names: Arc::new(own_names(config)),
            hot_bytes: config.spool.hot_bytes,
            connections_max: usize::try_from(config.limits.connections).unwrap_or(usize::MAX),
            drain_deadline: config.drain_deadline,
        })
    }

    /// On a machine with these addresses: a listener on all of them, at the port that mail goes out
    /// to, makes them this node's own.
    #[must_use]
    pub fn on_machine(mut self, addresses: &[IpAddr]) -> Self {
        let own = Arc::make_mut(&mut self.own_names);
        let has = |all: IpAddr| own.addresses.contains(&all);
        let (v4, v6) = (has(Ipv4Addr::UNSPECIFIED.into()), has(Ipv6Addr::UNSPECIFIED.into()));
        own.addresses.extend(addresses.iter().filter(|one| if one.is_ipv4() { v4 } else { v6 }));
        self
    }

    /// What is done on a listener about messages whose form is wrong; `None`: nothing is checked.
    pub(crate) fn checks(&self, listener: u16) -> Option<checks::Mode> {
        self.checks[usize::from(listener)]
    }

    /// What is done on a listener about where strangers' mail is from.
    pub(crate) fn verify(&self, listener: u16) -> Option<Mode> {
        self.verify[usize::from(listener)]
    }

    /// How sessions of a listener are run.
    pub(crate) fn listener(&self, listener: u16) -> &Arc<server::Options> {
        &self.listeners[usize::from(listener)]
    }

    /// Who may say for whom they connect.
    pub(crate) fn proxies(&self, listener: u16) -> &Proxies {
        &self.proxies[usize::from(listener)]
    }

    /// Octets of a header section that is taken.
    pub(crate) fn header_bytes_max(&self) -> usize {
        usize::try_from(self.content_limits.header_bytes).unwrap_or(usize::MAX)
    }

    /// When a message from a listener gets its 250: as is said of its campaign, else of its tenant,
    /// else of the listener.
    pub(crate) fn durability(&self, listener: u16, handling: Option<&Handling>) -> Durability {
        let of_sender = handling.and_then(|handling| self.tenants.of(handling).durability);
        of_sender.unwrap_or(self.durability[usize::from(listener)])
    }

    /// What milters know a listener by.
    pub(crate) fn listener_name(&self, listener: u16) -> &str {
        &self.listener_names[usize::from(listener)]
    }

    /// Who is asked about a message from a listener; `None`: nobody.
    pub(crate) fn filters(&self, listener: u16, null_reverse_path: bool) -> Option<&Filters> {
        self.filters[usize::from(listener)].of(null_reverse_path)
    }

    /// How handshakes of a listener's clients are answered.
    pub(crate) fn acceptor(&self, listener: u16) -> Option<&Acceptor> {
        self.tls.acceptors.get(usize::from(listener))?.as_ref()
    }

    /// How connections from the source at this place with such TLS are run, for messages that
    /// require it or do not.
    pub(crate) fn client(
        &self,
        source: usize,
        level: TlsLevel,
        required: bool,
    ) -> Arc<client::Options> {
        let clients = &self.clients[source];
        let options = match level {
            _ if required => &clients.required,
            TlsLevel::None => &clients.clear,
            TlsLevel::Opportunistic | TlsLevel::MtaSts => &clients.opportunistic,
            TlsLevel::Dane | TlsLevel::Policy | TlsLevel::Verify | TlsLevel::Required => {
                &clients.secured
            }
        };
        options.clone()
    }

    /// How handshakes of such connections begin; `None` in clear, and where nobody is trusted.
    pub(crate) fn connector(&self, source: usize, level: TlsLevel) -> Option<Arc<Connector>> {
        self.tls.connector(source, level).cloned()
    }

    /// How handshakes begin with a host of which signed DNS says `records`.
    pub(crate) fn dane_connector(&self, source: usize, records: &[Tlsa]) -> Option<Arc<Connector>> {
        self.tls.dane(source, records, &self.clock)
    }

    /// What operators' orders mean: those that name a group or a pool that there is not are void.
    pub(crate) fn diversions(&self, orders: Arc<Orders>) -> Diversions {
        Diversions::new(orders, |name| self.route_named(name), |name| self.pools.named(name))
    }

    /// The way that `mx` or the name of an upstream group means.
    pub fn route_named(&self, name: &str) -> Option<Route> {
        if name == MX {
            return Some(Route::Mx(self.mx_tls));
        }
        let place = self.groups.iter().position(|group| *group.name == *name)?;
        u16::try_from(place).ok().map(|place| Route::Group(GroupId(place)))
    }

    /// What TLS connections of a site are to have.
    pub(crate) fn tls_level(&self, site: &SiteKey) -> TlsLevel {
        match &site.leads {
            Leads::Upstream(upstream) => self.groups[usize::from(upstream.group.0)].tls,
            Leads::Required(_) => TlsLevel::Required,
            Leads::Hosts(level, ..) => *level,
            Leads::Address(_) => TlsLevel::default(),
        }
    }

    /// All upstream relays as healthy.
    pub(crate) fn new_health(&self) -> Vec<GroupHealth> {
        let members = |group: &GroupSettings| GroupHealth::new(group.group.members().len());
        self.groups.iter().map(members).collect()
    }

    /// An upstream relay, as `host:port`.
    pub(crate) fn upstream_name(&self, upstream: UpstreamId) -> String {
        let group = self.groups.get(usize::from(upstream.group.0));
        let member = group.and_then(|g| g.group.members().get(usize::from(upstream.member)));
        member.map_or_else(String::new, |member| member.host.to_string())
    }
}

fn check_rules(config: &Config) -> checks::Rules {
    checks::Rules { types: config.checks.refuse_attachments.iter().cloned().collect() }
}

/// What verifies, where a listener asks for it. It has no name servers, so it is always there.
fn verifier(config: &Config) -> Option<Arc<Verifier>> {
    let wanted = config.listeners.iter().any(|one| one.verify.is_some());
    wanted.then(Verifier::new).flatten().map(Arc::new)
}

fn listener_name(listener: &options::Listener) -> Box<str> {
    listener.address.to_string().into()
}

fn server_options(config: &Config, listener: &options::Listener) -> Arc<server::Options> {
    let defaults = server::Options::new(config.hostname.as_str());
    Arc::new(server::Options {
        message_bytes_max: listener.message_bytes,
        recipients_max: config.limits.recipients.into(),
        text_line_max: usize::try_from(config.limits.text_line_bytes).unwrap_or(usize::MAX),
        errors_max: config.limits.errors,
        security: listener.security,
        auth: listener.auth,
        extensions: Offered {
            priority: listener.offers_priorities,
            deliver_by: listener.offers_deliver_by,
            hold_seconds: u32::try_from(listener.hold.as_secs()).unwrap_or(HOLD_SECONDS_MAX),
            ..defaults.extensions
        },
        line_endings: match listener.line_endings {
            options::LineEndings::Strict => LineEndings::Strict,
            options::LineEndings::Normalize => LineEndings::Normalize,
        },
        deadlines: Deadlines {
            command: config.deadlines.command,
            content_block: config.deadlines.content_block,
            content: config.deadlines.content,
            session: config.deadlines.session,
        },
        ..defaults
    })
}

fn relay_policy(config: &Config) -> RelayPolicy {
    let relay_for = config.listeners.iter().map(|one| AddressSet::new(one.relay_for.clone()));
    let mut domains = DomainSet::default();
    for relay_domain in &config.relay_domains {
        match &relay_domain.domain {
            DomainPattern::Exact(domain) => domains.insert(domain.clone()),
            DomainPattern::Suffix(domain) => domains.insert_below(domain),
        }
    }
    RelayPolicy::new(relay_for.collect(), domains, config.postmaster.clone())
}

fn recipient_checks(
    config: &Config,
    lists: &HashMap<PathBuf, Arc<RecipientList>>,
) -> recipients::Checks {
    let mut checks = recipients::Checks::default();
    for relay_domain in &config.relay_domains {
        let check = match &relay_domain.recipients {
            Recipients::Any => None,
            Recipients::Callout(unverified) => Some(Check::Callout(*unverified)),
            Recipients::List(path) => lists.get(&**path).cloned().map(Check::List),
        };
        match &relay_domain.domain {
            DomainPattern::Exact(domain) => checks.insert(domain.clone(), check),
            DomainPattern::Suffix(domain) => checks.insert_below(domain, check),
        }
    }
    checks
}

fn admission_limits(config: &Config) -> AdmissionLimits {
    AdmissionLimits {
        sessions: config.limits.sessions,
        sessions_per_address: config.limits.sessions_per_address,
        listener_sessions: config.listeners.iter().map(|one| one.sessions).collect(),
    }
}

/// As many at once as in the whole span.
fn rate_limits(limits: &options::Limits) -> RateLimits {
    let pace = |rate: options::Rate| Pace { burst: rate.messages, every: rate.per / rate.messages };
    RateLimits {
        connections: limits.connection_rate.map(pace),
        messages: limits.message_rate.map(pace),
    }
}

fn schedule(queue: &options::QueueOptions) -> Schedule {
    Schedule {
        initial: queue.retry_first,
        factor: f64::from(queue.retry_factor_percent) / 100.0,
        max: queue.retry_longest,
        jitter: f64::from(queue.retry_jitter_percent) / 100.0,
        lifetime: queue.lifetime,
        delay_report_after: queue.delay_report,
    }
}

/// How name servers are asked, on a machine with this resolv.conf.
pub fn dns_options(config: &Config, resolv_conf: &str) -> dns::Options {
    let machine = dns::Options::from_resolv_conf(resolv_conf);
    match config.dns_servers.as_slice() {
        [] => machine,
        servers => dns::Options { servers: servers.to_vec(), ..machine },
    }
}

/// Names and addresses that mean this node, should an MX record lead there.
fn own_names(config: &Config) -> dns::OwnNames {
    let at_smtp_port = |one: &&options::Listener| one.address.port() == SMTP_PORT;
    dns::OwnNames {
        names: dns::Name::try_from(&config.hostname).into_iter().collect(),
        addresses: config.listeners.iter().filter(at_smtp_port).map(|l| l.address.ip()).collect(),
    }
}
