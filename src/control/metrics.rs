//! Write what shards counted in Prometheus' text format, version 0.0.4.

pub mod reference;

use std::fmt::Write;

use crate::outcome::counters::{Counters, Kind, Sample};
use crate::policy::suppression::Totals;
use crate::shard::commands::Snapshot;

/// The type of what [`render`] writes.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All shards together.
pub fn render(shards: &[Snapshot], suppression: Option<&Totals>) -> String {
    let mut sum = Counters::default();
    shards.iter().for_each(|shard| sum.merge(&shard.counters));
    let mut out = String::new();
    let mut family = "";
    for sample in sum.samples() {
        let (name, help, kind) = match sample {
            Sample::Count(row, _) if row.kind == Kind::Counter => (row.name, row.help, "counter"),
            Sample::Count(row, _) => (row.name, row.help, "gauge"),
            Sample::Latency(row, _) => (row.name, row.help, "histogram"),
            Sample::Size(row, _) => (row.name, row.help, "histogram"),
        };
        if family != name {
            family = name;
            head(&mut out, name, help, kind);
        }
        match sample {
            Sample::Count(row, value) if row.labels.is_empty() => line(&mut out, name, "", value),
            Sample::Count(row, value) => line(&mut out, name, row.labels, value),
            Sample::Latency(_, times) => {
                buckets(&mut out, name, times.cumulative(), times.sum_seconds(), times.count());
            }
            Sample::Size(row, sizes) => {
                let bounds = sizes.cumulative(row.first_bits);
                buckets(&mut out, name, bounds, sizes.sum(), sizes.count());
            }
        }
    }
    refusals(&mut out, &sum);
    platform(&mut out, shards);
    let failing = shards.first().map_or(0, |shard| shard.domains.len());
    let help = "Signing and relay domains that fail their check.";
    head(&mut out, "relay_fast_domains_failing", help, "gauge");
    line(&mut out, "relay_fast_domains_failing", "", failing);
    if let Some(totals) = suppression {
        suppressed(&mut out, totals);
    }
    out
}

/// How the suppression lists stand.
fn suppressed(out: &mut String, totals: &Totals) {
    let Totals { entries, done, filter_bytes } = totals;
    let name = "relay_fast_suppression_entries";
    head(out, name, "Entries of suppression lists.", "gauge");
    for (list, count) in entries {
        line(out, name, &format!("list=\"{list}\""), count);
    }
    let name = "relay_fast_suppression_changes_total";
    head(out, name, "Entries of suppression lists that were added, replaced, removed.", "counter");
    for (change, count) in
        [("added", done.added), ("replaced", done.replaced), ("removed", done.removed)]
    {
        line(out, name, &format!("change=\"{change}\""), count);
    }
    let name = "relay_fast_suppression_filter_bytes";
    head(out, name, "Memory of the filter in front of the suppression lists.", "gauge");
    line(out, name, "", filter_bytes);
}

fn head(out: &mut String, name: &str, help: &str, kind: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(out: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    let _ = match labels {
        "" => writeln!(out, "{name} {value}"),
        labels => writeln!(out, "{name}{{{labels}}} {value}"),
    };
}

fn buckets<T: std::fmt::Display>(
    out: &mut String,
    name: &str,
    cumulative: impl Iterator<Item = (T, u64)>,
    sum: T,
    count: u64,
) {
    for (bound, count) in cumulative {
        let _ = writeln!(out, "{name}_bucket{{le=\"{bound}\"}} {count}");
    }
    let _ = writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {count}");
    let _ = writeln!(out, "{name}_sum {sum}");
    let _ = writeln!(out, "{name}_count {count}");
}

/// Why recipients wait, and were given up.
fn refusals(out: &mut String, sum: &Counters) {
    let name = "relay_fast_refusals_total";
    head(
        out,
        name,
        "Attempts that failed, by what came of it and the class of the reply.",
        "counter",
    );
    for (place, outcome) in ["deferred", "bounced"].into_iter().enumerate() {
        for (class, counts) in sum.refusals() {
            line(out, name, &format!("outcome=\"{outcome}\",class=\"{class}\""), counts[place]);
        }
    }
}

/// What happened below the shards, by shard: an uneven load shows here.
fn platform(out: &mut String, shards: &[Snapshot]) {
    type Field = fn(&Snapshot) -> u64;
    let families: [(&str, &str, &str, Field); 7] = [
        ("relay_fast_turns_total", "Turns of the shard's loop.", "counter", |s| s.platform.turns),
        ("relay_fast_sleeps_total", "Times that the loop slept.", "counter", |s| s.platform.sleeps),
        ("relay_fast_ring_enters_total", "Calls into the ring.", "counter", |s| s.platform.enters),
        ("relay_fast_ring_completions_total", "Completions taken from the ring.", "counter", |s| {
            s.platform.completions
        }),
        ("relay_fast_panics_total", "Panics that were caught.", "counter", |s| s.platform.panics),
        (
            "relay_fast_event_lines_lost_total",
            "Lines of the event log that could not be written.",
            "counter",
            |s| s.platform.event_lines_lost,
        ),
        ("relay_fast_spool_failing", "1 while commits of the shard's spool fail.", "gauge", |s| {
            s.failing.into()
        }),
    ];
    for (name, help, kind, field) in families {
        head(out, name, help, kind);
        for (shard, snapshot) in shards.iter().enumerate() {
            line(out, name, &format!("shard=\"{shard}\""), field(snapshot));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::classes::Class;
    use crate::outcome::counters::{Count, Latency, Size};
    use crate::policy::suppression::ListName;
    use crate::shard::platform::PlatformCounters;
    use std::time::Duration;

    #[test]
    fn families_have_one_head_and_shards_add_up() {
        let mut counters = Counters::default();
        counters.add(Count::Delivered, 3);
        counters.record(Latency::Commit, Duration::from_millis(2));
        counters.measure(Size::GroupMessages, 3);
        counters.refused(Class::RateLimit, false);
        let platform = PlatformCounters::default();
        let shard = Snapshot {
            counters,
            platform,
            admits: true,
            failing: false,
            owed: 0,
            domains: Vec::new(),
        };
        let totals = Totals { entries: vec![(ListName::GLOBAL, 7)], ..Totals::default() };
        let text = render(&[shard.clone(), shard], Some(&totals));
        assert!(text.contains("relay_fast_suppression_entries{list=\"global\"} 7\n"));
        assert!(text.contains("relay_fast_suppression_changes_total{change=\"added\"} 0\n"));
        let outcomes = "relay_fast_recipient_outcomes_total";
        assert_eq!(text.matches(&format!("# TYPE {outcomes} counter")).count(), 1);
        assert!(text.contains(&format!("{outcomes}{{outcome=\"delivered\"}} 6\n")));
        assert!(text.contains("relay_fast_spool_commit_seconds_count 2\n"));
        let refusals = "relay_fast_refusals_total{outcome=\"deferred\",class=\"rate-limit\"} 2\n";
        assert!(text.contains(refusals));
        for bucket in ["{le=\"2\"} 0", "{le=\"4\"} 2", "{le=\"4096\"} 2", "{le=\"+Inf\"} 2"] {
            let line = format!("relay_fast_spool_group_messages_bucket{bucket}\n");
            assert!(text.contains(&line), "{line}");
        }
        assert!(text.contains("relay_fast_spool_group_messages_sum 6\n"));
        assert!(text.contains("relay_fast_turns_total{shard=\"1\"} 0\n"));
        assert!(text.lines().all(|line| line.starts_with('#') || line.split(' ').count() == 2));
    }
}
