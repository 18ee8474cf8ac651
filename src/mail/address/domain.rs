//! A domain in the one form that routing compares.
//!
//! In: a host name with A-labels or U-labels, or an address literal. Out: lower-case A-labels
//! without a trailing dot, or the literal in its canonical text (RFC 5952 for IPv6).
//! Invariant: two domains are equal where DNS would say so; the text is ASCII, of at most 253
//! octets in labels of at most 63 (RFC 1035 §2.3.4), and safe in a header field.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use idna::AsciiDenyList;

use crate::base::limits::DOMAIN_NAME_MAX;
use crate::base::limits::{DOMAIN_MAX, LABEL_MAX};
use crate::mail::address::AddressError;

/// A destination domain in the form that routing uses, or an address literal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Domain(Box<str>);

impl Domain {
    /// Read a domain name (A-labels or U-labels, a trailing dot forgiven) or an address literal.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if let Some(inside) = text.strip_prefix('[') {
            let inside = inside.strip_suffix(']').ok_or(AddressError::Domain)?;
            return parse_literal(inside).map(Self::from).ok_or(AddressError::Domain);
        }
        // Bounded before IDNA works on it: a label of n octets may cost it n².
        if text.len() > DOMAIN_MAX {
            return Err(AddressError::Domain);
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let name = if name.is_ascii() {
            Cow::Owned(name.to_ascii_lowercase())
        } else {
            idna::domain_to_ascii_cow(name.as_bytes(), AsciiDenyList::STD3)
                .map_err(|_| AddressError::Domain)?
        };
        if name.len() > DOMAIN_NAME_MAX || !name.split('.').all(is_label) {
            return Err(AddressError::Domain);
        }
        Ok(Self(name.into()))
    }

    /// `example.com`, `[192.0.2.1]`, `[IPv6:2001:db8::1]`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address, where the domain is an address literal.
    pub fn literal(&self) -> Option<IpAddr> {
        parse_literal(self.0.strip_prefix('[')?.strip_suffix(']')?)
    }

    /// The domain and those above it, longest first: of `a.b.c` these are `a.b.c`, `b.c` and `c`.
    /// An address literal has none above it.
    pub fn suffixes(&self) -> Suffixes<'_> {
        Suffixes { rest: Some(&self.0) }
    }
}

impl From<IpAddr> for Domain {
    /// The address literal of an address.
    fn from(address: IpAddr) -> Self {
        Self(match address {
            IpAddr::V4(address) => format!("[{address}]").into(),
            IpAddr::V6(address) => format!("[IPv6:{address}]").into(),
        })
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// See [`Domain::suffixes`].
#[derive(Clone, Debug)]
pub struct Suffixes<'a> {
    rest: Option<&'a str>,
}

impl<'a> Iterator for Suffixes<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let suffix = self.rest?;
        self.rest = match suffix.starts_with('[') {
            true => None,
            false => suffix.split_once('.').map(|(_, above)| above),
        };
        Some(suffix)
    }
}

/// What is between the brackets: RFC 5321 §4.1.3 IPv4 or IPv6 (no other kind is in use).
fn parse_literal(inside: &str) -> Option<IpAddr> {
    match inside.split_at_checked("IPv6:".len()) {
        Some((tag, address)) if tag.eq_ignore_ascii_case("IPv6:") => {
            address.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        }
        Some(_) | None => inside.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

/// RFC 5321 §4.1.2 `sub-domain`: letters, digits and inner hyphens.
fn is_label(label: &str) -> bool {
    let octets = label.as_bytes();
    let ends = |octet: Option<&u8>| octet.is_some_and(u8::is_ascii_alphanumeric);
    octets.len() <= LABEL_MAX
        && ends(octets.first())
        && ends(octets.last())
        && octets.iter().all(|octet| octet.is_ascii_alphanumeric() || *octet == b'-')
}
