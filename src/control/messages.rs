//! `relay-fast messages` and `/v1/messages`: find messages of somebody, and tell their lives: why
//! they wait, and what the event log says of them.
//!
//! Both are looked through as far as the limits say: rows of the queue, and lines of the log, which
//! is read beside the control thread. An answer says where it had to stop.

use std::fmt::{self, Write as _};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::base::ids::MessageId;
use crate::base::limits::{
    LIST_ROWS_MAX, MESSAGE_EVENTS_MAX, MESSAGE_LINES_MAX, MESSAGE_ROWS_MAX, MESSAGE_SEARCHES_MAX,
    MESSAGES_DEFAULT, MESSAGES_MAX,
};
use crate::base::time::WallTime;
use crate::config::duration;
use crate::control::api::{Message, Select};
use crate::control::commands::Shards;
use crate::control::events::source::Source;
use crate::control::events::text;
use crate::control::http::{Refused, bad, find_message};
use crate::control::queue::{AskError, Node, shown_message};
use crate::mail::address::Mailbox;
use crate::outcome::event::Event;
use crate::outcome::event::filter::Filter;
use crate::shard::commands::{Answer, Command};

/// Where the event log is, and the clock.
#[derive(Clone)]
pub struct Lives(Arc<Inner>);

struct Inner {
    spool: PathBuf,
    now: fn() -> WallTime,
    /// Each reads the log.
    room: Semaphore,
}

impl fmt::Debug for Lives {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lives")
    }
}

impl Lives {
    /// Of the spool there.
    pub fn new(spool: PathBuf, now: fn() -> WallTime) -> Self {
        Self(Arc::new(Inner { spool, now, room: Semaphore::new(MESSAGE_SEARCHES_MAX) }))
    }
}

/// Whose messages: those that meet all that is given.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Message id
    #[arg(long, value_name = "ID")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// A recipient's address
    #[arg(long, value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    /// Name of who sends
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Name of what it is sent for
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
    /// How far back the event log is read: a time, or how long ago; 1d if not given
    #[arg(long, value_name = "TIME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Messages of the queue; 20 if not given
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// What is known of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// Those in the queue, with why each recipient waits.
    pub queued: Vec<Message>,
    /// What happened to their recipients, oldest first, as the event log has it.
    pub events: Vec<Value>,
    /// The queue was not looked through to its end.
    pub more_queued: bool,
    /// The event log was not.
    pub more_events: bool,
}

/// What is answered of them.
pub(super) fn router(shards: Shards, lives: Lives) -> Router {
    Router::new().route("/v1/messages", get(messages)).with_state((shards, lives))
}

async fn messages(
    State((shards, lives)): State<(Shards, Lives)>,
    Query(asked): Query<Asked>,
) -> Result<Json<Found>, Refused> {
    let filter = filter(&asked)?;
    let since = since(&asked, (lives.0.now)())?;
    let Ok(_room) = lives.0.room.try_acquire() else {
        let words = "others are looking for messages: ask again".to_owned();
        return Err(Refused(StatusCode::SERVICE_UNAVAILABLE, words));
    };
    let (queued, more_queued) = queued(&shards, &asked).await?;
    let spool = lives.0.spool.clone();
    let read = spawn_blocking(move || events(&spool, filter, since)).await;
    let failed = |error: String| Refused(StatusCode::INTERNAL_SERVER_ERROR, error);
    let read = read.map_err(|error| failed(error.to_string()))?;
    let (events, more_events) = read.map_err(|error| failed(error.to_string()))?;
    Ok(Json(Found { queued, events, more_queued, more_events }))
}

/// The events that are meant.
fn filter(asked: &Asked) -> Result<Filter, Refused> {
    let Asked { id, recipient, tenant, campaign, .. } = asked;
    let terms = [("id", id), ("recipient", recipient), ("tenant", tenant), ("campaign", campaign)];
    let mut words = Vec::new();
    for (name, value) in terms {
        let Some(value) = value else { continue };
        if value.contains('"') || value.is_empty() {
            return Err(bad(format!("{name}: `{value}` cannot be looked for")));
        }
        words.push(format!("{name}=\"{value}\""));
    }
    if words.is_empty() {
        return Err(bad("name an id, a recipient, a tenant or a campaign"));
    }
    Filter::parse(&words.join(" ")).map_err(|error| bad(error.to_string()))
}

