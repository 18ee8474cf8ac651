//! The bounds of AUTH: its lines, its file, how often it may fail.

use std::time::Duration;

use crate::base::limits::COMMAND_LINE_MAX;

/// Octets that we take in a line of a SASL exchange, CRLF included (RFC 4954 §4).
pub const AUTH_LINE_MAX: usize = 12_288;
const _: () = assert!(AUTH_LINE_MAX >= COMMAND_LINE_MAX);
/// Octets of AUTH= at MAIL as written: the line may be so much longer for it (RFC 4954 §3).
pub const AUTH_PARAMETER_MAX: usize = 500;
/// Octets of a name at AUTH, after preparation (RFC 4616 §2 asks for 255).
pub const AUTH_NAME_MAX: usize = 255;
/// Octets of a password at AUTH, after preparation (RFC 4616 §2 asks for 255).
pub const AUTH_PASSWORD_MAX: usize = 1_024;
/// Iterations of a SCRAM verifier: RFC 7677 §4 asks for 4,096 at least; more than a million would
/// hold up each client for seconds.
pub const SCRAM_ITERATIONS_MIN: u32 = 4_096;
/// See [`SCRAM_ITERATIONS_MIN`].
pub const SCRAM_ITERATIONS_MAX: u32 = 1_000_000;
/// Octets of a SCRAM verifier's salt.
pub const SCRAM_SALT_MAX: usize = 64;
/// Iterations of a new SCRAM verifier: RFC 7677's least times four costs a client milliseconds.
pub const SCRAM_ITERATIONS_DEFAULT: u32 = 16_384;
const _: () = assert!(SCRAM_ITERATIONS_DEFAULT >= SCRAM_ITERATIONS_MIN);
/// Octets of a new salt.
pub const SALT_BYTES: usize = 16;
/// KiB of memory that an argon2id verifier may take: each check has so much for its own.
pub const ARGON2_MEMORY_MAX: u32 = 256 * 1024;
/// Passes over it.
pub const ARGON2_PASSES_MAX: u32 = 16;
/// Lanes of it; they are gone through one after another.
pub const ARGON2_LANES_MAX: u32 = 16;
/// Octets of a file of credentials: 65,536 identities of 256.
pub const CREDENTIALS_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Tries at AUTH from one address, or one IPv6 /64, that may fail at once, a shard; then one each
/// `AUTH_ADDRESS_EVERY`.
pub const AUTH_ADDRESS_BURST: u32 = 10;
/// See [`AUTH_ADDRESS_BURST`]: 2,880 guesses a day.
pub const AUTH_ADDRESS_EVERY: Duration = Duration::from_secs(30);
/// Tries at AUTH with one name, from addresses that never had it right, that may fail at once, a
/// shard; then one each `AUTH_NAME_EVERY`.
pub const AUTH_NAME_BURST: u32 = 20;
/// See [`AUTH_NAME_BURST`]: 8,640 guesses a day from all the world.
pub const AUTH_NAME_EVERY: Duration = Duration::from_secs(10);
/// Addresses, and names, whose failures at AUTH are remembered, a shard; the least recent are
/// forgotten first.
pub const AUTH_ROWS_MAX: usize = 16_384;
/// Passwords that wait to be checked, of all shards: some 13 ms each, so half a second.
pub const AUTH_CHECKS_MAX: usize = 32;
/// Threads that check them. One takes 19 MiB and one CPU at most, at a low priority.
pub const AUTH_THREADS: usize = 1;
