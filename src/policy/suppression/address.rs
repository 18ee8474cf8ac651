//! An address as the lists compare it: ASCII in lower case, without quotes that mean nothing.
//!
//! Out: `local@domain`, or `@domain` for a whole domain. The domain is as routing has it. A quoted
//! local part that could be written without quotes is so (`"a"@b.example` is `a@b.example`,
//! RFC 5321 §4.1.2); one that could not has no backslash but before `"` and `\`.

use std::fmt;

use crate::base::limits::SUPPRESSED_ADDRESS_MAX;
use crate::mail::address::{AddressError, Domain, Mailbox};
use crate::policy::recipients::unquoted;

/// An address or a whole domain, in the form that is compared and stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject(Box<str>);

impl Subject {
    /// Read `local@domain`, or `@domain`.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        let text = text.strip_prefix('<').and_then(|it| it.strip_suffix('>')).unwrap_or(text);
        match text.strip_prefix('@') {
            Some(domain) => Ok(Self(format!("@{}", Domain::parse(domain)?).into())),
            None => Ok(Self::from(&Mailbox::parse(text, true)?)),
        }
    }

    /// What the store or a key has.
    pub fn known(text: &str) -> Self {
        Self(text.into())
    }

    /// `local@domain`, or `@domain`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a whole domain.
    pub fn is_domain(&self) -> bool {
        self.0.starts_with('@')
    }
}

impl From<&Mailbox> for Subject {
    fn from(mailbox: &Mailbox) -> Self {
        Self::known(Key::new(mailbox).address())
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A recipient's address and domain, in the form that is compared, without an allocation.
#[derive(Clone)]
pub struct Key {
    octets: [u8; SUPPRESSED_ADDRESS_MAX],
    length: u16,
    at: u16,
}

impl Key {
    /// Of this recipient.
    pub fn new(recipient: &Mailbox) -> Self {
        let local = recipient.local_part();
        let mut key = Self { octets: [0; SUPPRESSED_ADDRESS_MAX], length: 0, at: 0 };
        if local.starts_with('"') {
            key.push(&normal(local).to_ascii_lowercase());
        } else {
            key.push(local);
            key.octets[..local.len()].make_ascii_lowercase();
        }
        key.at = key.length;
        key.push("@");
        key.push(recipient.domain().as_str());
        key
    }

    /// `local@domain`.
    pub fn address(&self) -> &str {
        self.text(0)
    }

    /// `@domain`.
    pub fn domain(&self) -> &str {
        self.text(self.at)
    }

    fn text(&self, from: u16) -> &str {
        let octets = &self.octets[usize::from(from)..usize::from(self.length)];
        std::str::from_utf8(octets).expect("it was made of text, in ASCII lower case")
    }

    fn push(&mut self, text: &str) {
        let from = usize::from(self.length);
        self.octets[from..from + text.len()].copy_from_slice(text.as_bytes());
        self.length += u16::try_from(text.len()).expect("SUPPRESSED_ADDRESS_MAX has 16 bits");
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.address())
    }
}

/// A quoted local part as it is compared. Never longer than it was.
fn normal(quoted: &str) -> String {
    let inside = unquoted(quoted);
    let is_atom = |atom: &str| {
        let is_atext = |c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || ATEXT.contains(c);
        !atom.is_empty() && atom.chars().all(is_atext)
    };
    if inside.split('.').all(is_atom) {
        return inside.into_owned();
    }
    format!("\"{}\"", inside.replace('\\', "\\\\").replace('"', "\\\""))
}

/// RFC 5322 §3.2.3 `atext` beside letters and digits.
const ATEXT: &str = "!#$%&'*+-/=?^_`{|}~";
