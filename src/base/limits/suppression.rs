//! Bounds on the suppression list: what an entry holds, what is in RAM of it, what waits for it.

use std::time::Duration;

use crate::base::limits::{DOMAIN_NAME_MAX, LOCAL_PART_MAX};

/// Octets of an address as it is compared: its domain may have grown by A-labels.
pub const SUPPRESSED_ADDRESS_MAX: usize = LOCAL_PART_MAX + 1 + DOMAIN_NAME_MAX;
/// Octets of the words of an entry; longer ones are cut. A peer's reply says why in its first line.
pub const SUPPRESSION_WORDS_MAX: usize = 512;
/// Octets of a row of CSV: an entry whose every character is quoted, and room for other columns.
pub const SUPPRESSION_ROW_MAX: usize = 4_096;
/// Columns of a row of CSV.
pub const SUPPRESSION_COLUMNS_MAX: usize = 16;
/// Rows that are wrong and of which an import says so one by one; the others are counted.
pub const SUPPRESSION_ERRORS_MAX: usize = 100;
/// Entries that are committed together: one sync for so many, and less than 64 KiB a thousand in
/// memory.
pub const SUPPRESSION_BATCH_MAX: usize = 8_192;
/// Entries on a page of a list that is walked through.
pub const SUPPRESSION_PAGE_MAX: usize = 1_000;

/// Entries that the filter in front of the store has room for at least: 128 KiB.
pub const SUPPRESSION_FILTER_MIN: u64 = 65_536;
/// Entries that it has room for at most: 512 MiB. With more the list is as right, and more
/// recipients who are not on it are looked up.
pub const SUPPRESSION_FILTER_MAX: u64 = 1 << 28;
const _: () = assert!(SUPPRESSION_FILTER_MIN < SUPPRESSION_FILTER_MAX);
/// Octets of the store's pages that are kept in memory.
pub const SUPPRESSION_CACHE_BYTES: usize = 64 * 1024 * 1024;

/// Threads that look recipients up whom the filter does not rule out.
pub const SUPPRESSION_THREADS: usize = 2;
/// Recipients that wait for them; who comes further is told to come again.
pub const SUPPRESSION_LOOKUPS_MAX: usize = 4_096;

/// Departures of a shard that wait for them.
pub const SUPPRESSION_SUSPECTS_MAX: usize = 1_024;

/// When mail is looked at again for whose recipients the store could not say.
pub const SUPPRESSION_AGAIN: Duration = Duration::from_secs(60);

/// How often the event log is read for bounces.
pub const SUPPRESSION_EVERY: Duration = Duration::from_secs(1);
/// How often entries that have expired are taken out; they hold no longer from that moment on.
pub const SUPPRESSION_SWEEP_EVERY: Duration = Duration::from_secs(600);
/// Octets of an event file that are read at once.
pub const SUPPRESSION_READ_MAX: usize = 1024 * 1024;
/// Octets of an event file that led to nothing and are read once more at a start.
pub const SUPPRESSION_REREAD_MAX: u64 = 16 * 1024 * 1024;
/// Bounces after which an address is suppressed at most: the time of each is kept.
pub const SUPPRESSION_BOUNCES_MAX: u32 = 100;
/// Bounces that lie further apart never add up.
pub const SUPPRESSION_BOUNCES_WITHIN_MAX: Duration = Duration::from_secs(365 * 24 * 3_600);
