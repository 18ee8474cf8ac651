//! Bounds on what milters are told, on what they say, and on how long they take.

use std::time::Duration;

/// Octets of a body chunk, and of the data of any packet: libmilter takes no more (mfdef.h).
pub const MILTER_CHUNK_MAX: usize = 65_535;
/// Octets of a packet behind its length: one of command or reply, and its data.
pub const MILTER_PACKET_MAX: usize = 1 + MILTER_CHUNK_MAX;
/// Octets that are written to a milter before the kernel has taken them.
pub const MILTER_WINDOW: usize = 256 * 1024;
/// Chunks of the body that a milter which answers each may have before it: it may say that it wants
/// to see no more.
pub const MILTER_CHUNKS_UNANSWERED: usize = 4;
/// Changes that a milter may ask for in one message; spam filters add some ten fields.
pub const MILTER_CHANGES_MAX: usize = 1_000;
/// Octets of those changes, the new body not counted.
pub const MILTER_CHANGES_BYTES_MAX: usize = 1024 * 1024;
/// Times that a milter may say of one message that it still works: one a second, and more.
pub const MILTER_PROGRESS_MAX: u32 = 10_000;
/// How long all milters together may take with a message, before what is to be done when one fails
/// is done: RFC 5321 §4.5.3.2.6 has clients wait 10 minutes.
pub const FILTERING_MAX: Duration = Duration::from_secs(9 * 60);
/// Milters of a configuration.
pub const MILTERS_MAX: usize = 16;
/// Connections to one milter, a shard.
pub const MILTER_CONNECTIONS_MAX: usize = 256;
/// How long a connection to a milter is kept that nobody uses.
pub const MILTER_IDLE_MAX: Duration = Duration::from_secs(30);
