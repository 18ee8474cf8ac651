//! `/v1/overview`: how a node does as a whole.

use relay_fast::control::overview::Overview;

use crate::client::send;
use crate::node::{Node, SOON, wait_for};
use crate::sink::Sink;

fn overview(node: &Node) -> Overview {
    let (head, body) = node.get("/v1/overview");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    serde_json::from_str(&body).expect("an overview")
}

/// One that meets this.
fn wait(node: &Node, what: &str, is_so: impl Fn(&Overview) -> bool) -> Overview {
    wait_for(what, || Some(overview(node)).filter(&is_so))
}

#[test]
fn it_tells_what_flows_what_waits_and_who_refuses() {
    let full = "452 4.2.2 mailbox full";
    let sink = Sink::by(move |address, _| {
        if address.contains("full@") { full.to_owned() } else { "250 2.1.5 Ok".to_owned() }
    });
    let node = Node::to(sink.address, "[queue]\nretry_first = \"1h\"\n");
    let before = overview(&node);
    assert_eq!((before.over_s, before.totals.delivered), (0.0, 0));
    assert_eq!(before.shards.len(), 2);
    assert_eq!(before.version, env!("CARGO_PKG_VERSION"));
    send(node.listen[0], "<a@a.example>", &["<b@b.example>", "<full@c.example>"], "x");
    let after = wait(&node, "one there and one deferred", |seen| {
        (seen.totals.delivered, seen.queue.deferred) == (1, 1) && seen.rates.delivered > 0.0
    });
    assert_eq!((after.totals.messages, after.totals.received), (1, 2));
    assert!(after.over_s > 0.0 && after.rates.deferred > 0.0, "{after:?}");
    assert_eq!(after.queue.domains, [("c.example".to_owned(), 1)]);
    assert!(after.shards.iter().all(|shard| shard.state == "ok"));
    assert_eq!(after.shards.iter().map(|shard| shard.recipients).sum::<u64>(), 1);
    let class: Vec<_> = after.classes.iter().map(|row| (&*row.class, row.deferred)).collect();
    assert_eq!(class, [("quota", 1)]);
    let site = &after.sites[0];
    assert_eq!(site.site, sink.address.to_string());
    assert!(site.refused.as_ref().is_some_and(|words| words.contains(full)), "{site:?}");
    assert!(site.refused_at.is_some());
    assert_eq!((&*after.upstreams[0].upstream, after.upstreams[0].healthy), (&*site.site, 2));
}

#[test]
fn it_tells_of_a_relay_that_is_left_alone_and_of_what_is_paused() {
    let mut dead = Sink::start();
    dead.stop();
    let node = Node::to(dead.address, SOON);
    send(node.listen[0], "<a@a.example>", &["<b@b.example>"], "x");
    // The other shard owns no domain that goes there, and has found out nothing.
    let seen = wait(&node, "the relay is ejected", |seen| seen.upstreams[0].healthy == 1);
    assert_eq!(seen.upstreams[0].ejected + seen.upstreams[0].probing, 1);
    let seen = wait(&node, "its site is suspended", |seen| {
        seen.sites.first().is_some_and(|site| site.suspended_s.is_some())
    });
    assert!(seen.sites[0].why.as_ref().is_some_and(|why| why.contains("refused")), "{seen:?}");
    node.ask(&["pause", "--tenant", "acme"]);
    wait(&node, "it is paused", |seen| seen.paused.iter().any(|one| one.tenant == "acme"));
}
