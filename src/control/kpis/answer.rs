//! `/v1/kpis`: figures by key, and over time. JSON, the same types for the node and who asks it.
//!
//! Times are RFC 3339 in UTC, and an answer says which it is about: whole intervals, the one that
//! `from` is in first, the one that `until` is in not any more. Without them it is about the last
//! hour by the minute, day by the hour, or 30 days by the day, the present interval included.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use crate::base::limits::{KPI_INTERVALS_MAX, KPI_ROWS_DEFAULT, KPI_ROWS_MAX};
use crate::base::time::WallTime;
use crate::config::duration;
use crate::control::http::{Refused, bad};
use crate::control::kpis::Kpis;
use crate::control::kpis::store::Span;
use crate::mail::class::Class;
use crate::outcome::kpi::{Dimension, Figure, Figures, Resolution};

/// What is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    by: Option<String>,
    key: Option<String>,
    interval: Option<String>,
    from: Option<String>,
    until: Option<String>,
    limit: Option<usize>,
}

/// What became of some recipients.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Numbers {
    /// Taken over by this node.
    pub injected: u64,
    /// Taken by a next hop.
    pub delivered: u64,
    /// Attempts that failed, with another to come.
    pub deferred: u64,
    /// Refused for good.
    pub bounced: u64,
    /// Why, by the class of the refusal.
    pub bounced_by_class: BTreeMap<String, u64>,
    /// Given up for their age.
    pub expired: u64,
    /// On a suppression list.
    pub suppressed: u64,
    /// Taken out by an operator.
    pub removed: u64,
    /// Bounced after a next hop had taken them.
    pub bounced_later: u64,
    /// Complained.
    pub complaints: u64,
    /// Opened by a person.
    pub opens_people: u64,
    /// Opened by a machine.
    pub opens_machine: u64,
    /// Links that a person followed.
    pub clicks: u64,
    /// Links that a machine followed.
    pub clicks_machine: u64,
    /// Unsubscribed.
    pub unsubscribes: u64,
    /// The share that was delivered of those delivered, bounced and expired.
    pub delivery_rate: Option<f64>,
    /// From MAIL to the next hop's reply, of half of those delivered at most,
    pub median_seconds: Option<f64>,
    /// and of all but one in a hundred.
    pub p99_seconds: Option<f64>,
    /// How many were delivered a second.
    pub delivered_per_second: f64,
}

impl Numbers {
    /// Of figures that were counted over so long.
    pub(super) fn new(figures: &Figures, over: Duration) -> Self {
        let count = |figure| figures.count(figure);
        let classes = Class::ALL.into_iter().filter(|class| figures.bounced(*class) > 0);
        let quantile = |share| figures.times.quantile(share).map(|time| time.as_secs_f64());
        Self {
            injected: count(Figure::Injected),
            delivered: count(Figure::Delivered),
            deferred: count(Figure::Deferred),
            bounced: count(Figure::Bounced),
            bounced_by_class: classes.map(|it| (it.to_string(), figures.bounced(it))).collect(),
            expired: count(Figure::Expired),
            suppressed: count(Figure::Suppressed),
            removed: count(Figure::Removed),
            bounced_later: count(Figure::BouncedLater),
            complaints: count(Figure::Complaints),
            opens_people: count(Figure::OpensPeople),
            opens_machine: count(Figure::OpensMachine),
            clicks: count(Figure::Clicks),
            clicks_machine: count(Figure::ClicksMachine),
            unsubscribes: count(Figure::Unsubscribes),
            delivery_rate: figures.delivery_rate(),
            median_seconds: quantile(0.5),
            p99_seconds: quantile(0.99),
            delivered_per_second: count(Figure::Delivered) as f64 / over.as_secs_f64().max(1.0),
        }
    }
}

/// A key and its figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// A tenant, a domain and so on; empty: of events that have none.
    pub key: String,
    /// What became of its recipients.
    #[serde(flatten)]
    pub numbers: Numbers,
}

