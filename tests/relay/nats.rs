//! The event log in a stream of Debian's nats-server, which is killed as the node is.
//!
//! The test speaks NATS by itself: what it finds in the stream is not what our own library says.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use nkeys::KeyPair;
use relay_fast::outcome::event::Kind;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::certificates::Authority;
use crate::client::send;
use crate::node::{Node, free_port, text, to_upstream, wait_for};
use crate::receiver::named;
use crate::sink::Sink;
use crate::tool;

const STREAM: &str = "MAIL";

/// A server with a folder for its streams; it ends with the test.
struct Server {
    program: PathBuf,
    folder: TempDir,
    port: u16,
    child: Option<Child>,
    /// Whom the test is, where the server wants to know.
    login: Option<(String, KeyPair)>,
}

impl Server {
    /// `None` where there is none on this machine. It does not run yet.
    fn idle() -> Option<Self> {
        let program = tool::find("nats-server")?;
        let folder = tempfile::tempdir().unwrap();
        Some(Self { program, folder, port: free_port(), child: None, login: None })
    }

    fn start(&mut self, more: &[&str]) {
        let log = fs::File::create(self.folder.path().join("log")).unwrap();
        let mut command = Command::new(&self.program);
        command.args(["-js", "-a", "127.0.0.1", "-p", &self.port.to_string(), "-sd"]);
        command.arg(self.folder.path()).args(more);
        let child = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(child.spawn().unwrap());
        wait_for("nats-server", || TcpStream::connect(self.address()).ok());
    }

    fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// Ask JetStream, as its documentation has it.
    fn ask(&self, subject: &str, request: &Value) -> Value {
        let mut stream = BufReader::new(TcpStream::connect(self.address()).unwrap());
        let payload = request.to_string();
        let length = payload.len();
        let mut info = String::new();
        stream.read_line(&mut info).unwrap();
        let connect = match &self.login {
            None => json!({"verbose": false}),
            Some((jwt, key)) => {
                let info: Value = serde_json::from_str(&info["INFO ".len()..]).unwrap();
                let nonce = info["nonce"].as_str().unwrap();
                let signature = URL_SAFE_NO_PAD.encode(key.sign(nonce.as_bytes()).unwrap());
                json!({"verbose": false, "jwt": jwt, "sig": signature})
            }
        };
        let text = format!(
            "CONNECT {connect}\r\nSUB answers 1\r\n\
            PUB $JS.API.{subject} answers {length}\r\n{payload}\r\n"
        );
        stream.get_mut().write_all(text.as_bytes()).unwrap();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            if let Some(rest) = line.strip_prefix("MSG answers 1 ") {
                let mut answer = vec![0; rest.trim().parse().unwrap()];
                stream.read_exact(&mut answer).unwrap();
                return serde_json::from_slice(&answer).unwrap();
            }
            assert!(line.starts_with("PING"), "{line}");
        }
    }

    fn make_stream(&self) {
        let config = json!({"name": STREAM, "subjects": ["mail.>"], "storage": "file"});
        let made = self.ask(&format!("STREAM.CREATE.{STREAM}"), &config);
        assert!(made.get("error").is_none(), "{made}");
    }

    /// How many messages the stream holds.
    fn count(&self) -> u64 {
        let state = self.ask(&format!("STREAM.INFO.{STREAM}"), &json!({}));
        state["state"]["messages"].as_u64().unwrap()
    }

    /// Subject and content of each message.
    fn messages(&self) -> Vec<(String, Vec<u8>)> {
        let get = |seq: u64| {
            let answer = self.ask(&format!("STREAM.MSG.GET.{STREAM}"), &json!({"seq": seq}));
            let message = &answer["message"];
            let data = STANDARD.decode(message["data"].as_str().unwrap()).unwrap();
            (message["subject"].as_str().unwrap().to_owned(), data)
        };
        (1..=self.count()).map(get).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("log"));
            eprintln!("--- nats-server ---\n{}", log.unwrap_or_default());
        }
    }
}

