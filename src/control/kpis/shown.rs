//! The subcommand `relay-fast kpis`: figures of a running node, for a terminal.

use std::fmt::Write as _;

use clap::Args;

use crate::control::kpis::{Numbers, Point, Row, Series, Standing, Totals};
use crate::control::queue::{AskError, Node};
use crate::control::words::{seconds, share};

/// Which figures.
#[derive(Args)]
pub struct KpisVerb {
    /// By `tenant`, `campaign`, `domain`, `provider`, `source` or `upstream`; `all` if not given
    #[arg(long, value_name = "WHAT")]
    pub by: Option<String>,
    /// One of them alone; a campaign's is its tenant's name, a space, and its own
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// By the `minute`, `hour` or `day`; `hour` if not given
    #[arg(long, value_name = "LENGTH")]
    pub interval: Option<String>,
    /// From when on: a time as 2026-11-24T03:41:01Z, or how long ago, as 2d
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Until when
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Rows; 25 if not given
    #[arg(long, default_value_t = 25, value_name = "N")]
    pub limit: usize,
    /// A row for each interval, of one key or of everything
    #[arg(long)]
    pub series: bool,
    /// The answer as it is: one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Ask a node; its answer, for a terminal.
pub fn show(node: &Node, verb: &KpisVerb) -> Result<String, AskError> {
    let mut asked = Vec::new();
    let given = [
        ("by", &verb.by),
        ("key", &verb.key),
        ("interval", &verb.interval),
        ("from", &verb.from),
        ("until", &verb.until),
    ];
    asked.extend(given.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
    if verb.json {
        let path = if verb.series { "kpis/series" } else { "kpis" };
        asked.push(("limit", verb.limit.to_string()));
        return Ok(node.fetch::<serde_json::Value>(path, &asked)?.to_string() + "\n");
    }
    if verb.series {
        return Ok(over_time(&node.fetch("kpis/series", &asked)?));
    }
    asked.push(("limit", verb.limit.to_string()));
    Ok(by_key(&node.fetch("kpis", &asked)?))
}

fn by_key(totals: &Totals) -> String {
    let Totals { by, interval, from, until, rows, others, all, counted } = totals;
    let mut out = format!("{} to {}, by the {interval}\n\n", minute(from), minute(until));
    let mut named: Vec<(String, &Numbers)> = Vec::new();
    if by != "all" {
        named.extend(rows.iter().map(|Row { key, numbers }| (name(key), numbers)));
        named.extend(others.iter().map(|numbers| ("(others)".to_owned(), numbers)));
    }
    named.push(("all mail".to_owned(), all));
    table(&mut out, if by == "all" { "" } else { by }, &named);
    standing(&mut out, counted);
    out
}

fn over_time(series: &Series) -> String {
    let Series { by, key, interval, points, counted, .. } = series;
    let whose = if by == "all" { "all mail".to_owned() } else { format!("{by} {}", name(key)) };
    let mut out = format!("{whose}, by the {interval}\n\n");
    let row = |Point { start, numbers }: &'_ Point| (minute(start), numbers.clone());
    let rows: Vec<(String, Numbers)> = points.iter().map(row).collect();
    let named: Vec<_> = rows.iter().map(|(start, numbers)| (start.clone(), numbers)).collect();
    table(&mut out, interval, &named);
    standing(&mut out, counted);
    out
}

/// A name that fits a terminal and changes nothing on it.
fn name(key: &str) -> String {
    const WIDTH: usize = 40;
    let shown = |character: char| if character.is_control() { '?' } else { character };
    match key.chars().count() {
        0 => "(none)".to_owned(),
        1..=WIDTH => key.chars().map(shown).collect(),
        _ => key.chars().take(WIDTH - 1).map(shown).chain(['…']).collect(),
    }
}

/// `2026-11-24T03:41:01.000Z` as `2026-11-24 03:41`.
fn minute(time: &str) -> String {
    time.chars().take(16).map(|c| if c == 'T' { ' ' } else { c }).collect()
}

/// A column: its head, whether it is there where nothing is in it, and a cell.
type Column = (&'static str, bool, fn(&Numbers) -> String);

const COLUMNS: [Column; 14] = [
    ("injected", true, |n| n.injected.to_string()),
    ("delivered", true, |n| n.delivered.to_string()),
    ("rate", true, |n| n.delivery_rate.map_or("-".into(), share)),
    ("deferred", true, |n| n.deferred.to_string()),
    ("bounced", true, |n| n.bounced.to_string()),
    ("expired", false, |n| n.expired.to_string()),
    ("suppressed", false, |n| n.suppressed.to_string()),
    ("late bounces", false, |n| n.bounced_later.to_string()),
    ("complaints", false, |n| n.complaints.to_string()),
    ("opens", false, |n| n.opens_people.to_string()),
    ("clicks", false, |n| n.clicks.to_string()),
    ("unsubscribes", false, |n| n.unsubscribes.to_string()),
    ("median", true, |n| n.median_seconds.map_or("-".into(), seconds)),
    ("p99", true, |n| n.p99_seconds.map_or("-".into(), seconds)),
];

/// Names to the left, figures to the right; columns of zeros alone are left out.
fn table(out: &mut String, title: &str, rows: &[(String, &Numbers)]) {
    let is_shown = |(_, always, cell): &&Column| {
        *always || rows.iter().any(|(_, numbers)| cell(numbers) != "0")
    };
    let columns: Vec<&Column> = COLUMNS.iter().filter(is_shown).collect();
    let mut lines: Vec<Vec<String>> = vec![vec![title.to_owned()]];
    lines[0].extend(columns.iter().map(|(head, ..)| (*head).to_owned()));
    for (name, numbers) in rows {
        let cells = columns.iter().map(|(_, _, cell)| cell(numbers));
        lines.push(std::iter::once(name.clone()).chain(cells).collect());
    }
    let width = |place: usize| lines.iter().map(|line| line[place].chars().count()).max();
    let widths: Vec<usize> = (0..=columns.len()).map(|place| width(place).unwrap_or(0)).collect();
    for line in &lines {
        let _ = write!(out, "{:<width$}", line[0], width = widths[0]);
        for (cell, width) in line.iter().zip(&widths).skip(1) {
            let _ = write!(out, "  {cell:>width$}");
        }
        out.push('\n');
    }
}

/// How far the figures go, where they are behind or something is missing.
fn standing(out: &mut String, counted: &Standing) {
    let Standing { until, behind_bytes, gaps, failing_since, error } = counted;
    let until = until.as_deref().unwrap_or("never");
    let _ = match behind_bytes {
        0 => writeln!(out, "\ncounted up to the last event, {until}"),
        _ => writeln!(out, "\ncounted up to {until}; {behind_bytes} octets of events are to come"),
    };
    if *gaps > 0 {
        let _ = writeln!(out, "{gaps} times events were missing: the log says which");
    }
    if let (Some(since), Some(error)) = (failing_since, error) {
        let _ = writeln!(out, "nothing can be counted since {since}: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(delivered: u64) -> Numbers {
        Numbers {
            injected: delivered + 1,
            delivered,
            deferred: 2,
            bounced: 1,
            delivery_rate: Some(0.9),
            median_seconds: Some(0.040),
            p99_seconds: Some(90.0),
            ..Numbers::default()
        }
    }

    fn totals() -> Totals {
        Totals {
            by: "tenant".into(),
            interval: "hour".into(),
            from: "2026-11-23T04:00:00.000Z".into(),
            until: "2026-11-24T04:00:00.000Z".into(),
            rows: vec![
                Row { key: "acme".into(), numbers: numbers(1_000) },
                Row { key: "\x1b[2J".into(), numbers: Numbers { clicks: 7, ..numbers(9) } },
                Row { key: String::new(), numbers: Numbers::default() },
            ],
            others: Some(numbers(3)),
            all: Numbers { clicks: 7, ..numbers(1_012) },
            counted: Standing::default(),
        }
    }

    #[test]
    fn a_table_has_what_there_is_and_nothing_acts_on_the_terminal() {
        let expected = "\
2026-11-23 04:00 to 2026-11-24 04:00, by the hour

tenant    injected  delivered   rate  deferred  bounced  clicks  median      p99
acme          1001       1000  90.0%         2        1       0   40 ms  1.5 min
?[2J            10          9  90.0%         2        1       7   40 ms  1.5 min
(none)           0          0      -         0        0       0       -        -
(others)         4          3  90.0%         2        1       0   40 ms  1.5 min
all mail      1013       1012  90.0%         2        1       7   40 ms  1.5 min

counted up to the last event, never
";
        assert_eq!(by_key(&totals()), expected);
    }

    #[test]
    fn a_series_has_a_row_an_interval_and_says_what_is_missing() {
        let point =
            |hour| Point { start: format!("2026-11-24T0{hour}:00:00.000Z"), numbers: numbers(5) };
        let counted = Standing {
            until: Some("2026-11-24T02:00:00.000Z".into()),
            behind_bytes: 400,
            gaps: 2,
            failing_since: Some("2026-11-24T02:01:00.000Z".into()),
            error: Some("no space".into()),
        };
        let series = Series {
            by: "domain".into(),
            key: "b.example".into(),
            interval: "hour".into(),
            from: "2026-11-24T01:00:00.000Z".into(),
            until: "2026-11-24T03:00:00.000Z".into(),
            points: vec![point(1), point(2)],
            counted,
        };
        let expected = "\
domain b.example, by the hour

hour              injected  delivered   rate  deferred  bounced  median      p99
2026-11-24 01:00         6          5  90.0%         2        1   40 ms  1.5 min
2026-11-24 02:00         6          5  90.0%         2        1   40 ms  1.5 min

counted up to 2026-11-24T02:00:00.000Z; 400 octets of events are to come
2 times events were missing: the log says which
nothing can be counted since 2026-11-24T02:01:00.000Z: no space
";
        assert_eq!(over_time(&series), expected);
    }
}
