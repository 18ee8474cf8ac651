//! Rule out those who are on no list, in RAM: a blocked Bloom filter that all shards share.
//!
//! In: all that is on lists, one by one. Out: whether something may be. Invariant: what was
//! inserted may always be; what was not may be in one of a thousand cases, as long as no more was
//! inserted than there is room for. Nothing is taken out: a filter is built anew for that.
//!
//! Putze, Sanders, Singler: "Cache-, Hash- and Space-Efficient Bloom Filters" (2007): all bits of a
//! key lie in one line of cache, here one in each of its eight words. A question is a hash of the
//! address and one line, however many entries there are.

use std::sync::atomic::{AtomicU64, Ordering};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::base::limits::{SUPPRESSION_FILTER_MAX, SUPPRESSION_FILTER_MIN};
use crate::policy::suppression::ListName;

/// See the file's first lines.
#[derive(Debug)]
pub struct Filter {
    lines: Box<[Line]>,
    /// Not to be known outside: who knew it could make addresses that have to be looked up.
    seed: u64,
    capacity: u64,
    inserted: AtomicU64,
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Line([AtomicU64; 8]);

/// Bits of a line for each entry that there is room for.
const BITS_EACH: u64 = 16;
const LINE_BITS: u64 = 512;

/// Odd numbers that make eight hashes of one (Parquet's split block Bloom filter).
const SALTS: [u32; 8] = [
    0x47b6_137b,
    0x4497_4d91,
    0x8824_ad5b,
    0xa2b7_289d,
    0x7054_95c7,
    0x2df1_424b,
    0x9efc_4947,
    0x5c6b_fb31,
];

impl Filter {
    /// With room for twice as many as there are.
    pub fn with_room(entries: u64, seed: u64) -> Self {
        let room = entries.saturating_mul(2);
        let capacity = room.clamp(SUPPRESSION_FILTER_MIN, SUPPRESSION_FILTER_MAX);
        let lines = (capacity * BITS_EACH).div_ceil(LINE_BITS);
        let lines = (0..lines).map(|_| Line::default()).collect();
        Self { lines, seed, capacity, inserted: AtomicU64::new(0) }
    }

    /// This may be on that list from now on.
    pub fn insert(&self, list: &str, subject: &str) {
        let hash = self.hash(list, subject);
        for (word, bit) in self.line(hash).0.iter().zip(bits(hash)) {
            word.fetch_or(bit, Ordering::Relaxed);
        }
        self.inserted.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether it may be.
    pub fn may_hold(&self, list: &str, subject: &str) -> bool {
        let hash = self.hash(list, subject);
        let mut words = self.line(hash).0.iter().zip(bits(hash));
        words.all(|(word, bit)| word.load(Ordering::Relaxed) & bit != 0)
    }

    /// Whether as many were inserted as there is room for, and there could be more.
    pub fn is_full(&self) -> bool {
        self.capacity < SUPPRESSION_FILTER_MAX
            && self.inserted.load(Ordering::Relaxed) >= self.capacity
    }

    /// Octets of memory held.
    pub fn memory(&self) -> usize {
        self.lines.len() * size_of::<Line>()
    }

    fn hash(&self, list: &str, subject: &str) -> u64 {
        let seed = match list == ListName::GLOBAL.as_str() {
            true => self.seed,
            false => xxh3_64_with_seed(list.as_bytes(), self.seed),
        };
        xxh3_64_with_seed(subject.as_bytes(), seed)
    }

    /// By the upper half of the hash; the lower one says which bits.
    fn line(&self, hash: u64) -> &Line {
        let place = (u128::from(hash >> 32) * self.lines.len() as u128) >> 32;
        &self.lines[usize::try_from(place).expect("less than the number of lines")]
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
fn bits(hash: u64) -> impl Iterator<Item = u64> {
    SALTS.iter().map(move |salt| 1 << ((hash as u32).wrapping_mul(*salt) >> 26))
}
