//! Bounds on what is asked about a domain that this node sends or takes mail for.

use std::time::Duration;

/// Egress sources that a check of a domain looks at: each costs some questions to name servers.
pub const CHECK_SOURCES_MAX: usize = 256;
/// Names of one address that are looked up forwards again (RFC 7208 §4.6.4 has the same figure).
pub const CHECK_NAMES_MAX: usize = 10;
/// Questions of one check: eight a source, and as many as SPF, DMARC and sixteen MX hosts take.
pub const CHECK_QUESTIONS_MAX: usize = 4_096;
const _: () = assert!(CHECK_QUESTIONS_MAX >= 8 * CHECK_SOURCES_MAX + 1_024);
/// Questions of one check that are under way at a time; each has a socket.
pub const CHECK_IN_FLIGHT_MAX: usize = 64;
/// Addresses that DMARC reports of a domain are sent to, of which the check asks whether they want
/// these.
pub const CHECK_REPORT_HOSTS_MAX: usize = 10;
/// What name servers have not said about a domain within this time could not be checked: two
/// attempts of five seconds for each of the four steps from an MX record to a certificate.
pub const CHECK_DEADLINE: Duration = Duration::from_secs(40);
/// Domains that a relay checks by itself; each takes a second, or a minute where nobody answers.
pub const GATE_DOMAINS_MAX: usize = 1_024;
/// From one round over them to the next where all passed,
pub const GATE_EVERY: Duration = Duration::from_secs(3_600);
/// and where some did not: what has been mended is seen before long.
pub const GATE_AGAIN: Duration = Duration::from_secs(300);
/// Labels of the names that DMARC's walk up the tree ends in (RFC 9989 §4.10).
pub const DMARC_WALK_LABELS_MAX: usize = 7;
/// A shorter `max_age` of an MTA-STS policy protects little: RFC 8461 §3.2 expects weeks.
pub const STS_AGE_USUAL: Duration = Duration::from_secs(7 * 86_400);
