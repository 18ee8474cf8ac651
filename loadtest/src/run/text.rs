//! A report for a terminal.

use std::fmt::Write as _;

use super::report::{CAVEATS, QUANTILES, Report};

/// The report as text.
pub(crate) fn text(report: &Report) -> String {
    let mut out = String::new();
    write(report, &mut out).expect("memory takes every write");
    out
}

fn write(report: &Report, out: &mut String) -> std::fmt::Result {
    let Report { scenario, description, machine, server, figures, .. } = report;
    writeln!(out, "--- {scenario}: {description}")?;
    writeln!(out, "{}; {} shards, {}", server.version, server.shards, server.durability)?;
    writeln!(out, "{}\n", machine.line())?;
    writeln!(
        out,
        "accepted   {:>9} in {:.1} s: {:.0} a second",
        figures.accepted, figures.accepting_s, figures.accepted_per_s
    )?;
    writeln!(
        out,
        "delivered  {:>9} in {:.1} s: {:.0} a second",
        figures.delivered, figures.delivering_s, figures.delivered_per_s
    )?;
    writeln!(
        out,
        "CPU        {:>9.1} µs a message; source {:.1}, servers {:.1}",
        figures.relay_cpu_us, figures.source_cpu_us, figures.sink_cpu_us
    )?;
    writeln!(
        out,
        "memory     {:>9.1} MiB at most; {} queued at most",
        figures.memory_peak_mib, figures.queue_peak
    )?;
    if figures.tls_sessions_in + figures.tls_sessions_out + figures.tls_failures_out > 0 {
        writeln!(
            out,
            "TLS        {:>9} sessions in, {} out ({} failed); {} messages out under it",
            figures.tls_sessions_in,
            figures.tls_sessions_out,
            figures.tls_failures_out,
            figures.tls_messages_out
        )?;
    }
    if figures.signatures > 0 {
        writeln!(out, "signatures {:>9}", figures.signatures)?;
    }
    if report.shards_cpu_us.len() > 1 {
        writeln!(out, "shards     {:>9.2} of the mean has the busiest", figures.busiest_shard)?;
    }
    write!(out, "\n{:<12}", "ms")?;
    for (_, name) in QUANTILES {
        write!(out, "{name:>10}")?;
    }
    writeln!(out)?;
    for (phase, values) in &report.latency_ms {
        write!(out, "{phase:<12}")?;
        values.iter().try_for_each(|value| write!(out, "{value:>10.2}"))?;
        writeln!(out)?;
    }
    writeln!(out)?;
    for (kept, what) in &report.verdict {
        writeln!(out, "{} {what}", if *kept { "ok  " } else { "FAIL" })?;
    }
    writeln!(out)?;
    CAVEATS.iter().try_for_each(|caveat| writeln!(out, "Note: {caveat}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::report::tests::sample;

    #[test]
    fn tls_and_signatures_are_told_where_there_are_any() {
        let mut report = sample();
        assert!(!text(&report).contains("TLS") && !text(&report).contains("signatures"));
        (report.figures.tls_sessions_in, report.figures.tls_messages_out) = (20, 9_000);
        report.figures.signatures = 7;
        let text = text(&report);
        assert!(
            text.contains("\nTLS               20 sessions in, 0 out (0 failed); 9000 messages")
        );
        assert!(text.contains("\nsignatures         7\n"), "{text}");
    }

    #[test]
    fn the_figures_and_the_verdict_are_there() {
        let text = text(&sample());
        for words in [
            "--- campaign: A <campaign> & more\n",
            "accepted       10000 in 0.0 s: 4000 a second\n",
            "CPU             80.5 µs a message",
            "final             1.00      2.00      3.00      4.50      6.00      9.00\n",
            "ok   0 lost\n",
            "Note: Source, relay and servers share one machine",
        ] {
            assert!(text.contains(words), "{words}\n{text}");
        }
    }
}
