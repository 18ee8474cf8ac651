//! A node that verifies what strangers send, and name servers that do not answer.

use relay_fast::base::limits::VERIFY_DEADLINE;

use crate::agenda::{MS, SECOND};
use crate::node::settings;
use crate::scenarios::{STANDARD, relay_domain};
use crate::town::config;
use crate::world::World;

/// One shard that verifies mail for `corp.example`, which goes to an upstream at its address.
fn world(more: &str) -> World {
    let text = config(STANDARD, &relay_domain("203.0.113.1"));
    // The clients here are strangers.
    let text = text.replace("198.51.100.0/24", "198.18.0.0/15");
    let listener = "[[listener]]\n";
    let text = text.replace(listener, &format!("{listener}verify = \"tag\"\n{more}"));
    let mut world = World::new(7, settings(&text));
    world.ledger.lifetime = 5 * 24 * 3_600 * SECOND;
    world.add_host(1);
    world.boot(1);
    world.run_for(SECOND);
    world
}

/// RFC 7601 §2.7: a temporary error is no reason to refuse anything, and DNS none to wait for ever.
#[test]
fn a_session_waits_for_silent_name_servers_no_longer_than_the_bound() {
    for durability in ["", "durability = \"memory\"\n"] {
        let mut world = world(durability);
        world.ledger.answers_from_memory = !durability.is_empty();
        world.zone.lossy = 1_000;
        world.ledger.results = Some("spf=temperror ");
        world.submit(12, ("user", "corp.example"), 0);
        world.run_for(SECOND);
        assert_eq!(world.acknowledged(), 0, "it has asked, and waits");
        // Four sessions have three messages each, one after the other.
        let bound = u64::try_from(VERIFY_DEADLINE.as_nanos()).unwrap();
        world.run_for(3 * bound + SECOND);
        assert_eq!((world.acknowledged(), world.delivered().len()), (12, 12));
        world.ledger.audit();
        world.audit_rest();
    }
}

#[test]
fn what_name_servers_say_is_said_in_the_message() {
    let mut world = world("");
    world.ledger.results = Some("spf=none ");
    world.zone.truncating = 300;
    world.submit(40, ("user", "corp.example"), 0);
    world.run_for(60 * SECOND);
    assert_eq!(world.delivered().len(), 40);
    assert!(world.zone.asked < 30, "answers are kept: {}", world.zone.asked);
    world.ledger.audit();
    world.audit_rest();
}

#[test]
fn a_drain_waits_for_what_is_being_verified() {
    let mut world = world("");
    world.zone.lossy = 1_000;
    world.ledger.results = Some("spf=temperror ");
    world.submit(4, ("user", "corp.example"), 0);
    world.run_for(SECOND);
    world.drain();
    let mut waited = 0;
    while !world.reap() {
        world.run_for(100 * MS);
        waited += 1;
    }
    assert!((50..200).contains(&waited), "{waited} tenths of a second");
    world.boot(2);
    world.run_for(60 * SECOND);
    assert_eq!((world.acknowledged(), world.delivered().len()), (4, 4));
    world.ledger.audit();
    world.audit_rest();
}

#[test]
fn a_crash_amid_verification_loses_nothing_that_was_acknowledged() {
    let mut world = world("");
    world.zone.lossy = 1_000;
    world.ledger.results = Some("spf=temperror ");
    world.submit(8, ("user", "corp.example"), 0);
    world.run_for(12 * SECOND);
    let acknowledged = world.acknowledged();
    assert!(acknowledged > 0 && acknowledged < 8, "{acknowledged}");
    world.crash();
    world.boot(1);
    world.run_for(600 * SECOND);
    world.ledger.audit();
    world.audit_rest();
}
