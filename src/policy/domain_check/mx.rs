//! Hosts that take the domain's mail: there are some, each has an address, and where this node
//! takes it, they lead here.

use std::net::IpAddr;

use crate::base::limits::MX_HOSTS_MAX;
use crate::dns::{Kind, MxRecord, Name, Records};
use crate::policy::domain_check::Subject;
use crate::policy::domain_check::finding::{Finding, Status, Topic};
use crate::policy::domain_check::known::{Addresses, Known, Seen};
use crate::policy::zone::Record;

const EXPLICIT: &str = "RFC 5321 §5.1";
const NULL: &str = "RFC 7505 §4.2";

/// Where a domain's mail goes.
#[derive(Clone, Debug)]
pub(super) enum Mail {
    /// To these hosts, at least one.
    Hosts {
        hosts: Vec<(u16, Name)>,
        /// Without MX records, to the domain itself.
        implicit: bool,
        /// DNSSEC vouches for the MX records.
        vouched: bool,
    },
    /// Nowhere: it says so (RFC 7505).
    Null,
    /// Nowhere: it has MX records, and all of them name addresses.
    NoHosts(Vec<Name>),
    /// There is no such domain.
    NoDomain,
    /// Nobody can say: why.
    Unknown(String),
}

/// Where mail for the domain goes.
pub(super) fn mail(subject: &Subject, known: &Known) -> Option<Mail> {
    let Ok(domain) = Name::try_from(&subject.domain) else { return Some(Mail::NoDomain) };
    Some(match known.see(&domain, Kind::Mx)? {
        Seen::Unknown(reason) => Mail::Unknown(reason.to_owned()),
        Seen::NoName => Mail::NoDomain,
        Seen::Records(Records::Mx(records), vouched) => of_records(records, vouched),
        Seen::Records(..) | Seen::Nothing => {
            Mail::Hosts { hosts: vec![(0, domain)], implicit: true, vouched: false }
        }
    })
}

fn of_records(records: &[MxRecord], vouched: bool) -> Mail {
    let named = records.iter().filter_map(|mx| Some((mx.preference, mx.exchange.clone()?)));
    let (bad, mut hosts): (Vec<_>, Vec<_>) = named.partition(|(_, name)| name.is_address());
    hosts.sort();
    hosts.truncate(MX_HOSTS_MAX);
    if !hosts.is_empty() {
        Mail::Hosts { hosts, implicit: false, vouched }
    } else if bad.is_empty() {
        Mail::Null
    } else {
        Mail::NoHosts(bad.into_iter().map(|(_, name)| name).collect())
    }
}

pub(super) fn check(subject: &Subject, known: &Known) -> Option<Vec<Finding>> {
    let finding =
        |status, found: &str, rfc| Finding::new(Topic::Mx, &subject.domain, status, found, rfc);
    let here = || Record::mx(subject.domain.as_str(), subject.hostname.as_str());
    Some(match mail(subject, known)? {
        Mail::Unknown(reason) => vec![finding(Status::Unchecked, &reason, EXPLICIT)],
        Mail::NoDomain => {
            vec![finding(Status::Fail, "there is no such domain", EXPLICIT).add([here()])]
        }
        Mail::NoHosts(names) => {
            let found = format!("MX {} is an address, and must be a name", names[0]);
            vec![finding(Status::Fail, &found, EXPLICIT).instead(here())]
        }
        //= RFC 7505 §4.2
        //# mail systems SHOULD NOT publish a null MX record for domains that they use in
        //# RFC5321.MailFrom or RFC5322.From addresses. If a system nonetheless does so, it risks
        //# having its mail rejected.
        Mail::Null => {
            let found = "it says that it takes no mail (null MX): mail from it is refused";
            vec![finding(Status::Fail, found, NULL).instead(here())]
        }
        Mail::Hosts { hosts, implicit, .. } => {
            let addresses: Vec<_> = hosts.iter().map(|(_, host)| known.addresses(host)).collect();
            let addresses: Vec<Addresses> = addresses.into_iter().collect::<Option<_>>()?;
            of_hosts(subject, &hosts, &addresses, implicit)
        }
    })
}

fn of_hosts(
    subject: &Subject,
    hosts: &[(u16, Name)],
    addresses: &[Addresses],
    implicit: bool,
) -> Vec<Finding> {
    let finding =
        |status, found: &str| Finding::new(Topic::Mx, &subject.domain, status, found, EXPLICIT);
    let here = || Record::mx(subject.domain.as_str(), subject.hostname.as_str());
    let has_any = addresses.iter().any(|one| !one.all.is_empty());
    if implicit {
        return vec![match (has_any, &addresses[0].unknown) {
            (true, _) => {
                finding(Status::Warn, "no MX record: its own address is used").add([here()])
            }
            (false, Some(reason)) => finding(Status::Unchecked, reason),
            (false, None) => finding(Status::Fail, "neither MX record nor address").add([here()]),
        }];
    }
    let mut findings = Vec::new();
    for ((_, host), found) in hosts.iter().zip(addresses).filter(|(_, it)| it.all.is_empty()) {
        findings.push(match &found.unknown {
            Some(reason) => finding(Status::Unchecked, reason),
            None => without_address(subject, host, has_any),
        });
    }
    let all = hosts.iter().zip(addresses);
    if subject.takes && !all.clone().any(|((_, host), it)| subject.is_own(host, &it.all)) {
        let found = format!("none of its MX hosts is this node, {}", subject.hostname);
        findings.push(finding(Status::Warn, &found).add([here()]));
    }
    if findings.is_empty() {
        let shown =
            all.map(|((preference, host), it)| format!("{preference} {host} ({})", list(&it.all)));
        findings.push(finding(Status::Pass, &shown.collect::<Vec<_>>().join(", ")));
    }
    findings
}

/// A host that nobody can reach; mail is lost for it where all are so.
fn without_address(subject: &Subject, host: &Name, has_others: bool) -> Finding {
    let status = if has_others { Status::Warn } else { Status::Fail };
    let found = format!("MX host {host} has no address");
    let finding = Finding::new(Topic::Mx, &subject.domain, status, found, EXPLICIT);
    if subject.is_own(host, &[]) {
        let of_host = subject.sources.iter().filter(|one| one.hello.as_str() == host.as_str());
        finding.add(of_host.map(|one| Record::address(host.as_str(), one.address)))
    } else {
        finding
    }
}

/// Addresses between commas.
pub(super) fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ")
}
