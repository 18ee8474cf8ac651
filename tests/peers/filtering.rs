//! Mail past rspamd, ClamAV and OpenDKIM: what they refuse never comes to the sink, what they add
//! does.

use std::fs;

use serde_json::json;

use super::filters::{clamav, eicar, opendkim, rspamd};
use super::mail::{hard_text, message, transaction};
use super::network::Network;
use super::node::{HOSTNAME, Node};
use super::process::{output, until};
use super::python::{self, Replied, talk};
use super::sink::{ALL, Sink};
use super::verifiers::{Records, ask_dkimpy, dkimpy};
use crate::tool;

const SENDER: &str = "s@sender.example";
/// <https://spamassassin.apache.org/gtube/>, in two, so that no filter finds this file.
const GTUBE: [&str; 2] =
    ["XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-", "ANTI-UBE-TEST-EMAIL*C.34X"];

/// A relay that asks these milters, in front of a sink.
fn relay(sink: &Sink, milters: &str) -> Node<'static> {
    let config = format!(
        "default_route = \"sink\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
         [[upstream]]\nname = \"sink\"\nhosts = \"{}\"\n{milters}",
        sink.address()
    );
    Node::start(&Network::Shared, &config)
}

/// Send messages in one session, each for `r<number>@there.example`; the replies to their contents.
fn send(node: &Node<'_>, contents: &[String]) -> Vec<Replied> {
    let mut steps = vec![json!(["ehlo", "client.example"])];
    for (number, content) in contents.iter().enumerate() {
        let to = format!("r{number}@there.example");
        steps.extend(transaction(SENDER, &[&to], &["SIZE=30"], content));
    }
    let replies = talk(&Network::Shared, node.listener(0), &steps);
    replies.into_iter().skip(3).step_by(3).collect()
}

fn base64(octets: &[u8]) -> String {
    let mut command = Network::Shared.command("base64");
    String::from_utf8(output(&mut command, octets)).unwrap().trim().replace('\n', "\r\n")
}

/// A message with EICAR's file attached.
fn infected() -> String {
    format!(
        "From: <{SENDER}>\r\nTo: <r@there.example>\r\nSubject: a file\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\n--b\r\n\r\nsee there\r\n--b\r\n\
         Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\
         Content-Disposition: attachment; filename=\"eicar.com\"\r\n\r\n{}\r\n--b--\r\n",
        base64(&eicar())
    )
}

