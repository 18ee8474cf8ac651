//! Bounds on handshakes, on certificates, and on what destination domains say of both.

use std::time::Duration;

/// From STARTTLS, or from an accepted or made connection where TLS comes first, to the end of the
/// handshake: two round trips, and whoever takes longer holds a half-open session.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(30);
/// Sessions of each side that can be resumed without a handshake in full: those that a peer keeps
/// the state of (tickets) take no room.
pub const TLS_SESSIONS_KEPT: usize = 4_096;
/// The same, with one host of which signed DNS says something: its connections are few.
pub const TLS_SESSIONS_KEPT_A_HOST: usize = 16;
/// A peer with which opportunistic TLS did not come about gets connections in clear for this long.
pub const TLS_CLEAR_FOR: Duration = Duration::from_secs(600);
/// Hosts that an MTA-STS policy may name.
pub const STS_HOSTS_MAX: usize = 100;
/// An MTA-STS policy holds no longer, whatever it says (RFC 8461 §3.2: about a year).
pub const STS_AGE_MAX: Duration = Duration::from_secs(31_557_600);
/// Octets of an MTA-STS policy (RFC 8461 §3.3: 64 KB is enough).
pub const STS_BYTES_MAX: u64 = 64 << 10;
/// How long fetching a policy may take (RFC 8461 §3.3: a minute at most).
pub const STS_FETCH_MAX: Duration = Duration::from_secs(20);
/// Where a policy could not be fetched, it is tried again after this (RFC 8461 §3.3: five minutes).
pub const STS_RETRY: Duration = Duration::from_secs(300);
/// Addresses of a policy host that are tried.
pub const POLICY_ADDRESSES_MAX: usize = 8;
/// Policies that are fetched at a time, by all shards.
pub const POLICY_THREADS: usize = 4;
/// MTA-STS policies that are kept in memory, by destination domain.
pub const STS_POLICIES_MAX: usize = 65_536;
/// Octets of a file of certificates or of a key. A system's collection of authorities has 250 KB.
pub const PEM_BYTES_MAX: u64 = 4 << 20;
/// Certificates of a chain that is sent to each peer.
pub const TLS_CHAIN_MAX: usize = 10;
