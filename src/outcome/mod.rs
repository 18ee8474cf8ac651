//! Floor 3: what became of an attempt: who judges it, who is told.

pub mod classes;
pub mod counters;
pub mod dsn;
pub mod event;
pub mod feedback;
pub mod judge;
pub mod kpi;
pub mod report;
