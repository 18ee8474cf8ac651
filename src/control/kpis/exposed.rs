//! Figures as metrics: how the counting stands, and the biggest keys of the hour that runs.
//!
//! Bounded: `KPI_METRIC_KEYS` keys of a few dimensions, and all others together, whatever there is.

use std::fmt::Write as _;

use crate::base::limits::{KPI_METRIC_KEYS, KPI_ROWS_MAX};
use crate::base::time::WallTime;
use crate::control::kpis::store::{Span, Store, StoreError};
use crate::outcome::kpi::{Dimension, Figure, Figures, Resolution};

/// How the counting stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stand {
    pub(super) events: u64,
    pub(super) gaps: u64,
    pub(super) octets: u64,
    pub(super) behind: u64,
    pub(super) is_failing: bool,
}

/// The biggest keys of a dimension, and what the others came to.
#[derive(Clone, Debug)]
pub(super) struct Top {
    pub(super) dimension: Dimension,
    pub(super) rows: Vec<(String, Figures)>,
    pub(super) others: Figures,
}

/// What is told of the hour that runs.
const DIMENSIONS: [Dimension; 3] = [Dimension::Tenant, Dimension::Domain, Dimension::Provider];
const FIGURES: [Figure; 4] =
    [Figure::Injected, Figure::Delivered, Figure::Deferred, Figure::Bounced];

/// The biggest of each.
pub(super) fn tops(store: &Store, now: WallTime) -> Result<Vec<Top>, StoreError> {
    let start = Resolution::Hour.start(now);
    let top = |dimension| {
        let starts = start..Resolution::Hour.next(start);
        let span = Span { resolution: Resolution::Hour, dimension, starts };
        let (rows, others) = store.totals(&span, None, KPI_ROWS_MAX)?.top(KPI_METRIC_KEYS);
        Ok(Top { dimension, rows, others })
    };
    DIMENSIONS.into_iter().map(top).collect()
}

/// In Prometheus' text format.
pub(super) fn text(stand: &Stand, tops: &[Top]) -> String {
    let mut out = String::new();
    for (name, kind, help, value) in [
        ("events_total", "counter", "Events that were counted for figures.", stand.events),
        ("gaps_total", "counter", "Times that events were missing for figures.", stand.gaps),
        ("lag_bytes", "gauge", "Octets of events that are in no figures yet.", stand.behind),
        ("store_bytes", "gauge", "Octets of figures that are kept.", stand.octets),
        ("failing", "gauge", "1 while nothing can be counted.", stand.is_failing.into()),
    ] {
        let name = format!("relay_fast_kpi_{name}");
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    }
    let name = "relay_fast_kpi_hour_recipients";
    let help = "What became of recipients in the hour that runs (UTC), of the biggest keys.";
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge");
    for Top { dimension, rows, others } in tops {
        let rows = rows.iter().map(|(key, figures)| (key.as_str(), figures));
        let others = Some(("(others)", others)).filter(|(_, others)| others.volume() > 0);
        for (key, figures) in rows.chain(others) {
            let key = escaped(if key.is_empty() { "(none)" } else { key });
            for figure in FIGURES {
                let labels = format!("by=\"{dimension}\",key=\"{key}\",figure=\"{figure}\"");
                let _ = writeln!(out, "{name}{{{labels}}} {}", figures.count(figure));
            }
        }
    }
    out
}

/// What stands between quotation marks.
fn escaped(key: &str) -> String {
    key.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::{MessageId, ShardId};
    use crate::outcome::event::{Event, Kind};
    use crate::outcome::kpi::tally::Tally;
    use std::collections::BTreeMap;

    #[test]
    fn however_many_domains_there_are_so_many_series_there_are() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("k.redb")).unwrap();
        let now = WallTime(20_000 * 86_400_000);
        let mut tally = Tally::default();
        for number in 0..500 {
            for _ in 0..=number {
                let event = Event::new(Kind::Received, MessageId(1), now, ShardId(0));
                tally.add(&Event { domain: format!("d{number}.example").into(), ..event });
            }
        }
        let unchanged = (&BTreeMap::new(), &Default::default());
        store.commit(&tally, unchanged, &Default::default(), now).unwrap();
        let text = text(&Stand::default(), &tops(&store, now).unwrap());
        let series = text.lines().filter(|line| line.contains("by=\"domain\""));
        assert_eq!(series.count(), (KPI_METRIC_KEYS + 1) * FIGURES.len());
        let most = DIMENSIONS.len() * (KPI_METRIC_KEYS + 1) * FIGURES.len();
        assert!(text.lines().filter(|line| line.contains("{by=")).count() <= most);
        let of = |key: &str| {
            let name = format!("by=\"domain\",key=\"{key}\",figure=\"injected\"}} ");
            let (_, rest) = text.split_once(&name).expect(key);
            rest.lines().next().unwrap().parse::<u64>().unwrap()
        };
        assert_eq!((of("d499.example"), of("d490.example")), (500, 491));
        assert_eq!(of("(others)"), (1..=490).sum::<u64>());
        let nobody = "{by=\"tenant\",key=\"(none)\",figure=\"delivered\"} 0\n";
        assert!(text.contains(nobody), "{text}");
    }

    #[test]
    fn a_key_cannot_end_its_label() {
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
