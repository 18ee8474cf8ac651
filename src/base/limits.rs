//! Every bound of the relay, with its reason; relations between bounds hold at compile time.
//!
//! A knob may lower or raise a bound inside the range that `config/knobs.rs` states; the figures
//! here are what holds when nobody says otherwise, and what no knob can pass.

use std::time::Duration;

mod admin;
mod auth;
mod check;
mod classes;
mod events;
mod exporters;
mod feedback;
mod handling;
mod injection;
mod kpis;
mod links;
mod milters;
mod own_checks;
mod proxy;
mod recipients;
mod shaping;
mod signatures;
mod sources;
mod suppression;
mod tls;
mod tls_reports;
mod warm_up;

pub use admin::*;
pub use auth::*;
pub use check::*;
pub use classes::*;
pub use events::*;
pub use exporters::*;
pub use feedback::*;
pub use handling::*;
pub use injection::*;
pub use kpis::*;
pub use links::*;
pub use milters::*;
pub use own_checks::*;
pub use proxy::*;
pub use recipients::*;
pub use shaping::*;
pub use signatures::*;
pub use sources::*;
pub use suppression::*;
pub use tls::*;
pub use tls_reports::*;
pub use warm_up::*;

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
/// Octets of a refused command line that are skipped in search of its CRLF before 421: a client
/// that never ends a line gets no more of our time.
pub const COMMAND_SKIP_MAX: usize = 64 * 1024;
/// Octets of text in a line of our replies: with code, status, host name and CRLF the line stays
/// within 512 (RFC 5321 §4.5.3.1.5).
pub const ANSWER_TEXT_MAX: usize = 512 - 4 - 10 - DOMAIN_MAX - 1 - 2;
/// Octets in a text line, CRLF included, that we take: RFC 5321 §4.5.3.1.6 asks for 1,000.
pub const TEXT_LINE_MAX: usize = 2_048;
/// Octets in a local part. RFC 5321 §4.5.3.1.1 lets a server stop at 64 and asks it not to; the
/// reverse-paths of campaign software (VERP: a recipient's address inside) pass 64 every day.
pub const LOCAL_PART_MAX: usize = 128;
/// Octets in a domain (RFC 5321 §4.5.3.1.2).
pub const DOMAIN_MAX: usize = 255;
/// Octets in a label of a domain name (RFC 1035 §2.3.4).
pub const LABEL_MAX: usize = 63;
/// Octets in a path, brackets included (RFC 5321 §4.5.3.1.3).
pub const PATH_MAX: usize = 256;
/// Recipients a transaction; RFC 5321 §4.5.3.1.8 asks for at least 100.
pub const RECIPIENTS_MAX: usize = 1_000;
const _: () = assert!(RECIPIENTS_MAX >= 100 && RECIPIENTS_MAX <= u16::MAX as usize);
/// Octets in ENVID as written (RFC 3461 §4.4).
pub const ENVID_MAX: usize = 100;
/// Octets in ORCPT as written (RFC 3461 §4.2).
pub const ORCPT_MAX: usize = 500;
/// Octets of a message unless a knob says otherwise.
pub const MESSAGE_BYTES_DEFAULT: u64 = 50 * 1024 * 1024;
/// Content this many times over its size limit is not read to its end: 421.
pub const MESSAGE_OVERRUN: u64 = 2;
/// Octets of content that a client must send within the time for a block: 3 minutes, so 23 octets a
/// second, less than any link that mail still passes.
pub const CONTENT_BLOCK: u64 = 4 * 1024;
/// Octets of content that a session hands to the spool at once where memory is short: each costs a
/// buffer of a write and an extent of a record.
pub const CONTENT_EARLY: usize = 16 * 1024;
/// Octets that a client may have sent by the time that it is slowed again: what it may add when it
/// is let go on.
pub const CONTENT_BURST: usize = 512 * 1024;
/// Octets of memory that a recipient of a transaction under way is taken to hold.
pub const RECIPIENT_BYTES: usize = 512;
/// Octets set aside for content before any has come, whatever SIZE promises.
pub const CONTENT_RESERVE_MAX: usize = 64 * 1024;
/// Errors in a session, since it last brought a message, before 421.
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
/// Octets of room for replies that an idle session keeps: those of a pipelined transaction. Without
/// it each session that once said much would keep `SESSION_OUTPUT_MAX` to its end.
pub const SESSION_OUTPUT_KEPT: usize = 1024;

// --- SMTP out ---

