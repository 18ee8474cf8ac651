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

const OF_URLS: &str = "[[block_list]]\nzone = \"uri.example\"\nof = \"url\"\n";

fn world() -> World {
    world_with(LISTS)
}

/// One shard that takes mail for `corp.example` of strangers that are on none of these lists.
fn world_with(lists: &str) -> World {
    let text = config(STANDARD, &format!("{}{lists}", relay_domain("203.0.113.1")));
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

#[test]
fn the_end_of_content_waits_for_silent_lists_no_longer_than_the_bound() {
    let mut world = world_with(OF_URLS);
    world.zone.lossy = 1_000;
    world.submit(4, ("user", "corp.example"), 0);
    world.run_for(deadline() - SECOND);
    assert_eq!(world.acknowledged(), 0, "the end of content waits");
    world.run_for(2 * SECOND);
    assert_eq!((world.acknowledged(), world.delivered().len()), (4, 4));
    world.ledger.audit();
    world.audit_rest();
}

#[test]
fn messages_with_a_link_to_a_listed_domain_are_refused_and_others_are_taken() {
    let mut world = world_with(OF_URLS);
    world.zone.truncating = 300;
    let on = Owner::Host(vec!["127.0.0.2".parse().unwrap()]);
    world.zone.names.insert("shop3.example.uri.example".into(), on);
    world.submit(40, ("user", "corp.example"), 0);
    world.run_for(60 * SECOND);
    let delivered = world.delivered();
    assert_eq!(delivered.len(), 36, "{delivered:?}");
    assert!(delivered.iter().all(|number| number % 10 != 3), "{delivered:?}");
    // Two names of each shop, two questions more of the one that is on it.
    assert!(world.zone.asked <= 40, "{} questions", world.zone.asked);
    world.ledger.audit();
    world.audit_rest();
}

#[test]
fn a_drain_and_a_crash_amid_the_end_of_content_lose_nothing_that_was_acknowledged() {
    for crashes in [false, true] {
        let mut world = world_with(OF_URLS);
        world.zone.lossy = 1_000;
        world.submit(8, ("user", "corp.example"), 0);
        world.run_for(SECOND);
        if crashes {
            world.crash();
        } else {
            world.drain();
            while !world.reap() {
                world.run_for(100 * MS);
            }
            assert_eq!(world.acknowledged(), 4, "each of four sessions has its answer");
        }
        world.boot(1);
        world.zone.lossy = 0;
        world.run_for(600 * SECOND);
        assert!(world.delivered().len() >= 4, "{}", world.delivered().len());
        world.ledger.audit();
        world.audit_rest();
    }
}