#[test]
fn spam_and_viruses_are_refused_at_the_end_of_data_and_never_come_to_the_sink() {
    if !python::is_here() {
        return;
    }
    let (Some(rspamd), Some(clamav)) = (rspamd(), clamav()) else { return };
    let sink = Sink::start(&Network::Shared, &ALL);
    let node = relay(&sink, &(rspamd.config() + &clamav.config()));
    let text = |body: &str| message(SENDER, "r@there.example", body);
    let contents = [
        text("hello\r\n"),
        text(&format!("{}\r\n", GTUBE.concat())),
        text(&hard_text()),
        infected(),
        text(&"0123456789\r\n".repeat(100_000)),
    ];
    let replies = send(&node, &contents);
    let statuses: Vec<_> = replies.iter().map(Replied::status).collect();
    let (taken, spam, virus) = ((250, "2.0.0"), (554, "5.7.1"), (550, "5.7.1"));
    assert_eq!(statuses, [taken, spam, taken, virus, taken], "{replies:?}");
    assert!(replies[3].text.contains("Eicar-Test-Local"), "{replies:?}");
    for number in [0, 2, 4] {
        let kept = sink.wait_for(&format!("r{number}@there.example"));
        let content = String::from_utf8(kept.content()).unwrap();
        let (_, body) = contents[number].split_once("\r\n\r\n").unwrap();
        assert!(content.ends_with(&format!("\r\n\r\n{body}")), "{content}");
        assert!(content.contains("\r\nX-Virus-Scanned: "), "ClamAV says that it was there");
    }
    node.wait_until_empty();
    assert_eq!(sink.kept().len(), 3, "nothing else came");
    for (number, milter) in [(1, "rspamd"), (3, "clamav")] {
        let event = node.wait_for_event("refused", &format!("r{number}@there.example"));
        assert_eq!((&event["milter"], &event["status"]), (&json!(milter), &json!("5.7.1")));
    }
    let metrics = node.get("metrics").unwrap();
    for line in [
        "relay_fast_filtered_total{outcome=\"refused\"} 2",
        "relay_fast_filtered_total{outcome=\"failed\"} 0",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    let connections = rspamd.log().matches(": got connection from ").count();
    assert_eq!(connections, 1, "one session, one connection: {}", rspamd.log());
}

/// A key for `sender.example`: its file, and its record.
fn key(folder: &std::path::Path) -> (String, Records) {
    let mut command = Network::Shared.command(env!("CARGO_BIN_EXE_relay-fast"));
    command.args(["dkim", "keygen", "sender.example", "--selector", "sel", "--out"]).arg(folder);
    let printed = String::from_utf8(output(&mut command, b"")).unwrap();
    let strings = printed.lines().filter(|line| line.starts_with("\t\""));
    let record: String = strings.map(|line| line.split('"').nth(1).unwrap()).collect();
    let file = printed.lines().find_map(|line| line.strip_prefix("; key = ")).unwrap();
    let name = String::from("sel._domainkey.sender.example");
    (file.trim_matches('"').to_owned(), Records::from([(name, record)]))
}

#[test]
fn opendkim_signs_and_another_one_verifies_what_it_signed() {
    let (Some(python), Some(_)) = (dkimpy(), tool::find("opendkim")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let (file, records) = key(folder.path());
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::write(at("own"), "127.0.0.1\n").unwrap();
    fs::write(at("nobody"), "192.0.2.1\n").unwrap();
    let public: String = records.iter().map(|(name, text)| format!("{name} {text}\n")).collect();
    fs::write(at("keys"), public).unwrap();
    let signer = opendkim(&format!(
        "Mode s\nDomain sender.example\nSelector sel\nKeyFile {file}\nInternalHosts {}\n\
         Canonicalization simple/simple\nRequireSafeKeys no",
        at("own")
    ));
    let verifier = opendkim(&format!(
        "Mode v\nTestPublicKeys {}\nInternalHosts {}\nAlwaysAddARHeader yes\n\
         AuthservID verifier.example",
        at("keys"),
        at("nobody")
    ));
    let (Some(signer), Some(verifier)) = (signer, verifier) else { return };
    let sink = Sink::start(&Network::Shared, &ALL);
    // The same milter's name may not come twice.
    let second = verifier.config().replace("\"opendkim\"", "\"verifier\"");
    let node = relay(&sink, &(signer.config() + &second));
    // White space that a simple canonicalization keeps, and that must come back as it was.
    let head = format!("From:<{SENDER}>\r\nTo: <r@there.example>\r\nSubject:  two\r\n\tlines \r\n");
    let contents = [
        format!("{head}\r\nhello\r\n"),
        format!("{head}\r\n{}", hard_text()),
        message("s@other.example", "r@there.example", "not signed\r\n"),
    ];
    let replies = send(&node, &contents);
    assert!(replies.iter().all(|reply| reply.code == 250), "{replies:?}");
    for number in [0, 1] {
        let content = sink.wait_for(&format!("r{number}@there.example")).content();
        let said = ask_dkimpy(python, &records, &content);
        assert_eq!(said, [(String::from("sel"), String::new())]);
        let text = String::from_utf8(content).unwrap();
        let (fields, _) = text.split_once("\r\n\r\n").unwrap();
        let result = fields.split("Authentication-Results: verifier.example;").nth(1).unwrap();
        assert!(result.contains("dkim=pass"), "the second milter sees the first one's: {text}");
        // At the top, but behind the field that the relay puts there.
        let own = fields.find(&format!("by {HOSTNAME}")).unwrap();
        assert!(own < fields.find("DKIM-Signature:").unwrap(), "{fields}");
    }
    let unsigned = sink.wait_for("r2@there.example").content();
    assert!(!String::from_utf8(unsigned).unwrap().contains("DKIM-Signature"));
}

#[test]
fn while_a_milter_is_down_clients_keep_their_mail_and_the_others_are_served() {
    if !python::is_here() {
        return;
    }
    let Some(rspamd) = rspamd() else { return };
    let sink = Sink::start(&Network::Shared, &ALL);
    let config = rspamd.config();
    let node = relay(&sink, &config);
    let hello = [message(SENDER, "r@there.example", "hello\r\n")];
    assert_eq!(send(&node, &hello)[0].code, 250);
    drop(rspamd);
    // What it kept of the milter that is gone is of no use, and nothing else can be had.
    let replies = send(&node, &hello);
    assert_eq!(replies[0].status(), (451, "4.7.1"), "{replies:?}");
    let event = node.wait_for_event("refused", "r0@there.example");
    assert_eq!(event["milter"], "rspamd");
    until("the log says so", || node.log().contains("a milter fails").then_some(()));
    assert_eq!(sink.kept().len(), 1);
}
