//! What a run is to do, as a TOML file: a named one of ours, or one of the operator's.
//!
//! Invariant: a file with an unknown key or a senseless value is refused before anything starts.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::kpis::KpiPart;
use super::warm::WarmPart;
use crate::sink::Span;
use crate::source::{Labels, Sizes, SourceOptions, Spread};
use crate::tls::Mode;

/// Most idle connections: each takes a descriptor here and one at the relay.
const IDLE_MAX: u32 = 100_000;
/// Destinations in turn where one of them is hot.
const HOT_TURN: u32 = 100;

/// Beginnings of recipients' names, of the run's own mail and of the small campaign's.
pub(crate) const USERS: &str = "u";
pub(crate) const SMALL_USERS: &str = "s";

/// The scenarios that come with this program, by name.
const SHIPPED: [(&str, &str); 18] = [
    ("campaign", include_str!("../../scenarios/campaign.toml")),
    ("plain", include_str!("../../scenarios/plain.toml")),
    ("steady", include_str!("../../scenarios/steady.toml")),
    ("hot-domain", include_str!("../../scenarios/hot-domain.toml")),
    ("dead-upstream", include_str!("../../scenarios/dead-upstream.toml")),
    ("slow-provider", include_str!("../../scenarios/slow-provider.toml")),
    ("backlog", include_str!("../../scenarios/backlog.toml")),
    ("deferral-storm", include_str!("../../scenarios/deferral-storm.toml")),
    ("far-away", include_str!("../../scenarios/far-away.toml")),
    ("many-idle", include_str!("../../scenarios/many-idle.toml")),
    ("tls", include_str!("../../scenarios/tls.toml")),
    ("dkim", include_str!("../../scenarios/dkim.toml")),
    ("dead-consumer", include_str!("../../scenarios/dead-consumer.toml")),
    ("esp", include_str!("../../scenarios/esp.toml")),
    ("fairness", include_str!("../../scenarios/fairness.toml")),
    ("esp-bare", include_str!("../../scenarios/esp-bare.toml")),
    ("esp-calm", include_str!("../../scenarios/esp-calm.toml")),
    ("esp-signed", include_str!("../../scenarios/esp-signed.toml")),
];

/// The reference of scenario files, for `--help`.
pub(crate) const REFERENCE: &str = r#"Scenario (TOML; only description and messages must be there):
  description = "One line"
  messages = 50000
  size = "10240"            # octets, header included: N or MIN-MAX, KB, KiB, MB, MiB
  corpus = "DIR"            # messages to send instead, each file that ends in .eml in turn
  recipients = 1            # a message
  domains = 1000            # destinations
  zipf = 1.1                # exponent of their popularity; each in turn without it
  hot_share = 0.6           # of the mail goes to one domain, instead of zipf
  connections = 20          # of the source
  per_connection = 20       # messages; 0 for no limit
  pipelining = true
  chunking = true
  rate = 2000               # messages a second; as fast as can be without it
  spread = "poisson"        # or "constant"
  cores = 2                 # shards of the relay
  upstreams = [3, 2, 1]     # weights; there is one server for each
  tls = "starttls"          # of the source: none, starttls, implicit
  server_tls = "starttls"   # that the servers offer: none, starttls
  config = '''…'''          # of the relay, with marks: see below
  sink = '''…'''            # how the servers misbehave: see loadtest sink --help
  own_hosts = false         # each server has an address of its own: 127.0.1.1 and on
  to = ["a.example"]        # destinations by name, each in turn, instead of domains
  labels = "10:50"          # X-Tenant and X-Campaign: so many tenants, with so many campaigns
  shaping = '''…'''         # rules, for @SHAPING@ in config
  again = 2000              # messages that are sent again when all are through, to be suppressed
  relents = false           # they take everything once all is accepted
  dead_until = 50           # the first one is dead until so many percent are accepted
  far = "50ms"              # round trip to the servers
  idle = 5000               # clients that are connected and say nothing
  [consumer]                # takes events by webhook: @WEBHOOK@ and @WEBHOOK_SECRET@ in config
  dies_at = 20              # once so many percent are accepted; never without it
  down = "60s"              # for so long
  [small]                   # a campaign that is sent alone first, then beside the others
  messages = 100
  to = "slow.example"
  labels = "receipts/daily"
  at = 40                   # once so many percent are accepted
  times = 2                 # its p99 beside them is at most so many times that alone
  [kpis]                    # /v1/kpis must be what source and servers counted
  servers = ["big"]         # the servers in their order, as providers of the shaping rules
  sources = { "127.0.0.9" = "out1" }
  classes = { "5.1.1" = "bad-mailbox" }   # of what the servers refuse for good, by status
  [warm]                    # a source that is warmed up, with [kpis]: @TODAY@ in config
  source = "127.0.0.14"
  most = 50                 # messages to each server"#;

