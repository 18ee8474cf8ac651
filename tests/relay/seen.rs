//! What an operator's tools see: metrics, health, the event log, the report.

use std::collections::{BTreeMap, BTreeSet};

use relay_fast::outcome::event::Kind;

use crate::client::{Client, message};
use crate::node::{Node, SOON, wait_for};
use crate::sink::Sink;

/// One of ten is refused for good, one of ten deferred once.
fn mixed(mailbox: &str, nth: usize) -> String {
    let number: usize = mailbox[1..].split('@').next().unwrap().parse().unwrap_or(5);
    match number % 10 {
        0 => "550 5.1.1 No such user".to_owned(),
        1 if nth == 1 => "450 4.2.2 Full".to_owned(),
        _ => "250 2.1.5 Ok".to_owned(),
    }
}

/// A node through which 100 recipients of three domains have gone, 10 bounced and 10 deferred once.
/// The null reverse-path: no DSNs disturb the count.
fn with_traffic() -> (Node, Sink) {
    let sink = Sink::by(mixed);
    let node = Node::to(sink.address, SOON);
    let mut client = Client::connect(node.listen[0]);
    for n in 0..50 {
        let to = [2 * n, 2 * n + 1].map(|n| format!("<r{n}@d{}.example>", n / 10 % 3));
        client.send("<>", &[&to[0], &to[1]], &message("traffic"));
    }
    wait_for("an empty queue", || (node.stat("recipients") == 0).then_some(()));
    (node, sink)
}

/// A series as Prometheus reads it: name, labels, value.
fn series(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let (name, value) = line.rsplit_once(' ').expect(line);
    let (name, labels) = match name.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}').expect(line)),
        None => (name, ""),
    };
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    assert!(name.chars().all(letters) && !name.starts_with(|c: char| c.is_ascii_digit()), "{line}");
    let label = |text: &str| {
        let (key, value) = text.split_once('=').expect(line);
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).expect(line);
        (key.to_owned(), value.to_owned())
    };
    let labels = labels.split(',').filter(|label| !label.is_empty()).map(label).collect();
    (name.to_owned(), labels, value.parse().expect(line))
}

#[test]
fn metrics_are_prometheus_text_and_true() {
    let (node, sink) = with_traffic();
    let (head, body) = node.get("/metrics");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.to_lowercase().contains("content-type: text/plain; version=0.0.4"), "{head}");
    assert!(body.ends_with('\n'));
    let (mut types, mut helped) = (BTreeMap::new(), BTreeSet::new());
    let mut seen = BTreeSet::new();
    for line in body.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            assert!(helped.insert(help.split(' ').next().unwrap().to_owned()), "twice: {line}");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert!(helped.contains(name), "help comes first: {line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "twice: {line}");
        } else {
            let (name, labels, value) = series(line);
            let base = ["_bucket", "_sum", "_count"].into_iter().find_map(|end| {
                let base = name.strip_suffix(end)?;
                (types.get(base).map(String::as_str) == Some("histogram")).then_some(base)
            });
            assert!(types.contains_key(base.unwrap_or(&name)), "its type comes first: {line}");
            assert!(value >= 0.0 && seen.insert((name, labels)), "{line}");
        }
    }
    histograms_add_up(&body, &types);
    let outcome =
        |name| node.metric(&format!("relay_fast_recipient_outcomes_total{{outcome=\"{name}\"}}"));
    assert_eq!((outcome("delivered"), outcome("bounced"), outcome("deferred")), (90.0, 10.0, 10.0));
    assert_eq!(node.metric("relay_fast_messages_received_total"), 50.0);
    assert_eq!(node.metric("relay_fast_recipients_received_total"), 100.0);
    assert_eq!(node.metric("relay_fast_delivery_seconds_count"), 90.0);
    // Each message's way to its 250, and the groups that the messages were synced in.
    assert_eq!(node.metric("relay_fast_accept_seconds_count"), 50.0);
    assert_eq!(node.metric("relay_fast_spool_group_messages_sum"), 50.0);
    let value = |name: &str| {
        let line = body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.expect(name).parse::<f64>().unwrap()
    };
    let synced = value("relay_fast_spool_commits_total{result=\"synced\"}");
    assert_eq!(value("relay_fast_spool_group_bytes_count"), synced);
    // Written ones are counted as their write begins.
    let written = value("relay_fast_spool_written_bytes_total");
    assert!((1.0..=written).contains(&value("relay_fast_spool_group_bytes_sum")));
    let delivered: usize = sink.taken().iter().map(|one| one.rcpt.len()).sum();
    assert_eq!(delivered, 90);
    for state in ["ready", "deferred", "held"] {
        assert_eq!(node.metric(&format!("relay_fast_queue_recipients{{state=\"{state}\"}}")), 0.0);
    }
}

