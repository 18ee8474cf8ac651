//! `relay-fast campaigns` and `/v1/campaigns`: how far campaigns are.
//!
//! In: what shards have queued of them, figures of the last 30 days (where `[kpis]` counts), what
//! is paused, what the configuration says of them. Out: a row each of those that wait, are paused
//! or sent something, those with the most to send first. Cost: shards look their counts up, they
//! scan nothing; of figures, what `/v1/kpis` costs.

mod shown;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use crate::base::limits::{CAMPAIGNS_TOLD_DEFAULT, CAMPAIGNS_TOLD_MAX};
use crate::base::time::WallTime;
use crate::control::commands::{Shards, Silent};
use crate::control::http::{Refused, bad};
use crate::control::kpis::{CampaignFigures, Kpis, Numbers, Standing};
use crate::control::pauses::{Pauses, Since};
use crate::mail::handling::{CampaignName, Handling, TenantName};
use crate::queue::{Campaign, CampaignCounts, Pause};
use crate::shard::commands::{Answer, Command, Wanted};
use crate::shard::settings::Settings;

pub use shown::{Show, ask};

/// The way to what holds for campaigns.
#[derive(Clone)]
pub struct Terms(Arc<dyn Fn() -> Arc<Settings> + Send + Sync>);

impl fmt::Debug for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Terms")
    }
}

impl Terms {
    /// As these settings, which are in force, say.
    pub fn new(settings: impl Fn() -> Arc<Settings> + Send + Sync + 'static) -> Self {
        Self(Arc::new(settings))
    }

    /// What is in force.
    pub(super) fn settings(&self) -> Arc<Settings> {
        (self.0)()
    }
}

/// Which.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Of this tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// This one of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
    /// So many at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// What is known of campaigns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// Those with the most to send first.
    pub campaigns: Vec<Row>,
    /// There are others.
    pub more: bool,
    /// Since when `figures` count; `None`: there are none.
    pub figures_from: Option<String>,
    /// How the counting stands; `None`: `[kpis]` counts nothing.
    pub counted: Option<Standing>,
}

/// How far a campaign is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Whose.
    pub tenant: String,
    /// Its name; empty: what the tenant sends and says nothing of.
    pub campaign: String,
    /// `paused`, `sending`, or `done`: nothing of it is queued.
    pub state: String,
    /// While it is paused.
    pub paused: Option<PausedRow>,
    /// What is queued.
    pub queue: Queued,
    /// Recipients that leave the queue a second, by those of the last minute or two.
    pub per_second: f64,
    /// Seconds until the rest has, at that speed.
    pub left_s: Option<u64>,
    /// Of 1, what has come to its end. By the figures; without them, since the queue was last
    /// empty of it.
    pub progress: Option<f64>,
    /// What became of it.
    pub figures: Option<Numbers>,
    /// What holds for it.
    pub terms: TermsRow,
}

/// How it is paused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PausedRow {
    /// With all of its tenant's.
    pub whole_tenant: bool,
    /// Since when, where that is known.
    pub since: Option<String>,
}

/// Recipients in the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queued {
    /// All of them.
    pub recipients: u64,
    /// In line.
    pub ready: u64,
    /// Under way.
    pub attempting: u64,
    /// Until their next attempt.
    pub deferred: u64,
    /// Kept by an operator.
    pub held: u64,
    /// What keeps those in line, where it is a rate or a window of the campaign or its tenant.
    pub why: Option<String>,
}

/// What the configuration in force says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TermsRow {
    /// Its share beside others of its tenant.
    pub weight: u16,
    /// Its tenant's beside other tenants.
    pub tenant_weight: u16,
    /// Messages that leave, over all shards.
    pub rate: Option<String>,
    /// Of its tenant.
    pub tenant_rate: Option<String>,
    /// When they may.
    pub window: Option<String>,
    /// Seconds until what was not delivered bounces.
    pub lifetime_s: u64,
    /// Its pool of sources, where that goes by who sends.
    pub pool: Option<String>,
}

/// All that is asked.
#[derive(Clone)]
struct Desk {
    shards: Shards,
    pauses: Pauses,
    kpis: Kpis,
    terms: Terms,
}

/// What is answered of them.
pub(super) fn router(shards: Shards, pauses: Pauses, kpis: Kpis, terms: Terms) -> Router {
    let desk = Desk { shards, pauses, kpis, terms };
    Router::new().route("/v1/campaigns", get(campaigns)).with_state(desk)
}

