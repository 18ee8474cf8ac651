//! Bounds on what comes back about mail that has left: bounces, complaints, and whose they are.

use std::time::Duration;

use crate::base::limits::{CAMPAIGN_NAME_MAX, LOCAL_PART_MAX, PATH_MAX, TENANT_NAME_MAX};

/// A secret that signs reverse-paths has at least so many octets: 256 bits in hexadecimal are 64.
pub const VERP_SECRET_MIN: usize = 32;
/// And at most these: HMAC hashes longer ones first, which makes nothing safer.
pub const VERP_SECRET_MAX: usize = 256;
/// The secret that signs, and those that came before it: each costs an HMAC a forged token.
pub const VERP_SECRETS_MAX: usize = 4;
/// Octets of a file of secrets.
pub const VERP_FILE_MAX: u64 = 16 * 1024;
/// Characters of the longest token.
pub const VERP_TOKEN_MAX: usize = 53;
/// Of the longest one that says nothing of a campaign.
pub const VERP_TOKEN_SHORT_MAX: usize = 47;
/// Characters of the longest id that a recipient is sealed in: a line of a header.
pub const VERP_SEALED_MAX: usize = 900;
const VERP_SEALED_TEXT_MAX: usize = PATH_MAX + 1 + TENANT_NAME_MAX + 1 + CAMPAIGN_NAME_MAX;
const _: () = assert!((11 + VERP_SEALED_TEXT_MAX + 16) * 8 / 5 < VERP_SEALED_MAX);
/// Octets of a local part that every host takes (RFC 5321 §4.5.3.1.1); we take longer ones.
pub const VERP_LOCAL_PART_MAX: usize = 64;
const _: () = assert!(VERP_LOCAL_PART_MAX <= LOCAL_PART_MAX);
/// What stands before `+TOKEN` in a local part.
pub const VERP_LOCAL_MAX: usize = VERP_LOCAL_PART_MAX - 1 - VERP_TOKEN_SHORT_MAX;
/// So much at most leaves room for what stands for a campaign: `bounces` does.
pub const VERP_LOCAL_SHORT_MAX: usize = VERP_LOCAL_PART_MAX - 1 - VERP_TOKEN_MAX;
const _: () = assert!(VERP_LOCAL_MAX >= 16 && VERP_LOCAL_SHORT_MAX >= 10);
/// Campaigns that are known by what stands for them in tokens: some 250 octets each.
pub const VERP_CAMPAIGNS_MAX: usize = 65_536;
/// Of one tenant, so that none who makes up a name a message takes the room of all others. To
/// find which one makes room, all of these are looked at.
pub const VERP_CAMPAIGNS_OF_TENANT_MAX: usize = 4_096;
/// Those that wait to be written to their file. Where there are more, tokens do without.
pub const VERP_CAMPAIGNS_WAITING_MAX: usize = 1_024;
/// Octets of their file that are read.
pub const VERP_CAMPAIGNS_FILE_MAX: usize = 64 * 1024 * 1024;
/// A line of it, which is one a campaign and day, so that the file is made anew after so many.
const VERP_CAMPAIGN_LINE_MAX: usize = 6 + TENANT_NAME_MAX + 1 + CAMPAIGN_NAME_MAX + 1;
/// Lines after which the file is made anew: what stands in it twice goes then.
pub const VERP_CAMPAIGNS_LINES_MAX: usize = 2 * VERP_CAMPAIGNS_MAX;
const _: () = assert!(
    (VERP_CAMPAIGNS_MAX + VERP_CAMPAIGNS_LINES_MAX) * VERP_CAMPAIGN_LINE_MAX
        <= VERP_CAMPAIGNS_FILE_MAX
);
/// Addresses that complaints come to: each is compared with each recipient that comes in.
pub const VERP_COMPLAINTS_MAX: usize = 16;
/// A day: what the age of a token is counted in.
pub const VERP_DAY: Duration = Duration::from_secs(24 * 3_600);

/// Octets of a bounce or a complaint that are looked at: what it says comes first, and the message
/// that it is about, which may be large, last.
pub const FEEDBACK_BYTES_MAX: usize = 256 * 1024;
/// MIME parts of it that are looked at.
pub const FEEDBACK_PARTS_MAX: usize = 32;
/// Multiparts in each other. Each level reads its octets once.
pub const FEEDBACK_DEPTH_MAX: usize = 4;
/// Octets of one part that are read as text for people.
pub const FEEDBACK_TEXT_MAX: usize = 32 * 1024;
/// Octets of one header field's value, unfolded.
pub const FEEDBACK_FIELD_MAX: usize = 4_096;
/// Recipients that one report may speak of.
pub const FEEDBACK_TOLD_MAX: usize = 100;
/// Octets of the words about one recipient that are kept.
pub const FEEDBACK_WORDS_MAX: usize = 512;
/// Lines that follow a recipient's own, and may say why.
pub const FEEDBACK_REASON_LINES: usize = 12;
/// Addresses in the header of the message that it is about, to be held against a recipient's mark.
pub const FEEDBACK_CANDIDATES_MAX: usize = 32;
/// Reports that wait to be read, a shard; one is read a turn, more where more wait than these.
pub const RETURNS_WAITING_MAX: usize = 64;
/// A report stays in the queue for so long after it was told to the event log, which is not synced:
/// whoever is killed, or loses power, tells it again. Linux writes what is dirty after 30 seconds,
/// and looks every 5 (`vm.dirty_expire_centisecs`, `vm.dirty_writeback_centisecs`).
pub const RETURN_KEPT_FOR: Duration = Duration::from_secs(40);
/// Reports that were told and are kept, a shard; the oldest go before their time.
pub const RETURNS_TOLD_MAX: usize = 65_536;
/// Octets of an id that is kept of a report: those of a line of a header.
pub const FEEDBACK_ID_MAX: usize = 998;
const _: () = assert!(FEEDBACK_FIELD_MAX > FEEDBACK_ID_MAX && FEEDBACK_ID_MAX > PATH_MAX);
