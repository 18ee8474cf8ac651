//! The bounds of what a proxy says of the client behind it.

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
