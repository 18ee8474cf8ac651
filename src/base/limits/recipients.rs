//! Bounds on what is known of the recipients of relay domains, and on how it is found out.

use std::time::Duration;

use crate::base::limits::ANSWER_TEXT_MAX;

/// Octets of a file of recipients: two million addresses of 32.
pub const RECIPIENTS_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Recipients of one file. Each costs its own octets and four more, once for all shards.
pub const RECIPIENTS_LISTED_MAX: usize = 2_000_000;
// A place in the file's text has 32 bits.
const _: () = assert!(RECIPIENTS_BYTES_MAX <= u32::MAX as usize);

/// How long a client waits at RCPT for the server behind. RFC 5321 §4.5.3.2.3 has clients wait 5
/// minutes; who asks for each of many recipients is to come to an end all the same.
pub const CALLOUT_PATIENCE: Duration = Duration::from_secs(10);
/// Recipients that are being asked about, a shard; who comes further is told to come again.
pub const CALLOUTS_MAX: usize = 4_096;
/// A recipient that was known is asked about again, while it is taken, after this: whoever has left
/// has their last mail bounced, and no more.
pub const CALLOUT_FRESH_FOR: Duration = Duration::from_secs(24 * 3_600);
/// A recipient that was known is taken for so long where the server behind does not answer.
pub const CALLOUT_KNOWN_FOR: Duration = Duration::from_secs(7 * 24 * 3_600);
const _: () = assert!(CALLOUT_KNOWN_FOR.as_secs() > CALLOUT_FRESH_FOR.as_secs());
/// A recipient that was unknown is refused for so long: who is new has mail within the hour, and a
/// list of guessed names costs the server behind a question a name and hour.
pub const CALLOUT_UNKNOWN_FOR: Duration = Duration::from_secs(3_600);
/// A recipient about whom nothing was found out is not asked about for so long.
pub const CALLOUT_UNSURE_FOR: Duration = Duration::from_secs(60);
/// Recipients that are remembered as known, a shard: some 100 octets each. The least recently asked
/// for are forgotten first.
pub const CALLOUT_KNOWN_MAX: usize = 131_072;
/// As unknown, some 300 octets each: whoever guesses names makes room by those that were guessed.
pub const CALLOUT_UNKNOWN_MAX: usize = 16_384;
/// As neither.
pub const CALLOUT_UNSURE_MAX: usize = 16_384;
/// Octets of the words of the server behind that a client is told.
pub const CALLOUT_WORDS_MAX: usize = 200;
const _: () = assert!(CALLOUT_WORDS_MAX < ANSWER_TEXT_MAX);
/// Connections on which recipients are asked about, a shard; they come on top of those that carry
/// mail.
pub const CALLOUT_CONNECTIONS_MAX: usize = 64;
/// Of these to one upstream relay, where its `connections` are no fewer.
pub const CALLOUT_CONNECTIONS_EACH_MAX: usize = 4;
/// Recipients that are asked about on one connection: Postfix slows down whoever made 10 errors on
/// one (smtpd_soft_error_limit), and a recipient that it does not know is one.
pub const CALLOUT_ASKS_MAX: u32 = 8;
/// A connection on which nobody is asked about is kept for so long.
pub const CALLOUT_IDLE_MAX: Duration = Duration::from_secs(5);
/// An upstream relay that answers on one connection, and takes no further one, is tried again after
/// this.
pub const CALLOUT_RECONNECT_AFTER: Duration = Duration::from_secs(1);
