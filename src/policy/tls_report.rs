//! Tell domains how TLS with their MX hosts does: TLS-RPT (RFC 8460).
//!
//! In: sessions with MX hosts and what they came to, policies that were found, the time. Out: what
//! was counted, by domain and policy; reports of a day as they are written, and where they go.
//! Invariant: a session is counted once, for the domain on whose behalf it was opened; nothing that
//! a peer says can make what is kept grow beyond `TLS_REPORT_BYTES_MAX`.
//!
//! A shard has a [`Collector`]; one [`Ledger`] a node takes in what they counted, and says when a
//! report is due.

mod collector;
mod compose;
mod ledger;
mod record;
mod status;
mod tally;

pub use collector::{Collector, Found, Session, Trouble};
pub use compose::{Report, Reporter};
pub use ledger::{Due, Ledger};
/// How a session failed (RFC 8460 §4.3), what policy was applied, and what came of it.
pub use mail_auth::report::tlsrpt::{
    FailureDetails, Policy, PolicyDetails, PolicyType, ResultType,
};
pub use record::{Target, targets};
pub use status::{Row, Status, Told};
pub use tally::Tally;
