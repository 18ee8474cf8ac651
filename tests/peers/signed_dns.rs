//! Zones that Knot DNS signs and unbound validates; a web server of Python's for policies.

use std::net::IpAddr;
use std::path::Path;

use super::network::Network;
use super::process::{Running, output, until};
use super::python::{self, script};
use crate::tool;

/// A network of its own with these addresses, if all that serves in it is installed.
pub(crate) fn network<const N: usize>(addresses: [&str; N]) -> Option<Network> {
    if !python::is_here() {
        return None;
    }
    for program in ["knotd", "kdig", "unbound"] {
        tool::find(program)?;
    }
    let network = Network::own()?;
    addresses.iter().for_each(|address| network.add(address.parse::<IpAddr>().unwrap()));
    Some(network)
}

/// An authoritative server on port 5300 for these zones, the first of them signed.
pub(crate) fn start_knot(network: &Network, folder: &Path, zones: &[(&str, &str)]) -> Running {
    let at = folder.display();
    let mut config = format!(
        "server:\n  rundir: {at}\n  listen: 127.0.0.1@5300\ndatabase:\n  storage: {at}\nzone:\n"
    );
    for (number, (name, text)) in zones.iter().enumerate() {
        let signing = if number == 0 { "on" } else { "off" };
        config += &format!(
            "  - domain: {name}\n    storage: {at}\n    file: {name}.zone\n    \
             dnssec-signing: {signing}\n"
        );
        std::fs::write(folder.join(format!("{name}.zone")), text).unwrap();
    }
    std::fs::write(folder.join("knot.conf"), config).unwrap();
    let mut command = network.command(tool::find("knotd").unwrap());
    command.arg("-c").arg(folder.join("knot.conf"));
    let mut knot = Running::start(&command, &folder.join("knot.log"));
    until("the name server has signed its zone", || {
        assert!(knot.is_alive(), "knotd has ended: {}", knot.log());
        key(network, zones[0].0).map(drop)
    });
    knot
}

/// The key that signs the zone's keys.
fn key(network: &Network, zone: &str) -> Option<String> {
    let mut kdig = network.command("kdig");
    kdig.args(["+short", "+timeout=1", "@127.0.0.1", "-p", "5300", zone, "DNSKEY"]);
    let keys = String::from_utf8(output(&mut kdig, b"")).unwrap();
    keys.lines().find(|line| line.starts_with("257 ")).map(str::to_owned)
}

/// A recursive server on port 53 for these zones, the first of which it validates; it has a host
/// `ns`.
pub(crate) fn start_unbound(network: &Network, folder: &Path, zones: &[&str]) -> Running {
    let at = folder.display();
    let (signed, key) = (zones[0], key(network, zones[0]).unwrap());
    let mut config = format!(
        "server:\n  interface: 127.0.0.1\n  port: 53\n  do-daemonize: no\n  chroot: \"\"\n  \
         username: \"\"\n  directory: \"{at}\"\n  pidfile: \"{at}/unbound.pid\"\n  \
         use-syslog: no\n  logfile: \"\"\n  do-not-query-localhost: no\n  \
         module-config: \"validator iterator\"\n  trust-anchor: \"{signed}. DNSKEY {key}\"\n"
    );
    for zone in zones {
        config += &format!("  local-zone: \"{zone}\" nodefault\n");
    }
    config += "remote-control:\n  control-enable: no\n";
    for zone in zones {
        config += &format!("stub-zone:\n  name: \"{zone}\"\n  stub-addr: 127.0.0.1@5300\n");
    }
    let file = folder.join("unbound.conf");
    std::fs::write(&file, config).unwrap();
    let mut command = network.command(tool::find("unbound").unwrap());
    command.arg("-d").arg("-c").arg(file);
    let mut unbound = Running::start(&command, &folder.join("unbound.log"));
    until("the resolver validates", || {
        assert!(unbound.is_alive(), "unbound has ended: {}", unbound.log());
        let host = format!("ns.{signed}");
        let asked = ["+dnssec", "+timeout=1", "@127.0.0.1", &host, "A"];
        let answer = output(network.command("kdig").args(asked), b"");
        String::from_utf8(answer).unwrap().contains("; Flags: qr rd ra ad").then_some(())
    });
    unbound
}

/// See `https.py`.
pub(crate) fn start_web(
    network: &Network,
    folder: &Path,
    certificate: &str,
    address: &str,
) -> Running {
    let mut command = network.command("python3");
    command.arg(script("https.py")).arg(folder).args([certificate, address]);
    let mut web = Running::start(&command, &folder.join("log"));
    until("the web server listens", || {
        assert!(web.is_alive(), "the web server has ended: {}", web.log());
        folder.join("ready").exists().then_some(())
    });
    web
}
