//! `relay-fast shaping`: what the rules mean, and how sources stand at sites.

use std::fmt::Write as _;
use std::path::PathBuf;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use clap::Subcommand;
use serde::Deserialize;

use crate::config::Config;
use crate::config::options::EgressSource;
use crate::control::commands::Shards;
use crate::control::http::{Refused, bad};
use crate::control::queue::{AskError, Node};
use crate::egress::shaping::figures::{rate, show_rate, show_time, time};
use crate::egress::shaping::outlets::Override;
use crate::egress::shaping::status::{Order, OutletStatus, ProviderStatus, Verb};
use crate::egress::shaping::{FIELDS, Shape, Shaping, SiteNames, SourceNames};
use crate::mail::address::Domain;
use crate::shard::commands::{Answer, Command};

/// What is asked about shaping.
#[derive(Clone, Subcommand)]
pub enum ShapingVerb {
    /// Check a shaping file: how many rules it has, or what is wrong and in which line
    Check {
        /// The file; the configured one if not given
        file: Option<PathBuf>,
    },
    /// Print what a source may do at a site, and which rule gave each value
    Show {
        /// A destination domain, or the name of an MX host; DNS is not asked
        #[arg(value_name = "DOMAIN|MX")]
        name: String,
        /// The domain's MX host; may be repeated
        #[arg(long, value_name = "HOST")]
        mx: Vec<String>,
        /// One source, by its name; all if not given
        #[arg(long, value_name = "SOURCE")]
        source: Option<String>,
    },
    /// How sources of a running node stand at sites; those that are as their rules have them are
    /// left out
    Status {
        /// A site: one of its hosts, its domain, or all of its name
        site: Option<String>,
        /// One source, by address; by EHLO name if it has none
        #[arg(long, value_name = "SOURCE")]
        source: Option<String>,
        /// All of them
        #[arg(long)]
        all: bool,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Set what sources may do at a site, whatever rules and replies say, until it is reset
    Set {
        /// A site: one of its hosts, its domain, or all of its name
        site: String,
        /// `rate=10/m`, `rate=unlimited`, `suspend=2h`
        #[arg(required = true, value_name = "WHAT=VALUE")]
        values: Vec<String>,
        /// One source; all if not given
        #[arg(long, value_name = "SOURCE")]
        source: Option<String>,
    },
    /// Forget what a site said of sources, and what was set for them
    Reset {
        /// A site: one of its hosts, its domain, or all of its name
        site: String,
        /// One source; all, and that the site is left alone, if not given
        #[arg(long, value_name = "SOURCE")]
        source: Option<String>,
    },
}

/// What is asked over HTTP.
#[derive(Debug, Default, Deserialize)]
struct Asked {
    site: Option<String>,
    source: Option<String>,
    rate: Option<String>,
    suspend: Option<String>,
}

/// What is answered of shaping.
pub(super) fn router(shards: Shards) -> Router {
    Router::new()
        .route("/v1/shaping", get(status))
        .route("/v1/shaping/set", post(set))
        .route("/v1/shaping/reset", post(reset))
        .with_state(shards)
}

type Told = Result<Json<Vec<OutletStatus>>, Refused>;

async fn status(State(shards): State<Shards>, Query(asked): Query<Asked>) -> Told {
    order(&shards, asked, Verb::Status).await
}

async fn set(State(shards): State<Shards>, Query(asked): Query<Asked>) -> Told {
    let rate = asked.rate.as_deref().map(rate).transpose().map_err(bad)?;
    let rate = rate.map(|rate| rate.map_or(Override::Unlimited, Override::Rate));
    let suspend = asked.suspend.as_deref().map(time).transpose().map_err(bad)?;
    if rate.is_none() && suspend.is_none() {
        return Err(bad("say what: a rate, or for how long to suspend"));
    }
    change(&shards, asked, Verb::Set { rate, suspend }).await
}

async fn reset(State(shards): State<Shards>, Query(asked): Query<Asked>) -> Told {
    change(&shards, asked, Verb::Reset).await
}

/// A change names its site, and a site that there is.
async fn change(shards: &Shards, asked: Asked, verb: Verb) -> Told {
    let Some(site) = asked.site.clone() else { return Err(bad("name a site")) };
    match order(shards, asked, verb).await {
        Ok(Json(rows)) if rows.is_empty() => {
            let words = format!("{site} is no site that this node sends to, or has no such source");
            Err(Refused(StatusCode::NOT_FOUND, words))
        }
        told => told,
    }
}

/// What all shards know together, any of them knows; but each looks after its own sites then.
async fn order(shards: &Shards, Asked { site, source, .. }: Asked, verb: Verb) -> Told {
    let command = Command::Shaping(Order { site, source, verb });
    let mut told = Vec::new();
    for answer in shards.ask_all(&command).await? {
        match answer {
            Answer::Shaping(rows) => told = rows,
            Answer::Failed(words) => return Err(Refused(StatusCode::CONFLICT, words.into())),
            Answer::List { .. }
            | Answer::Show(_)
            | Answer::Waits(_)
            | Answer::Sites(_)
            | Answer::Trace(_)
            | Answer::Campaigns(_)
            | Answer::Stats(_)
            | Answer::Snapshot(_)
            | Answer::TlsSessions(_)
            | Answer::Submitted(_)
            | Answer::Refused(_)
            | Answer::Changed(_) => {}
        }
    }
    Ok(Json(told))
}

/// Ask a running node. `None`: this verb asks none.
pub fn ask(node: &Node, verb: &ShapingVerb) -> Result<Option<String>, AskError> {
    let (name, site, source, values) = match verb {
        ShapingVerb::Check { .. } | ShapingVerb::Show { .. } => return Ok(None),
        ShapingVerb::Status { site, source, .. } => (None, site.as_deref(), source, &[][..]),
        ShapingVerb::Set { site, source, values } => {
            (Some("set"), Some(&**site), source, values.as_slice())
        }
        ShapingVerb::Reset { site, source } => (Some("reset"), Some(&**site), source, &[][..]),
    };
    let mut query = Vec::new();
    query.extend(site.map(|site| ("site", site)));
    query.extend(source.as_deref().map(|source| ("source", source)));
    for value in values {
        match value.split_once('=') {
            Some((key @ ("rate" | "suspend"), value)) => query.push((key, value)),
            _ => {
                let words = format!("{value} is neither rate=… nor suspend=…");
                return Err(AskError::Refused(words));
            }
        }
    }
    let rows: Vec<OutletStatus> = node.shaping(name, &query)?;
    Ok(Some(match verb {
        ShapingVerb::Status { json: true, .. } => rows
            .iter()
            .filter_map(|row| serde_json::to_string(row).ok())
            .fold(String::new(), |text, row| text + &row + "\n"),
        ShapingVerb::Status { all: false, .. } => told(rows.iter().filter(|row| row.is_special())),
        ShapingVerb::Check { .. }
        | ShapingVerb::Show { .. }
        | ShapingVerb::Status { .. }
        | ShapingVerb::Set { .. }
        | ShapingVerb::Reset { .. } => told(rows.iter()),
    }))
}

/// For a terminal.
fn told<'r>(rows: impl Iterator<Item = &'r OutletStatus>) -> String {
    let mut out = String::new();
    for row in rows {
        let max = row.connections_max.map_or_else(|| "?".to_owned(), |max| max.to_string());
        let _ = write!(out, "{} from {}: {}", row.site, row.source, row.rate);
        let _ = match (&*row.by, &row.rate_max) {
            ("peer", Some(max)) => write!(out, " (slowed down, on its way to {max})"),
            ("operator", _) => write!(out, " (set by an operator)"),
            _ => Ok(()),
        };
        let _ = write!(out, ", {} of {max} connections", row.connections);
        if let Some(ProviderStatus { name, connections, connections_max, rate }) = &row.provider {
            let of = connections_max.map_or_else(String::new, |max| format!(" of {max}"));
            let _ = write!(out, "; at all of {name}: {connections}{of} connections, {rate}");
        }
        if let Some(seconds) = row.suspended_s {
            let why = row.why.as_deref().unwrap_or("a rule");
            let _ = write!(out, ", left alone for {seconds} s by {why}");
        }
        if !row.rules.is_empty() {
            let _ = write!(out, ", rules in force: {}", row.rules.join("; "));
        }
        out.push('\n');
    }
    if out.is_empty() {
        out.push_str("no source is slowed down, set or suspended at any such site\n");
    }
    out
}

