//! A node that asks block lists about strangers, and name servers that answer late or not at all.

use relay_fast::base::limits::BLOCK_DEADLINE;

use crate::agenda::{MS, SECOND};
use crate::node::settings;
use crate::scenarios::{STANDARD, relay_domain};
use crate::town::{BACK, config};
use crate::world::World;
use crate::zone::Owner;

const LISTS: &str = "[[block_list]]\nzone = \"bl.example\"\n\
    [[block_list]]\nzone = \"rhs.example\"\nof = \"sender\"\n";

/// One shard that takes mail for `corp.example` of strangers that are on no list.
fn world() -> World {
    let text = config(STANDARD, &format!("{}{LISTS}", relay_domain("203.0.113.1")));
    // The clients here are strangers.
    let text = text.replace("198.51.100.0/24", "198.18.0.0/15");
    let mut world = World::new(7, settings(&text));
    world.ledger.lifetime = 5 * 24 * 3_600 * SECOND;
    world.add_host(1);
    world.boot(1);
    world.run_for(SECOND);
    world
}

fn deadline() -> u64 {
    u64::try_from(BLOCK_DEADLINE.as_nanos()).unwrap()
}

#[test]
fn recipients_wait_for_silent_lists_no_longer_than_the_bound_and_once_a_session() {
    let mut world = world();
    world.zone.lossy = 1_000;
    world.submit(12, ("user", "corp.example"), 0);
    world.run_for(deadline() - SECOND);
    assert_eq!(world.acknowledged(), 0, "RCPT waits");
    world.run_for(2 * SECOND);
    assert_eq!((world.acknowledged(), world.delivered().len()), (12, 12));
    world.ledger.audit();
    world.audit_rest();
}

#[test]
fn nobody_waits_for_lists_that_fail_again_and_again() {
    let mut world = world();
    world.zone.lossy = 1_000;
    for number in 0..11 {
        world.submit(1, ("user", "corp.example"), 0);
        world.run_for(SECOND);
        let waits = world.acknowledged() == number;
        // Eight have failed; a minute later it is tried again.
        assert_eq!(waits, number < 8 || number == 10, "message {number}");
        world.run_for(30 * SECOND - SECOND);
        assert_eq!(world.acknowledged(), number + 1);
    }
    world.ledger.audit();
}

#[test]
fn answers_are_asked_for_once_for_all_sessions() {
    let mut world = world();
    world.zone.truncating = 300;
    world.submit(40, ("user", "corp.example"), 0);
    world.run_for(60 * SECOND);
    assert_eq!(world.delivered().len(), 40);
    assert!(world.zone.asked <= 12, "{} questions", world.zone.asked);
    world.ledger.audit();
    world.audit_rest();
}

#[test]
fn who_is_on_a_list_gets_nothing_through() {
    let mut world = world();
    let on = || Owner::Host(vec!["127.0.0.2".parse().unwrap()]);
    world.zone.names.insert(format!("{BACK}.rhs.example"), on());
    world.submit(8, ("user", "corp.example"), 0);
    world.run_for(60 * SECOND);
    assert_eq!((world.acknowledged(), world.delivered().len()), (0, 0));
    // The list has everything on it now: that is known once its answers have expired.
    world.zone.names.insert("invalid.rhs.example".into(), on());
    world.run_for(600 * SECOND);
    world.submit(8, ("user", "corp.example"), 0);
    world.run_for(60 * SECOND);
    assert!(world.delivered().len() >= 8, "{}", world.delivered().len());
    world.ledger.audit();
}

#[test]
fn a_drain_waits_for_recipients_that_wait() {
    let mut world = world();
    world.zone.lossy = 1_000;
    world.submit(4, ("user", "corp.example"), 0);
    world.run_for(SECOND);
    world.drain();
    let mut waited = 0;
    while !world.reap() {
        world.run_for(100 * MS);
        waited += 1;
    }
    assert!((20..60).contains(&waited), "{waited} tenths of a second");
    assert_eq!(world.acknowledged(), 0, "421 comes behind the answer to RCPT");
    world.ledger.audit();
}

#[test]
fn a_crash_amid_questions_loses_nothing_that_was_acknowledged() {
    let mut world = world();
    world.zone.lossy = 300;
    world.submit(40, ("user", "corp.example"), 50 * MS);
    world.run_for(2 * SECOND);
    world.crash();
    world.boot(1);
    world.run_for(600 * SECOND);
    // What each of four sessions was at when it broke is not sent again.
    assert!(world.delivered().len() >= 36, "{}", world.delivered().len());
    world.ledger.audit();
    world.audit_rest();
}
