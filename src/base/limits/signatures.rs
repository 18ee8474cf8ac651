//! Bounds of signatures, of those that are made and of those that are verified.

use std::time::Duration;

use super::{DOMAIN_MAX, PREFIX_MAX};

/// Octets of content that are brought into their relaxed form at a time: the nearest cache holds
/// them, and the crypto library works on so many as fast as on more.
pub const CANONICAL_BLOCK: usize = 2 * 1024;
/// Signatures of one message, which are keys of one domain: an RSA and an Ed25519 key, both twice
/// while they are replaced.
pub const SIGNATURES_MAX: usize = 4;
/// Names that one signature lists; messages by the standard have some twenty.
pub const SIGNED_NAMES_MAX: usize = 64;
/// Sets of an ARC chain (RFC 8617 §4.2.1).
pub const ARC_SETS_MAX: u32 = 50;
/// Octets of one signature's field: 64 names of 26 octets, folded; domain and selector; 683 octets
/// of an RSA signature of 4,096 bits, and the other tags.
pub const SIGNATURE_FIELD_MAX: usize = 64 * 30 + 2 * DOMAIN_MAX + 800 + 300;
/// Bits of an RSA key: RFC 8301 §3.2 asks signers for 2,048,
pub const RSA_BITS_MIN: usize = 2_048;
/// and verifiers to take no more than these.
pub const RSA_BITS_MAX: usize = 4_096;

/// DKIM signatures of a message that are tried; mail by the standard has two or three.
pub const SIGNATURES_TRIED_MAX: usize = 10;
/// Lookups of an SPF check that may come to nothing (RFC 7208 §4.6.4).
pub const SPF_VOID_MAX: usize = 2;
/// Questions to name servers about one message: ten of SPF, with ten hosts each for one of them,
/// eight of DMARC, and a key for each signature and each ARC seal.
pub const VERIFY_QUESTIONS_MAX: usize = 60;
/// How often a message is gone through: each time more is known. SPF's includes may be ten deep.
pub const VERIFY_PASSES_MAX: u32 = 24;
/// What DNS does not say about a message within this time is a temporary error.
pub const VERIFY_DEADLINE: Duration = Duration::from_secs(10);
/// Octets of `Authentication-Results:`.
pub const RESULTS_FIELD_MAX: usize = 8 * 1024;
const _: () = assert!(RESULTS_FIELD_MAX <= PREFIX_MAX / 4);
