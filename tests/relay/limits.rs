//! Each limit that a file sets holds for clients, and has its own reply.

use crate::client::{Client, Reply, message};
use crate::node::{Node, to_upstream};
use crate::sink::Sink;

/// A reply's code and enhanced status.
fn said(reply: &Reply) -> (u16, &str) {
    (reply.code, reply.text.split(' ').next().unwrap())
}

fn node_with(sink: &Sink, listener: &str, more: &str) -> Node {
    let config = to_upstream(&sink.address.to_string(), more);
    let address = "address = \"127.0.0.1:0\"\n";
    Node::start(&config.replace(address, &format!("{address}{listener}\n")))
}

//= RFC 1870 §6.1, type=test
//# 552 message size exceeds fixed maximum message size
#[test]
fn a_message_over_the_limit_is_refused_at_mail_and_while_it_comes() {
    let sink = Sink::start();
    let node = node_with(&sink, "message_size = \"64KiB\"", "");
    let mut client = Client::connect(node.listen[0]);
    assert!(client.say("EHLO client.example").text.contains("SIZE 65536"));
    let declared = client.say("MAIL FROM:<a@a.example> SIZE=65537");
    assert_eq!(said(&declared), (552, "5.3.4"), "{declared:?}");
    assert_eq!(client.envelope("<a@a.example>", &["<b@b.example>"]), [250, 250]);
    let lines = "0123456789\r\n".repeat(6_000);
    let undeclared = client.content(&lines).unwrap();
    assert_eq!(said(&undeclared), (552, "5.3.4"), "{undeclared:?}");
    client.send("<a@a.example>", &["<b@b.example>"], &message("fits"));
    assert_eq!(sink.wait(1)[0].subject(), "fits");
}

#[test]
fn recipients_errors_and_sessions_are_bounded() {
    let sink = Sink::start();
    let limits = "[limits]\nrecipients = 100\nerrors = 3\nsessions_per_address = 2\n";
    let mut node = Node::idle(&to_upstream(&sink.address.to_string(), limits));
    // The bound on sessions is a shard's: one shard knows of all.
    node.run(1);
    let mut first = Client::connect(node.listen[0]);
    assert_eq!(first.say("MAIL FROM:<a@a.example>").code, 250);
    for n in 0..100 {
        assert_eq!(first.say(&format!("RCPT TO:<r{n}@b.example>")).code, 250);
    }
    let too_many = first.say("RCPT TO:<more@b.example>");
    assert_eq!(said(&too_many), (452, "4.5.3"), "{too_many:?}");
    first.say("RSET");
    let mut second = Client::connect(node.listen[0]);
    let third = Client::greeting(node.listen[0]);
    assert_eq!(said(&third), (421, "4.7.0"), "{third:?}");
    let last = (0..10).map(|_| second.say("NONSENSE")).find(|reply| reply.code != 500);
    assert_eq!(last.map(|reply| reply.code), Some(421), "errors are counted");
    assert!(second.try_reply().is_none(), "and end the session");
    first.send("<a@a.example>", &["<b@b.example>"], &message("still here"));
    assert_eq!(sink.wait(1)[0].subject(), "still here");
}

#[test]
fn line_endings_are_strict_unless_the_listener_says_otherwise() {
    let sink = Sink::start();
    let strict = node_with(&sink, "", "");
    let normal = node_with(&sink, "line_endings = \"normalize\"", "");
    let bare = "Subject: bare\r\n\r\none\ntwo";
    let mut client = Client::connect(strict.listen[0]);
    client.envelope("<a@a.example>", &["<b@b.example>"]);
    let refused = client.content(bare).unwrap();
    assert!((500..600).contains(&refused.code), "{refused:?}");
    Client::connect(normal.listen[0]).send("<a@a.example>", &["<b@b.example>"], bare);
    let taken = sink.wait(1);
    assert!(taken[0].content.ends_with("one\r\ntwo\r\n"), "{:?}", taken[0]);
    assert_eq!(taken.len(), 1);
}
