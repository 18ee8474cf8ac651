//! Bounds on what a relay's own checks hold of content, and ask about strangers.

use std::time::Duration;

use crate::base::limits::DNS_IN_FLIGHT_MAX;

/// Octets of one field that is read, folds included; a longer one is a fault of its own. `From:`
/// of a hundred mailboxes is half of it.
pub const CHECK_FIELD_MAX: usize = 16 * 1024;
/// Multiparts within one another that are followed; mail has four or five. A line that begins like
/// a boundary is compared with so many.
pub const CHECK_DEPTH_MAX: usize = 50;
/// Octets of a boundary (RFC 2046 §5.1.1); of a longer one the first so many count.
pub const CHECK_BOUNDARY_MAX: usize = 70;
/// Faults of one message that are told.
pub const CHECK_FAULTS_MAX: usize = 8;
/// Types of attachments that a configuration refuses.
pub const CHECK_TYPES_MAX: usize = 256;
/// Octets of such a type: it is told in a reply, with the others.
pub const CHECK_TYPE_MAX: usize = 32;
/// Block lists of a configuration; each is asked about each stranger.
pub const BLOCK_LISTS_MAX: usize = 16;
/// Ranges of answers of one block list.
pub const BLOCK_ANSWERS_MAX: usize = 64;
/// Octets of a block list's own words that are told.
pub const BLOCK_TEXT_MAX: usize = 200;
/// How long block lists may take, from MAIL on: then nobody is on them. Resolvers ask again after
/// two seconds or five.
pub const BLOCK_DEADLINE: Duration = Duration::from_secs(5);
/// Questions to block lists that are under way, a shard; beyond these nobody is on a list. The
/// other half of what name servers are asked at a time is for mail that goes out.
pub const BLOCK_QUESTIONS_MAX: usize = 512;
const _: () = assert!(BLOCK_QUESTIONS_MAX * 2 <= DNS_IN_FLIGHT_MAX);
/// Questions in a row that a block list fails to answer before it is left alone,
pub const BLOCK_FAILURES_MAX: u32 = 8;
/// and for how long.
pub const BLOCK_REST: Duration = Duration::from_secs(60);
/// Addresses of strangers whose connections, and whose messages, are counted by rate, a shard; the
/// least recent are forgotten first.
pub const RATE_ROWS_MAX: usize = 65_536;
/// Domains of URLs in one message that block lists are asked about; mail that people write has few,
/// and what is sent by the thousand leads to one or two.
pub const URL_DOMAINS_MAX: usize = 20;
/// Octets of a word of text that is looked at for URLs.
pub const URL_WORD_MAX: usize = 1_024;
