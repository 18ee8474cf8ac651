//! How traffic is shaped beside what `site` says.

use std::path::PathBuf;

use crate::base::days::Days;
use crate::egress::warm_up::Plan;

/// Where rules of shapes are from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShapingOptions {
    /// The operator's.
    pub file: Option<PathBuf>,
    /// Those that are shipped are in force too.
    pub shipped: bool,
}

impl ShapingOptions {
    /// Whether there are any.
    pub fn is_on(&self) -> bool {
        self.shipped || self.file.is_some()
    }
}

/// How sources are warmed up that are to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WarmUpOptions {
    /// By what; the plan that comes with the program too.
    pub plans: Vec<Plan>,
    /// By whose clocks a day begins.
    pub days: Days,
}
