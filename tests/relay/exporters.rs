//! Who is handed the event log gets all of it, whatever dies; and who is dead is in nobody's way.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use aws_lc_rs::hmac::{HMAC_SHA256, Key, verify};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use relay_fast::outcome::event::Kind;
use rustix::process::Signal;
use serde_json::Value;

use crate::client::send;
use crate::node::{Node, free_port, printed, refusal, run, text, to_upstream, wait_for};
use crate::receiver::{Receiver, named};
use crate::sink::Sink;

const SECRET: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A node's folder has the secret of a webhook.
fn with_secret(node: &Node) -> String {
    let path = node.folder.path().join("hook.secret");
    fs::write(&path, format!("whsec_{SECRET}\n")).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    text(&path).to_owned()
}

fn hook(name: &str, url: &str, secret: &str, more: &str) -> String {
    format!(
        "[[exporter]]\nname = \"{name}\"\nkind = \"webhook\"\nto = \"{url}\"\n\
        secret = \"{secret}\"\ntimeout = \"2s\"\n{more}"
    )
}

/// A node that calls `receiver` of all that happens to mail for `sink`.
fn calling(sink: &Sink, receiver: &Receiver, more: &str) -> Node {
    let mut node = Node::idle("");
    let secret = with_secret(&node);
    let exporter = hook("hook", &receiver.url(), &secret, more);
    node.configure(&to_upstream(&sink.address.to_string(), &exporter));
    node.run(2);
    node
}

/// So many messages to three recipients each.
pub(crate) fn mail(node: &Node, count: usize) {
    for number in 0..count {
        let to = ["<a@b.example>", "<b@b.example>", "<c@b.example>"];
        send(node.listen[0], "<s@a.example>", &to, &format!("{number}"));
    }
}

/// Shard and number of all events in the log.
pub(crate) fn logged(node: &Node) -> BTreeSet<(u8, u64)> {
    node.events().into_iter().map(|event| (event.shard.0, event.sequence)).collect()
}

/// Shard and number of the events that a reader of a broker has told.
pub(crate) fn published(messages: &[Value]) -> Vec<(u8, u64)> {
    messages.iter().map(|one| named(one["body"].as_str().unwrap().as_bytes())).collect()
}

fn wait_until_all_are_taken(node: &Node, taken: impl Fn() -> Vec<(u8, u64)>) {
    wait_for("all events", || {
        let taken: BTreeSet<_> = taken().into_iter().collect();
        logged(node).is_subset(&taken).then_some(())
    });
}

#[test]
fn a_webhook_is_signed_and_gets_each_event_in_order() {
    let (sink, receiver) = (Sink::start(), Receiver::start("204 Fine"));
    let node = calling(&sink, &receiver, "batch = 7\n");
    mail(&node, 10);
    node.wait_for_events(Kind::Delivered, 30);
    wait_until_all_are_taken(&node, || receiver.taken());
    let taken = receiver.taken();
    assert_eq!(taken.len(), logged(&node).len(), "none twice while nothing fails");
    for shard in 0..2 {
        let numbers: Vec<_> = taken.iter().filter(|(of, _)| *of == shard).collect();
        assert!(numbers.is_sorted(), "a shard's events keep their order");
    }
    let key = Key::new(HMAC_SHA256, &STANDARD.decode(SECRET).unwrap());
    let mut ids = BTreeSet::new();
    for call in receiver.calls() {
        assert!(call.events().len() <= 7);
        assert_eq!(call.head["content-type"], "application/json");
        let (id, at) = (&call.head["webhook-id"], &call.head["webhook-timestamp"]);
        let signed = [format!("{id}.{at}.").as_bytes(), &call.body].concat();
        let signature = call.head["webhook-signature"].strip_prefix("v1,").unwrap();
        verify(&key, &signed, &STANDARD.decode(signature).unwrap()).expect("the signature");
        assert!(ids.insert(id.clone()), "each batch has an id of its own");
    }
}

#[test]
fn only_what_is_wanted_is_sent_and_the_rest_is_passed() {
    let (sink, receiver) = (Sink::start(), Receiver::start("200 OK"));
    let node = calling(&sink, &receiver, "where = \"kind=delivered recipient~a@\"\n");
    mail(&node, 5);
    let events = node.wait_for_events(Kind::Delivered, 15);
    let wanted = |event: &&relay_fast::outcome::event::Event<'_>| {
        event.kind == Kind::Delivered && event.recipient == "a@b.example"
    };
    let wanted: BTreeSet<_> =
        events.iter().filter(wanted).map(|event| (event.shard.0, event.sequence)).collect();
    wait_for("5 events", || (receiver.taken().len() >= 5).then_some(()));
    let lag = "relay_fast_exporter_lag_bytes{exporter=\"hook\"}";
    wait_for("nothing waits", || (node.metric(lag) == 0.0).then_some(()));
    assert_eq!(receiver.taken().into_iter().collect::<BTreeSet<_>>(), wanted);
    assert_eq!(node.metric("relay_fast_exporter_events_total{exporter=\"hook\"}"), 5.0);
}

