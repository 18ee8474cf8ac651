//! The tables of a run, for a terminal and for a README.

use std::fmt::Write;
use std::time::Duration;

use super::restart::Restart;
use super::verbs::{Cost, Verbs};
use super::vitals::Vitals;

const MIB: f64 = 1_048_576.0;

/// The relay's memory beside that of the same relay without a queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    pub(super) empty: Vitals,
    pub(super) vitals: Vitals,
}

/// The relay with a queue of some size.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) name: String,
    pub(super) memory: Memory,
    pub(super) verbs: Verbs,
}

impl Memory {
    /// Octets of RAM for each recipient that is queued more.
    pub(super) fn octets_each(&self) -> f64 {
        let more = self.vitals.recipients.saturating_sub(self.empty.recipients);
        (self.vitals.anonymous as f64 - self.empty.anonymous as f64) / (more.max(1) as f64)
    }
}

/// A column a look.
pub(super) fn looks(looks: &[Look]) -> String {
    let titles = std::iter::once(String::new()).chain(looks.iter().map(|look| look.name.clone()));
    let mut rows = vec![titles.collect::<Vec<_>>()];
    let mut add = |name: &str, cell: &dyn Fn(&Look) -> String| {
        rows.push(std::iter::once(name.to_owned()).chain(looks.iter().map(cell)).collect());
    };
    let mib = |octets: u64| format!("{:.1} MiB", octets as f64 / MIB);
    add("queued recipients", &|look| look.memory.vitals.recipients.to_string());
    add("RSS, anonymous", &|look| mib(look.memory.vitals.anonymous));
    add("the same, empty", &|look| mib(look.memory.empty.anonymous));
    add("octets a recipient", &|look| format!("{:.1}", look.memory.octets_each()));
    add("RSS, mapped files", &|look| mib(look.memory.vitals.mapped));
    type Verb = (&'static str, fn(&Verbs) -> Cost);
    let verbs: [Verb; 5] = [
        ("`queue show ID`", |verbs| verbs.show),
        ("`queue stats`", |verbs| verbs.stats),
        ("`queue list --limit 100`", |verbs| verbs.list),
        ("`/metrics`", |verbs| verbs.metrics),
        ("`queue flush`, a domain of 100", |verbs| verbs.flush),
    ];
    for (name, cost) in verbs {
        add(name, &|look| {
            let Cost { took, cpu } = cost(&look.verbs);
            format!("{} ms, CPU {} ms", ms(took), ms(cpu))
        });
    }
    add("CPU a second when idle", &|look| format!("{} ms", ms(look.verbs.idle)));
    lines(&rows)
}

/// A line a restart.
pub(super) fn restarts(restarts: &[Restart]) -> String {
    if restarts.is_empty() {
        return String::new();
    }
    let titles = ["", "end", "exec to listening", "to the first 250", "to all recovered"];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    for restart in restarts {
        let seconds = |took: Duration| format!("{:.2} s", took.as_secs_f64());
        let cache = if restart.is_cold { "cold" } else { "warm" };
        rows.push(vec![
            format!("{}, {cache} cache", restart.end),
            seconds(restart.ending),
            seconds(restart.listening),
            seconds(restart.first_250),
            seconds(restart.complete),
        ]);
    }
    lines(&rows)
}

fn ms(took: Duration) -> String {
    format!("{:.2}", took.as_secs_f64() * 1e3)
}

/// Cells in columns, in Markdown.
fn lines(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut out = String::new();
    for (place, row) in rows.iter().enumerate() {
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(out, "| {cell:<width$} ");
        }
        out += "|\n";
        if place == 0 {
            widths.iter().for_each(|width| out += &format!("|{}", "-".repeat(width + 2)));
            out += "|\n";
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["", "a"], ["µs", "100"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(lines(&rows), "|    | a   |\n|----|-----|\n| µs | 100 |\n");
    }

    #[test]
    fn memory_is_shared_by_the_recipients_that_came() {
        let vitals = |recipients, anonymous| Vitals { recipients, anonymous, mapped: 0 };
        let memory = Memory { empty: vitals(1_500, 10_000), vitals: vitals(2_500, 130_000) };
        assert!((memory.octets_each() - 120.0).abs() < 1e-9);
    }
}