/// Octets in a reply line that we read (RFC 5321 §4.5.3.1.5 says 512; servers exceed it).
pub const REPLY_LINE_MAX: usize = 4_096;
/// Lines in one reply; EHLO answers rarely pass 30.
pub const REPLY_LINES_MAX: usize = 128;
/// Octets of a peer's reply that we keep for the event, the queue and the DSN.
pub const REPLY_TEXT_MAX: usize = 1_024;
/// Room for commands that a connection out keeps while it waits for replies.
pub const CLIENT_OUTPUT_KEPT: usize = 1024;
/// Transactions under way on one connection out: one whose last reply is awaited, and one begun
/// behind it. Each may be delivered again if the connection breaks.
pub const TRANSACTIONS_IN_FLIGHT_MAX: usize = 2;
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

/// Directories within directories of a spool: those of shards, and one of what a repair set aside.
pub const SPOOL_DEPTH_MAX: usize = 4;
/// Links that a path may lead through, as the kernel has it (path_resolution(7)).
pub const PATH_LINKS_MAX: usize = 40;
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
/// Octets of a segment's index, in RAM too while it is written: what 100,000 messages need.
pub const INDEX_MAX: u32 = 8 * 1024 * 1024;
/// An index may take this part of its segment; one of 10 KB messages takes a hundred and fiftieth.
pub const INDEX_SHARE: u32 = 8;
/// Segments of earlier runs that a start has opened ahead of reading them.
pub const OPENED_AHEAD_MAX: usize = 4;
/// Records that a start takes in, and messages that it queues, in one turn of the shard: about a
/// millisecond each, so that new mail is answered in between.
pub const RECOVERED_TURN_MAX: usize = 4_096;
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

/// Ranges of a segment that lie no further apart are brought into memory as one,
pub const POPULATE_GAP_MAX: u32 = 64 * 1024;
/// of so many octets at most.
pub const POPULATE_BYTES_MAX: u32 = 4 * 1024 * 1024;
/// Octets that are brought into memory for the record of a reply, whose length nobody knows before.
pub const REASON_BYTES: u32 = 2 * 1024;

// --- Queue and egress ---

/// Recipients that wait at one site on its owner, before homes are asked to hold the rest.
pub const SITE_READY_MAX: usize = 256;
/// So many of one sender's are taken all the same, up to twice as many in all: whoever sends little
/// does not wait until what was taken ahead of it has gone.
pub const SITE_READY_OF_SENDER: usize = 16;
/// A home's jobs of a sender that has all of its share under way: more stay at home.
pub const SHARE_READY_MAX: usize = 128;
/// Senders with shares of a site that a shard remembers before it looks for those that have nothing
/// there any more.
pub const SHARES_SWEEP_LEAST: usize = 16;
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
// --- Shard ---

