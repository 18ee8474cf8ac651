//! The relay under test: the built program, with its own spool and configuration file.

use std::io::{Read, Write};
use std::net::SocketAddr;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::network::Network;
use super::process::{Running, output, until};

/// What the relay calls itself.
pub(crate) const HOSTNAME: &str = "relay.example";

const PROGRAM: &str = env!("CARGO_BIN_EXE_relay-fast");

/// A running relay.
#[derive(Debug)]
pub(crate) struct Node<'n> {
    network: &'n Network,
    process: Running,
    folder: tempfile::TempDir,
    listeners: Vec<SocketAddr>,
    admin: SocketAddr,
}

impl<'n> Node<'n> {
    /// Run a relay with `config`, a configuration file without `spool`.
    pub(crate) fn start(network: &'n Network, config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("relay.toml");
        std::fs::write(&file, format!("{config}\n[spool]\nsegment_size = \"16MiB\"\n")).unwrap();
        let mut command = network.command(PROGRAM);
        command.arg("--config").arg(&file).arg("--spool").arg(folder.path().join("spool"));
        command.args(["--cores", "2", "--hostname", HOSTNAME, "--admin", "127.0.0.1:0"]);
        let mut process = Running::start(&command, &folder.path().join("log"));
        let (listeners, admin) = until("the relay is ready", || {
            let alive = process.is_alive();
            let log = process.log();
            assert!(alive, "the relay has ended: {log}");
            ready(&log)
        });
        // Nothing else is waited for: whoever comes from now on must be served.
        Self { network, process, folder, listeners, admin }
    }

    /// Have it read its files again, and wait until it says `expected` of that.
    pub(crate) fn reload(&self, expected: &str) {
        let before = self.log().len();
        let id = Pid::from_raw(self.process.id().try_into().unwrap()).unwrap();
        kill_process(id, Signal::HUP).unwrap();
        until("it has read its files again", || {
            let log = self.log();
            log[before..].contains(expected).then_some(())
        });
    }

    /// Where it listens, in the order of the file.
    pub(crate) fn listener(&self, number: usize) -> SocketAddr {
        self.listeners[number]
    }

    /// What `relay-fast` prints with these arguments about this relay.
    pub(crate) fn ask(&self, arguments: &[&str]) -> String {
        let mut command = self.network.command(PROGRAM);
        command.args(arguments).arg("--admin").arg(self.admin.to_string());
        command.arg("--spool").arg(self.folder.path().join("spool"));
        String::from_utf8(output(&mut command, b"")).unwrap()
    }

    /// Wait until nothing is in its queue: all is delivered or bounced, DSNs as well.
    pub(crate) fn wait_until_empty(&self) {
        until("the queue is empty", || {
            let stats = self.ask(&["queue", "stats"]);
            let mut words = stats.split_whitespace();
            (words.next() == Some("messages") && words.next() == Some("0")).then_some(())
        });
    }

    /// Its event log.
    pub(crate) fn events(&self) -> Vec<Value> {
        let mut events = Vec::new();
        for entry in std::fs::read_dir(self.folder.path().join("spool/events")).unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            // The last line may still be being written.
            let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            events.extend(whole.map(|line| serde_json::from_str::<Value>(line).unwrap()));
        }
        events
    }

    /// Wait for an event of this kind about this recipient.
    pub(crate) fn wait_for_event(&self, kind: &str, recipient: &str) -> Value {
        let is_it = |event: &Value| event["kind"] == kind && event["recipient"] == recipient;
        until(&format!("{recipient} {kind}"), || self.events().into_iter().find(is_it))
    }

    /// What its admin address says at `path`; `None` for an error.
    pub(crate) fn get(&self, path: &str) -> Option<String> {
        let mut stream = self.network.connect(self.admin).ok()?;
        write!(stream, "GET /{path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        (head.split(' ').nth(1)? == "200").then(|| body.to_owned())
    }

    /// What it has written about itself.
    pub(crate) fn log(&self) -> String {
        self.process.log()
    }
}

/// The addresses in the log line that says that the relay is ready.
fn ready(log: &str) -> Option<(Vec<SocketAddr>, SocketAddr)> {
    let line = log.lines().find(|line| line.contains(" ready "))?;
    let (_, rest) = line.split_once("listen=[")?;
    let (listeners, admin) = rest.split_once("] admin=")?;
    let listeners = listeners.split(", ").map(|one| one.parse().unwrap()).collect();
    let admin = admin.split_whitespace().next()?.parse().unwrap();
    Some((listeners, admin))
}
