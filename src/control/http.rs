//! Answer what is asked of a node: `/healthz`, `/metrics`, and all below `/v1/`.
//!
//! Who may ask is judged before ([`crate::control::access`]), by the table of all that there is
//! ([`crate::control::roles`]). What changes something is a POST.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};

use crate::base::ids::MessageId;
use crate::base::limits::{LIST_ROWS_MAX, STATS_DOMAINS_DEFAULT};
use crate::control::api::{Changed, Message, Refusal, Row, Select, Stats};
use crate::control::commands::{Shards, Silent};
use crate::control::exporters::Exporters;
use crate::control::exporters::status::{self, Status};
use crate::control::kpis::Kpis;
use crate::control::overview::Overviews;
use crate::control::serve::Ways;
use crate::control::suppression::SuppressionLists;
use crate::control::{
    campaigns, check_domain, console, diversions, epochs, inject, kpis, messages, metrics, openapi,
    overview, pauses, shaping, suppression, tls_reports, trace, warm_up, web,
};
use crate::shard::commands::{
    Answer, Command, QueueState, QueueStats, QueuedMessage, RecipientStory, Selector, Snapshot,
    Wait,
};

/// All that is answered.
pub(super) fn router(shards: Shards, ways: Ways) -> Router {
    let Ways { reports, pauses, exporters, lists, facts, checks, epochs, diversions, .. } = ways;
    let Ways { kpis, injections, lives, terms, web, warm_up, .. } = ways;
    let overviews = Overviews::new(shards.clone(), pauses.clone(), facts);
    let queue = Router::new()
        .route("/healthz", get(healthz))
        .route("/v1/queue/list", get(list))
        .route("/v1/queue/show/{id}", get(show))
        .route("/v1/queue/stats", get(stats))
        .route("/v1/queue/flush", post(flush))
        .route("/v1/queue/hold", post(hold))
        .route("/v1/queue/release", post(release))
        .route("/v1/queue/remove", post(remove))
        .with_state(shards.clone());
    let exposed = Router::new().route("/metrics", get(exposition));
    let exporting = Router::new().route("/v1/exporters", get(exporting));
    let measured = (shards.clone(), exporters.clone(), lists.clone(), kpis.clone(), web);
    queue
        .merge(exposed.with_state(measured))
        .merge(exporting.with_state(exporters))
        .merge(overview::router(overviews.clone()))
        .merge(console::router(overviews))
        .merge(trace::router(shards.clone()))
        .merge(check_domain::router(checks))
        .merge(epochs::router(epochs))
        .merge(diversions::router(shards.clone(), diversions, terms.clone()))
        .merge(campaigns::router(shards.clone(), pauses.clone(), kpis.clone(), terms))
        .merge(kpis::router(kpis))
        .merge(pauses::router(pauses))
        .merge(tls_reports::router(reports))
        .merge(suppression::router(lists))
        .merge(openapi::router())
        .merge(warm_up::router(warm_up))
        .merge(messages::router(shards.clone(), lives))
        .merge(inject::router(shards.clone(), injections))
        .merge(shaping::router(shards))
}

/// A refusal with its status.
pub(super) struct Refused(pub(super) StatusCode, pub(super) String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(Refusal { error: self.1 })).into_response()
    }
}

impl From<Silent> for Refused {
    fn from(silent: Silent) -> Self {
        Self(StatusCode::GATEWAY_TIMEOUT, silent.to_string())
    }
}

pub(super) fn bad(error: impl Into<String>) -> Refused {
    Refused(StatusCode::BAD_REQUEST, error.into())
}

async fn snapshots(shards: &Shards) -> Result<Vec<Snapshot>, Silent> {
    let answers = shards.ask_all(&Command::Snapshot).await?;
    let snapshot = |answer| {
        let Answer::Snapshot(snapshot) = answer else { return None };
        Some(*snapshot)
    };
    Ok(answers.into_iter().filter_map(snapshot).collect())
}

/// 200 while every shard answers, takes mail and stores it; else 503 and why.
async fn healthz(State(shards): State<Shards>) -> Response {
    let words = match snapshots(&shards).await {
        Err(silent) => silent.to_string(),
        Ok(all) => match all.iter().enumerate().find_map(|(n, one)| Some((n, one.complaint()?))) {
            None => return well(all.first()).into_response(),
            Some((shard, words)) => format!("shard {shard}: {words}"),
        },
    };
    (StatusCode::SERVICE_UNAVAILABLE, words + "\n").into_response()
}

/// That all shards work; and domains that fail their check, which is for their zones to mend, not
/// for whoever keeps the node running.
fn well(snapshot: Option<&Snapshot>) -> String {
    let domains = snapshot.into_iter().flat_map(|snapshot| &snapshot.domains);
    domains.fold("ok\n".to_owned(), |text, line| text + line + "\n")
}

/// Those of whom there are metrics.
type Measured = (Shards, Exporters, SuppressionLists, Kpis, Arc<web::Counts>);

async fn exposition(
    State((shards, exporters, lists, kpis, web)): State<Measured>,
) -> Result<Response, Refused> {
    let beside = status::metrics(&exporters.statuses()) + &kpis.metrics().await + &web.metrics();
    let text = metrics::render(&snapshots(&shards).await?, lists.totals().await.as_ref()) + &beside;
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}

async fn exporting(State(exporters): State<Exporters>) -> Json<Vec<Status>> {
    Json(exporters.statuses())
}

