//! Clients that log in: GNU SASL's gsasl, msmtp (which has GNU SASL and GnuTLS), swaks.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::certificates::Authority;
use super::mail::{message, swaks};
use super::network::Network;
use super::node::Node;
use super::process::{outcome, output};
use super::sink::{ALL, Sink};
use crate::tool;

const PROGRAM: &str = env!("CARGO_BIN_EXE_relay-fast");
const FROM: &str = "tim@a.example";
const TO: &str = "user@b.example";

/// A relay that relays for `tim`, whose password is `pencil`, as a.example; its first listener has
/// STARTTLS, its second is in clear.
struct Guarded {
    node: Node<'static>,
    sink: Sink,
    authority: Authority,
    folder: TempDir,
}

impl Guarded {
    fn start() -> Self {
        let authority = Authority::new("an authority");
        authority.write("mx", &["localhost", "127.0.0.1"]);
        let sink = Sink::start(&Network::Shared, &ALL);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("credentials");
        passwd(&file);
        let config = format!(
            "default_route = \"sink\"\n\
             [[listener]]\naddress = \"127.0.0.1:0\"\nrelay_for = []\n\
             tls = \"starttls\"\nauth = \"offer\"\n\
             [[listener]]\naddress = \"127.0.0.1:0\"\nrelay_for = []\n\
             auth = \"require\"\nauth_without_tls = \"allow\"\n\
             [auth]\ncredentials = {file:?}\n\
             [[upstream]]\nname = \"sink\"\nhosts = \"{}\"\n{}",
            sink.address(),
            authority.section("mx"),
        );
        Self { node: Node::start(&Network::Shared, &config), sink, authority, folder }
    }

    /// The `Received:` of the one message that came to the sink.
    fn received(&self) -> String {
        self.node.wait_until_empty();
        let kept = self.sink.kept();
        assert_eq!(kept.len(), 1);
        let content = String::from_utf8(kept[0].content()).unwrap();
        content.lines().take(4).collect::<Vec<_>>().join(" ")
    }
}

fn passwd(file: &Path) {
    let mut command = Command::new(PROGRAM);
    output(command.arg("passwd").arg(file).args(["tim", "--domains", "a.example"]), b"pencil\n");
}

/// gsasl says STARTTLS before EHLO, which RFC 3207 has no place for: this says EHLO in its stead,
/// and passes on all that follows. TLS is between gsasl and the relay.
fn greeted(relay: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, mut server) = (client.unwrap(), TcpStream::connect(relay).unwrap());
            let mut lines = BufReader::new(server.try_clone().unwrap());
            let mut line = String::new();
            lines.read_line(&mut line).unwrap();
            client.write_all(line.as_bytes()).unwrap();
            server.write_all(b"EHLO client.example\r\n").unwrap();
            while !line.starts_with("250 ") {
                line.clear();
                assert!(lines.read_line(&mut line).unwrap() > 0, "the relay hung up");
            }
            let back = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || pass(back.0, back.1));
            std::thread::spawn(move || pass(server, client));
        }
    });
    address
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    // Whoever ends first, ends both.
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(std::net::Shutdown::Both);
}

/// Whether gsasl got in, and what was said.
fn gsasl(program: &Path, server: SocketAddr, password: &str, more: &[&str]) -> (bool, String) {
    let mut command = Command::new(program);
    command.args(["--smtp", "--authentication-id", "tim", "--password", password]);
    command.args([&format!("--connect={server}"), "--hostname=localhost"]).args(more);
    let (is_success, out, errors) = outcome(&mut command, b"");
    (is_success, String::from_utf8_lossy(&out).into_owned() + &errors)
}

//= RFC 9266 §2, type=test
//# SCRAM-SHA-256-PLUS with tls-exporter over TLS 1.3
#[test]
fn gsasl_gets_in_by_every_mechanism_bound_to_the_channel_too() {
    let Some(program) = tool::find("gsasl") else { return };
    let guarded = Guarded::start();
    let server = greeted(guarded.node.listener(0));
    let authorities = format!("--x509-ca-file={}", guarded.authority.file());
    let tls = ["--starttls", &authorities];
    let cases: [(&str, &[&str]); 4] = [
        ("SCRAM-SHA-256-PLUS", &[]),
        ("SCRAM-SHA-256", &["--no-cb"]),
        ("PLAIN", &[]),
        ("LOGIN", &[]),
    ];
    for (mechanism, more) in cases {
        let options = [&tls[..], &["--mechanism", mechanism], more].concat();
        let (is_in, said) = gsasl(&program, server, "pencil", &options);
        assert!(is_in && said.contains("235 2.7.0 "), "{mechanism}: {said}");
        assert!(said.contains(&format!("AUTH {mechanism}\n")), "{said}");
        let (is_in, said) = gsasl(&program, server, "pencils", &options);
        assert!(!is_in && said.contains("535 5.7.8 "), "{mechanism}: {said}");
    }
    // TLS 1.2 exports nothing that would bind.
    let old = [&tls[..], &["--priority=NORMAL:-VERS-TLS1.3", "--mechanism", "PLAIN"]].concat();
    let (is_in, said) = gsasl(&program, server, "pencil", &old);
    assert!(is_in && said.contains("AUTH SCRAM-SHA-256 PLAIN LOGIN"), "{said}");
    let clear = ["--no-starttls", "--mechanism", "SCRAM-SHA-256"];
    let (is_in, said) = gsasl(&program, guarded.node.listener(1), "pencil", &clear);
    assert!(is_in && said.contains("235 2.7.0 "), "{said}");
}

