//! The event log as those who read it see it: over restarts, while it is written, by exporters.

use std::collections::BTreeMap;

use relay_fast::outcome::event::Kind;

use crate::client::send;
use crate::node::Node;
use crate::sink::Sink;

#[test]
fn numbers_grow_over_kills_and_none_comes_twice() {
    let sink = Sink::start();
    let mut node = Node::to(sink.address, "");
    for run in 1..=3 {
        for number in 0..4 {
            send(node.listen[0], "<a@a.example>", &["<b@b.example>"], &format!("{run} {number}"));
        }
        node.wait_for_events(Kind::Delivered, 4 * run);
        node.kill();
        node.run(2);
    }
    let mut last = BTreeMap::new();
    for event in node.events() {
        let before = last.insert(event.shard, event.sequence).unwrap_or(0);
        assert!(event.sequence > before, "{} after {before}", event.sequence);
    }
}