async fn list(
    State(shards): State<Shards>,
    Query(select): Query<Select>,
) -> Result<Json<Vec<Row>>, Refused> {
    let selector = select.parse().map_err(bad)?;
    let limit = select.limit.unwrap_or(LIST_ROWS_MAX).clamp(1, LIST_ROWS_MAX);
    let mut rows = Vec::new();
    for shard in shards.ids() {
        let mut after = None;
        while rows.len() < limit {
            let selector = selector.clone();
            let command = Command::List { selector, after, limit: limit - rows.len() };
            let Answer::List { rows: more, next } = shards.ask(shard, command).await? else {
                break;
            };
            rows.extend(more.iter().map(Row::from));
            after = next;
            if after.is_none() {
                break;
            }
        }
    }
    rows.truncate(limit);
    Ok(Json(rows))
}

async fn show(
    State(shards): State<Shards>,
    Path(id): Path<String>,
) -> Result<Json<Message>, Refused> {
    let id: MessageId = id.parse().map_err(|error| bad(format!("{id}: {error}")))?;
    match find_message(&shards, id).await? {
        Some(message) => Ok(Json(message)),
        None => Err(Refused(StatusCode::NOT_FOUND, format!("{id} is not in the queue"))),
    }
}

/// A message of the queue, and why its recipients wait.
pub(super) async fn find_message(
    shards: &Shards,
    id: MessageId,
) -> Result<Option<Message>, Refused> {
    let mut not_yet = None;
    for answer in shards.ask_all(&Command::Show(id)).await? {
        match answer {
            Answer::Show(Some(mut message)) => {
                add_waits(shards, &mut message).await?;
                return Ok(Some(Message::from(message.as_ref())));
            }
            Answer::Failed(words) => not_yet = Some(words),
            Answer::Show(None)
            | Answer::List { .. }
            | Answer::Waits(_)
            | Answer::Sites(_)
            | Answer::Trace(_)
            | Answer::Campaigns(_)
            | Answer::Stats(_)
            | Answer::Snapshot(_)
            | Answer::TlsSessions(_)
            | Answer::Submitted(_)
            | Answer::Refused(_)
            | Answer::Shaping(_)
            | Answer::Changed(_) => {}
        }
    }
    if let Some(words) = not_yet {
        return Err(Refused(StatusCode::SERVICE_UNAVAILABLE, words.into()));
    }
    Ok(None)
}

/// Ask owners for what keeps the recipients that they hold.
async fn add_waits(shards: &Shards, message: &mut QueuedMessage) -> Result<(), Silent> {
    for answer in shards.ask_all(&Command::Waits(message.id)).await? {
        let Answer::Waits(waits) = answer else { continue };
        for Wait { recipients, why } in waits {
            let held = |story: &&mut RecipientStory| {
                story.state == QueueState::Attempting && recipients.contains(&story.index)
            };
            message.recipients.iter_mut().filter(held).for_each(|story| {
                story.limit = Some(why.clone());
            });
        }
    }
    Ok(())
}

async fn stats(
    State(shards): State<Shards>,
    Query(select): Query<Select>,
) -> Result<Json<Stats>, Refused> {
    let domains = select.limit.unwrap_or(STATS_DOMAINS_DEFAULT).min(LIST_ROWS_MAX);
    let answers = shards.ask_all(&Command::Stats { domains }).await?;
    let stats = |answer| {
        let Answer::Stats(stats) = answer else { return None };
        Some(stats)
    };
    let all: Vec<QueueStats> = answers.into_iter().filter_map(stats).collect();
    Ok(Json(Stats::sum(&all, domains)))
}

type Operated = Result<Json<Changed>, Refused>;

async fn flush(State(shards): State<Shards>, Query(select): Query<Select>) -> Operated {
    operate(&shards, &select, Command::Flush).await
}

async fn hold(State(shards): State<Shards>, Query(select): Query<Select>) -> Operated {
    operate(&shards, &select, Command::Hold).await
}

async fn release(State(shards): State<Shards>, Query(select): Query<Select>) -> Operated {
    operate(&shards, &select, Command::Release).await
}

async fn remove(State(shards): State<Shards>, Query(select): Query<Select>) -> Operated {
    operate(&shards, &select, Command::Remove).await
}

/// Have all shards do what `verb` makes of a selection.
async fn operate(shards: &Shards, select: &Select, verb: fn(Selector) -> Command) -> Operated {
    let selector = select.parse().map_err(bad)?;
    if selector.is_everything() && !select.all {
        return Err(bad("name an id, a domain or a reverse-path; or, with `all`, everything"));
    }
    let recipients = changed(shards, verb(selector)).await?;
    Ok(Json(Changed { recipients }))
}

/// How many recipients a verb changes, of all shards.
pub(super) async fn changed(shards: &Shards, verb: Command) -> Result<u64, Refused> {
    let mut recipients = 0;
    for answer in shards.ask_all(&verb).await? {
        match answer {
            Answer::Changed(count) => recipients += count,
            Answer::Failed(words) => return Err(bad(words)),
            Answer::List { .. }
            | Answer::Show(_)
            | Answer::Waits(_)
            | Answer::Sites(_)
            | Answer::Trace(_)
            | Answer::Campaigns(_)
            | Answer::Stats(_)
            | Answer::TlsSessions(_)
            | Answer::Submitted(_)
            | Answer::Refused(_)
            | Answer::Shaping(_)
            | Answer::Snapshot(_) => {}
        }
    }
    Ok(recipients)
}
