//! The DNS resolver against hand-made name servers, on virtual time.
//!
//! Name servers are closures here: a query in, a message made by hickory-proto out, or silence.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod answers;
mod bounds;
mod forgery;
mod hosts;
mod servers;
mod world;
