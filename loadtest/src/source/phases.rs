//! How long each phase of a transaction took, and how it ended.
//!
//! Unit: microseconds. A phase runs from when its command was written until its reply was read, so
//! pipelined commands share their start. `message` runs from the intended send time to the final
//! reply, and is what an open loop is judged by.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// The longest time that is told from longer ones: a day.
const LATENCY_MAX_US: u64 = 24 * 3_600 * 1_000_000;

/// Stages at which a server can refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Connect,
    Ehlo,
    /// STARTTLS and the handshake, or the handshake alone.
    Tls,
    Auth,
    Mail,
    Rcpt,
    Content,
    Final,
    Message,
}

const PHASES: [(Phase, &str); 9] = [
    (Phase::Connect, "connect"),
    (Phase::Ehlo, "ehlo"),
    (Phase::Tls, "tls"),
    (Phase::Auth, "auth"),
    (Phase::Mail, "mail"),
    (Phase::Rcpt, "rcpt"),
    (Phase::Content, "content"),
    (Phase::Final, "final"),
    (Phase::Message, "message"),
];

/// Counts and latencies of a run.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    latency: Vec<Histogram<u64>>,
    /// Replies that refused something, by stage and code.
    refusals: BTreeMap<(Phase, u16), u64>,
    /// Messages with a final 250.
    pub(crate) accepted: u64,
    /// Recipients of those messages.
    pub(crate) accepted_recipients: u64,
    /// Recipients refused for good by 5xx.
    pub(crate) refused_recipients: u64,
    /// Recipients given up after 4xx or a lost connection, because nobody asked to retry.
    pub(crate) given_up_recipients: u64,
    /// Times that a message was sent again.
    pub(crate) sent_again: u64,
    /// Messages sent again after their content had gone out whole: each may have become a
    /// duplicate.
    pub(crate) possible_duplicates: u64,
    /// Connections opened.
    pub(crate) connections: u64,
    /// Connections that could not be opened, or broke.
    pub(crate) broken_connections: u64,
    /// What broke the last of them.
    pub(crate) trouble: Option<String>,
    /// Connections that were secured.
    pub(crate) tls_sessions: u64,
    /// Those of them that went on from an earlier session.
    pub(crate) tls_resumed: u64,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            latency: PHASES.iter().map(|_| latencies()).collect(),
            refusals: BTreeMap::new(),
            accepted: 0,
            accepted_recipients: 0,
            refused_recipients: 0,
            given_up_recipients: 0,
            sent_again: 0,
            possible_duplicates: 0,
            connections: 0,
            broken_connections: 0,
            trouble: None,
            tls_sessions: 0,
            tls_resumed: 0,
        }
    }

    pub(crate) fn took(&mut self, phase: Phase, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.latency[phase as usize].saturating_record(micros);
    }

    pub(crate) fn refused(&mut self, phase: Phase, code: u16) {
        *self.refusals.entry((phase, code)).or_default() += 1;
    }

    /// A connection broke, or could not be opened.
    pub(crate) fn broke(&mut self, why: impl Into<String>) {
        self.broken_connections += 1;
        self.trouble = Some(why.into());
    }

    /// Each phase that there was, with its latency in milliseconds at these quantiles.
    pub(crate) fn at(&self, quantiles: &[f64]) -> Vec<(&'static str, Vec<f64>)> {
        let all = PHASES.iter().zip(&self.latency).filter(|(_, histogram)| !histogram.is_empty());
        all.map(|((_, name), histogram)| (*name, at(histogram, quantiles))).collect()
    }

    /// The table of latencies and the counts, for a terminal.
    pub(crate) fn text(&self) -> String {
        let mut out =
            String::from("phase          count    p50 ms    p99 ms  p99.9 ms    max ms\n");
        for ((_, name), histogram) in PHASES.iter().zip(&self.latency) {
            let [p50, p99, p999, most] = quantiles(histogram);
            let count = histogram.len();
            let row =
                format!("{name:<8} {count:>11} {p50:>9.2} {p99:>9.2} {p999:>9.2} {most:>9.2}");
            writeln!(out, "{row}").expect("memory takes every write");
        }
        for ((phase, code), count) in &self.refusals {
            writeln!(out, "{count} × {code} at {phase:?}").expect("memory takes every write");
        }
        out
    }

    /// The same for a machine.
    pub(crate) fn json(&self) -> Value {
        let phases: serde_json::Map<String, Value> = PHASES
            .iter()
            .zip(&self.latency)
            .map(|((_, name), histogram)| {
                let [p50, p99, p999, most] = quantiles(histogram);
                let count = histogram.len();
                let value = json!({"count": count, "p50_ms": p50, "p99_ms": p99,
                    "p99_9_ms": p999, "max_ms": most});
                ((*name).to_owned(), value)
            })
            .collect();
        let refusals: BTreeMap<String, u64> = self
            .refusals
            .iter()
            .map(|((phase, code), count)| (format!("{phase:?} {code}").to_lowercase(), *count))
            .collect();
        json!({
            "accepted": self.accepted,
            "accepted_recipients": self.accepted_recipients,
            "refused_recipients": self.refused_recipients,
            "given_up_recipients": self.given_up_recipients,
            "sent_again": self.sent_again,
            "possible_duplicates": self.possible_duplicates,
            "connections": self.connections,
            "broken_connections": self.broken_connections,
            "trouble": self.trouble,
            "tls_sessions": self.tls_sessions,
            "tls_resumed": self.tls_resumed,
            "phases": phases,
            "refusals": refusals,
        })
    }
}

/// An empty histogram for microseconds up to a day; beyond, a day is what is recorded.
pub(crate) fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX_US, 3).expect("bounds and digits are allowed")
}

/// Median, 99th and 99.9th percentile and largest, in milliseconds.
pub(crate) fn quantiles(histogram: &Histogram<u64>) -> [f64; 4] {
    let at = |quantile| histogram.value_at_quantile(quantile);
    [at(0.5), at(0.99), at(0.999), histogram.max()].map(milliseconds)
}

/// The value at each of these quantiles, in milliseconds.
pub(crate) fn at(histogram: &Histogram<u64>, quantiles: &[f64]) -> Vec<f64> {
    let value = |quantile: &f64| milliseconds(histogram.value_at_quantile(*quantile));
    quantiles.iter().map(value).collect()
}

fn milliseconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_indexed_by_their_place() {
        for (place, (phase, _)) in PHASES.iter().enumerate() {
            assert_eq!(*phase as usize, place);
        }
    }

    #[test]
    fn latencies_and_refusals_come_out_in_both_forms() {
        let mut tally = Tally::new();
        tally.took(Phase::Final, Duration::from_millis(5));
        tally.took(Phase::Final, Duration::from_secs(600));
        tally.took(Phase::Final, Duration::from_secs(900_000));
        tally.refused(Phase::Rcpt, 451);
        tally.refused(Phase::Rcpt, 451);
        assert!(tally.text().contains("2 × 451 at Rcpt"));
        let json = tally.json();
        assert_eq!(json["refusals"]["rcpt 451"], 2);
        assert_eq!(json["phases"]["final"]["count"], 3);
        let p50 = json["phases"]["final"]["p50_ms"].as_f64().unwrap();
        assert!((p50 / 600_000.0 - 1.0).abs() < 0.01, "{p50}");
        let [_, _, _, most] = quantiles(&tally.latency[Phase::Final as usize]);
        assert!((most / 86_400_000.0 - 1.0).abs() < 0.01, "{most}");
    }
}
