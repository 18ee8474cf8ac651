//! The bounds of the admin address: whoever reaches it costs mail nothing.

use std::time::Duration;

use crate::base::limits::ANSWER_WAIT_MAX;

/// Admin addresses: one for people, one for a collector of metrics, and some more.
pub const ADMIN_ADDRESSES_MAX: usize = 8;
/// Names by which they may be asked, beside those that are known.
pub const ADMIN_HOSTS_MAX: usize = 64;
/// Octets of a Unix socket's path: `sun_path` has 108, with its end (unix(7)).
pub const SOCKET_PATH_MAX: usize = 107;
/// Octets of a token. 24 of RFC 6750's alphabet, drawn by chance, are 144 bits; a line of
/// `openssl rand -hex 32` is 64.
pub const ADMIN_TOKEN_MIN: usize = 24;
/// See [`ADMIN_TOKEN_MIN`].
pub const ADMIN_TOKEN_MAX: usize = 512;
/// Connections at a time on each address; further ones wait in the kernel.
pub const ADMIN_CONNECTIONS_MAX: usize = 32;
/// Octets of a request's head; more is answered 431.
pub const ADMIN_HEAD_MAX: usize = 16 * 1024;
/// Fields of a request's head; more is answered 431.
pub const ADMIN_FIELDS_MAX: usize = 64;
/// What a client has for a handshake, and for each head: who sends nothing is cut as well.
pub const ADMIN_HEAD_WAIT: Duration = Duration::from_secs(10);
/// How long a connection may last, whatever is asked over it: who does not read is cut by it.
pub const ADMIN_CONNECTION_WAIT: Duration = Duration::from_secs(300);
const _: () = assert!(ADMIN_CONNECTION_WAIT.as_secs() > 2 * ANSWER_WAIT_MAX.as_secs());
/// Sites that an overview tells of, and looks at to find those where the most waits.
pub const OVERVIEW_SITES: usize = 50;
/// See [`OVERVIEW_SITES`]: a shard with more is asked by site.
pub const SITES_LOOKED_AT_MAX: usize = 20_000;
const _: () = assert!(OVERVIEW_SITES < SITES_LOOKED_AT_MAX);
/// Domains that an overview tells of: those with the most in the queue.
pub const OVERVIEW_DOMAINS: usize = 20;
/// How old an overview may be that is told again, however many ask.
pub const OVERVIEW_AGE_MAX: Duration = Duration::from_millis(900);
/// What an overview's rates are taken over, where somebody asked so long ago.
pub const OVERVIEW_RATES_OVER: Duration = Duration::from_secs(10);
/// Counts of former overviews that are kept for it, more than are made in that time.
pub const OVERVIEW_SAMPLES_MAX: usize = 16;
const _: () = assert!(
    OVERVIEW_SAMPLES_MAX as u128 * OVERVIEW_AGE_MAX.as_millis() > OVERVIEW_RATES_OVER.as_millis()
);
/// How long a refusal of a site is what it last refused, whatever it refuses after it: it is kept
/// for people, and costs a copy.
pub const REFUSAL_KEPT_FOR: Duration = Duration::from_secs(1);
/// Domains that are checked at a time for those who ask: each has a thread, and waits for others.
pub const DOMAIN_CHECKS_AT_A_TIME: usize = 2;
/// How often those who watch live are told.
pub const LIVE_EVERY: Duration = Duration::from_secs(1);
/// How long they are told over one connection; then they ask again.
pub const LIVE_FOR: Duration = Duration::from_secs(180);
const _: () =
    assert!(LIVE_FOR.as_secs() + ANSWER_WAIT_MAX.as_secs() < ADMIN_CONNECTION_WAIT.as_secs());
/// Those who watch live at a time: they leave room for others on one address.
pub const LIVE_WATCHERS_MAX: usize = 16;
const _: () = assert!(LIVE_WATCHERS_MAX < ADMIN_CONNECTIONS_MAX);
/// Overviews of which `relay-fast top` draws the course: what a wide terminal has room for.
pub const TOP_HISTORY_MAX: usize = 512;
/// How often it looks whether something is to be drawn anew: what a person takes for at once.
pub const TOP_LOOK: Duration = Duration::from_millis(250);
/// Characters of what it prints where there is no terminal.
pub const TOP_COLUMNS: u16 = 160;
/// Lines of it.
pub const TOP_ROWS: u16 = 48;
/// Domains whose dialogue a shard follows at a time.
pub const TRACES_MAX: usize = 8;
/// How long one is followed after somebody asked; whoever watches asks again sooner.
pub const TRACE_FOR: Duration = Duration::from_secs(10);
/// How soon.
pub const TRACE_EVERY: Duration = Duration::from_millis(300);
/// Lines that a shard keeps until somebody asks for them: some seconds of a busy site.
pub const TRACE_LINES_MAX: usize = 4_096;
/// Octets of a line that are shown: more than the longest reply line that RFC 5321 §4.5.3.1.5 has.
pub const TRACE_LINE_MAX: usize = 1_024;
/// What is waited after an accept that failed, for want of descriptors most likely.
pub const ADMIN_ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long whoever asks for a reload waits for what comes of it: files are read for it, and keys.
pub const CONFIG_RELOAD_WAIT: Duration = Duration::from_secs(60);
const _: () = assert!(CONFIG_RELOAD_WAIT.as_secs() < ADMIN_CONNECTION_WAIT.as_secs());
/// Tokens beside the one of `[admin]`: a program each, and some being renewed.
pub const TOKENS_MAX: usize = 64;
/// Octets of a token's name: it stands in the log beside what was done with it.
pub const TOKEN_NAME_MAX: usize = 64;
/// Messages of the queue that a search tells of, unless it says how many.
pub const MESSAGES_DEFAULT: usize = 20;
/// And at most.
pub const MESSAGES_MAX: usize = 100;
/// Rows of the queue that a search looks through.
pub const MESSAGE_ROWS_MAX: usize = 200_000;
/// Lines of the event log that it reads: a few seconds.
pub const MESSAGE_LINES_MAX: usize = 2_000_000;
/// Events that it tells of.
pub const MESSAGE_EVENTS_MAX: usize = 1_000;
/// Searches at a time.
pub const MESSAGE_SEARCHES_MAX: usize = 2;
