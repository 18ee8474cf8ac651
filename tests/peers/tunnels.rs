//! Proxies that mail leaves through: microsocks, and HAProxy, which takes a PROXY header.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::mail::{message, swaks};
use super::network::{Network, free_address};
use super::node::Node;
use super::process::{Running, until};
use super::sink::{ALL, Sink};
use crate::tool;

const FROM: &str = "a@a.example";
const TO: &str = "b@b.example";

/// A relay all of whose mail leaves for `sink` through `proxy`.
fn relay(sink: &Sink, proxy: &str) -> Node<'static> {
    let config = format!(
        "default_route = \"sink\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
        [[upstream]]\nname = \"sink\"\nhosts = \"{}\"\n\
        [[source]]\nname = \"out\"\naddress = \"127.0.0.9\"\n{proxy}\n",
        sink.address()
    );
    Node::start(&Network::Shared, &config)
}

/// A message goes through, however it is split.
fn passes(node: &Node<'_>, sink: &Sink) {
    let content = message(FROM, TO, "hello\r\n");
    swaks(&Network::Shared, node.listener(0), FROM, TO, &[], &content).unwrap();
    node.wait_until_empty();
    assert_eq!(sink.kept().len(), 1);
    assert_eq!(node.wait_for_event("delivered", TO)["source"], "out");
}

/// A proxy, started by what is said for its place; which may turn out to be taken.
fn start(command: impl Fn(SocketAddr) -> Command, log: &std::path::Path) -> (Running, SocketAddr) {
    for _ in 0..5 {
        let place = free_address();
        let mut process = Running::start(&command(place), log);
        let is_open = until("a proxy that listens or has ended", || {
            let open = TcpStream::connect(place).is_ok();
            if open { Some(true) } else { (!process.is_alive()).then_some(false) }
        });
        if is_open {
            return (process, place);
        }
    }
    panic!("no proxy");
}

#[test]
fn microsocks_brings_mail_on_to_whom_it_knows() {
    let Some(program) = tool::find("microsocks") else { return };
    let (sink, folder) = (Sink::start(&Network::Shared, &ALL), tempfile::tempdir().unwrap());
    let (file, log) = (folder.path().join("login"), folder.path().join("log"));
    let command = |place: SocketAddr| {
        let mut command = Command::new(&program);
        let (address, port) = (place.ip().to_string(), place.port().to_string());
        command.args(["-i", &address, "-p", &port, "-u", "relay", "-P", "geheim"]);
        command
    };
    let (_process, place) = start(command, &log);
    let proxy = format!("proxy = \"socks5://{place}\"\nproxy_login = \"{}\"", file.display());
    std::fs::write(&file, "relay:wrong\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let node = relay(&sink, &proxy);
    let content = message(FROM, TO, "hello\r\n");
    swaks(&Network::Shared, node.listener(0), FROM, TO, &[], &content).unwrap();
    let deferred = node.wait_for_event("deferred", TO).to_string();
    assert!(deferred.contains("the proxy does not take name and password"), "{deferred}");
    drop(node);
    std::fs::write(&file, "relay:geheim\n").unwrap();
    passes(&relay(&sink, &proxy), &sink);
}

#[test]
fn haproxy_connects_to_whom_the_header_names() {
    let Some(program) = tool::find("haproxy") else { return };
    let (sink, folder) = (Sink::start(&Network::Shared, &ALL), tempfile::tempdir().unwrap());
    let (file, log) = (folder.path().join("haproxy.cfg"), folder.path().join("log"));
    let command = |place: SocketAddr| {
        let config = format!(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n\
            listen out\n bind {place} accept-proxy\n server peer 0.0.0.0:0\n"
        );
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new(&program);
        command.arg("-db").arg("-f").arg(&file);
        command
    };
    let (_process, place) = start(command, &log);
    passes(&relay(&sink, &format!("proxy = \"haproxy://{place}\"")), &sink);
}
