//! TLS with OpenSSL on the other side: Python's ssl, `openssl s_client`, posttls-finger, Postfix.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::certificates::Authority;
use super::mail::{message, transaction};
use super::network::Network;
use super::node::Node;
use super::postfix::Postfix;
use super::process::{outcome, until};
use super::python::{self, talk};
use super::sink::{ALL, Sink};
use crate::tool;

const FROM: &str = "sender@mail.example";
const TO: &str = "user@mail.example";

fn steps(first: Value, then: &[&str]) -> Vec<Value> {
    let mut steps = vec![first];
    steps.extend(then.iter().map(|name| json!(["ehlo", name])));
    steps.extend(transaction(FROM, &[TO], &[], &message(FROM, TO, "hello\r\n")));
    steps
}

//= RFC 3848 §2, type=test
//# The keyword in `with` is ESMTPS where the message came through TLS.
#[test]
fn clients_come_through_starttls_and_through_tls_from_the_start() {
    if !python::is_here() {
        return;
    }
    let authority = Authority::new("an authority");
    authority.write("mx", &["mx.example"]);
    let network = Network::Shared;
    let sink = Sink::start(&network, &ALL);
    let config = format!(
        "default_route = \"sink\"\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\ntls = \"starttls\"\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\ntls = \"implicit\"\n\
         [[upstream]]\nname = \"sink\"\nhosts = \"{}\"\n{}",
        sink.address(),
        authority.section("mx"),
    );
    let node = Node::start(&network, &config);
    let handshake = |verb: &str| json!([verb, "mx.example", authority.file(), ""]);
    let mut starttls = vec![json!(["ehlo", "client.example"])];
    starttls.extend(steps(handshake("starttls"), &["client.example"]));
    for (listener, steps) in [(0, starttls), (1, steps(handshake("implicit"), &["client.example"]))]
    {
        let replies = talk(&network, node.listener(listener), &steps);
        assert!(replies.iter().all(|reply| reply.code < 400), "{replies:?}");
        let offered = &replies[if listener == 0 { 2 } else { 1 }].text;
        assert!(!offered.contains("STARTTLS"), "not under TLS: {offered}");
    }
    node.wait_until_empty();
    let kept = sink.kept();
    assert_eq!(kept.len(), 2);
    for kept in kept {
        let content = String::from_utf8(kept.content()).unwrap();
        let clause = "by relay.example with ESMTPS id";
        assert!(content.contains(clause), "{content}");
        assert!(content.contains("\r\n\ttls TLS_AES_256_GCM_SHA384;\r\n"), "{content}");
    }
    let metrics = node.get("metrics").unwrap();
    let full = "relay_fast_tls_handshakes_total{side=\"in\",result=\"full\"} 2";
    assert!(metrics.contains(full), "{metrics}");
}

#[test]
fn a_listener_that_wants_tls_lets_in_who_has_a_certificate_of_ours() {
    if !python::is_here() {
        return;
    }
    let (authority, ours) = (Authority::new("an authority"), Authority::new("ours"));
    authority.write("mx", &["mx.example"]);
    ours.write("app", &["app.example"]);
    authority.write("stranger", &["stranger.example"]);
    let network = Network::Shared;
    let sink = Sink::start(&network, &ALL);
    let config = format!(
        "default_route = \"sink\"\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\ntls = \"require\"\nrelay_for = []\n\
         client_ca = {:?}\n\
         [[upstream]]\nname = \"sink\"\nhosts = \"{}\"\n{}",
        ours.file(),
        sink.address(),
        authority.section("mx"),
    );
    let node = Node::start(&network, &config);
    let clear = talk(&network, node.listener(0), &steps(json!(["ehlo", "c.example"]), &[])[..2]);
    assert_eq!(clear[1].status(), (530, "5.7.0"));
    let under_tls = |own: &str| {
        let mut all = vec![json!(["ehlo", "c.example"])];
        all.extend(steps(json!(["starttls", "mx.example", authority.file(), own]), &["c.example"]));
        talk(&network, node.listener(0), &all[..5])
    };
    let replies = under_tls("");
    assert_eq!(replies[4].status(), (550, "5.7.1"), "no certificate, no permission: {replies:?}");
    let replies = under_tls(&ours.path("app.both"));
    assert_eq!(replies[4].status(), (250, "2.1.5"), "{replies:?}");
    // Someone else's is worse than none.
    let Some(openssl) = tool::find("openssl") else { return };
    let mut command = network.command(openssl);
    command.args(["s_client", "-starttls", "smtp", "-connect", &node.listener(0).to_string()]);
    // In TLS 1.3 a client is done before it can be told.
    command.args([
        "-tls1_2",
        "-cert",
        &authority.path("stranger.pem"),
        "-key",
        &authority.path("stranger.key"),
    ]);
    let (_, out, errors) = outcome(&mut command, b"EHLO c.example\r\nQUIT\r\n");
    let said = String::from_utf8_lossy(&out).into_owned() + &errors;
    assert!(said.contains("alert unknown ca"), "{said}");
}

