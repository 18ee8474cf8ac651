//! Bounds of who sends, and of how a sender wants a message handled.

use std::time::Duration;

/// Octets of a tenant's name.
pub const TENANT_NAME_MAX: usize = 64;
/// Octets of a campaign's name.
pub const CAMPAIGN_NAME_MAX: usize = 128;
/// The priorities that RFC 6710 knows go from this below zero to this above.
pub const PRIORITY_MAX: i8 = 9;
/// Tenants of whom the configuration says something.
pub const TENANTS_MAX: usize = 10_000;
/// Recipients that a tenant may have in the queue, a shard, where nobody says how many.
pub const TENANT_QUEUED_DEFAULT: u64 = 10_000_000;
/// The most that may be said of it: 12 GiB of memory.
pub const TENANT_QUEUED_MAX: u64 = 100_000_000;
/// How much of a destination a tenant gets beside others, where nobody says how much; what may be
/// said is from 1 to the other.
pub const TENANT_WEIGHT_DEFAULT: u16 = 10;
/// See above. A tenant's turn is as many recipients: others wait for so many.
pub const TENANT_WEIGHT_MAX: u16 = 1_000;
// Their lengths are one octet each on disk.
const _: () = assert!(TENANT_NAME_MAX <= 255 && CAMPAIGN_NAME_MAX <= 255);
/// Octets of the name of a header field that says who sends.
pub const LABEL_FIELD_NAME_MAX: usize = 64;
/// Tenants and campaigns that are paused at a time.
pub const PAUSES_MAX: usize = 10_000;
/// Campaigns of about the same size, or of one tenant, that a shard looks at to find the largest.
pub const CAMPAIGNS_LOOKED_MAX: usize = 4_096;
/// How fast a campaign is, is what left in the last while: in this long at least, and twice as long
/// at most.
pub const CAMPAIGN_PACE_OVER: Duration = Duration::from_secs(60);
/// Campaigns that are told of at a time, and of which a shard is asked.
pub const CAMPAIGNS_TOLD_MAX: usize = 1_000;
/// So many where nobody says.
pub const CAMPAIGNS_TOLD_DEFAULT: usize = 100;
const _: () = assert!(CAMPAIGNS_LOOKED_MAX >= CAMPAIGNS_TOLD_MAX);
/// Selections of mail that operators divert at a time: each message is held against all of them.
pub const DIVERSIONS_MAX: usize = 100;
/// Seconds that a message can be held for (RFC 4865): 30 days.
pub const HOLD_SECONDS_MAX: u32 = 30 * 86_400;
/// Rows of the configuration that say something of campaigns.
pub const CAMPAIGNS_MAX: usize = 10_000;
/// How much of its tenant's share a campaign gets beside others of it, where nobody says how much;
/// what may be said is from 1 to the other.
pub const CAMPAIGN_WEIGHT_DEFAULT: u16 = 10;
/// See above. At the highest priority its turn is 16 recipients a `CAMPAIGN_WEIGHT_DEFAULT` of it.
pub const CAMPAIGN_WEIGHT_MAX: u16 = 1_000;
/// What a lifetime, of all messages or of a sender's, may be: from this to the other.
pub const LIFETIME_LEAST: Duration = Duration::from_secs(1);
/// See above.
pub const LIFETIME_MOST: Duration = Duration::from_secs(30 * 86_400);
/// Spans of time in a campaign's window.
pub const WINDOW_SPANS_MAX: usize = 16;
/// Leaves of flows that may not send now that one look for the next departure sets aside.
pub const GATE_STEPS_MAX: usize = 1_024;
/// How long a leaf that is let go has to send, before another of its flow or tenant may.
pub const GATE_TURN: Duration = Duration::from_millis(20);
/// Digits of the seconds by which a message can be wanted (RFC 2852 §4).
pub const DELIVER_BY_DIGITS_MAX: usize = 9;
/// The most that they can say.
pub const DELIVER_BY_SECONDS_MAX: i32 = 999_999_999;
