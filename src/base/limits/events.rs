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
/// Terms of a filter of events: a bit each.
pub const EVENT_TERMS_MAX: usize = 32;
const _: () = assert!(EVENT_TERMS_MAX <= u64::BITS as usize);
/// Values of one term.
pub const EVENT_TERM_VALUES_MAX: usize = 64;
/// Octets of a line that is read back; what is longer is none of ours.
pub const EVENT_LINE_MAX: usize = 1 << 20;
/// Gaps that a reader keeps until it is asked for them.
pub const EVENT_NOTES_MAX: usize = 16;
/// Octets that one read of an event file brings.
pub const EVENT_READ_MAX: usize = 64 * 1024;
/// How often a reader that has read all looks for more: events are written this late anyway.
pub const EVENT_POLL: Duration = Duration::from_millis(200);
