//! Know a request that comes again, so that it is not done twice.
//!
//! In: whoever asks, their key, the request. Out: what was answered to the same, or that another
//! one has the key. What is remembered lies in a store that blocks ([`Repeats`]).

use std::fmt::Debug;

use aws_lc_rs::digest::{Context, SHA256};

use crate::base::time::WallTime;

/// Under what an answer is kept: made of whoever asked and of the key that they chose, so that
/// nobody finds another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub [u8; 32]);

/// What a request is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(pub [u8; 32]);

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// To what.
    pub request: Mark,
    /// When.
    pub at: WallTime,
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// The store cannot say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("answers cannot be kept: {0}")]
pub struct Unkept(pub String);

/// Where answers lie. What was kept is on stable storage. All of it blocks.
pub trait Repeats: Debug + Send + Sync {
    /// What was answered under this key, if that is still kept at `now`.
    fn find(&self, key: &Key, now: WallTime) -> Result<Option<Answered>, Unkept>;

    /// Keep an answer; what is too old goes, and then the oldest, as far as room is needed.
    fn keep(&self, key: &Key, answered: &Answered) -> Result<(), Unkept>;
}

impl Key {
    /// Of somebody's key.
    pub fn new(who: &str, key: &str) -> Self {
        Self(hash(&[who.as_bytes(), &[0], key.as_bytes()]))
    }
}

impl Mark {
    /// Of a request's body.
    pub fn new(body: &[u8]) -> Self {
        Self(hash(&[body]))
    }
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    parts.iter().for_each(|part| context.update(part));
    context.finish().as_ref().try_into().expect("SHA-256 has 32 octets")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_two_are_two() {
        assert_eq!(Key::new("a", "k"), Key::new("a", "k"));
        assert_ne!(Key::new("a", "k"), Key::new("b", "k"));
        assert_ne!(Key::new("a", "bk"), Key::new("ab", "k"));
        assert_ne!(Mark::new(b"{}"), Mark::new(b"{ }"), "what is the same is the same octets");
    }
}
