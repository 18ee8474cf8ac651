//! A small internet in a namespace: a name server, MX hosts on port 25, and a relay.

use std::net::IpAddr;
use std::path::Path;

use serde_json::{Value, json};

use super::mail::transaction;
use super::network::Network;
use super::node::Node;
use super::process::{Running, output, until};
use super::python::{self, read_dsn, talk};
use super::sink::{ALL, Sink};
use crate::tool;

/// Addresses on which the MX hosts of all domains listen.
const HOSTS: [&str; 5] = ["10.25.0.1", "10.25.0.2", "10.25.0.3", "10.25.0.9", "2001:db8::25"];

/// This machine's, but nobody listens on port 25 there: connections are refused.
pub(crate) const REFUSING: &str = "10.25.0.66";

/// On a network that this machine is on; nobody there has it.
pub(crate) const SILENT: &str = "10.26.0.66";

/// Where the relay itself takes mail, as an MX host.
pub(crate) const OWN: &str = "10.25.0.100";

/// Who sends, and reads DSNs.
pub(crate) const SENDER: &str = "s@sender.example";

const ZONE: &str = "\
$ORIGIN example.
$TTL 300
@         SOA   ns root 1 3600 600 86400 60
@         NS    ns
ns        A     127.0.0.1
one       A     10.25.0.1
two       A     10.25.0.2
three     A     10.25.0.3
home      A     10.25.0.9
six       AAAA  2001:db8::25
refusing  A     10.25.0.66
silent    A     10.26.0.66
relay     A     10.25.0.100
nickname  A     10.25.0.100
sender    MX    10 home
";

/// All of it.
pub(crate) struct World<'n> {
    pub(crate) node: Node<'n>,
    pub(crate) sink: Sink,
    network: &'n Network,
    _knot: Running,
    _folder: tempfile::TempDir,
}

/// A network with all the addresses; `None` where that, or a program, is missing.
pub(crate) fn network() -> Option<Network> {
    if !python::is_here() {
        return None;
    }
    for tool in ["knotd", "kdig"] {
        tool::find(tool)?;
    }
    let network = Network::own()?;
    for address in HOSTS.iter().chain(&[REFUSING, OWN]) {
        network.add(address.parse::<IpAddr>().unwrap());
    }
    network.ip("link add there type veth peer name nobody");
    network.ip("address add 10.26.0.1/24 dev there");
    network.ip("link set there up");
    network.ip("link set nobody up");
    Some(network)
}

impl<'n> World<'n> {
    /// The name server has `records` beside those above, in the zone `example`; it is also meant
    /// to serve `broken.test`, but has not got its zone.
    pub(crate) fn new(network: &'n Network, records: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let knot = start_knot(network, folder.path(), records);
        let addresses = HOSTS.map(|host| {
            if host.contains(':') { format!("[{host}]:25") } else { format!("{host}:25") }
        });
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        let offers: Vec<_> = ALL.iter().flat_map(|keyword| ["--offer", keyword]).collect();
        let sink = Sink::with(network, &offers, &addresses);
        let config = format!(
            "[[listener]]\naddress = \"127.0.0.1:2525\"\n\
             [[listener]]\naddress = \"{OWN}:25\"\nrelay_for = [\"10.25.0.0/24\"]\n\
             [dns]\nservers = [\"127.0.0.1\"]\n"
        );
        let node = Node::start(network, &config);
        Self { node, sink, network, _knot: knot, _folder: folder }
    }

    /// Send a message to each of these.
    pub(crate) fn send(&self, recipients: &[&str]) {
        let mut steps = vec![json!(["ehlo", "client.example"])];
        for to in recipients {
            let content = format!("Subject: for {to}\r\n\r\nhello\r\n");
            steps.extend(transaction(SENDER, &[to], &[], &content));
        }
        let replies = talk(self.network, self.node.listener(0), &steps);
        for reply in replies.iter().skip(3).step_by(3) {
            assert_eq!(reply.status(), (250, "2.0.0"), "{replies:?}");
        }
    }

    /// What kdig prints of an answer of the name server.
    pub(crate) fn ask_dns(&self, question: &[&str]) -> String {
        let mut kdig = self.network.command("kdig");
        String::from_utf8(output(kdig.arg("@127.0.0.1").args(question), b"")).unwrap()
    }

    /// Where the mail for `address` came to.
    pub(crate) fn came_to(&self, address: &str) -> IpAddr {
        self.sink.wait_for(address).at
    }

    /// The DSNs that came, as Python reads them, once there are so many.
    pub(crate) fn dsns(&self, count: usize) -> Vec<Value> {
        let came = until(&format!("{count} DSNs"), || {
            let mut kept = self.sink.kept();
            kept.retain(|kept| kept.is_for(SENDER));
            (kept.len() == count).then_some(kept)
        });
        came.iter().map(|kept| read_dsn(&kept.content())).collect()
    }
}

/// A name server for the zone `example`, with these records beside those above.
pub(crate) fn start_knot(network: &Network, folder: &Path, records: &str) -> Running {
    let at = folder.display();
    let config = format!(
        "server:\n  rundir: {at}\n  listen: 127.0.0.1@53\ndatabase:\n  storage: {at}\n\
         zone:\n  - domain: example\n    storage: {at}\n    file: example.zone\n  \
         - domain: broken.test\n    storage: {at}\n    file: missing.zone\n"
    );
    std::fs::write(folder.join("example.zone"), format!("{ZONE}{records}")).unwrap();
    std::fs::write(folder.join("knot.conf"), config).unwrap();
    let mut command = network.command(tool::find("knotd").unwrap());
    let mut knot =
        Running::start(command.arg("-c").arg(folder.join("knot.conf")), &folder.join("log"));
    until("the name server answers", || {
        assert!(knot.is_alive(), "knotd has ended: {}", knot.log());
        let kdig = ["+short", "+timeout=1", "@127.0.0.1", "ns.example", "A"];
        let answer = output(network.command("kdig").args(kdig), b"");
        (answer == b"127.0.0.1\n").then_some(())
    });
    knot
}
