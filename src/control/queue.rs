//! The subcommands `relay-fast queue …`: ask a running node over its admin address.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::de::DeserializeOwned;
use ureq::{Agent, RequestBuilder};

use crate::base::limits::LIST_ROWS_MAX;
use crate::config::options::AdminAddress;
use crate::control::api::{Changed, Message, Refusal, Row, Select, Stats};
use crate::control::diversions::{self, Divert};
use crate::control::exporters;
use crate::control::inject::Outcome;
use crate::control::pauses::{self, Done, Paused, Whose};
use crate::control::unix::Unix;
use crate::policy::tls_report::Status;

/// What is asked of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Rows, by selection.
    List(Select),
    /// One message, with why each recipient waits.
    Show(String),
    /// Counts.
    Stats(Select),
    /// `flush`, `hold`, `release` or `remove`, by selection.
    Verb(&'static str, Select),
    /// Pause a tenant or a campaign, or let it go on.
    Pause(Whose, bool),
    /// All that is paused.
    Paused,
    /// Divert mail, or let it go its way again.
    Divert(Divert),
    /// All that is diverted.
    Diverted,
}

/// Why there is no answer, in words for the terminal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Nobody there.
    #[error("no node answers on {0}: {1}; is it running, and is --admin right?")]
    Nobody(AdminAddress, String),
    /// The node refuses.
    #[error("{0}")]
    Refused(String),
}

/// Ask a node; its answer, for a terminal.
pub fn ask(node: &Node, ask: &Ask) -> Result<String, AskError> {
    match ask {
        Ask::List(select) => {
            let limit = select.limit.unwrap_or(LIST_ROWS_MAX).clamp(1, LIST_ROWS_MAX);
            Ok(rows(&node.get::<Vec<Row>>("list", select)?, limit))
        }
        Ask::Show(id) => Ok(shown_message(&node.get(&format!("show/{id}"), &Select::default())?)),
        Ask::Stats(select) => Ok(stats(&node.get("stats", select)?)),
        Ask::Pause(whose, paused) => {
            Ok(pauses::done(whose, *paused, node.set_pause(whose, *paused)?))
        }
        Ask::Divert(divert) => diversions::divert(node, divert),
        Ask::Diverted => Ok(diversions::shown(&node.fetch::<Vec<_>>("diversions", &[])?)),
        Ask::Paused => Ok(pauses::shown(&node.pauses()?)),
        Ask::Verb(verb, select) => {
            let Changed { recipients } = node.post(verb, select)?;
            let done = match *verb {
                "flush" => "flushed",
                "hold" => "held",
                "release" => "released",
                _ => "removed",
            };
            Ok(format!("{} {done}\n", count(recipients)))
        }
    }
}

/// A node that runs somewhere.
#[derive(Debug)]
pub struct Node {
    admin: AdminAddress,
    token: Option<String>,
    agent: Agent,
}

impl Node {
    /// Asked at `admin`, with what has to be said there.
    pub fn new(admin: AdminAddress, token: Option<String>) -> Self {
        let config = Agent::config_builder().http_status_as_error(false).proxy(None).build();
        let agent = match &admin {
            AdminAddress::Tcp(_) => config.new_agent(),
            AdminAddress::Unix(path) => {
                Agent::with_parts(config, Unix(path.clone()), Unix(path.clone()))
            }
        };
        Self { admin, token, agent }
    }

    /// How reports on TLS stand.
    pub fn tls_reports(&self) -> Result<Status, AskError> {
        let request = self.agent.get(self.url("tls-reports"));
        self.read(self.prepare(request, &Select::default()).call())
    }

    /// How exporters stand.
    pub fn exporters(&self) -> Result<Vec<exporters::status::Status>, AskError> {
        let request = self.agent.get(self.url("exporters"));
        self.read(self.prepare(request, &Select::default()).call())
    }

    /// Have them sent at once.
    pub fn send_tls_reports(&self) -> Result<Status, AskError> {
        let request = self.agent.post(self.url("tls-reports/send"));
        self.read(self.prepare(request, &Select::default()).send_empty())
    }