/// Buckets grow to +Inf, which is the count.
fn histograms_add_up(body: &str, types: &BTreeMap<String, String>) {
    let names: Vec<_> = types.iter().filter(|(_, kind)| *kind == "histogram").collect();
    assert!(names.len() >= 5, "{names:?}");
    for (name, _) in names {
        let prefix = format!("{name}_bucket{{");
        let all: Vec<_> = body.lines().filter(|l| l.starts_with(&prefix)).map(series).collect();
        let bound = |labels: &BTreeMap<String, String>| labels["le"].replace("+Inf", "inf");
        let bounds: Vec<f64> = all.iter().map(|(_, l, _)| bound(l).parse().unwrap()).collect();
        assert!(bounds.is_sorted() && bounds.last() == Some(&f64::INFINITY), "{name}: {bounds:?}");
        assert!(all.is_sorted_by(|a, b| a.2 <= b.2), "{name}");
        let count = body.lines().find_map(|line| line.strip_prefix(&format!("{name}_count ")));
        assert_eq!(count.unwrap().parse::<f64>().unwrap(), all.last().unwrap().2, "{name}");
    }
}

#[test]
fn healthz_says_ok_and_unknown_paths_are_refused() {
    let node = Node::to("127.0.0.1:9".parse().unwrap(), "");
    let (head, body) = wait_for("the spool is open", || {
        let answer = node.get("/healthz");
        answer.0.starts_with("HTTP/1.1 200").then_some(answer)
    });
    assert_eq!(body, "ok\n", "{head}");
    assert!(node.get("/nothing").0.starts_with("HTTP/1.1 404"));
    assert!(node.get("/v1/queue/remove").0.starts_with("HTTP/1.1 405"), "a GET changes nothing");
}

#[test]
fn each_event_is_a_line_and_none_is_missing() {
    let (node, sink) = with_traffic();
    let events = node.wait_for_events(Kind::Delivered, 90);
    let count = |kind: Kind| events.iter().filter(|event| event.kind == kind).count();
    let counts = [Kind::Received, Kind::Delivered, Kind::Deferred, Kind::Bounced].map(count);
    assert_eq!(counts, [100, 90, 10, 10]);
    assert_eq!(events.len(), 210);
    assert_eq!(node.metric("relay_fast_events_total"), 210.0);
    let (mut next, mut accepted) = (BTreeMap::new(), 0);
    for event in &events {
        let next = next.entry(event.shard).or_insert(event.sequence);
        assert_eq!(event.sequence, *next, "no hole: {event:?}");
        *next += 1;
        assert_eq!(event.recipient.split_once('@').unwrap().1, event.domain);
        assert!(event.size > 0 && event.reverse_path.is_empty());
        let is_first = event.kind == Kind::Received && event.accept.is_some();
        accepted += usize::from(is_first);
    }
    assert_eq!(accepted, 50, "once a message");
    let peer = format!("127.0.0.1:{}", sink.address.port());
    let tried = |kind: Kind| matches!(kind, Kind::Delivered | Kind::Deferred | Kind::Bounced);
    for event in events.iter().filter(|event| tried(event.kind)) {
        assert_eq!((&*event.upstream, &*event.site), (peer.as_str(), peer.as_str()));
        assert!(event.peer.ends_with(&format!(":{}", sink.address.port())), "{event:?}");
        let (code, status, reply) = match event.kind {
            Kind::Delivered => (250, "2.0.0", "Taken"),
            Kind::Deferred => (450, "4.2.2", "Full"),
            _ => (550, "5.1.1", "No such user"),
        };
        let said = (event.code, event.status.map(|status| status.to_string()), &*event.reply);
        assert_eq!(said, (Some(code), Some(status.to_owned()), reply));
        assert_eq!(event.next_attempt.is_some(), event.kind == Kind::Deferred);
        let delays = event.delays.expect("the four stage delays");
        let waited = event.attempt == 2;
        assert_eq!(delays.in_queue.as_millis() >= 900, waited, "a second between two attempts");
    }
}

