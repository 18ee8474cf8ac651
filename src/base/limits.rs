//! Every bound of the relay, with its reason; relations between bounds hold at compile time.
//!
//! A knob may lower or raise a bound inside the range that `config/knobs.rs` states; the figures
//! here are what holds when nobody says otherwise, and what no knob can pass.

use std::time::Duration;

// --- Shards ---

/// Shards a process may run. Sixteen bits would do; a byte keeps ids short.
pub const SHARDS_MAX: usize = 64;
/// Dispatches outstanding per (home, owner) pair.
pub const DISPATCH_CREDITS_MAX: usize = 1_024;
/// Reports that an owner may hold for a home.
pub const REPORT_SLOTS: usize = 1_024;
// A report must never wait for room, or two shards could wait for each other.
const _: () = assert!(REPORT_SLOTS >= DISPATCH_CREDITS_MAX);

// --- SMTP in ---

/// Octets in a command line without extensions, CRLF included (RFC 5321 §4.5.3.1.4).
pub const COMMAND_LINE_MIN: usize = 512;
/// Octets that we take in a command line: 512 and what extensions add (RFC 1870, 3461, 6531).
pub const COMMAND_LINE_MAX: usize = 2_048;
const _: () = assert!(COMMAND_LINE_MAX >= COMMAND_LINE_MIN + 26 + 100 + 500 + 16 + 17);
/// Octets in a text line, CRLF included, that we take: RFC 5321 §4.5.3.1.6 asks for 1,000.
pub const TEXT_LINE_MAX: usize = 2_048;
/// Octets in a local part (RFC 5321 §4.5.3.1.1).
pub const LOCAL_PART_MAX: usize = 64;
/// Octets in a domain (RFC 5321 §4.5.3.1.2).
pub const DOMAIN_MAX: usize = 255;
/// Octets in a label of a domain name (RFC 1035 §2.3.4).
pub const LABEL_MAX: usize = 63;
/// Octets in a path, brackets included (RFC 5321 §4.5.3.1.3).
pub const PATH_MAX: usize = 256;
/// Recipients a transaction; RFC 5321 §4.5.3.1.8 asks for at least 100.
pub const RECIPIENTS_MAX: usize = 1_000;
const _: () = assert!(RECIPIENTS_MAX >= 100 && RECIPIENTS_MAX <= u16::MAX as usize);
/// Octets in ENVID and ORCPT once decoded (RFC 3461 §4.2, §4.4).
pub const ENVID_MAX: usize = 100;
/// Octets of a message unless a knob says otherwise.
pub const MESSAGE_BYTES_DEFAULT: u64 = 50 * 1024 * 1024;
/// Errors in a session before 421.
pub const SESSION_ERRORS_MAX: u32 = 20;
/// Received: fields before a message counts as looping (RFC 5321 §6.3 asks for at least 100
/// unless configured; campaign mail passes a handful).
pub const RECEIVED_MAX: usize = 50;
/// Inbound sessions a shard; each idle one costs a few KiB.
pub const SESSIONS_MAX: usize = 16_384;
/// Octets that a session may hold unread while its last message is being committed.
pub const SESSION_HELD_MAX: usize = 64 * 1024;
/// Reply octets waiting for a peer that does not read before the session is cut.
pub const SESSION_OUTPUT_MAX: usize = 64 * 1024;

// --- SMTP out ---

/// Octets in a reply line that we read (RFC 5321 §4.5.3.1.5 says 512; servers exceed it).
pub const REPLY_LINE_MAX: usize = 4_096;
/// Lines in one reply; EHLO answers rarely pass 30.
pub const REPLY_LINES_MAX: usize = 128;
/// Octets of a peer's reply that we keep for the event, the queue and the DSN.
pub const REPLY_TEXT_MAX: usize = 1_024;
/// Octets of content handed to a connection at a time.
pub const CONTENT_WINDOW: usize = 64 * 1024;

// --- DNS ---

/// Answers in the DNS cache of a shard.
pub const DNS_CACHE_MAX: usize = 65_536;
/// Octets of the answers in the DNS cache of a shard: a few hundred each, but one TXT answer over
/// TCP may hold 64 KiB.
pub const DNS_CACHE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Lookups in flight a shard; more wait in line.
pub const DNS_IN_FLIGHT_MAX: usize = 1_024;
/// Askers that join one lookup or wait in line before new ones are told to come later.
pub const DNS_WAITING_MAX: usize = 65_536;
/// A lookup that stood in line this long is told to come later: name servers are overwhelmed.
pub const DNS_LINE_WAIT_MAX: Duration = Duration::from_secs(30);
/// Octets of a domain name as text, without the trailing dot: 255 on the wire (RFC 1035 §2.3.4).
pub const DNS_NAME_MAX: usize = 253;
const _: () = assert!(DNS_NAME_MAX <= DOMAIN_MAX);
/// Octets of an answer that we say we take over UDP: unfragmented everywhere (DNS flag day 2020).
pub const DNS_UDP_PAYLOAD_MAX: u16 = 1_232;
/// Octets of an answer over TCP: the length before it has 16 bits (RFC 1035 §4.2.2).
pub const DNS_TCP_MESSAGE_MAX: usize = u16::MAX as usize;
/// Name servers that take part; resolv.conf(5) reads three, a knob may list more.
pub const DNS_SERVERS_MAX: usize = 8;
/// How long one name server may take with one question (resolv.conf(5) has the same bound).
pub const DNS_TIMEOUT_MAX: Duration = Duration::from_secs(30);
/// Rounds over all name servers (resolv.conf(5) has the same bound).
pub const DNS_ATTEMPTS_MAX: u32 = 5;
/// A name server that failed is asked last for this long; then one question tries it again.
pub const DNS_SERVER_REST: Duration = Duration::from_secs(30);
/// Answers to one question that do not match it before it is asked over TCP: someone guesses.
/// 16 guesses find id and port with a chance of 2^-28, without counting the case of the name.
pub const DNS_MISMATCHES_MAX: u32 = 16;
/// Links of a CNAME chain that are followed.
pub const DNS_CNAME_MAX: usize = 8;
/// Records of one answer that are kept; the MX or TXT records of real domains are below 50.
pub const DNS_RECORDS_MAX: usize = 256;
/// MX hosts of one domain that are tried, and addresses of each.
pub const MX_HOSTS_MAX: usize = 16;
/// Addresses of one MX host that are kept.
pub const MX_ADDRESSES_MAX: usize = 8;
/// An answer is kept at least this long: with a TTL of 0 each message of a campaign would ask.
pub const DNS_TTL_MIN: Duration = Duration::from_secs(5);
/// A positive answer is kept at most this long, whatever its TTL says.
pub const DNS_TTL_MAX: Duration = Duration::from_secs(86_400);
/// A negative answer is kept at most this long (RFC 2308 §5).
pub const DNS_NEGATIVE_TTL_MAX: Duration = Duration::from_secs(3_600);
/// A failure is kept this long (RFC 9520 §3.2: at least 1 second, at most 5 minutes).
pub const DNS_FAILURE_TTL: Duration = Duration::from_secs(5);

