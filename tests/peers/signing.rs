//! What we sign, verified by dkimpy and by OpenDKIM.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::mail::{hard_text, transaction};
use super::network::Network;
use super::node::{HOSTNAME, Node};
use super::process::output;
use super::python::talk;
use super::sink::{ALL, Sink};
use super::verifiers::{Records, Verdicts, ask_dkimpy, ask_opendkim, dkimpy};
use crate::tool;

/// The verifiers that are here.
struct Verifiers {
    python: &'static str,
    opendkim: PathBuf,
}

impl Verifiers {
    fn find() -> Option<Self> {
        Some(Self { python: dkimpy()?, opendkim: tool::find("opendkim")? })
    }

    fn ask(&self, records: &Records, message: &[u8]) -> [(&'static str, Verdicts); 2] {
        [
            ("dkimpy", ask_dkimpy(self.python, records, message)),
            ("OpenDKIM", ask_opendkim(&self.opendkim, records, message)),
        ]
    }

    /// See that all signatures verify, and that they are by these selectors.
    fn assert_right(&self, records: &Records, message: &[u8], selectors: &[&str]) {
        let right: Verdicts = selectors.iter().map(|one| ((*one).into(), String::new())).collect();
        for (verifier, said) in self.ask(records, message) {
            assert_eq!(said, right, "{verifier}: {}", String::from_utf8_lossy(message));
        }
    }

    /// See that no signature verifies.
    fn assert_wrong(&self, records: &Records, message: &[u8]) {
        for (verifier, said) in self.ask(records, message) {
            let wrong = said.iter().all(|(_, wrong)| !wrong.is_empty());
            let text = String::from_utf8_lossy(message);
            assert!(wrong && !said.is_empty(), "{verifier}: {said:?}: {text}");
        }
    }
}

/// A new key by `relay-fast dkim keygen`: its part of a configuration; its record is added.
pub(crate) fn keygen(folder: &Path, arguments: &[&str], records: &mut Records) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_relay-fast"));
    command.args(["dkim", "keygen", "--out"]).arg(folder).args(arguments);
    let printed = String::from_utf8(output(&mut command, b"")).unwrap();
    let line = printed.lines().find(|line| line.contains(". IN TXT (")).unwrap();
    let strings = printed.lines().filter(|line| line.starts_with("\t\""));
    let strings: String = strings.map(|line| line.split('"').nth(1).unwrap()).collect();
    let (name, _) = line.split_once(". IN TXT").unwrap();
    records.insert(name.to_owned(), strings);
    let comments = printed.lines().skip_while(|line| *line != "; [[dkim]]");
    comments.map(|line| format!("{}\n", line.trim_start_matches("; "))).collect()
}

/// A relay with an RSA and an Ed25519 key for `sender.example` and one for itself, in front of a
/// sink; the DNS records of its keys.
fn relay(sink: &Sink, folder: &Path) -> (Node<'static>, Records) {
    relay_with(sink, folder, "")
}

/// The same, with more lines of configuration.
fn relay_with(sink: &Sink, folder: &Path, more: &str) -> (Node<'static>, Records) {
    let mut records = Records::new();
    let keys = [
        &["sender.example", "--selector", "rsa"][..],
        &["sender.example", "--selector", "ed", "--ed25519"],
        &[HOSTNAME, "--selector", "own"],
    ]
    .map(|arguments| keygen(folder, arguments, &mut records));
    let config = format!(
        "default_route = \"sink\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
         [[upstream]]\nname = \"sink\"\nhosts = \"{}\"\n{}subdomains = \"yes\"\n{more}",
        sink.address(),
        keys.concat()
    );
    assert_eq!(records.len(), 3);
    (Node::start(&Network::Shared, &config), records)
}

const SENDER: &str = "s@sender.example";

/// What came to the sink of what was sent.
fn through(node: &Node<'_>, sink: &Sink, to: &str, content: &str) -> Vec<u8> {
    let mut steps = vec![json!(["ehlo", "client.example"])];
    steps.extend(transaction(SENDER, &[to], &["SIZE=30"], content));
    let replies = talk(&Network::Shared, node.listener(0), &steps);
    assert_eq!(replies[3].status(), (250, "2.0.0"), "{replies:?}");
    sink.wait_for(to).content()
}

/// Header sections and bodies that are hard to sign alike.
fn hard_mail() -> Vec<String> {
    let head = "From: S <s@sender.example>\r\nTo: r@there.example\r\nSubject: hard\r\n\
        Date: Mon, 23 Nov 2026 09:00:00 +0000\r\nMessage-ID: <1@sender.example>\r\n";
    let folded = "FROM:\t\"S, the\r\n  sender\" <s@sender.example>  \r\nX-Empty:\r\n\
        Subject:\r\n two\r\n\tlines  and   blanks \t\r\n\
        To: a@there.example,\r\n b@there.example\r\nTo: c@there.example\r\n\
        List-Unsubscribe: <https://sender.example/u?x=1>\r\n\
        List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n";
    let bodies = [
        String::new(),
        String::from("\r\n"),
        String::from("\r\n\r\n\r\n"),
        String::from("hello\r\n"),
        String::from("hello  \t\r\n\r\n \r\n\t\r\n"),
        String::from("\r\n\r\n  two\tblanks  \r\n\r\nand   more\r\n"),
        hard_text(),
        "The quick brown fox.\r\n  Indented,\twith tabs \r\n".repeat(5_000),
        "0123456789".repeat(90) + "\r\n",
    ];
    let alike = |body: &String| [format!("{head}\r\n{body}"), format!("{folded}\r\n{body}")];
    bodies.iter().flat_map(alike).collect()
}

