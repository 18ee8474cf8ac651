//! How traffic is shaped beside what `site` says.

use std::path::PathBuf;

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
