//! Bounds of the figures that are kept of what became of mail.

use std::time::Duration;

use crate::base::limits::RETURN_KEPT_FOR;

/// Keys of a dimension that are kept apart in an interval unless a knob says otherwise; what the
/// others came to is kept together.
pub const KPI_KEYS_DEFAULT: u64 = 1_000;
/// The most that can be kept apart.
pub const KPI_KEYS_MAX: u64 = 100_000;
/// How many times as many are apart while an interval lasts, before the small ones go together.
pub const KPI_KEYS_SLACK: usize = 2;
/// How long figures by the minute are kept unless a knob says otherwise,
pub const KPI_MINUTES_DEFAULT: Duration = Duration::from_secs(6 * 3_600);
/// those by the hour,
pub const KPI_HOURS_DEFAULT: Duration = Duration::from_secs(31 * 86_400);
/// and those by the day.
pub const KPI_DAYS_DEFAULT: Duration = Duration::from_secs(400 * 86_400);
/// Octets of figures that are kept unless a knob says otherwise: the oldest go first, those by the
/// minute before all others.
pub const KPI_BYTES_DEFAULT: u64 = 256 * 1024 * 1024;
/// Events that are counted before it is written down,
pub const KPI_BATCH_EVENTS: usize = 32_768;
/// or rows of figures, of some hundred octets each,
pub const KPI_BATCH_ROWS: usize = 32_768;
/// or how long they wait to be.
pub const KPI_COMMIT_EVERY: Duration = Duration::from_secs(2);
/// Events that are counted before it is looked at how long they wait.
pub const KPI_TURN_EVENTS: usize = 1_024;
/// How long it is known that a report of what came back is counted: whoever is killed tells it
/// again as soon as it is found in the spool of the next run.
pub const KPI_TOLD_KEPT: Duration = Duration::from_secs(600);
const _: () = assert!(KPI_TOLD_KEPT.as_secs() > 2 * RETURN_KEPT_FOR.as_secs());
/// Of so many, the latest: some 30 octets each in memory and on disk.
pub const KPI_TOLD_MAX: usize = 65_536;
/// After a fault of the store or of the log it is tried again after so long.
pub const KPI_RETRY: Duration = Duration::from_secs(5);
/// How much less than shards the thread is entitled to: the niceness of setpriority(2).
pub const KPI_NICENESS: i32 = 10;
/// Octets of the store's pages that are kept in memory.
pub const KPI_CACHE_BYTES: usize = 32 * 1024 * 1024;
/// Octets of a key: a domain, a tenant with a campaign of its, the name of a source or a provider;
/// what is longer is cut.
pub const KPI_KEY_MAX: usize = 255;
/// Buckets of a histogram of times to delivery: 16 for each doubling, from a millisecond to 17
/// years.
pub const KPI_BUCKETS_MAX: usize = 576;
/// Intervals of a series, and those that rows are summed up over.
pub const KPI_INTERVALS_MAX: usize = 10_000;
/// Keys of a dimension that metrics are told of: each is a few series of whoever collects them.
pub const KPI_METRIC_KEYS: usize = 10;
/// Rows of an answer,
pub const KPI_ROWS_MAX: usize = 10_000;
/// where nobody says how many.
pub const KPI_ROWS_DEFAULT: usize = 100;
