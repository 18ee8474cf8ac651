//! How the node does as a whole: what flows, what waits, who is left alone; for the console,
//! `relay-fast top` and whoever asks `/v1/overview`.
//!
//! Shards are asked when somebody asks, and once for all who ask at about the same time: nobody who
//! watches costs mail more than one who watches.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::base::limits::{OVERVIEW_AGE_MAX, OVERVIEW_DOMAINS, OVERVIEW_SITES};
use crate::base::time::{Monotonic, Now, WallTime};
use crate::control::api::Stats;
use crate::control::commands::{Shards, Silent};
use crate::control::http::Refused;
use crate::control::overview::flow::{Flow, History};
use crate::control::overview::sites::{SiteRow, UpstreamRow, site_rows, upstream_rows};
use crate::control::pauses::{Paused, Pauses};
use crate::outcome::counters::Counters;
use crate::shard::commands::{Answer, Command, QueueStats, Snapshot, Standings};

pub mod flow;
pub mod sites;

/// How a node does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Overview {
    /// What it calls itself.
    pub hostname: String,
    /// Its version.
    pub version: String,
    /// When this was so.
    pub time: String,
    /// Seconds since it began.
    pub up_s: u64,
    /// Seconds that the rates are taken over; 0: nobody asked before, and there are none yet.
    pub over_s: f64,
    /// What flows, a second.
    pub rates: Flow<f64>,
    /// What flowed since the node began.
    pub totals: Flow<u64>,
    /// What is in the queue.
    pub queue: Stats,
    /// Each shard.
    pub shards: Vec<ShardRow>,
    /// Sites with the most in line; what is in line at several shards is counted together.
    pub sites: Vec<SiteRow>,
    /// Upstream relays.
    pub upstreams: Vec<UpstreamRow>,
    /// Refusals by class, those that happened.
    pub classes: Vec<ClassRow>,
    /// Who is paused.
    pub paused: Vec<Paused>,
    /// A line for each domain that fails its check.
    pub failing_domains: Vec<String>,
}

/// How a shard does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ShardRow {
    /// `ok`, or what is wrong with its spool.
    pub state: String,
    /// What flows, a second.
    pub rates: Flow<f64>,
    /// Connections of clients.
    pub sessions: u64,
    /// Connections to next hops.
    pub connections: u64,
    /// Recipients in its queue.
    pub recipients: u64,
}

/// Recipients of one class of refusals, since the node began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassRow {
    /// Its name.
    pub class: String,
    /// Attempts that are to be made again.
    pub deferred: u64,
    /// Recipients that were given up.
    pub bounced: u64,
}

/// What a node is, whatever it does.
#[derive(Clone, Debug)]
pub struct Facts {
    /// What it calls itself.
    pub hostname: Arc<str>,
    /// When it began.
    pub began: Monotonic,
    /// Both clocks.
    pub now: fn() -> Now,
}

/// Makes overviews, one for all who ask.
#[derive(Clone, Debug)]
pub struct Overviews(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shards: Shards,
    pauses: Pauses,
    facts: Facts,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    history: History,
    last: Option<(Monotonic, Arc<Overview>)>,
}

/// What shards told.
#[derive(Debug, Default)]
struct Told {
    snapshots: Vec<Snapshot>,
    queues: Vec<QueueStats>,
    standings: Vec<Standings>,
}

impl Overviews {
    /// Of `shards`.
    pub fn new(shards: Shards, pauses: Pauses, facts: Facts) -> Self {
        Self(Arc::new(Inner { shards, pauses, facts, kept: Mutex::default() }))
    }

    /// One that is hardly older than the question.
    pub async fn now(&self) -> Result<Arc<Overview>, Silent> {
        let Inner { shards, pauses, facts, kept } = &*self.0;
        let mut kept = kept.lock().await;
        let now = (facts.now)();
        if let Some((at, last)) = &kept.last
            && now.mono.since(*at) < OVERVIEW_AGE_MAX
        {
            return Ok(last.clone());
        }
        let told = ask(shards).await?;
        let paused = pauses.shown();
        let overview = Arc::new(kept.overview(told, paused, facts, now));
        kept.last = Some((now.mono, overview.clone()));
        Ok(overview)
    }
}

