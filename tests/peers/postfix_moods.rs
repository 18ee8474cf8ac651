//! A Postfix that is not pleased: refusals at every stage, and limits.

use serde_json::{Value, json};

use super::mail::transaction;
use super::network::Network;
use super::node::Node;
use super::postfix::Postfix;
use super::process::until;
use super::python::{self, read_dsn, talk};

const CONFIG: &str = "\
default_route = \"postfix\"
[[listener]]
address = \"127.0.0.1:0\"
[[upstream]]
name = \"postfix\"
hosts = \"127.0.0.1:25\"
";

const SENDER: &str = "sender@mail.example";

/// A network, where all that these tests need is here.
fn network() -> Option<Network> {
    if python::is_here() { Network::own() } else { None }
}

/// Send one message to all of `to`.
fn send(network: &Network, node: &Node<'_>, to: &[&str], content: &str) {
    let mut steps = vec![json!(["ehlo", "client.example"])];
    steps.extend(transaction(SENDER, to, &[], content));
    let replies = talk(network, node.listener(0), &steps);
    assert_eq!(replies.last().unwrap().status(), (250, "2.0.0"), "{replies:?}");
}

/// The one DSN in the sender's mailbox.
fn dsn(postfix: &Postfix<'_>) -> Value {
    until("a DSN", || {
        let came = postfix.mailbox("sender");
        came.iter().find(|message| message.starts_with(b"Return-Path: <>\n")).map(|m| read_dsn(m))
    })
}

//= RFC 5321 §4.5.3.1.10, type=test
//# When the client attempts retransmission of those addresses that received 452 responses, at
//# least 100 of these will be able to fit in the SMTP server's recipients buffer.
#[test]
fn more_recipients_than_postfix_takes_at_once_go_in_several_transactions() {
    let Some(network) = network() else { return };
    let settings = "recipient_delimiter = +\nsmtpd_recipient_limit = 5";
    let Some(postfix) = Postfix::start(&network, settings) else { return };
    let node = Node::start(&network, CONFIG);
    let to: Vec<String> = (0..20).map(|n| format!("user+{n}@mail.example")).collect();
    send(&network, &node, &to.iter().map(String::as_str).collect::<Vec<_>>(), "\r\nx\r\n");
    // Long before any retry is due, and each of them once.
    until("20 copies", || (postfix.mailbox("user").len() >= 20).then_some(()));
    node.wait_until_empty();
    assert_eq!(postfix.mailbox("user").len(), 20);
    for recipient in &to {
        node.wait_for_event("delivered", recipient);
    }
    assert!(node.events().iter().all(|event| event["kind"] != "deferred"));
}

//= RFC 5321 §3.3, type=test
//# If the recipient is known not to be a deliverable address, the SMTP server returns a 550 reply
#[test]
fn one_transaction_may_end_in_two_ways() {
    let Some(network) = network() else { return };
    // With chunks, with DATA behind the recipients, and with one thing at a time.
    for discarded in ["", "chunking", "chunking, pipelining, enhancedstatuscodes"] {
        let settings = format!("smtpd_discard_ehlo_keywords = {discarded}");
        let Some(postfix) = Postfix::start(&network, &settings) else { return };
        let node = Node::start(&network, CONFIG);
        let to = ["first@mail.example", "user@mail.example", "last@mail.example"];
        send(&network, &node, &to, "Subject: x\r\n\r\n.x\r\n");
        postfix.wait_for("user", b"Subject: x\n\n.x\n");
        let dsn = dsn(&postfix);
        let about = dsn["recipients"].as_array().unwrap();
        let told: Vec<_> = about.iter().map(|one| &one["final-recipient"]).collect();
        assert_eq!(told, ["rfc822; first@mail.example", "rfc822; last@mail.example"]);
        assert!(about.iter().all(|one| one["status"] == "5.1.1"), "{dsn}");
        node.wait_until_empty();
        assert_eq!(postfix.mailbox("user").len(), 1);
    }
}

#[test]
fn content_that_postfix_refuses_bounces_for_all() {
    let Some(network) = network() else { return };
    let settings = "body_checks = regexp:{ { /forbidden/ REJECT No such words here } }";
    let Some(postfix) = Postfix::start(&network, settings) else { return };
    let node = Node::start(&network, CONFIG);
    let to = ["user@mail.example", "sender@mail.example"];
    send(&network, &node, &to, "Subject: x\r\n\r\na forbidden word\r\n");
    let dsn = dsn(&postfix);
    for (about, recipient) in dsn["recipients"].as_array().unwrap().iter().zip(to) {
        assert_eq!(about["final-recipient"], format!("rfc822; {recipient}"));
        assert_eq!(about["status"], "5.7.1");
        assert_eq!(about["diagnostic-code"], "smtp; 550 5.7.1 No such words here");
    }
    let event = node.wait_for_event("bounced", "user@mail.example");
    assert_eq!(event["stage"], "content");
    assert!(postfix.mailbox("user").is_empty());
}

#[test]
fn mail_that_postfix_puts_off_waits_and_says_why() {
    let Some(network) = network() else { return };
    let settings = "smtpd_sender_restrictions =\n\
        smtpd_recipient_restrictions = check_recipient_access inline:{ \
        { user@mail.example = 450 4.7.1 Greylisted, come back later } }";
    let Some(postfix) = Postfix::start(&network, settings) else { return };
    let node = Node::start(&network, CONFIG);
    send(&network, &node, &["user@mail.example", "sender@mail.example"], "\r\nx\r\n");
    let event = node.wait_for_event("deferred", "user@mail.example");
    assert_eq!((&event["code"], &event["status"]), (&json!(450), &json!("4.7.1")));
    node.wait_for_event("delivered", "sender@mail.example");
    let shown = node.ask(&["queue", "show", event["id"].as_str().unwrap()]);
    let last = "  last: [127.0.0.1]:25 said at RCPT: 450 4.7.1 <user@mail.example>: \
        Recipient address rejected: Greylisted, come back later\n";
    assert!(shown.contains(last), "{shown}");
    assert!(!shown.contains("sender@mail.example>:"), "only who waits: {shown}");
    assert_eq!(postfix.mailbox("sender").len(), 1);

    // An operator gives it up: no bounce for that.
    let removed = node.ask(&["queue", "remove", "--domain", "mail.example"]);
    assert_eq!(removed, "1 recipient removed\n");
    node.wait_until_empty();
    node.wait_for_event("removed", "user@mail.example");
    assert_eq!(postfix.mailbox("sender").len(), 1);
}
