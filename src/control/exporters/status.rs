//! Say how exporters stand: for `/v1/exporters`, `relay-fast exporters` and `/metrics`.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::time::WallTime;
use crate::config::options::{Destination, Exporter};
use crate::control::events::source::octets_behind;
use crate::outcome::event::cursor::Cursor;

/// What an exporter's task tells of itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    name: Box<str>,
    to: String,
    /// Behind what its consumer has taken.
    pub(super) cursor: Cursor,
    /// Events that were taken, since the process started,
    pub(super) events: u64,
    /// in so many batches.
    pub(super) batches: u64,
    /// Tries that failed.
    pub(super) failures: u64,
    /// Times that something was missing.
    pub(super) gaps: u64,
    /// Lines that it passed, and their octets, to know how many events some octets are.
    pub(super) lines: u64,
    pub(super) octets: u64,
    /// When the oldest event happened that is not taken, if there is one.
    pub(super) oldest: Option<WallTime>,
    /// Since when nobody takes anything, and why.
    pub(super) failing: Option<(WallTime, String)>,
    /// When it is tried again.
    pub(super) next_attempt: Option<WallTime>,
}

impl Progress {
    pub(super) fn new(exporter: &Exporter) -> Self {
        let to = match &exporter.to {
            Destination::File(path) => path.display().to_string(),
            Destination::Webhook { url, .. } => url.to_string(),
            Destination::Nats { servers, subject, .. } => {
                format!("{} {subject}", servers.join(","))
            }
            Destination::Kafka(topic) => format!("{} {}", topic.brokers, topic.name),
            Destination::Amqp(exchange) => {
                format!("{} {} {}", exchange.brokers, exchange.vhost, exchange.name)
            }
        };
        Self { name: exporter.name.clone(), to, ..Self::default() }
    }

    pub(super) fn status(self, spool: &Path, now: WallTime) -> Status {
        // Where the files cannot be read, the task says so.
        let octets = octets_behind(spool, &self.cursor).unwrap_or(0);
        let mean = self.octets.checked_div(self.lines).unwrap_or(0).max(1);
        let guess = if self.lines == 0 { USUAL_LINE } else { mean };
        let lag = self.oldest.map_or(Duration::ZERO, |oldest| now.since(oldest));
        let (since, error) = self.failing.unzip();
        Status {
            name: self.name.into(),
            to: self.to,
            events: self.events,
            batches: self.batches,
            failures: self.failures,
            gaps: self.gaps,
            lag_events: octets.div_ceil(guess),
            lag_bytes: octets,
            lag_seconds: lag.as_secs_f64(),
            failing_since: since.map(WallTime::to_rfc3339),
            error,
            next_attempt: self.next_attempt.map(WallTime::to_rfc3339),
        }
    }
}

/// Octets of a line, until some were seen.
const USUAL_LINE: u64 = 400;

/// How an exporter stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// Where events go.
    pub to: String,
    /// Events that were taken since the node was started.
    pub events: u64,
    /// In so many batches.
    pub batches: u64,
    /// Tries that failed.
    pub failures: u64,
    /// Times that something was missing in the log.
    pub gaps: u64,
    /// About so many events of the log it did not pass yet, wanted or not; 0: none.
    pub lag_events: u64,
    /// So many octets, exactly.
    pub lag_bytes: u64,
    /// How long ago the oldest event happened that waits to be taken.
    pub lag_seconds: f64,
    /// Since when nobody takes anything.
    pub failing_since: Option<String>,
    /// Why.
    pub error: Option<String>,
    /// When it is tried again.
    pub next_attempt: Option<String>,
}