fn exporter(scheme: &str, host: &str, port: u16) -> String {
    format!(
        "[[exporter]]\nname = \"nats\"\nkind = \"nats\"\nto = \"{scheme}://{host}:{port}\"\n\
        subject = \"mail.{{kind}}\"\ntimeout = \"2s\"\nbatch = 16\n"
    )
}

fn mail(node: &Node, count: usize) {
    for number in 0..count {
        let to = ["<a@b.example>", "<b@b.example>", "<c@b.example>"];
        send(node.listen[0], "<s@a.example>", &to, &format!("{number}"));
    }
}

#[test]
fn a_stream_has_each_event_once_though_both_sides_are_killed() {
    let Some(mut server) = Server::idle() else { return };
    server.start(&[]);
    let sink = Sink::start();
    let config = exporter("nats", "127.0.0.1", server.port);
    let mut node = Node::to(sink.address, &config);
    // There is no stream yet: that is a failure as any other.
    mail(&node, 3);
    let failures = "relay_fast_exporter_failures_total{exporter=\"nats\"}";
    wait_for("a failure", || (node.metric(failures) >= 1.0).then_some(()));
    server.make_stream();
    wait_for("the first events", || (server.count() > 0).then_some(()));
    for _ in 0..3 {
        let before = node.events().len();
        mail(&node, 10);
        wait_for("some of it", || (node.events().len() >= before + 30).then_some(()));
        node.kill();
        node.run(2);
        server.kill();
        mail(&node, 10);
        server.start(&[]);
    }
    // A kill may cost events that were not written yet, and has some mail delivered twice.
    wait_for("an empty queue", || (node.stat("recipients") == 0).then_some(()));
    let expected = wait_for("all events", || {
        let events = node.events();
        let all: BTreeSet<_> = events.iter().map(|event| (event.shard.0, event.sequence)).collect();
        (server.count() >= all.len() as u64).then_some(all)
    });
    assert!(expected.len() > 100);
    let messages = server.messages();
    let published: Vec<_> = messages.iter().map(|(_, data)| named(data)).collect();
    assert_eq!(published.iter().copied().collect::<BTreeSet<_>>(), expected);
    assert_eq!(published.len(), expected.len(), "repeats are dropped by their ids");
    for (subject, data) in &messages {
        let event: Value = serde_json::from_slice(data).unwrap();
        assert_eq!(subject, &format!("mail.{}", event["kind"].as_str().unwrap()));
    }
}

