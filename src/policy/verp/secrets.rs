//! Hold the secrets of a file: the first signs, all of them check.
//!
//! ```text
//! # since November
//! 3f6c…        what signs
//! 91ab…        what signed before: its tokens are good until they are too old
//! ```
//! Invariant: no secret is shown, in an error or elsewhere.

use std::fmt;

use aws_lc_rs::aead::LessSafeKey;
use aws_lc_rs::hmac;

use crate::base::limits::{VERP_SECRET_MAX, VERP_SECRET_MIN, VERP_SECRETS_MAX};
use crate::policy::verp::sealed;

/// At least one secret.
pub struct Secrets {
    first: hmac::Key,
    others: Vec<hmac::Key>,
    /// What seals and opens, in the same order.
    seals: Vec<LessSafeKey>,
}

/// What is wrong with a file of secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretsError {
    /// Nothing but comments.
    #[error("there is no secret in it; `openssl rand -hex 32` makes one")]
    Empty,
    /// In this line, counted from 1.
    #[error(
        "line {0}: a secret is one word of {VERP_SECRET_MIN} to {VERP_SECRET_MAX} printable \
        ASCII characters"
    )]
    Line(usize),
    /// More than is of use.
    #[error("it has more than {VERP_SECRETS_MAX} secrets")]
    TooMany,
}

impl Secrets {
    /// Read the text of a file.
    pub fn parse(text: &str) -> Result<Self, SecretsError> {
        let mut keys = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let secret = line.trim();
            if secret.is_empty() || secret.starts_with('#') {
                continue;
            }
            let fits = (VERP_SECRET_MIN..=VERP_SECRET_MAX).contains(&secret.len());
            if !fits || !secret.bytes().all(|octet| octet.is_ascii_graphic()) {
                return Err(SecretsError::Line(number + 1));
            }
            if keys.len() == VERP_SECRETS_MAX {
                return Err(SecretsError::TooMany);
            }
            keys.push(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()));
        }
        let seals = keys.iter().map(sealed::key).collect();
        let mut keys = keys.into_iter();
        let first = keys.next().ok_or(SecretsError::Empty)?;
        Ok(Self { first, others: keys.collect(), seals })
    }

    /// The one that signs.
    pub(super) fn first(&self) -> &hmac::Key {
        &self.first
    }

    /// What seals first, then all that opens.
    pub(super) fn seals(&self) -> impl Iterator<Item = &LessSafeKey> {
        self.seals.iter()
    }

    /// Keys for another use, of the same secrets in the same order: whoever has one of them cannot
    /// sign or seal anything else.
    pub(in crate::policy) fn derive(&self, label: &[u8]) -> impl Iterator<Item = hmac::Tag> {
        self.all().map(move |secret| hmac::sign(secret, label))
    }

    /// Those that check.
    pub(super) fn all(&self) -> impl Iterator<Item = &hmac::Key> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", 1 + self.others.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_with_its_line_and_without_the_secret() {
        let good = "a".repeat(VERP_SECRET_MIN);
        let four = format!("{good}\n").repeat(4);
        for (text, expected) in [
            (String::new(), Err(SecretsError::Empty)),
            ("# nothing\n\n".into(), Err(SecretsError::Empty)),
            (format!("# one\n{good}\nshort-secret\n"), Err(SecretsError::Line(3))),
            (format!("{good} {good}"), Err(SecretsError::Line(1))),
            ("x".repeat(VERP_SECRET_MAX + 1), Err(SecretsError::Line(1))),
            ("ä".repeat(VERP_SECRET_MIN), Err(SecretsError::Line(1))),
            (format!("{four}{good}"), Err(SecretsError::TooMany)),
            (four, Ok("Secrets(4)".to_owned())),
        ] {
            let read = Secrets::parse(&text);
            assert_eq!(read.map(|secrets| format!("{secrets:?}")), expected, "{text}");
        }
        assert!(!SecretsError::Line(3).to_string().contains("short-secret"));
    }
}
