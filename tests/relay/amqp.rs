//! The event log in a queue of Debian's RabbitMQ, which is killed as the node is.
//!
//! pika, another library in another language, makes the queue and reads what is in it.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use relay_fast::outcome::event::Kind;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use tempfile::TempDir;

use crate::certificates::Authority;
use crate::exporters::{logged, mail, published};
use crate::node::{Node, free_port, printed, text, to_upstream, wait_for};
use crate::sink::Sink;
use crate::tool;

/// The program that Debian's own starts as another user.
const PROGRAM: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// A broker with a folder of its own, and with the daemon that brokers find each other by; both
/// end with the test.
struct Broker {
    python: PathBuf,
    folder: TempDir,
    port: u16,
    tls: u16,
    finder: Child,
    finder_port: u16,
    child: Option<Child>,
}

impl Broker {
    /// `None` where there is none on this machine. `authority` says who it is where TLS is spoken.
    fn start(authority: &Authority) -> Option<Self> {
        let finder = tool::find("epmd")?;
        tool::find("rabbitmq-server")?;
        let has = |python: &&&str| {
            let mut asked = Command::new(python);
            asked
                .args(["-c", "import pika"])
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|s| s.success())
        };
        let Some(python) = ["python3", "/usr/bin/python3"].iter().find(has) else {
            tool::skip("no pika here; tests/run installs it");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let (port, tls, finder_port) = (free_port(), free_port(), free_port());
        authority.write("broker", &["localhost"]);
        let config = format!(
            "listeners.tcp.1 = 127.0.0.1:{port}\nlisteners.ssl.1 = 127.0.0.1:{tls}\n\
            ssl_options.certfile = {}\nssl_options.keyfile = {}\nssl_options.cacertfile = {}\n\
            vm_memory_high_watermark.absolute = 1GB\ndisk_free_limit.absolute = 1MB\n",
            authority.path("broker.pem"),
            authority.path("broker.key"),
            authority.file(),
        );
        fs::write(folder.path().join("rabbitmq.conf"), config).unwrap();
        let mut command = Command::new(finder);
        command.args(["-address", "127.0.0.1", "-port", &finder_port.to_string()]);
        let finder = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let python = python.into();
        let mut broker = Self { python, folder, port, tls, finder, finder_port, child: None };
        broker.run();
        Some(broker)
    }

    fn run(&mut self) {
        let folder = text(self.folder.path());
        let log = self.folder.path().join("out");
        let log = fs::File::options().create(true).append(true).open(log).unwrap();
        let mut command = Command::new(PROGRAM);
        let own = "-kernel inet_dist_use_interface {127,0,0,1}";
        command
            .env("HOME", folder)
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_EPMD_PORT", self.finder_port.to_string())
            .env("RABBITMQ_NODENAME", format!("test-{}@localhost", self.port))
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_CONFIG_FILE", format!("{folder}/rabbitmq.conf"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", format!("{folder}/plugins"))
            .env("RABBITMQ_MNESIA_BASE", format!("{folder}/db"))
            .env("RABBITMQ_LOG_BASE", format!("{folder}/log"))
            .env("RABBITMQ_PID_FILE", format!("{folder}/pid"))
            .env("RABBITMQ_DIST_PORT", free_port().to_string())
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", own)
            .current_dir(folder)
            // What it starts goes with it.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.child = Some(command.spawn().unwrap());
        wait_for("RabbitMQ", || TcpStream::connect(("127.0.0.1", self.tls)).ok());
    }

    fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        kill_process_group(Pid::from_child(&child), Signal::KILL).unwrap();
        child.wait().unwrap();
        wait_for("its end", || TcpStream::connect(("127.0.0.1", self.port)).err());
    }

    fn ask(&self, words: &[&str]) -> String {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/relay/amqp.py");
        let mut command = Command::new(&self.python);
        printed(&command.args([script, &self.port.to_string()]).args(words).output().unwrap())
    }

    fn count(&self) -> usize {
        self.ask(&["count", "events"]).trim().parse().unwrap()
    }

    /// All messages, which stay where they are.
    fn messages(&self) -> Vec<Value> {
        let told = self.ask(&["read", "events"]);
        told.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
        drop(self.finder.kill());
        drop(self.finder.wait());
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("out"));
            eprintln!("--- RabbitMQ ---\n{}", log.unwrap_or_default());
        }
    }
}

/// A node that has a login in its folder, and does not run yet.
fn node(login: &str) -> (Node, String) {
    let node = Node::idle("");
    let path = node.folder.path().join("broker.login");
    fs::write(&path, login).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    let path = text(&path).to_owned();
    (node, path)
}

fn exporter(to: &str, login: &str, more: &str) -> String {
    format!(
        "[[exporter]]\nname = \"bus\"\nkind = \"amqp\"\nto = \"{to}\"\ncredentials = \"{login}\"\n\
        exchange = \"mail\"\nrouting_key = \"mail.{{kind}}\"\ntimeout = \"5s\"\nbatch = 16\n{more}"
    )
}

/// What came for the first time, in the order it came, is in the order of each shard.
fn assert_order(events: &[(u8, u64)]) {
    let mut last = [None; 256];
    let mut seen = BTreeSet::new();
    for (shard, sequence) in events.iter().filter(|one| seen.insert(**one)) {
        let before = last[usize::from(*shard)].replace(*sequence);
        assert!(before < Some(*sequence), "{sequence} of shard {shard} after {before:?}");
    }
}

