//! Highest-random-weight hashing (Thaler & Ravishankar 1998): each key has its own order of
//! members.
//!
//! When a member goes, only the keys that had it first move, each to its own second; when it comes
//! back they return, exactly.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::mail::address::Domain;

/// The hash of a destination domain by which owner and upstream relay are chosen: the same in every
/// shard and in every run.
pub fn domain_hash(domain: &Domain) -> u64 {
    xxh3_64(domain.as_str().as_bytes())
}

/// A member's number for `key`, evenly spread over all 64 bits.
pub(super) fn draw(key: u64, member: u64) -> u64 {
    xxh3_64_with_seed(&key.to_le_bytes(), member)
}

/// A member's score for `key`: the highest wins with a chance of `weight` over the sum of weights
/// (Schindelhauer & Schomaker 2005: `-weight / ln u`, `u` even in (0, 1)).
pub(super) fn weighted(key: u64, member: u64, weight: u32) -> f64 {
    // 53 bits and a half: never 0, never 1.
    let unit = ((draw(key, member) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    -f64::from(weight) / unit.ln()
}
