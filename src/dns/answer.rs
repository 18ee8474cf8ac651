//! What is asked of DNS, and what comes of it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::base::time::Monotonic;
use crate::dns::name::Name;
use crate::mail::tlsa::Tlsa;

/// The record types that a relay asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Mail exchangers of a domain.
    Mx,
    /// IPv4 addresses of a host.
    A,
    /// IPv6 addresses of a host.
    Aaaa,
    /// Text: SPF, DKIM keys, DMARC.
    Txt,
    /// Names of an address; see [`Name::reverse_of`].
    Ptr,
    /// What signed DNS says of the certificate of a service, under `_PORT._tcp.HOST`.
    Tlsa,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mx => "MX",
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Txt => "TXT",
            Self::Ptr => "PTR",
            Self::Tlsa => "TLSA",
        })
    }
}

/// One question, class IN.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// Whose records.
    pub name: Name,
    /// Which records.
    pub kind: Kind,
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.kind)
    }
}

/// What DNS says to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What was asked, for askers with several questions open.
    pub question: Question,
    /// What was found.
    pub finding: Finding,
    /// The name server vouches that DNSSEC signatures are valid (AD, RFC 4035 §3.2.3), and the
    /// options say that it may be trusted to say so.
    pub authenticated: bool,
    /// From then on it must be asked again.
    pub expires: Monotonic,
}

/// The four things that can come of a lookup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Records of the kind that was asked for, CNAMEs followed.
    Records(Records),
    /// The name exists; it has no such record (NODATA, RFC 2308 §2.2).
    NoRecords,
    /// The name does not exist (NXDOMAIN).
    NoSuchName,
    /// Nobody knows now: the reason, for people.
    Temporary(Box<str>),
}

/// Records of one kind, in the order of the message, at most `DNS_RECORDS_MAX`.
///
/// Empty where records exist but none of them holds a [`Name`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Records {
    /// MX.
    Mx(Vec<MxRecord>),
    /// A.
    A(Vec<Ipv4Addr>),
    /// AAAA.
    Aaaa(Vec<Ipv6Addr>),
    /// TXT, the strings of each record joined (RFC 7208 §3.3, RFC 6376 §3.6.2.2).
    Txt(Vec<Box<[u8]>>),
    /// PTR.
    Ptr(Vec<Name>),
    /// TLSA.
    Tlsa(Vec<Tlsa>),
}

/// One MX record (RFC 1035 §3.3.9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MxRecord {
    /// Lower is tried first.
    pub preference: u16,
    /// The host; `None` is the root, by which a domain says that it takes no mail (RFC 7505 §3).
    pub exchange: Option<Name>,
}

impl Answer {
    /// Nobody knows, for `reason`.
    pub(super) fn failure(question: Question, reason: &str, expires: Monotonic) -> Self {
        let finding = Finding::Temporary(format!("{question}: {reason}").into());
        Self { question, finding, authenticated: false, expires }
    }

    /// The addresses of an A or AAAA answer; none for any other.
    pub fn addresses(&self) -> Vec<IpAddr> {
        match &self.finding {
            Finding::Records(Records::A(v4)) => v4.iter().map(|&a| IpAddr::V4(a)).collect(),
            Finding::Records(Records::Aaaa(v6)) => v6.iter().map(|&a| IpAddr::V6(a)).collect(),
            Finding::Records(
                Records::Mx(_) | Records::Txt(_) | Records::Ptr(_) | Records::Tlsa(_),
            )
            | Finding::NoRecords
            | Finding::NoSuchName
            | Finding::Temporary(_) => Vec::new(),
        }
    }

    /// About how many octets of memory this takes.
    pub(super) fn weight(&self) -> usize {
        let held = match &self.finding {
            Finding::Records(Records::Mx(records)) => {
                let name = |mx: &MxRecord| mx.exchange.as_ref().map_or(0, |n| n.as_str().len());
                records.iter().map(|mx| name(mx) + size_of::<MxRecord>() + 16).sum()
            }
            Finding::Records(Records::A(v4)) => size_of_val(v4.as_slice()),
            Finding::Records(Records::Aaaa(v6)) => size_of_val(v6.as_slice()),
            Finding::Records(Records::Txt(texts)) => {
                texts.iter().map(|text| text.len() + size_of::<Box<[u8]>>()).sum()
            }
            Finding::Records(Records::Ptr(names)) => {
                names.iter().map(|n| n.as_str().len() + size_of::<Name>() + 16).sum()
            }
            Finding::Records(Records::Tlsa(records)) => {
                records.iter().map(|tlsa| tlsa.data.len() + size_of::<Tlsa>()).sum()
            }
            Finding::Temporary(reason) => reason.len(),
            Finding::NoRecords | Finding::NoSuchName => 0,
        };
        size_of::<Self>() + self.question.name.as_str().len() + held
    }
}
