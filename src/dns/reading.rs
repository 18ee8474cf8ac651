//! What an accepted message says about its question.
//!
//! In: a message whose id and question are checked. Out: a [`Reading`].
//! Invariant: only the answer section counts, and of it only what is reached from the question
//! through CNAMEs; of the authority section only the SOA that says how long a negative answer
//! holds. The additional section is never believed or cached: anyone who answers for one domain
//! could else place addresses for another (RFC 2181 §5.4.1, RFC 5452 §6).

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{self, DNSClass, RData, Record};

use crate::base::limits::{
    DNS_CNAME_MAX, DNS_NEGATIVE_TTL_MAX, DNS_RECORDS_MAX, DNS_TTL_MAX, DNS_TTL_MIN,
};
use crate::dns::answer::{Finding, Kind, MxRecord, Records};
use crate::dns::message::{Asked, record_type};
use crate::dns::name::Name;
use crate::mail::tlsa::Tlsa;

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// The answer did not fit (RFC 2181 §9), or a forger is at work: ask over TCP.
    OverTcp,
    /// The server does not know EDNS: ask without (RFC 6891 §6.2.2).
    NoEdns,
    /// The server cannot say; another one may.
    Failed {
        /// What it said, for people.
        said: Box<str>,
        /// Whether that is more likely the server's fault than the domain's.
        at_fault: bool,
    },
    /// No server can do better with this: why.
    Broken(&'static str),
    /// The name is an alias of one that the message says nothing about: ask for that.
    Alias {
        /// The name to ask for.
        target: Name,
        /// CNAMEs that led there, at least 1.
        links: usize,
        /// How long they hold.
        ttl: Duration,
        /// AD.
        authentic: bool,
    },
    /// The question is answered.
    Found {
        /// What was found.
        finding: Finding,
        /// How long it holds, inside our bounds.
        ttl: Duration,
        /// AD.
        authentic: bool,
    },
}

impl Reading {
    /// The server cannot say.
    pub(super) fn failed(said: &str, at_fault: bool) -> Self {
        Self::Failed { said: said.into(), at_fault }
    }
}

/// What `message` says to `asked`.
pub(super) fn of(message: &Message, asked: &Asked) -> Reading {
    let chain = match Chain::follow(&message.answers, &asked.name) {
        Ok(chain) => chain,
        Err(reason) => return Reading::Broken(reason),
    };
    let code = message.metadata.response_code;
    if code == ResponseCode::NoError {
        return no_error(message, asked.kind, &chain);
    }
    //= RFC 6604 §3
    //# The RCODE in the ultimate DNS response MUST BE set based on the final query cycle leading
    //# to that response.
    if code == ResponseCode::NXDomain {
        return Reading::Found {
            finding: Finding::NoSuchName,
            ttl: negative_ttl(soa_of(message, chain.end)).min(chain.ttl),
            authentic: message.metadata.authentic_data,
        };
    }
    let no_edns = [ResponseCode::FormErr, ResponseCode::NotImp, ResponseCode::BADVERS];
    if asked.edns && no_edns.contains(&code) {
        return Reading::NoEdns;
    }
    // SERVFAIL is mostly about the domain (broken delegation, bogus signatures).
    Reading::failed(&mnemonic(code), code != ResponseCode::ServFail)
}

fn mnemonic(code: ResponseCode) -> String {
    let names = [
        (ResponseCode::FormErr, "FORMERR"),
        (ResponseCode::ServFail, "SERVFAIL"),
        (ResponseCode::NotImp, "NOTIMP"),
        (ResponseCode::Refused, "REFUSED"),
    ];
    let named = names.iter().find(|(known, _)| *known == code);
    named.map_or_else(|| format!("RCODE {}", u16::from(code)), |(_, name)| (*name).to_owned())
}

/// How long an alias or records with this TTL are kept.
fn positive_ttl(seconds: u32) -> Duration {
    //= RFC 2181 §8
    //# Implementations should treat TTL values received with the most significant bit set as if
    //# the entire value received was zero.
    let seconds = if seconds > i32::MAX.unsigned_abs() { 0 } else { seconds };
    Duration::from_secs(u64::from(seconds)).clamp(DNS_TTL_MIN, DNS_TTL_MAX)
}

//= RFC 2308 §3
//# The TTL of this record is set from the minimum of the MINIMUM field of the SOA record and the
//# TTL of the SOA itself
fn negative_ttl(soa: Option<(u32, u32)>) -> Duration {
    let seconds = soa.map_or(0, |(ttl, minimum)| ttl.min(minimum));
    positive_ttl(seconds).min(DNS_NEGATIVE_TTL_MAX)
}