/// How the counting stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// When the last event happened that is counted.
    pub until: Option<String>,
    /// Octets of the event log that are not counted yet.
    pub behind_bytes: u64,
    /// Times that events were missing since the node was started.
    pub gaps: u64,
    /// Since when nothing can be counted.
    pub failing_since: Option<String>,
    /// Why.
    pub error: Option<String>,
}

/// Figures by key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// What keys are.
    pub by: String,
    /// By intervals of so long.
    pub interval: String,
    /// The start of the first.
    pub from: String,
    /// The start of the one after the last.
    pub until: String,
    /// The biggest first.
    pub rows: Vec<Row>,
    /// All other keys together; of keys that were too small to be kept apart, too.
    pub others: Option<Numbers>,
    /// All mail.
    pub all: Numbers,
    /// How the counting stands.
    pub counted: Standing,
}

/// An interval and its figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// When it begins.
    pub start: String,
    /// What happened in it.
    #[serde(flatten)]
    pub numbers: Numbers,
}

/// Figures over time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// What the key is.
    pub by: String,
    /// Whose figures.
    pub key: String,
    /// By intervals of so long.
    pub interval: String,
    /// The start of the first.
    pub from: String,
    /// The start of the one after the last.
    pub until: String,
    /// Every interval, those included in which nothing happened.
    pub points: Vec<Point>,
    /// How the counting stands.
    pub counted: Standing,
}

/// What is answered of figures.
pub(in crate::control) fn router(kpis: Kpis) -> Router {
    Router::new()
        .route("/v1/kpis", get(totals))
        .route("/v1/kpis/series", get(series))
        .with_state(kpis)
}

async fn totals(
    State(kpis): State<Kpis>,
    Query(asked): Query<Asked>,
) -> Result<Json<Totals>, Refused> {
    let now = (kpis.0.now)().wall;
    let span = asked.span(now)?;
    let limit = asked.limit.unwrap_or(KPI_ROWS_DEFAULT).clamp(1, KPI_ROWS_MAX);
    let (of, key) = (span.clone(), asked.key);
    let ask = move |store: &super::store::Store| {
        let all = Span { dimension: Dimension::All, ..of.clone() };
        let all = store.totals(&all, Some(""), 1)?.top(1).0.pop();
        let ranked = store.totals(&of, key.as_deref(), KPI_ROWS_MAX)?;
        Ok((ranked.top(limit), all.map(|(_, figures)| figures).unwrap_or_default()))
    };
    let ((rows, others), all) = kpis.ask(ask).await?;
    let over = span.starts.end.min(now).since(span.starts.start);
    let numbers = |figures: &Figures| Numbers::new(figures, over);
    let row = |(key, figures): (String, Figures)| Row { key, numbers: numbers(&figures) };
    Ok(Json(Totals {
        by: span.dimension.to_string(),
        interval: span.resolution.to_string(),
        from: span.starts.start.to_rfc3339(),
        until: span.starts.end.to_rfc3339(),
        rows: rows.into_iter().map(row).collect(),
        others: (others.volume() > 0).then(|| numbers(&others)),
        all: numbers(&all),
        counted: kpis.standing(),
    }))
}

async fn series(
    State(kpis): State<Kpis>,
    Query(asked): Query<Asked>,
) -> Result<Json<Series>, Refused> {
    let span = asked.span((kpis.0.now)().wall)?;
    let key = asked.key.unwrap_or_default();
    let (of, whose) = (span.clone(), key.clone());
    let found = kpis.ask(move |store| store.series(&of, &whose)).await?;
    let (nothing, length) = (Figures::default(), span.resolution.length());
    let point = |start: WallTime| Point {
        start: start.to_rfc3339(),
        numbers: Numbers::new(found.get(&start).unwrap_or(&nothing), length),
    };
    Ok(Json(Series {
        by: span.dimension.to_string(),
        key,
        interval: span.resolution.to_string(),
        from: span.starts.start.to_rfc3339(),
        until: span.starts.end.to_rfc3339(),
        points: span.intervals().map(point).collect(),
        counted: kpis.standing(),
    }))
}

