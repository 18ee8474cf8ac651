//! A report as one page: nothing of it lies elsewhere, so that it can be sent and kept.

mod plot;

use std::fmt::Write as _;

use super::report::{CAVEATS, QUANTILES, Report};
use super::sample::Sample;
use plot::{Chart, Scale, Series};

const STYLE: &str = include_str!("html/style.css");
/// Most shards that the balance is drawn for.
const SHARDS_MAX: usize = 64;

/// The page.
pub(crate) fn page(report: &Report) -> String {
    let mut out = String::new();
    write(report, &mut out).expect("memory takes every write");
    out
}

fn write(report: &Report, out: &mut String) -> std::fmt::Result {
    let title = format!("{} – loadtest", report.scenario);
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{}</title>\
         <style>{STYLE}</style></head><body><main>",
        escape(&title)
    )?;
    head(report, out)?;
    tiles(report, out)?;
    charts(report, out)?;
    latencies(report, out)?;
    verdict(report, out)?;
    out.push_str("<section><h2>What not to conclude</h2><ul class=\"caveats\">");
    CAVEATS.iter().try_for_each(|caveat| write!(out, "<li>{}</li>", escape(caveat)))?;
    writeln!(
        out,
        "</ul></section><section><details><summary>Scenario and command</summary>\
         <pre>{}</pre><pre>{}</pre></details></section></main></body></html>",
        escape(&report.scenario_text),
        escape(&report.server.command)
    )
}

fn head(report: &Report, out: &mut String) -> std::fmt::Result {
    let (class, words) = match report.is_good() {
        true => ("good", "every promise kept"),
        false => ("bad", "a promise was broken"),
    };
    write!(
        out,
        "<header><h1>{}<span class=\"badge {class}\">{words}</span></h1>\
         <p class=\"lead\">{}</p><p class=\"facts\">{}; {} shards; {}<br>{}<br>{}</p></header>",
        escape(&report.scenario),
        escape(&report.description),
        escape(&report.server.version),
        report.server.shards,
        escape(&report.server.durability),
        escape(&report.machine.line()),
        escape(&report.time),
    )
}

fn tiles(report: &Report, out: &mut String) -> std::fmt::Result {
    let figures = &report.figures;
    let p99 = report.latency_of("final").and_then(|values| values.get(2));
    let under_tls = figures.tls_messages_out + figures.tls_sessions_in > 0;
    let only_if = |shown: bool, tile| shown.then_some(tile);
    out.push_str("<section class=\"tiles\">");
    let always = [
        (format!("{:.1}", figures.relay_cpu_us), "µs", "CPU a message"),
        (grouped(figures.delivered_per_s), "/s", "delivered"),
        (p99.map_or("–".to_owned(), |p99| format!("{p99:.1}")), "ms", "p99 to 250"),
        (format!("{:.0}", figures.memory_peak_mib), "MiB", "memory at most"),
        (figures.lost.to_string(), "", "lost"),
        (figures.duplicates.to_string(), "", "duplicates"),
    ];
    let sessions = format!("{} / {}", figures.tls_sessions_in, figures.tls_sessions_out);
    let sometimes = [
        only_if(under_tls, (sessions, "", "TLS sessions in / out")),
        only_if(under_tls, (figures.tls_messages_out.to_string(), "", "messages out under TLS")),
        only_if(figures.signatures > 0, (figures.signatures.to_string(), "", "DKIM signatures")),
    ];
    for (value, unit, what) in always.into_iter().chain(sometimes.into_iter().flatten()) {
        write!(
            out,
            "<div class=\"tile\"><b>{value}<small>{unit}</small></b><span>{what}</span></div>"
        )?;
    }
    out.push_str("</section>");
    Ok(())
}

fn charts(report: &Report, out: &mut String) -> std::fmt::Result {
    let samples = &report.samples;
    let throughput = [
        Series { name: "accepted", points: rate(samples, |sample| sample.accepted) },
        Series { name: "delivered", points: rate(samples, |sample| sample.delivered) },
    ];
    let queue = [Series { name: "queued", points: level(samples, |sample| sample.queued as f64) }];
    let cpu = [Series { name: "CPU", points: cpu_a_message(samples) }];
    let memory = level(samples, |sample| sample.memory_kib as f64 / 1_024.0);
    let memory = [Series { name: "memory", points: memory }];
    out.push_str("<section class=\"charts\">");
    for (title, unit, series) in [
        ("Throughput", "messages a second", &throughput[..]),
        ("Queue", "recipients", &queue[..]),
        ("CPU of the relay", "µs a message, half for its way in", &cpu[..]),
        ("Memory of the relay", "MiB", &memory[..]),
    ] {
        let chart = Chart { title, unit, x_unit: "seconds", scale: Scale::Linear };
        out.push_str(&chart.lines(series));
    }
    let places = QUANTILES.map(|(_, name)| name);
    let by_phase = report.latency_ms.iter().map(|(phase, values)| {
        let points = values.iter().enumerate().map(|(place, value)| (place as f64, *value));
        Series { name: phase, points: points.collect() }
    });
    let chart = Chart { title: "Latency", unit: "ms", x_unit: "quantile", scale: Scale::Log };
    out.push_str(&chart.steps(&by_phase.collect::<Vec<_>>(), &places));
    if report.shards_cpu_us.len() > 1 {
        let ms = report.shards_cpu_us.iter().take(SHARDS_MAX).map(|us| *us as f64 / 1_000.0);
        let chart =
            Chart { title: "Shards", unit: "ms of CPU", x_unit: "shard", scale: Scale::Linear };
        out.push_str(&chart.bars(&ms.collect::<Vec<_>>()));
    }
    out.push_str("</section>");
    Ok(())
}

