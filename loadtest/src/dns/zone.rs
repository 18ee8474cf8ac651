//! What the test name server answers: many domains on shared MX sites, and names that misbehave.
//!
//! In: a question. Out: an answer, or silence. Pure: the answer depends on the question alone, and
//! on no table of domains, so that a million of them cost nothing.

use std::net::Ipv4Addr;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::{A, CNAME, MX, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};

/// Links of the chain that `cname-….example` starts.
const CHAIN: u32 = 4;
/// MX hosts of `many-….example`: more than fit into a datagram of 512 octets.
const MANY: u16 = 60;

/// The reference of special names, for `--help`.
pub(crate) const NAMES: &str = "\
Names below .example (NNN is any text):
  dNNN           MX 10, 20, … to hosts of its site, shared with other domains
  nullmx-NNN     a null MX (RFC 7505)
  nxdomain-NNN   does not exist
  nodata-NNN     exists, without any address or MX
  servfail-NNN   SERVFAIL
  refused-NNN    REFUSED
  timeout-NNN    no answer
  lame-NNN       an MX host that does not exist
  implicit-NNN   no MX, an address of its own
  cname-NNN      a chain of four CNAME to dNNN
  loop-NNN       a CNAME loop
  dead-NNN       MX 10 to a dead host, MX 20 to a live one
  alldead-NNN    an MX to a dead host only
  equal-NNN      all MX hosts with preference 10
  many-NNN       60 MX hosts: truncated over UDP
Hosts: mx<host>.site<site>.example, implicit-NNN.example, dead.example.";

/// Where sites live.
#[derive(Clone, Debug)]
pub(crate) struct Zone {
    /// Addresses of MX hosts, handed out in turn.
    pub(crate) hosts: Vec<Ipv4Addr>,
    /// Sites that the domains share.
    pub(crate) sites: u32,
    /// MX hosts of a site.
    pub(crate) hosts_per_site: u16,
    /// An address that nobody listens on.
    pub(crate) dead: Ipv4Addr,
    /// Seconds that an answer may be kept.
    pub(crate) ttl: u32,
}

/// What is said to a question.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    /// Nothing at all.
    Silence,
    /// A code without records.
    Code(ResponseCode),
    /// Records, possibly none.
    Records(Vec<Record>),
}

impl Zone {
    /// The answer to a question; names outside .example are refused.
    pub(crate) fn answer(&self, name: &Name, kind: RecordType) -> Answer {
        let text = name.to_ascii().to_ascii_lowercase();
        let Some(rest) = text.strip_suffix(".example.") else {
            return Answer::Code(ResponseCode::Refused);
        };
        if let Some(host) = self.host(rest) {
            return self.address(name, kind, host);
        }
        if rest == "dead" {
            return self.address(name, kind, self.dead);
        }
        if rest.contains('.') {
            return Answer::Code(ResponseCode::NXDomain);
        }
        let (word, label) = rest.split_once('-').unwrap_or((rest, rest));
        match word {
            "nxdomain" => Answer::Code(ResponseCode::NXDomain),
            "servfail" => Answer::Code(ResponseCode::ServFail),
            "refused" => Answer::Code(ResponseCode::Refused),
            "timeout" => Answer::Silence,
            "nodata" => Answer::Records(Vec::new()),
            "implicit" => self.address(name, kind, self.nth_host(0)),
            "cname" => self.chain(name, label, 1, kind),
            "loop" => self.ring(name, rest),
            "nullmx" | "lame" | "dead" | "alldead" | "equal" | "many" => {
                self.only_mx(name, kind, self.special(word, label))
            }
            hop if hop.starts_with("hop") => match hop[3..].parse() {
                Ok(link @ 1..CHAIN) => self.chain(name, label, link + 1, kind),
                Ok(_) | Err(_) => Answer::Code(ResponseCode::NXDomain),
            },
            _ if rest.starts_with('d') => {
                self.only_mx(name, kind, self.site_hosts(site_of(label, self.sites), 10))
            }
            _ => Answer::Code(ResponseCode::NXDomain),
        }
    }

