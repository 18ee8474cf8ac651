//! Hold what is packaged for Prometheus and Grafana against the metrics that there are.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "support/tool.rs"]
mod tool;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use regex::Regex;
use relay_fast::control::metrics::reference;
use serde_json::{Value, json};

const ALERTS: &str = include_str!("../packaging/prometheus/alerts.yml");
const DASHBOARD: &str = include_str!("../packaging/grafana/relay-fast.json");

/// The labels of each metric, by the table of `docs/metrics.md`.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let row = Regex::new(r"(?m)^\| `(\w+)` \| (\w+) \| ([^|]*) \|").unwrap();
    let label = Regex::new(r"`(\w+)`").unwrap();
    let table = reference::render();
    let rows = row.captures_iter(&table).map(|row| {
        let labels = label.captures_iter(&row[3]).map(|label| label[1].to_owned());
        let mut labels: BTreeSet<String> = labels.collect();
        if &row[2] == "histogram" {
            labels.insert("le".to_owned());
        }
        (row[1].to_owned(), labels)
    });
    rows.collect()
}

/// Metrics that a text names, with the labels that it selects by.
fn named(text: &str) -> Vec<(String, Vec<String>)> {
    let name = Regex::new(r"(relay_fast_\w+)(?:\{([^}]*)\})?").unwrap();
    let label = Regex::new(r"(\w+)\s*(?:=~|!~|!=|=)").unwrap();
    let found = name.captures_iter(text).map(|found| {
        let selected = found.get(2).map_or("", |selected| selected.as_str());
        let labels = label.captures_iter(selected).map(|label| label[1].to_owned());
        (found[1].to_owned(), labels.collect())
    });
    found.collect()
}

fn assert_documented(text: &str) {
    let documented = documented();
    let all = named(text);
    assert!(all.len() > 15, "{all:?}");
    for (name, labels) in all {
        let of_histogram = ["_bucket", "_sum", "_count"].map(|end| name.strip_suffix(end));
        let family = of_histogram.into_iter().flatten().find_map(|name| documented.get(name));
        let family = documented.get(&name).or(family);
        let family = family.unwrap_or_else(|| panic!("there is no metric {name}"));
        for label in labels {
            let is_targets = ["instance", "job"].contains(&label.as_str());
            assert!(is_targets || family.contains(&label), "{name} has no label {label}");
        }
    }
}

#[test]
fn every_metric_of_an_alert_exists() {
    assert_documented(ALERTS);
    let count = |word: &str| ALERTS.matches(word).count();
    assert_eq!(count("- alert: "), count("        expr: "), "each has an expression");
    assert_eq!(count("- alert: "), count("          summary: "), "and says what is wrong");
}

#[test]
fn every_metric_of_the_dashboard_exists() {
    let panels = panels();
    let expressions = expressions(&panels);
    assert!(expressions.len() > 15);
    assert_documented(&expressions.join("\n"));
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
}

fn panels() -> Vec<Value> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    dashboard["panels"].as_array().unwrap().clone()
}

/// As Grafana reads them: quotation marks within expressions are escaped in JSON.
fn expressions(panels: &[Value]) -> Vec<&str> {
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    targets.map(|target| target["expr"].as_str().unwrap()).collect()
}

/// What Prometheus says of a file of rules, and whether it takes it.
fn checked(promtool: &Path, rules: &Path) -> (bool, String) {
    let output = Command::new(promtool).args(["check", "rules"]).arg(rules).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn prometheus_takes_the_alerts_and_every_expression_of_the_dashboard() {
    let Some(promtool) = tool::find("promtool") else { return };
    let alerts = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/prometheus/alerts.yml");
    let (is_well, said) = checked(&promtool, &alerts);
    let rules = format!("SUCCESS: {} rules found", ALERTS.matches("- alert: ").count());
    assert!(is_well && said.contains(&rules), "{said}");

    // What Grafana puts in place of its variables; JSON is YAML.
    let panels = panels();
    let as_rule = |(place, expression): (usize, &&str)| {
        let expression = expression.replace("$__rate_interval", "5m").replace("$instance", ".*");
        json!({ "record": format!("panel:{place}"), "expr": expression })
    };
    let rules: Vec<Value> = expressions(&panels).iter().enumerate().map(as_rule).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rules.yml");
    let check = |rules: &[Value]| {
        let groups = json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
        fs::write(&path, groups.to_string()).unwrap();
        checked(&promtool, &path)
    };
    let (is_well, said) = check(&rules);
    let all = format!("SUCCESS: {} rules found", rules.len());
    assert!(is_well && said.contains(&all), "{said}");
    let wrong =
        json!({ "record": "panel:wrong", "expr": "sum by (instance (relay_fast_sessions)" });
    assert!(!check(&[wrong]).0, "it would find it");
}

#[test]
fn a_metric_that_there_is_not_is_found() {
    let named =
        named("sum(rate(relay_fast_no_such_total{outcome=\"a\", x!~'b'}[5m])) / relay_fast_c");
    let expected = [
        ("relay_fast_no_such_total".to_owned(), vec!["outcome".to_owned(), "x".to_owned()]),
        ("relay_fast_c".to_owned(), vec![]),
    ];
    assert_eq!(named, expected);
    let text = DASHBOARD.replacen("relay_fast_sessions", "relay_fast_no_such", 1);
    assert!(std::panic::catch_unwind(|| assert_documented(&text)).is_err());
}
