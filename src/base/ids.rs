//! Name shards and messages so that a name is never given twice.
//!
//! A [`MessageId`] is 64 bits: 10 of spool directory, 18 of directory epoch (one more at every
//! start), 36 of counter. It stays unique when the process restarts, when `--cores` changes, and
//! when the wall clock steps back, since no clock takes part.

use std::fmt;
use std::str::FromStr;

/// One of the process's shards, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u8);

impl ShardId {
    /// The shard's place in a table with one row a shard.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

const COUNTER_BITS: u32 = 36;
const EPOCH_BITS: u32 = 18;
const DIRECTORY_BITS: u32 = 10;
const _: () = assert!(COUNTER_BITS + EPOCH_BITS + DIRECTORY_BITS == u64::BITS);

/// A message's name for life, on disk and to operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(pub u64);

impl MessageId {
    /// The id of message number `counter` of `directory` in its `epoch`.
    ///
    /// Panics when a part is out of its range: such ids could collide.
    pub fn new(directory: u16, epoch: u32, counter: u64) -> Self {
        assert!(u32::from(directory) < 1 << DIRECTORY_BITS, "spool directory {directory}");
        assert!(epoch < 1 << EPOCH_BITS, "spool epoch {epoch}");
        assert!(counter < 1 << COUNTER_BITS, "message counter {counter}");
        let high = u64::from(directory) << (COUNTER_BITS + EPOCH_BITS);
        Self(high | u64::from(epoch) << COUNTER_BITS | counter)
    }

    /// The spool directory whose log this message was accepted into.
    pub fn directory(self) -> u16 {
        u16::try_from(self.0 >> (COUNTER_BITS + EPOCH_BITS)).expect("ten bits remain")
    }
}

/// Crockford's alphabet: no I, L, O, U, so that an id survives being read aloud.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const ID_CHARS: usize = 13;

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; ID_CHARS];
        let mut rest = self.0;
        for place in text.iter_mut().rev() {
            *place = ALPHABET[(rest & 31) as usize];
            rest >>= 5;
        }
        f.write_str(std::str::from_utf8(&text).expect("the alphabet is ASCII"))
    }
}

/// Text that is no message id: 13 characters of `0-9 A-Z` without I, L, O and U.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAMessageId;

impl fmt::Display for NotAMessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a message id has {ID_CHARS} characters of 0-9 and A-Z without I, L, O, U")
    }
}

impl std::error::Error for NotAMessageId {}

impl FromStr for MessageId {
    type Err = NotAMessageId;

    fn from_str(text: &str) -> Result<Self, NotAMessageId> {
        if text.len() != ID_CHARS {
            return Err(NotAMessageId);
        }
        let mut value: u64 = 0;
        for byte in text.bytes() {
            let upper = byte.to_ascii_uppercase();
            let digit = ALPHABET.iter().position(|&c| c == upper).ok_or(NotAMessageId)?;
            value = value.checked_mul(32).ok_or(NotAMessageId)? | digit as u64;
        }
        Ok(Self(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_it_was_written() {
        for value in [0, 1, u64::MAX, 0x0123_4567_89ab_cdef] {
            let id = MessageId(value);
            assert_eq!(id.to_string().parse(), Ok(id));
            assert_eq!(id.to_string().to_lowercase().parse(), Ok(id));
        }
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in ["", "0", "000000000000U", "ZZZZZZZZZZZZZ", "00000000000000"] {
            assert_eq!(text.parse::<MessageId>(), Err(NotAMessageId), "{text}");
        }
    }

    #[test]
    fn the_parts_do_not_overlap() {
        let id = MessageId::new(1023, (1 << 18) - 1, (1 << 36) - 1);
        assert_eq!(id.0, u64::MAX);
        assert_eq!(MessageId::new(5, 0, 7).directory(), 5);
    }
}
