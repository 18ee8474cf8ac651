//! `relay-fast config` and `reload`; `/v1/config` and `/v1/config/reload`: what is in force, since
//! when and whose doing that is, what is written now, and to put that in force.
//!
//! Each configuration that was put in force is an *epoch*, counted from 1 at the start. The main
//! thread puts them in force, by SIGHUP or because it is asked here; whoever asks is told what came
//! of it. Invariant: an epoch that is told of is in force, whole.

mod shown;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::base::limits::CONFIG_RELOAD_WAIT;
use crate::base::time::WallTime;
use crate::config::Config;
use crate::config::hidden;
use crate::config::knob::TakesEffect;
use crate::config::reload::{self, Change};
use crate::control::http::Refused;

pub use shown::{ShowConfig, config, reload};

/// Whose doing an epoch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The process started.
    Start,
    /// SIGHUP.
    Signal,
    /// Somebody asked for it at an admin address.
    Asked,
    /// A file that the configuration names was another one.
    Files,
}

impl How {
    fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Signal => "signal",
            Self::Asked => "asked",
            Self::Files => "files",
        }
    }
}

/// What is in force.
#[derive(Clone, Debug)]
struct Epoch {
    number: u64,
    since: WallTime,
    how: How,
    /// What it changed.
    changes: Vec<Change>,
    config: Arc<Config>,
    /// The last reload after it that was refused: when, and why.
    refused: Option<(WallTime, String)>,
}

/// What came of a reload.
type Outcome = Result<Reloaded, String>;
/// Somebody who asked for one.
pub type Waiting = oneshot::Sender<Outcome>;
type Read = dyn Fn() -> Result<Config, String> + Send + Sync;
type Wish = dyn Fn() + Send + Sync;

/// What is in force, and the way to whoever changes that.
#[derive(Clone)]
pub struct Epochs(Arc<Inner>);

struct Inner {
    file: Option<String>,
    /// What is written now.
    read: Box<Read>,
    /// Wakes whoever puts it in force.
    wish: Box<Wish>,
    now: fn() -> WallTime,
    epoch: Mutex<Epoch>,
    /// Bounded by the connections that there may be.
    waiting: Mutex<Vec<Waiting>>,
}

impl fmt::Debug for Epochs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Epochs")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Epochs {
    /// The first epoch, of `config`; `read` reads what is written now, in `file`, and `wish` wakes
    /// whoever puts it in force.
    pub fn new(
        config: Config,
        file: Option<String>,
        read: impl Fn() -> Result<Config, String> + Send + Sync + 'static,
        wish: impl Fn() + Send + Sync + 'static,
        now: fn() -> WallTime,
    ) -> Self {
        let epoch = Epoch {
            number: 1,
            since: now(),
            how: How::Start,
            changes: Vec::new(),
            config: Arc::new(config),
            refused: None,
        };
        let (epoch, waiting) = (Mutex::new(epoch), Mutex::default());
        let (read, wish) = (Box::new(read), Box::new(wish));
        Self(Arc::new(Inner { file, read, wish, now, epoch, waiting }))
    }

    /// What is in force.
    pub fn config(&self) -> Arc<Config> {
        lock(&self.0.epoch).config.clone()
    }

    /// Those who asked until now: what is read from now on is what they mean.
    pub fn waiting(&self) -> Vec<Waiting> {
        std::mem::take(&mut *lock(&self.0.waiting))
    }

    /// `config` is in force: another epoch, which changed so much.
    pub fn put(&self, config: Arc<Config>, changes: Vec<Change>, how: How, waiting: Vec<Waiting>) {
        let mut epoch = lock(&self.0.epoch);
        let (number, since) = (epoch.number + 1, (self.0.now)());
        *epoch = Epoch { number, since, how, changes, config, refused: None };
        let reloaded = Reloaded { epoch: number, changed: rows(&epoch.changes) };
        drop(epoch);
        answer(waiting, &Ok(reloaded));
    }

    /// What is written is not put in force. `told`: why, in as many lines as it takes; `line`: in
    /// one.
    pub fn refuse(&self, line: String, told: String, waiting: Vec<Waiting>) {
        lock(&self.0.epoch).refused = Some(((self.0.now)(), line));
        answer(waiting, &Err(told));
    }

    /// Looks at the file.
    fn page(&self) -> Page {
        let epoch = lock(&self.0.epoch).clone();
        let (differs, problem) = match (self.0.read)() {
            Ok(written) => (rows(&reload::changes(&epoch.config, &written)), None),
            Err(problem) => (Vec::new(), Some(problem)),
        };
        let file = self.0.file.as_deref();
        let knob = |row: &crate::config::origin::InForce| KnobRow {
            path: row.path.to_string(),
            value: hidden::told(&row.path, &row.value),
            origin: row.origin.told(file),
            takes_effect: word(row.knob.takes_effect).to_owned(),
        };
        Page {
            epoch: epoch.number,
            since: epoch.since.to_rfc3339(),
            how: epoch.how.as_str().to_owned(),
            file: self.0.file.clone(),
            changed: rows(&epoch.changes),
            refused: epoch.refused.map(|(at, why)| RefusedRow { at: at.to_rfc3339(), why }),
            differs,
            problem,
            knobs: epoch.config.in_force.iter().map(knob).collect(),
        }
    }
}

