//! Figures: they are the sums of the event log, over kills in the midst of it, for every dimension.

use std::collections::BTreeMap;

use relay_fast::outcome::event::{Event, Kind};
use serde_json::Value;

use crate::client::Client;
use crate::node::{Node, SOON, printed, refusal, run, to_upstream, wait_for};
use crate::sink::Sink;

const COUNTED: &str = "[kpis]\ncount = \"yes\"\n[senders]\nfields = \"remove\"\n";

/// Some are taken, some have to wait, some are refused; by their names.
fn sink() -> Sink {
    Sink::by(|mailbox, nth| {
        let answer = match mailbox.bytes().next() {
            Some(b'w') if nth == 1 => "450 4.2.1 Come again",
            Some(b'n') => "550 5.1.1 No such user",
            _ => "250 2.1.5 Ok",
        };
        answer.to_owned()
    })
}

fn node(sink: &Sink, more: &str) -> Node {
    let mut node = Node::idle("");
    node.configure(&to_upstream(&sink.address.to_string(), &format!("{COUNTED}{SOON}{more}")));
    node.run(2);
    node
}

fn send(node: &Node, number: usize) {
    let to: Vec<String> = ["yes", "wait", "no"]
        .iter()
        .map(|name| format!("<{name}{number}@d{}.example>", number % 7))
        .collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    let content = format!(
        "X-Tenant: t{}\r\nX-Campaign: c{}\r\nSubject: {number}\r\n\r\nHi\r\n",
        number % 3,
        number % 2
    );
    Client::connect(node.listen[0]).send("<a@a.example>", &to, &content);
}

/// What is answered at a path.
pub(crate) fn get(node: &Node, path: &str) -> Value {
    let (head, body) = node.get(path);
    assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {head}\n{body}");
    serde_json::from_str(&body).unwrap()
}

const FIGURES: [&str; 5] = ["injected", "delivered", "deferred", "bounced", "expired"];

fn place(event: &Event<'_>) -> Option<usize> {
    [Kind::Received, Kind::Delivered, Kind::Deferred, Kind::Bounced, Kind::Expired]
        .iter()
        .position(|kind| *kind == event.kind)
}

