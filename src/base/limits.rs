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

/// Records in the DNS cache of a shard.
pub const DNS_CACHE_MAX: usize = 65_536;
/// Lookups in flight a shard; more wait in line.
pub const DNS_IN_FLIGHT_MAX: usize = 1_024;
/// Askers that join one lookup or wait in line before new ones are told to come later.
pub const DNS_WAITING_MAX: usize = 65_536;
/// Links of a CNAME chain that are followed.
pub const DNS_CNAME_MAX: usize = 8;
/// MX hosts of one domain that are tried, and addresses of each.
pub const MX_HOSTS_MAX: usize = 16;
/// Addresses of one MX host that are kept.
pub const MX_ADDRESSES_MAX: usize = 8;
/// A positive answer is kept at most this long, whatever its TTL says.
pub const DNS_TTL_MAX: Duration = Duration::from_secs(86_400);
/// A negative answer is kept at most this long (RFC 2308 §5).
pub const DNS_NEGATIVE_TTL_MAX: Duration = Duration::from_secs(3_600);

// --- Spool ---

/// Octets of a segment file unless a knob says otherwise.
pub const SEGMENT_BYTES_DEFAULT: u32 = 64 * 1024 * 1024;
/// Octets of content in one record; larger messages take several.
pub const RECORD_CONTENT_MAX: usize = 256 * 1024;
/// Octets in one record of any kind: envelope records hold `RECIPIENTS_MAX` recipients.
pub const RECORD_MAX: usize = 2 * 1024 * 1024;
const _: () = assert!(RECORD_MAX <= SEGMENT_BYTES_DEFAULT as usize / 4);
/// Octets of one commit group before the next one starts.
pub const COMMIT_GROUP_MAX: usize = 4 * 1024 * 1024;

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

// --- Shard ---

/// How often a log that is full or whose commits fail is tried again.
pub const LOG_RETRY: Duration = Duration::from_secs(1);
/// Messages that a shard reads back from the spool at a time.
pub const LOADS_MAX: usize = 256;
/// A connection out that is not there after this is given up (RFC 5321 leaves it to us; Postfix
/// waits 30 s too).
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(30);
/// Operators' verbs under way on a shard.
pub const OPERATIONS_MAX: usize = 64;
/// A recipient whose DSN found no room is judged again after this.
pub const DSN_RETRY: Duration = Duration::from_secs(60);
/// A domain that its owner gave back is tried again after this, if the owner says nothing.
pub const PARK_FOR: Duration = Duration::from_secs(60);
// --- Configuration and control ---

/// Octets of a configuration file; real ones have a few KiB.
pub const CONFIG_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Errors shown of one configuration file: more would only scroll the first away.
pub const CONFIG_ERRORS_MAX: usize = 100;
/// Octets of a message's header section unless a knob says otherwise; real ones have a few KiB.
pub const HEADER_BYTES_DEFAULT: u32 = 256 * 1024;
/// Rows of one page of `queue list`.
pub const LIST_ROWS_MAX: usize = 1_000;
/// Domains that `queue stats` lists.
pub const STATS_DOMAINS_MAX: usize = 100;
/// Messages whose time has come that one call of the queue hands out, so that a storm of expiries
/// or retries does not hold up a shard's turn.
pub const DUE_BATCH_MAX: usize = 1_024;
/// Recipients that one call of an operator's verb touches or lists; the next call goes on.
pub const OPERATED_BATCH_MAX: usize = 4_096;
/// Homes' domains that a full site remembers to call back; others come back by their own timer.
pub const SITE_CALLBACKS_MAX: usize = 4_096;
/// Endpoints of one site: hosts times addresses.
pub const SITE_ENDPOINTS_MAX: usize = MX_HOSTS_MAX * MX_ADDRESSES_MAX;
/// Upstream relays of one group; ids are 16 bits, lists are written by people.
pub const UPSTREAMS_MAX: usize = 256;
// --- Platform ---

/// Submissions queued before the ring is entered: a turn rarely fills it, and a full one is
/// entered early.
pub const RING_SUBMISSIONS: u32 = 1_024;
/// Completions that wait in the ring; the kernel keeps what passes it, at a cost.
pub const RING_COMPLETIONS: u32 = 16_384;
const _: () = assert!(RING_COMPLETIONS >= 2 * RING_SUBMISSIONS);
/// Receive buffers a shard. They are held for one call each, so that connections share them.
pub const RECEIVE_BUFFERS: u16 = 512;
// The kernel asks for a power of two, at most 2^15.
const _: () = assert!(RECEIVE_BUFFERS.is_power_of_two() && RECEIVE_BUFFERS <= 1 << 15);
/// Octets of one receive buffer: a typical message comes in one.
pub const RECEIVE_BUFFER_BYTES: usize = 16 * 1024;
/// Octets that a paused connection takes in before its receive is cancelled: a pipelined command
/// or two should not cost a cancellation.
pub const PAUSED_RECEIVE_MAX: usize = 8 * 1024;
/// Small sends of one connection are joined up to this many octets.
pub const SEND_JOIN_MAX: usize = 64 * 1024;
/// Buffers kept for `buffer()`, and the room above which one is not kept.
pub const SPARE_BUFFERS: usize = 256;
/// See [`SPARE_BUFFERS`].
pub const SPARE_BUFFER_BYTES: usize = 64 * 1024;
/// Connections that wait to be accepted, a listener a shard.
pub const LISTEN_BACKLOG: i32 = 4_096;
/// Pause after an accept that failed for lack of descriptors or memory.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a closed connection may take to send what it was given.
pub const CLOSE_FLUSH_MAX: Duration = Duration::from_secs(30);
/// How long a closed connection waits for the peer's end, so that our last reply is not lost to a
/// reset.
pub const CLOSE_LINGER_MAX: Duration = Duration::from_secs(2);
/// Octets that a closed connection reads and drops meanwhile.
pub const CLOSE_LINGER_BYTES: usize = 1024 * 1024;
/// Threads for blocking work, all shards together: they wait for the disk, not for a CPU.
pub const BLOCKING_THREADS: usize = 2;
/// Segment files kept for reuse, a spool directory.
pub const SEGMENTS_SPARE: usize = 4;
/// Slices of one gathered write (IOV_MAX).
pub const WRITE_SLICES_MAX: usize = 1_024;
/// Octets of events that wait for the disk; more are counted as lost.
pub const EVENT_LOG_PENDING_MAX: usize = 4 * 1024 * 1024;
/// Octets of events after which they are written at once.
pub const EVENT_LOG_BATCH: usize = 64 * 1024;
/// How long an event may wait to be written: with a tick of the wheel, under 200 ms.
pub const EVENT_LOG_DELAY: Duration = Duration::from_millis(150);
/// Octets of one event file unless a knob says otherwise.
pub const EVENT_FILE_BYTES_DEFAULT: u64 = 64 * 1024 * 1024;
/// Event files kept a shard unless a knob says otherwise.
pub const EVENT_FILES_DEFAULT: usize = 16;
/// An event file is ended after this long unless a knob says otherwise.
pub const EVENT_FILE_AGE_DEFAULT: Duration = Duration::from_secs(24 * 3_600);
/// Panics in a row in a machine's own turn before its shard, and with it the process, ends.
pub const TURN_PANICS_MAX: u32 = 3;
/// How long a ring that ends waits for the kernel to let go of its buffers; then they are leaked.
pub const RING_QUIESCE_MAX: Duration = Duration::from_secs(5);
