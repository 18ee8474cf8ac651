//! The relay's own checks, of messages that Python composes and sends.

use serde_json::{Value, json};

use super::mail::transaction;
use super::network::Network;
use super::node::Node;
use super::process::output;
use super::python::{self, Replied, script, talk};
use super::sink::{ALL, Sink};

/// A relay with two listeners: the first refuses what it finds, the second tells it.
fn relay_and_sink() -> Option<(Node<'static>, Sink)> {
    if !python::is_here() {
        return None;
    }
    let sink = Sink::start(&Network::Shared, &ALL);
    let config = format!(
        "default_route = \"sink\"\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\nchecks = \"reject\"\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\nchecks = \"log\"\n\
         [checks]\nrefuse_attachments = [\"exe\", \"JS\"]\n\
         [[upstream]]\nname = \"sink\"\nhosts = \"{}\"\n",
        sink.address()
    );
    Some((Node::start(&Network::Shared, &config), sink))
}

/// What is said to the end of this content.
fn send(node: &Node<'_>, listener: usize, to: &str, content: &str) -> Replied {
    let mut steps = vec![json!(["ehlo", "client.example"])];
    steps.extend(transaction("s@a.example", &[to], &[], content));
    talk(&Network::Shared, node.listener(listener), &steps).swap_remove(3)
}

/// A message with an attachment of each of these names.
fn composed(names: &[&str]) -> Vec<String> {
    let mut command = Network::Shared.command("python3");
    let made = output(command.arg(script("compose.py")).args(names), b"");
    let made: Value = serde_json::from_slice(&made).unwrap();
    serde_json::from_value(made).unwrap()
}

//= RFC 3463 §3.8, type=test
//# The sender is not authorized to send to the destination.
#[test]
fn attachments_are_refused_by_their_names_however_these_are_encoded() {
    let Some((node, sink)) = relay_and_sink() else { return };
    let long = format!("{}.exe", "ä very long name ".repeat(12));
    let names = ["a.exe", "b \"quoted\".EXE", "böse.js", long.as_str(), "in a message.exe"];
    let bad = composed(&names);
    assert!(bad[3].contains("filename*1*="), "the package cuts long names: {}", bad[3]);
    for (content, name) in bad.iter().zip(names) {
        let reply = send(&node, 0, "no@corp.example", content);
        assert_eq!(reply.status(), (550, "5.7.1"), "{name}: {reply:?}");
        let kind = if name.ends_with("js") { "type js" } else { "type exe" };
        assert!(reply.text.contains(kind), "{name}: {reply:?}");
    }
    let good = composed(&["a.exe.pdf", "böse.json", "exe"]);
    for (number, content) in good.iter().enumerate() {
        let to = format!("yes{number}@corp.example");
        let reply = send(&node, 0, &to, content);
        assert_eq!(reply.status(), (250, "2.0.0"), "{reply:?}");
        let came = String::from_utf8(sink.wait_for(&to).content()).unwrap();
        assert!(came.ends_with(content), "{came}");
    }
    let metrics = node.get("metrics").unwrap();
    let line = "relay_fast_checks_failed_total{check=\"attachment\"} 5\n";
    assert!(metrics.contains(line), "{metrics}");
    assert_eq!(sink.kept().len(), good.len());
}

#[test]
fn a_message_without_the_form_of_one_is_refused_or_told_of() {
    let Some((node, sink)) = relay_and_sink() else { return };
    let whole = "From: a@a.example\r\nDate: Mon, 23 Nov 2026 09:00:00 +0000\r\n\r\nhello\r\n";
    let twice = format!("From: b@b.example\r\n{whole}");
    for (content, found) in [
        (twice.as_str(), "more than one From:"),
        ("Subject: x\r\n\r\nhello\r\n", "From: is missing; Date: is missing"),
        (&format!("no field\r\n{whole}"), "a line of the header section is no field"),
    ] {
        let reply = send(&node, 0, "no@corp.example", content);
        assert_eq!(reply.status(), (550, "5.6.0"), "{reply:?}");
        assert!(reply.text.ends_with(found), "{reply:?}");
    }
    assert_eq!(send(&node, 0, "yes@corp.example", whole).code, 250);
    sink.wait_for("yes@corp.example");
    assert!(!node.log().contains("would refuse"), "{}", node.log());
    assert_eq!(send(&node, 1, "told@corp.example", &twice).code, 250);
    sink.wait_for("told@corp.example");
    let log = node.log();
    let line = log.lines().find(|line| line.contains("its checks would refuse")).expect(&log);
    assert!(line.contains("more than one From:") && line.contains("client=127.0.0.1"), "{line}");
    let metrics = node.get("metrics").unwrap();
    assert!(metrics.contains("relay_fast_checks_failed_total{check=\"form\"} 4\n"), "{metrics}");
}
