//! The DNS resolver against hand-made name servers, on virtual time.
//!
//! Name servers are closures here: a query in, a message made by hickory-proto out, or silence; and
//! a real one at the end (`knot`).

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
