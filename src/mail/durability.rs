//! When a client is told that its message was taken, and what that is worth.

use std::fmt;
use std::str::FromStr;

/// What stands behind the 250 to a message's content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Durability {
    /// The message is on stable storage: no crash loses it.
    #[default]
    Commit,
    /// The message is in memory, on its way to the disk: a crash before its commit loses it.
    Memory,
}

/// A word that names no durability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither `commit` nor `memory`")]
pub struct UnknownDurability;

impl Durability {
    /// As configuration and events write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Memory => "memory",
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Durability {
    type Err = UnknownDurability;

    fn from_str(word: &str) -> Result<Self, UnknownDurability> {
        let all = [Self::Commit, Self::Memory];
        all.into_iter().find(|one| one.as_str() == word).ok_or(UnknownDurability)
    }
}
