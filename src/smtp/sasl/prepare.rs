//! Prepare names and passwords for comparison: SASLprep (RFC 4013).
//!
//! In: octets of a client, or of an operator. Out: text without control characters, in the one form
//! that Unicode's look-alikes share (NFKC). Invariant: what is prepared stays as it is when it is
//! prepared again, and has 1 to `AUTH_NAME_MAX`, `AUTH_PASSWORD_MAX` octets.

use std::fmt;

use stringprep::saslprep;
use zeroize::Zeroizing;

use crate::base::limits::{AUTH_NAME_MAX, AUTH_PASSWORD_MAX};
use crate::smtp::sasl::Fault;

/// What a client calls itself, proved or not. Case matters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Box<str>);

impl Name {
    /// Prepare a name.
    pub fn prepare(octets: &[u8]) -> Result<Self, Fault> {
        let text = std::str::from_utf8(octets).map_err(|_| Fault::Unfit)?;
        let text = saslprep(text).map_err(|_| Fault::Unfit)?;
        if text.is_empty() || text.len() > AUTH_NAME_MAX {
            return Err(Fault::Unfit);
        }
        Ok(Self(text.into()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A password; gone from memory with its value.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Prepare a password.
    pub fn prepare(octets: &[u8]) -> Result<Self, Fault> {
        let text = std::str::from_utf8(octets).map_err(|_| Fault::Unfit)?;
        let text = Zeroizing::new(saslprep(text).map_err(|_| Fault::Unfit)?.into_owned());
        if text.is_empty() || text.len() > AUTH_PASSWORD_MAX {
            return Err(Fault::Unfit);
        }
        Ok(Self(text))
    }

    /// Its octets, for a verifier.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Password(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= RFC 4013 §3, type=test
    //# examples: SOFT HYPHEN maps to nothing; no change to case; NFKC; prohibited; bidi check
    #[test]
    fn names_are_prepared() {
        let prepared = |text: &str| Name::prepare(text.as_bytes()).map(|name| name.0.to_string());
        assert_eq!(prepared("I\u{AD}X").as_deref(), Ok("IX"));
        assert_eq!(prepared("user").as_deref(), Ok("user"));
        assert_eq!(prepared("USER").as_deref(), Ok("USER"));
        assert_eq!(prepared("\u{AA}").as_deref(), Ok("a"));
        assert_eq!(prepared("\u{2168}").as_deref(), Ok("IX"));
        assert_eq!(prepared("\u{7}"), Err(Fault::Unfit));
        assert_eq!(prepared("\u{627}1"), Err(Fault::Unfit));
    }

    #[test]
    fn what_no_file_can_hold_is_unfit() {
        let long = "x".repeat(AUTH_NAME_MAX + 1);
        for name in ["", "\u{AD}", "a\0b", "a\r\nb", "a\u{85}", "\u{202E}x", &long] {
            assert_eq!(Name::prepare(name.as_bytes()), Err(Fault::Unfit), "{name:?}");
        }
        assert!(Name::prepare(&long.as_bytes()[1..]).is_ok());
        assert_eq!(Name::prepare(b"\xFF"), Err(Fault::Unfit));
        let long = "x".repeat(AUTH_PASSWORD_MAX + 1);
        assert_eq!(Password::prepare(long.as_bytes()), Err(Fault::Unfit));
        assert!(Password::prepare(&long.as_bytes()[1..]).is_ok());
        assert_eq!(Password::prepare(b""), Err(Fault::Unfit));
    }

    #[test]
    fn a_password_is_not_shown() {
        let password = Password::prepare(b"pencil").expect("a password");
        assert!(!format!("{password:?}").contains("pencil"));
    }
}
