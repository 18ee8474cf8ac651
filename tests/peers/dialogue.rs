//! swaks and Python's smtplib talk to the relay, command by command.

use serde_json::{Value, json};

use super::mail::{hard_text, message, swaks, transaction};
use super::network::Network;
use super::node::{HOSTNAME, Node};
use super::python::{self, Replied, talk};
use super::sink::{ALL, Sink};

/// A relay for everyone on loopback in front of a sink; messages of 64 KiB at most.
fn relay_and_sink() -> (Node<'static>, Sink) {
    let sink = Sink::start(&Network::Shared, &ALL);
    let config = format!(
        "default_route = \"sink\"\nlog_level = \"debug\"\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\nmessage_size = \"64KiB\"\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\nrelay_for = [\"192.0.2.0/24\"]\n\
         [[upstream]]\nname = \"sink\"\nhosts = \"{}\"\n\
         [[relay_domain]]\ndomains = [\"ours.example\"]\nupstream = \"sink\"\n",
        sink.address()
    );
    (Node::start(&Network::Shared, &config), sink)
}

fn said(node: &Node<'_>, steps: &[Value]) -> Vec<Replied> {
    talk(&Network::Shared, node.listener(0), steps)
}

#[test]
fn smtplib_is_told_what_is_offered() {
    if !python::is_here() {
        return;
    }
    let (node, _sink) = relay_and_sink();
    let replies = said(&node, &[json!(["ehlo", "client.example"])]);
    let mut lines = replies[0].text.lines();
    assert!(lines.next().unwrap().starts_with(HOSTNAME), "{replies:?}");
    let expected = [
        "PIPELINING",
        "SIZE 65536",
        "8BITMIME",
        "SMTPUTF8",
        "CHUNKING",
        "BINARYMIME",
        "ENHANCEDSTATUSCODES",
        "DSN",
        "LIMITS RCPTMAX=1000",
    ];
    assert_eq!(lines.collect::<Vec<_>>(), expected);
}

//= RFC 5321 §4.5.1, type=test
//# In order to make SMTP workable, the following minimum implementation MUST be provided by all
//# receivers. The following commands MUST be supported to conform to this specification: EHLO HELO
//# MAIL RCPT DATA RSET NOOP QUIT VRFY
#[test]
fn smtplib_gets_the_replies_that_it_should() {
    if !python::is_here() {
        return;
    }
    let (node, _sink) = relay_and_sink();
    let steps = [
        ("MAIL FROM:<a@a.example>", (503, "5.5.1")),
        ("EHLO client.example", (250, HOSTNAME)),
        ("VRFY someone", (252, "2.0.0")),
        ("HELP", (214, "2.0.0")),
        ("NOOP", (250, "2.0.0")),
        ("NOOP with words", (250, "2.0.0")),
        ("EXPN list", (502, "5.5.1")),
        ("FROBNICATE", (500, "5.5.1")),
        ("MAIL FROM:<a@a.example> SIZE=65537", (552, "5.3.4")),
        ("MAIL FROM:<a@a.example> MOOD=good", (555, "5.5.4")),
        ("MAIL FROM:<a@a.example", (501, "5.1.7")),
        ("MAIL FROM:<a@a.example>", (250, "2.1.0")),
        ("MAIL FROM:<b@a.example>", (503, "5.5.1")),
        ("RCPT TO:<b@b.example>", (250, "2.1.5")),
        ("RSET", (250, "2.0.0")),
        ("RCPT TO:<b@b.example>", (503, "5.5.1")),
        ("QUIT", (221, "2.0.0")),
    ];
    let commands: Vec<_> = steps.iter().map(|(line, _)| json!(["command", line])).collect();
    for (reply, (line, expected)) in said(&node, &commands).iter().zip(steps) {
        let text = reply.text.split_whitespace().next().unwrap_or_default();
        assert_eq!((reply.code, text), expected, "{line}: {reply:?}");
    }
}

#[test]
fn content_over_the_size_is_refused_and_the_session_goes_on() {
    if !python::is_here() {
        return;
    }
    let (node, sink) = relay_and_sink();
    let mut steps = vec![json!(["ehlo", "client.example"])];
    let big = message("a@a.example", "big@b.example", &"0123456789\r\n".repeat(6_000));
    steps.extend(transaction("a@a.example", &["big@b.example"], &[], &big));
    steps.extend(transaction("a@a.example", &["small@b.example"], &[], "Subject: s\r\n\r\nx\r\n"));
    let replies = said(&node, &steps);
    assert_eq!(replies[3].status(), (552, "5.3.4"));
    assert_eq!(replies[6].status(), (250, "2.0.0"), "{replies:?}");
    sink.wait_for("small@b.example");
    assert_eq!(sink.kept().len(), 1);
}