#[test]
fn gsasl_derives_the_same_verifier() {
    let Some(program) = tool::find("gsasl") else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("credentials");
    passwd(&file);
    let text = std::fs::read_to_string(file).unwrap();
    let (_, verifier) = text.split_once("SCRAM-SHA-256$").unwrap();
    let parts: Vec<_> = verifier.split([':', '$']).collect();
    let [iterations, salt, stored, server] = parts[..4] else { panic!("{verifier}") };
    let mut command = Command::new(program);
    command.args(["--mkpasswd", "--mechanism=SCRAM-SHA-256", "--password=pencil"]);
    command.arg(format!("--iteration-count={iterations}")).arg(format!("--salt={salt}"));
    let theirs = String::from_utf8(output(&mut command, b"")).unwrap();
    let ours = format!("{{SCRAM-SHA-256}}{iterations},{salt},{stored},{server}");
    assert_eq!(theirs.trim(), ours);
}

/// Have msmtp send a message.
fn msmtp(program: &Path, guarded: &Guarded, mechanism: &str, from: &str) -> (bool, String) {
    let port = format!("--port={}", guarded.node.listener(0).port());
    let trusted = format!("--tls-trust-file={}", guarded.authority.file());
    let mut command = Command::new(program);
    command.args(["--file=/dev/null", "--host=localhost", &port, "--tls=on", &trusted]);
    command.args([&format!("--auth={mechanism}"), "--user=tim", "--passwordeval=echo pencil"]);
    command.args([&format!("--from={from}"), TO]);
    let (is_success, out, errors) = outcome(&mut command, message(from, TO, "x\r\n").as_bytes());
    (is_success, String::from_utf8_lossy(&out).into_owned() + &errors)
}

//= RFC 3848 §2, type=test
//# ESMTPSA: mail received through TLS from a client that has authenticated
#[test]
fn msmtp_sends_as_what_it_is_bound_to() {
    let Some(program) = tool::find("msmtp") else { return };
    for mechanism in ["scram-sha-256", "plain", "login"] {
        let guarded = Guarded::start();
        let (is_sent, said) = msmtp(&program, &guarded, mechanism, FROM);
        assert!(is_sent, "{mechanism}: {said}");
        let received = guarded.received();
        assert!(received.contains("by relay.example with ESMTPSA id"), "{received}");
        let (is_sent, said) = msmtp(&program, &guarded, mechanism, "tim@else.example");
        assert!(!is_sent && said.contains("553 5.7.1 "), "{mechanism}: {said}");
    }
}

#[test]
fn swaks_sends_in_clear_where_that_is_allowed() {
    if tool::find("swaks").is_none() {
        return;
    }
    for mechanism in ["PLAIN", "LOGIN"] {
        let guarded = Guarded::start();
        let server = guarded.node.listener(1);
        let content = message(FROM, TO, "hello\r\n");
        let send = |options: &[&str]| {
            swaks(&Network::Shared, server, FROM, TO, options, &content).unwrap_or_default()
        };
        let login = ["--auth", mechanism, "--auth-user", "tim", "--auth-password"];
        let said = send(&[&login[..], &["pencil"]].concat());
        assert!(said.contains("235 2.7.0 ") && said.contains("250 2.0.0 Stored as"), "{said}");
        assert!(guarded.received().contains("by relay.example with ESMTPA id"));
        let said = send(&[&login[..], &["pencils"]].concat());
        assert!(said.contains("535 5.7.8 "), "{said}");
        let said = send(&[]);
        assert!(said.contains("530 5.7.0 Authentication required"), "{said}");
    }
}

#[test]
fn a_password_that_is_changed_counts_once_files_are_read_again() {
    let Some(program) = tool::find("gsasl") else { return };
    let guarded = Guarded::start();
    let file = guarded.folder.path().join("credentials");
    let mut command = Command::new(PROGRAM);
    output(command.arg("passwd").arg(&file).arg("tim"), b"eraser\n");
    guarded.node.reload("reloaded");
    let clear = ["--no-starttls", "--mechanism", "SCRAM-SHA-256"];
    let (is_in, said) = gsasl(&program, guarded.node.listener(1), "eraser", &clear);
    assert!(is_in, "{said}");
}
