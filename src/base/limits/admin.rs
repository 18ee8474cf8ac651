//! The bounds of the admin address: whoever reaches it costs mail nothing.

use std::time::Duration;

use crate::base::limits::ANSWER_WAIT_MAX;

/// Admin addresses: one for people, one for a collector of metrics, and some more.
pub const ADMIN_ADDRESSES_MAX: usize = 8;
/// Names by which they may be asked, beside those that are known.
pub const ADMIN_HOSTS_MAX: usize = 64;
/// Octets of a Unix socket's path: `sun_path` has 108, with its end (unix(7)).
pub const SOCKET_PATH_MAX: usize = 107;
/// Octets of a token. 24 of RFC 6750's alphabet, drawn by chance, are 144 bits; a line of
/// `openssl rand -hex 32` is 64.
pub const ADMIN_TOKEN_MIN: usize = 24;
/// See [`ADMIN_TOKEN_MIN`].
pub const ADMIN_TOKEN_MAX: usize = 512;
/// Connections at a time on each address; further ones wait in the kernel.
pub const ADMIN_CONNECTIONS_MAX: usize = 32;
/// Octets of a request's head; more is answered 431.
pub const ADMIN_HEAD_MAX: usize = 16 * 1024;
/// Fields of a request's head; more is answered 431.
pub const ADMIN_FIELDS_MAX: usize = 64;
/// What a client has for a handshake, and for each head: who sends nothing is cut as well.
pub const ADMIN_HEAD_WAIT: Duration = Duration::from_secs(10);
/// How long a connection may last, whatever is asked over it: who does not read is cut by it.
pub const ADMIN_CONNECTION_WAIT: Duration = Duration::from_secs(300);
const _: () = assert!(ADMIN_CONNECTION_WAIT.as_secs() > 2 * ANSWER_WAIT_MAX.as_secs());
/// What is waited after an accept that failed, for want of descriptors most likely.
pub const ADMIN_ACCEPT_PAUSE: Duration = Duration::from_millis(100);
