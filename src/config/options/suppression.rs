//! To whom nothing is sent.

use std::time::Duration;

use crate::policy::suppression::At;

/// What `[suppression]` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SuppressionOptions {
    /// When recipients are looked for on the lists.
    pub at: At,
    /// When an address that bounces is put on one; `None`: never.
    pub hard_bounces: Option<HardBounces>,
    /// Whoever complains is put on one.
    pub complaints: bool,
    /// Whoever unsubscribes is put on one.
    pub unsubscribes: bool,
}

/// When an address that bounces is suppressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HardBounces {
    /// Once it has so often; at least 1.
    pub count: u32,
    /// In so long.
    pub within: Duration,
}
