//! The sending machine joined to the receiving one in memory, on virtual time, at every byte split.

#![allow(
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    clippy::type_complexity,
    reason = "tests cut, match and unwrap freely"
)]

#[path = "support/sender.rs"]
mod sender;
#[path = "support/session.rs"]
mod session;

mod session_pair {
    mod content;
    mod conversation;
    mod deadlines;
    mod envelopes;
    mod pair;
    mod random;
    mod refusals;
}
