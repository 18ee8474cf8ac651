//! What a node exposes is what the reference says, and nothing else.

use std::collections::BTreeSet;

use relay_fast::control::metrics::reference::families;
use relay_fast::outcome::event::Kind;

use crate::client::send;
use crate::node::{Node, printed, run, text, to_upstream, wait_for};
use crate::sink::Sink;

#[test]
fn a_node_on_which_everything_is_on_exposes_the_metrics_of_the_reference() {
    let sink = Sink::start();
    let mut node = Node::idle("");
    let file = node.folder.path().join("events.jsonl");
    let more = format!(
        "[kpis]\ncount = \"yes\"\n[suppression]\nat = \"rcpt\"\n\
        [[exporter]]\nname = \"file\"\nkind = \"file\"\nto = \"{}\"\n",
        text(&file)
    );
    node.configure(&to_upstream(&sink.address.to_string(), &more));
    node.run(2);
    let admin = node.admin.to_string();
    printed(&run(&["suppress", "add", "x@a.example", "--admin", &admin]));
    send(node.listen[0], "<a@a.example>", &["<b@b.example>"], "one");
    node.wait_for_events(Kind::Delivered, 1);
    let body = wait_for("figures", || {
        let (_, body) = node.get("/metrics");
        body.contains("relay_fast_kpi_hour_recipients{").then_some(body)
    });
    let rows = |text: &str| -> BTreeSet<String> {
        let rows = text.lines().filter_map(|line| line.strip_prefix("| `relay_fast_"));
        rows.map(str::to_owned).collect()
    };
    let shown = families(&body).into_iter().map(|family| {
        let labels: Vec<String> = family.labels.iter().map(|it| format!("`{it}`")).collect();
        let labels = labels.join(", ");
        let name = family.name.strip_prefix("relay_fast_").unwrap().to_owned();
        format!("{name}` | {} | {labels} | {} |", family.kind, family.help)
    });
    assert_eq!(shown.collect::<BTreeSet<_>>(), rows(&printed(&run(&["metrics"]))));
}