    /// Whether it is well, and what it says of itself.
    pub fn health(&self) -> Result<(bool, String), AskError> {
        // The one path that is not of the API: others watch it too.
        let url = self.url("").replace("/v1/", "/healthz");
        let request = self.prepare(self.agent.get(url), &Select::default());
        let nobody = |error: ureq::Error| AskError::Nobody(self.admin.clone(), error.to_string());
        let mut answer = request.call().map_err(nobody)?;
        let words = answer.body_mut().read_to_string().map_err(nobody)?;
        Ok((answer.status().is_success(), words))
    }

    fn pauses(&self) -> Result<Vec<Paused>, AskError> {
        self.fetch("pauses", &[])
    }

    fn set_pause(&self, whose: &Whose, paused: bool) -> Result<Done, AskError> {
        let Whose { tenant, campaign } = whose.clone();
        let select = Select { tenant: Some(tenant), campaign, ..Select::default() };
        self.post(if paused { "pause" } else { "resume" }, &select)
    }

    /// What is answered at `path`.
    pub(super) fn fetch<T: DeserializeOwned>(
        &self,
        path: &str,
        asked: &[(&str, String)],
    ) -> Result<T, AskError> {
        let request = self.agent.get(self.url(path)).query_pairs(asked.iter().cloned());
        self.read(self.prepare(request, &Select::default()).call())
    }

    /// What is answered at `path` to whoever changes something; by a body of CSV, if there is one.
    pub(super) fn tell<T: DeserializeOwned>(
        &self,
        path: &str,
        asked: &[(&str, String)],
        rows: Option<&[u8]>,
    ) -> Result<T, AskError> {
        let request = self.agent.post(self.url(path)).query_pairs(asked.iter().cloned());
        let request = self.prepare(request, &Select::default());
        self.read(match rows {
            Some(rows) => request.header("content-type", "text/csv").send(rows),
            None => request.send_empty(),
        })
    }

    /// Hand in mail; what came of each request of the body.
    pub(super) fn inject(&self, body: &[u8], key: Option<&str>) -> Result<Vec<Outcome>, AskError> {
        let request = self.prepare(self.agent.post(self.url("inject")), &Select::default());
        let request = request.header("content-type", "application/json");
        let request = match key {
            Some(key) => request.header("idempotency-key", key),
            None => request,
        };
        let nobody = |error: ureq::Error| AskError::Nobody(self.admin.clone(), error.to_string());
        let mut answer = request.send(body).map_err(nobody)?;
        let text = answer.body_mut().read_to_string().map_err(nobody)?;
        let one = || serde_json::from_str(&text).map(|one| vec![one]);
        let words = |_| {
            let refusal: Result<Refusal, _> = serde_json::from_str(&text);
            AskError::Refused(refusal.map_or_else(|_| answer.status().to_string(), |r| r.error))
        };
        serde_json::from_str(&text).or_else(|_| one()).map_err(words)
    }

    /// How sources stand at sites, by these words of a query; `verb`: after it was done.
    pub(super) fn shaping<T: DeserializeOwned>(
        &self,
        verb: Option<&str>,
        query: &[(&str, &str)],
    ) -> Result<T, AskError> {
        let asked: Vec<(&str, String)> =
            query.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        match verb {
            None => self.fetch("shaping", &asked),
            Some(verb) => self.tell(&format!("shaping/{verb}"), &asked, None),
        }
    }

    fn get<T: DeserializeOwned>(&self, path: &str, select: &Select) -> Result<T, AskError> {
        let request = self.prepare(self.agent.get(self.url(&format!("queue/{path}"))), select);
        self.read(request.call())
    }

    fn post<T: DeserializeOwned>(&self, path: &str, select: &Select) -> Result<T, AskError> {
        let request = self.prepare(self.agent.post(self.url(&format!("queue/{path}"))), select);
        self.read(request.send_empty())
    }

