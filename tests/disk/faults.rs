//! A segment that cannot be read through its map any more: the relay ends, and says which.

use std::fs::File;

use crate::client::{Client, message};
use crate::node::{Node, to_upstream, wait_for};
use crate::sink::Sink;

#[test]
fn a_segment_that_is_shortened_under_the_relay_ends_it_with_one_line() {
    let sink = Sink::by(|_, _| "451 4.7.1 Later".to_owned());
    let later = "[queue]\nretry_first = \"1h\"\n";
    let config = to_upstream(&sink.address.to_string(), later);
    let mut node = Node::idle(&config.replace("[spool]", "[spool]\nhot_memory = \"0B\""));
    node.run(1);
    let mut client = Client::connect(node.listen[0]);
    client.send("<a@a.example>", &["<b@b.example>"], &message("cut off"));
    wait_for("deferred", || (node.stat("deferred") == 1).then_some(()));
    // The epoch, the message, its deferral: what is written later would make the file longer.
    let commits = "relay_fast_spool_commits_total{result=\"synced\"}";
    wait_for("three commits", || (node.metric(commits) >= 3.0).then_some(()));
    File::options()
        .write(true)
        .open(node.spool().join("000/00000001.seg"))
        .unwrap()
        .set_len(0)
        .unwrap();
    // The next attempt reads the message through the map.
    node.queue(&["flush", "--all"]);
    let status = node.wait();
    assert_eq!(status.code(), Some(74), "{status}");
    let log = node.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("cannot be read")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    let words = "relay-fast: spool segment 000/00000001.seg cannot be read at ";
    assert!(lines[0].starts_with(words), "{log}");
    assert!(!log.contains("panicked"), "{log}");
}