/// A scenario.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    pub(crate) description: String,
    pub(crate) messages: u32,
    #[serde(default = "default_size")]
    size: String,
    corpus: Option<std::path::PathBuf>,
    #[serde(default = "one")]
    recipients: u32,
    #[serde(default = "thousand")]
    domains: u32,
    zipf: Option<f64>,
    hot_share: Option<f64>,
    #[serde(default = "twenty")]
    connections: u32,
    #[serde(default = "twenty")]
    per_connection: u32,
    #[serde(default = "yes")]
    pipelining: bool,
    #[serde(default = "yes")]
    chunking: bool,
    pub(crate) rate: Option<f64>,
    #[serde(default)]
    spread: Spread,
    #[serde(default = "two")]
    pub(crate) cores: u32,
    #[serde(default = "one_upstream")]
    pub(crate) upstreams: Vec<u32>,
    #[serde(default)]
    pub(crate) tls: Mode,
    #[serde(default)]
    pub(crate) server_tls: Mode,
    pub(crate) config: Option<String>,
    pub(crate) sink: Option<String>,
    #[serde(default)]
    pub(crate) own_hosts: bool,
    #[serde(default)]
    pub(crate) to: Vec<String>,
    pub(crate) labels: Option<Labels>,
    pub(crate) shaping: Option<String>,
    pub(crate) consumer: Option<ConsumerPart>,
    pub(crate) small: Option<Small>,
    pub(crate) kpis: Option<KpiPart>,
    pub(crate) again: Option<u32>,
    pub(crate) warm: Option<WarmPart>,
    #[serde(default)]
    pub(crate) relents: bool,
    pub(crate) dead_until: Option<u32>,
    far: Option<String>,
    #[serde(default)]
    pub(crate) idle: u32,
}

/// Who takes events, and may die meanwhile.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConsumerPart {
    /// Once so many percent are accepted.
    pub(crate) dies_at: Option<u32>,
    #[serde(default = "Span::none")]
    pub(crate) down: Span,
}

/// A campaign that is sent alone first, and then beside the others.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Small {
    pub(crate) messages: u32,
    to: String,
    pub(crate) labels: Labels,
    /// Once so many percent are accepted.
    pub(crate) at: u32,
    /// Its p99 beside the others is at most so many times that alone.
    pub(crate) times: f64,
}

impl Small {
    /// What its source is to do.
    pub(crate) fn source(&self, target: std::net::SocketAddr) -> SourceOptions {
        let mut source = SourceOptions::campaign(target, self.messages, 1);
        (source.to_domains, source.labels) = (vec![self.to.clone()], Some(self.labels.clone()));
        (source.users, source.connections) = (SMALL_USERS.to_owned(), 4);
        source
    }
}

fn default_size() -> String {
    "10240".to_owned()
}

fn one() -> u32 {
    1
}

fn two() -> u32 {
    2
}

fn twenty() -> u32 {
    20
}

fn thousand() -> u32 {
    1_000
}

fn yes() -> bool {
    true
}

fn one_upstream() -> Vec<u32> {
    vec![1]
}

/// A scenario, by which name it goes, and what its file says.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) scenario: Scenario,
}