/// Until the node says this of why nobody takes its events.
fn wait_until_told(node: &Node, words: &str) {
    wait_for(words, || {
        let told: Value = serde_json::from_str(&node.get("/v1/exporters").1).unwrap();
        let error = told[0]["error"].as_str().unwrap_or_default().to_owned();
        error.contains(words).then_some(())
    });
}

#[test]
fn a_queue_has_each_event_in_order_though_both_sides_are_killed() {
    let authority = Authority::new("The authority");
    let Some(mut broker) = Broker::start(&authority) else { return };
    broker.ask(&["declare", "mail", "events", "mail.*"]);
    let sink = Sink::start();
    let (mut node, login) = node("guest:guest\n");
    let to = format!("amqp://127.0.0.1:{}", broker.port);
    node.configure(&to_upstream(&sink.address.to_string(), &exporter(&to, &login, "")));
    node.run(2);
    mail(&node, 20);
    node.wait_for_events(Kind::Delivered, 60);
    let all = logged(&node);
    wait_for("all events", || (broker.count() >= all.len()).then_some(()));
    let messages = broker.messages();
    let events = published(&messages);
    assert_eq!(events.len(), all.len(), "each event once");
    assert_eq!(events.iter().copied().collect::<BTreeSet<_>>(), all);
    assert_order(&events);
    for one in &messages {
        let event: Value = serde_json::from_str(one["body"].as_str().unwrap()).unwrap();
        let kind = event["kind"].as_str().unwrap();
        assert_eq!(one["key"], format!("mail.{kind}"));
        assert_eq!(one["id"], format!("node.example/{}/{}", event["shard"], event["sequence"]));
        assert_eq!((&one["kind"], &one["node"]), (&kind.into(), &"node.example".into()));
        assert_eq!((&one["mode"], &one["application"]), (&2.into(), &"relay-fast".into()));
        assert_eq!(one["form"], "application/json");
    }
    // The broker is gone for a while: mail goes on, and events wait.
    broker.kill();
    mail(&node, 10);
    node.wait_for_events(Kind::Delivered, 90);
    wait_until_told(&node, "onnection");
    // So is the node; it goes on where it was.
    node.kill();
    broker.run();
    node.run(2);
    mail(&node, 10);
    wait_for("an empty queue", || (node.stat("recipients") == 0).then_some(()));
    node.wait_for_events(Kind::Delivered, 110);
    let lag = "relay_fast_exporter_lag_bytes{exporter=\"bus\"}";
    wait_for("nothing waits", || (node.metric(lag) == 0.0).then_some(()));
    let events = published(&broker.messages());
    let (all, came) = (logged(&node), events.iter().copied().collect::<BTreeSet<_>>());
    assert!(all.is_subset(&came), "{:?} are missing", all.difference(&came));
    // What comes twice was in flight when one of them was killed.
    assert!(events.len() <= came.len() + 2 * 16, "{} events, {} of them", events.len(), came.len());
    assert_order(&events);
}

#[test]
fn why_a_broker_does_not_take_events_is_told_and_nothing_is_lost() {
    let authority = Authority::new("The authority");
    let Some(broker) = Broker::start(&authority) else { return };
    let sink = Sink::start();
    let (mut node, login) = node("guest:wrong\n");
    let trust = |authority: &Authority| format!("[tls]\nca = \"{}\"\n", authority.file());
    let config = |trusted: &Authority, more: &str| {
        let exporter = exporter(&format!("amqps://localhost:{}", broker.tls), &login, more);
        to_upstream(&sink.address.to_string(), &(trust(trusted) + &exporter))
    };
    let other = Authority::new("Another authority");
    node.configure(&config(&other, ""));
    node.run(2);
    mail(&node, 2);
    node.wait_for_events(Kind::Delivered, 6);
    wait_until_told(&node, "ertificate");
    // The right authority is in a folder that was not named at the start: a restart opens it.
    node.drain();
    node.configure(&config(&authority, "vhost = \"none\"\n"));
    node.run(2);
    wait_until_told(&node, "403 ACCESS_REFUSED");
    assert!(!node.get("/v1/exporters").1.contains("wrong"), "the password is nobody's business");
    let again = |node: &mut Node, config: &str, words: &str| {
        node.configure(config);
        node.signal(Signal::HUP);
        wait_until_told(node, words);
    };
    fs::write(&login, "guest:guest\n").unwrap();
    again(&mut node, &config(&authority, "vhost = \"none\"\n"), "vhost none not found");
    again(&mut node, &config(&authority, ""), "404 NOT_FOUND - no exchange 'mail'");
    // There is an exchange now, but nobody wants what became of mail.
    broker.ask(&["declare", "mail", "events", "mail.other"]);
    wait_until_told(&node, "312 NO_ROUTE, exchange `mail`, key `mail.");
    assert_eq!(broker.count(), 0);
    broker.ask(&["declare", "mail", "events", "#"]);
    let all = logged(&node);
    wait_for("all events", || (broker.count() >= all.len()).then_some(()));
    assert_eq!(published(&broker.messages()).into_iter().collect::<BTreeSet<_>>(), all);
    assert!(!node.get("/v1/exporters").1.contains("failing_since\":\""));
}
