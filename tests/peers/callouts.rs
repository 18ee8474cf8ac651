//! Servers behind that are asked about recipients: Postfix with its maps, and a sink.

use serde_json::{Value, json};

use super::certificates::Authority;
use super::mail::{message, transaction};
use super::network::Network;
use super::node::Node;
use super::postfix::Postfix;
use super::process::until;
use super::python::{self, Replied, talk};
use super::sink::Sink;

/// A relay for strangers in front of `hosts`, with more lines for its upstream.
fn config(hosts: &str, upstream: &str, domain: &str, more: &str) -> String {
    format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\nrelay_for = [\"192.0.2.1\"]\n\
         [[upstream]]\nname = \"behind\"\nhosts = \"{hosts}\"\n{upstream}\
         [[relay_domain]]\ndomains = [\"{domain}\"]\nupstream = \"behind\"\n\
         recipients = \"callout\"\n{more}"
    )
}

/// A network, where all that these tests need is here.
fn network() -> Option<Network> {
    if python::is_here() { Network::own() } else { None }
}

/// What comes of RCPT for each of these, in one transaction that goes no further.
fn rcpt(network: &Network, node: &Node<'_>, to: &[&str]) -> Vec<Replied> {
    let mut steps = vec![json!(["ehlo", "client.example"]), json!(["mail", "a@far.example", []])];
    steps.extend(to.iter().map(|to| json!(["rcpt", to, []])));
    talk(network, node.listener(0), &steps).split_off(2)
}

/// Send one message that must be taken.
fn send(network: &Network, node: &Node<'_>, to: &str, content: &str) {
    let mut steps: Vec<Value> = vec![json!(["ehlo", "client.example"])];
    steps.extend(transaction("sender@mail.example", &[to], &[], content));
    let replies = talk(network, node.listener(0), &steps);
    assert!(replies.iter().all(|reply| reply.code < 400), "{replies:?}");
}

fn text(replies: &[Replied]) -> Vec<String> {
    replies.iter().map(|reply| format!("{} {}", reply.code, reply.text)).collect()
}

/// Postfix slows down and then hangs up on who makes too many errors in one session: these are
/// more than it takes in one (smtpd_hard_error_limit).
#[test]
fn whom_postfix_has_no_mailbox_for_is_refused_at_rcpt_and_nothing_leaves() {
    let Some(network) = network() else { return };
    let Some(postfix) = Postfix::start(&network, "") else { return };
    let node = Node::start(&network, &config("127.0.0.1:25", "", "mail.example", ""));
    let guesses: Vec<String> = (0..15).map(|n| format!("guess{n}@mail.example")).collect();
    let mut to = vec!["user@mail.example", "nobody@mail.example", "Postmaster@mail.example"];
    to.extend(guesses.iter().map(String::as_str));
    let replies = rcpt(&network, &node, &to);
    let words = "Recipient address rejected: User unknown in virtual mailbox table";
    let expected: Vec<String> = to
        .iter()
        .enumerate()
        .map(|(place, to)| match place {
            0 | 2 => "250 2.1.5 Recipient ok".to_owned(),
            _ => format!("550 5.1.1 The server behind says: <{to}>: {words}"),
        })
        .collect();
    assert_eq!(text(&replies), expected);

    let content = message("sender@mail.example", "user@mail.example", "for one who is there\r\n");
    send(&network, &node, "user@mail.example", &content);
    postfix.wait_for("user", content.as_bytes());
    node.wait_until_empty();
    assert_eq!(postfix.mailbox("sender").len(), 0, "nothing bounced");
    let metrics = node.get("metrics").unwrap();
    let unknown = "relay_fast_unknown_recipients_total{by=\"callout\"} 16";
    assert!(metrics.contains(unknown), "{metrics}");
}

//= RFC 3207 §4, type=test
//# the SMTP client MUST issue STARTTLS … before any mail transaction where the server wants it
#[test]
fn postfix_that_relays_on_is_asked_through_tls_by_its_relay_recipient_maps() {
    let Some(network) = network() else { return };
    let authority = Authority::new("an authority");
    authority.write("behind", &["127.0.0.1"]);
    let settings = format!(
        "relay_domains = corp.example\n\
         relay_recipient_maps = inline:{{ {{ jane@corp.example = x }} }}\n\
         smtpd_tls_security_level = encrypt\n\
         smtpd_tls_cert_file = {}\nsmtpd_tls_key_file = {}",
        authority.path("behind.pem"),
        authority.path("behind.key"),
    );
    let Some(_postfix) = Postfix::start(&network, &settings) else { return };
    let words = "Recipient address rejected: User unknown in relay recipient table";
    let expected = [
        "250 2.1.5 Recipient ok".to_owned(),
        format!("550 5.1.1 The server behind says: <joe@corp.example>: {words}"),
        "250 2.1.5 Recipient ok".to_owned(),
    ];
    for (upstream, more) in [
        ("", String::new()),
        ("tls = \"verify\"\n", format!("[tls]\nca = {:?}\n", authority.file())),
    ] {
        let node = Node::start(&network, &config("127.0.0.1:25", upstream, "corp.example", &more));
        // Postfix folds the case of what its maps are asked for.
        let to = ["jane@corp.example", "joe@corp.example", "Jane@Corp.Example"];
        assert_eq!(text(&rcpt(&network, &node, &to)), expected, "{upstream}");
        let metrics = node.get("metrics").unwrap();
        let handshakes = "relay_fast_tls_handshakes_total{side=\"out\",result=\"full\"} ";
        assert!(!metrics.contains(&format!("{handshakes}0\n")), "{metrics}");
    }
}

#[test]
fn what_was_taken_while_postfix_was_down_is_delivered_once_it_is_up() {
    let Some(network) = network() else { return };
    let more = "[queue]\nretry_first = \"1s\"\nretry_longest = \"1s\"\n";
    let node = Node::start(&network, &config("127.0.0.1:25", "", "mail.example", more));
    let content = message("sender@mail.example", "user@mail.example", "taken meanwhile\r\n");
    send(&network, &node, "user@mail.example", &content);
    let Some(postfix) = Postfix::start(&network, "") else { return };
    postfix.wait_for("user", content.as_bytes());
    // And whoever comes next is asked about.
    let mut number = 0;
    until("Postfix is asked", || {
        number += 1;
        let replies = rcpt(&network, &node, &[&format!("guess{number}@mail.example")]);
        (replies[0].code == 550).then_some(())
    });
}

#[test]
fn a_sink_is_asked_about_recipients_and_sees_no_message_for_who_is_unknown() {
    if !python::is_here() {
        return;
    }
    let network = Network::Shared;
    // As usual; without extensions; and one that offers TLS and then does not speak it.
    for options in [&["--offer", "PIPELINING"][..], &["--no-ehlo"], &["--starttls", "220 go on"]] {
        let sink = Sink::with(&network, options, &["127.0.0.1:0"]);
        let hosts = sink.address().to_string();
        let node = Node::start(&network, &config(&hosts, "", "mail.example", ""));
        let replies = rcpt(&network, &node, &["unknown@mail.example", "user@mail.example"]);
        let expected =
            ["550 5.1.1 The server behind says: no such mailbox here", "250 2.1.5 Recipient ok"];
        assert_eq!(text(&replies), expected);
        send(&network, &node, "user@mail.example", "Subject: one\r\n\r\n");
        let kept = sink.wait_for("user@mail.example");
        assert_eq!(kept.rcpt.len(), 1);
        node.wait_until_empty();
        assert_eq!(sink.kept().len(), 1, "a question is no message");
    }
}