#[test]
fn a_consumer_that_refuses_gets_it_again_and_is_told_of() {
    let (sink, receiver) = (Sink::start(), Receiver::start("503 Not now\r\nRetry-After: 1"));
    let node = calling(&sink, &receiver, "");
    mail(&node, 3);
    node.wait_for_events(Kind::Delivered, 9);
    wait_for("two tries", || (receiver.calls().len() >= 2).then_some(()));
    let calls = receiver.calls();
    assert_eq!(calls[0].head["webhook-id"], calls[1].head["webhook-id"]);
    assert_eq!(calls[0].body, calls[1].body);
    let told = wait_for("it is told", || {
        let told = printed(&run(&["exporters", "--admin", &node.admin.to_string()]));
        told.contains("failing since").then_some(told)
    });
    assert!(told.contains(": 503 Service Unavailable; next attempt"), "{told}");
    assert!(told.contains("events behind"), "{told}");
    assert_eq!(node.metric("relay_fast_exporter_failing{exporter=\"hook\"}"), 1.0);
    receiver.answer("200 OK");
    wait_until_all_are_taken(&node, || receiver.taken());
    wait_for("it is told", || {
        let told = printed(&run(&["exporters", "--admin", &node.admin.to_string()]));
        (told.contains("nothing waits") && !told.contains("failing")).then_some(())
    });
}

#[test]
fn a_batch_that_is_too_large_comes_in_parts() {
    let (sink, receiver) = (Sink::start(), Receiver::start("500 Wait"));
    let node = calling(&sink, &receiver, "");
    mail(&node, 5);
    node.wait_for_events(Kind::Delivered, 15);
    // Whatever comes first is small enough now, and what comes then is not.
    receiver.answer("413 Too large");
    let many = wait_for("a batch that is too large", || {
        let calls = receiver.calls();
        calls.iter().map(|call| call.events().len()).filter(|count| *count > 1).max()
    });
    wait_for("one event", || receiver.calls().last()?.events().len().eq(&1).then_some(()));
    receiver.answer("200 OK");
    wait_until_all_are_taken(&node, || receiver.taken());
    assert!(many > 1);
}

#[test]
fn a_node_that_is_killed_over_and_over_loses_no_event() {
    let (sink, receiver) = (Sink::start(), Receiver::start("200 OK"));
    let file = |node: &Node| node.folder.path().join("out/events.jsonl");
    let mut node = Node::idle("");
    let secret = with_secret(&node);
    fs::create_dir(node.folder.path().join("out")).unwrap();
    let exporters = format!(
        "{}[[exporter]]\nname = \"file\"\nkind = \"file\"\nto = \"{}\"\nbatch = 3\n",
        hook("hook", &receiver.url(), &secret, "batch = 4\n"),
        text(&file(&node)),
    );
    let small = "[events]\nfile_size = \"64KiB\"\n";
    node.configure(&to_upstream(&sink.address.to_string(), &(small.to_owned() + &exporters)));
    for round in 0..6 {
        // Fewer shards than before: the logs of those that are gone are read to their ends.
        node.run([3, 1, 2][round % 3]);
        mail(&node, 10);
        let so_far = receiver.taken().len();
        wait_for("some of it", || (receiver.taken().len() > so_far).then_some(()));
        node.kill();
    }
    node.run(1);
    let written = |path: &Path| -> Vec<(u8, u64)> {
        let content = fs::read_to_string(path).unwrap_or_default();
        content.lines().map(|line| named(line.as_bytes())).collect()
    };
    wait_until_all_are_taken(&node, || receiver.taken());
    wait_until_all_are_taken(&node, || written(&file(&node)));
    // What comes twice was in flight when the node was killed: one batch a time.
    let log = logged(&node);
    for (taken, batch) in [(receiver.taken(), 4), (written(&file(&node)), 3)] {
        let repeats = taken.len() - taken.iter().collect::<BTreeSet<_>>().len();
        assert!(repeats <= 6 * batch, "{repeats} repeats");
        assert!(taken.iter().all(|one| log.contains(one)), "and nothing else came");
    }
}