/// For a terminal.
pub fn shown(statuses: &[Status]) -> String {
    if statuses.is_empty() {
        return "nothing is exported: there is no [[exporter]]\n".to_owned();
    }
    let mut out = String::new();
    for one in statuses {
        let Status { name, to, events, batches, lag_events, lag_seconds, .. } = one;
        let _ = writeln!(out, "{name}: to {to}");
        let _ = writeln!(out, "  {events} events taken in {batches} batches");
        let _ = match lag_events {
            0 => writeln!(out, "  nothing waits"),
            _ => writeln!(out, "  about {lag_events} events behind, {lag_seconds:.0}s"),
        };
        if one.gaps > 0 {
            let _ = writeln!(out, "  {} times something was missing in the log", one.gaps);
        }
        if let (Some(since), Some(error)) = (&one.failing_since, &one.error) {
            let next = one.next_attempt.as_deref().unwrap_or("now");
            let _ = writeln!(out, "  failing since {since}: {error}; next attempt {next}");
        }
    }
    out
}

/// In Prometheus' text format; nothing where nothing is exported.
pub fn metrics(statuses: &[Status]) -> String {
    type Field = fn(&Status) -> f64;
    #[expect(clippy::cast_precision_loss, reason = "metrics are numbers of 53 bits")]
    let families: [(&str, &str, &str, Field); 8] = [
        ("events_total", "counter", "Events that were taken.", |s| s.events as f64),
        ("batches_total", "counter", "Batches that were taken.", |s| s.batches as f64),
        ("failures_total", "counter", "Batches that nobody took.", |s| s.failures as f64),
        ("gaps_total", "counter", "Times that something was missing.", |s| s.gaps as f64),
        ("failing", "gauge", "1 while nobody takes anything.", |s| {
            f64::from(u8::from(s.failing_since.is_some()))
        }),
        ("lag_events", "gauge", "Events that were not passed yet, about.", |s| s.lag_events as f64),
        ("lag_bytes", "gauge", "Octets that were not passed yet.", |s| s.lag_bytes as f64),
        ("lag_seconds", "gauge", "Age of the oldest event that waits.", |s| s.lag_seconds),
    ];
    let mut out = String::new();
    for (name, kind, help, field) in families.into_iter().filter(|_| !statuses.is_empty()) {
        let name = format!("relay_fast_exporter_{name}");
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for one in statuses {
            let _ = writeln!(out, "{name}{{exporter=\"{}\"}} {}", one.name, field(one));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Status {
        Status {
            name: "hook".into(),
            to: "https://a.example/".into(),
            events: 7,
            batches: 2,
            failures: 1,
            gaps: 0,
            lag_events: 0,
            lag_bytes: 0,
            lag_seconds: 0.0,
            failing_since: None,
            error: None,
            next_attempt: None,
        }
    }

    #[test]
    fn a_person_sees_who_lags_and_why() {
        assert_eq!(
            shown(&[status()]),
            "hook: to https://a.example/\n  7 events taken in 2 batches\n  nothing waits\n"
        );
        let dead = Status {
            lag_events: 9,
            lag_seconds: 61.4,
            gaps: 1,
            failing_since: Some("2026-11-24T03:41:01.000Z".into()),
            error: Some("503".into()),
            ..status()
        };
        let expected = "\
hook: to https://a.example/
  7 events taken in 2 batches
  about 9 events behind, 61s
  1 times something was missing in the log
  failing since 2026-11-24T03:41:01.000Z: 503; next attempt now
";
        assert_eq!(shown(&[dead]), expected);
        assert!(shown(&[]).starts_with("nothing is exported"));
    }

    #[test]
    fn metrics_have_a_head_each_and_none_without_exporters() {
        assert_eq!(metrics(&[]), "");
        let text = metrics(&[status(), Status { name: "file".into(), ..status() }]);
        assert!(text.contains("relay_fast_exporter_events_total{exporter=\"hook\"} 7\n"));
        assert_eq!(text.matches("# TYPE relay_fast_exporter_lag_seconds gauge\n").count(), 1);
        assert!(text.lines().all(|line| line.starts_with('#') || line.split(' ').count() == 2));
    }
}
