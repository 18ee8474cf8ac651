//! `relay-fast queue pause`, `resume` and `paused`: let what a tenant or a campaign sends wait.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use crate::base::time::WallTime;
use crate::control::http::Refused;
use crate::mail::handling::{CampaignName, TenantName};
use crate::queue::Pause;

/// All that is paused, and since when, where that is known.
pub(super) type Since = BTreeMap<Pause, Option<WallTime>>;
type All = dyn Fn() -> Since + Send + Sync;
/// Pause, or let go on; whether that changes anything, or why it cannot be.
type Set = dyn Fn(&Pause, bool) -> Result<bool, String> + Send + Sync;

/// The way to who keeps what is paused.
#[derive(Clone)]
pub struct Pauses {
    all: Arc<All>,
    set: Arc<Set>,
}

impl fmt::Debug for Pauses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pauses")
    }
}

/// Who, or what of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whose {
    /// A tenant's name.
    pub tenant: String,
    /// One campaign of it; else all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
}

/// Who is paused, or what of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// A tenant's name.
    pub tenant: String,
    /// One campaign of it; else all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
    /// Since when, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

/// What an order did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// It was otherwise before.
    pub changed: bool,
}

impl Pauses {
    /// Reached by these two.
    pub fn new(
        all: impl Fn() -> BTreeMap<Pause, Option<WallTime>> + Send + Sync + 'static,
        set: impl Fn(&Pause, bool) -> Result<bool, String> + Send + Sync + 'static,
    ) -> Self {
        Self { all: Arc::new(all), set: Arc::new(set) }
    }

    /// All of them.
    pub(super) fn shown(&self) -> Vec<Paused> {
        self.since().iter().map(Paused::from).collect()
    }

    /// The same, as it is kept.
    pub(super) fn since(&self) -> Since {
        (self.all)()
    }

    fn order(&self, whose: &Whose, paused: bool) -> Result<Json<Done>, Refused> {
        let wrong = |error: String| Refused(StatusCode::BAD_REQUEST, error);
        let pause = whose.parse().map_err(wrong)?;
        let changed = (self.set)(&pause, paused);
        let changed = changed.map_err(|error| Refused(StatusCode::INSUFFICIENT_STORAGE, error))?;
        Ok(Json(Done { changed }))
    }
}

impl Whose {
    fn parse(&self) -> Result<Pause, String> {
        let name = |error| format!("tenant {}: {error}", self.tenant);
        let tenant = TenantName::parse(&self.tenant).map_err(name)?;
        let campaign = self.campaign.as_deref().map(|name| {
            CampaignName::parse(name).map_err(|error| format!("campaign {name}: {error}"))
        });
        Ok(Pause { tenant, campaign: campaign.transpose()? })
    }
}

impl From<(&Pause, &Option<WallTime>)> for Paused {
    fn from((pause, since): (&Pause, &Option<WallTime>)) -> Self {
        let campaign = pause.campaign.as_ref().map(ToString::to_string);
        let since = since.map(WallTime::to_rfc3339);
        Self { tenant: pause.tenant.to_string(), campaign, since }
    }
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.campaign {
            Some(campaign) => write!(f, "campaign {campaign} of {}", self.tenant),
            None => write!(f, "all of {}", self.tenant),
        }
    }
}

/// What is answered of them.
pub(super) fn router(pauses: Pauses) -> Router {
    Router::new()
        .route("/v1/pauses", get(paused))
        .route("/v1/queue/pause", post(pause))
        .route("/v1/queue/resume", post(resume))
        .with_state(pauses)
}

async fn paused(State(pauses): State<Pauses>) -> Json<Vec<Paused>> {
    Json(pauses.shown())
}

async fn pause(
    State(pauses): State<Pauses>,
    Query(whose): Query<Whose>,
) -> Result<Json<Done>, Refused> {
    pauses.order(&whose, true)
}

async fn resume(
    State(pauses): State<Pauses>,
    Query(whose): Query<Whose>,
) -> Result<Json<Done>, Refused> {
    pauses.order(&whose, false)
}

/// For a terminal: what an order did.
pub fn done(whose: &Whose, paused: bool, done: Done) -> String {
    match (paused, done.changed) {
        (true, true) => format!("{whose} is paused: what is with peers goes on, the rest waits\n"),
        (true, false) => format!("{whose} was paused already\n"),
        (false, true) => format!("{whose} goes on\n"),
        (false, false) => format!("{whose} was not paused\n"),
    }
}

/// For a terminal: all that is paused.
pub fn shown(all: &[Paused]) -> String {
    if all.is_empty() {
        return "nothing is paused\n".to_owned();
    }
    let line = |Paused { tenant, campaign, since }: &Paused| {
        let whose = Whose { tenant: tenant.clone(), campaign: campaign.clone() };
        let since = since.as_ref().map_or_else(String::new, |since| format!(", since {since}"));
        format!("{whose}{since}\n")
    };
    all.iter().map(line).collect()
}
