//! Real disks that fill up, fail and move, under the real binary.
//!
//! Each test that mounts something runs again as a process of its own, in mounts of its own, which
//! are gone with it however it ends. Root is needed; without it the tests say SKIPPED.

#![allow(
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    clippy::type_complexity,
    dead_code,
    reason = "tests cut, match and unwrap freely, and use a part of what they share"
)]
#![cfg(feature = "runtime")]

#[path = "support/tool.rs"]
mod tool;

#[path = "relay/client.rs"]
mod client;
#[path = "relay/node.rs"]
mod node;
#[path = "relay/sink.rs"]
mod sink;

#[path = "disk/errors.rs"]
mod errors;
#[path = "disk/faults.rs"]
mod faults;
#[path = "disk/full.rs"]
mod full;
#[path = "disk/mounts.rs"]
mod mounts;
#[path = "disk/moved.rs"]
mod moved;