fn since(asked: &Asked, now: WallTime) -> Result<WallTime, Refused> {
    let text = asked.from.as_deref().unwrap_or("1d");
    let ago = || duration(text).ok().map(|ago| now - ago);
    WallTime::from_rfc3339(text)
        .or_else(ago)
        .ok_or_else(|| bad(format!("from: `{text}` is no time, and no span, as 1d")))
}

/// Messages in the queue, and whether there may be more.
async fn queued(shards: &Shards, asked: &Asked) -> Result<(Vec<Message>, bool), Refused> {
    let limit = asked.limit.unwrap_or(MESSAGES_DEFAULT).clamp(1, MESSAGES_MAX);
    let (ids, mut more) = ids(shards, asked, limit).await?;
    let mut found = Vec::new();
    for id in ids {
        // It may have come to its end meanwhile.
        found.extend(find_message(shards, id).await?);
    }
    if let Some(to) = &asked.recipient {
        for message in &mut found {
            message.recipients.retain(|story| story.recipient.eq_ignore_ascii_case(to));
        }
    }
    more &= asked.id.is_none();
    Ok((found, more))
}

/// Which messages of the queue are meant, `limit` at most; whether there may be more.
async fn ids(
    shards: &Shards,
    asked: &Asked,
    limit: usize,
) -> Result<(Vec<MessageId>, bool), Refused> {
    let domain = asked.recipient.as_deref().map(|to| {
        let mailbox = Mailbox::parse(to, true);
        mailbox.map_err(|error| bad(format!("recipient {to}: {error}")))
    });
    let domain = domain.transpose()?.map(|mailbox| mailbox.domain().as_str().to_owned());
    let select = Select {
        id: asked.id.clone(),
        domain,
        tenant: asked.tenant.clone(),
        campaign: asked.campaign.clone(),
        ..Select::default()
    };
    let selector = select.parse().map_err(bad)?;
    let (mut ids, mut rows_seen) = (Vec::new(), 0);
    for shard in shards.ids() {
        let mut after = None;
        loop {
            let (selector, limit_rows) = (selector.clone(), LIST_ROWS_MAX);
            let command = Command::List { selector, after, limit: limit_rows };
            let Answer::List { rows, next } = shards.ask(shard, command).await? else { break };
            rows_seen += rows.len();
            for row in rows {
                let to = row.forward_path.as_str();
                let is_meant =
                    asked.recipient.as_ref().is_none_or(|it| it.eq_ignore_ascii_case(to));
                if is_meant && ids.last() != Some(&row.id) {
                    ids.push(row.id);
                }
            }
            if ids.len() > limit || rows_seen > MESSAGE_ROWS_MAX {
                ids.truncate(limit);
                return Ok((ids, true));
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
    }
    Ok((ids, false))
}

/// Events that are wanted, and whether there may be more. Blocks.
fn events(
    spool: &std::path::Path,
    filter: Filter,
    since: WallTime,
) -> io::Result<(Vec<Value>, bool)> {
    let mut source = Source::since(spool, since, filter)?;
    source.look()?;
    let (mut events, mut line) = (Vec::new(), Vec::new());
    for _ in 0..MESSAGE_LINES_MAX {
        if source.next(&mut line)?.is_none() {
            return Ok((events, false));
        }
        if !line.is_empty() {
            events.extend(serde_json::from_slice(&line).ok());
            line.clear();
        }
        if events.len() == MESSAGE_EVENTS_MAX {
            break;
        }
    }
    Ok((events, true))
}

/// Ask a node; its answer, for a terminal.
pub fn ask(node: &Node, asked: &Asked) -> Result<String, AskError> {
    let mut query = Vec::new();
    let given = [
        ("id", &asked.id),
        ("recipient", &asked.recipient),
        ("tenant", &asked.tenant),
        ("campaign", &asked.campaign),
        ("from", &asked.from),
    ];
    query.extend(given.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
    query.extend(asked.limit.map(|limit| ("limit", limit.to_string())));
    Ok(shown(&node.fetch("messages", &query)?))
}

fn shown(found: &Found) -> String {
    let mut out = String::new();
    for message in &found.queued {
        out.push_str(&shown_message(message));
        out.push('\n');
    }
    for event in &found.events {
        let line = event.to_string();
        match Event::parse(line.as_bytes()) {
            Ok(event) => out.push_str(&text(&event)),
            // Of a later version, perhaps.
            Err(_) => drop(writeln!(out, "{line}")),
        }
    }
    if found.queued.is_empty() && found.events.is_empty() {
        out.push_str("nothing is known of such a message\n");
    }
    if found.more_queued || found.more_events {
        out.push_str("there may be more: say more of what is meant\n");
    }
    out
}