/// How often a log that is full or whose commits fail is tried again.
pub const LOG_RETRY: Duration = Duration::from_secs(1);
/// A commit waits for messages that are about to come about as long as a sync takes, and no longer
/// than this: `250` comes after two or three syncs' time at most, and a group holds more.
pub const GATHERING_MAX: Duration = Duration::from_millis(2);
/// Octets of a commit group that waits for no further message: its write takes longer than a sync.
pub const GATHERED_MAX: u32 = 1024 * 1024;
/// Outcomes wait so long for a message to be committed with: a sync of their own would cost as much
/// as the message's. A crash may repeat the deliveries of as much time.
pub const OUTCOME_PATIENCE: Duration = Duration::from_millis(5);
/// The wall clock was set if it moved by so much more or less than the monotonic one: between a
/// look at the one and at the other a thread may be put aside.
pub const CLOCK_STEP_MIN: Duration = Duration::from_secs(1);
/// A message that a start finds older than its lifetime is kept so long for its last attempt.
pub const LAST_ATTEMPT_WITHIN: Duration = Duration::from_secs(3_600);
/// Messages that a shard reads back from the spool at a time.
pub const LOADS_MAX: usize = 256;
/// Destination domains whose MX hosts an owner remembers at a time.
pub const ROUTED_MAX: usize = 65_536;
/// A site at which nothing happens for this long is forgotten.
pub const SITE_QUIET_MAX: Duration = Duration::from_secs(600);
/// Upstream relays that one dispatch is offered to before it goes back to its home.
pub const UPSTREAMS_TRIED_MAX: u32 = 8;
/// How often a draining shard looks whether the others are done.
pub const DRAIN_LOOK_EVERY: Duration = Duration::from_millis(20);
/// A connection out that is not there after this is given up (RFC 5321 leaves it to us; Postfix
/// waits 30 s too).
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(30);
/// Operators' verbs under way on a shard.
pub const OPERATIONS_MAX: usize = 64;
/// A recipient whose DSN found no room is judged again after this.
pub const DSN_RETRY: Duration = Duration::from_secs(60);
/// A message that could not be read is tried again after this: perhaps the disk was at fault.
pub const UNREADABLE_RETRY: Duration = Duration::from_secs(24 * 3_600);
/// A domain that its owner gave back is tried again after this, if the owner says nothing.
pub const PARK_FOR: Duration = Duration::from_secs(60);
/// A domain that its owner gave back is not tried again before this. Wall time has milliseconds and
/// stands still in a turn: where less was no time at all, home and owner passed a job to and fro
/// for ever.
pub const PARK_FOR_MIN: Duration = Duration::from_millis(10);
/// Rounds of what a shard sends to itself in one turn; the rest waits for the next, so that the
/// clock and the kernel are looked at however much there is.
pub const TURN_ROUNDS_MAX: u32 = 64;
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
/// Recipients that one call of an operator's verb touches or lists; the next call goes on. The
/// envelope of each is read for the event log: so many take some milliseconds.
pub const OPERATED_BATCH_MAX: usize = 512;
/// Messages that one call of `queue list` reads: each may have to come from the disk.
pub const LISTED_BATCH_MAX: usize = 64;
/// Domains of about the same size that `queue stats` looks at to find the largest.
pub const TOP_DOMAINS_LOOKED_MAX: usize = 4_096;
const _: () = assert!(TOP_DOMAINS_LOOKED_MAX >= LIST_ROWS_MAX);
/// Homes' domains that a full site remembers to call back; others come back by their own timer.
pub const SITE_CALLBACKS_MAX: usize = 4_096;
/// Endpoints of one site: hosts times addresses.
pub const SITE_ENDPOINTS_MAX: usize = MX_HOSTS_MAX * MX_ADDRESSES_MAX;
/// Upstream relays of one group; ids are 16 bits, lists are written by people.
pub const UPSTREAMS_MAX: usize = 256;
/// An idle outbound connection is kept this long; servers wait at least 5 minutes (RFC 5321
/// §4.5.3.2.7), but a kept connection counts against the peer's limits and ours.
pub const IDLE_CONNECTION_MAX: Duration = Duration::from_secs(15);
/// An endpoint that failed is left alone for so long, doubled with each failure in a row.
pub const ENDPOINT_DEAD_FIRST: Duration = Duration::from_secs(30);
/// No endpoint is left alone for longer.
pub const ENDPOINT_DEAD_MAX: Duration = Duration::from_secs(600);
/// A site of which every endpoint failed is tried again after this, doubled with each failure.
pub const SITE_SUSPENSION_FIRST: Duration = Duration::from_secs(1);
/// No site is left alone for longer: what a restored server waits for its mail.
pub const SITE_SUSPENSION_MAX: Duration = Duration::from_secs(60);
/// An upstream relay that was ejected is probed after this, doubled with each failed probe.
pub const EJECTION_FIRST: Duration = Duration::from_secs(2);
/// No upstream relay is ejected for longer without a probe.
pub const EJECTION_MAX: Duration = Duration::from_secs(60);
// --- Platform ---

/// Submissions queued before the ring is entered: a turn rarely fills it, and a full one is
/// entered early.
pub const RING_SUBMISSIONS: u32 = 1_024;
/// Completions that wait in the ring; the kernel keeps what passes it, at a cost.
pub const RING_COMPLETIONS: u32 = 16_384;
const _: () = assert!(RING_COMPLETIONS >= 2 * RING_SUBMISSIONS);
/// A shard that falls asleep is woken by so many completions, or by the first after
/// [`WAKE_PATIENCE`]. A wake costs as much as a completion: a busy shard takes them together.
pub const WAKE_BATCH: usize = 8;
/// What a completion is late by at most. A shard that has slept longer is woken by the first.
pub const WAKE_PATIENCE: Duration = Duration::from_micros(200);
/// A shard with nothing to wait for looks up so often. Without a bound on the whole wait the kernel
/// would end it once it has been patient.
pub const SLEEP_MAX: Duration = Duration::from_secs(3_600);
/// Receive buffers a shard. They are held for one call each, so that connections share them.
pub const RECEIVE_BUFFERS: u16 = 512;
// The kernel asks for a power of two, at most 2^15.
const _: () = assert!(RECEIVE_BUFFERS.is_power_of_two() && RECEIVE_BUFFERS <= 1 << 15);
/// Octets of one receive buffer: a typical message comes in one.
pub const RECEIVE_BUFFER_BYTES: usize = 16 * 1024;
/// Small sends of one connection are joined up to this many octets.
pub const SEND_JOIN_MAX: usize = 64 * 1024;
/// Buffers kept for `buffer()`, and the room above which one is not kept.
pub const SPARE_BUFFERS: usize = 256;
/// See [`SPARE_BUFFERS`].
pub const SPARE_BUFFER_BYTES: usize = 64 * 1024;
/// Connections that wait to be accepted, a listener a shard.
pub const LISTEN_BACKLOG: i32 = 4_096;
/// How often a taken port is looked at before a start is given up: a relay that was killed leaves
/// it within a second, another program does not.
pub const PORT_LOOKS_MAX: u32 = 60;
/// From one of these looks to the next.
pub const PORT_LOOK_EVERY: Duration = Duration::from_millis(50);
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
/// Segments that are named should their map fault: 1 TiB of 64 MiB each.
pub const MAPS_NAMED_MAX: usize = 16_384;
/// Slices of one gathered write (IOV_MAX).
pub const WRITE_SLICES_MAX: usize = 1_024;
/// Octets of events that wait for the disk; more are counted as lost.
pub const EVENT_LOG_PENDING_MAX: usize = 4 * 1024 * 1024;
/// Octets of events after which they are written at once.
pub const EVENT_LOG_BATCH: usize = 64 * 1024;
/// How long an event may wait to be written: with a tick of the wheel, under 200 ms.
pub const EVENT_LOG_DELAY: Duration = Duration::from_millis(150);
/// Panics in a row in a machine's own turn before its shard, and with it the process, ends.
pub const TURN_PANICS_MAX: u32 = 3;
/// A shard whose ring the kernel did not take everything from (out of memory, too many completions)
/// pauses so long and tries again; it does not sleep until it is told of something.
pub const RING_RETRY: Duration = Duration::from_millis(1);
/// How often it is seen to that no shard sleeps over what was posted to it.
pub const MAILBOX_LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked whether a certificate or a key has changed: well within the days that a
/// new one is there before the old one expires, and a few `stat` calls each.
pub const FILES_LOOK_EVERY: Duration = Duration::from_secs(10);
/// Octets from which on a buffer goes back to the kernel once it is free. It is what glibc starts
/// with; but by itself it raises that as soon as a larger one is freed, and then keeps the peak.
pub const HEAP_RETURNED_MIN: i32 = 128 * 1024;
/// How long a ring that ends waits for the kernel to let go of its buffers; then they are leaked.
pub const RING_QUIESCE_MAX: Duration = Duration::from_secs(5);

