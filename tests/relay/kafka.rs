//! The event log in a topic of a cluster of Kafka, whose brokers fail.
//!
//! The cluster is librdkafka's own for tests, driven by `kafka.py`, and read by its consumer:
//! Debian has no Kafka. It speaks neither TLS nor SASL: there a front of a few lines stands before
//! each broker, and the consumer goes through it too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, ChildStdout, Command, Stdio};

use relay_fast::outcome::event::Kind;
use rustix::process::Signal;
use serde_json::Value;

use crate::certificates::Authority;
use crate::exporters::{logged, mail, published};
use crate::node::{Node, text, to_upstream, wait_for};
use crate::sink::Sink;
use crate::tool;

const PRODUCE: i16 = 0;

/// Three brokers; they end with the test.
struct Cluster {
    child: Child,
    told: BufReader<ChildStdout>,
    /// `HOST:PORT` of each.
    brokers: Vec<String>,
}

impl Cluster {
    /// `None` where there is none on this machine.
    fn start(arguments: &[&str]) -> Option<Self> {
        let has = |python: &&&str| {
            let mut asked = Command::new(python);
            asked.args(["-c", "import confluent_kafka"]).stderr(Stdio::null());
            asked.status().is_ok_and(|status| status.success())
        };
        let Some(python) = ["python3", "/usr/bin/python3"].iter().find(has) else {
            tool::skip("no confluent_kafka here; tests/run installs it");
            return None;
        };
        let mut command = Command::new(python);
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/relay/kafka.py")).args(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut told = BufReader::new(child.stdout.take().unwrap());
        let mut brokers = String::new();
        told.read_line(&mut brokers).unwrap();
        let brokers: Vec<_> = brokers.trim().split(',').map(str::to_owned).collect();
        assert_eq!(brokers.len(), 3);
        Some(Self { child, told, brokers })
    }

