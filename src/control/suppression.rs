//! `/v1/suppression/…`: look at the suppression lists of a node that runs, change them, take in
//! CSV.
//!
//! What is asked of the store blocks, and is done beside the control thread. Nothing is answered
//! before it is on stable storage and holds at all shards; an import is so batch by batch.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use crate::base::limits::{SUPPRESSION_BATCH_MAX, SUPPRESSION_ERRORS_MAX, SUPPRESSION_PAGE_MAX};
use crate::base::time::WallTime;
use crate::config::duration;
use crate::control::http::Refused;
use crate::policy::suppression::rows::{Defaults, Rows, WrongRow, moment};
use crate::policy::suppression::{
    Change, Done, Entry, Kind, ListName, Located, Registry, Subject, Totals, Unreadable,
};

/// The lists of a node; `None` where nobody is looked for on them.
pub type Found = Option<Arc<dyn Registry>>;

/// The way to the lists.
#[derive(Clone)]
pub struct SuppressionLists(Arc<dyn Fn() -> Found + Send + Sync>);

impl fmt::Debug for SuppressionLists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SuppressionLists")
    }
}

impl SuppressionLists {
    /// Reached by `find`.
    pub fn new(find: impl Fn() -> Found + Send + Sync + 'static) -> Self {
        Self(Arc::new(find))
    }

    pub(super) fn registry(&self) -> Result<Arc<dyn Registry>, Refused> {
        let words = "there are no lists: set `at` in [suppression]";
        (self.0)().ok_or_else(|| Refused(StatusCode::CONFLICT, words.to_owned()))
    }

    /// Ask beside this thread.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn Registry) -> Result<T, Unreadable> + Send + 'static,
    ) -> Result<T, Refused> {
        let registry = self.registry()?;
        let failed = |words: String| Refused(StatusCode::INTERNAL_SERVER_ERROR, words);
        match spawn_blocking(move || ask(&*registry)).await {
            Ok(answer) => answer.map_err(|error| failed(error.to_string())),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// How they stand; `None` where there are none, or the store cannot say.
    pub(super) async fn totals(&self) -> Option<Totals> {
        self.ask(|registry| registry.totals()).await.ok()
    }
}

/// What is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// `local@domain`, or `@domain`.
    pub address: Option<String>,
    /// A list; the node's own, or all where they are looked at, if not given.
    pub list: Option<String>,
    /// `hard-bounce`, `complaint`, `unsubscribe` or `manual`, which it is if not given.
    pub reason: Option<String>,
    /// Why, in words.
    pub text: Option<String>,
    /// When it ends: a time, or how long from now; never if not given.
    pub expires: Option<String>,
    /// The list and the address that the last page ended with.
    pub after: Option<String>,
    /// Rows of a page.
    pub limit: Option<usize>,
}

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// `local@domain`, or `@domain`.
    pub address: String,
    /// Its list.
    pub list: String,
    /// What kind of reason.
    pub reason: String,
    /// The reason.
    pub text: String,
    /// Since when.
    pub when: String,
    /// Until then.
    pub expires: Option<String>,
    /// The message that it came of.
    pub message: Option<String>,
}

/// Some entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// In the order of lists and addresses.
    pub entries: Vec<Row>,
    /// What to say as `after` to be told more; nothing where there is no more.
    pub next: Option<String>,
}

/// What an import came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// What it changed.
    pub done: Done,
    /// Rows that are no entries.
    pub wrong: u64,
    /// The first of them, with their lines.
    pub errors: Vec<String>,
}

/// How the lists stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Entries of each list.
    pub entries: Vec<(String, u64)>,
    /// Octets of the filter in front of them; 0 until it is built.
    pub filter_bytes: usize,
}

impl From<&Located> for Row {
    fn from(located: &Located) -> Self {
        let Located { list, subject, entry } = located;
        Self {
            address: subject.to_string(),
            list: list.to_string(),
            reason: entry.kind.to_string(),
            text: entry.words.to_string(),
            when: entry.when.to_rfc3339(),
            expires: entry.expires.map(WallTime::to_rfc3339),
            message: entry.message.map(|id| id.to_string()),
        }
    }
}

