//! The subcommands `relay-fast queue …`: ask a running node over its admin address.

use std::fmt::Write;
use std::net::SocketAddr;

use serde::de::DeserializeOwned;

use crate::base::limits::LIST_ROWS_MAX;
use crate::control::api::{Changed, Message, Refusal, Row, Select, Stats};

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
}

/// Why there is no answer, in words for the terminal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Nobody there.
    #[error("no node answers on {0}: {1}; is it running, and is --admin right?")]
    Nobody(SocketAddr, String),
    /// The node refuses.
    #[error("{0}")]
    Refused(String),
}

/// Ask the node at `admin`; its answer, for a terminal.
pub fn ask(admin: SocketAddr, ask: &Ask) -> Result<String, AskError> {
    let node = Node { admin };
    match ask {
        Ask::List(select) => {
            let limit = select.limit.unwrap_or(LIST_ROWS_MAX).clamp(1, LIST_ROWS_MAX);
            Ok(rows(&node.get::<Vec<Row>>("list", select)?, limit))
        }
        Ask::Show(id) => Ok(message(&node.get(&format!("show/{id}"), &Select::default())?)),
        Ask::Stats(select) => Ok(stats(&node.get("stats", select)?)),
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

struct Node {
    admin: SocketAddr,
}

impl Node {
    fn get<T: DeserializeOwned>(&self, path: &str, select: &Select) -> Result<T, AskError> {
        let request = ureq::get(self.url(path)).config().http_status_as_error(false).build();
        let request = pairs(select).into_iter().fold(request, |r, (k, v)| r.query(k, v));
        self.read(request.call())
    }

    fn post<T: DeserializeOwned>(&self, path: &str, select: &Select) -> Result<T, AskError> {
        let request = ureq::post(self.url(path)).config().http_status_as_error(false).build();
        let request = pairs(select).into_iter().fold(request, |r, (k, v)| r.query(k, v));
        self.read(request.send_empty())
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/queue/{path}", self.admin)
    }

    fn read<T: DeserializeOwned>(
        &self,
        answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<T, AskError> {
        let nobody = |error: ureq::Error| AskError::Nobody(self.admin, error.to_string());
        let mut answer = answer.map_err(nobody)?;
        if !answer.status().is_success() {
            let refusal: Result<Refusal, _> = answer.body_mut().read_json();
            let words = refusal.map_or_else(|_| answer.status().to_string(), |r| r.error);
            return Err(AskError::Refused(words));
        }
        answer.body_mut().read_json().map_err(nobody)
    }
}

fn pairs(select: &Select) -> Vec<(&'static str, String)> {
    let limit = select.limit.map(|limit| limit.to_string());
    let all = select.all.then(|| "true".to_owned());
    let given = [
        ("id", select.id.clone()),
        ("domain", select.domain.clone()),
        ("reverse_path", select.reverse_path.clone()),
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

fn message(message: &Message) -> String {
    let mut out = String::new();
    let Message { id, reverse_path, accepted, expires, bytes, durability, recipients } = message;
    let _ = writeln!(out, "{id} from <{reverse_path}>, {bytes} octets");
    let _ = writeln!(out, "accepted {accepted} (durability {durability}), expires {expires}");
    for story in recipients {
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
