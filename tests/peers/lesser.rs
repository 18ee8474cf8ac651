//! Peers that offer less than the mail needs: nothing is converted behind the sender's back.

use serde_json::{Value, json};

use super::mail::transaction;
use super::network::Network;
use super::node::{HOSTNAME, Node};
use super::python::{self, read_dsn, talk};
use super::sink::{ALL, Kept, Sink, smtp_sink};

/// A relay that takes `there.example` to `peer`, and the sender's own mail to `back`.
fn relay(peer: &str, back: &Sink) -> Node<'static> {
    let config = format!(
        "default_route = \"peer\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
         [[upstream]]\nname = \"peer\"\nhosts = \"{peer}\"\n\
         [[upstream]]\nname = \"back\"\nhosts = \"{}\"\n\
         [[route]]\ndomains = [\"sender.example\"]\nto = \"back\"\n",
        back.address()
    );
    Node::start(&Network::Shared, &config)
}

fn send(node: &Node<'_>, to: &str, options: &[&str], content: &str) {
    let mut steps = vec![json!(["ehlo", "client.example"])];
    steps.extend(transaction("s@sender.example", &[to], options, content));
    let replies = talk(&Network::Shared, node.listener(0), &steps);
    assert_eq!(replies[3].status(), (250, "2.0.0"), "{replies:?}");
}

/// The DSN that came back, and what it says of its one recipient.
fn bounced(back: &Sink) -> (Kept, Value) {
    let kept = back.wait_for("s@sender.example");
    assert!(kept.mail.starts_with("MAIL FROM:<>"), "{}", kept.mail);
    let dsn = read_dsn(&kept.content());
    assert_eq!(dsn["recipients"].as_array().unwrap().len(), 1);
    (kept, dsn)
}

/// As the relay names a peer that has no name.
fn named(peer: &Sink) -> String {
    format!("[127.0.0.1]:{}", peer.address().port())
}

#[test]
fn a_peer_that_knows_no_ehlo_gets_plain_mail() {
    if !python::is_here() {
        return;
    }
    let back = Sink::start(&Network::Shared, &ALL);
    let folder = tempfile::tempdir().unwrap();
    let Some((_plain, address)) = smtp_sink(&["-e"], folder.path()) else { return };
    let node = relay(&address.to_string(), &back);
    send(&node, "r@there.example", &["SIZE=30"], "Subject: plain\r\n\r\nplain\r\n");
    let event = node.wait_for_event("delivered", "r@there.example");
    assert_eq!(event["peer"], format!("[127.0.0.1]:{}", address.port()), "{event}");
    assert!(back.kept().is_empty());
}

#[test]
fn a_peer_that_refuses_ehlo_is_greeted_with_helo() {
    if !python::is_here() {
        return;
    }
    let back = Sink::start(&Network::Shared, &ALL);
    let old = Sink::with(&Network::Shared, &["--no-ehlo"], &["127.0.0.1:0"]);
    let node = relay(&old.address().to_string(), &back);
    send(&node, "r@there.example", &[], "Subject: plain\r\n\r\n.plain\r\n");
    let kept = old.wait_for("r@there.example");
    assert_eq!(kept.hello, format!("HELO {HOSTNAME}"));
    assert_eq!(kept.mail, "MAIL FROM:<s@sender.example>");
    assert_eq!(kept.rcpt, ["RCPT TO:<r@there.example>"]);
    assert_eq!(kept.verbs, ["EHLO", "HELO", "MAIL", "RCPT", "DATA"]);
    assert!(!kept.pipelined, "{kept:?}");
    assert!(kept.content().ends_with(b"Subject: plain\r\n\r\n.plain\r\n"));
}

//= RFC 2920 §3.1, type=test
//# Once the client SMTP has confirmed that support exists for the pipelining extension, the client
//# SMTP may then elect to transmit groups of SMTP commands in batches
#[test]
fn a_peer_is_spoken_to_in_the_way_that_it_offers() {
    if !python::is_here() {
        return;
    }
    let back = Sink::start(&Network::Shared, &ALL);
    let cases: [(&[&str], &str, bool); 4] = [
        (&[], "DATA", false),
        (&["PIPELINING"], "DATA", true),
        (&["CHUNKING"], "BDAT", false),
        (&["PIPELINING", "CHUNKING"], "BDAT", true),
    ];
    for (offers, verb, pipelined) in cases {
        let peer = Sink::start(&Network::Shared, offers);
        let node = relay(&peer.address().to_string(), &back);
        send(&node, "r@there.example", &[], "Subject: plain\r\n\r\nplain\r\n");
        let kept = peer.wait_for("r@there.example");
        assert_eq!(kept.verbs.last().unwrap(), verb, "{offers:?}: {kept:?}");
        assert_eq!(kept.pipelined, pipelined, "{offers:?}: {kept:?}");
    }
}