#[test]
fn certificates_are_chosen_by_name_and_read_again() {
    let Some(openssl) = tool::find("openssl") else { return };
    let Some(finger) = tool::find("posttls-finger") else { return };
    let authority = Authority::new("an authority");
    authority.write("first", &["first.example"]);
    authority.write("second", &["second.example", "*.third.example"]);
    let network = Network::Shared;
    let config = format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\ntls = \"starttls\"\n{}{}",
        authority.section("first"),
        authority.section("second"),
    );
    let node = Node::start(&network, &config);
    let server = node.listener(0).to_string();
    let shown = |name: &str| {
        let mut command = network.command(&openssl);
        command.args(["s_client", "-starttls", "smtp", "-connect", &server, "-servername", name]);
        command.args(["-verify_hostname", name, "-CAfile", &authority.file()]);
        let (_, out, errors) = outcome(&mut command, b"QUIT\r\n");
        String::from_utf8_lossy(&out).into_owned() + &errors
    };
    for name in ["first.example", "second.example", "mx.third.example"] {
        let said = shown(name);
        assert!(said.contains("Verification: OK"), "{name}: {said}");
    }
    let said = shown("fourth.example");
    assert!(said.contains("hostname mismatch"), "the first is shown: {said}");

    // Postfix's own view: what it would make of us as an MX host.
    let mut command = network.command(finger);
    command.args(["-c", "-l", "verify", "-F", &authority.file(), "-o", "inet_protocols=ipv4"]);
    command.args([&format!("[127.0.0.1]:{}", node.listener(0).port()), "first.example"]);
    let (_, out, errors) = outcome(&mut command, b"");
    let said = String::from_utf8_lossy(&out).into_owned() + &errors;
    assert!(said.contains("Verified TLS connection established"), "{said}");

    authority.write("first", &["fourth.example"]);
    node.reload("reloaded");
    assert!(shown("fourth.example").contains("Verification: OK"));
    // Without a word, once it is looked at.
    authority.write("first", &["fifth.example"]);
    until("the new certificate", || {
        shown("fifth.example").contains("Verification: OK").then_some(())
    });
    authority.write("first", &["fourth.example"]);
    node.reload("reloaded");
    // What is wrong leaves all as it was.
    let key = authority.path("first.key");
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
    node.reload("not reloaded");
    assert!(node.log().contains("first.key can be read by everyone"), "{}", node.log());
    assert!(shown("fourth.example").contains("Verification: OK"));
}

/// Postfix that offers STARTTLS, and its authority.
fn postfix_with_tls(network: &Network) -> Option<(Postfix<'_>, Authority)> {
    let authority = Authority::new("an authority");
    authority.write("postfix", &["127.0.0.1", "postfix.example"]);
    let settings = format!(
        "smtpd_tls_security_level = may\nsmtpd_tls_cert_file = {}\nsmtpd_tls_key_file = {}\n\
         smtpd_tls_received_header = yes\n",
        authority.path("postfix.pem"),
        authority.path("postfix.key"),
    );
    Some((Postfix::start(network, &settings)?, authority))
}

fn towards_postfix(level: &str, authorities: &str) -> String {
    format!(
        "default_route = \"postfix\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
         [[upstream]]\nname = \"postfix\"\nhosts = \"127.0.0.1:25\"\ntls = {level:?}\n\
         [tls]\nca = {authorities:?}\n"
    )
}