fn no_error(message: &Message, kind: Kind, chain: &Chain<'_>) -> Reading {
    let authentic = message.metadata.authentic_data;
    if let Some((records, ttl)) = records_at(&message.answers, chain.end, kind) {
        let finding = Finding::Records(records);
        return Reading::Found { finding, ttl: ttl.min(chain.ttl), authentic };
    }
    let soa = soa_of(message, chain.end);
    if soa.is_none() && chain.links > 0 {
        return match Name::from_wire(chain.end) {
            Ok(target) => Reading::Alias { target, links: chain.links, ttl: chain.ttl, authentic },
            Err(_) => Reading::Broken("an alias of what is no name"),
        };
    }
    if soa.is_none() && is_referral(message) {
        return Reading::failed("a referral: it does not recurse", true);
    }
    let ttl = negative_ttl(soa).min(chain.ttl);
    Reading::Found { finding: Finding::NoRecords, ttl, authentic }
}

/// RFC 2308 §2.2: the one NODATA without SOA that must not be taken for one.
fn is_referral(message: &Message) -> bool {
    let delegates = message.authorities.iter().any(|r| matches!(r.data, RData::NS(_)));
    delegates && !message.metadata.authoritative && !message.metadata.recursion_available
}

/// The CNAMEs from a name to where they end inside one message.
struct Chain<'a> {
    end: &'a rr::Name,
    links: usize,
    /// The shortest of the links; the longest we keep anything where there is none.
    ttl: Duration,
}

impl<'a> Chain<'a> {
    /// Follow from `start`; a loop is a chain that is too long.
    fn follow(answers: &'a [Record], start: &'a rr::Name) -> Result<Self, &'static str> {
        let mut chain = Self { end: start, links: 0, ttl: DNS_TTL_MAX };
        while let Some((target, ttl)) = alias_of(answers, chain.end) {
            chain = Self { end: target, links: chain.links + 1, ttl: chain.ttl.min(ttl) };
            if chain.links > DNS_CNAME_MAX {
                return Err(TOO_LONG);
            }
        }
        Ok(chain)
    }
}

/// Why a chain of aliases is not followed to its end.
pub(super) const TOO_LONG: &str = "a loop or too long a chain of CNAMEs";

/// Records of class IN that `owner` has in `answers`.
fn owned<'a>(answers: &'a [Record], owner: &rr::Name) -> impl Iterator<Item = &'a Record> {
    answers.iter().filter(move |r| r.dns_class == DNSClass::IN && r.name == *owner)
}

fn alias_of<'a>(answers: &'a [Record], owner: &rr::Name) -> Option<(&'a rr::Name, Duration)> {
    owned(answers, owner).find_map(|record| {
        let RData::CNAME(target) = &record.data else { return None };
        Some((&target.0, positive_ttl(record.ttl)))
    })
}

/// TTL and MINIMUM of the SOA of a zone that `name` is in.
fn soa_of(message: &Message, name: &rr::Name) -> Option<(u32, u32)> {
    message.authorities.iter().find_map(|record| {
        let RData::SOA(soa) = &record.data else { return None };
        record.name.zone_of(name).then_some((record.ttl, soa.minimum))
    })
}

/// The records of `kind` that `owner` has, and how long they hold; `None` where it has none.
fn records_at(answers: &[Record], owner: &rr::Name, kind: Kind) -> Option<(Records, Duration)> {
    let wanted = record_type(kind);
    let of_kind = || owned(answers, owner).filter(|record| record.record_type() == wanted);
    let ttl = of_kind().map(|record| record.ttl).min().map(positive_ttl)?;
    let data = || of_kind().map(|record| &record.data).take(DNS_RECORDS_MAX);
    let records = match kind {
        Kind::Mx => Records::Mx(data().filter_map(mx).collect()),
        Kind::A => Records::A(data().filter_map(v4).collect()),
        Kind::Aaaa => Records::Aaaa(data().filter_map(v6).collect()),
        Kind::Txt => Records::Txt(data().filter_map(text).collect()),
        Kind::Ptr => Records::Ptr(data().filter_map(pointer).collect()),
        Kind::Tlsa => Records::Tlsa(data().filter_map(tlsa).collect()),
    };
    Some((records, ttl))
}

fn v4(data: &RData) -> Option<Ipv4Addr> {
    if let RData::A(address) = data { Some(address.0) } else { None }
}

fn v6(data: &RData) -> Option<Ipv6Addr> {
    if let RData::AAAA(address) = data { Some(address.0) } else { None }
}

fn mx(data: &RData) -> Option<MxRecord> {
    let RData::MX(mx) = data else { return None };
    let exchange =
        if mx.exchange.is_root() { None } else { Some(Name::from_wire(&mx.exchange).ok()?) };
    Some(MxRecord { preference: mx.preference, exchange })
}

fn text(data: &RData) -> Option<Box<[u8]>> {
    let RData::TXT(text) = data else { return None };
    Some(text.txt_data.concat().into())
}

fn pointer(data: &RData) -> Option<Name> {
    let RData::PTR(target) = data else { return None };
    Name::from_wire(&target.0).ok()
}

fn tlsa(data: &RData) -> Option<Tlsa> {
    let RData::TLSA(tlsa) = data else { return None };
    Some(Tlsa {
        usage: tlsa.cert_usage.into(),
        selector: tlsa.selector.into(),
        matching: tlsa.matching.into(),
        data: tlsa.cert_data.as_slice().into(),
    })
}