#[test]
fn a_server_is_who_its_certificate_says_or_gets_nothing() {
    let Some(mut server) = Server::idle() else { return };
    server.start(&[]);
    server.make_stream();
    server.kill();
    let authority = Authority::new("The authority");
    authority.write("nats", &["localhost"]);
    let (chain, key) = (authority.path("nats.pem"), authority.path("nats.key"));
    let monitor = free_port();
    let tls = ["--tls", "--tlscert", &chain, "--tlskey", &key, "-m", &monitor.to_string()]
        .map(Into::into);
    let tls: Vec<String> = tls.into();
    let words: Vec<&str> = tls.iter().map(String::as_str).collect();
    server.start(&words);
    let sink = Sink::start();
    let trust = |authority: &Authority| format!("[tls]\nca = \"{}\"\n", authority.file());
    let config = |trusted: &Authority| {
        let exporter = exporter("tls", "localhost", server.port);
        to_upstream(&sink.address.to_string(), &(trust(trusted) + &exporter))
    };
    let other = Authority::new("Another authority");
    let mut node = Node::start(&config(&other));
    mail(&node, 2);
    let failing = "relay_fast_exporter_failing{exporter=\"nats\"}";
    wait_for("a failure", || (node.metric(failing) == 1.0).then_some(()));
    let (_, told) = node.get("/v1/exporters");
    assert!(told.to_lowercase().contains("certificate"), "{told}");
    let count = || -> u64 {
        let mut stream = TcpStream::connect(("127.0.0.1", monitor)).unwrap();
        stream.write_all(b"GET /jsz HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str::<Value>(body).unwrap()["messages"].as_u64().unwrap()
    };
    assert_eq!(count(), 0);
    // The right one is in a folder that was not named at the start: a restart opens it.
    node.drain();
    node.configure(&config(&authority));
    node.run(2);
    let events = node.wait_for_events(Kind::Delivered, 6).len() as u64;
    wait_for("all events", || (count() == events).then_some(()));
}

/// A claim about `subject`, signed by `issuer`, as NATS has them.
fn claim(issuer: &KeyPair, subject: &KeyPair, what: &Value) -> String {
    let (issued_by, about) = (issuer.public_key(), subject.public_key());
    let claims = json!({"jti": about, "iat": 1, "iss": issued_by, "sub": about, "nats": what});
    let header = json!({"typ": "JWT", "alg": "ed25519-nkey"});
    let parts = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let signed = parts.join(".");
    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{signature}")
}

#[test]
fn a_server_that_wants_to_know_who_comes_is_shown_credentials() {
    let Some(mut server) = Server::idle() else { return };
    let (operator, system, account) =
        (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_account());
    let user = KeyPair::new_user();
    let all = json!({"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1,
        "wildcards": true, "conn": -1, "leaf": -1, "mem_storage": -1, "disk_storage": -1,
        "streams": -1, "consumer": -1});
    let none = json!({"subs": -1, "data": -1, "payload": -1, "conn": -1});
    let of_account = |limits: &Value| json!({"type": "account", "version": 2, "limits": limits});
    let operated = claim(&operator, &operator, &json!({"type": "operator", "version": 2}));
    let of_system = claim(&operator, &system, &of_account(&none));
    let of_mail = claim(&operator, &account, &of_account(&all));
    let allowed = json!({"type": "user", "version": 2, "pub": {}, "sub": {}, "subs": -1,
        "data": -1, "payload": -1});
    let jwt = claim(&account, &user, &allowed);
    let config = server.folder.path().join("nats.conf");
    let (system, account) = (system.public_key(), account.public_key());
    let text_of_config = format!(
        "operator: {operated}\nsystem_account: {system}\nresolver: MEMORY\n\
        resolver_preload: {{ {system}: {of_system}, {account}: {of_mail} }}\n"
    );
    fs::write(&config, text_of_config).unwrap();
    server.login = Some((jwt.clone(), user));
    server.start(&["-c", text(&config)]);
    server.make_stream();
    let sink = Sink::start();
    let mut node = Node::idle("");
    let seed = server.login.as_ref().unwrap().1.seed().unwrap();
    let credentials = node.folder.path().join("node.creds");
    let content = format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
        -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    );
    fs::write(&credentials, content).unwrap();
    fs::set_permissions(&credentials, Permissions::from_mode(0o600)).unwrap();
    let anonymous = exporter("nats", "127.0.0.1", server.port);
    let config = |more: &str| to_upstream(&sink.address.to_string(), &(anonymous.clone() + more));
    node.configure(&config(""));
    node.run(2);
    mail(&node, 2);
    let events = node.wait_for_events(Kind::Delivered, 6).len() as u64;
    let failing = "relay_fast_exporter_failing{exporter=\"nats\"}";
    wait_for("a failure", || (node.metric(failing) == 1.0).then_some(()));
    assert!(
        node.get("/v1/exporters").1.contains("authorization"),
        "{}",
        node.get("/v1/exporters").1
    );
    node.configure(&config(&format!("credentials = \"{}\"\n", text(&credentials))));
    node.signal(Signal::HUP);
    wait_for("all events", || (server.count() == events).then_some(()));
}
