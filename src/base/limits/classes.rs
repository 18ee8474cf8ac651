//! Bounds of the classes of refusals.

/// Rules in a file.
pub const CLASS_RULES_MAX: usize = 1_024;
/// Patterns in a file, over all rules.
pub const CLASS_PATTERNS_MAX: usize = 4_096;
/// Octets of a pattern.
pub const CLASS_PATTERN_MAX: usize = 512;
/// Octets of all patterns once they are ready for use, a set.
pub const CLASS_RULES_BYTES_MAX: usize = 32 << 20;
/// Octets of a file of rules.
pub const CLASS_FILE_MAX: u64 = 1 << 20;
/// Octets of a reply that are looked at.
pub const CLASS_TEXT_MAX: usize = 1_024;
/// Classes that a summary of the event log tells apart; there are fewer.
pub const REPORT_CLASSES_MAX: usize = 64;