#[test]
fn the_report_agrees_with_what_the_sink_saw() {
    let (node, sink) = with_traffic();
    node.wait_for_events(Kind::Delivered, 90);
    let report = node.report();
    assert!(report.starts_with("100 recipients received;"), "{report}");
    let row = |name: &str| -> Vec<String> {
        let line = report.lines().find(|line| line.starts_with(name)).expect(name);
        line.split_whitespace().skip(1).map(str::to_owned).collect()
    };
    assert!(report.lines().next().is_some_and(|line| line.contains("to 250: median ")));
    // Recipients, delivered, deferred, bounced.
    assert_eq!(row("all")[..4], ["100", "90.0%", "9.1%", "10.0%"], "{report}");
    assert_eq!(row(&sink.address.to_string())[..4], ["100", "90.0%", "9.1%", "10.0%"], "{report}");
    for (domain, ended) in [("d0.example", 40), ("d1.example", 30), ("d2.example", 30)] {
        let taken = sink.taken();
        let at_domain = |rcpt: &&String| rcpt.contains(&format!("@{domain}>"));
        let delivered = taken.iter().flat_map(|one| &one.rcpt).filter(at_domain).count();
        let cells = row(domain);
        assert_eq!(cells[0], ended.to_string(), "{report}");
        let share = format!("{:.1}%", delivered as f64 * 100.0 / f64::from(ended));
        assert_eq!(cells[1], share, "{report}");
        assert!(["ms", "s"].contains(&cells[5].as_str()), "a median: {report}");
    }
    let none = crate::node::printed(&crate::node::run(&[
        "report",
        "--since",
        "1ms",
        "--spool",
        node.spool().to_str().unwrap(),
    ]));
    assert!(none.starts_with("0 recipients received;"), "{none}");
    let wrong = crate::node::run(&["report", "--since", "1 fortnight"]);
    assert!(crate::node::refusal(&wrong).contains("--since"), "{wrong:?}");
}

#[test]
fn delays_tell_where_the_time_went() {
    let sink = Sink::start();
    let node = Node::to(sink.address, "");
    let pause = std::time::Duration::from_millis(300);
    let mut client = Client::connect(node.listen[0]);
    assert_eq!(client.envelope("<a@a.example>", &["<b@b.example>"]), [250, 250]);
    std::thread::sleep(pause);
    sink.hold();
    assert_eq!(client.content(&message("slow")).unwrap().code, 250);
    wait_for("it is with the sink", || (sink.asked("b@b.example") == 1).then_some(()));
    std::thread::sleep(pause);
    sink.let_go();
    let events = node.wait_for_events(Kind::Delivered, 1);
    let delivered = events.iter().find(|event| event.kind == Kind::Delivered).unwrap();
    let delays = delivered.delays.unwrap();
    assert!(delays.before_queue >= pause, "the client was slow: {delays:?}");
    assert!(delays.transmit >= pause / 2, "the sink was slow: {delays:?}");
    let received = events.iter().find(|event| event.kind == Kind::Received).unwrap();
    let between = delivered.time.since(received.time);
    assert!(delays.total() >= delays.before_queue + between / 2, "{delays:?}, {between:?}");
}