#[test]
fn what_we_sign_verifies() {
    let Some(verifiers) = Verifiers::find() else { return };
    let sink = Sink::start(&Network::Shared, &ALL);
    let folder = tempfile::tempdir().unwrap();
    let (node, records) = relay(&sink, folder.path());
    for (number, content) in hard_mail().iter().enumerate() {
        let message = through(&node, &sink, &format!("r{number}@there.example"), content);
        verifiers.assert_right(&records, &message, &["rsa", "ed"]);
    }
}

/// RFC 8058 §4 wants both fields to be covered by a signature.
#[test]
fn links_of_ours_are_signed_with_the_rest() {
    let Some(verifiers) = Verifiers::find() else { return };
    let sink = Sink::start(&Network::Shared, &ALL);
    let folder = tempfile::tempdir().unwrap();
    let secrets = folder.path().join("secrets");
    std::fs::write(&secrets, "0123456789abcdef0123456789abcdef\n").unwrap();
    std::fs::set_permissions(&secrets, std::fs::Permissions::from_mode(0o600)).unwrap();
    let more = format!(
        "[suppression]\nat = \"rcpt\"\n[web]\nhost = \"links.example\"\nsecrets = {secrets:?}\n\
         [[tenant]]\nname = \"acme\"\nlisteners = [\"127.0.0.1:0\"]\nunsubscribe = \"add\"\n\
         tracking = \"all\"\n"
    );
    let (node, records) = relay_with(&sink, folder.path(), &more);
    let page = "From: s@sender.example\r\nList-Unsubscribe: <mailto:u@sender.example>\r\n\
        Content-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
        <body><a href=3D\"https://shop.exa=\r\nmple/\">caf=C3=A9</a></body>\r\n";
    let message = through(&node, &sink, "r@there.example", page);
    verifiers.assert_right(&records, &message, &["rsa", "ed"]);
    let text = String::from_utf8(message).unwrap();
    assert!(text.contains("List-Unsubscribe: <https://links.example/u/"), "{text}");
    assert!(text.contains("https://links.example/c/") && text.contains("https://links.example/o/"));
    let folded = text.replace("\r\n", "").replace([' ', '\t'], "");
    for name in ["list-unsubscribe:", "list-unsubscribe-post:"] {
        let covered = folded.matches("h=").count() >= 2 && folded.contains(name);
        assert!(covered, "{name} {text}");
    }
    let other = text.replace("List-Unsubscribe=One-Click", "List-Unsubscribe=Two-Clicks");
    verifiers.assert_wrong(&records, other.as_bytes());
    let other = text.replacen("links.example/u/", "links.example/u/X", 1);
    verifiers.assert_wrong(&records, other.as_bytes());
}

//= RFC 6376 §8.15, type=test
//# an attacker adds a second From or Subject field; signing one more than there is prevents it
#[test]
fn what_is_changed_on_the_way_does_not_verify() {
    let Some(verifiers) = Verifiers::find() else { return };
    let sink = Sink::start(&Network::Shared, &ALL);
    let folder = tempfile::tempdir().unwrap();
    let (node, records) = relay(&sink, folder.path());
    let content = "From: s@sender.example\r\nSubject: hello\r\n\r\nhello\r\n";
    let message = through(&node, &sink, "r@there.example", content);
    verifiers.assert_right(&records, &message, &["rsa", "ed"]);
    let text = String::from_utf8(message).unwrap();
    let head = "Subject: hello\r\n";
    for (found, instead) in [
        ("\r\n\r\nhello", "\r\n\r\nhullo"),
        (head, "Subject: hullo\r\n"),
        (head, ""),
        (head, "Subject: hello\r\nSubject: other\r\n"),
        ("From: s", "From: x@there.example\r\nFrom: s"),
        (head, "Subject: hello\r\nTo: x@there.example\r\n"),
        (head, "Subject: hello\r\nReply-To: x@there.example\r\n"),
        (head, "Subject: hello\r\nContent-Type: text/html\r\n"),
        (head, "Subject: hello\r\nList-Unsubscribe: <https://x.example>\r\n"),
        ("hello\r\n", "hello\r\nand more\r\n"),
    ] {
        assert!(text.contains(found));
        let at = text.rfind(found).unwrap();
        let changed = [&text[..at], instead, &text[at + found.len()..]].concat();
        verifiers.assert_wrong(&records, changed.as_bytes());
    }
    // What relays may add, where it was missing.
    let date = format!("{head}Date: Mon, 23 Nov 2026 09:00:00 +0000\r\nX-Own: yes\r\n");
    let dated = text.replace(head, &date);
    verifiers.assert_right(&records, dated.as_bytes(), &["rsa", "ed"]);
}

#[test]
fn dsns_are_signed_too() {
    let Some(verifiers) = Verifiers::find() else { return };
    let sink = Sink::start(&Network::Shared, &["SIZE 4096"]);
    let folder = tempfile::tempdir().unwrap();
    let (node, records) = relay(&sink, folder.path());
    let content = format!("From: s@sender.example\r\n\r\n{}", "0123456789\r\n".repeat(1_000));
    let mut steps = vec![json!(["ehlo", "client.example"])];
    steps.extend(transaction(SENDER, &["r@there.example"], &["RET=HDRS"], &content));
    let replies = talk(&Network::Shared, node.listener(0), &steps);
    assert_eq!(replies[3].status(), (250, "2.0.0"), "{replies:?}");
    let dsn = sink.wait_for(SENDER);
    assert!(dsn.mail.starts_with("MAIL FROM:<>"), "{}", dsn.mail);
    verifiers.assert_right(&records, &dsn.content(), &["own"]);
}