#[test]
fn chunks_from_a_socket_arrive_as_they_were() {
    if !python::is_here() {
        return;
    }
    let (node, sink) = relay_and_sink();
    // No line of it ends, dots are not doubled, and all octets but NUL, CR and LF are in it.
    let octets: String = (1..=255u8).filter(|o| !b"\r\n".contains(o)).map(char::from).collect();
    let steps = [
        json!(["ehlo", "client.example"]),
        json!(["command", "MAIL FROM:<a@a.example> BODY=8BITMIME"]),
        json!(["command", "RCPT TO:<chunks@b.example>"]),
        json!(["bdat", "Subject: chunks\r\n\r\n.\r", ""]),
        json!(["bdat", "\n..\r\n", ""]),
        json!(["bdat", octets, ""]),
        json!(["bdat", "", "LAST"]),
    ];
    let replies = said(&node, &steps);
    assert!(replies.iter().all(|reply| reply.code == 250), "{replies:?}");
    let content = sink.wait_for("chunks@b.example").content();
    let sent = format!("Subject: chunks\r\n\r\n.\r\n..\r\n{octets}");
    let sent: Vec<u8> = sent.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    assert!(content.ends_with(&sent), "{}", String::from_utf8_lossy(&content));
}

#[test]
fn strangers_may_send_to_relay_domains_only() {
    let (node, sink) = relay_and_sink();
    let send = |to: &str| {
        let content = message("a@a.example", to, "hello\r\n");
        swaks(&Network::Shared, node.listener(1), "a@a.example", to, &[], &content)
    };
    let Some(transcript) = send("b@elsewhere.example") else { return };
    assert!(transcript.contains("<** 550 5.7.1 "), "{transcript}");
    let transcript = send("b@ours.example").unwrap();
    assert!(transcript.contains("<-  250 2.0.0 Stored as "), "{transcript}");
    sink.wait_for("b@ours.example");
    assert_eq!(sink.kept().len(), 1);
}

#[test]
fn swaks_sends_in_pipelines() {
    let (node, sink) = relay_and_sink();
    let content = message("a@a.example", "b@b.example", &hard_text());
    let to = "b@b.example,c@b.example,d@c.example";
    let server = node.listener(0);
    let sent = swaks(&Network::Shared, server, "a@a.example", to, &["--pipeline"], &content);
    let Some(transcript) = sent else { return };
    // MAIL, three RCPT and DATA went before the first reply, and so they stand in the transcript.
    assert!(transcript.contains("RCPT TO:<d@c.example>\n -> DATA\n<-  250 2.1.0"), "{transcript}");
    assert_eq!(transcript.matches("<-  250 2.1.5 ").count(), 3, "{transcript}");
    for address in to.split(',') {
        let came = sink.wait_for(address).content();
        assert!(came.ends_with(content.as_bytes()), "{}", String::from_utf8_lossy(&came));
    }
    node.wait_until_empty();
    // The log of this level tells what became of each, and nothing of how the program is built.
    let log = node.log();
    assert_eq!(log.matches(" DEBUG Delivered id=").count(), 3, "{log}");
    let of_messages = log.lines().skip_while(|line| !line.contains(" INFO ready "));
    assert!(of_messages.skip(1).all(|line| line.contains(" id=")), "{log}");
}

#[test]
fn smtplib_sends_to_addresses_in_utf8() {
    if !python::is_here() {
        return;
    }
    let (node, sink) = relay_and_sink();
    let (from, to) = ("grüße@müller.example", "δοκιμή@παράδειγμα.example");
    let refused = said(
        &node,
        &[json!(["ehlo", "c.example"]), json!(["command", format!("MAIL FROM:<{from}>")])],
    );
    assert_eq!(refused[1].status(), (553, "5.6.7"));
    let mut steps = vec![json!(["ehlo", "client.example"])];
    let content = "Subject: \u{c3}\u{a9}\r\n\r\n\u{c3}\u{a9}\r\n";
    steps.extend(transaction(from, &[to], &["SMTPUTF8", "BODY=8BITMIME"], content));
    let replies = said(&node, &steps);
    assert_eq!(replies[3].status(), (250, "2.0.0"), "{replies:?}");
    let kept = sink.wait_for(to);
    assert!(kept.mail.starts_with(&format!("MAIL FROM:<{from}>")), "{}", kept.mail);
    assert!(kept.mail.contains(" SMTPUTF8") && kept.mail.contains(" BODY=8BITMIME"), "{kept:?}");
    assert!(kept.content().ends_with("Subject: é\r\n\r\né\r\n".as_bytes()));
}
