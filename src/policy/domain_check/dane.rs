//! DANE (RFC 7672): what signed DNS says of the certificate of each MX host; where that host is
//! this node, whether it is so.

use crate::dns::{Kind, Name, Records};
use crate::policy::domain_check::Subject;
use crate::policy::domain_check::finding::{Finding, Status, Topic};
use crate::policy::domain_check::known::{Addresses, Known, Seen};
use crate::policy::domain_check::mx::{Mail, mail};
use crate::policy::zone::Record;
use crate::tls::Chain;

const RECORDS: &str = "RFC 7672 §3.1";
const SIGNED: &str = "RFC 7672 §2.2";

pub(super) fn check(subject: &Subject, known: &Known) -> Option<Vec<Finding>> {
    let nothing = |found: &str, status| {
        vec![Finding::new(Topic::Dane, &subject.domain, status, found, SIGNED)]
    };
    let (hosts, vouched) = match mail(subject, known)? {
        Mail::Hosts { hosts, vouched, implicit } => (hosts, vouched || implicit),
        Mail::Null => return Some(nothing("not needed: it takes no mail", Status::Info)),
        Mail::Unknown(reason) => return Some(nothing(&reason, Status::Unchecked)),
        Mail::NoHosts(_) | Mail::NoDomain => {
            return Some(nothing("there is no MX host", Status::Info));
        }
    };
    let seen: Vec<_> =
        hosts.iter().map(|(_, host)| (host, known.addresses(host), records(host, known))).collect();
    let mut findings = Vec::new();
    for (host, addresses, records) in seen {
        let (addresses, records) = (addresses?, records?);
        findings.push(of_host(subject, host, &addresses, records, vouched));
    }
    Some(findings)
}

fn records<'k>(host: &Name, known: &'k Known) -> Option<Seen<'k>> {
    match Name::parse(&format!("_25._tcp.{host}")) {
        Ok(name) => known.see(&name, Kind::Tlsa),
        Err(_) => Some(Seen::NoName),
    }
}

fn of_host(
    subject: &Subject,
    host: &Name,
    addresses: &Addresses,
    records: Seen<'_>,
    is_vouched: bool,
) -> Finding {
    let finding = |status, found: &str, rfc| Finding::new(Topic::Dane, host, status, found, rfc);
    let is_signed = is_vouched && addresses.vouched;
    let own = subject.is_own(host, &addresses.all).then(|| shown(subject, host)).flatten();
    let right = own.and_then(Chain::record).map(|tlsa| Record::tlsa(host.as_str(), &tlsa));
    let (records, are_signed) = match records {
        Seen::Unknown(reason) => return finding(Status::Unchecked, reason, RECORDS),
        Seen::Records(Records::Tlsa(records), is_signed) => (records.as_slice(), is_signed),
        Seen::Records(..) | Seen::Nothing | Seen::NoName => (&[][..], false),
    };
    match (records.is_empty(), is_signed) {
        (true, false) => {
            let found = "no TLSA record; and no DNSSEC that the name server vouches for here";
            return finding(Status::Warn, found, SIGNED).add(right);
        }
        (true, true) => {
            return finding(Status::Warn, "signed, but it has no TLSA record", RECORDS).add(right);
        }
        (false, signed) if !(signed && are_signed) => {
            let found = "its TLSA records count for nothing: no DNSSEC vouches for all of it";
            return finding(Status::Warn, found, SIGNED);
        }
        (false, _) => {}
    }
    let usable = records.iter().filter(|record| record.is_usable()).count();
    if usable == 0 {
        let found = "none of its TLSA records can be used for mail";
        let finding = finding(Status::Warn, found, RECORDS);
        return right.map_or(finding.clone(), |right| finding.instead(right));
    }
    match (own, right) {
        (Some(chain), Some(right)) if !chain.meets(records) => {
            let found = "no TLSA record fits the certificate here: senders keep their mail";
            finding(Status::Fail, found, RECORDS).instead(right)
        }
        (Some(_), _) => finding(Status::Pass, "fits the certificate here", RECORDS),
        (None, _) => {
            let found = format!("{usable} TLSA records; the host's certificate was not looked at");
            finding(Status::Pass, &found, RECORDS)
        }
    }
}

/// The certificate that this node shows to who asks for this host.
fn shown<'s>(subject: &'s Subject, host: &Name) -> Option<&'s Chain> {
    let certificates = &subject.certificates;
    certificates.iter().find(|chain| chain.is_for(host.as_str())).or_else(|| certificates.first())
}
