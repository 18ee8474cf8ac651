//! What is counted of what became of mail, and how long that is kept.

use std::time::Duration;

use crate::base::limits::{
    KPI_BYTES_DEFAULT, KPI_DAYS_DEFAULT, KPI_HOURS_DEFAULT, KPI_KEYS_DEFAULT, KPI_MINUTES_DEFAULT,
};
use crate::outcome::kpi::Resolution;

/// What `[kpis]` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KpiOptions {
    /// Whether anything is counted.
    pub count: bool,
    /// Keys of a dimension that are told apart in an interval.
    pub keys: usize,
    /// How long figures are kept, by resolution.
    pub keep: [Duration; Resolution::ALL.len()],
    /// Octets of figures that are kept at most.
    pub bytes: u64,
}

impl Default for KpiOptions {
    fn default() -> Self {
        Self {
            count: false,
            keys: usize::try_from(KPI_KEYS_DEFAULT).expect("a thousand"),
            keep: [KPI_MINUTES_DEFAULT, KPI_HOURS_DEFAULT, KPI_DAYS_DEFAULT],
            bytes: KPI_BYTES_DEFAULT,
        }
    }
}
