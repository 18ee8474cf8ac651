//! Hold sessions against what is known of their domain's policies, and count them.
//!
//! Lives on: a shard, as the owner of domains.

use std::net::IpAddr;

use hashbrown::HashMap;
use mail_auth::report::tlsrpt::{FailureDetails, PolicyDetails, PolicyType, ResultType};

use crate::base::limits::{TLS_REPORT_KNOWN_MAX, TLS_REPORT_POLICY_MAX, TLS_REPORT_WORDS_MAX};
use crate::base::text::head;
use crate::mail::address::Domain;
use crate::mail::route::TlsLevel;
use crate::mail::tlsa::Tlsa;
use crate::policy::mta_sts::{self, PolicyTrouble};
use crate::policy::tls_report::tally::Tally;
use crate::tls::Fault;

/// What one shard counts.
#[derive(Debug, Default)]
pub struct Collector {
    known: HashMap<Domain, Known>,
    tally: Tally,
}

/// What a domain says of TLS with its hosts.
#[derive(Debug)]
struct Known {
    /// Its MTA-STS policy, unless that says that there is none.
    sts: Option<(mta_sts::Policy, PolicyDetails)>,
    /// Hosts with TLSA records that count.
    hosts: HashMap<Box<str>, PolicyDetails>,
}

/// What was found of a domain before mail went there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Its MTA-STS policy.
    pub policy: Option<mta_sts::Policy>,
    /// What is wrong with its policies, and of which host that was said, in words.
    pub troubles: Vec<(Trouble, Box<str>, Box<str>)>,
}

/// What is wrong with a session, or with a policy before there was one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The host does not offer STARTTLS, or refuses it.
    NoStartTls,
    /// The handshake came to nothing.
    Handshake(Fault),
    /// The policy names others than this host.
    NotNamed,
    /// The policy that the domain tells of could not be fetched.
    Fetch,
    /// What its host serves is no policy.
    NoPolicy,
    /// The certificate of whoever serves it is wrong.
    PolicyHost,
    /// Nobody knows whether the host has TLSA records: signatures in DNS are wrong, or it is mute.
    Dnssec,
}

/// A connection to an MX host that was to have TLS.
#[derive(Clone, Copy, Debug)]
pub struct Session<'a> {
    /// On whose behalf it was opened.
    pub domain: &'a Domain,
    /// The MX host.
    pub host: &'a str,
    /// Its address.
    pub peer: IpAddr,
    /// The address that it went out from, where that is known.
    pub own: Option<IpAddr>,
    /// The TLS that it was to have.
    pub level: TlsLevel,
}

impl From<&PolicyTrouble> for Trouble {
    fn from(trouble: &PolicyTrouble) -> Self {
        match trouble {
            PolicyTrouble::NotServed(_) | PolicyTrouble::Unknown(_) => Self::Fetch,
            PolicyTrouble::Untrusted(_) => Self::PolicyHost,
            PolicyTrouble::NoPolicy(_) => Self::NoPolicy,
        }
    }
}

impl Trouble {
    /// As reports call it (RFC 8460 §4.3).
    fn result_type(self) -> ResultType {
        match self {
            Self::NoStartTls => ResultType::StartTlsNotSupported,
            Self::Handshake(Fault::Expired) => ResultType::CertificateExpired,
            Self::Handshake(Fault::OtherName) => ResultType::CertificateHostMismatch,
            Self::Handshake(Fault::Untrusted) => ResultType::CertificateNotTrusted,
            // §4.3.2.1: "None of the records in the RRset were found to be valid."
            Self::Handshake(Fault::NoRecordFits) => ResultType::TlsaInvalid,
            Self::Handshake(Fault::Other) | Self::NotNamed => ResultType::ValidationFailure,
            Self::Fetch => ResultType::StsPolicyFetchError,
            Self::NoPolicy => ResultType::StsPolicyInvalid,
            Self::PolicyHost => ResultType::StsWebpkiInvalid,
            Self::Dnssec => ResultType::DnssecInvalid,
        }
    }

    /// The kind of policy that it is about, where it is not that of the session.
    fn policy_type(self) -> PolicyType {
        match self {
            Self::Dnssec => PolicyType::Tlsa,
            Self::NotNamed
            | Self::Fetch
            | Self::NoPolicy
            | Self::PolicyHost
            | Self::NoStartTls
            | Self::Handshake(_) => PolicyType::Sts,
        }
    }
}

