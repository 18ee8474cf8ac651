//! Power cuts on a real file system: nothing that was acknowledged is lost at any of them.
//!
//! The real relay runs under load on a file system on a block device that records every write and
//! flush. Afterwards the device is made anew as a power cut at some point would have left it, the
//! file system mounted, the spool read, the relay started: the messages that were acknowledged
//! before the cut must be there, octet by octet, and nothing that is not whole. The same audit of a
//! relay that acknowledges before the sync must fail.
//!
//! `tests/powercut/run` runs it by hand, with more cuts and other file systems.

#![allow(
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    clippy::type_complexity,
    reason = "tests cut, match and unwrap freely"
)]
#![cfg(feature = "runtime")]

#[allow(dead_code, reason = "shared; each test file uses a part")]
#[path = "relay/node.rs"]
mod node;
#[allow(dead_code, reason = "shared; each test file uses a part")]
#[path = "peers/process.rs"]
mod process;
#[path = "support/tool.rs"]
mod tool;

#[path = "powercut/audit.rs"]
mod audit;
#[path = "powercut/campaign.rs"]
mod campaign;
#[path = "powercut/cut.rs"]
mod cut;
#[path = "powercut/facts.rs"]
mod facts;
#[path = "powercut/fuse.rs"]
mod fuse;
#[path = "powercut/place.rs"]
mod place;
#[path = "powercut/recorder.rs"]
mod recorder;
#[path = "powercut/spool.rs"]
mod spool;
#[path = "powercut/taker.rs"]
mod taker;
#[path = "powercut/tape.rs"]
mod tape;
#[path = "support/unsafe_relay.rs"]
mod unsafe_relay;

use std::path::{Path, PathBuf};

use audit::{Plan, audit};

/// Cuts that a test of the relay as it is makes, where `POWERCUT_STATES` says nothing.
const STATES: usize = 50;
/// One cut in so many is followed by a start of the relay; all are read by the library.
const RESTART_EVERY: usize = 4;
/// After one cut in so many the power is cut again, four times, in the recovery from it.
const AGAIN_EVERY: usize = 20;
/// Cuts of the relay that acknowledges too early.
const STATES_OF_UNSAFE: usize = 24;

fn unsafe_binary() -> PathBuf {
    unsafe_relay::built(Path::new(node::BINARY), Path::new(env!("CARGO_MANIFEST_DIR")))
}

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

#[test]
fn at_every_cut_what_was_acknowledged_is_there_and_nothing_is_half_there() {
    place::alone("at_every_cut_what_was_acknowledged_is_there_and_nothing_is_half_there", || {
        let plan = Plan {
            binary: Path::new(node::BINARY),
            states: number("POWERCUT_STATES", STATES),
            restart_every: number("POWERCUT_RESTART_EVERY", RESTART_EVERY),
            again_every: number("POWERCUT_AGAIN_EVERY", AGAIN_EVERY),
            seed: number("POWERCUT_SEED", 1) as u64,
        };
        let sum = audit(&plan);
        let more = sum.complaints();
        assert!(more.is_empty(), "{} complaints:\n{}", more.len(), more.join("\n"));
        assert!(sum.acknowledged > 0 && sum.restarted > 0 && sum.again > 0, "it audited nothing");
    });
}

#[test]
fn a_relay_that_acknowledges_before_the_sync_is_found_out() {
    place::alone("a_relay_that_acknowledges_before_the_sync_is_found_out", || {
        let binary = unsafe_binary();
        let plan = Plan {
            binary: &binary,
            states: number("POWERCUT_STATES_OF_UNSAFE", STATES_OF_UNSAFE),
            restart_every: 2,
            again_every: 2 * STATES_OF_UNSAFE,
            seed: number("POWERCUT_SEED", 1) as u64,
        };
        let sum = audit(&plan);
        assert!(sum.lost_states > 0, "nobody noticed that mail was lost");
        assert!(sum.lost_states_restarted > 0, "nobody noticed after a start of the relay");
        let rest: Vec<String> = sum.garbage.iter().chain(&sum.broken).cloned().collect();
        assert!(rest.is_empty(), "it lost mail, but did worse too:\n{}", rest.join("\n"));
    });
}

#[test]
fn a_relay_that_loses_mail_does_not_start_unasked() {
    let _one_build = place::turn();
    let binary = unsafe_binary();
    let folder = tempfile::tempdir().unwrap();
    let output = std::process::Command::new(binary)
        .args(["--admin", "127.0.0.1:0", "--listen", "127.0.0.1:0", "--spool"])
        .arg(folder.path())
        .env_remove(unsafe_relay::PERMIT)
        .output()
        .unwrap();
    let said = node::refusal(&output);
    assert!(said.contains("a power cut loses mail that it acknowledged"), "{said}");
}
