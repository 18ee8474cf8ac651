//! The bounds of proxies: of what one says of the client behind it, and of those that mail leaves
//! through.

use std::time::Duration;

/// Octets of a PROXY header of version 1, CRLF included: the specification's own worst case.
pub const PROXY_V1_MAX: usize = 107;
/// Octets of a PROXY header of version 2, extensions included. Addresses take 52; what proxies add
/// of TLS and of their cloud is a few hundred, a client's certificate a few thousand.
pub const PROXY_V2_MAX: usize = 4 * 1024;
/// How long a proxy may take with its header: the specification wants 3 seconds at least, for a
/// segment that is sent again.
pub const PROXY_DEADLINE: Duration = Duration::from_secs(5);
/// Connections of proxies that have not said for whom they are, a shard.
pub const PROXIES_WAITING_MAX: usize = 1_024;
/// Octets of a value of XCLIENT, decoded, as Postfix has it.
pub const XCLIENT_VALUE_MAX: usize = 255;
/// Octets of a name or a password for a SOCKS5 proxy: RFC 1929 counts them in one octet.
pub const SOCKS_WORD_MAX: usize = 255;
/// Octets of a SOCKS proxy's answer: with the longest name (RFC 1928 §6).
pub const SOCKS_ANSWER_MAX: usize = 4 + 1 + SOCKS_WORD_MAX + 2;
/// Octets of the file that they are in: one line.
pub const SOCKS_FILE_MAX: u64 = 2 * SOCKS_WORD_MAX as u64 + 3;
/// How long a source is left alone whose proxy does not answer, where the pool has another.
pub const PROXY_REST: Duration = Duration::from_secs(30);
