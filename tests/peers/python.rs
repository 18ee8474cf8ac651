//! Python's own libraries as a peer: smtplib speaks to the relay, email reads what it wrote.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::network::Network;
use super::process::output;
use crate::tool;

/// A script of this folder.
pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(name)
}

/// What smtplib's client got in answer to each of `steps`; see `talk.py` for what may be said.
pub(crate) fn talk(network: &Network, server: SocketAddr, steps: &[Value]) -> Vec<Replied> {
    let mut command = network.command("python3");
    command.arg(script("talk.py")).arg(server.ip().to_string()).arg(server.port().to_string());
    let answer = output(&mut command, json!(steps).to_string().as_bytes());
    let answers: Vec<(u16, String)> = serde_json::from_slice(&answer).unwrap();
    answers.into_iter().map(|(code, text)| Replied { code, text }).collect()
}

/// A reply as smtplib understood it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Replied {
    pub(crate) code: u16,
    pub(crate) text: String,
}

impl Replied {
    /// Code and enhanced status.
    pub(crate) fn status(&self) -> (u16, &str) {
        (self.code, self.text.split(' ').next().unwrap_or_default())
    }
}

/// A DSN as Python's email package reads it; see `dsn.py` for what is in it.
pub(crate) fn read_dsn(content: &[u8]) -> Value {
    let mut command = Network::Shared.command("python3");
    let read = output(command.arg(script("dsn.py")), content);
    let dsn: Value = serde_json::from_slice(&read).unwrap();
    assert_eq!(dsn["defects"], json!([]), "{}", String::from_utf8_lossy(content));
    dsn
}

/// Whether Python is here; else the test is skipped.
pub(crate) fn is_here() -> bool {
    tool::find("python3").is_some()
}
