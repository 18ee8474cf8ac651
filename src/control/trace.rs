//! `relay-fast trace --domain X`: the dialogue with next hops about a domain's mail, as it happens.
//!
//! `/v1/trace` begins to follow when it is asked first, and tells what was said since it was asked
//! last; nobody who stops asking is followed for longer than `TRACE_FOR`. Content is counted, and
//! not told.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::thread;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::base::ids::ShardId;
use crate::base::limits::TRACE_EVERY;
use crate::base::text::harmless;
use crate::control::commands::Shards;
use crate::control::http::{Refused, bad};
use crate::control::queue::{AskError, Node};
use crate::mail::address::Domain;
use crate::shard::commands::{Answer, Command, Said, TraceLine};

/// What is followed.
#[derive(Args)]
pub struct Trace {
    /// The destination domain
    #[arg(long, value_name = "DOMAIN")]
    pub domain: String,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// A line of a dialogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When.
    pub time: String,
    /// The shard, and its connection.
    pub connection: String,
    /// As `mx1.example.net[192.0.2.1]:25`.
    pub peer: String,
    /// The egress source.
    pub source: String,
    /// `sent`, `received`, or `note`: what happens to the connection.
    pub said: String,
    /// The line.
    pub text: String,
}

/// What was said since it was asked last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// All shards together, by time.
    pub lines: Vec<Line>,
    /// What to ask with next.
    pub after: String,
    /// Lines that were said and are not kept any more.
    pub lost: u64,
}

#[derive(Debug, Deserialize)]
struct Asked {
    domain: String,
    after: Option<String>,
}

/// What is answered of it.
pub(super) fn router(shards: Shards) -> Router {
    Router::new().route("/v1/trace", get(trace)).with_state(shards)
}

async fn trace(
    State(shards): State<Shards>,
    Query(Asked { domain, after }): Query<Asked>,
) -> Result<Json<Page>, Refused> {
    let parsed = Domain::parse(&domain).map_err(|error| bad(format!("{domain}: {error}")))?;
    let ids: Vec<ShardId> = shards.ids().collect();
    let after = numbers(after.as_deref(), ids.len()).map_err(bad)?;
    let mut lines: Vec<(ShardId, TraceLine)> = Vec::new();
    let (mut next, mut lost) = (Vec::new(), 0);
    for (shard, after) in ids.into_iter().zip(after) {
        let command = Command::Trace { domain: parsed.clone(), after };
        let answer = shards.ask(shard, command).await?;
        let Answer::Trace(page) = answer else {
            let words = if let Answer::Failed(words) = answer { words } else { "no trace".into() };
            return Err(Refused(StatusCode::SERVICE_UNAVAILABLE, words.into()));
        };
        lines.extend(page.lines.into_iter().map(|line| (shard, line)));
        next.push(page.next.to_string());
        lost += page.lost;
    }
    lines.sort_by_key(|(_, line)| line.at);
    let lines = lines.iter().map(|(shard, line)| told(*shard, line)).collect();
    Ok(Json(Page { lines, after: next.join(","), lost }))
}

/// One for each shard, of what was told last.
fn numbers(after: Option<&str>, shards: usize) -> Result<Vec<Option<u64>>, String> {
    let Some(after) = after else { return Ok(vec![None; shards]) };
    let numbers: Result<Vec<_>, _> = after.split(',').map(|one| one.parse().map(Some)).collect();
    match numbers {
        Ok(numbers) if numbers.len() == shards => Ok(numbers),
        Ok(_) | Err(_) => Err(format!("after {after}: say what `after` of the last answer was")),
    }
}

fn told(shard: ShardId, line: &TraceLine) -> Line {
    let said = match line.said {
        Said::Note => "note",
        Said::Sent => "sent",
        Said::Received => "received",
    };
    Line {
        time: line.at.to_rfc3339(),
        connection: format!("{}.{:x}", shard.0, line.connection),
        peer: line.peer.to_string(),
        source: line.source.to_string(),
        said: said.to_owned(),
        text: line.text.to_string(),
    }
}

/// Why it ends.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The node does not answer.
    #[error(transparent)]
    Node(#[from] AskError),
    /// Nobody reads what is written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Write what is said to `out` until nobody reads it.
pub fn follow(node: &Node, ask: &Trace, out: &mut impl Write) -> Result<(), TraceError> {
    let mut asked = vec![("domain", ask.domain.clone())];
    let mut last = String::new();
    loop {
        let page: Page = node.fetch("trace", &asked)?;
        let mut text = String::new();
        if page.lost > 0 {
            let _ = writeln!(text, "({} lines are lost: too much was said at a time)", page.lost);
        }
        for line in &page.lines {
            match ask.json {
                true => text += &(serde_json::to_string(line).expect("plain data") + "\n"),
                false => shown(line, &mut last, &mut text),
            }
        }
        out.write_all(text.as_bytes())?;
        out.flush()?;
        asked.truncate(1);
        asked.push(("after", page.after));
        thread::sleep(TRACE_EVERY);
    }
}

/// For a terminal. Whom it is with is said where it is another one than in the line before.
fn shown(line: &Line, last: &mut String, text: &mut String) {
    if *last != line.connection {
        last.clone_from(&line.connection);
        let from = if line.source.is_empty() { "" } else { " from " };
        let _ = writeln!(text, "-- {} {}{from}{}", line.connection, line.peer, line.source);
    }
    let mark = match &*line.said {
        "sent" => '>',
        "received" => '<',
        _ => '*',
    };
    // What a peer says acts on no terminal.
    let words = harmless(&line.text, '\u{fffd}');
    let _ = writeln!(text, "{} {mark} {words}", line.time);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_who_and_when_and_acts_on_no_terminal() {
        let line = |connection: &str, said: &str, text: &str| Line {
            time: "2026-11-28T05:00:00.000Z".into(),
            connection: connection.into(),
            peer: "mx[192.0.2.1]:25".into(),
            source: "192.0.2.9".into(),
            said: said.into(),
            text: text.into(),
        };
        let (mut last, mut text) = (String::new(), String::new());
        for line in [
            line("0.1", "note", "connecting"),
            line("0.1", "received", "220 \u{1b}[31mmx"),
            line("1.2", "sent", "EHLO me"),
        ] {
            shown(&line, &mut last, &mut text);
        }
        let expected = "-- 0.1 mx[192.0.2.1]:25 from 192.0.2.9\n\
            2026-11-28T05:00:00.000Z * connecting\n\
            2026-11-28T05:00:00.000Z < 220 \u{fffd}[31mmx\n\
            -- 1.2 mx[192.0.2.1]:25 from 192.0.2.9\n\
            2026-11-28T05:00:00.000Z > EHLO me\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn one_number_for_each_shard_is_asked_with() {
        assert_eq!(numbers(None, 2), Ok(vec![None, None]));
        assert_eq!(numbers(Some("3,0"), 2), Ok(vec![Some(3), Some(0)]));
        for wrong in ["", "3", "3,x", "1,2,3", "-1,0"] {
            assert!(numbers(Some(wrong), 2).is_err(), "{wrong}");
        }
    }
}