async fn campaigns(
    State(desk): State<Desk>,
    Query(asked): Query<Asked>,
) -> Result<Json<Page>, Refused> {
    let limit = asked.limit.unwrap_or(CAMPAIGNS_TOLD_DEFAULT).clamp(1, CAMPAIGNS_TOLD_MAX);
    let whose = parse(&asked)?;
    let one = whose.as_ref().filter(|(_, name)| name.is_some()).map(campaign_of);
    let figures = desk.kpis.campaigns(one.as_ref().map(key_of)).await;
    let pauses = desk.pauses.since();
    let (from, counted) = match &figures {
        Some(figures) => (figures.from.clone(), Some(figures.counted.clone())),
        None => (None, None),
    };
    let figures = by_campaign(figures);
    let tenant = whose.map(|(tenant, _)| tenant);
    let (named, mut more) = match one {
        Some(one) => (vec![one], false),
        None => known(&desk.shards, tenant.as_ref(), &pauses, &figures, limit).await?,
    };
    let named: Arc<[Campaign]> = named.into();
    let counts = counts(&desk.shards, Wanted::These(named.clone())).await?;
    let settings = desk.terms.settings();
    let row = |campaign: &Campaign| {
        let counts = counts.get(campaign).cloned().unwrap_or_default();
        let numbers = figures.get(campaign).map(|(_, numbers)| numbers.clone());
        let paused = paused(campaign, &pauses);
        row(campaign, counts, numbers, paused, &settings)
    };
    let mut rows: Vec<Row> = named.iter().map(row).collect();
    let injected = |row: &Row| row.figures.as_ref().map_or(0, |figures| figures.injected);
    rows.sort_by_key(|row| std::cmp::Reverse((row.queue.recipients, injected(row))));
    more |= rows.len() > limit;
    rows.truncate(limit);
    Ok(Json(Page { campaigns: rows, more, figures_from: from, counted }))
}

type Whose = (TenantName, Option<CampaignName>);

fn campaign_of((tenant, name): &Whose) -> Campaign {
    Campaign { tenant: tenant.clone(), name: name.clone() }
}

fn parse(asked: &Asked) -> Result<Option<Whose>, Refused> {
    let Asked { tenant, campaign, .. } = asked;
    let Some(tenant) = tenant else {
        return match campaign {
            None => Ok(None),
            Some(_) => Err(bad("whose campaign? Name its tenant too")),
        };
    };
    let wrong = |name: &str, error: &dyn fmt::Display| bad(format!("{name}: {error}"));
    let parsed =
        TenantName::parse(tenant).map_err(|error| wrong(&format!("tenant {tenant}"), &error))?;
    let campaign = campaign.as_deref().map(|name| {
        CampaignName::parse(name).map_err(|error| wrong(&format!("campaign {name}"), &error))
    });
    Ok(Some((parsed, campaign.transpose()?)))
}

/// As figures are kept by.
fn key_of(campaign: &Campaign) -> String {
    let name = campaign.name.as_ref().map_or("", |name| name.as_str());
    format!("{} {name}", campaign.tenant)
}

/// Figures, and their place among others.
type Figures = BTreeMap<Campaign, (usize, Numbers)>;

/// Those of campaigns that have a tenant.
fn by_campaign(figures: Option<CampaignFigures>) -> Figures {
    let rows = figures.map(|figures| figures.rows).unwrap_or_default();
    let row = |(place, (key, numbers)): (usize, (String, Numbers))| {
        let (tenant, name) = key.split_once(' ')?;
        let tenant = TenantName::parse(tenant).ok()?;
        let name = CampaignName::parse(name).ok()?;
        Some((Campaign { tenant, name: Some(name) }, (place, numbers)))
    };
    rows.into_iter().enumerate().filter_map(row).collect()
}

/// Those that are told of: `limit` of those with the most in the queue, as many of those paused, as
/// many of those that sent the most; and whether there are others.
async fn known(
    shards: &Shards,
    tenant: Option<&TenantName>,
    pauses: &Since,
    figures: &Figures,
    limit: usize,
) -> Result<(Vec<Campaign>, bool), Silent> {
    let is_meant = |of: &TenantName| tenant.is_none_or(|tenant| tenant == of);
    // One more, to know of others.
    let wanted = Wanted::Biggest { tenant: tenant.cloned(), most: limit + 1 };
    let mut queued: Vec<_> = counts(shards, wanted).await?.into_iter().collect();
    queued.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.recipients()));
    let queued: Vec<Campaign> = queued.into_iter().map(|(campaign, _)| campaign).collect();
    let paused = pauses.keys().filter(|pause| is_meant(&pause.tenant));
    let paused: Vec<Campaign> = paused
        .filter_map(|Pause { tenant, campaign }| {
            campaign.clone().map(|name| Campaign { tenant: tenant.clone(), name: Some(name) })
        })
        .collect();
    let mut sent: Vec<_> = figures.iter().filter(|(of, _)| is_meant(&of.tenant)).collect();
    sent.sort_by_key(|(_, (place, _))| *place);
    let sent: Vec<Campaign> = sent.into_iter().map(|(campaign, _)| campaign.clone()).collect();
    let more = [&queued, &paused, &sent].iter().any(|all| all.len() > limit);
    let all = [queued, paused, sent].into_iter().flat_map(|all| all.into_iter().take(limit));
    let all: BTreeSet<Campaign> = all.collect();
    Ok((all.into_iter().collect(), more))
}

