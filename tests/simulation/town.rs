//! Build a world: next hops, domains, mail and clients.

use std::net::{Ipv4Addr, SocketAddr};

use crate::agenda::Agenda;
use crate::ledger::{Addressee, Mail, Notify, Verdict};
use crate::peer::Host;
use crate::world::World;
use crate::zone::Owner;

/// The domain that all reverse-paths are in.
pub(crate) const BACK: &str = "back.example";

/// For the end of what `config` makes: its listener answers from memory.
pub(crate) fn from_memory(config: &str) -> String {
    let listener = "[[listener]]\n";
    assert!(config.contains(listener));
    config.replace(listener, &format!("{listener}durability = \"memory\"\n"))
}

/// What stands in every configuration here; `more` is appended.
pub(crate) fn config(queue: &str, more: &str) -> String {
    format!(
        r#"
        hostname = "relay.example"
        {more}
        [[listener]]
        address = "192.0.2.1:25"
        relay_for = ["198.51.100.0/24"]
        [dns]
        servers = ["192.0.2.53:53", "192.0.2.54:53"]
        [queue]
        {queue}
        "#
    )
}

impl World {
    /// A next hop at `203.0.113.octet`, named `hostOCTET.example`; its place.
    pub(crate) fn add_host(&mut self, octet: u8) -> usize {
        let address = Ipv4Addr::new(203, 0, 113, octet);
        self.hosts.push(Host::new(SocketAddr::new(address.into(), 25)));
        self.zone.names.insert(format!("host{octet}.example"), Owner::Host(vec![address]));
        self.hosts.len() - 1
    }

    /// A domain with these MX hosts: preference and octet.
    pub(crate) fn add_domain(&mut self, name: &str, hosts: &[(u16, u8)]) {
        let named = |(preference, octet): &(u16, u8)| (*preference, format!("host{octet}.example"));
        let hosts = hosts.iter().map(named).collect();
        self.zone.names.insert(name.to_owned(), Owner::Domain(hosts));
    }

    /// The domain of the reverse-paths, whose host takes all; its place.
    pub(crate) fn add_back(&mut self) -> usize {
        let host = self.add_host(250);
        self.add_domain(BACK, &[(0, 250)]);
        host
    }

    /// A message to submit; its number.
    pub(crate) fn add_mail(&mut self, to: &[(&str, &str, Notify)], filler: usize) -> u64 {
        let number = self.ledger.mail.len() as u64;
        let addressee = |(place, (kind, domain, notify)): (usize, &(&str, &str, Notify))| {
            let address = format!("{kind}.{number}.{place}@{domain}");
            Addressee { address, notify: *notify, taken: false }
        };
        self.ledger.mail.push(Mail {
            number,
            reverse_path: format!("sender{number}@{BACK}"),
            to: to.iter().enumerate().map(addressee).collect(),
            content: content(number, filler, &mut self.agenda),
            verdict: Verdict::Unsent,
        });
        number
    }
}

/// A content with the mark of its number at both ends, a link to one of ten shops, lines that begin
/// with a dot, and filler.
fn content(number: u64, filler: usize, agenda: &mut Agenda) -> Vec<u8> {
    let head = format!("Ledger: {number}\r\nFrom: a@{BACK}\r\nSubject: mail {number}\r\n\r\n");
    let link = format!("<https://www.shop{}.example/?mail={number}>\r\n", number % 10);
    let mut content = (head + &link).into_bytes();
    let end = content.len() + filler;
    while content.len() < end {
        let line: &[u8] = match agenda.prng.below(8) {
            0 => b"..a line that begins with dots\r\n",
            1 => b".\r\n",
            2 => b"\r\n",
            _ => b"The quick brown fox jumps over the lazy dog, and then it does so again.\r\n",
        };
        content.extend_from_slice(line);
    }
    content.extend_from_slice(format!("Ledger: {number}\r\n").as_bytes());
    content
}