fn latencies(report: &Report, out: &mut String) -> std::fmt::Result {
    out.push_str("<section><h2>Latency in ms</h2><table><thead><tr><th></th>");
    QUANTILES.iter().try_for_each(|(_, name)| write!(out, "<th>{name}</th>"))?;
    out.push_str("</tr></thead><tbody>");
    for (phase, values) in &report.latency_ms {
        write!(out, "<tr><th>{}</th>", escape(phase))?;
        values.iter().try_for_each(|value| write!(out, "<td>{value:.2}</td>"))?;
        out.push_str("</tr>");
    }
    out.push_str(
        "</tbody></table><p class=\"note\">connect to final: a phase as the source saw it, from \
         its command to its reply. message: from the moment at which it was meant to be sent to \
         the final 250. end to end: from that moment to its delivery.</p></section>",
    );
    Ok(())
}

fn verdict(report: &Report, out: &mut String) -> std::fmt::Result {
    out.push_str("<section><h2>Promises</h2><ul class=\"verdict\">");
    for (kept, what) in &report.verdict {
        let (class, mark) = if *kept { ("good", "✓") } else { ("bad", "✗") };
        write!(out, "<li><i class=\"{class}\">{mark}</i>{}</li>", escape(what))?;
    }
    out.push_str("</ul></section>");
    Ok(())
}

/// By second, from one look to the next.
fn rate(samples: &[Sample], of: impl Fn(&Sample) -> u64) -> Vec<(f64, f64)> {
    let each = samples.windows(2).map(|two| {
        let more = of(&two[1]).saturating_sub(of(&two[0]));
        (seconds(&two[1]), per_second(more, &two[0], &two[1]))
    });
    each.collect()
}

fn level(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> Vec<(f64, f64)> {
    samples.iter().map(|sample| (seconds(sample), of(sample))).collect()
}

/// By message that came in or went out, half each; nothing where few did: what a run's quiet end
/// costs a message would dwarf the rest.
fn cpu_a_message(samples: &[Sample]) -> Vec<(f64, f64)> {
    let through = |sample: &Sample| sample.accepted + sample.delivered;
    let all = samples.last().map_or(0, through) as f64 / 2.0;
    let few = (all / samples.len().max(1) as f64 / 20.0).max(1.0);
    let each = samples.windows(2).filter_map(|two| {
        let moved = through(&two[1]).saturating_sub(through(&two[0])) as f64 / 2.0;
        let used = two[1].relay_cpu_us.saturating_sub(two[0].relay_cpu_us) as f64;
        (moved >= few).then(|| (seconds(&two[1]), used / moved))
    });
    each.collect()
}

fn seconds(sample: &Sample) -> f64 {
    sample.ms as f64 / 1_000.0
}

fn per_second(more: u64, from: &Sample, to: &Sample) -> f64 {
    more as f64 * 1_000.0 / to.ms.saturating_sub(from.ms).max(1) as f64
}

/// A whole number with its thousands apart.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// Text as it may stand between tags and in attributes.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            _ => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::report::tests::sample;

    #[test]
    fn the_page_is_whole_and_text_in_it_is_escaped() {
        let page = page(&sample());
        assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
        assert!(page.contains("A &lt;campaign&gt; &amp; more"));
        assert!(!page.contains("<campaign>") && !page.contains("# <b>"));
        assert_eq!(page.matches("<svg").count(), 6);
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
        for foreign in ["http://", "https://", "<script", "NaN", "inf"] {
            assert!(!page.replace("http://www.w3.org/2000/svg", "").contains(foreign), "{foreign}");
        }
    }

    #[test]
    fn a_run_without_samples_has_a_page_too() {
        let mut report = sample();
        report.samples.clear();
        report.latency_ms.clear();
        report.verdict = vec![(false, "1 lost".into())];
        let page = page(&report);
        assert!(page.contains("a promise was broken") && !page.contains("NaN"));
    }

    #[test]
    fn the_quiet_end_of_a_run_is_no_figure_of_its_cost() {
        let at = |ms, through, relay_cpu_us| Sample {
            ms,
            accepted: through,
            delivered: through,
            relay_cpu_us,
            ..Sample::default()
        };
        let samples = [at(0, 0, 0), at(300, 5_000, 250_000), at(600, 5_010, 260_000)];
        assert_eq!(cpu_a_message(&samples), [(0.3, 50.0)]);
        // Where all of it is as slow as that there is nothing else to show.
        let samples = [at(0, 0, 0), at(300, 1, 900), at(600, 2, 1_800)];
        assert_eq!(cpu_a_message(&samples).len(), 2);
    }

    #[test]
    fn thousands_stand_apart() {
        assert_eq!(grouped(1_234_567.4), "1\u{202f}234\u{202f}567");
        assert_eq!(grouped(12.0), "12");
    }
}
