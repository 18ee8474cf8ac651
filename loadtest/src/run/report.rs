//! All that is known of a run once it is over; what is shown is made from this, now or later.
//!
//! Invariant: the file says everything, so that a report of long ago can still be compared.

use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::facts::Machine;
use super::sample::Sample;

/// What must be kept in mind with every figure.
pub(crate) const CAVEATS: [&str; 3] = [
    "Source, relay and servers share one machine and talk over loopback: there is no network, no \
     packet is lost, and each takes CPU from the others.",
    "CPU a message is the relay's own, kernel included; how many messages a second a machine of \
     its own would do does not follow from the throughput here.",
    "Compare runs of one machine in one hour only, side by side: machines that others share vary.",
];

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) scenario: String,
    pub(crate) description: String,
    /// The scenario's file.
    pub(crate) scenario_text: String,
    /// RFC 3339, when it ended.
    pub(crate) time: String,
    pub(crate) machine: Machine,
    pub(crate) server: Server,
    pub(crate) figures: Figures,
    /// Milliseconds at each of `QUANTILES`, by phase of a transaction; and end to end.
    pub(crate) latency_ms: Vec<(String, Vec<f64>)>,
    pub(crate) shards_cpu_us: Vec<u64>,
    pub(crate) samples: Vec<Sample>,
    /// Each promise, and whether it was kept.
    pub(crate) verdict: Vec<(bool, String)>,
}

/// Quantiles of each latency, with their names.
pub(crate) const QUANTILES: [(f64, &str); 6] =
    [(0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9"), (0.9999, "p99.99"), (1.0, "max")];

/// What was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Server {
    pub(crate) version: String,
    pub(crate) command: String,
    pub(crate) shards: u32,
    /// What a 250 promises.
    pub(crate) durability: String,
}

/// The figures that two runs are compared by.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) accepted: u64,
    pub(crate) delivered: u64,
    pub(crate) bounced: u64,
    pub(crate) queued: u64,
    pub(crate) lost: u64,
    pub(crate) duplicates: u64,
    /// From the first connection to the last 250 of the relay, and to the last delivery.
    pub(crate) accepting_s: f64,
    pub(crate) delivering_s: f64,
    pub(crate) accepted_per_s: f64,
    pub(crate) delivered_per_s: f64,
    pub(crate) relay_cpu_us: f64,
    pub(crate) source_cpu_us: f64,
    pub(crate) sink_cpu_us: f64,
    pub(crate) memory_peak_mib: f64,
    pub(crate) queue_peak: u64,
    /// Of the busiest shard, by the mean.
    pub(crate) busiest_shard: f64,
    /// TLS sessions of the source, and of the servers.
    #[serde(default)]
    pub(crate) tls_sessions_in: u64,
    #[serde(default)]
    pub(crate) tls_sessions_out: u64,
    /// Handshakes that the servers saw fail.
    #[serde(default)]
    pub(crate) tls_failures_out: u64,
    /// Messages that the servers got under TLS.
    #[serde(default)]
    pub(crate) tls_messages_out: u64,
    /// DKIM signatures of the messages that the servers got.
    #[serde(default)]
    pub(crate) signatures: u64,
}

impl Report {
    /// The latency of a phase at each of `QUANTILES`.
    pub(crate) fn latency_of(&self, phase: &str) -> Option<&[f64]> {
        self.latency_ms.iter().find(|(name, _)| name == phase).map(|(_, values)| &values[..])
    }

    /// Whether every promise was kept.
    pub(crate) fn is_good(&self) -> bool {
        self.verdict.iter().all(|(kept, _)| *kept)
    }

    /// Write it to a file.
    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context("a report is text")?;
        std::fs::write(path, text + "\n").with_context(|| format!("writing {}", path.display()))
    }

    /// Read it from a file.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path);
        let text = text.with_context(|| format!("reading {}", path.display()))?;
        let report = serde_json::from_str(&text);
        report.with_context(|| format!("{} is no report of loadtest run", path.display()))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A report with something in every part.
    pub(crate) fn sample() -> Report {
        let sample = |step: u64| Sample {
            ms: step * 250,
            accepted: step * 1_000,
            delivered: step * 900,
            queued: step * 100,
            relay_cpu_us: step * 90_000,
            memory_kib: 10_000 + step,
        };
        Report {
            scenario: "campaign".into(),
            description: "A <campaign> & more".into(),
            scenario_text: "messages = 10000 # <b>\n".into(),
            time: "2026-01-02T03:04:05Z".into(),
            machine: Machine { cpu: "X".into(), cores: 2, ..Machine::default() },
            server: Server { version: "relay-fast 0.1.0".into(), shards: 2, ..Server::default() },
            figures: Figures {
                accepted: 10_000,
                delivered: 10_000,
                accepted_per_s: 4_000.0,
                relay_cpu_us: 80.5,
                ..Figures::default()
            },
            latency_ms: vec![("final".into(), vec![1.0, 2.0, 3.0, 4.5, 6.0, 9.0])],
            shards_cpu_us: vec![400_000, 500_000],
            samples: (0..10).map(sample).collect(),
            verdict: vec![(true, "0 lost".into())],
        }
    }

    #[test]
    fn a_report_comes_back_from_its_file_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        sample().save(&path).unwrap();
        assert_eq!(Report::load(&path).unwrap(), sample());
        std::fs::write(&path, "{}").unwrap();
        let error = format!("{:#}", Report::load(&path).unwrap_err());
        assert!(error.contains("is no report of loadtest run"), "{error}");
    }
}
