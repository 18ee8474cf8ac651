//! Sinks: where the relay delivers, and what came there.

use std::net::SocketAddr;

use serde::Deserialize;

use super::network::{Network, free_address, is_root};
use super::process::{Running, until};
use super::python::script;
use crate::tool;

/// Everything that a peer may offer.
pub(crate) const ALL: [&str; 6] =
    ["PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8", "CHUNKING", "ENHANCEDSTATUSCODES"];

/// A sink that keeps whole transactions: `sink.py`.
#[derive(Debug)]
pub(crate) struct Sink {
    _process: Running,
    folder: tempfile::TempDir,
    addresses: Vec<SocketAddr>,
}

/// A transaction as a sink saw it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Kept {
    /// The address that it came to.
    pub(crate) at: std::net::IpAddr,
    /// The version of TLS that it came through; empty in clear.
    pub(crate) tls: String,
    pub(crate) hello: String,
    pub(crate) mail: String,
    pub(crate) rcpt: Vec<String>,
    /// All commands of the transaction.
    pub(crate) verbs: Vec<String>,
    /// Whether something came behind a command before its reply.
    pub(crate) pipelined: bool,
    /// Octets, each as the character of that number.
    content: String,
}

impl Kept {
    pub(crate) fn content(&self) -> Vec<u8> {
        self.content.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
    }

    /// Whether one of the forward-paths is `<address>`.
    pub(crate) fn is_for(&self, address: &str) -> bool {
        self.rcpt.iter().any(|line| line.contains(&format!("<{address}>")))
    }
}

impl Sink {
    /// A sink on a port of the kernel's choice that offers `offers`.
    pub(crate) fn start(network: &Network, offers: &[&str]) -> Self {
        let options: Vec<_> = offers.iter().flat_map(|keyword| ["--offer", keyword]).collect();
        Self::with(network, &options, &["127.0.0.1:0"])
    }

    /// A sink with these options of `sink.py` on these addresses.
    pub(crate) fn with(network: &Network, options: &[&str], addresses: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = network.command("python3");
        command.arg(script("sink.py")).arg(folder.path()).args(options).args(addresses);
        let mut process = Running::start(&command, &folder.path().join("log"));
        let addresses = until("the sink listens", || {
            assert!(process.is_alive(), "the sink has ended: {}", process.log());
            let ready = std::fs::read(folder.path().join("ready")).ok()?;
            Some(serde_json::from_slice(&ready).unwrap())
        });
        Self { _process: process, folder, addresses }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// All that came, in order.
    pub(crate) fn kept(&self) -> Vec<Kept> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        files.sort();
        let read = |path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        files.into_iter().map(read).collect()
    }

    /// Wait for what comes for `address`.
    pub(crate) fn wait_for(&self, address: &str) -> Kept {
        until(&format!("mail for {address}"), || {
            self.kept().into_iter().find(|kept| kept.is_for(address))
        })
    }
}

/// Postfix's smtp-sink on a free port, with these options; `None` where it is not installed.
pub(crate) fn smtp_sink(
    options: &[&str],
    folder: &std::path::Path,
) -> Option<(Running, SocketAddr)> {
    let program = tool::find("smtp-sink")?;
    // The port was free a moment ago, but may be taken by now: then another is tried.
    for _ in 0..8 {
        let address = free_address();
        let mut command = Network::Shared.command(&program);
        if is_root() {
            command.args(["-u", "postfix"]);
        }
        command.args(options).arg(address.to_string()).arg("100");
        let mut sink = Running::start(&command, &folder.join("smtp-sink"));
        let listens = until("smtp-sink listens or has ended", || {
            let connected = std::net::TcpStream::connect(address).is_ok();
            (connected || !sink.is_alive()).then_some(connected)
        });
        if listens && sink.is_alive() {
            return Some((sink, address));
        }
    }
    panic!("smtp-sink does not start");
}
