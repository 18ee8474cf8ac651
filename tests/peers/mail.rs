//! Messages that are hard to carry unharmed, and how they are sent.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::network::Network;
use super::process::outcome;
use crate::tool;

/// A message from and to these, CRLF at line ends, with this body.
pub(crate) fn message(from: &str, to: &str, body: &str) -> String {
    format!("From: <{from}>\r\nTo: <{to}>\r\nSubject: a test\r\n\r\n{body}")
}

/// Lines that begin with dots, lines as long as lines may be, a line that looks like an mbox's.
pub(crate) fn hard_text() -> String {
    let lines = [
        ".",
        "..",
        ". begins with a dot",
        ".\tand a tab",
        "",
        "From here on, trailing blanks count:   ",
        "\t",
        "RSET",
        "QUIT",
    ];
    let long =
        [&"x".repeat(998), &format!(".{}", "y".repeat(997)), &"z".repeat(2_000)].map(Clone::clone);
    lines.into_iter().map(str::to_owned).chain(long).map(|line| line + "\r\n").collect()
}

/// `steps` for `talk`: one transaction with DATA.
pub(crate) fn transaction(from: &str, to: &[&str], options: &[&str], content: &str) -> Vec<Value> {
    let mut steps = vec![json!(["mail", from, options])];
    steps.extend(to.iter().map(|to| json!(["rcpt", to, []])));
    steps.push(json!(["data", content]));
    steps
}

/// What swaks shows of sending `content`; `None` where it is not installed.
pub(crate) fn swaks(
    network: &Network,
    server: SocketAddr,
    from: &str,
    to: &str,
    options: &[&str],
    content: &str,
) -> Option<String> {
    let program = tool::find("swaks")?;
    let mut command = network.command(program);
    command.args(["--server", &server.to_string(), "--ehlo", "client.example"]);
    command.args(["--from", from, "--to", to, "--data", "-"]).args(options);
    // swaks ends the last line itself.
    let content = content.strip_suffix("\r\n").unwrap_or(content);
    // Refusals are errors for swaks, and may be what a test is after.
    let (_, transcript, errors) = outcome(&mut command, content.as_bytes());
    Some(String::from_utf8_lossy(&transcript).into_owned() + &errors)
}