    /// Carry out an order; what is answered.
    fn order(&mut self, order: &str) -> Vec<String> {
        let input = self.child.stdin.as_mut().unwrap();
        writeln!(input, "{order}").unwrap();
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            assert!(self.told.read_line(&mut line).unwrap() > 0, "it ended: {order}");
            match line.trim_end() {
                "." => return lines,
                line => lines.push(line.to_owned()),
            }
        }
    }

    fn records(&mut self, topic: &str) -> Vec<Value> {
        let lines = self.order(&format!("read {topic}"));
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn exporter(scheme: &str, brokers: &[String], more: &str) -> String {
    let to: Vec<_> = brokers.iter().map(|broker| format!("{scheme}{broker}")).collect();
    format!(
        "[[exporter]]\nname = \"lake\"\nkind = \"kafka\"\nto = \"{}\"\ntimeout = \"5s\"\n\
        batch = 16\n{more}",
        to.join(",")
    )
}

/// Each shard's are in one partition, and what came for the first time in their order.
fn assert_order(records: &[Value]) {
    let (mut partitions, mut last) = (BTreeMap::new(), BTreeMap::new());
    let mut seen = BTreeSet::new();
    for (record, (shard, sequence)) in records.iter().zip(published(records)) {
        let partition = record["partition"].as_u64().unwrap();
        assert_eq!(*partitions.entry(shard).or_insert(partition), partition, "of shard {shard}");
        if seen.insert((shard, sequence)) {
            let before = last.insert(shard, sequence);
            assert!(before < Some(sequence), "{sequence} of shard {shard} after {before:?}");
        }
    }
}

/// Until the node says this of why nobody takes its events.
fn wait_until_told(node: &Node, words: &str) {
    wait_for(words, || {
        let told: Value = serde_json::from_str(&node.get("/v1/exporters").1).unwrap();
        let error = told[0]["error"].as_str().unwrap_or_default().to_owned();
        error.contains(words).then_some(())
    });
}

fn wait_until_all_is_taken(node: &Node) {
    wait_for("an empty queue", || (node.stat("recipients") == 0).then_some(()));
    let lag = "relay_fast_exporter_lag_bytes{exporter=\"lake\"}";
    wait_for("nothing waits", || (node.metric(lag) == 0.0).then_some(()));
}

#[test]
fn a_topic_has_each_event_in_order_though_brokers_and_the_node_go() {
    let Some(mut cluster) = Cluster::start(&[]) else { return };
    let sink = Sink::start();
    cluster.order("topic mail 3");
    cluster.order("deny mail 3");
    let config = exporter("kafka://", &cluster.brokers, "topic = \"mail\"\n");
    let mut node = Node::idle("");
    node.configure(&to_upstream(&sink.address.to_string(), &config));
    node.run(2);
    mail(&node, 20);
    // A topic that is not there is a failure as any other.
    wait_until_told(&node, "topic `mail`: UNKNOWN_TOPIC_OR_PARTITION");
    cluster.order("deny mail 0");
    node.wait_for_events(Kind::Delivered, 60);
    wait_until_all_is_taken(&node);
    let records = cluster.records("mail");
    let (all, events) = (logged(&node), published(&records));
    assert_eq!(events.len(), all.len(), "each event once");
    assert_eq!(events.iter().copied().collect::<BTreeSet<_>>(), all);
    assert_order(&records);
    for one in &records {
        let event: Value = serde_json::from_str(one["body"].as_str().unwrap()).unwrap();
        assert_eq!(one["key"], format!("node.example/{}", event["shard"]));
        let id = format!("node.example/{}/{}", event["shard"], event["sequence"]);
        assert_eq!(one["headers"]["relay-fast-id"], id);
        assert_eq!(one["headers"]["relay-fast-node"], "node.example");
        let time = relay_fast::base::time::WallTime(one["time"].as_i64().unwrap());
        assert_eq!(event["time"], time.to_rfc3339());
    }
    // All brokers are gone for a while: mail goes on, and events wait.
    (1..=3).for_each(|broker| drop(cluster.order(&format!("down {broker}"))));
    mail(&node, 10);
    node.wait_for_events(Kind::Delivered, 90);
    wait_until_told(&node, "onnection");
    // So is the node; it goes on where it was.
    node.kill();
    (1..=3).for_each(|broker| drop(cluster.order(&format!("up {broker}"))));
    // NOT_LEADER_OR_FOLLOWER, NOT_ENOUGH_REPLICAS: nothing was taken.
    [6, 19].iter().for_each(|error| drop(cluster.order(&format!("fail {PRODUCE} {error}"))));
    node.run(2);
    mail(&node, 10);
    node.wait_for_events(Kind::Delivered, 110);
    wait_until_all_is_taken(&node);
    let failures = node.metric("relay_fast_exporter_failures_total{exporter=\"lake\"}");
    assert!(failures >= 2.0, "{failures} failures");
    let records = cluster.records("mail");
    let (all, events) = (logged(&node), published(&records));
    let came: BTreeSet<_> = events.iter().copied().collect();
    assert!(all.is_subset(&came), "{:?} are missing", all.difference(&came));
    // What comes twice was in flight when something failed.
    assert!(events.len() <= came.len() + 4 * 16, "{} events, {} of them", events.len(), came.len());
    assert_order(&records);
}

#[test]
fn a_cluster_is_who_its_certificates_say_and_is_told_who_comes() {
    let authority = Authority::new("The authority");
    authority.write("broker", &["localhost"]);
    let (chain, key) = (authority.path("broker.pem"), authority.path("broker.key"));
    let Some(mut cluster) = Cluster::start(&[&chain, &key, "relay:s3cret"]) else { return };
    cluster.order("topic mail.delivered 2");
    let sink = Sink::start();
    let mut node = Node::idle("");
    let path = node.folder.path().join("lake.login");
    let login = |text: &str| {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    };
    login("relay:wrong\n");
    let more = format!(
        "topic = \"mail.{{kind}}\"\nwhere = \"kind=delivered\"\ncredentials = \"{}\"\n",
        text(&path)
    );
    let config = |trusted: &Authority, scheme: &str| {
        let trust = format!("[tls]\nca = \"{}\"\n", trusted.file());
        let exporter = exporter(scheme, &cluster.brokers, &more);
        to_upstream(&sink.address.to_string(), &(trust + &exporter))
    };
    let other = Authority::new("Another authority");
    let (first, second, clear) =
        (config(&other, "tls://"), config(&authority, "tls://"), config(&authority, "kafka://"));
    node.configure(&first);
    node.run(2);
    mail(&node, 2);
    node.wait_for_events(Kind::Delivered, 6);
    wait_until_told(&node, "ertificate");
    node.configure(&clear);
    node.signal(Signal::HUP);
    wait_until_told(&node, "kafka://localhost");
    // The right authority is in a folder that was not named at the start: a restart opens it.
    node.drain();
    node.configure(&second);
    node.run(2);
    wait_until_told(&node, "login: SASL_AUTHENTICATION_FAILED: Nope");
    assert!(!node.get("/v1/exporters").1.contains("wrong"), "the password is nobody's business");
    login("relay:s3cret\n");
    node.signal(Signal::HUP);
    wait_until_all_is_taken(&node);
    let records = cluster.records("mail.delivered");
    let events: BTreeSet<_> = published(&records).into_iter().collect();
    assert_eq!((events.len(), records.len()), (6, 6));
    assert_order(&records);
}