/// The shipped scenario of this name, or the file of this path.
pub(crate) fn find(name: &str) -> Result<Named> {
    if let Some((_, text)) = SHIPPED.iter().find(|(shipped, _)| *shipped == name) {
        let scenario = parse(text).with_context(|| format!("scenario {name}"))?;
        return Ok(Named { name: name.to_owned(), text: (*text).to_owned(), scenario });
    }
    let path = Path::new(name);
    if !path.exists() {
        let names: Vec<_> = SHIPPED.iter().map(|(name, _)| *name).collect();
        bail!("{name} is neither a file nor one of {}", names.join(", "));
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {name}"))?;
    let scenario = parse(&text).with_context(|| name.to_owned())?;
    let stem = path.file_stem().map_or(name.into(), |stem| stem.to_string_lossy());
    Ok(Named { name: stem.into_owned(), text, scenario })
}

/// The names of all that are shipped, each with its description.
pub(crate) fn list() -> Result<String> {
    let line = |(name, text): &(&str, &str)| {
        let scenario = parse(text).with_context(|| format!("scenario {name}"))?;
        Ok(format!("{name:<15} {}\n", scenario.description))
    };
    SHIPPED.iter().map(line).collect()
}

fn parse(text: &str) -> Result<Scenario> {
    let scenario: Scenario = toml::from_str(text)?;
    let share = |name: &str, share: Option<f64>| match share {
        Some(share) if !(share > 0.0 && share < 1.0) => bail!("{name} is a share, below 1"),
        Some(_) | None => Ok(()),
    };
    share("hot_share", scenario.hot_share)?;
    let percent = |name: &str, at: Option<u32>| match at {
        Some(0 | 100..) => bail!("{name} is a percentage below 100"),
        Some(_) | None => Ok(()),
    };
    percent("dead_until", scenario.dead_until)?;
    percent("dies_at", scenario.consumer.as_ref().and_then(|consumer| consumer.dies_at))?;
    percent("at", scenario.small.as_ref().map(|small| small.at))?;
    if scenario.messages == 0 || scenario.connections == 0 || scenario.upstreams.is_empty() {
        bail!("messages, connections and upstreams are one at least");
    }
    if scenario.upstreams.contains(&0) {
        bail!("an upstream's weight is one at least");
    }
    let is_labelled = scenario.labels.is_some() && scenario.kpis.is_some();
    if scenario.again.is_some() && !(is_labelled && scenario.sink.is_some()) {
        bail!("again wants labels, kpis, and servers that refuse by script");
    }
    if scenario.hot_share.is_some() && !scenario.to.is_empty() {
        bail!("hot_share and to exclude each other");
    }
    if scenario.hot_share.is_some() && scenario.zipf.is_some() {
        bail!("hot_share and zipf exclude each other");
    }
    if scenario.server_tls == Mode::Implicit {
        bail!("no relay begins with TLS unasked: server_tls is none or starttls");
    }
    if scenario.idle > IDLE_MAX {
        bail!("idle is at most {IDLE_MAX}");
    }
    scenario.size.parse::<Sizes>()?;
    scenario.far()?;
    Ok(scenario)
}

impl Scenario {
    /// What the source is to do, before it is told where.
    pub(crate) fn source(&self, target: std::net::SocketAddr) -> Result<SourceOptions> {
        let mut source = SourceOptions::campaign(target, self.messages, self.domains);
        source.size = self.size.parse()?;
        source.corpus = self.corpus.clone();
        source.recipients = self.recipients;
        source.zipf = self.zipf;
        source.connections = self.connections as usize;
        source.per_connection = self.per_connection;
        (source.pipelining, source.chunking) = (self.pipelining, self.chunking);
        (source.rate, source.spread) = (self.rate, self.spread);
        source.tls = self.tls;
        (source.to_domains, source.labels) = (self.to.clone(), self.labels.clone());
        if let Some(share) = self.hot_share {
            source.to_domains = hot_turn(share);
        }
        Ok(source)
    }

    /// The round trip to the servers.
    pub(crate) fn far(&self) -> Result<Option<Duration>> {
        let Some(text) = &self.far else { return Ok(None) };
        let ms = text.strip_suffix("ms").and_then(|ms| ms.parse().ok());
        let ms = ms.with_context(|| format!("far = {text:?} is no time such as 50ms"))?;
        Ok(Some(Duration::from_millis(ms)))
    }

    /// Whether any server can be put in the relay's place.
    pub(crate) fn is_plain(&self) -> bool {
        let faults = self.relents || self.dead_until.is_some() || self.far.is_some();
        let labelled = self.labels.is_some() || self.small.is_some();
        let special = labelled || self.config.is_some() || self.sink.is_some() || self.idle > 0;
        let secured = self.tls != Mode::None || self.server_tls != Mode::None;
        !faults && !special && !secured && self.upstreams.len() == 1
    }
}

/// Destinations in turn, of which one gets `share` of the mail, mixed as evenly as can be.
fn hot_turn(share: f64) -> Vec<String> {
    let mut owed = 0.0;
    let next = |place| {
        owed += share;
        if owed >= 1.0 {
            owed -= 1.0;
            return "hot.example".to_owned();
        }
        format!("cold{place:03}.example")
    };
    (0..HOT_TURN).map(next).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_scenario_is_read_and_listed() {
        for (name, _) in SHIPPED {
            let named = find(name).unwrap();
            assert!(named.scenario.source("127.0.0.1:25".parse().unwrap()).is_ok());
        }
        assert_eq!(list().unwrap().lines().count(), SHIPPED.len());
        assert!(find("plain").unwrap().scenario.is_plain());
        assert!(!find("dead-upstream").unwrap().scenario.is_plain());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let base = "description = \"x\"\nmessages = 1\n";
        assert!(parse(base).is_ok());
        for (line, words) in [
            ("mesages = 2", "unknown field"),
            ("hot_share = 1.5", "hot_share is a share"),
            ("hot_share = 0.5\nzipf = 1.0", "exclude each other"),
            ("upstreams = []", "one at least"),
            ("upstreams = [0]", "weight"),
            ("dead_until = 100", "percentage"),
            ("far = \"near\"", "no time"),
            ("size = \"9-5\"", "backwards"),
            ("idle = 100001", "at most"),
            ("tls = \"yes\"", "unknown variant"),
            ("server_tls = \"implicit\"", "unasked"),
            ("again = 9", "again wants"),
        ] {
            let error = parse(&format!("{base}{line}")).unwrap_err();
            assert!(format!("{error:#}").contains(words), "{line}: {error:#}");
        }
        assert!(find("no-such-thing").is_err());
    }

    #[test]
    fn a_hot_domain_gets_its_share() {
        let turn = hot_turn(0.6);
        let hot = turn.iter().filter(|name| *name == "hot.example").count();
        assert!((59..=60).contains(&hot), "{hot}");
        assert_eq!(turn.len(), 100);
    }
}