fn answer(waiting: Vec<Waiting>, outcome: &Outcome) {
    for one in waiting {
        // Whoever asked may have given up.
        let _ = one.send(outcome.clone());
    }
}

/// What is in force, and what is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// Counted from 1 since the start.
    pub epoch: u64,
    /// Since when it is in force.
    pub since: String,
    /// `start`, `signal`, `asked`, or `files`: a file that the configuration names was another one.
    pub how: String,
    /// The configuration file.
    pub file: Option<String>,
    /// What the epoch changed.
    pub changed: Vec<ChangeRow>,
    /// The last reload since that was refused.
    pub refused: Option<RefusedRow>,
    /// What is written otherwise than it is in force.
    pub differs: Vec<ChangeRow>,
    /// What is wrong with what is written.
    pub problem: Option<String>,
    /// All that is in force.
    pub knobs: Vec<KnobRow>,
}

/// A value that differs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeRow {
    /// As `upstream[0].connections`.
    pub path: String,
    /// What was, or is in force; `None`: nothing.
    pub before: Option<String>,
    /// What is, or is written; `None`: nothing.
    pub after: Option<String>,
    /// At a `reload`, or at a `restart` alone.
    pub takes_effect: String,
}

/// A reload that was refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedRow {
    /// When.
    pub at: String,
    /// Why.
    pub why: String,
}

/// A value that is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnobRow {
    /// As `listener[0].address`.
    pub path: String,
    /// As the file would write it; what may be secret in it is `…`.
    pub value: String,
    /// `default`, a line of the file as `relay.toml:12`, or a flag as `--cores`.
    pub origin: String,
    /// A change: at a `reload`, or at a `restart` alone.
    pub takes_effect: String,
}

/// What a reload did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// That is in force now.
    pub epoch: u64,
    /// What it changed.
    pub changed: Vec<ChangeRow>,
}

fn word(takes_effect: TakesEffect) -> &'static str {
    match takes_effect {
        TakesEffect::Reload => "reload",
        TakesEffect::Restart => "restart",
    }
}

fn rows(changes: &[Change]) -> Vec<ChangeRow> {
    let row = |change: &Change| {
        let told = |value: &Option<Box<str>>| {
            value.as_ref().map(|value| hidden::told(&change.path, value))
        };
        ChangeRow {
            path: change.path.to_string(),
            before: told(&change.before),
            after: told(&change.after),
            takes_effect: word(change.takes_effect).to_owned(),
        }
    };
    changes.iter().map(row).collect()
}

/// What is answered of it.
pub(super) fn router(epochs: Epochs) -> Router {
    Router::new()
        .route("/v1/config", get(shown))
        .route("/v1/config/reload", post(again))
        .with_state(epochs)
}

async fn shown(State(epochs): State<Epochs>) -> Result<Json<Page>, Refused> {
    let page = spawn_blocking(move || epochs.page()).await;
    let failed = |error: tokio::task::JoinError| {
        Refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    };
    page.map(Json).map_err(failed)
}

async fn again(State(epochs): State<Epochs>) -> Result<Json<Reloaded>, Refused> {
    let (sender, answer) = oneshot::channel();
    lock(&epochs.0.waiting).push(sender);
    (epochs.0.wish)();
    match timeout(CONFIG_RELOAD_WAIT, answer).await {
        Ok(Ok(Ok(reloaded))) => Ok(Json(reloaded)),
        Ok(Ok(Err(why))) => Err(Refused(StatusCode::UNPROCESSABLE_ENTITY, why)),
        Ok(Err(_)) | Err(_) => {
            let words = "nobody says what came of it: the log will".to_owned();
            Err(Refused(StatusCode::GATEWAY_TIMEOUT, words))
        }
    }
}

#[cfg(test)]
mod tests;
