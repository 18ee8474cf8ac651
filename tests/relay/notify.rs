//! Delivery status notifications as the client asked for them (RFC 3461, RFC 3464).

use relay_fast::outcome::event::Kind;

use crate::client::{Client, message, send};
use crate::node::{Node, SOON};
use crate::sink::{Sink, Taken};

/// 550 for `no@…`, else 250.
fn no_or_yes(mailbox: &str, _nth: usize) -> String {
    if mailbox.starts_with("no@") { "550 5.1.1 Not here".into() } else { "250 Ok".into() }
}

const WITHOUT_DSN: &[&str] = &["PIPELINING", "8BITMIME"];

/// Ends a test that counts DSNs: by then those before it have arrived.
fn last_of_all(node: &Node, sink: &Sink) -> Vec<Taken> {
    send(node.listen[0], "<last@a.example>", &["<no@b.example>"], "last");
    sink.wait_for_mail_to("last@a.example");
    sink.taken()
}

//= RFC 3461 §4.1, type=test
//# NEVER […] requests that a DSN not be returned to the sender under any
//# conditions.
#[test]
fn notify_decides_who_is_told_of_what() {
    let sink = Sink::with(WITHOUT_DSN, no_or_yes);
    let node = Node::to(sink.address, SOON);
    let mut client = Client::connect(node.listen[0]);
    let cases = [
        ("never", "<no@b.example> NOTIFY=NEVER", None),
        ("success", "<yes@b.example> NOTIFY=SUCCESS", Some("Action: relayed")),
        ("onlysuccess", "<no@b.example> NOTIFY=SUCCESS", None),
        ("failure", "<no@b.example> NOTIFY=FAILURE", Some("Action: failed")),
        ("delay", "<no@b.example> NOTIFY=DELAY", None),
        ("unsaid", "<no@b.example>", Some("Action: failed")),
        ("quiet", "<yes@b.example>", None),
    ];
    for (sender, to, _) in cases {
        client.send(&format!("<{sender}@a.example>"), &[to], &message("x"));
    }
    for (sender, _, action) in cases {
        if let Some(action) = action {
            let dsn = sink.wait_for_mail_to(&format!("{sender}@a.example"));
            assert!(dsn.content.contains(action), "{sender}: {}", dsn.content);
        }
    }
    let taken = last_of_all(&node, &sink);
    for (sender, _, action) in cases {
        let path = format!("{sender}@a.example");
        let count = taken.iter().filter(|one| one.is_for(&path)).count();
        assert_eq!(count, usize::from(action.is_some()), "{sender}");
    }
}

//= RFC 3461 §4.3, type=test
//# If the RET parameter is […] HDRS […] only the headers of the message
//# should be returned
#[test]
fn ret_envid_and_orcpt_come_back() {
    let sink = Sink::with(WITHOUT_DSN, no_or_yes);
    let node = Node::to(sink.address, "");
    let mut client = Client::connect(node.listen[0]);
    let to = ["<no@b.example> ORCPT=rfc822;first+2Bname@b.example"];
    client.send("<headers@a.example> RET=HDRS ENVID=QQ+2B314159", &to, &message("mine"));
    client.send("<full@a.example> RET=FULL", &to, &message("mine"));
    let headers = sink.wait_for_mail_to("headers@a.example").content;
    assert!(headers.contains("Original-Envelope-Id: QQ+314159"), "{headers}");
    assert!(headers.contains("Original-Recipient: rfc822; first+name@b.example"), "{headers}");
    assert!(headers.contains("Final-Recipient: rfc822;"), "{headers}");
    assert!(headers.contains("text/rfc822-headers") && !headers.contains("Hello."), "{headers}");
    let full = sink.wait_for_mail_to("full@a.example").content;
    assert!(full.contains("message/rfc822\r\n") && full.contains("Hello."), "{full}");
    for dsn in [&headers, &full] {
        for words in [
            "report-type=delivery-status",
            "Status: 5.1.1",
            "Diagnostic-Code: smtp; 550 5.1.1 Not here",
            "Reporting-MTA: dns; node.example",
            "Subject: mine",
        ] {
            assert!(dsn.contains(words), "{words}: {dsn}");
        }
    }
}

//= RFC 3461 §5.2.1, type=test
//# if the NOTIFY parameter was supplied […] when the message was
//# received, a NOTIFY […] parameter with the same […] MUST also be supplied
#[test]
fn to_a_peer_with_dsn_the_wishes_are_passed_on() {
    let sink = Sink::by(no_or_yes);
    let node = Node::to(sink.address, "");
    let mut client = Client::connect(node.listen[0]);
    let to = ["<yes@b.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;y@c.example"];
    client.send("<a@a.example> RET=HDRS ENVID=id1", &to, &message("passed on"));
    let taken = sink.wait_for_mail_to("yes@b.example");
    assert!(taken.mail.contains("RET=HDRS") && taken.mail.contains("ENVID=id1"), "{taken:?}");
    assert!(taken.rcpt[0].contains("NOTIFY=SUCCESS,DELAY"), "{taken:?}");
    assert!(taken.rcpt[0].contains("ORCPT=rfc822;y@c.example"), "{taken:?}");
    node.wait_for_events(Kind::Delivered, 1);
    let taken = last_of_all(&node, &sink);
    assert!(taken.iter().all(|one| !one.is_for("a@a.example")), "the peer tells, not this node");
}

//= RFC 3464 §2, type=test
//# A DSN MUST NOT be returned […] if the envelope return address was NULL
#[test]
fn nobody_is_told_of_a_dsn_that_cannot_be_delivered() {
    let sink = Sink::by(|_, _| "550 5.1.1 Nobody here at all".to_owned());
    let node = Node::to(sink.address, "");
    send(node.listen[0], "<>", &["<no@b.example>"], "a dsn itself");
    send(node.listen[0], "<gone@a.example>", &["<no@b.example>"], "to one who is gone");
    node.wait_for_events(Kind::Bounced, 3);
    crate::node::wait_for("an empty queue", || (node.stat("recipients") == 0).then_some(()));
    let events = node.events();
    let received: Vec<_> = events.iter().filter(|event| event.kind == Kind::Received).collect();
    assert_eq!(received.len(), 3, "two messages and one DSN");
    assert_eq!(received.iter().filter(|event| event.reverse_path.is_empty()).count(), 2);
    assert_eq!(node.metric("relay_fast_dsns_total{action=\"failed\"}"), 1.0);
}