#[test]
fn a_dead_consumer_keeps_no_mail_and_catches_up() {
    let sink = Sink::start();
    let port = free_port();
    let mut node = Node::idle("");
    let secret = with_secret(&node);
    let url = format!("http://127.0.0.1:{port}/hook?x=1");
    // Another one accepts connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_url = format!("http://{}/", silent.local_addr().unwrap());
    let exporters = hook("dead", &url, &secret, "") + &hook("silent", &silent_url, &secret, "");
    node.configure(&to_upstream(&sink.address.to_string(), &exporters));
    node.run(2);
    mail(&node, 30);
    node.wait_for_events(Kind::Delivered, 90);
    for name in ["dead", "silent"] {
        let failures = format!("relay_fast_exporter_failures_total{{exporter=\"{name}\"}}");
        wait_for("it is tried", || (node.metric(&failures) >= 1.0).then_some(()));
        let lag = format!("relay_fast_exporter_lag_seconds{{exporter=\"{name}\"}}");
        assert!(node.metric(&lag) > 0.0);
    }
    assert!(node.get("/healthz").0.starts_with("HTTP/1.1 200"));
    // A reload that names somebody else goes on where the dead one was.
    let receiver = Receiver::on(TcpListener::bind(("127.0.0.1", port)).unwrap(), "200 OK");
    node.configure(&to_upstream(
        &sink.address.to_string(),
        &hook("dead", &url, &secret, "batch = 9\n"),
    ));
    node.signal(Signal::HUP);
    wait_until_all_are_taken(&node, || receiver.taken());
    wait_for("the other is gone", || {
        (!node.get("/v1/exporters").1.contains("silent")).then_some(())
    });
}

#[test]
fn an_exporter_may_begin_with_what_is_new() {
    let (sink, receiver) = (Sink::start(), Receiver::start("200 OK"));
    let mut node = Node::to(sink.address, "");
    mail(&node, 2);
    node.wait_for_events(Kind::Delivered, 6);
    node.drain();
    let before = logged(&node);
    let secret = with_secret(&node);
    let exporter = hook("hook", &receiver.url(), &secret, "from = \"end\"\n");
    node.configure(&to_upstream(&sink.address.to_string(), &exporter));
    node.run(2);
    wait_for("its mark", || node.spool().join("exporters/hook.json").exists().then_some(()));
    mail(&node, 2);
    node.wait_for_events(Kind::Delivered, 12);
    let expected: BTreeSet<_> = logged(&node).difference(&before).copied().collect();
    wait_for("new events", || {
        (receiver.taken().into_iter().collect::<BTreeSet<_>>() == expected).then_some(())
    });
}

#[test]
fn secrets_that_are_none_refuse_the_start_and_the_check() {
    let mut node = Node::idle("");
    let secret = with_secret(&node);
    let config = to_upstream("127.0.0.1:9", &hook("hook", "http://127.0.0.1:9/", &secret, ""));
    node.configure(&config);
    let config = node.config_path();
    let check = || run(&["check", "--config", text(&config)]);
    assert!(!printed(&check()).contains("whsec_"));
    fs::write(&secret, "password\n").unwrap();
    let said = refusal(&check());
    assert!(said.contains("exporter `hook`: line 1 of its secret is not `whsec_`"), "{said}");
    fs::write(&secret, format!("whsec_{SECRET}")).unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o644)).unwrap();
    assert!(refusal(&check()).contains("can be read by everyone"));
}

#[test]
fn what_retention_takes_from_a_dead_consumer_is_told() {
    let (sink, receiver) = (Sink::start(), Receiver::start("503 Dead"));
    let node = calling(
        &sink,
        &receiver,
        "batch = 10\n[events]\nsize = \"1MiB\"\nfile_size = \"64KiB\"\nretention = \"1h\"\n",
    );
    let to: Vec<_> = (0..100).map(|one| format!("<r{one}@b.example>")).collect();
    let to: Vec<_> = to.iter().map(String::as_str).collect();
    wait_for("a try", || {
        send(node.listen[0], "<s@a.example>", &to, "first");
        (!receiver.calls().is_empty()).then_some(())
    });
    let mut seen = BTreeSet::new();
    wait_for("files that go", || {
        send(node.listen[0], "<s@a.example>", &to, "many");
        let files = fs::read_dir(node.spool().join("events")).unwrap();
        let files: BTreeSet<_> = files.map(|file| file.unwrap().file_name()).collect();
        seen.extend(files.iter().cloned());
        // More than what is read already, or open.
        (seen.len() >= files.len() + 8).then_some(())
    });
    receiver.answer("200 OK");
    wait_until_all_are_taken(&node, || receiver.taken());
    assert!(node.metric("relay_fast_exporter_gaps_total{exporter=\"hook\"}") >= 1.0);
    let told = node.wait_for_log("events are gone before they were read");
    assert!(told.contains("exporter=hook"), "{told}");
}
