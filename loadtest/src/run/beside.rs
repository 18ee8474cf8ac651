//! Several scenarios in turn, round by round, in one run: what a message costs in each, and how
//! many times the first one's CPU that is.
//!
//! In: scenarios that send the same mail. Out: a table of each round, medians, and the quotients;
//! the exit code says whether every promise was kept and no quotient is above what is asked for.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::report::Report;
use super::scenario::{self, Named};
use crate::campaign::rig::RigOptions;

/// Which scenarios, and how often.
#[derive(Args, Clone, Debug)]
pub(crate) struct BesideOptions {
    /// Names of scenarios, or their files; the others are held against the first
    #[arg(required = true, num_args = 2..)]
    scenarios: Vec<String>,
    /// Rounds of each
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..100))]
    rounds: u32,
    /// Messages, instead of what the scenarios say
    #[arg(long, value_parser = clap::value_parser!(u32).range(20..100_000_000))]
    messages: Option<u32>,
    /// How many times the first one's CPU a message may take in the second
    #[arg(long, value_name = "TIMES")]
    at_most: Option<f64>,
    #[command(flatten)]
    rig: RigOptions,
}

/// A scenario and what its rounds measured.
#[derive(Clone, Debug)]
struct Row {
    name: String,
    /// CPU a message, in µs, of each round.
    cpu_us: Vec<f64>,
    /// Delivered a second.
    per_s: Vec<f64>,
    /// Promises that were not kept.
    broken: Vec<String>,
}

/// Plays all rounds, the scenarios alternating.
pub(crate) fn run(options: &BesideOptions) -> Result<ExitCode> {
    let mut named = Vec::new();
    for name in &options.scenarios {
        let mut one = scenario::find(name)?;
        one.scenario.messages = options.messages.unwrap_or(one.scenario.messages);
        named.push(one);
    }
    let Some(rows) = crate::stop::run_until_signal(play_all(&named, options))? else {
        bail!("stopped by a signal; nothing is compared")
    };
    print!("{}", text(&rows));
    Ok(if is_good(&rows, options.at_most) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn play_all(named: &[Named], options: &BesideOptions) -> Result<Vec<Row>> {
    let row = |one: &Named| Row::new(&one.name);
    let mut rows: Vec<Row> = named.iter().map(row).collect();
    for round in 1..=options.rounds {
        for (one, row) in named.iter().zip(&mut rows) {
            let report = super::play(one, &options.rig).await;
            row.add(&report.with_context(|| format!("round {round} of {}", one.name))?);
        }
        eprint!("round {round} of {}:\n{}", options.rounds, text(&rows));
    }
    Ok(rows)
}

impl Row {
    fn new(name: &str) -> Self {
        let (cpu_us, per_s, broken) = Default::default();
        Self { name: name.to_owned(), cpu_us, per_s, broken }
    }

    fn add(&mut self, report: &Report) {
        self.cpu_us.push(report.figures.relay_cpu_us);
        self.per_s.push(report.figures.delivered_per_s);
        let broken = report.verdict.iter().filter(|(kept, _)| !kept);
        self.broken.extend(broken.map(|(_, what)| what.clone()));
    }

    /// By the medians, how many times the CPU of `first`.
    fn times(&self, first: &Self) -> f64 {
        median(&self.cpu_us) / median(&first.cpu_us)
    }
}

fn is_good(rows: &[Row], at_most: Option<f64>) -> bool {
    let within = match (rows, at_most) {
        ([first, second, ..], Some(most)) => second.times(first) <= most,
        _ => true,
    };
    within && rows.iter().all(|row| row.broken.is_empty())
}

/// Of an even number, the mean of the two in the middle.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let (low, high) = (sorted.len().saturating_sub(1) / 2, sorted.len() / 2);
    match (sorted.get(low), sorted.get(high)) {
        (Some(low), Some(high)) => (low + high) / 2.0,
        _ => f64::NAN,
    }
}

fn text(rows: &[Row]) -> String {
    let Some(first) = rows.first() else { return String::new() };
    let mut out =
        format!("{:<14}{:>12}{:>9}{:>9}  CPU, µs a message\n", "", "median", "times", "/s");
    for row in rows {
        let rounds: Vec<String> = row.cpu_us.iter().map(|one| format!("{one:.1}")).collect();
        out += &format!(
            "{:<14}{:>12.1}{:>9.2}{:>9.0}  {}\n",
            row.name,
            median(&row.cpu_us),
            row.times(first),
            median(&row.per_s),
            rounds.join(" "),
        );
    }
    let broken = rows.iter().flat_map(|row| row.broken.iter().map(|what| (&row.name, what)));
    out.extend(broken.map(|(name, what)| format!("FAIL {name}: {what}\n")));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::report::tests::sample;

    #[test]
    fn medians_are_held_against_the_first() {
        let (mut bare, mut full) = (Row::new("bare"), Row::new("full"));
        let mut report = sample();
        for (a, b) in [(50.0, 70.0), (40.0, 60.0), (60.0, 300.0)] {
            report.figures.relay_cpu_us = a;
            bare.add(&report);
            report.figures.relay_cpu_us = b;
            full.add(&report);
        }
        let rows = [bare, full];
        assert!((rows[1].times(&rows[0]) - 1.4).abs() < 1e-9);
        assert!(is_good(&rows, None) && is_good(&rows, Some(1.4)) && !is_good(&rows, Some(1.39)));
        let text = text(&rows);
        assert!(text.contains("full                  70.0     1.40"), "{text}");
        assert!(text.contains("70.0 60.0 300.0\n"), "{text}");
        assert!((median(&[1.0, 4.0]) - 2.5).abs() < 1e-9);
    }

    #[test]
    fn a_broken_promise_is_told_and_is_no_good_comparison() {
        let mut row = Row::new("x");
        let mut report = sample();
        report.verdict.push((false, "3 lost".into()));
        row.add(&report);
        assert!(text(std::slice::from_ref(&row)).contains("FAIL x: 3 lost\n"));
        assert!(!is_good(&[row], None));
    }
}
