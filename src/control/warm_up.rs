//! `relay-fast warm-up`: how far sources are warmed up, and what operators make of it.

use std::fmt;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};

use crate::control::http::{Refused, bad};
use crate::control::queue::{AskError, Node};
use crate::egress::warm_up::status::{OrderError, ProviderStatus, SourceStatus, Verb};

/// What is asked of a node.
#[derive(Clone, Args)]
pub struct WarmUpAsk {
    /// The verb; how all sources stand, if none is given
    #[command(subcommand)]
    pub verb: Option<WarmUpVerb>,
    /// One JSON object a line
    #[arg(long, global = true)]
    pub json: bool,
}

/// What is asked about sources that are warmed up.
#[derive(Clone, Subcommand)]
pub enum WarmUpVerb {
    /// How one source stands
    Show {
        /// The source, by its name
        source: String,
    },
    /// Stay at the present day of the plan, until it is resumed
    Hold {
        /// The source, by its name
        source: String,
    },
    /// Go on from the day that it is held at
    Resume {
        /// The source, by its name
        source: String,
    },
    /// Be at a day of the plan today: 1 begins again
    Day {
        /// The source, by its name
        source: String,
        /// The day, from 1
        day: u32,
    },
    /// Be warm: without limit from now on
    Finish {
        /// The source, by its name
        source: String,
    },
}

/// How sources stand, all or one.
type Status = dyn Fn(Option<&str>) -> Vec<SourceStatus> + Send + Sync;
/// Do something with a source; how it stands then.
type Order = dyn Fn(&str, Verb) -> Result<Vec<SourceStatus>, OrderError> + Send + Sync;

/// The way to who keeps what sources have sent.
#[derive(Clone)]
pub struct WarmUps {
    status: Arc<Status>,
    order: Arc<Order>,
}

impl fmt::Debug for WarmUps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WarmUps")
    }
}

impl WarmUps {
    /// Reached by these two.
    pub fn new(
        status: impl Fn(Option<&str>) -> Vec<SourceStatus> + Send + Sync + 'static,
        order: impl Fn(&str, Verb) -> Result<Vec<SourceStatus>, OrderError> + Send + Sync + 'static,
    ) -> Self {
        Self { status: Arc::new(status), order: Arc::new(order) }
    }
}

/// What is asked over HTTP.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    pub(super) source: Option<String>,
    pub(super) day: Option<u32>,
}

type Told = Result<Json<Vec<SourceStatus>>, Refused>;

/// What is answered of warm-up.
pub(super) fn router(ways: WarmUps) -> Router {
    Router::new()
        .route("/v1/warm-up", get(status))
        .route("/v1/warm-up/{verb}", post(order))
        .with_state(ways)
}

async fn status(State(ways): State<WarmUps>, Query(asked): Query<Asked>) -> Told {
    let rows = (ways.status)(asked.source.as_deref());
    match asked.source {
        Some(source) if rows.is_empty() => Err(refused(&OrderError::NoSource(source))),
        Some(_) | None => Ok(Json(rows)),
    }
}

async fn order(
    State(ways): State<WarmUps>,
    Path(verb): Path<String>,
    Query(asked): Query<Asked>,
) -> Told {
    let verb = match (&*verb, asked.day) {
        ("hold", None) => Verb::Hold,
        ("resume", None) => Verb::Resume,
        ("finish", None) => Verb::Finish,
        ("day", Some(day)) => Verb::Day(day),
        ("day", None) => return Err(bad("say which day of the plan")),
        ("hold" | "resume" | "finish", Some(_)) => return Err(bad("it takes no day")),
        _ => {
            let words = "the verbs are hold, resume, day and finish";
            return Err(Refused(StatusCode::NOT_FOUND, words.to_owned()));
        }
    };
    let Some(source) = asked.source else { return Err(bad("name a source")) };
    (ways.order)(&source, verb).map(Json).map_err(|error| refused(&error))
}

