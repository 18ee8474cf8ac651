//! Count what became of mail, from the event log, and answer for it.
//!
//! In: what is configured, the files of the event log, questions. Out: figures in
//! `SPOOL/kpis.redb`; `/v1/kpis…`, `relay-fast kpis`, a few metrics. On a thread of its own, which
//! is there once it is asked for and yields to the shards: it reads what shards wrote long ago, and
//! no shard knows of it. Where the store is slow, or broken, figures are behind, or missing; mail
//! is not.

mod answer;
mod campaigns;
mod counting;
mod exposed;
mod shown;
mod store;
mod told;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use axum::http::StatusCode;
use rustix::process::setpriority_process;
use tokio::task::spawn_blocking;

use crate::base::limits::KPI_NICENESS;
use crate::base::time::{Now, WallTime};
use crate::config::options::KpiOptions;
use crate::control::events::source::octets_behind;
use crate::control::http::Refused;
use crate::control::kpis::exposed::{Stand, Top};
use crate::control::kpis::store::{Store, StoreError};
use crate::outcome::event::cursor::Cursor;
use crate::outcome::kpi::{Dimension, Figures};

pub use answer::{Numbers, Point, Row, Series, Standing, Totals};
pub(in crate::control) use campaigns::CampaignFigures;
pub use shown::{KpisVerb, show};

pub(super) use answer::router;

/// The file below a spool.
const FILE: &str = "kpis.redb";

/// The figures of a node.
#[derive(Clone, Debug)]
pub struct Kpis(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    spool: PathBuf,
    now: fn() -> Now,
    state: Mutex<State>,
    /// While it is open.
    store: Mutex<Option<Arc<Store>>>,
    progress: Mutex<Progress>,
}

#[derive(Debug, Default)]
struct State {
    options: KpiOptions,
    is_running: bool,
}

/// How far the counting has come, since the process started.
#[derive(Clone, Debug, Default)]
struct Progress {
    events: u64,
    gaps: u64,
    octets: u64,
    /// Behind what is counted and kept.
    cursor: Cursor,
    /// When the last event happened that is counted and kept.
    until: Option<WallTime>,
    /// Since when nothing can be counted, and why.
    failing: Option<(WallTime, String)>,
}

/// What is behind a lock, whatever became of who held it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kpis {
    /// Of the log below `spool`; nothing is counted yet.
    pub fn new(spool: PathBuf, now: fn() -> Now) -> Self {
        let (state, store, progress) = Default::default();
        Self(Arc::new(Inner { spool, now, state, store, progress }))
    }

    /// Count by these from now on, or not at all.
    pub fn set(&self, options: KpiOptions) -> io::Result<()> {
        let mut state = lock(&self.0.state);
        state.options = options;
        if options.count && !state.is_running {
            let inner = self.0.clone();
            thread::Builder::new().name("kpis".to_owned()).spawn(move || {
                if let Err(error) = setpriority_process(None, KPI_NICENESS) {
                    tracing::debug!(%error, "figures are counted with the priority of shards");
                }
                counting::run(&inner);
            })?;
            state.is_running = true;
        }
        Ok(())
    }

    /// Ask the store beside the control thread.
    async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Refused> {
        let store = lock(&self.0.store).clone();
        let Some(store) = store else { return Err(self.closed()) };
        let failed = |words: String| Refused(StatusCode::INTERNAL_SERVER_ERROR, words);
        match spawn_blocking(move || ask(&store)).await {
            Ok(answer) => answer.map_err(|error| failed(error.to_string())),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// Why there are no figures.
    fn closed(&self) -> Refused {
        if !lock(&self.0.state).options.count {
            let words = "nothing is counted: set `count` in [kpis]";
            return Refused(StatusCode::CONFLICT, words.to_owned());
        }
        let failing = lock(&self.0.progress).failing.clone();
        let words = failing.map_or("figures are being opened".to_owned(), |(_, words)| words);
        Refused(StatusCode::SERVICE_UNAVAILABLE, words)
    }

    /// How the counting stands; looks at the sizes of files.
    fn standing(&self) -> Standing {
        let progress = lock(&self.0.progress).clone();
        let (since, error) = progress.failing.unzip();
        Standing {
            until: progress.until.map(WallTime::to_rfc3339),
            behind_bytes: octets_behind(&self.0.spool, &progress.cursor).unwrap_or(0),
            gaps: progress.gaps,
            failing_since: since.map(WallTime::to_rfc3339),
            error,
        }
    }

    /// In Prometheus' text format; nothing where nothing is counted.
    pub async fn metrics(&self) -> String {
        if !lock(&self.0.state).options.count {
            return String::new();
        }
        let Progress { events, gaps, octets, .. } = lock(&self.0.progress).clone();
        let Standing { behind_bytes: behind, error, .. } = self.standing();
        let stand = Stand { events, gaps, octets, behind, is_failing: error.is_some() };
        let now = (self.0.now)().wall;
        let tops = self.ask(move |store| exposed::tops(store, now)).await;
        // Where the store cannot say it is failing, which is told.
        exposed::text(&stand, &tops.unwrap_or_default())
    }
}

/// All that is told in Prometheus' text format, of nothing.
pub(super) fn exposition() -> String {
    let (rows, others) = (vec![("key".to_owned(), Figures::default())], Figures::default());
    exposed::text(&Stand::default(), &[Top { dimension: Dimension::Domain, rows, others }])
}
