//! An entry of a suppression list, and the octets that it is kept as.
//!
//! ```text
//! version 1 │ kind u8 │ when i64 │ expires i64, i64::MAX: never │ message u64, 0: none │ words
//! ```
//! Numbers are little-endian; what a later version adds it adds with another version.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::base::ids::MessageId;
use crate::base::limits::SUPPRESSION_WORDS_MAX;
use crate::base::text::head;
use crate::base::time::WallTime;
use crate::mail::handling::TenantName;
use crate::policy::suppression::Subject;

/// Why nothing is sent to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// There is no such mailbox, or it takes nothing any more.
    HardBounce,
    /// Whoever reads it said that it is spam.
    Complaint,
    /// Whoever reads it wants no more.
    Unsubscribe,
    /// Somebody put it there.
    Manual,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::HardBounce, Self::Complaint, Self::Unsubscribe, Self::Manual];

    /// As people, files and metrics write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HardBounce => "hard-bounce",
            Self::Complaint => "complaint",
            Self::Unsubscribe => "unsubscribe",
            Self::Manual => "manual",
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::HardBounce => 1,
            Self::Complaint => 2,
            Self::Unsubscribe => 3,
            Self::Manual => 4,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let kind = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        kind.ok_or_else(|| {
            let all = Self::ALL.map(Self::as_str).join(", ");
            format!("no reason is called `{text}`: say one of {all}")
        })
    }
}

/// What a list is called: `global` is the node's own, any other one a tenant's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListName(Cow<'static, str>);

impl ListName {
    /// The one that holds for all mail.
    pub const GLOBAL: Self = Self(Cow::Borrowed("global"));

    /// Without anything around it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ListName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ListName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == Self::GLOBAL.as_str() {
            return Ok(Self::GLOBAL);
        }
        // Whatever a tenant may be called, its list is called so.
        match TenantName::parse(text) {
            Ok(name) => Ok(Self::from(&name)),
            Err(error) => Err(format!("`{text}` names no list: {error}")),
        }
    }
}

impl From<&TenantName> for ListName {
    fn from(name: &TenantName) -> Self {
        Self(Cow::Owned(name.as_str().to_owned()))
    }
}

/// Why nothing is sent to somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What kind of reason.
    pub kind: Kind,
    /// The reason: at most `SUPPRESSION_WORDS_MAX` octets.
    pub words: Box<str>,
    /// Since when.
    pub when: WallTime,
    /// Until then; `None`: for good.
    pub expires: Option<WallTime>,
    /// The message that it came of.
    pub message: Option<MessageId>,
}

/// An entry where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// On which list.
    pub list: ListName,
    /// Whose.
    pub subject: Subject,
    /// What it says.
    pub entry: Entry,
}

const VERSION: u8 = 1;
const HEAD: usize = 2 + 3 * 8;

impl Entry {
    /// Without an end, and of no message; `words` are cut where they are too long.
    pub fn new(kind: Kind, words: &str, when: WallTime) -> Self {
        let words = head(words.trim(), SUPPRESSION_WORDS_MAX).into();
        Self { kind, words, when, expires: None, message: None }
    }

    /// Whether it holds now.
    pub fn holds(&self, now: WallTime) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }

    /// Append its octets to `into`.
    pub fn write(&self, into: &mut Vec<u8>) {
        into.extend([VERSION, self.kind.number()]);
        into.extend(self.when.0.to_le_bytes());
        into.extend(self.expires.map_or(i64::MAX, |at| at.0).to_le_bytes());
        into.extend(self.message.map_or(0, |id| id.0).to_le_bytes());
        into.extend(self.words.as_bytes());
    }

    /// From its octets; `None` where they are none that this version writes.
    pub fn read(octets: &[u8]) -> Option<Self> {
        let (head, words) = octets.split_at_checked(HEAD)?;
        if head[0] != VERSION {
            return None;
        }
        let number = |from: usize| u64::from_le_bytes(head[from..from + 8].try_into().expect("8"));
        let time = |from| WallTime(number(from).cast_signed());
        Some(Self {
            kind: Kind::ALL.into_iter().find(|kind| kind.number() == head[1])?,
            words: std::str::from_utf8(words).ok()?.into(),
            when: time(2),
            expires: Some(time(10)).filter(|at| at.0 != i64::MAX),
            message: Some(MessageId(number(18))).filter(|id| id.0 != 0),
        })
    }
}
