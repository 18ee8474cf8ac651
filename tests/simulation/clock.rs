//! The wall clock is set, by hours and days, while the relay runs and while it does not.

use std::collections::BTreeSet;

use crate::agenda::SECOND;
use crate::peer::Reach;
use crate::scenarios::{relay_domain, world};
use crate::world::World;

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;
/// The second attempt a minute after the first, no wait longer than two.
const QUICK: &str = "retry_first = \"1m\"\nretry_longest = \"2m\"\nretry_jitter = 0";
const CORP: (&str, &str) = ("user", "corp.example");

/// A relay with 30 messages that were put off once, for a minute, 10 seconds ago. Their server
/// takes mail again from the 30th second on, or from `until` on.
fn put_off(until: u64) -> World {
    let mut world = world(QUICK, "");
    let host = world.add_host(1);
    world.add_domain("grey.example", &[(10, 1)]);
    world.hosts[host].greylists_for = until;
    world.boot(2);
    world.submit(30, ("user", "grey.example"), 0);
    world.run_until(10 * SECOND);
    assert_eq!((attempts(&mut world), world.delivered().len()), ([1].into(), 0));
    world
}

fn attempts(world: &mut World) -> BTreeSet<u32> {
    world.queue().iter().map(|message| message.recipients[0].attempts).collect()
}

/// All have been delivered at their second attempt, neither before its time nor after.
fn assert_tried_in_time(mut world: World) {
    world.run_until(55 * SECOND);
    assert_eq!((attempts(&mut world), world.delivered().len()), ([1].into(), 0), "too early");
    world.run_until(65 * SECOND);
    assert_eq!(world.delivered().len(), 30, "{}", world.rest());
    assert_eq!(world.ledger.notices, [], "nobody is told of anything");
    world.audit_rest();
}

#[test]
fn a_clock_set_back_or_ahead_moves_no_attempt() {
    for seconds in [-3 * HOUR, 3 * HOUR, -400 * DAY, 10 * DAY, 30_000 * DAY, -20_000 * DAY] {
        let mut world = put_off(30 * SECOND);
        world.set_clock(seconds);
        assert_tried_in_time(world);
    }
}

#[test]
fn a_step_that_is_undone_at_once_was_none() {
    let mut world = put_off(30 * SECOND);
    for seconds in [10 * DAY, -10 * DAY, -DAY, DAY] {
        world.set_clock(seconds);
        world.run_for(SECOND);
    }
    assert_tried_in_time(world);
}

#[test]
fn an_operator_sees_times_by_the_clock_as_it_is_set() {
    let mut world = put_off(30 * SECOND);
    let before = world.queue();
    world.set_clock(-3 * HOUR);
    world.run_for(SECOND);
    for (before, after) in before.iter().zip(world.queue()) {
        let (was, is) = (&before.recipients[0], &after.recipients[0]);
        let moved = is.next_attempt.unwrap().0 - was.next_attempt.unwrap().0;
        assert_eq!(moved, -3 * HOUR * 1_000);
        assert_eq!(after.expires.0 - before.expires.0, -3 * HOUR * 1_000);
    }
    assert_tried_in_time(world);
}

#[test]
fn after_a_restart_nothing_waits_for_a_clock_that_was_set_back() {
    for seconds in [-60, -3 * HOUR, -400 * DAY] {
        let mut world = put_off(30 * SECOND);
        world.crash();
        world.set_clock(seconds);
        world.boot(3);
        world.run_until((10 + 125) * SECOND);
        assert_eq!(world.delivered().len(), 30, "no later than the longest wait");
        assert_eq!(world.ledger.notices, []);
        world.audit_rest();
    }
}

#[test]
fn mail_that_seems_too_old_after_a_restart_is_tried_once_more() {
    for (until, delivered) in [(5 * SECOND, 30), (DAY.unsigned_abs() * SECOND, 0)] {
        let mut world = put_off(until.max(11 * SECOND));
        world.run_until(12 * SECOND);
        world.crash();
        world.set_clock(10 * DAY);
        world.boot(3);
        world.run_until(20 * SECOND);
        assert_eq!(world.delivered().len(), delivered, "{}", world.rest());
        let bounced = world.ledger.notices.iter().filter(|(_, _, one)| one.action == "failed");
        assert_eq!(bounced.count(), 30 - delivered);
        assert_eq!(world.queued(), 0);
        world.audit_rest();
    }
}

/// Mail for a server that cannot be reached at the moment is not given up for that moment.
#[test]
fn mail_that_seems_too_old_waits_an_hour_for_its_last_attempt() {
    let mut world = world(QUICK, &relay_domain("203.0.113.101"));
    let host = world.add_host(101);
    world.add_outage(host, 0, 1_800 * SECOND, Reach::Refuses);
    world.boot(2);
    world.submit(300, CORP, 0);
    world.run_until(10 * SECOND);
    world.crash();
    world.set_clock(10 * DAY);
    world.boot(2);
    world.run_until(1_790 * SECOND);
    let early = world.ledger.notices.len();
    // Those that an attempt was made with: one for each look at the server, by each shard.
    assert!(early < 150, "{early} of 300 bounced");
    world.run_until(1_790 * SECOND + 140 * SECOND);
    assert_eq!(world.delivered().len() + early, 300, "{}", world.rest());
    world.audit_rest();
}

#[test]
fn mail_flows_in_any_year() {
    for year in [1970, 2106, 2300] {
        let mut world = world(QUICK, "");
        let host = world.add_host(1);
        world.add_domain("grey.example", &[(10, 1)]);
        world.hosts[host].greylists_for = 30 * SECOND;
        let wall = world.agenda.clocks().wall.0 / 1_000;
        world.agenda.set_ahead = (year - 1970) * 365 * DAY + DAY - wall;
        world.boot(2);
        world.submit(30, ("user", "grey.example"), 0);
        world.run_until(10 * SECOND);
        world.crash();
        world.boot(1);
        world.run_until(20 * SECOND);
        assert_tried_in_time(world);
    }
}
