//! Bounds of warming sources up.

use std::time::Duration;

/// Plans, those for single providers counted too.
pub const WARM_UP_PLANS_MAX: usize = 256;
/// Days of a plan.
pub const WARM_UP_DAYS_MAX: usize = 366;
/// Messages a day that a plan can say: beyond that a source is warm.
pub const WARM_UP_MESSAGES_MAX: u64 = 1_000_000_000;
/// Octets of the name of a plan.
pub const WARM_UP_NAME_MAX: usize = 64;
/// Pairs of a source and a provider, or a site of none, whose messages are counted; beyond, what
/// goes to other sites is counted together, for each source.
pub const WARM_UP_RATIONS_MAX: usize = 65_536;
/// Of a day's number this part is written down ahead, at least one message: what a process that is
/// killed may leave unused.
pub const WARM_UP_LEASE_PART: u32 = 16;
/// While a part is being written down, who wants to send from it looks again after this.
pub const WARM_UP_LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long the day is taken from the monotonic clock alone, if nobody sets the other.
pub const WARM_UP_CLOCK_SEEN_FOR: Duration = Duration::from_secs(10);
/// Where nothing can be written down it is tried again after this.
pub const WARM_UP_WRITE_AGAIN: Duration = Duration::from_secs(1);
/// Lines that the file may have beyond what is in force, before it is written anew.
pub const WARM_UP_LINES_SPARE: usize = 4_096;
/// Octets of the file that are read.
pub const WARM_UP_STATE_MAX: u64 = 256 << 20;
/// Providers and sites that an answer tells of for one source.
pub const WARM_UP_ROWS_MAX: usize = 1_000;