/// What is answered of them.
pub(super) fn router(lists: SuppressionLists) -> Router {
    Router::new()
        .route("/v1/suppression/stats", get(stats))
        .route("/v1/suppression/list", get(list))
        .route("/v1/suppression/show", get(show))
        .route("/v1/suppression/add", post(add))
        .route("/v1/suppression/remove", post(remove))
        .route("/v1/suppression/import", post(import))
        .with_state(lists)
}

async fn stats(State(lists): State<SuppressionLists>) -> Result<Json<Stats>, Refused> {
    let Totals { entries, filter_bytes, .. } = lists.ask(|registry| registry.totals()).await?;
    let entries = entries.into_iter().map(|(list, count)| (list.to_string(), count)).collect();
    Ok(Json(Stats { entries, filter_bytes }))
}

async fn list(
    State(lists): State<SuppressionLists>,
    Query(asked): Query<Asked>,
) -> Result<Json<Page>, Refused> {
    let list: Option<ListName> = asked.list.as_deref().map(read).transpose()?;
    let after = asked.after.as_deref().map(position).transpose()?;
    let limit = asked.limit.unwrap_or(SUPPRESSION_PAGE_MAX).clamp(1, SUPPRESSION_PAGE_MAX);
    let ask = move |registry: &dyn Registry| {
        let after = after.as_ref().map(|(list, subject)| (list, subject));
        registry.page(list.as_ref(), after, limit)
    };
    let entries: Vec<Row> = lists.ask(ask).await?.iter().map(Row::from).collect();
    let next = entries.last().filter(|_| entries.len() == limit);
    let next = next.map(|last| format!("{} {}", last.list, last.address));
    Ok(Json(Page { entries, next }))
}

async fn show(
    State(lists): State<SuppressionLists>,
    Query(asked): Query<Asked>,
) -> Result<Json<Vec<Row>>, Refused> {
    let subject = subject(&asked)?;
    let domain = subject.as_str().rfind('@').map(|at| Subject::known(&subject.as_str()[at..]));
    let ask = move |registry: &dyn Registry| {
        let mut found = registry.find(&subject)?;
        if let Some(domain) = domain.filter(|_| !subject.is_domain()) {
            found.extend(registry.find(&domain)?);
        }
        Ok(found)
    };
    Ok(Json(lists.ask(ask).await?.iter().map(Row::from).collect()))
}

async fn add(
    State(lists): State<SuppressionLists>,
    Query(asked): Query<Asked>,
) -> Result<Json<Done>, Refused> {
    let subject = subject(&asked)?;
    let Defaults { list, kind, when } = defaults(&asked, lists.registry()?.now())?;
    let mut entry = Entry::new(kind, asked.text.as_deref().unwrap_or(""), when);
    entry.expires = asked.expires.as_deref().map(|text| end(text, when)).transpose()?;
    let change = Change::Put(Located { list, subject, entry });
    lists.ask(move |registry| registry.change(&[change])).await.map(Json)
}

async fn remove(
    State(lists): State<SuppressionLists>,
    Query(asked): Query<Asked>,
) -> Result<Json<Done>, Refused> {
    let change = Change::Remove(named(&asked)?, subject(&asked)?);
    lists.ask(move |registry| registry.change(&[change])).await.map(Json)
}

async fn import(
    State(lists): State<SuppressionLists>,
    Query(asked): Query<Asked>,
    body: Body,
) -> Result<Json<Imported>, Refused> {
    let now = lists.registry()?.now();
    let mut import = Import {
        lists,
        rows: Rows::new(defaults(&asked, now)?),
        batch: Vec::new(),
        imported: Imported::default(),
    };
    let mut body = body;
    while let Some(piece) = next(&mut body).await? {
        import.push(&piece).await?;
    }
    import.finish().await.map(Json)
}