    /// The start of authority that negative answers carry, so that they can be cached.
    pub(crate) fn authority(&self) -> Record {
        let mail = named("hostmaster.example.");
        let soa = SOA::new(named("ns.example."), mail, 1, 3_600, 600, 86_400, self.ttl);
        Record::from_rdata(named("example."), self.ttl, RData::SOA(soa))
    }

    /// The address of `mx<host>.site<site>`.
    fn host(&self, text: &str) -> Option<Ipv4Addr> {
        let (host, site) = text.split_once('.')?;
        let host: u32 = host.strip_prefix("mx")?.parse().ok()?;
        let site: u32 = site.strip_prefix("site")?.parse().ok()?;
        let exists = site < self.sites && (1..=u32::from(MANY)).contains(&host);
        exists.then(|| self.nth_host(site * u32::from(self.hosts_per_site) + host - 1))
    }

    fn nth_host(&self, place: u32) -> Ipv4Addr {
        let count = self.hosts.len();
        self.hosts[usize::try_from(place).unwrap_or(0) % count]
    }

    /// MX records to the hosts of a site; preferences go up by `step`.
    fn site_hosts(&self, site: u32, step: u16) -> Vec<(u16, Name)> {
        let host = |place: u16| named(&format!("mx{}.site{site}.example.", place + 1));
        (0..self.hosts_per_site).map(|place| (10 + step * place, host(place))).collect()
    }

    fn special(&self, word: &str, label: &str) -> Vec<(u16, Name)> {
        let site = site_of(label, self.sites);
        match word {
            "nullmx" => vec![(0, Name::root())],
            "lame" => vec![(10, named("nowhere.nohost.example."))],
            "alldead" => vec![(10, named("dead.example."))],
            "equal" => self.site_hosts(site, 0),
            "many" => (1..=MANY)
                .map(|host| (host, named(&format!("mx{host}.site{site}.example."))))
                .collect(),
            _ => {
                vec![(10, named("dead.example.")), (20, named(&format!("mx1.site{site}.example.")))]
            }
        }
    }

    fn only_mx(&self, name: &Name, kind: RecordType, hosts: Vec<(u16, Name)>) -> Answer {
        let records = if kind == RecordType::MX { hosts } else { Vec::new() };
        let record = |(preference, host)| self.record(name, RData::MX(MX::new(preference, host)));
        Answer::Records(records.into_iter().map(record).collect())
    }

    fn address(&self, name: &Name, kind: RecordType, address: Ipv4Addr) -> Answer {
        let records = if kind == RecordType::A {
            vec![self.record(name, RData::A(A(address)))]
        } else {
            Vec::new()
        };
        Answer::Records(records)
    }

    /// `cname-x` → `hop1-x` → … → `dx`, from a link on, all in one answer as a real server gives
    /// it.
    fn chain(&self, name: &Name, label: &str, first: u32, kind: RecordType) -> Answer {
        let mut records = Vec::new();
        let mut owner = name.clone();
        for link in first..=CHAIN {
            let target = if link == CHAIN {
                named(&format!("d{label}.example."))
            } else {
                named(&format!("hop{link}-{label}.example."))
            };
            let data = RData::CNAME(CNAME(target.clone()));
            records.push(self.record(&owner, data));
            owner = target;
        }
        if let Answer::Records(end) = self.answer(&owner, kind) {
            records.extend(end);
        }
        Answer::Records(records)
    }

    fn ring(&self, name: &Name, rest: &str) -> Answer {
        let other = match rest.strip_suffix("-b") {
            Some(first) => format!("{first}.example."),
            None => format!("{rest}-b.example."),
        };
        Answer::Records(vec![self.record(name, RData::CNAME(CNAME(named(&other))))])
    }

    fn record(&self, name: &Name, data: RData) -> Record {
        Record::from_rdata(name.clone(), self.ttl, data)
    }
}

/// Which site a domain is on: spread evenly, and the same each time (FNV-1a).
fn site_of(label: &str, sites: u32) -> u32 {
    let hash = label
        .bytes()
        .fold(0x811C_9DC5_u32, |hash, octet| (hash ^ u32::from(octet)).wrapping_mul(0x0100_0193));
    hash % sites.max(1)
}

