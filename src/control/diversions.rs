//! `relay-fast queue reroute`, `rebind` and `diverted`: send mail by another way than the
//! configuration says, what waits and what comes in later.
//!
//! What is diverted is kept over restarts, and told to all shards; then what of it waits for its
//! next attempt is tried at once.

use std::fmt;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use crate::control::api::Select;
use crate::control::campaigns::Terms;
use crate::control::commands::Shards;
use crate::control::http::{Refused, bad, changed};
use crate::control::queue::{AskError, Node};
use crate::egress::diversions::{Diverted, MX, Orders, Way};
use crate::shard::commands::Command;
use crate::shard::settings::Settings;

/// What is to be otherwise; `None`: as the configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Where it goes.
    To(Option<Box<str>>),
    /// Where it leaves from.
    Pool(Option<Box<str>>),
}

impl Change {
    /// Let a way be so.
    pub fn make(self, way: &mut Way) {
        match self {
            Self::To(to) => way.to = to,
            Self::Pool(pool) => way.pool = pool,
        }
    }
}

type All = dyn Fn() -> Arc<Orders> + Send + Sync;
/// Whether that changes anything, or why it cannot be.
type Set = dyn Fn(&Diverted, Change) -> Result<bool, String> + Send + Sync;

/// The way to who keeps what is diverted.
#[derive(Clone)]
pub struct Diversions {
    all: Arc<All>,
    set: Arc<Set>,
}

impl fmt::Debug for Diversions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Diversions")
    }
}

impl Diversions {
    /// Reached by these two.
    pub fn new(
        all: impl Fn() -> Arc<Orders> + Send + Sync + 'static,
        set: impl Fn(&Diverted, Change) -> Result<bool, String> + Send + Sync + 'static,
    ) -> Self {
        Self { all: Arc::new(all), set: Arc::new(set) }
    }
}

/// Whose mail: that meets all that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whom {
    /// To this domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Of this tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Of this campaign of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
}

impl fmt::Display for Whom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { domain, tenant, campaign } = self;
        match (tenant, campaign) {
            (Some(tenant), Some(campaign)) => write!(f, "campaign {campaign} of {tenant}")?,
            (Some(tenant), None) => write!(f, "mail of {tenant}")?,
            (None, _) => f.write_str("mail")?,
        }
        domain.as_ref().map_or(Ok(()), |domain| write!(f, " to {domain}"))
    }
}

/// Whose mail, and its way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// To this domain.
    pub domain: Option<String>,
    /// Of this tenant.
    pub tenant: Option<String>,
    /// Of this campaign of it.
    pub campaign: Option<String>,
    /// The name of what it goes to, or leaves from.
    pub to: Option<String>,
    /// As the configuration says.
    #[serde(default)]
    pub back: bool,
}

/// Mail that is diverted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Whose.
    #[serde(flatten)]
    pub whose: Whom,
    /// Where it goes; `None`: as the configuration says.
    pub to: Option<String>,
    /// The pool that it leaves from; `None`: the same.
    pub pool: Option<String>,
    /// Since when, of what was ordered last.
    pub since: String,
    /// Names of it that the configuration does not know: of these, it is as it says.
    pub void: Vec<String>,
}

/// What an order did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// It was otherwise before.
    pub changed: bool,
    /// Recipients that waited for their next attempt, and are tried at once.
    pub flushed: u64,
}

#[derive(Clone)]
struct Desk {
    shards: Shards,
    diversions: Diversions,
    terms: Terms,
}

/// What is answered of it.
pub(super) fn router(shards: Shards, diversions: Diversions, terms: Terms) -> Router {
    Router::new()
        .route("/v1/diversions", get(diverted))
        .route("/v1/queue/rebind", post(rebind))
        .route("/v1/queue/reroute", post(reroute))
        .with_state(Desk { shards, diversions, terms })
}

async fn diverted(State(desk): State<Desk>) -> Json<Vec<Row>> {
    let settings = desk.terms.settings();
    let row = |(whose, way): (&Diverted, &Way)| row(whose, way, &settings);
    Json((desk.diversions.all)().iter().map(row).collect())
}

fn row(whose: &Diverted, way: &Way, settings: &Settings) -> Row {
    let known = |to: &str| settings.route_named(to).is_some();
    let lost_group = way.to.as_deref().filter(|to| !known(to));
    let lost_pool = way.pool.as_deref().filter(|pool| settings.pools.named(pool).is_none());
    Row {
        whose: Whom {
            domain: whose.domain.as_ref().map(ToString::to_string),
            tenant: whose.tenant.as_ref().map(ToString::to_string),
            campaign: whose.campaign.as_ref().map(ToString::to_string),
        },
        to: way.to.as_deref().map(str::to_owned),
        pool: way.pool.as_deref().map(str::to_owned),
        since: way.since.to_rfc3339(),
        void: lost_group.into_iter().chain(lost_pool).map(str::to_owned).collect(),
    }
}

type Ordered = Result<Json<Done>, Refused>;

async fn reroute(State(desk): State<Desk>, Query(asked): Query<Asked>) -> Ordered {
    let settings = desk.terms.settings();
    let names = settings.groups.iter().map(|group| &*group.name).chain([MX]);
    let known = |name: &str| settings.route_named(name).is_some();
    let to = target(&asked, "upstream group", names, known)?;
    desk.order(&asked, Change::To(to)).await
}

