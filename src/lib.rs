//! relay-fast: an SMTP relay for bulk-campaign sending nodes.
//!
//! ```text
//! client ─► platform ─► smtp::server ─► policy ─► spool ─► queue ─► egress ─► smtp::client ─► platform ─► next hop
//!                                                   ▲                                │
//!                                                   └──── outcome (events, DSN) ◄────┘
//! ```
//!
//! A house of floors; a file imports its own folder and lower floors, never sideways, never up
//! (`tests/tidy.rs` holds us to it). Floors 0 to 5 need no kernel and no runtime: build them with
//! `--no-default-features --lib`.
//!
//! The promise: `250` after the content means that the message is on stable storage. From then on
//! it is delivered, bounced with a DSN, or still queued.

#![cfg_attr(
    test,
    allow(
        clippy::cast_possible_truncation,
        clippy::wildcard_enum_match_arm,
        clippy::type_complexity,
        reason = "tests cut and match freely"
    )
)]

// Floor 0: limits, ids, time, small containers.
pub mod base;

// Floor 1: the nouns that everyone shares.
pub mod mail;

// Floor 2: bytes ⇄ meaning, without I/O.
pub mod dns;
pub mod milter;
pub mod smtp;
pub mod spool;
pub mod tls;

// Floor 3: decisions, pure.
pub mod egress;
pub mod outcome;
pub mod policy;
pub mod queue;

// Floor 4: knobs → typed options.
pub mod config;

// Floor 5: one core's relay; composes everything, generic over `Platform`.
pub mod shard;

// Floor 6: the only code that touches the kernel; and beside it, the control thread.
#[cfg(feature = "runtime")]
pub mod control;
#[cfg(feature = "runtime")]
pub mod platform;