fn refused(error: &OrderError) -> Refused {
    let status = match error {
        OrderError::NoSource(_) => StatusCode::NOT_FOUND,
        OrderError::NoDay(..) => StatusCode::BAD_REQUEST,
        OrderError::NotBegun(_) | OrderError::Over(_) => StatusCode::CONFLICT,
        OrderError::NotWritten(_) => StatusCode::INSUFFICIENT_STORAGE,
    };
    Refused(status, error.to_string())
}

/// Ask a running node; its answer, for a terminal or a program.
pub fn ask(node: &Node, ask: &WarmUpAsk) -> Result<String, AskError> {
    let of = |source: &str| vec![("source", source.to_owned())];
    let rows: Vec<SourceStatus> = match &ask.verb {
        None => node.fetch("warm-up", &[])?,
        Some(WarmUpVerb::Show { source }) => node.fetch("warm-up", &of(source))?,
        Some(WarmUpVerb::Hold { source }) => node.tell("warm-up/hold", &of(source), None)?,
        Some(WarmUpVerb::Resume { source }) => node.tell("warm-up/resume", &of(source), None)?,
        Some(WarmUpVerb::Finish { source }) => node.tell("warm-up/finish", &of(source), None)?,
        Some(WarmUpVerb::Day { source, day }) => {
            let asked = [of(source), vec![("day", day.to_string())]].concat();
            node.tell("warm-up/day", &asked, None)?
        }
    };
    Ok(if ask.json {
        let lines = rows.iter().filter_map(|row| serde_json::to_string(row).ok());
        lines.map(|line| line + "\n").collect()
    } else {
        table(&rows)
    })
}

const HEAD: [&str; 8] = ["SOURCE", "PLAN", "DAY", "STATE", "PROVIDER", "SENT", "ALLOWED", "UNTIL"];

/// For a terminal: a line for each provider that a source sends to.
fn table(rows: &[SourceStatus]) -> String {
    if rows.is_empty() {
        return "no source is to be warmed up\n".to_owned();
    }
    let mut lines = vec![HEAD.map(str::to_owned)];
    for row in rows {
        let nobody = ProviderStatus {
            provider: "(each)".to_owned(),
            allowed: row.allowed,
            ..ProviderStatus::default()
        };
        let none = row.providers.is_empty().then_some(&nobody);
        for provider in row.providers.iter().chain(none) {
            let allowed = provider.allowed.map_or("any".to_owned(), |most| most.to_string());
            lines.push([
                row.source.clone(),
                row.plan.clone(),
                format!("{}/{}", row.day.min(row.days), row.days),
                row.state.clone(),
                provider.provider.clone(),
                provider.sent.to_string(),
                allowed,
                row.until.clone(),
            ]);
        }
    }
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or(0);
    let widths: [usize; HEAD.len()] = std::array::from_fn(width);
    let line = |line: &[String; HEAD.len()]| {
        let cells = line.iter().zip(widths);
        let cells: Vec<String> = cells.map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    lines.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_line_for_each_provider() {
        let row = SourceStatus {
            source: "new".into(),
            plan: "default".into(),
            day: 3,
            days: 24,
            state: "warming".into(),
            until: "2026-11-29 00:00 UTC".into(),
            allowed: Some(100),
            ..SourceStatus::default()
        };
        let of = |provider: &str, sent, allowed| ProviderStatus {
            provider: provider.into(),
            sent,
            allowed,
            used_up: false,
        };
        let providers = vec![of("gmail", 100, Some(100)), of("mx.example", 7, None)];
        let other = SourceStatus { source: "other".into(), ..row.clone() };
        let told = table(&[SourceStatus { providers, ..row }, other]);
        let expected = "\
SOURCE  PLAN     DAY   STATE    PROVIDER    SENT  ALLOWED  UNTIL
new     default  3/24  warming  gmail       100   100      2026-11-29 00:00 UTC
new     default  3/24  warming  mx.example  7     any      2026-11-29 00:00 UTC
other   default  3/24  warming  (each)      0     100      2026-11-29 00:00 UTC
";
        assert_eq!(told, expected);
        assert_eq!(table(&[]), "no source is to be warmed up\n");
    }
}