/// What the control thread waits for a shard's answer: a sweeping verb takes many turns.
pub const ANSWER_WAIT_MAX: Duration = Duration::from_secs(60);
/// Domains that `queue stats` shows unless asked for more.
pub const STATS_DOMAINS_DEFAULT: usize = 10;

/// Octets of the groups by which `spool bench` measures: an outcome's, a few messages', many.
pub const BENCH_GROUP_BYTES: [usize; 3] = [4 * 1024, 64 * 1024, 512 * 1024];
/// Groups of each: the last has two above its 99th percentile.
pub const BENCH_GROUPS: usize = 128;

// --- Bounds of single decisions ---

/// Longer assignments push no other row's comment to the right.
pub const ALIGNED_MAX: usize = 60;
/// Characters of a group's name.
pub const GROUP_NAME_MAX: usize = 64;
/// Characters of a line that are shown.
pub const EXCERPT_MAX: usize = 160;
/// Lists longer than this help nobody.
pub const SUGGESTED_MAX: usize = 24;
/// Jobs that were called for and did not come in this time will not come.
pub const CALLBACK_PATIENCE: Duration = Duration::from_millis(250);
/// Jobs that one call is for, at most.
pub const CALLBACK_ROOM_MAX: usize = 64;
/// Timeouts in a row that eject.
pub const UPSTREAM_SILENT_MAX: u32 = 3;
/// The share of refusals that ejects, and of how many recent answers it is taken.
pub const REFUSED_SHARE_MAX: f64 = 0.5;
/// A probe that nothing was heard of is given up.
pub const PROBE_PATIENCE: Duration = Duration::from_secs(300);
/// A domain with no more than this in flight, over all homes, is cold.
pub const COLD_DOMAIN_MAX: usize = 32;
/// A full site's home tries again by itself after this; a call back comes sooner.
pub const BUSY_PAUSE: Duration = Duration::from_secs(1);
/// A shard that waits for another's connection looks again after this.
pub const CONNECTION_LOOK_AGAIN: Duration = Duration::from_millis(20);
/// A home whose sender has all of its share of a site, and some in line, tries again after this.
pub const SHARE_PAUSE: Duration = Duration::from_millis(200);
/// A shard that gave a connection up leaves the others this time to take it.
pub const CONNECTION_YIELD_PAUSE: Duration = Duration::from_millis(50);
/// A heavier member is a slip of the hand.
pub const WEIGHT_MAX: u32 = 1_000_000;
/// Octets of a name as text: 255 on the wire, less the root's and the first label's length octet.
pub const DOMAIN_NAME_MAX: usize = DOMAIN_MAX - 2;
/// Messages that one call looks at when it has to look at all.
pub const QUEUE_SCAN_MAX: u32 = 65_536;
/// Commits that may fail one after another before the log waits for `retry`: the first may be the
/// fault of one segment.
pub const COMMIT_FAILURES_MAX: u32 = 2;
/// Epochs that fit in a message id.
pub const EPOCHS_MAX: u32 = 1 << 18;
