//! The event log as those who read it see it: over restarts, while it is written, by exporters.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use relay_fast::outcome::event::Kind;

use crate::client::send;
use crate::node::{BINARY, Node, printed, refusal, run, text};
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

/// What `relay-fast events` prints of this node's spool.
fn shown(node: &Node, words: &[&str]) -> String {
    let spool = node.spool();
    printed(&run(&[&["events", "--spool", text(&spool)], words].concat()))
}

#[test]
fn events_are_shown_with_a_node_and_without() {
    let sink = Sink::start();
    let mut node = Node::to(sink.address, "");
    for number in 0..3 {
        send(node.listen[0], "<a@a.example>", &["<b@b.example>"], &format!("{number}"));
    }
    let events = node.wait_for_events(Kind::Delivered, 3);
    let delivered = ["--where", "kind=delivered domain=b.example code=2xx"];
    let with_node = shown(&node, &delivered);
    assert_eq!(with_node.lines().count(), 3);
    assert!(with_node.lines().all(|line| line.contains(" delivered ")), "{with_node}");
    node.drain();
    assert_eq!(shown(&node, &delivered), with_node);
    let json = shown(&node, &["--json"]);
    assert_eq!(json.lines().count(), events.len());
    let last = events.iter().map(|event| event.sequence).max().unwrap();
    assert_eq!(shown(&node, &["--json", "--from", &last.to_string()]).lines().count(), 1);
    assert_eq!(shown(&node, &["--from", "end"]), "");
    let spool = node.spool();
    let wrong = run(&["events", "--spool", text(&spool), "--where", "colour=red"]);
    assert!(refusal(&wrong).contains("events have no field `colour`"));
}

#[test]
fn events_are_followed_over_a_kill_and_into_new_files() {
    let sink = Sink::start();
    let small = "[events]\nfile_size = \"64KiB\"\n";
    let mut node = Node::to(sink.address, small);
    let spool = node.spool();
    let follow = ["events", "--spool", text(&spool), "--follow", "--from", "start", "--json"];
    let mut command = Command::new(BINARY);
    let mut reader = command.args(follow).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(reader.stdout.take().unwrap()).lines();
    let mut seen = Vec::new();
    for round in 0..3 {
        for number in 0..8 {
            let to: Vec<_> = (0..50).map(|one| format!("<r{one}@b.example>")).collect();
            let to: Vec<_> = to.iter().map(String::as_str).collect();
            send(node.listen[0], "<a@a.example>", &to, &format!("{number}"));
        }
        let written = node.wait_for_events(Kind::Delivered, 400 * (round + 1));
        while seen.len() < written.len() {
            seen.push(lines.next().unwrap().unwrap());
        }
        node.kill();
        node.run(2);
    }
    reader.kill().unwrap();
    reader.wait().unwrap();
    let files = std::fs::read_dir(spool.join("events")).unwrap().count();
    assert!(files > 6, "{files} files: more than one a shard and run");
    let number = |line: &String| {
        let event = relay_fast::outcome::event::Event::parse(line.as_bytes()).unwrap();
        (event.shard.0, event.sequence)
    };
    let mut seen: Vec<_> = seen.iter().map(number).collect();
    seen.sort_unstable();
    let written = node.events().into_iter().map(|event| (event.shard.0, event.sequence));
    let mut written: Vec<_> = written.collect();
    written.sort_unstable();
    assert_eq!(seen, written);
}
