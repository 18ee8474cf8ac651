//! The DNS resolver against hand-made name servers, on virtual time.
//!
//! Name servers are closures here: a query in, a message made by hickory-proto out, or silence; and
//! a real one at the end (`knot`).

#![allow(
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    clippy::type_complexity,
    reason = "tests cut, match and unwrap freely"
)]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod answers;
mod bounds;
mod forgery;
mod hosts;
mod knot;
mod servers;
#[path = "../support/tool.rs"]
mod tool;
mod world;