async fn ask(shards: &Shards) -> Result<Told, Silent> {
    let mut told = Told::default();
    for command in [
        Command::Snapshot,
        Command::Stats { domains: OVERVIEW_DOMAINS },
        Command::Sites { most: OVERVIEW_SITES },
    ] {
        for answer in shards.ask_all(&command).await? {
            match answer {
                Answer::Snapshot(snapshot) => told.snapshots.push(*snapshot),
                Answer::Stats(stats) => told.queues.push(stats),
                Answer::Sites(standings) => told.standings.push(*standings),
                Answer::List { .. }
                | Answer::Show(_)
                | Answer::Waits(_)
                | Answer::TlsSessions(_)
                | Answer::Trace(_)
                | Answer::Campaigns(_)
                | Answer::Shaping(_)
                | Answer::Submitted(_)
                | Answer::Refused(_)
                | Answer::Changed(_)
                | Answer::Failed(_) => {}
            }
        }
    }
    Ok(told)
}

impl Kept {
    fn overview(
        &mut self,
        Told { snapshots, queues, standings }: Told,
        paused: Vec<Paused>,
        facts: &Facts,
        Now { mono, wall }: Now,
    ) -> Overview {
        let flows: Vec<Flow<u64>> = snapshots.iter().map(|one| Flow::of(&one.counters)).collect();
        let (over, rates) = self.history.rates(mono, &flows);
        let shards = snapshots.iter().zip(&queues).zip(&rates);
        let shards = shards.map(|((snapshot, queue), rates)| shard_row(snapshot, queue, *rates));
        let mut sum = Counters::default();
        snapshots.iter().for_each(|one| sum.merge(&one.counters));
        Overview {
            hostname: facts.hostname.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            time: WallTime::to_rfc3339(wall),
            up_s: mono.since(facts.began).as_secs(),
            over_s: over.as_secs_f64(),
            rates: rates.iter().copied().sum(),
            totals: flows.iter().copied().sum(),
            queue: Stats::sum(&queues, OVERVIEW_DOMAINS),
            shards: shards.collect(),
            sites: site_rows(&standings, OVERVIEW_SITES),
            upstreams: upstream_rows(&standings),
            classes: classes(&sum),
            paused,
            failing_domains: snapshots.first().map(|one| one.domains.clone()).unwrap_or_default(),
        }
    }
}

fn shard_row(snapshot: &Snapshot, queue: &QueueStats, rates: Flow<f64>) -> ShardRow {
    use crate::outcome::counters::Count::{ConnectionsOpen, SessionsOpen};
    ShardRow {
        state: snapshot.complaint().unwrap_or_else(|| "ok".to_owned()),
        rates,
        sessions: snapshot.counters.count(SessionsOpen),
        connections: snapshot.counters.count(ConnectionsOpen),
        recipients: queue.ready + queue.attempting + queue.deferred + queue.held,
    }
}

fn classes(sum: &Counters) -> Vec<ClassRow> {
    let rows = sum.refusals().filter(|(_, [deferred, bounced])| deferred + bounced > 0);
    let mut rows: Vec<ClassRow> = rows
        .map(|(class, [deferred, bounced])| ClassRow {
            class: class.to_string(),
            deferred,
            bounced,
        })
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse((row.bounced, row.deferred)));
    rows
}

/// What is answered of it.
pub(super) fn router(overviews: Overviews) -> Router {
    Router::new().route("/v1/overview", get(overview)).with_state(overviews)
}

async fn overview(State(overviews): State<Overviews>) -> Result<Json<Overview>, Refused> {
    Ok(Json(overviews.now().await?.as_ref().clone()))
}