impl Collector {
    /// What was counted since this was last called.
    pub fn take(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// Forget everything: nobody wants to know.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// This was found of a domain; and, by host, these records in signed DNS.
    pub fn learn<'r>(
        &mut self,
        domain: &Domain,
        found: &Found,
        tlsa: impl Iterator<Item = (&'r str, &'r [Tlsa])>,
    ) {
        if self.known.len() >= TLS_REPORT_KNOWN_MAX {
            self.known.clear();
        }
        let counts = |policy: &&mta_sts::Policy| policy.mode != mta_sts::Mode::None;
        let sts = found.policy.as_ref().filter(counts).map(|policy| {
            let details = PolicyDetails {
                policy_string: bounded(policy.lines()),
                mx_host: bounded(policy.hosts().map(str::to_owned)),
                ..PolicyDetails::new(PolicyType::Sts, domain.as_str())
            };
            (policy.clone(), details)
        });
        //= RFC 8460 §1.1
        //# For DANE the Policy Domain is the "TLSA base domain" of the receiving SMTP server
        let of_host = |(host, records): (&str, &[Tlsa])| {
            let details = PolicyDetails {
                policy_string: bounded(records.iter().map(ToString::to_string)),
                mx_host: vec![host.to_owned()],
                ..PolicyDetails::new(PolicyType::Tlsa, host)
            };
            (host.into(), details)
        };
        let hosts = tlsa.map(of_host).collect();
        let known = Known { sts, hosts };
        for (trouble, host, why) in &found.troubles {
            let policy = known.policy(*trouble, domain, host);
            self.tally.count(domain.as_str(), &policy, Some(failure(*trouble, host, why)));
        }
        self.known.insert(domain.clone(), known);
    }

    /// Whether a session with this host is to be held against a policy that is being tested: what
    /// is wrong is told, and nothing follows (RFC 8461 §5).
    pub fn is_tested(&self, domain: &Domain, host: &str) -> bool {
        let known = self.known.get(domain).filter(|known| !known.hosts.contains_key(host));
        known
            .and_then(|it| it.sts.as_ref())
            .is_some_and(|(it, _)| it.mode == mta_sts::Mode::Testing)
    }

    /// A session came to TLS as it was to be, or not, and why, in words.
    pub fn count(&mut self, session: &Session<'_>, result: Result<(), (Trouble, &str)>) {
        let known = self.known.get(session.domain);
        let none = PolicyDetails::new(PolicyType::NoPolicyFound, session.domain.as_str());
        let mut result = result;
        let policy = match known {
            // What the operator says of a domain is no policy of its own.
            None if session.level != TlsLevel::Opportunistic => return,
            None => &none,
            Some(known) => match (known.hosts.get(session.host), &known.sts) {
                (Some(of_host), _) => of_host,
                (None, Some((policy, details))) => {
                    if !policy.names(session.host) {
                        result = result.and(Err((Trouble::NotNamed, NOT_NAMED)));
                    }
                    details
                }
                (None, None) => &none,
            },
        };
        let failure = result.err().map(|(trouble, why)| FailureDetails {
            sending_mta_ip: session.own,
            receiving_ip: Some(session.peer),
            ..failure(trouble, session.host, why)
        });
        self.tally.count(session.domain.as_str(), policy, failure);
    }
}

const NOT_NAMED: &str = "the policy does not name this host";

impl Known {
    /// The policy that such trouble is charged to, there being no session.
    fn policy(&self, trouble: Trouble, domain: &Domain, host: &str) -> PolicyDetails {
        match (trouble.policy_type(), &self.sts) {
            (PolicyType::Sts, Some((_, details))) => details.clone(),
            (PolicyType::Tlsa, _) => PolicyDetails {
                mx_host: vec![host.to_owned()],
                ..PolicyDetails::new(PolicyType::Tlsa, host)
            },
            (kind, _) => PolicyDetails::new(kind, domain.as_str()),
        }
    }
}

fn failure(trouble: Trouble, host: &str, why: &str) -> FailureDetails {
    let why = head(why, TLS_REPORT_WORDS_MAX).to_owned();
    FailureDetails {
        receiving_mx_hostname: (!host.is_empty()).then(|| host.to_owned()),
        failure_reason_code: (!why.is_empty()).then_some(why),
        ..FailureDetails::new(trouble.result_type())
    }
}

/// As many of them as a report shows.
fn bounded(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut room = TLS_REPORT_POLICY_MAX;
    let fits = |line: &String| {
        let left = room.checked_sub(line.len());
        room = left.unwrap_or(0);
        left.is_some()
    };
    lines.take_while(fits).collect()
}

#[cfg(test)]
mod tests;
