//! Addresses as types: a path that exists is well-formed (RFC 5321 §4.1.2, RFC 6531 §3.3).
//!
//! The text of an address is kept as the client gave it (source routes dropped, RFC 5321 §4.1.1.3),
//! since only the destination may interpret a local part. [`Domain`] is the form that routing uses:
//! lower case, internationalized labels as A-labels, no trailing dot.

use std::fmt;
use std::net::IpAddr;

use crate::base::limits::{DOMAIN_MAX, LOCAL_PART_MAX, PATH_MAX};

/// Why text is no address; each becomes a 501 with its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not `local@domain`.
    #[error("malformed address")]
    Malformed,
    /// Longer than RFC 5321 §4.5.3.1 lets it be.
    #[error("address too long")]
    TooLong,
    /// Not a host name and not an address literal.
    #[error("malformed domain")]
    Domain,
}

/// A destination domain in the form that routing uses, or an address literal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Domain(Box<str>);

impl Domain {
    /// Read a domain name (A-labels or U-labels) or an address literal.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() || text.len() > DOMAIN_MAX {
            return Err(AddressError::Domain);
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }

    /// `example.com`, `[192.0.2.1]`, `[IPv6:2001:db8::1]`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address, where the domain is an address literal.
    pub fn literal(&self) -> Option<IpAddr> {
        let inside = self.0.strip_prefix('[')?.strip_suffix(']')?;
        inside.strip_prefix("ipv6:").unwrap_or(inside).parse().ok()
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `local@domain` as the client wrote it, without source route and brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mailbox {
    text: Box<str>,
    domain: Domain,
}

impl Mailbox {
    /// Read `local@domain` (RFC 5321 §4.1.2 Mailbox; RFC 6531 where `utf8`).
    pub fn parse(text: &str, utf8: bool) -> Result<Self, AddressError> {
        let (local, domain) = text.rsplit_once('@').ok_or(AddressError::Malformed)?;
        if local.is_empty() || (!utf8 && !text.is_ascii()) {
            return Err(AddressError::Malformed);
        }
        if local.len() > LOCAL_PART_MAX || text.len() > PATH_MAX - 2 {
            return Err(AddressError::TooLong);
        }
        Ok(Self { text: text.into(), domain: Domain::parse(domain)? })
    }

    /// The whole address, as the client wrote it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What is before the last `@`, quotes included.
    pub fn local_part(&self) -> &str {
        self.text.rsplit_once('@').map_or("", |(local, _)| local)
    }

    /// Where it goes.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// MAIL's argument: whom a DSN goes to; null (`<>`) for DSNs themselves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReversePath(pub Option<Mailbox>);

impl ReversePath {
    /// `<>`.
    pub const NULL: Self = Self(None);

    /// The address without brackets; empty for the null reverse-path.
    pub fn as_str(&self) -> &str {
        self.0.as_ref().map_or("", Mailbox::as_str)
    }

    /// Whether this is `<>`.
    pub fn is_null(&self) -> bool {
        self.0.is_none()
    }
}

impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.as_str())
    }
}

/// RCPT's argument.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ForwardPath {
    /// `<local@domain>`.
    Mailbox(Mailbox),
    /// `<Postmaster>` without a domain (RFC 5321 §4.1.1.3).
    Postmaster,
}

impl ForwardPath {
    /// The address without brackets.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Mailbox(mailbox) => mailbox.as_str(),
            Self::Postmaster => "postmaster",
        }
    }

    /// Where it goes; `None` for the domainless `<Postmaster>`, which is this node's own.
    pub fn domain(&self) -> Option<&Domain> {
        match self {
            Self::Mailbox(mailbox) => Some(mailbox.domain()),
            Self::Postmaster => None,
        }
    }
}

impl fmt::Display for ForwardPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.as_str())
    }
}
