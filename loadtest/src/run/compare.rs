//! Two reports side by side: each figure of both, and by how much it changed.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Value, json};

use super::report::{QUANTILES, Report};

/// Two reports.
#[derive(Args, Clone, Debug)]
pub(crate) struct CompareOptions {
    /// report.json of a run
    a: PathBuf,
    /// report.json of another
    b: PathBuf,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

/// One figure of both.
#[derive(Clone, Debug, PartialEq)]
struct Pair {
    name: String,
    a: f64,
    b: f64,
}

/// Compares; whatever the outcome, that is no failure.
pub(crate) fn run(options: &CompareOptions) -> Result<ExitCode> {
    let (a, b) = (Report::load(&options.a)?, Report::load(&options.b)?);
    let (pairs, warnings) = (pairs(&a, &b)?, differences(&a, &b));
    if options.json {
        let all: serde_json::Map<String, Value> = pairs
            .iter()
            .map(|pair| {
                let values = json!({"a": pair.a, "b": pair.b, "change": pair.change()});
                (pair.name.clone(), values)
            })
            .collect();
        println!("{:#}", json!({"figures": all, "warnings": warnings}));
    } else {
        print!("{}", text(&pairs, &warnings));
    }
    Ok(ExitCode::SUCCESS)
}

impl Pair {
    /// How much more B has, by A; nothing where A has none.
    fn change(&self) -> Option<f64> {
        (self.a != 0.0).then(|| self.b / self.a - 1.0)
    }
}

/// Every figure that both have.
fn pairs(a: &Report, b: &Report) -> Result<Vec<Pair>> {
    let figures = |report: &Report| match serde_json::to_value(&report.figures) {
        Ok(Value::Object(figures)) => Ok(figures),
        Ok(_) | Err(_) => Err(anyhow::anyhow!("figures are an object")),
    };
    let (of_a, of_b) = (figures(a)?, figures(b)?);
    let mut pairs = Vec::new();
    for (name, value) in &of_a {
        let (a, b) = (value.as_f64(), of_b.get(name).and_then(Value::as_f64));
        let (a, b) = a.zip(b).context("figures are numbers")?;
        pairs.push(Pair { name: name.clone(), a, b });
    }
    for (phase, of_a) in &a.latency_ms {
        let Some(of_b) = b.latency_of(phase) else { continue };
        for ((a, b), (_, quantile)) in of_a.iter().zip(of_b).zip(QUANTILES) {
            pairs.push(Pair { name: format!("{phase} {quantile} ms"), a: *a, b: *b });
        }
    }
    Ok(pairs)
}

/// What makes the two hard to compare.
fn differences(a: &Report, b: &Report) -> Vec<String> {
    let mut all = Vec::new();
    let mut note = |what: &str, a: &str, b: &str| {
        if a != b {
            all.push(format!("{what} differs: {a} and {b}"));
        }
    };
    note("the machine", &a.machine.line(), &b.machine.line());
    note("what a 250 promises", &a.server.durability, &b.server.durability);
    note("the number of shards", &a.server.shards.to_string(), &b.server.shards.to_string());
    note("the scenario", &a.scenario, &b.scenario);
    if a.scenario == b.scenario && a.scenario_text != b.scenario_text {
        all.push("the scenario was changed between the two".to_owned());
    }
    if a.time.get(..13) != b.time.get(..13) {
        all.push("they are not of one hour: a shared machine varies".to_owned());
    }
    all
}

fn text(pairs: &[Pair], warnings: &[String]) -> String {
    let head = format!("{:<24}{:>14}{:>14}{:>10}\n", "", "A", "B", "change");
    let line = |pair: &Pair| {
        let change = match pair.change() {
            Some(change) if change.abs() < 0.0005 => "=".to_owned(),
            Some(change) => format!("{:+.1}%", change * 100.0),
            None if pair.b == 0.0 => "=".to_owned(),
            None => "new".to_owned(),
        };
        format!("{:<24}{:>14.2}{:>14.2}{change:>10}\n", pair.name, pair.a, pair.b)
    };
    let warnings = warnings.iter().map(|warning| format!("Note: {warning}\n"));
    [head].into_iter().chain(pairs.iter().map(line)).chain(warnings).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::report::tests::sample;

    #[test]
    fn each_figure_stands_beside_the_other() {
        let (a, mut b) = (sample(), sample());
        b.figures.relay_cpu_us = a.figures.relay_cpu_us * 1.5;
        b.figures.lost = 3;
        b.latency_ms[0].1[0] = 0.5;
        let text = text(&pairs(&a, &b).unwrap(), &differences(&a, &b));
        let line =
            |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        assert!(line("relay_cpu_us").ends_with("+50.0%"), "{text}");
        assert!(line("lost").ends_with("new"));
        assert!(line("accepted ").ends_with('='));
        assert!(line("final p50 ms").ends_with("-50.0%"));
        assert!(!text.contains("Note:"));
    }

    #[test]
    fn what_is_hard_to_compare_is_said() {
        let (a, mut b) = (sample(), sample());
        b.machine.cores = 64;
        b.server.durability = "memory".into();
        b.scenario_text.push('x');
        b.time = "2026-01-03T03:04:05Z".into();
        let all = differences(&a, &b).join("\n");
        for words in ["the machine differs", "what a 250 promises", "was changed", "one hour"] {
            assert!(all.contains(words), "{words}\n{all}");
        }
    }
}
