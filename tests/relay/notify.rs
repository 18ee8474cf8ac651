//! Delivery status notifications as the client asked for them (RFC 3461, RFC 3464).

use relay_fast::outcome::event::Kind;

use crate::client::{Client, message, send};
use crate::node::{Node, SOON, to_upstream};
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

const WITH_TIMES: &[&str] = &["PIPELINING", "8BITMIME", "DSN", "DELIVERBY 5"];
const OFFERED: &str = "[[listener]]\naddress = \"127.0.0.1:0\"\ndeliver_by = \"offer\"\n";

/// A node whose second listener lets clients say by when.
fn with_times(sink: &Sink, more: &str) -> Node {
    let mut node = Node::idle("");
    node.configure(&to_upstream(&sink.address.to_string(), &format!("{OFFERED}{more}")));
    node.run(1);
    node
}

#[test]
fn what_is_left_of_a_time_goes_on_to_who_keeps_it_and_nobody_else() {
    let sink = Sink::with(WITH_TIMES, no_or_yes);
    let node = with_times(&sink, "");
    let mut client = Client::connect(node.listen[1]);
    assert!(client.say("EHLO client.example").text.contains("DELIVERBY"));
    client.send("<r@a.example> BY=3600;R", &["<r@b.example>"], &message("r"));
    client.send("<t@a.example> BY=-7;NT", &["<t@b.example>"], &message("t"));
    for wrong in ["BY=0;R", "BY=10", "BY=10;X", "BY=1;N BY=1;N", "BY"] {
        let reply = client.say(&format!("MAIL FROM:<r@a.example> {wrong}"));
        assert!([501, 555].contains(&reply.code), "{wrong}: {reply:?}");
    }
    let mail = sink.wait_for_mail_to("r@b.example").mail;
    let (seconds, mode) = mail.split_once("BY=").unwrap().1.split_once(';').unwrap();
    assert!((3_000..=3_600).contains(&seconds.parse::<i32>().unwrap()), "{mail}");
    assert!(mode.starts_with('R') && !mode.starts_with("RT"), "{mail}");
    let mail = sink.wait_for_mail_to("t@b.example").mail;
    assert!(mail.contains("BY=-") && mail.contains(";NT"), "{mail}");
    // Each step of what is traced is told.
    let dsn = sink.wait_for_mail_to("t@a.example").content;
    assert!(dsn.contains("Action: relayed") && dsn.contains("Deliver-By-Date: "), "{dsn}");
    let mut silent = Client::connect(node.listen[0]);
    assert!(!silent.say("EHLO client.example").text.contains("DELIVERBY"));
    assert_eq!(silent.say("MAIL FROM:<r@a.example> BY=9;N").code, 555);
    let taken = last_of_all(&node, &sink);
    assert!(!taken.iter().any(|one| one.is_for("r@a.example")), "nobody is told of r");
}

#[test]
fn who_does_not_keep_a_time_gets_nothing_that_is_to_be_returned() {
    let sink = Sink::with(WITHOUT_DSN, no_or_yes);
    let node = with_times(&sink, "");
    let mut client = Client::connect(node.listen[1]);
    client.send("<r@a.example> BY=3600;R", &["<r@b.example>"], &message("r"));
    client.send("<n@a.example> BY=3600;N", &["<n@b.example>"], &message("n"));
    let dsn = sink.wait_for_mail_to("r@a.example").content;
    assert!(dsn.contains("Action: failed") && dsn.contains("Status: 5.3.3"), "{dsn}");
    assert!(!sink.wait_for_mail_to("n@b.example").mail.contains("BY="));
    let dsn = sink.wait_for_mail_to("n@a.example").content;
    assert!(dsn.contains("Action: relayed"), "{dsn}");
    assert_eq!(sink.asked("r@b.example"), 0);
}

#[test]
fn what_is_late_is_returned_or_told_after_a_restart_too() {
    let sink = Sink::with(WITH_TIMES, |mailbox, _| {
        let later = mailbox.ends_with("@b.example");
        if later { "451 4.3.0 Later" } else { "250 2.1.5 Ok" }.to_owned()
    });
    let mut node = with_times(&sink, "[queue]\nretry_first = \"1h\"\n");
    let mut client = Client::connect(node.listen[1]);
    client.send("<r@a.example> BY=3;R", &["<r@b.example>"], &message("r"));
    client.send("<n@a.example> BY=3;N", &["<n@b.example>"], &message("n"));
    node.wait_for_events(Kind::Deferred, 2);
    node.kill();
    node.run(2);
    node.wait_until_recovered();
    let dsn = sink.wait_for_mail_to("r@a.example").content;
    assert!(dsn.contains("Action: failed") && dsn.contains("Status: 5.4.7"), "{dsn}");
    let dsn = sink.wait_for_mail_to("n@a.example").content;
    assert!(dsn.contains("Action: delayed") && dsn.contains("Will-Retry-Until: "), "{dsn}");
    sink.change(no_or_yes);
    node.ask(&["flush", "--all"]);
    sink.wait_for_mail_to("n@b.example");
    assert!(!sink.taken().iter().any(|one| one.is_for("r@b.example")));
}