#[test]
fn binary_content_goes_to_those_alone_who_take_it() {
    if !python::is_here() {
        return;
    }
    let back = Sink::start(&Network::Shared, &ALL);
    let takes = Sink::start(&Network::Shared, &[&ALL[..], &["BINARYMIME"]].concat());
    let content: String = (0..=255u8).map(char::from).collect();
    let content = format!("Subject: binary\r\n\r\n\n.\r\n{content}\r");
    for peer in [&takes, &back] {
        let node = relay(&peer.address().to_string(), &back);
        let steps = [
            json!(["ehlo", "client.example"]),
            json!(["mail", "s@sender.example", ["BODY=BINARYMIME"]]),
            json!(["rcpt", "r@there.example", []]),
            json!(["bdat", content, "LAST"]),
        ];
        let replies = talk(&Network::Shared, node.listener(0), &steps);
        assert_eq!(replies[3].status(), (250, "2.0.0"), "{replies:?}");
        node.wait_until_empty();
    }
    let kept = takes.wait_for("r@there.example");
    let octets: Vec<u8> = content.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    assert!(kept.content().ends_with(&octets) && kept.mail.contains("BODY=BINARYMIME"), "{kept:?}");
    assert_eq!(back.kept().len(), 1);
    let (_, dsn) = bounced(&back);
    assert_eq!(dsn["recipients"][0]["status"], "5.6.3");
}

//= RFC 6152 §3, type=test
//# then the client SMTP must not, under any circumstances, attempt to transfer a content that
//# contains characters outside of the US-ASCII octet range
#[test]
fn eight_bit_content_is_not_sent_to_a_seven_bit_peer() {
    if !python::is_here() {
        return;
    }
    let back = Sink::start(&Network::Shared, &ALL);
    let folder = tempfile::tempdir().unwrap();
    // smtp-sink without 8BITMIME and PIPELINING.
    let Some((_seven, address)) = smtp_sink(&["-8", "-p"], folder.path()) else { return };
    let node = relay(&address.to_string(), &back);
    let content = "Subject: wide\r\n\r\n\u{c3}\u{a9}\r\n";
    send(&node, "r@there.example", &["BODY=8BITMIME"], content);
    let (_, dsn) = bounced(&back);
    let about = &dsn["recipients"][0];
    assert_eq!(about["final-recipient"], "rfc822; r@there.example");
    assert_eq!((&about["action"], &about["status"]), (&json!("failed"), &json!("5.6.3")));
    // Without 8-bit content it goes.
    send(&node, "s@there.example", &["BODY=8BITMIME"], "Subject: narrow\r\n\r\ne\r\n");
    node.wait_for_event("delivered", "s@there.example");
}

#[test]
fn wide_addresses_are_not_sent_to_a_peer_without_smtputf8() {
    if !python::is_here() {
        return;
    }
    let back = Sink::start(&Network::Shared, &ALL);
    let narrow = Sink::start(&Network::Shared, &["PIPELINING", "8BITMIME"]);
    let node = relay(&narrow.address().to_string(), &back);
    let to = "δοκιμή@there.example";
    send(&node, to, &["SMTPUTF8"], "Subject: wide\r\n\r\nwide\r\n");
    let (kept, dsn) = bounced(&back);
    let about = &dsn["recipients"][0];
    // RFC 6533 §3: the form for addresses that the plain one cannot say.
    assert_eq!(dsn["status_type"], "message/global-delivery-status");
    assert_eq!(about["final-recipient"], format!("utf-8; {to}"));
    assert_eq!((&about["action"], &about["status"]), (&json!("failed"), &json!("5.6.7")));
    assert!(kept.mail.contains(" SMTPUTF8"), "{}", kept.mail);
    assert!(narrow.kept().is_empty());
}

#[test]
fn what_is_too_big_for_a_peer_is_not_sent_there() {
    if !python::is_here() {
        return;
    }
    let back = Sink::start(&Network::Shared, &ALL);
    let small = Sink::start(&Network::Shared, &["PIPELINING", "SIZE 4096"]);
    let node = relay(&small.address().to_string(), &back);
    let content = format!("Subject: big\r\n\r\n{}", "0123456789\r\n".repeat(1_000));
    send(&node, "r@there.example", &[], &content);
    let (_, dsn) = bounced(&back);
    assert_eq!(dsn["recipients"][0]["status"], "5.3.4");
    let words: Vec<_> = dsn["text"].as_str().unwrap().split_whitespace().collect();
    let expected = format!("{}: takes at most 4096 octets, and this message", named(&small));
    assert!(words.join(" ").contains(&expected), "{words:?}");
    assert!(small.kept().is_empty());
}
