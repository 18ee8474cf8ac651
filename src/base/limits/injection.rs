//! The bounds of mail that is handed in over HTTP.

use std::time::Duration;

use crate::base::limits::{COMMIT_PENDING_MAX, RECIPIENTS_MAX};

/// Octets of a request's body. A message of it is not much larger, and goes to the log in one turn.
pub const INJECT_BODY_MAX: usize = 32 * 1024 * 1024;
const _: () = assert!(2 * INJECT_BODY_MAX <= COMMIT_PENDING_MAX);
/// Octets of bodies that are being read and worked on; more is told to come again.
pub const INJECT_BODIES_MAX: usize = 4 * INJECT_BODY_MAX;
/// Octets of messages that were made of them and wait for their commit.
pub const INJECT_MESSAGES_MAX: usize = 2 * INJECT_BODY_MAX;
/// What the values of a body may take in memory beside the letters of their strings: some ten
/// thousand recipients with some forty values each.
pub const INJECT_VALUES_MAX: usize = 128 * 1024 * 1024;
/// What those of all bodies may that are worked on; more is told to come again.
pub const INJECT_ALL_VALUES_MAX: usize = 2 * INJECT_VALUES_MAX;
/// Octets of the header section of a whole message that is handed in.
pub const INJECT_HEADER_MAX: usize = 1024 * 1024;
/// Octets of a letter's templates: each octet may become some fifty of what it compiles to.
pub const INJECT_TEMPLATES_MAX: usize = 512 * 1024;
/// Messages of a request that wait for their commit together: they share commit groups.
pub const INJECT_TOGETHER_MAX: usize = 64;
/// Requests in a batch.
pub const INJECT_BATCH_MAX: usize = 1_000;
/// Recipients in a body, all its requests together. The answer has a line for each.
pub const INJECT_RECIPIENTS_MAX: usize = 10_000;
const _: () = assert!(INJECT_RECIPIENTS_MAX >= RECIPIENTS_MAX);
/// Header fields of a request's own.
pub const INJECT_FIELDS_MAX: usize = 64;
/// Octets of such a field.
pub const INJECT_FIELD_MAX: usize = 8 * 1024;
/// Attachments of a request.
pub const INJECT_ATTACHMENTS_MAX: usize = 64;
/// What a template may cost for one recipient: about an instruction each, or 64 octets of what it
/// makes: 16 MiB at most.
pub const INJECT_FUEL_MAX: u64 = 256 * 1024;
/// What the templates of a body may, for all its recipients together: some seconds of a CPU.
pub const INJECT_FUEL_ALL: u64 = 1_024 * INJECT_FUEL_MAX;
/// How deep a template may call.
pub const INJECT_TEMPLATE_DEPTH: usize = 64;
/// Octets of a line, without its end (RFC 5322 §2.1.1).
pub const MESSAGE_LINE_MAX: usize = 998;
/// When whoever is told to come again should.
pub const INJECT_AGAIN: Duration = Duration::from_secs(5);
/// How long a body may take to come.
pub const INJECT_BODY_WAIT: Duration = Duration::from_secs(60);
/// Octets of an `Idempotency-Key`.
pub const INJECT_KEY_MAX: usize = 255;
/// How long an answer is kept under its key: whoever tries again does so within minutes or hours.
pub const INJECT_KEYS_KEPT: Duration = Duration::from_secs(24 * 3_600);
/// Answers that are kept; then the oldest go.
pub const INJECT_KEYS_MAX: u64 = 200_000;
/// Octets of them.
pub const INJECT_ANSWERS_MAX: u64 = 256 * 1024 * 1024;
/// Octets of memory for pages of their store.
pub const INJECT_CACHE_BYTES: usize = 4 * 1024 * 1024;
