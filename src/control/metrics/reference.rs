//! Say which metrics there are: what `relay-fast metrics` prints and `docs/metrics.md` includes.
//!
//! In: an exposition in which everything is on. Out: a Markdown table with a row for each family.
//! What a node exposes is read the same way, so that both can be held against each other.

use std::collections::BTreeSet;

use crate::control::exporters::status::{self, Status};
use crate::control::{kpis, metrics};
use crate::outcome::counters::Counters;
use crate::policy::suppression::{ListName, Totals};
use crate::shard::commands::Snapshot;
use crate::shard::platform::PlatformCounters;

/// A metric family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Family {
    /// Its name.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: String,
    /// What it means.
    pub help: String,
    /// What its series are told apart by, `le` left out.
    pub labels: BTreeSet<String>,
}

/// The families of an exposition, in order.
pub fn families(text: &str) -> Vec<Family> {
    let mut families: Vec<Family> = Vec::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|it| it.split_once(' ')) {
            let (name, help) = (name.to_owned(), help.to_owned());
            families.push(Family { name, help, ..Family::default() });
        }
        let Some(family) = families.last_mut() else { continue };
        if let Some((_, kind)) = line.strip_prefix("# TYPE ").and_then(|it| it.split_once(' ')) {
            family.kind = kind.to_owned();
        } else if let Some((_, labels)) = line.split_once('{').filter(|_| !line.starts_with('#')) {
            family.labels.extend(names(labels).filter(|name| name != "le"));
        }
    }
    families
}

/// The names of labels: what stands between a comma, or the beginning, and `="`.
fn names(labels: &str) -> impl Iterator<Item = String> {
    let heads = labels.split("=\"").map(|part| part.rsplit(',').next().unwrap_or(part));
    let is_name = |name: &&str| {
        !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_lowercase() || octet == b'_')
    };
    heads.filter(is_name).map(str::to_owned).collect::<Vec<_>>().into_iter()
}

/// All that a node can expose.
fn everything() -> String {
    let shard = Snapshot {
        counters: Counters::default(),
        platform: PlatformCounters::default(),
        admits: true,
        failing: false,
        owed: 0,
        domains: Vec::new(),
    };
    let lists = Totals { entries: vec![(ListName::GLOBAL, 0)], ..Totals::default() };
    let exporter = Status { name: "example".to_owned(), ..Status::default() };
    metrics::render(&[shard], Some(&lists)) + &status::metrics(&[exporter]) + &kpis::exposition()
}

/// A Markdown table with a row for each family.
pub fn render() -> String {
    let mut text = String::from("| metric | type | labels | what it says |\n|---|---|---|---|\n");
    for Family { name, kind, help, labels } in families(&everything()) {
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        let row = format!("| `{name}` | {kind} | {} | {help} |\n", labels.join(", "));
        text.push_str(&row);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_read_with_their_labels() {
        let text = "# HELP a_total As.\n# TYPE a_total counter\na_total{x=\"1, y=2\",z=\"\"} 1\n\
            # HELP b_seconds Bs.\n# TYPE b_seconds histogram\nb_seconds_bucket{le=\"1\"} 2\n\
            b_seconds_sum 1\n";
        let [a, b] = families(text).try_into().unwrap();
        assert_eq!(
            (a.name.as_str(), a.kind.as_str(), a.help.as_str()),
            ("a_total", "counter", "As.")
        );
        assert_eq!(a.labels, ["x", "z"].map(String::from).into());
        assert!(b.labels.is_empty() && b.kind == "histogram");
    }

    #[test]
    fn every_family_is_named_once_and_explained() {
        let all = families(&everything());
        let names: BTreeSet<_> = all.iter().map(|family| family.name.as_str()).collect();
        assert_eq!(names.len(), all.len());
        for Family { name, kind, help, .. } in &all {
            assert!(name.starts_with("relay_fast_"), "{name}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
            assert!(help.ends_with('.') && !help.contains('|'), "{name}");
        }
        let cells = |line: &str| line.matches('|').count();
        assert!(render().lines().all(|line| cells(line) == 5), "{}", render());
    }
}
