//! Where mail leaves from.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use crate::base::days::Day;
use crate::config::options::CertificateFiles;
use crate::mail::address::Domain;

/// A local address that mail leaves from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressSource {
    /// Unique among sources; its address where it was given none.
    pub name: Box<str>,
    /// Bound before connecting, unless there is a proxy; unique among sources.
    pub address: IpAddr,
    /// What EHLO says from there.
    pub hello: Domain,
    /// Shown to peers that ask for a certificate.
    pub certificate: Option<CertificateFiles>,
    /// What connects for it; `address` is one of that machine then.
    pub proxy: Option<EgressProxy>,
    /// By which plan it is warmed up, by its place, and from which day on.
    pub warm_up: Option<(u16, Day)>,
}

/// A proxy that mail leaves through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressProxy {
    /// Where it listens.
    pub at: SocketAddr,
    /// What it speaks.
    pub kind: ProxyKind,
}

/// What a proxy speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyKind {
    /// SOCKS5, with the login in this file, if there is one.
    Socks(Option<PathBuf>),
    /// The PROXY protocol, version 2.
    Header,
}

impl fmt::Display for EgressProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            ProxyKind::Socks(_) => write!(f, "socks5://{}", self.at),
            ProxyKind::Header => write!(f, "haproxy://{}", self.at),
        }
    }
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