fn send(network: &Network, node: &Node<'_>, body: &str) {
    let mut steps = vec![json!(["ehlo", "client.example"])];
    steps.extend(transaction(FROM, &[TO], &[], &message(FROM, TO, body)));
    let replies = talk(network, node.listener(0), &steps);
    assert!(replies.iter().all(|reply| reply.code < 400), "{replies:?}");
}

#[test]
fn postfix_gets_its_mail_through_tls_as_the_route_wants_it() {
    if !python::is_here() {
        return;
    }
    let Some(network) = Network::own() else { return };
    let Some((postfix, authority)) = postfix_with_tls(&network) else { return };
    let other = Authority::new("another authority");
    // A long one too, that takes more than one record and more than one window.
    let long = "all work and no play makes jack a dull boy\r\n".repeat(10_000);
    for (level, words) in
        [("none", None), ("opportunistic", Some("TLS1.3")), ("verify", Some("TLS1.3, verified"))]
    {
        let node = Node::start(&network, &towards_postfix(level, &authority.file()));
        for body in [format!("{level}\r\n"), format!("{long}{level}, long\r\n")] {
            send(&network, &node, &body);
            let kept = String::from_utf8(postfix.wait_for("user", body.as_bytes())).unwrap();
            assert_eq!(kept.contains("(using TLSv1.3 with cipher"), words.is_some(), "{level}");
            assert_eq!(kept.contains("with ESMTPS id"), words.is_some(), "{level}");
        }
        let event = node.wait_for_event("delivered", TO);
        assert_eq!(event["tls"].as_str(), words, "{event}");
    }
    let node = Node::start(&network, &towards_postfix("verify", &other.file()));
    send(&network, &node, "never\r\n");
    let event = node.wait_for_event("deferred", TO);
    assert_eq!(event["stage"], "STARTTLS", "{event}");
    assert_eq!(event["status"], "4.7.5", "{event}");
    assert!(event["reply"].as_str().unwrap().contains("UnknownIssuer"), "{event}");
}

/// Peers that offer STARTTLS and do not keep their word: what they answer, and what an event says.
const BROKEN: [(&str, Option<&str>); 5] = [
    ("454 4.7.0 TLS not available", None),
    ("502 5.5.1 what", None),
    ("220 go on\r\n250 injected", Some("octets in clear behind the reply to STARTTLS")),
    ("220 go on\r\n220 go on", Some("octets in clear behind the reply to STARTTLS")),
    // It takes the handshake for a command, and does not survive that.
    ("220 go on", Some("connection closed")),
];

#[test]
fn peers_that_break_starttls_get_mail_in_clear_where_that_may_be_and_the_event_says_why() {
    if !python::is_here() {
        return;
    }
    let authority = Authority::new("an authority");
    let network = Network::Shared;
    for (answer, words) in BROKEN {
        let sink = Sink::with(&network, &["--starttls", answer], &["127.0.0.1:0"]);
        let config = |level: &str| {
            format!(
                "default_route = \"sink\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
                 [[upstream]]\nname = \"sink\"\nhosts = \"{}\"\ntls = {level:?}\n\
                 [tls]\nca = {:?}\n",
                sink.address(),
                authority.file(),
            )
        };
        let node = Node::start(&network, &config("verify"));
        send(&network, &node, "secret\r\n");
        let event = node.wait_for_event("deferred", TO);
        assert_eq!(event["stage"], "STARTTLS", "{answer:?}: {event}");
        assert!(sink.kept().is_empty(), "{answer:?}");
        let node = Node::start(&network, &config("opportunistic"));
        send(&network, &node, "hello\r\n");
        assert_eq!(sink.wait_for(TO).tls, "", "{answer:?}");
        let event = node.wait_for_event("delivered", TO);
        let told = event["tls"].as_str().unwrap_or_default();
        match words {
            None => assert_eq!(told, "", "{answer:?}: {event}"),
            Some(words) => assert!(told.starts_with("none: ") && told.contains(words), "{event}"),
        }
    }
}
