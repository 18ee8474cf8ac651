//! Bounds of shaping: the file, and what is known of sources at sites.

use std::time::Duration;

/// Octets of a shaping file.
pub const SHAPING_FILE_MAX: u64 = 1 << 20;
/// Rules of a shaping file, automation too: each is held against each new site.
pub const SHAPING_RULES_MAX: usize = 1_024;
/// Octets of a rule's name.
pub const SHAPING_NAME_MAX: usize = 100;
/// Octets that are said of what is wrong with a file.
pub const SHAPING_COMPLAINT_MAX: usize = 1_000;
/// Names and patterns in one rule.
pub const SHAPING_NAMES_MAX: usize = 1_024;
/// Patterns of replies in a file, over all rules.
pub const SHAPING_PATTERNS_MAX: usize = 1_024;
/// Octets of one such pattern.
pub const SHAPING_PATTERN_MAX: usize = 512;
/// Octets of all of them once they are ready for use.
pub const SHAPING_PATTERNS_BYTES_MAX: usize = 16 << 20;
/// Octets of a reply that are looked at.
pub const SHAPING_TEXT_MAX: usize = 1_024;
/// Refusals that a trigger may count: when each came is remembered.
pub const TRIGGER_COUNT_MAX: u32 = 100;
/// The longest window of a trigger, and the longest time that an action lasts.
pub const SHAPING_TIME_MAX: Duration = Duration::from_secs(30 * 86_400);
/// Rules that are counted, or in force, for one source at one site; the oldest makes room.
pub const TRIGGERS_MAX: usize = 64;
/// Sites of which something is known over all shards; those that are as any other are forgotten.
pub const SHAPED_SITES_MAX: usize = 65_536;
/// Sources at one site.
pub const OUTLETS_MAX: usize = 1_024;
/// From one slowing down to the next: what is under way was sent at the former rate, and says
/// nothing of the new one.
pub const SLOW_DOWN_PAUSE: Duration = Duration::from_secs(30);
/// The span in which messages are counted, to know how fast they went where no rate is set.
pub const MEASURED_FOR: Duration = Duration::from_secs(60);
/// How often what is known is written to disk, if it is other than before.
pub const SHAPING_WRITTEN_EVERY: Duration = Duration::from_secs(10);
/// Octets of the file that it is written to.
pub const SHAPING_STATE_MAX: u64 = 64 << 20;
/// Rows that one answer about shaping has.
pub const SHAPING_ROWS_MAX: usize = 10_000;
/// How long an action lasts if nobody says otherwise.
pub const ACTION_TIME: Duration = Duration::from_secs(3_600);
/// The span that paces are counted in, ten days: whole numbers for one message a day as for one a
/// second; and 32 bits for almost 5,000 a second, beyond which nothing is told apart.
pub const PACE_SPAN: Duration = Duration::from_secs(864_000);
/// How fast a source is taken to go where nothing was counted, in messages a second.
pub const PACE_LEAST_MEASURED: u32 = 1;
/// Pairs of provider and source that are counted together; those of which nothing is to be known
/// are looked for from so many on, and never with fewer. At most one for each rule and source.
pub const TOGETHER_SWEEP_LEAST: usize = 64;
/// Tenants and campaigns that rules suspend at one site.
pub const SUSPENDED_SENDERS_MAX: usize = 1_024;