// --- Spool ---

/// Octets of a segment file unless a knob says otherwise.
pub const SEGMENT_BYTES_DEFAULT: u32 = 64 * 1024 * 1024;
/// Octets of content in one record; larger messages take several.
pub const RECORD_CONTENT_MAX: usize = 256 * 1024;
/// Octets in one record of any kind: a message record that was moved holds `RECIPIENTS_MAX`
/// recipients and the last reply of each.
pub const RECORD_MAX: usize = 3 * 1024 * 1024;
/// Octets of one commit group before the next one starts: about what a disk writes in 4 ms.
pub const COMMIT_GROUP_MAX: usize = 4 * 1024 * 1024;
// A message record and its last chunk go in one group, beside the group's own header.
const _: () = assert!(RECORD_MAX + RECORD_CONTENT_MAX + 64 * 1024 <= COMMIT_GROUP_MAX);
const _: () = assert!(COMMIT_GROUP_MAX <= SEGMENT_BYTES_DEFAULT as usize / 4);
/// Buffers of one commit; the kernel takes at most 1,024 (IOV_MAX).
pub const COMMIT_BUFFERS_MAX: usize = 1_000;
/// Octets that may wait for the disk before the spool takes no more: a second of a slow one.
pub const COMMIT_PENDING_MAX: usize = 64 * 1024 * 1024;
/// Octets of header fields that the relay puts before a message's content.
pub const PREFIX_MAX: usize = 32 * 1024;
/// Octets of our own words that are kept of a failed attempt.
pub const DETAIL_MAX: usize = 256;
/// Octets of a next hop's name, address and port.
pub const PEER_MAX: usize = 320;
const _: () = assert!(PEER_MAX >= DOMAIN_MAX + "[]:65535".len() + 46);
/// Octets of one recipient's state on disk.
pub const STATE_BYTES_MAX: usize = REPLY_TEXT_MAX + DETAIL_MAX + PEER_MAX + 64;
/// Octets of ORCPT that the spool keeps (RFC 3461 §4.2 allows 500).
pub const ORIGINAL_MAX: usize = 512;
const _: () = assert!(
    RECIPIENTS_MAX * (STATE_BYTES_MAX + PATH_MAX + ORIGINAL_MAX + 16) + PREFIX_MAX + 8_192
        <= RECORD_MAX
);
/// Damages that recovery lists; more are counted by nobody: the spool is to be checked offline.
pub const DAMAGE_MAX: usize = 1_000;
/// Messages that reclaim moves at a time, and their octets: it must not crowd out admission.
pub const MOVES_MAX: usize = 64;
/// Octets of messages that reclaim moves at a time.
pub const MOVE_BYTES_MAX: usize = 1024 * 1024;

// --- Queue and egress ---

/// Recipients that wait at one site on its owner, before homes are asked to hold the rest.
pub const SITE_READY_MAX: usize = 256;
/// Sites a shard knows at a time; idle ones are forgotten first.
pub const SITES_MAX: usize = 65_536;
/// Outbound connections a shard.
pub const CONNECTIONS_MAX: usize = 4_096;
/// Recipients of one message that go in one transaction out (RFC 5321 §4.5.3.1.8: servers must
/// take 100).
pub const TRANSACTION_RECIPIENTS_MAX: usize = 100;
/// Octets of messages that a shard keeps in RAM for their first attempt.
pub const HOT_BYTES_DEFAULT: usize = 256 * 1024 * 1024;

// --- Outcome ---

/// Octets of the original message that a DSN returns, header or whole; Postfix returns 50,000.
pub const DSN_ORIGINAL_MAX: usize = 64 * 1024;
/// Octets in a line of mail that we write, CRLF not counted (RFC 5322 §2.1.1).
pub const MAIL_LINE_MAX: usize = 998;
/// Destination domains, and upstream relays, that a report keeps apart; a row costs some KiB.
pub const REPORT_ROWS_MAX: usize = 2_000;
