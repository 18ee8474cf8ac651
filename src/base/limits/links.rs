//! Bounds on links that lead back to this node, and on the public door where they are answered.

use std::time::Duration;

use crate::base::limits::{
    CAMPAIGN_NAME_MAX, CONTENT_BURST, DOMAIN_MAX, PATH_MAX, TENANT_NAME_MAX,
};

/// Octets of a URL that a link of ours leads to. Longer ones stay as they are: what they become is
/// half as long again, and proxies refuse request lines of some thousand octets.
pub const LINK_TARGET_MAX: usize = 1_024;
/// Octets of what is sealed in a link, at most: time, recipient, tenant, campaign, URL.
pub const LINK_SEALED_MAX: usize =
    4 + PATH_MAX + 1 + TENANT_NAME_MAX + 1 + CAMPAIGN_NAME_MAX + 1 + LINK_TARGET_MAX;
/// Characters of the longest token: a form, a message's id, what is sealed and its tag, in base64.
pub const LINK_TOKEN_MAX: usize = (1 + 8 + LINK_SEALED_MAX + 16) * 4 / 3 + 2;
/// Characters of the longest token that leads nowhere.
pub const LINK_SHORT_MAX: usize = (1 + 8 + LINK_SEALED_MAX - LINK_TARGET_MAX + 16) * 4 / 3 + 2;
// `List-Unsubscribe:` is one line of a header (RFC 5322 §2.1.1).
const _: () = assert!("<https:///u/>".len() + DOMAIN_MAX + LINK_SHORT_MAX < 998 - 20);

/// Visits that wait for others of the same message, to be told apart.
pub const VISITS_WAITING_MAX: usize = 4_096;
/// How long a visit waits for others of its message.
pub const VISITS_TOGETHER: Duration = Duration::from_secs(2);
/// Different links of a message that a person follows in that time.
pub const VISITS_OF_PERSON_MAX: usize = 3;
/// Openings and clicks that are told a second; what is beyond is answered as ever, and counted as
/// not told. As many may unsubscribe; others are told to come again. Whoever fetches a link again
/// and again fills no event log, and keeps no shard from its mail.
pub const VISITS_TOLD_MAX: u32 = 1_000;
/// Visits that are handed to a shard at once.
pub const VISITS_BATCH_MAX: usize = 256;
/// Octets of a User-Agent that are looked at.
pub const USER_AGENT_MAX: usize = 512;

/// Octets of a message whose links are changed; larger ones pass as they are. It is held until its
/// end, and goes into the log in one turn.
pub const TRACKED_BYTES_MAX: usize = CONTENT_BURST;
/// Octets of one page in it. Providers cut off what is longer than 102 KB.
pub const TRACKED_HTML_MAX: usize = 256 * 1024;
/// Types of parts and boundaries in it: a letter has some. Each boundary may be looked for up to
/// the end of the message; a message in a message in a message takes stack to be read and dropped.
pub const TRACKED_TYPES_MAX: usize = 128;
/// See [`TRACKED_TYPES_MAX`].
pub const TRACKED_BOUNDARIES_MAX: usize = 16;
/// Links of one page that are changed, the first ones.
pub const TRACKED_LINKS_MAX: usize = 1_000;

/// Addresses of the public door.
pub const WEB_ADDRESSES_MAX: usize = 8;
/// Connections at a time on each; further ones wait in the kernel.
pub const WEB_CONNECTIONS_MAX: usize = 256;
/// Of them, those of one client, where the door speaks TLS itself: else all are a proxy's.
pub const WEB_CONNECTIONS_OF_ONE: usize = 64;
const _: () = assert!(WEB_CONNECTIONS_OF_ONE < WEB_CONNECTIONS_MAX);
/// Octets of a request's head: a link has some two thousand; more is answered 431.
pub const WEB_HEAD_MAX: usize = 16 * 1024;
const _: () = assert!(WEB_HEAD_MAX > 4 * LINK_TOKEN_MAX);
/// Fields of a request's head; more is answered 431.
pub const WEB_FIELDS_MAX: usize = 64;
/// Octets of a body: `List-Unsubscribe=One-Click`, or a form with that in it; more is answered 413.
pub const WEB_BODY_MAX: usize = 4_096;
/// What a client has for a handshake, for each head and for a body.
pub const WEB_WAIT: Duration = Duration::from_secs(10);
/// How long a connection may last, whatever is asked over it.
pub const WEB_CONNECTION_WAIT: Duration = Duration::from_secs(60);
/// What is waited after an accept that failed.
pub const WEB_ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Threads that ask the suppression list for those who unsubscribe.
pub const WEB_BLOCKING_MAX: usize = 2;
/// How much less than shards the thread is entitled to: the niceness of setpriority(2).
pub const WEB_NICENESS: i32 = 10;
/// The longest time in which whatever uses a link may be taken for a machine.
pub const WEB_SOON_MAX: Duration = Duration::from_secs(3_600);

/// Octets of a line that a link of ours is in, without its end (RFC 5322 §2.1.1).
pub const LINKED_LINE_MAX: usize = 998;
/// Octets of a line of quoted-printable (RFC 2045 §6.7) and of base64 (§6.8).
pub const MIME_LINE_MAX: usize = 76;
