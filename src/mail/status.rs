//! Say how something went, in the numbers of RFC 5321 and RFC 3463.

use std::fmt;
use std::str::FromStr;

/// A reply code (RFC 5321 §4.2): 200 to 559.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplyCode(u16);

impl ReplyCode {
    /// The code, if its digits are in the ranges of RFC 5321 §4.2: `2-5`, `0-5`, `0-9`.
    pub fn new(code: u16) -> Option<Self> {
        let valid = (200..=559).contains(&code) && code / 10 % 10 <= 5;
        valid.then_some(Self(code))
    }

    /// A code that the caller knows to be well-formed; anything else does not compile or panics.
    pub const fn known(code: u16) -> Self {
        assert!(code >= 200 && code <= 559 && code / 10 % 10 <= 5);
        Self(code)
    }

    /// 200 to 559.
    pub const fn as_u16(self) -> u16 {
        self.0
    }

    /// The first digit's meaning.
    pub fn severity(self) -> Severity {
        match self.0 / 100 {
            2 => Severity::Completed,
            3 => Severity::Intermediate,
            4 => Severity::Transient,
            _ => Severity::Permanent,
        }
    }
}

impl fmt::Display for ReplyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What the first digit of a reply code says (RFC 5321 §4.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// 2yz.
    Completed,
    /// 3yz: go on.
    Intermediate,
    /// 4yz: may work later.
    Transient,
    /// 5yz: will not work as it is.
    Permanent,
}

/// An enhanced status code (RFC 3463 §2): class 2, 4 or 5, subject and detail 0 to 999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EnhancedStatus {
    /// 2 success, 4 persistent transient failure, 5 permanent failure.
    pub class: u8,
    /// What it is about: 1 addressing, 2 mailbox, 3 mail system, 4 network, 5 protocol, 6 content,
    /// 7 policy.
    pub subject: u16,
    /// What exactly.
    pub detail: u16,
}

/// RFC 7372, by RFC 8689 §4.2.1: X.7.10, encryption needed.
pub const ENCRYPTION_NEEDED: EnhancedStatus = EnhancedStatus::new(5, 7, 10);
/// RFC 8689 §7: X.7.30, REQUIRETLS support required.
pub const REQUIRETLS_NEEDED: EnhancedStatus = EnhancedStatus::new(5, 7, 30);

impl EnhancedStatus {
    /// A status that the caller knows to be well-formed.
    pub const fn new(class: u8, subject: u16, detail: u16) -> Self {
        assert!(class == 2 || class == 4 || class == 5);
        assert!(subject <= 999 && detail <= 999);
        Self { class, subject, detail }
    }

    /// Read `class.subject.detail` from the start of `text`, which goes on with a space or ends.
    pub fn parse_prefix(text: &str) -> Option<(Self, &str)> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let mut numbers = word.splitn(3, '.').map(number);
        let (class, subject, detail) = (numbers.next()??, numbers.next()??, numbers.next()??);
        let class = u8::try_from(class).ok().filter(|class| matches!(class, 2 | 4 | 5))?;
        Some((Self { class, subject, detail }, rest))
    }
}

/// One to three digits.
fn number(digits: &str) -> Option<u16> {
    let fits = (1..=3).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    if fits { digits.parse().ok() } else { None }
}

impl fmt::Display for EnhancedStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// Text that is no enhanced status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an enhanced status is class.subject.detail, as 5.1.1")]
pub struct NotAStatus;

impl FromStr for EnhancedStatus {
    type Err = NotAStatus;

    fn from_str(text: &str) -> Result<Self, NotAStatus> {
        match Self::parse_prefix(text) {
            Some((status, "")) => Ok(status),
            _ => Err(NotAStatus),
        }
    }
}

/// A whole reply as a peer gave it, or as we give it: code, enhanced status if any, text.
///
/// Lines of a multi-line reply are joined by `\n`, each without its code; the enhanced status is
/// taken off the first line and, where it repeats, off the others. The text of a peer is bounded by
/// `REPLY_TEXT_MAX` and is valid UTF-8 (other bytes are replaced).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The three digits.
    pub code: ReplyCode,
    /// RFC 2034 enhanced status, where the reply carries one.
    pub enhanced: Option<EnhancedStatus>,
    /// What follows, for people.
    pub text: Box<str>,
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(enhanced) = self.enhanced {
            write!(f, " {enhanced}")?;
        }
        if !self.text.is_empty() {
            write!(f, " {}", self.text.replace('\n', " "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reply_codes_have_the_digits_of_rfc_5321() {
        let valid = [200, 220, 250, 354, 421, 450, 451, 503, 550, 554, 559];
        assert!(valid.iter().all(|code| ReplyCode::new(*code).is_some()));
        let invalid = [0, 99, 100, 199, 260, 299, 399, 460, 560, 600, 999];
        assert!(invalid.iter().all(|code| ReplyCode::new(*code).is_none()));
    }

    #[test]
    fn enhanced_statuses_are_read_strictly() {
        let new = EnhancedStatus::new;
        assert_eq!(EnhancedStatus::parse_prefix("5.1.1 gone"), Some((new(5, 1, 1), "gone")));
        assert_eq!("4.7.999".parse(), Ok(new(4, 7, 999)));
        for text in ["", "5", "5.1", "3.1.1", "5.1.1000", "5.1.1.1", "5..1", "+5.1.1", "5.1.1x"] {
            assert_eq!(text.parse::<EnhancedStatus>(), Err(NotAStatus), "{text}");
        }
    }
}
