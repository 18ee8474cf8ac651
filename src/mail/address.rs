//! Addresses as types: a path that exists is well-formed (RFC 5321 §4.1.2, RFC 6531 §3.3).
//!
//! The text of an address is kept as the client gave it (source routes dropped, RFC 5321 §4.1.1.3),
//! since only the destination may interpret a local part. [`Domain`] is the form that routing uses:
//! lower case, internationalized labels as A-labels, no trailing dot.

mod domain;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::base::limits::{LOCAL_PART_MAX, PATH_MAX};

pub use domain::{Domain, Suffixes};

/// Why text is no address; each becomes a reply with its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not `local@domain`.
    #[error("malformed address")]
    Malformed,
    /// Longer than RFC 5321 §4.5.3.1 lets it be.
    #[error("address too long")]
    TooLong,
    /// Not ASCII where only ASCII may be (RFC 6531 §3.5).
    #[error("non-ASCII address without SMTPUTF8")]
    NeedsUtf8,
    /// Not a host name and not an address literal.
    #[error("malformed domain")]
    Domain,
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
        if !utf8 && !text.is_ascii() {
            return Err(AddressError::NeedsUtf8);
        }
        if local.len() > LOCAL_PART_MAX || text.len() > PATH_MAX - 2 {
            return Err(AddressError::TooLong);
        }
        if !is_dot_string(local) && !is_quoted_string(local) || has_control(local) {
            return Err(AddressError::Malformed);
        }
        // RFC 5321 §4.1.2 has no place for the trailing dot that `Domain::parse` forgives.
        if domain.ends_with('.') {
            return Err(AddressError::Domain);
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

    /// Read `<>` or a path from the start of `text`; returns what follows its bracket too.
    pub fn split(text: &str, utf8: bool) -> Result<(Self, &str), AddressError> {
        let (inside, rest) = split_brackets(text)?;
        if inside.is_empty() {
            return Ok((Self::NULL, rest));
        }
        Ok((Self(Some(Mailbox::parse(without_route(inside, utf8)?, utf8)?)), rest))
    }

    /// The address without brackets; empty for the null reverse-path.
    pub fn as_str(&self) -> &str {
        self.0.as_ref().map_or("", Mailbox::as_str)
    }

    /// What stands for a path with this text where 64 bits must do: XXH3.
    pub fn hash_of(text: &str) -> u64 {
        xxhash_rust::xxh3::xxh3_64(text.as_bytes())
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
    /// Read a path from the start of `text`; returns what follows its bracket too.
    pub fn split(text: &str, utf8: bool) -> Result<(Self, &str), AddressError> {
        let (inside, rest) = split_brackets(text)?;
        if inside.eq_ignore_ascii_case("postmaster") {
            return Ok((Self::Postmaster, rest));
        }
        Ok((Self::Mailbox(Mailbox::parse(without_route(inside, utf8)?, utf8)?), rest))
    }

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

/// What is between `<` and the `>` that ends it, and what follows. A `>` in quotes ends nothing.
fn split_brackets(text: &str) -> Result<(&str, &str), AddressError> {
    let inside = text.strip_prefix('<').ok_or(AddressError::Malformed)?;
    let (mut quoted, mut escaped) = (false, false);
    for (at, octet) in inside.bytes().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Ok((&inside[..at], &inside[at + 1..])),
            _ => {}
        }
    }
    Err(AddressError::Malformed)
}

/// Drop `@one,@two:` from the start of a path.
//= RFC 5321 §3.3
//# Servers MUST be prepared to encounter a list of source routes in the forward-path, but they
//# SHOULD ignore the routes
fn without_route(path: &str, utf8: bool) -> Result<&str, AddressError> {
    if !path.starts_with('@') {
        return Ok(path);
    }
    if !utf8 && !path.is_ascii() {
        return Err(AddressError::NeedsUtf8);
    }
    let (route, mailbox) = split_route(path).ok_or(AddressError::Malformed)?;
    for domain in route.split(',') {
        let domain = domain.strip_prefix('@').ok_or(AddressError::Malformed)?;
        Domain::parse(domain)?;
    }
    Ok(mailbox)
}

/// Split at the `:` that ends the route; one inside an address literal does not.
fn split_route(path: &str) -> Option<(&str, &str)> {
    let mut literal = false;
    let end = path.bytes().position(|octet| {
        literal = octet == b'[' || (literal && octet != b']');
        octet == b':' && !literal
    })?;
    Some((&path[..end], &path[end + 1..]))
}

/// Whether text has control characters above ASCII, U+0080 to U+009F: terminals obey them, and
/// RFC 6531's grammar, which lets them through, does not mean them.
fn has_control(text: &str) -> bool {
    !text.is_ascii() && text.contains(char::is_control)
}

/// RFC 5321 §4.1.2 `Dot-string`, with RFC 6531 §3.3 `atext`.
fn is_dot_string(text: &str) -> bool {
    let atext = |octet: u8| {
        octet.is_ascii_alphanumeric()
            || !octet.is_ascii()
            || b"!#$%&'*+-/=?^_`{|}~".contains(&octet)
    };
    text.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(atext))
}

/// RFC 5321 §4.1.2 `Quoted-string`, with RFC 6531 §3.3 `qtextSMTP`.
fn is_quoted_string(text: &str) -> bool {
    let Some(inside) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return false;
    };
    let mut octets = inside.bytes();
    while let Some(octet) = octets.next() {
        let fine = match octet {
            b'"' => false,
            b'\\' => octets.next().is_some_and(|escaped| matches!(escaped, b' '..=b'~')),
            _ => matches!(octet, b' '..=b'~') || !octet.is_ascii(),
        };
        if !fine {
            return false;
        }
    }
    true
}