/// What all shards have of campaigns together.
async fn counts(
    shards: &Shards,
    wanted: Wanted,
) -> Result<BTreeMap<Campaign, CampaignCounts>, Silent> {
    let mut sums: BTreeMap<Campaign, CampaignCounts> = BTreeMap::new();
    for answer in shards.ask_all(&Command::Campaigns(wanted)).await? {
        let Answer::Campaigns(rows) = answer else { continue };
        for (campaign, counts) in rows {
            sums.entry(campaign).or_default().merge(counts);
        }
    }
    Ok(sums)
}

/// Whether it waits for an operator, and since when: its tenant's pause is its own.
fn paused(campaign: &Campaign, pauses: &Since) -> Option<PausedRow> {
    let tenant = &campaign.tenant;
    let find = |campaign: Option<CampaignName>| {
        pauses.get(&Pause { tenant: tenant.clone(), campaign }).copied()
    };
    let own = campaign.name.clone().and_then(|name| find(Some(name)));
    let whole = find(None);
    let since = own.flatten().into_iter().chain(whole.flatten()).min();
    let since = since.map(WallTime::to_rfc3339);
    own.or(whole).map(|_| PausedRow { whole_tenant: whole.is_some(), since })
}

fn row(
    campaign: &Campaign,
    counts: CampaignCounts,
    figures: Option<Numbers>,
    paused: Option<PausedRow>,
    settings: &Settings,
) -> Row {
    let waiting = counts.recipients();
    let state = match (paused.is_some(), waiting) {
        (true, _) => "paused",
        (false, 0) => "done",
        (false, _) => "sending",
    };
    let ended = figures.as_ref().map_or(0, ended).max(counts.left);
    let moves = state == "sending" && counts.per_kilosecond > 0;
    Row {
        tenant: campaign.tenant.to_string(),
        campaign: campaign.name.as_ref().map(ToString::to_string).unwrap_or_default(),
        state: state.to_owned(),
        paused,
        per_second: counts.per_kilosecond as f64 / 1_000.0,
        left_s: moves.then(|| (waiting * 1_000).div_ceil(counts.per_kilosecond)),
        progress: (ended + waiting > 0).then(|| ended as f64 / (ended + waiting) as f64),
        queue: Queued {
            recipients: waiting,
            ready: counts.ready,
            attempting: counts.dispatched,
            deferred: counts.deferred,
            held: counts.held,
            why: counts.why.map(String::from),
        },
        figures,
        terms: terms(campaign, settings),
    }
}

/// Recipients that have come to their end.
fn ended(of: &Numbers) -> u64 {
    of.delivered + of.bounced + of.expired + of.suppressed + of.removed
}

fn terms(campaign: &Campaign, settings: &Settings) -> TermsRow {
    let Campaign { tenant, name } = campaign.clone();
    let handling = Handling { tenant: Some(tenant), campaign: name, ..Handling::default() };
    let (tenant, name) = (handling.tenant.as_ref(), handling.campaign.as_ref());
    let of_tenant = settings.tenants.of_tenant(tenant);
    let of_campaign = settings.tenants.of_campaign(tenant, name).cloned().unwrap_or_default();
    let lifetime = settings.tenants.of(&handling).lifetime.unwrap_or(settings.schedule.lifetime);
    let pool = settings.pools.of_sender(Some(&handling));
    TermsRow {
        weight: of_campaign.weight,
        tenant_weight: of_tenant.weight,
        rate: of_campaign.rate.map(|rate| rate.to_string()),
        tenant_rate: of_tenant.rate.map(|rate| rate.to_string()),
        window: of_campaign.window.map(|window| window.to_string()),
        lifetime_s: lifetime.as_secs(),
        pool: pool.map(|pool| settings.pools.pool(pool).name.to_string()),
    }
}

#[cfg(test)]
mod tests;
