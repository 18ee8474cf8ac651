//! Where mail leaves from: the EHLO name leads to the address, the address to a name and back.
//!
//! Many receivers refuse mail from addresses of which that is not so; RFC 1912 §2.1 asks for it of
//! all hosts.

use std::net::IpAddr;

use hashbrown::HashSet;

use crate::base::limits::{CHECK_NAMES_MAX, CHECK_SOURCES_MAX};
use crate::dns::{Kind, Name, Records};
use crate::policy::domain_check::finding::{Finding, Status, Topic};
use crate::policy::domain_check::known::{Known, Seen};
use crate::policy::domain_check::mx::list;
use crate::policy::domain_check::{Source, Subject};
use crate::policy::zone::Record;

const FORWARD: &str = "RFC 5321 §2.3.5";
const BACK: &str = "RFC 1912 §2.1";

pub(super) fn check(subject: &Subject, left_out: usize, known: &Known) -> Option<Vec<Finding>> {
    let mut findings = Vec::new();
    if subject.sources.is_empty() {
        let found = "which address mail leaves from is not known here: [[source]], or --source";
        findings.push(Some(Finding::new(
            Topic::Ptr,
            &subject.hostname,
            Status::Unchecked,
            found,
            BACK,
        )));
    }
    if left_out > 0 {
        let found = format!("{left_out} sources beyond the first {CHECK_SOURCES_MAX}");
        let of = &subject.hostname;
        findings.push(Some(Finding::new(Topic::Ptr, of, Status::Unchecked, found, BACK)));
    }
    for source in &subject.sources {
        findings.push(forward(source, known));
        findings.push(back(source, known));
    }
    findings.into_iter().collect()
}

//= RFC 5321 §2.3.5
//# The domain name given in the EHLO command MUST be either a primary host name (a domain name that
//# resolves to an address RR) or, if the host has no name, an address literal
fn forward(source: &Source, known: &Known) -> Option<Finding> {
    let finding =
        |status, found: String| Finding::new(Topic::Address, &source.hello, status, found, FORWARD);
    let Ok(host) = Name::try_from(&source.hello) else {
        return Some(finding(Status::Warn, format!("{} has no name in EHLO", source.address)));
    };
    let right = Record::address(host.as_str(), source.address);
    let of_family = in_family(known, &host, source.address)?;
    Some(match of_family {
        Err(reason) => finding(Status::Unchecked, reason),
        Ok(all) if all.contains(&source.address) => {
            finding(Status::Pass, source.address.to_string())
        }
        Ok(all) if all.is_empty() => {
            finding(Status::Fail, format!("does not lead to {}", source.address)).add([right])
        }
        Ok(all) => {
            let found = format!("leads to {}, not to {}", list(&all), source.address);
            finding(Status::Warn, found).add([right])
        }
    })
}

/// The addresses of a host that are of the same family as this one.
fn in_family(known: &Known, host: &Name, address: IpAddr) -> Option<Result<Vec<IpAddr>, String>> {
    let kind = if address.is_ipv4() { Kind::A } else { Kind::Aaaa };
    Some(match known.see(host, kind)? {
        Seen::Records(Records::A(v4), _) => Ok(v4.iter().map(|&one| one.into()).collect()),
        Seen::Records(Records::Aaaa(v6), _) => Ok(v6.iter().map(|&one| one.into()).collect()),
        Seen::Records(..) | Seen::Nothing | Seen::NoName => Ok(Vec::new()),
        Seen::Unknown(reason) => Err(reason.to_owned()),
    })
}

//= RFC 1912 §2.1
//# Make sure your PTR and A records match. For every IP address, there should be a matching PTR
//# record in the in-addr.arpa domain.
fn back(source: &Source, known: &Known) -> Option<Finding> {
    let address = source.address;
    let finding = |status, found: String| Finding::new(Topic::Ptr, address, status, found, BACK);
    let right = || Record::ptr(address, source.hello.as_str());
    let names = match known.see(&Name::reverse_of(address), Kind::Ptr)? {
        Seen::Unknown(reason) => return Some(finding(Status::Unchecked, reason.to_owned())),
        Seen::Records(Records::Ptr(names), _) => names.as_slice(),
        Seen::Records(..) | Seen::Nothing | Seen::NoName => &[],
    };
    if names.is_empty() {
        let found = String::from("no PTR record: most receivers refuse its mail");
        return Some(finding(Status::Fail, found).add([right()]));
    }
    let looked_up: Vec<_> = names
        .iter()
        .take(CHECK_NAMES_MAX)
        .map(|name| Some((name, in_family(known, name, address)?)))
        .collect();
    let looked_up: Vec<_> = looked_up.into_iter().collect::<Option<_>>()?;
    let confirmed: HashSet<&Name> = looked_up
        .iter()
        .filter(|(_, found)| found.as_ref().is_ok_and(|all| all.contains(&address)))
        .map(|(name, _)| *name)
        .collect();
    if confirmed.iter().any(|name| name.as_str() == source.hello.as_str()) {
        return Some(finding(Status::Pass, format!("{}, and back", source.hello)));
    }
    if let Some(other) = names.iter().find(|name| confirmed.contains(name)) {
        let found = format!("{other}, and back; but EHLO says {}", source.hello);
        return Some(finding(Status::Warn, found).instead(right()));
    }
    if let Some(reason) = looked_up.iter().find_map(|(_, found)| found.as_ref().err()) {
        return Some(finding(Status::Unchecked, reason.clone()));
    }
    let found = format!("{}, which does not lead back to it", names[0]);
    let forward = Record::address(source.hello.as_str(), address);
    Some(finding(Status::Fail, found).instead(right()).add([forward]))
}