/// The sums of the log, by a key of its events.
fn sums(
    events: &[Event<'_>],
    key: impl Fn(&Event<'_>) -> String,
) -> BTreeMap<String, [u64; FIGURES.len()]> {
    let mut sums: BTreeMap<_, [u64; FIGURES.len()]> = BTreeMap::new();
    for event in events {
        if let Some(place) = place(event) {
            sums.entry(key(event)).or_default()[place] += 1;
        }
    }
    sums
}

fn figures(row: &Value) -> [u64; FIGURES.len()] {
    FIGURES.map(|figure| row[figure].as_u64().unwrap())
}

/// The figures that a node has by now, by key.
fn counted(node: &Node, by: &str) -> BTreeMap<String, [u64; FIGURES.len()]> {
    let totals = get(node, &format!("/v1/kpis?by={by}&interval=day&from=2d"));
    assert_eq!(totals["others"], Value::Null);
    let rows = totals["rows"].as_array().unwrap().iter();
    rows.map(|row| (row["key"].as_str().unwrap().to_owned(), figures(row))).collect()
}

#[test]
fn figures_are_the_sums_of_the_log_over_kills_for_every_dimension() {
    let sink = sink();
    let mut node = node(&sink, "");
    for round in 0..4 {
        for number in 0..30 {
            send(&node, 100 * round + number);
        }
        if round == 2 {
            // So long that some of it is kept, and not all.
            wait_for("figures", || {
                get(&node, "/v1/kpis")["all"]["injected"].as_u64().filter(|count| *count > 0)
            });
        }
        node.kill();
        node.run(2);
    }
    wait_for("an empty queue", || (node.stat("messages") == 0).then_some(()));
    let dimensions: [(&str, fn(&Event<'_>) -> String); 7] = [
        ("all", |_| String::new()),
        ("tenant", |event| event.tenant.to_string()),
        ("campaign", |event| format!("{} {}", event.tenant, event.campaign).trim().to_owned()),
        ("domain", |event| event.domain.to_string()),
        ("provider", |event| event.provider.to_string()),
        ("source", |event| event.source.to_string()),
        ("upstream", |event| event.upstream.to_string()),
    ];
    // The log is written 0.2 s late, and figures after it.
    let events = wait_for("all that the log has", || {
        let events = node.events();
        let is_all = counted(&node, "all") == sums(&events, dimensions[0].1);
        let is_still = node.events().len() == events.len();
        (is_all && is_still && events.len() > 500).then_some(events)
    });
    for (by, key) in dimensions {
        let expected = sums(&events, key);
        assert!(expected.len() > 1 || ["all", "provider"].contains(&by), "{by}: {expected:?}");
        assert_eq!(counted(&node, by), expected, "{by}");
    }
    let of_class = |class: &str| {
        let bounced = events.iter().filter(|event| event.kind == Kind::Bounced);
        bounced.filter(|event| event.class == class).count() as u64
    };
    let all = &get(&node, "/v1/kpis?interval=day&from=2d")["all"];
    assert_eq!(all["bounced_by_class"]["bad-mailbox"].as_u64(), Some(of_class("bad-mailbox")));
    assert!(all["median_seconds"].as_f64().unwrap() > 0.0, "{all}");
    // A series of one key adds up to its row.
    let series = get(&node, "/v1/kpis/series?by=tenant&key=t1&interval=minute&from=1h");
    let points = series["points"].as_array().unwrap();
    assert!(points.len() >= 60);
    let mut sum = [0; FIGURES.len()];
    points.iter().for_each(|point| {
        sum.iter_mut().zip(figures(point)).for_each(|(sum, more)| *sum += more);
    });
    assert_eq!(sum, counted(&node, "tenant")["t1"]);
    assert!(node.metric("relay_fast_kpi_events_total") > 0.0);
}

#[test]
fn a_person_sees_a_table_and_small_keys_go_together() {
    let sink = sink();
    let mut node = node(&sink, "");
    (0..14).for_each(|number| send(&node, number));
    // Two of three, and the DSNs about the others.
    node.wait_for_events(Kind::Delivered, 42);
    let ask = |node: &Node, words: &[&str]| {
        let admin = node.admin.to_string();
        run(&[&["kpis"], words, &["--admin", &admin]].concat())
    };
    let shown = wait_for("figures", || {
        let shown = printed(&ask(&node, &["--by", "domain", "--limit", "2"]));
        let all = shown.lines().find(|line| line.starts_with("all mail")).unwrap();
        let all: Vec<&str> = all.split_whitespace().collect();
        (all[2..4] == ["56", "42"]).then_some(shown)
    });
    assert!(shown.contains("\n(others)") && shown.contains("75.0%"), "{shown}");
    let series = printed(&ask(&node, &["--series", "--by", "tenant", "--key", "t1"]));
    assert_eq!(series.lines().filter(|line| line.contains(":00 ")).count(), 24, "{series}");
    let json: Value = serde_json::from_str(&printed(&ask(&node, &["--json"]))).unwrap();
    assert_eq!(json["all"]["delivered"], 42);
    let wrong = refusal(&ask(&node, &["--by", "sender"]));
    assert!(wrong.contains("by: `sender` is none of all, tenant, "), "{wrong}");
    // Nothing is counted any more once nobody asks for it.
    node.configure(&to_upstream(&sink.address.to_string(), ""));
    node.drain();
    node.run(2);
    assert!(refusal(&ask(&node, &[])).contains("nothing is counted: set `count` in [kpis]"));
    assert!(!node.get("/metrics").1.contains("relay_fast_kpi_"));
}
