//! Whole shards on a virtual platform, by seed: nothing that was promised is broken by any storm.
//!
//! Clock, network, name servers, disk and mesh are virtual; time jumps from event to event. One
//! seed is one run: the same seed, the same run. `SEED=n cargo test --test simulation storm` runs
//! one again, `SEEDS=from..to` others than the usual ones.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    clippy::type_complexity,
    reason = "tests match and unwrap freely"
)]

#[path = "simulation/agenda.rs"]
mod agenda;
#[path = "simulation/callouts.rs"]
mod callouts;
#[path = "simulation/changes.rs"]
mod changes;
#[path = "simulation/client.rs"]
mod client;
#[path = "simulation/clock.rs"]
mod clock;
#[path = "support/disk.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod disk;
#[path = "simulation/from_memory.rs"]
mod from_memory;
#[path = "simulation/kernel.rs"]
mod kernel;
#[path = "simulation/ledger.rs"]
mod ledger;
#[path = "simulation/net.rs"]
mod net;
#[path = "simulation/node.rs"]
mod node;
#[path = "simulation/parties.rs"]
mod parties;
#[path = "simulation/peer.rs"]
mod peer;
#[path = "simulation/rest.rs"]
mod rest;
#[path = "simulation/returning.rs"]
mod returning;
#[path = "simulation/scenarios.rs"]
mod scenarios;
#[path = "simulation/screening.rs"]
mod screening;
#[path = "simulation/senders.rs"]
mod senders;
#[path = "simulation/shaping.rs"]
mod shaping;
#[path = "simulation/signing.rs"]
mod signing;
#[path = "simulation/store.rs"]
mod store;
#[path = "simulation/storm.rs"]
mod storm;
#[path = "simulation/suppression.rs"]
mod suppression;
#[path = "simulation/town.rs"]
mod town;
#[path = "simulation/verifying.rs"]
mod verifying;
#[path = "simulation/warm_up.rs"]
mod warm_up;
#[path = "simulation/world.rs"]
mod world;
#[path = "simulation/zone.rs"]
mod zone;

use std::panic::catch_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Seeds that run unless others are asked for.
const SEEDS: std::ops::Range<u64> = 0..240;

fn number(text: &str) -> u64 {
    text.trim().parse().unwrap_or_else(|_| panic!("{text:?} is no seed"))
}

/// The seeds to run: `SEED=7`, `SEEDS=1000..2000`, or the usual ones.
fn seeds() -> std::ops::Range<u64> {
    if let Ok(seed) = std::env::var("SEED") {
        return number(&seed)..number(&seed) + 1;
    }
    match std::env::var("SEEDS") {
        Ok(range) => {
            let (from, to) = range.split_once("..").expect("SEEDS=from..to");
            number(from)..number(to)
        }
        Err(_) => SEEDS,
    }
}

/// Run all seeds, as many at a time as there are CPUs; those that failed.
fn failing(seeds: std::ops::Range<u64>) -> Vec<u64> {
    let next = AtomicU64::new(seeds.start);
    let failed = Mutex::new(Vec::new());
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            if catch_unwind(|| storm::run(seed)).is_err() {
                eprintln!("seed {seed} failed: SEED={seed} cargo test --test simulation storm");
                failed.lock().unwrap().push(seed);
            }
        }
    };
    std::thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(work))));
    failed.into_inner().unwrap()
}

#[test]
fn no_storm_loses_mail_or_repeats_it() {
    assert_eq!(failing(seeds()), [0; 0], "each failing seed says above what it broke");
}

#[test]
fn a_seed_is_one_storm() {
    assert!(storm::run(1) == storm::run(1), "the same seed makes the same run");
}
