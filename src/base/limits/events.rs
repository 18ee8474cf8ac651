//! Bounds of the event log and of those who read it.

use std::time::Duration;

/// Octets of one event file unless a knob says otherwise.
pub const EVENT_FILE_BYTES_DEFAULT: u64 = 64 * 1024 * 1024;
/// The latest start in an event file's name that has 13 digits, in milliseconds: in the year 2286.
pub const EVENT_FILE_START_MAX: i64 = 9_999_999_999_999;
/// How much further the numbers of a run's events begin than the last that is on disk, where the
/// clock does not say that they are new: more than a disk can have lost unseen.
pub const EVENT_SEQUENCE_SKIP: u64 = 1 << 32;
/// Octets at the end of an event file in which its last number is looked for.
pub const EVENT_TAIL_MAX: u64 = 1 << 20;
/// How long event files are kept unless a knob says otherwise.
pub const EVENT_RETENTION_DEFAULT: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Octets of event files that are kept a shard, however young, unless a knob says otherwise.
pub const EVENT_LOG_BYTES_DEFAULT: u64 = 1 << 30;
/// Event files that are kept a shard whatever their size: the one that is written, and the one
/// before, which may not have been read to its end.
pub const EVENT_FILES_MIN: usize = 2;
/// An event file is ended after this long unless a knob says otherwise.
pub const EVENT_FILE_AGE_DEFAULT: Duration = Duration::from_secs(24 * 3_600);
