//! Bounds on what is known of the recipients of relay domains.

/// Octets of a file of recipients: two million addresses of 32.
pub const RECIPIENTS_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Recipients of one file. Each costs its own octets and four more, once for all shards.
pub const RECIPIENTS_LISTED_MAX: usize = 2_000_000;
// A place in the file's text has 32 bits.
const _: () = assert!(RECIPIENTS_BYTES_MAX <= u32::MAX as usize);