/// A name that we made ourselves. Labels that a question brought in are valid, but a prefix may
/// make them too long; the root then stands for "no such thing".
fn named(text: &str) -> Name {
    Name::from_ascii(text).unwrap_or_else(|_| Name::root())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone() -> Zone {
        Zone {
            hosts: (1..=20).map(|last| Ipv4Addr::new(127, 0, 1, last)).collect(),
            sites: 50,
            hosts_per_site: 2,
            dead: Ipv4Addr::new(127, 255, 255, 254),
            ttl: 60,
        }
    }

    fn ask(name: &str, kind: RecordType) -> Answer {
        zone().answer(&Name::from_ascii(name).unwrap(), kind)
    }

    fn records(name: &str, kind: RecordType) -> Vec<String> {
        match ask(name, kind) {
            Answer::Records(records) => {
                records.iter().map(|record| record.data.to_string()).collect()
            }
            other @ (Answer::Silence | Answer::Code(_)) => panic!("{name}: {other:?}"),
        }
    }

    #[test]
    fn a_domain_has_the_hosts_of_its_site_and_they_have_addresses() {
        let hosts = records("D0000001.example.", RecordType::MX);
        assert_eq!(hosts.len(), 2);
        assert!(hosts[0].starts_with("10 mx1.site") && hosts[1].starts_with("20 mx2.site"));
        for host in hosts {
            let name = host.split_once(' ').unwrap().1;
            let addresses = records(name, RecordType::A);
            assert_eq!(addresses.len(), 1);
            assert!(addresses[0].starts_with("127.0.1."));
            assert!(records(name, RecordType::AAAA).is_empty());
        }
        assert!(records("d0000001.example.", RecordType::A).is_empty());
    }

    #[test]
    fn domains_are_spread_over_all_sites() {
        let sites: std::collections::BTreeSet<u32> =
            (0..1_000).map(|number| site_of(&format!("d{number:07}"), 50)).collect();
        assert_eq!(sites.len(), 50);
    }

    #[test]
    fn special_names_do_what_they_say() {
        assert_eq!(records("nullmx-1.example.", RecordType::MX), ["0 ."]);
        assert_eq!(
            ask("nxdomain-1.example.", RecordType::MX),
            Answer::Code(ResponseCode::NXDomain)
        );
        assert_eq!(
            ask("servfail-1.example.", RecordType::MX),
            Answer::Code(ResponseCode::ServFail)
        );
        assert_eq!(ask("refused-1.example.", RecordType::A), Answer::Code(ResponseCode::Refused));
        assert_eq!(ask("timeout-1.example.", RecordType::MX), Answer::Silence);
        assert!(records("nodata-1.example.", RecordType::MX).is_empty());
        assert!(records("implicit-1.example.", RecordType::MX).is_empty());
        assert_eq!(records("implicit-1.example.", RecordType::A), ["127.0.1.1"]);
        assert_eq!(records("alldead-1.example.", RecordType::MX), ["10 dead.example."]);
        assert_eq!(records("dead.example.", RecordType::A), ["127.255.255.254"]);
        assert_eq!(records("dead-1.example.", RecordType::MX)[0], "10 dead.example.");
        assert_eq!(records("many-1.example.", RecordType::MX).len(), 60);
        assert!(records("equal-1.example.", RecordType::MX).iter().all(|mx| mx.starts_with("10 ")));
        let lame = records("lame-1.example.", RecordType::MX)[0].clone();
        let host = lame.split_once(' ').unwrap().1;
        assert_eq!(ask(host, RecordType::A), Answer::Code(ResponseCode::NXDomain));
        assert_eq!(ask("mail.example.org.", RecordType::A), Answer::Code(ResponseCode::Refused));
    }

    #[test]
    fn a_chain_ends_at_a_domain_and_a_loop_never() {
        let chain = records("cname-7.example.", RecordType::MX);
        assert_eq!(chain.len(), 4 + 2);
        assert_eq!(chain[0], "hop1-7.example.");
        assert_eq!(records("hop1-7.example.", RecordType::MX), chain[1..]);
        assert_eq!(chain[3], "d7.example.");
        assert!(chain[4].starts_with("10 mx1.site"));
        assert_eq!(records("loop-1.example.", RecordType::MX), ["loop-1-b.example."]);
        assert_eq!(records("loop-1-b.example.", RecordType::MX), ["loop-1.example."]);
    }
}