impl Asked {
    /// Whose figures, of which intervals.
    fn span(&self, now: WallTime) -> Result<Span, Refused> {
        let wrong = |error: String| bad(error);
        let by = self.by.as_deref().unwrap_or("all");
        let dimension: Dimension = by.parse().map_err(|error| wrong(format!("by: {error}")))?;
        let interval = self.interval.as_deref().unwrap_or("hour");
        let resolution: Resolution =
            interval.parse().map_err(|error| wrong(format!("interval: {error}")))?;
        let end = match &self.until {
            Some(until) => resolution.start(moment("until", until, now)?),
            None => resolution.next(resolution.start(now)),
        };
        let start = match &self.from {
            Some(from) => resolution.start(moment("from", from, now)?),
            None => resolution.start(end - resolution.length() * usual(resolution)),
        };
        let span = Span { resolution, dimension, starts: start..end };
        if span.intervals().nth(KPI_INTERVALS_MAX).is_some() {
            let words = format!("these are more than {KPI_INTERVALS_MAX} intervals");
            return Err(Refused(StatusCode::BAD_REQUEST, words));
        }
        Ok(span)
    }
}

/// So many intervals where nobody says.
fn usual(resolution: Resolution) -> u32 {
    match resolution {
        Resolution::Minute => 60,
        Resolution::Hour => 24,
        Resolution::Day => 30,
    }
}

/// A time, or how long ago.
fn moment(name: &str, text: &str, now: WallTime) -> Result<WallTime, Refused> {
    let ago = || duration(text).ok().map(|ago| now - ago);
    WallTime::from_rfc3339(text).or_else(ago).ok_or_else(|| {
        bad(format!("{name}: `{text}` is neither a time, as 2026-11-24T03:41:01Z, nor a duration"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(by: &str, interval: &str, from: &str, until: &str) -> Asked {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Asked {
            by: given(by),
            interval: given(interval),
            from: given(from),
            until: given(until),
            ..Asked::default()
        }
    }

    #[test]
    fn whole_intervals_are_asked_for() {
        let now = WallTime::from_rfc3339("2026-11-24T03:41:01Z").unwrap();
        let starts = |asked: Asked| {
            let Ok(Span { starts, .. }) = asked.span(now) else { panic!("{asked:?}") };
            [starts.start.to_rfc3339(), starts.end.to_rfc3339()].map(|time| time[..16].to_owned())
        };
        let day = ["2026-11-23T04:00", "2026-11-24T04:00"];
        assert_eq!(starts(asked("", "", "", "")), day);
        assert_eq!(
            starts(asked("domain", "minute", "", "")),
            ["2026-11-24T02:42", "2026-11-24T03:42"]
        );
        assert_eq!(starts(asked("", "hour", "2h", "1h")), ["2026-11-24T01:00", "2026-11-24T02:00"]);
        let month = starts(asked("", "day", "2026-11-01T00:00:00Z", ""));
        assert_eq!(month, ["2026-11-01T00:00", "2026-11-25T00:00"]);
    }

    #[test]
    fn what_cannot_be_asked_is_said() {
        let now = WallTime(0);
        for (asked, words) in [
            (asked("sender", "", "", ""), "by: `sender` is none of all, tenant, "),
            (asked("", "week", "", ""), "interval: `week` is none of minute, hour, day"),
            (asked("", "", "yesterday", ""), "from: `yesterday` is neither"),
            (asked("", "", "", "-"), "until: `-` is neither"),
            (asked("", "minute", "30d", ""), "these are more than 10000 intervals"),
        ] {
            let Err(Refused(status, said)) = asked.span(now) else { panic!("{asked:?}") };
            assert!(said.starts_with(words), "{said}");
            assert_eq!(status, StatusCode::BAD_REQUEST);
        }
    }
}