/// What the knobs of MX sites say.
fn base(config: &Config) -> Shape {
    let rate = config
        .site
        .rate
        .map(|rate| crate::egress::throttle::Rate { messages: rate.messages, per: rate.per });
    Shape::new(config.site.connections, config.site.messages_per_connection, rate)
}

/// How many rules there are.
pub fn checked(shaping: &Shaping) -> String {
    let (rules, triggers) = (shaping.len(), shaping.automation.triggers().len());
    format!("{rules} rules of shapes, {triggers} of what follows from replies\n")
}

/// What a source may do at a site.
pub fn shown(
    config: &Config,
    shaping: &Shaping,
    name: &str,
    mx: &[String],
    source: Option<&str>,
) -> Result<String, String> {
    let parse = |name: &String| Domain::parse(name).map_err(|error| format!("{name}: {error}"));
    let domain = parse(&name.to_owned())?;
    let hosts = mx.iter().map(parse).collect::<Result<Vec<Domain>, _>>()?;
    let hosts = if hosts.is_empty() { vec![domain.clone()] } else { hosts };
    let hosts: Vec<&str> = hosts.iter().map(Domain::as_str).collect();
    let own = shaping.names(&domain).then_some(&domain);
    let site = SiteNames { hosts: &hosts, domain: own, is_upstream: false };
    let mut out = format!("site {}", hosts.join(", "));
    let _ = match shaping.providers(site).as_slice() {
        [] => writeln!(out),
        providers => writeln!(out, ", provider {}", providers.join(", ")),
    };
    if let Some(domain) = own {
        let _ = writeln!(out, "of its own for {domain}");
    }
    if let Some(pool) = shaping.pool(site) {
        let _ = writeln!(out, "from pool {pool}, unless sender or route say another");
    }
    let names = |source: &EgressSource| {
        [source.name.to_string(), source.address.to_string(), source.hello.to_string()]
    };
    let mut sources: Vec<[String; 3]> = config.sources.iter().map(names).collect();
    if sources.is_empty() {
        sources.push([String::new(), String::new(), config.hostname.to_string()]);
    }
    if let Some(wanted) = source {
        sources.retain(|names| names.iter().any(|name| name == wanted));
        if sources.is_empty() {
            sources.push([wanted; 3].map(str::to_owned));
        }
    }
    for [name, address, hello] in &sources {
        one(&mut out, config, shaping, site, SourceNames { name, address, hello });
    }
    Ok(out)
}

