//! Where mail leaves from.

use std::net::IpAddr;

use crate::config::options::CertificateFiles;
use crate::mail::address::Domain;

/// A local address that mail leaves from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressSource {
    /// Unique among sources; its address where it was given none.
    pub name: Box<str>,
    /// Bound before connecting; unique among sources.
    pub address: IpAddr,
    /// What EHLO says from there.
    pub hello: Domain,
    /// Shown to peers that ask for a certificate.
    pub certificate: Option<CertificateFiles>,
}

/// Sources that share mail of some kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressPool {
    /// Unique among pools.
    pub name: Box<str>,
    /// Places in `sources`, each once, with their weights. Empty where there are no sources: then
    /// the kernel chooses.
    pub sources: Vec<(u16, u32)>,
}
