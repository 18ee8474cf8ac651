//! What verification found out about a message, as DMARC's aggregate reports are made of it.
//!
//! The names follow RFC 9990's XML where they mean the same. Lives in events.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// A row of an aggregate report: one message. Results are words of RFC 8601 §2.7.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// The client's address: `source_ip`.
    pub source_ip: IpAddr,
    /// The domain of the `From:` field, where there is one that DMARC can go by.
    pub header_from: Box<str>,
    /// What was done: `none`, `quarantine`, `reject`.
    pub disposition: Box<str>,
    /// SPF.
    pub spf: SpfFound,
    /// Each signature that was tried.
    pub dkim: Vec<DkimFound>,
    /// The ARC chain.
    pub arc: Box<str>,
    /// DMARC.
    pub dmarc: Box<str>,
    /// The policy, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<DmarcPolicy>,
}

/// What SPF says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpfFound {
    /// The domain that was asked.
    pub domain: Box<str>,
    /// `mfrom` or `helo`.
    pub scope: Box<str>,
    /// The result.
    pub result: Box<str>,
}

/// What a signature is worth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DkimFound {
    /// `d=`.
    pub domain: Box<str>,
    /// `s=`.
    pub selector: Box<str>,
    /// The result.
    pub result: Box<str>,
}

/// A published policy, and which of the two ways holds under it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DmarcPolicy {
    /// The domain that the message was held against.
    pub domain: Box<str>,
    /// `p=`, `sp=`, `np=`: `none`, `quarantine`, `reject`.
    pub p: Box<str>,
    /// For subdomains.
    pub sp: Box<str>,
    /// For those that do not exist.
    pub np: Box<str>,
    /// `r` or `s`.
    pub adkim: Box<str>,
    /// `r` or `s`.
    pub aspf: Box<str>,
    /// `t=y`: it is only tried out.
    pub testing: bool,
    /// Whether an aligned signature is right: `pass`, `fail`.
    pub dkim: Box<str>,
    /// Whether SPF is, and is aligned.
    pub spf: Box<str>,
}