    fn prepare<B>(&self, request: RequestBuilder<B>, select: &Select) -> RequestBuilder<B> {
        let request = match &self.token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        };
        pairs(select).into_iter().fold(request, |request, (key, value)| request.query(key, value))
    }

    fn url(&self, path: &str) -> String {
        match &self.admin {
            AdminAddress::Tcp(address) => format!("http://{}/v1/{path}", reachable(*address)),
            AdminAddress::Unix(_) => format!("http://localhost/v1/{path}"),
        }
    }

    fn read<T: DeserializeOwned>(
        &self,
        answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<T, AskError> {
        let nobody = |error: ureq::Error| AskError::Nobody(self.admin.clone(), error.to_string());
        let mut answer = answer.map_err(nobody)?;
        if !answer.status().is_success() {
            let refusal: Result<Refusal, _> = answer.body_mut().read_json();
            let words = refusal.map_or_else(|_| answer.status().to_string(), |r| r.error);
            return Err(AskError::Refused(words));
        }
        answer.body_mut().read_json().map_err(nobody)
    }
}

/// Who listens everywhere listens on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn pairs(select: &Select) -> Vec<(&'static str, String)> {
    let limit = select.limit.map(|limit| limit.to_string());
    let all = select.all.then(|| "true".to_owned());
    let given = [
        ("id", select.id.clone()),
        ("domain", select.domain.clone()),
        ("reverse_path", select.reverse_path.clone()),
        ("tenant", select.tenant.clone()),
        ("campaign", select.campaign.clone()),
        ("all", all),
        ("limit", limit),
    ];
    given.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

/// So many, in words.
fn count(recipients: u64) -> String {
    if recipients == 1 { "1 recipient".to_owned() } else { format!("{recipients} recipients") }
}

fn rows(rows: &[Row], limit: usize) -> String {
    let mut out = String::new();
    let title = ("ID", "STATE", "ATTEMPTS", "NEXT ATTEMPT", "BYTES", "RECIPIENT");
    let (id, state, tries, next, bytes, recipient) = title;
    let _ = writeln!(out, "{id:13}  {state:10}  {tries:>8}  {next:24}  {bytes:>9}  {recipient}");
    for row in rows {
        let next = row.next_attempt.as_deref().unwrap_or("-");
        let Row { id, state, attempts, bytes, recipient, .. } = row;
        let line =
            format!("{id:13}  {state:10}  {attempts:>8}  {next:24}  {bytes:>9}  {recipient}");
        let _ = writeln!(out, "{line}");
    }
    let more =
        if rows.len() < limit { "" } else { "; there may be more: raise --limit, or select" };
    let _ = writeln!(out, "{} listed{more}", count(rows.len() as u64));
    out
}

/// A message, and why each recipient waits.
pub(super) fn shown_message(message: &Message) -> String {
    let mut out = String::new();
    let Message { id, reverse_path, accepted, expires, bytes, durability, .. } = message;
    let _ = writeln!(out, "{id} from <{reverse_path}>, {bytes} octets");
    match (message.tenant.as_str(), message.campaign.as_str()) {
        ("", _) => {}
        (tenant, "") => drop(writeln!(out, "sent by {tenant}")),
        (tenant, campaign) => drop(writeln!(out, "sent by {tenant} for {campaign}")),
    }
    let _ = writeln!(out, "accepted {accepted} (durability {durability}), expires {expires}");
    for story in &message.recipients {
        let _ = writeln!(out, "\n<{}>: {}", story.recipient, story.state);
        let tries = story.attempts;
        match &story.next_attempt {
            Some(next) => drop(writeln!(out, "  attempts: {tries}; the next one at {next}")),
            None => drop(writeln!(out, "  attempts: {tries}")),
        }
        if let Some(last) = &story.last {
            let _ = writeln!(out, "  last: {last}");
        }
        if let Some(limit) = &story.limit {
            let _ = writeln!(out, "  waits for: {limit}");
        }
    }
    out
}

fn stats(stats: &Stats) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "messages    {:>12}", stats.messages);
    let _ = writeln!(out, "octets      {:>12}", stats.bytes);
    let _ = writeln!(out, "recipients  {:>12}", stats.recipients);
    let _ = writeln!(out, "  ready     {:>12}", stats.ready);
    let _ = writeln!(out, "  attempting{:>12}", stats.attempting);
    let _ = writeln!(out, "  deferred  {:>12}", stats.deferred);
    let _ = writeln!(out, "  held      {:>12}", stats.held);
    if let Some(oldest) = &stats.oldest {
        let _ = writeln!(out, "oldest      {oldest}");
    }
    for (domain, count) in &stats.domains {
        let _ = writeln!(out, "{count:>9}  {domain}");
    }
    out
}