async fn rebind(State(desk): State<Desk>, Query(asked): Query<Asked>) -> Ordered {
    let settings = desk.terms.settings();
    let names = settings.pools.all.iter().map(|pool| &*pool.name);
    let to = target(&asked, "pool", names, |name| settings.pools.named(name).is_some())?;
    desk.order(&asked, Change::Pool(to)).await
}

/// What is named, if it is there; `None`: back.
fn target<'n>(
    asked: &Asked,
    what: &str,
    mut names: impl Iterator<Item = &'n str>,
    is_known: impl Fn(&str) -> bool,
) -> Result<Option<Box<str>>, Refused> {
    match (&asked.to, asked.back) {
        (None, true) => Ok(None),
        (Some(to), false) if is_known(to) => Ok(Some(to.as_str().into())),
        (Some(to), false) => {
            let all = names.by_ref().collect::<Vec<_>>().join(", ");
            Err(bad(format!("there is no {what} `{to}`; there is {all}")))
        }
        (None, false) | (Some(_), true) => Err(bad("say either `to` what, or `back`")),
    }
}

impl Desk {
    async fn order(&self, asked: &Asked, change: Change) -> Ordered {
        let Asked { domain, tenant, campaign, .. } = asked.clone();
        let select = Select { domain, tenant, campaign, ..Select::default() };
        let selector = select.parse().map_err(bad)?;
        let (domain, tenant) = (selector.domain.clone(), selector.tenant.clone());
        let whose = Diverted { domain, tenant, campaign: selector.campaign.clone() };
        if !whose.is_valid() {
            return Err(bad("name a domain, a tenant, or a campaign and its tenant"));
        }
        let done = (self.diversions.set)(&whose, change);
        let is_other = done.map_err(|error| Refused(StatusCode::INSUFFICIENT_STORAGE, error))?;
        let flushed = match is_other {
            true => changed(&self.shards, Command::Flush(selector)).await?,
            false => 0,
        };
        Ok(Json(Done { changed: is_other, flushed }))
    }
}

/// What is ordered from a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divert {
    /// `reroute` or `rebind`.
    pub verb: &'static str,
    /// Whose mail.
    pub whose: Whom,
    /// The name of where it goes, or leaves from; `None`: back.
    pub to: Option<String>,
}

/// Order it; what that did, for a terminal.
pub(super) fn divert(node: &Node, divert: &Divert) -> Result<String, AskError> {
    let Divert { verb, whose, to } = divert;
    let Whom { domain, tenant, campaign } = whose.clone();
    let back = to.is_none().then(|| "true".to_owned());
    let given = [
        ("domain", domain),
        ("tenant", tenant),
        ("campaign", campaign),
        ("to", to.clone()),
        ("back", back),
    ];
    let asked: Vec<_> = given.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    let Done { changed, flushed } = node.tell(&format!("queue/{verb}"), &asked, None)?;
    let way = match (*verb, to) {
        ("reroute", Some(to)) => format!("goes to {to}"),
        ("reroute", None) => "goes where the configuration says".to_owned(),
        (_, Some(to)) => format!("leaves from {to}"),
        (_, None) => "leaves from where the configuration says".to_owned(),
    };
    Ok(match changed {
        true => format!("{whose} {way}; {flushed} that were deferred are tried now\n"),
        false => format!("{whose} {way} already\n"),
    })
}

/// For a terminal: all that is diverted.
pub(super) fn shown(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "nothing is diverted\n".to_owned();
    }
    let line = |Row { whose, to, pool, since, void }: &Row| {
        let to = to.iter().map(|to| format!(" goes to {to}"));
        let from = pool.iter().map(|pool| format!(" leaves from {pool}"));
        let way = to.chain(from).collect::<Vec<_>>().join(",");
        let void =
            void.iter().map(|name| format!("; `{name}` is not there, and counts for nothing"));
        format!("{whose}{way}, since {since}{}\n", void.collect::<String>())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_diverted_is_said_in_words() {
        let whose = |domain: &str, tenant: &str, campaign: &str| {
            let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            Whom { domain: given(domain), tenant: given(tenant), campaign: given(campaign) }
        };
        let row = |whose, to: Option<&str>, pool: Option<&str>, void: &[&str]| Row {
            whose,
            to: to.map(str::to_owned),
            pool: pool.map(str::to_owned),
            since: "T".to_owned(),
            void: void.iter().map(|name| (*name).to_owned()).collect(),
        };
        let rows = [
            row(whose("a.example", "", ""), Some("mx"), None, &[]),
            row(whose("a.example", "acme", ""), Some("g"), Some("p"), &["g"]),
            row(whose("", "acme", "news"), None, Some("p"), &[]),
        ];
        let expected = "mail to a.example goes to mx, since T\n\
            mail of acme to a.example goes to g, leaves from p, since T; \
            `g` is not there, and counts for nothing\n\
            campaign news of acme leaves from p, since T\n";
        assert_eq!(shown(&rows), expected);
        assert_eq!(shown(&[]), "nothing is diverted\n");
    }
}
