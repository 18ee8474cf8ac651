//! Know which keys are being worked on: a second request waits for the first one's answer.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::policy::repeats::Key;

/// The keys that somebody has. As many as there are connections.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims(Arc<Mutex<HashSet<Key>>>);

/// What became of asking for a key.
#[derive(Debug)]
pub(super) enum Claim {
    /// Nobody else has it, until this is dropped.
    Mine(Claimed),
    /// Somebody has it.
    Taken,
}

/// A key that is had.
#[derive(Debug)]
pub(super) struct Claimed {
    claims: Claims,
    key: Key,
}

impl Claims {
    /// Have a key, if nobody has it.
    pub(super) fn claim(&self, key: Key) -> Claim {
        match self.keys().insert(key) {
            true => Claim::Mine(Claimed { claims: self.clone(), key }),
            false => Claim::Taken,
        }
    }

    fn keys(&self) -> MutexGuard<'_, HashSet<Key>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        self.claims.keys().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_request_at_a_time() {
        let (claims, key) = (Claims::default(), Key::new("who", "key"));
        let first = claims.claim(key);
        assert!(matches!(first, Claim::Mine(_)));
        assert!(matches!(claims.claim(key), Claim::Taken));
        assert!(matches!(claims.claim(Key::new("who", "other")), Claim::Mine(_)));
        drop(first);
        assert!(matches!(claims.claim(key), Claim::Mine(_)));
    }
}