/// The next octets of a body.
async fn next(body: &mut Body) -> Result<Option<Bytes>, Refused> {
    loop {
        let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await;
        match frame {
            None => return Ok(None),
            Some(Err(error)) => return Err(bad(format!("the body broke off: {error}"))),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// Rows on their way into the store.
struct Import {
    lists: SuppressionLists,
    rows: Rows,
    batch: Vec<Change>,
    imported: Imported,
}

impl Import {
    async fn push(&mut self, piece: &[u8]) -> Result<(), Refused> {
        // So few octets hold no more rows than a batch.
        for piece in piece.chunks(SUPPRESSION_BATCH_MAX) {
            let Self { rows, batch, imported, .. } = self;
            let pushed = rows.push(piece, |row| take(row, batch, imported));
            pushed.map_err(|error| bad(error.to_string()))?;
            if self.batch.len() >= SUPPRESSION_BATCH_MAX / 2 {
                self.write().await?;
            }
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<Imported, Refused> {
        let Self { rows, batch, imported, .. } = &mut self;
        let finished = rows.finish(|row| take(row, batch, imported));
        finished.map_err(|error| bad(error.to_string()))?;
        self.write().await?;
        Ok(self.imported)
    }

    async fn write(&mut self) -> Result<(), Refused> {
        let mut batch = std::mem::take(&mut self.batch);
        // Neighbours in the store come one after another. Of two rows of one address the later one
        // stays the later one.
        batch.sort_by(|one, other| place(one).cmp(&place(other)));
        let done = self.lists.ask(move |registry| registry.change(&batch)).await?;
        self.imported.done = self.imported.done.plus(done);
        Ok(())
    }
}

/// Where in the store a change is.
fn place(change: &Change) -> (&ListName, &Subject) {
    match change {
        Change::Put(located) | Change::Add(located) => (&located.list, &located.subject),
        Change::Remove(list, subject) => (list, subject),
    }
}

fn take(row: Result<Located, WrongRow>, batch: &mut Vec<Change>, imported: &mut Imported) {
    match row {
        Ok(located) => batch.push(Change::Put(located)),
        Err(WrongRow { line, what }) => {
            imported.wrong += 1;
            if imported.errors.len() < SUPPRESSION_ERRORS_MAX {
                imported.errors.push(format!("line {line}: {what}"));
            }
        }
    }
}

fn bad(words: impl Into<String>) -> Refused {
    Refused(StatusCode::BAD_REQUEST, words.into())
}

fn read<T: FromStr<Err = String>>(text: &str) -> Result<T, Refused> {
    text.parse().map_err(bad)
}

fn subject(asked: &Asked) -> Result<Subject, Refused> {
    let address = asked.address.as_deref().ok_or_else(|| bad("name an address"))?;
    Subject::parse(address).map_err(|error| bad(format!("{address}: {error}")))
}

fn named(asked: &Asked) -> Result<ListName, Refused> {
    let list = asked.list.as_deref().map(read).transpose()?;
    Ok(list.unwrap_or(ListName::GLOBAL))
}

fn defaults(asked: &Asked, when: WallTime) -> Result<Defaults, Refused> {
    let kind = asked.reason.as_deref().map(read).transpose()?;
    Ok(Defaults { list: named(asked)?, kind: kind.unwrap_or(Kind::Manual), when })
}

/// Where the last page ended.
fn position(text: &str) -> Result<(ListName, Subject), Refused> {
    let (list, address) = text.split_once(' ').ok_or_else(|| bad("`after` is what `next` was"))?;
    Ok((read(list)?, Subject::known(address)))
}

/// A time, or a span from now on.
fn end(text: &str, now: WallTime) -> Result<WallTime, Refused> {
    let span = || duration(text).ok().map(|span| now + span);
    moment(text).or_else(span).ok_or_else(|| {
        bad(format!("expires: `{text}` is no time, as 2026-11-27T03:41:01Z, and no span, as 30d"))
    })
}
