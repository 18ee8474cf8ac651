//! Turn what came of a connection into words: settlements, reasons, names.
//!
//! Pure helpers of `carry.rs`. Lives on: the owner shard.

use std::mem;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::base::time::Monotonic;
use crate::egress::endpoints::Endpoint;
use crate::egress::health::Signal;
use crate::mail::outcome::{Failure, Reason, Stage};
use crate::mail::status::Severity;
use crate::outcome::judge::{Verdict, judge};
use crate::shard::mesh::Settlement;
use crate::shard::outbound::{Carried, Outbound};

/// A failure on its way to be judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settling<'a> {
    pub(super) stage: Stage,
    pub(super) failure: &'a Failure,
    pub(super) peer: &'a str,
}

impl Settling<'_> {
    /// What the judge makes of it, with its reason.
    pub(super) fn settle(&self) -> Settlement {
        let judgement = judge(self.stage, self.failure);
        let reply = match self.failure {
            Failure::Reply(reply) => Some(reply.clone()),
            Failure::Connect(_)
            | Failure::TimedOut
            | Failure::Closed
            | Failure::Protocol(_)
            | Failure::Tls(_)
            | Failure::NoSuchDomain
            | Failure::Unroutable(_)
            | Failure::NullMx
            | Failure::Loop
            | Failure::Dns(_)
            | Failure::Incapable { .. }
            | Failure::RequireTls { .. }
            | Failure::Expired
            | Failure::Removed => None,
        };
        let reason = Reason {
            stage: self.stage,
            status: judgement.status,
            reply,
            detail: self.failure.to_string().into(),
            peer: self.peer.into(),
        };
        match judgement.verdict {
            Verdict::Defer => Settlement::Deferred(reason),
            Verdict::Bounce => Settlement::Bounced(reason),
        }
    }
}

/// What the loss of a connection tells of an upstream relay.
pub(super) fn signal_of(failure: &Failure) -> Signal {
    if matches!(failure, Failure::Reply(_)) { Signal::Refused } else { Signal::Silent }
}

pub(super) fn is_transient(failure: &Failure) -> bool {
    matches!(failure, Failure::Reply(reply) if reply.code.severity() == Severity::Transient)
}

/// How a job went out, for its report.
pub(super) struct Way {
    pub(super) peer: Box<str>,
    pub(super) tls: Option<Arc<str>>,
    pub(super) began: Monotonic,
    pub(super) connect: Duration,
}

impl Way {
    pub(super) fn of(outbound: &mut Outbound, carried: &Carried) -> Self {
        Self {
            peer: outbound.peer.clone(),
            tls: outbound.protection.words(),
            began: carried.began,
            connect: mem::take(&mut outbound.greeted_after),
        }
    }
}

pub(super) fn last_peer(recipients: &[(u16, Settlement)]) -> Box<str> {
    match recipients.last() {
        Some((_, Settlement::Deferred(reason) | Settlement::Bounced(reason))) => {
            reason.peer.clone()
        }
        Some((_, Settlement::Delivered { .. })) | None => "".into(),
    }
}

/// As `mx1.example.net[192.0.2.1]:25`; a host that is known by its address alone has no name.
pub(super) fn peer_name(endpoint: &Endpoint) -> String {
    let is_address = endpoint.host.starts_with('[') || endpoint.host.parse::<IpAddr>().is_ok();
    let name = if is_address { "" } else { &*endpoint.host };
    format!("{name}[{}]:{}", endpoint.address.ip(), endpoint.address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_not_its_own_name() {
        for (host, expected) in [
            ("mx.example.net", "mx.example.net[192.0.2.1]:25"),
            ("192.0.2.1", "[192.0.2.1]:25"),
            ("[192.0.2.1]", "[192.0.2.1]:25"),
        ] {
            let address = "192.0.2.1:25".parse().expect("an address");
            let endpoint = Endpoint { address, host: host.into(), preference: 0 };
            assert_eq!(peer_name(&endpoint), expected);
        }
    }
}