fn one(
    out: &mut String,
    config: &Config,
    shaping: &Shaping,
    site: SiteNames<'_>,
    source: SourceNames<'_>,
) {
    let name = if source.address.is_empty() { source.hello } else { source.address };
    let _ = writeln!(out, "source {name}");
    let (shape, origins) = shaping.explain(&base(config), site, source);
    for ((field, value), origin) in FIELDS.iter().zip(values(&shape)).zip(origins) {
        let origin = origin.unwrap_or("no rule: the knobs, or the default");
        let _ = writeln!(out, "  {field:<24} {value:<24} {origin}");
    }
    let triggers = shaping.automation.triggers();
    for place in shaping.automation.scope(site, source).iter() {
        let _ = writeln!(out, "  on replies: {}", triggers[usize::from(*place)]);
    }
}

/// In the order of `FIELDS`.
fn values(shape: &Shape) -> [String; FIELDS.len()] {
    let (of, none) = (shape.of_provider.as_ref(), || "unlimited".to_owned());
    [
        shape.connections.to_string(),
        shape.messages_per_connection.to_string(),
        show_rate(shape.rate),
        show_rate(Some(shape.rate_floor)),
        show_time(shape.recovery),
        shape.slow_down_on.to_string(),
        if shape.pipelining { "true" } else { "false" }.to_owned(),
        shape.tls.map_or_else(|| "as the knobs say".to_owned(), |level| level.to_string()),
        of.and_then(|of| of.connections).map_or_else(none, |connections| connections.to_string()),
        of.map_or_else(none, |of| show_rate(of.rate)),
    ]
}
