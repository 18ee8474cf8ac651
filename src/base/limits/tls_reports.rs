//! Bounds of TLS reports (RFC 8460).

use std::time::Duration;

/// Octets of what is counted for reports, about as they are written; what comes beyond is counted
/// as left out. Some 50,000 domains.
pub const TLS_REPORT_BYTES_MAX: usize = 16 << 20;
/// Policies of a domain that are told apart in one report: each of its hosts may have its own.
pub const TLS_REPORT_POLICIES_MAX: usize = 16;
/// Ways to fail that are told apart under one policy; the others are only counted.
pub const TLS_REPORT_FAILURES_MAX: usize = 64;
/// Octets of a policy that a report shows.
pub const TLS_REPORT_POLICY_MAX: usize = 2_048;
/// Octets of words in a report: why a session failed, how a host greeted.
pub const TLS_REPORT_WORDS_MAX: usize = 256;
/// Domains of which a shard remembers what policies they have.
pub const TLS_REPORT_KNOWN_MAX: usize = 65_536;
/// Whom one domain's reports go to; RFC 8460 §3 leaves it to the sender.
pub const TLS_REPORT_TARGETS_MAX: usize = 4;
/// Octets of such a target.
pub const TLS_REPORT_TARGET_MAX: usize = 1_024;
/// How often shards are asked for what they counted, and it is written down.
pub const TLS_REPORT_EVERY: Duration = Duration::from_secs(300);
/// Reports go out over so long after midnight (RFC 8460 §4.1: random delay up to four hours).
pub const TLS_REPORT_SPREAD: Duration = Duration::from_secs(4 * 3_600);
/// A report that could not be handed over is tried again after this long, then after twice as long
/// each time,
pub const TLS_REPORT_RETRY: Duration = Duration::from_secs(900);
/// and no more after this (RFC 8460 §5.5).
pub const TLS_REPORT_LIFETIME: Duration = Duration::from_secs(24 * 3_600);
/// How long one is handed over by HTTPS at most.
pub const TLS_REPORT_POST_MAX: Duration = Duration::from_secs(30);
/// How long a name is looked up for one, and a shard is waited for.
pub const TLS_REPORT_WAIT: Duration = Duration::from_secs(20);
/// Octets of the file that they are kept in: what is counted now, and what waits to go out.
pub const TLS_REPORT_FILE_MAX: u64 = 128 << 20;
/// Reports that wait to go out; beyond, the oldest are given up.
pub const TLS_REPORTS_DUE_MAX: usize = 200_000;
/// Reports whose fate is remembered for operators.
pub const TLS_REPORTS_TOLD: usize = 20;
/// Reports that go out before anything else is looked at.
pub const TLS_REPORTS_BATCH: usize = 100;
/// Requests of operators that wait.
pub const TLS_REPORT_ORDERS_MAX: usize = 16;
/// How long an operator waits for an answer: a report may be on its way meanwhile.
pub const TLS_REPORT_ANSWER_MAX: Duration = Duration::from_secs(60);
