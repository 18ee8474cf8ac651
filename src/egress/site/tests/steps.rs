//! One shard's site, step by step: proof, window, failover, suspension, call backs, lost jobs.

use super::*;
use crate::base::limits::{SITE_READY_MAX, SITE_READY_OF_SENDER};

/// Tell every opening connection that nobody answers, until the site tries no more.
fn refuse_all(world: &mut World) {
    while !world.shards[0].opening().is_empty() {
        world.refuse(0);
    }
}

fn deferred(world: &World) -> Vec<u32> {
    let deferred = |how: &&Back| matches!(how, Back::Deferred(_));
    let back = world.shards[0].back.iter();
    back.filter(|(_, how)| deferred(how)).map(|(job, _)| *job).collect()
}

fn given_back(world: &World) -> usize {
    let given_back = |how: &&Back| matches!(how, Back::Unattempted(Why::Suspended { .. }, _));
    world.shards[0].back.values().filter(given_back).count()
}

#[test]
fn an_unproven_site_is_tried_by_one_connection_however_much_waits() {
    let mut world = World::plain();
    world.push_many(0, 200);
    assert_eq!(world.shards[0].opening().len(), 1);
    assert_eq!(world.shards[0].site.why(), Some(Why::Unproven));
    world.pass(Duration::from_secs(60));
    assert_eq!(world.shards[0].tried.len(), 1);
    world.ready(0);
    assert_eq!(world.shards[0].busy().len(), 1, "and carries the first job at once");
    world.end();
}

#[test]
fn the_window_grows_by_one_with_each_message_taken_up_to_the_limit() {
    let mut world = World::new(1, SiteLimits { connections: 5, ..FREE }, &[(1, 10)]);
    world.push_many(0, 100);
    world.ready(0);
    for connections in 1..=5 {
        assert_eq!(world.shards[0].connections.len(), connections);
        let why = world.shards[0].site.why().expect("a hundred wait");
        match connections {
            5 => assert_eq!(why, Why::Connections(5)),
            less => assert_eq!(why, Why::Window(u32::try_from(less).expect("few"))),
        }
        world.done(0);
        if !world.shards[0].opening().is_empty() {
            world.ready(0);
        }
    }
    world.end();
}

#[test]
fn nothing_is_opened_that_no_job_waits_for() {
    let mut world = World::proven(FREE, &[(1, 10)]);
    (0..10).for_each(|_| {
        world.push_many(0, 1);
        world.done(0);
    });
    assert_eq!((world.shards[0].tried.len(), world.shards[0].idle().len()), (1, 1));
}

#[test]
fn a_message_more_than_a_connection_may_carry_goes_over_another() {
    let limits = SiteLimits { messages_per_connection: 3, connections: 1, ..FREE };
    let mut world = World::new(1, limits, &[(1, 10)]);
    world.push_many(0, 7);
    world.finish();
    assert_eq!(world.shards[0].tried.len(), 3);
    assert_eq!(world.shards[0].assigned, [1, 2, 3, 4, 5, 6, 7]);
    world.end();
}

#[test]
fn idle_connections_go_after_a_while_and_then_the_site_is_idle() {
    let mut world = World::proven(FREE, &[(1, 10)]);
    assert!(!world.shards[0].site.is_idle());
    world.pass(IDLE_CONNECTION_MAX - Duration::from_millis(1));
    assert_eq!(world.shards[0].idle().len(), 1);
    world.pass(Duration::from_millis(1));
    assert!(world.shards[0].site.is_idle() && world.shards[0].site.next_due().is_none());
}

//= RFC 5321 §5.1, type=test
//# the SMTP client MUST be able to try (and retry) each of the relevant addresses in this list in
//# order, until a delivery attempt succeeds.
#[test]
fn a_dead_host_does_not_hold_up_the_one_that_lives() {
    let mut world = World::new(1, FREE, &[(1, 10), (2, 20)]);
    world.push_many(0, 50);
    world.refuse(0);
    assert_eq!(world.shards[0].tried, [address(1), address(2)], "the other one at once");
    world.ready(0);
    world.answer_all();
    let row = &world.shards[0];
    assert!(row.back.values().all(|how| *how == Back::Done), "no attempt is counted");
    assert!(row.tried[1..].iter().all(|tried| *tried == address(2)), "{:?}", row.tried);
    world.end();
}

#[test]
fn a_dead_host_is_tried_again_by_one_connection_while_others_go_past_it() {
    let mut world = World::new(1, FREE, &[(1, 10), (2, 20)]);
    world.push_many(0, 1);
    world.refuse(0);
    world.ready(0);
    world.done(0);
    world.pass(ENDPOINT_DEAD_FIRST);
    world.shards[0].tried.clear();
    world.push_many(0, 50);
    for _ in 0..40 {
        // Those to the other host work; the trial hangs.
        let row = &world.shards[0];
        let works = |id: &&PooledId| row.connections[*id].address == address(2);
        if let Some(connection) = row.opening().iter().find(works) {
            world.ready_at(0, *connection);
        }
        if !world.shards[0].busy().is_empty() {
            world.done(0);
        }
    }
    let row = &world.shards[0];
    let trials = row.tried.iter().filter(|tried| **tried == address(1)).count();
    assert_eq!((trials, row.opening().len()), (1, 1), "{:?}", row.tried);
    assert!(row.back.len() > 20, "the others go past it");
    world.end();
}

#[test]
fn failing_at_the_same_moment_is_failing_once() {
    let mut world = World::proven(FREE, &[(1, 10), (2, 20)]);
    world.push_many(0, 100);
    (0..8).for_each(|_| {
        world.done(0);
        while !world.shards[0].opening().is_empty() {
            world.ready(0);
        }
    });
    for connection in world.shards[0].busy() {
        world.failed_at(0, connection, Blame::Endpoint);
    }
    world.answer_all();
    world.pass(ENDPOINT_DEAD_FIRST);
    world.shards[0].tried.clear();
    world.push_many(0, 1);
    assert_eq!(world.shards[0].tried, [address(1)], "its time is over: it is tried first again");
    world.end();
}

#[test]
fn where_every_host_fails_one_job_is_deferred_and_the_others_go_back_uncounted() {
    let mut world = World::new(1, FREE, &[(1, 10), (2, 10), (3, 20)]);
    world.push_many(0, 100);
    refuse_all(&mut world);
    assert_eq!(world.shards[0].tried.len(), 3);
    assert_eq!((deferred(&world), given_back(&world)), (vec![1], 99));
    let Some(Why::Suspended { failures: 1, cause: Some(last) }) = world.shards[0].site.why() else {
        panic!("{:?}", world.shards[0].site.why());
    };
    assert_eq!(*last, cause("no"), "what the last one answered");
    world.end();
}

#[test]
fn a_host_that_speaks_for_its_site_is_believed() {
    let mut world = World::new(1, FREE, &[(1, 10), (2, 10)]);
    world.push_many(0, 10);
    world.ready(0);
    let busy = world.shards[0].busy()[0];
    world.failed_at(0, busy, Blame::Site);
    assert_eq!(world.shards[0].tried.len(), 1, "no other host is asked");
    assert_eq!((deferred(&world), given_back(&world)), (vec![1], 9));
    world.end();
}

#[test]
fn each_suspension_is_longer_and_one_that_works_ends_them() {
    let mut world = World::plain();
    let mut expected = SITE_SUSPENSION_FIRST;
    for failures in 1..10 {
        world.push_many(0, 3);
        world.refuse(0);
        let until = world.shards[0].site.suspended_until().expect("it failed");
        let share = until.since(world.now).as_secs_f64() / expected.as_secs_f64();
        assert!((0.9..=1.1).contains(&share), "{share} of {expected:?}");
        let busy = world.push(0, origin(0, 0), false).expect_err("suspended");
        assert_eq!(busy.until, until);
        assert!(matches!(busy.why, Why::Suspended { failures: n, .. } if n == failures));
        world.pass(until.since(world.now));
        expected = (expected * 2).min(SITE_SUSPENSION_MAX);
    }
    assert_eq!(deferred(&world).len(), 9, "one attempt for each that was made");
    world.push_many(0, 1);
    world.ready(0);
    assert_eq!(world.shards[0].site.suspended_until(), None);
    let busy = world.shards[0].busy()[0];
    world.failed_at(0, busy, Blame::Site);
    let until = world.shards[0].site.suspended_until().expect("it failed");
    assert!(until.since(world.now) < SITE_SUSPENSION_FIRST * 2, "it begins anew");
    world.end();
}

#[test]
fn a_probe_is_taken_whatever_is_suspended_or_full() {
    let mut world = World::plain();
    world.push_many(0, 1);
    world.refuse(0);
    world.push(0, origin(0, 0), true).expect("a probe");
    assert_eq!(world.shards[0].opening().len(), 1);
    (1..SITE_READY_MAX).for_each(|_| world.push_many(0, 1));
    world.push(0, origin(0, 0), false).expect_err("full");
    world.push(0, origin(0, 0), true).expect("a probe");
    world.end();
}

#[test]
fn after_a_suspension_each_home_that_was_refused_is_called_once() {
    let mut world = World::plain();
    world.push_many(0, 1);
    world.refuse(0);
    for domain in (0..40).chain(0..40) {
        let refused = world.push(0, origin(domain as u8 % 3, domain), false);
        refused.expect_err("suspended");
    }
    assert_eq!(world.shards[0].calls, []);
    world.pass(Duration::from_secs(2));
    let mut called: Vec<u64> = world.shards[0].calls.iter().map(|(to, _)| to.domain).collect();
    called.sort_unstable();
    assert_eq!(called, (0..40).collect::<Vec<u64>>());
}

#[test]
fn a_full_site_calls_back_when_half_of_its_line_has_gone() {
    let mut world = World::plain();
    world.push_many(0, SITE_READY_MAX);
    let busy = world.push(0, origin(0, 7), false).expect_err("full");
    assert_eq!((busy.why, busy.until), (Why::Full(SITE_READY_MAX), world.now + BUSY_PAUSE));
    world.ready(0);
    while world.shards[0].site.waiting() > SITE_READY_MAX / 2 {
        assert_eq!(world.shards[0].calls, []);
        world.done(0);
        while !world.shards[0].opening().is_empty() {
            world.ready(0);
        }
    }
    assert_eq!(world.shards[0].calls.iter().map(|(to, _)| *to).collect::<Vec<_>>(), [origin(0, 7)]);
    world.end();
}

#[test]
fn a_full_site_takes_some_of_whoever_has_little_there() {
    let mut world = World::plain();
    world.push_many(0, SITE_READY_MAX);
    world.push(0, origin(0, 1), false).expect_err("its home has all of it");
    let mut taken = 0;
    for home in 1..=u8::MAX {
        let of_home = (0..2 * SITE_READY_OF_SENDER)
            .take_while(|_| world.push(0, origin(home, 0), false).is_ok());
        let of_home = of_home.count();
        assert!(of_home <= SITE_READY_OF_SENDER, "{of_home}");
        taken += of_home;
    }
    assert_eq!(taken, SITE_READY_MAX);
    world.end();
}

#[test]
fn a_job_that_loses_its_connection_is_tried_once_more_before_all_others() {
    let mut world = World::proven(SiteLimits { connections: 1, ..FREE }, &[(1, 10)]);
    let idle = world.shards[0].idle()[0];
    world.closed_at(0, idle);
    world.push_many(0, 5);
    world.ready(0);
    let busy = world.shards[0].busy()[0];
    world.failed_at(0, busy, Blame::Connection);
    world.ready(0);
    assert_eq!(world.shards[0].assigned, [1, 2, 2]);
    let busy = world.shards[0].busy()[0];
    world.failed_at(0, busy, Blame::Connection);
    assert_eq!(deferred(&world), [2], "twice is an attempt");
    assert_eq!(world.shards[0].site.suspended_until(), None, "and says nothing of the site");
    world.end();
}

#[test]
fn a_connection_that_carried_mail_and_breaks_as_it_is_used_again_is_not_the_jobs_fault() {
    let mut world = World::proven(SiteLimits { connections: 1, ..FREE }, &[(1, 10)]);
    world.push_many(0, 1);
    // Its first is the second message of a connection; the next one is its own.
    for _ in 0..2 {
        let busy = world.shards[0].busy()[0];
        world.failed_at(0, busy, Blame::Connection);
        world.ready(0);
    }
    assert_eq!(world.shards[0].assigned, [1, 2, 2, 2]);
    world.done(0);
    assert_eq!(world.shards[0].back[&2], Back::Done);
}

#[test]
fn a_job_whose_host_is_sick_is_tried_at_another_first() {
    let mut world = World::new(1, FREE, &[(1, 10), (2, 20)]);
    world.push_many(0, 1);
    world.ready(0);
    let busy = world.shards[0].busy()[0];
    world.failed_at(0, busy, Blame::Endpoint);
    world.ready(0);
    assert_eq!(world.shards[0].tried, [address(1), address(2)]);
    let busy = world.shards[0].busy()[0];
    world.failed_at(0, busy, Blame::Connection);
    world.ready(0);
    world.done(0);
    assert_eq!(world.shards[0].back[&1], Back::Done, "it had lost its connection once only");
}

#[test]
fn who_leaves_gives_back_what_waits_and_finishes_what_is_under_way() {
    let mut world = World::proven(SiteLimits { connections: 1, ..FREE }, &[(1, 10)]);
    world.push_many(0, 10);
    world.leave(0);
    let leaving = |how: &Back| matches!(how, Back::Unattempted(Why::Leaving, _));
    assert_eq!(world.shards[0].back.values().filter(|how| leaving(how)).count(), 9);
    let busy = world.push(0, origin(0, 0), true).expect_err("even a probe");
    assert_eq!(busy.why, Why::Leaving);
    world.done(0);
    assert!(world.shards[0].site.is_idle(), "its connection is closed");
}

#[test]
fn a_job_that_loses_its_connection_at_a_site_that_is_left_goes_back() {
    let mut world = World::proven(FREE, &[(1, 10)]);
    world.push_many(0, 1);
    world.leave(0);
    let busy = world.shards[0].busy()[0];
    world.failed_at(0, busy, Blame::Connection);
    assert!(matches!(world.shards[0].back[&2], Back::Unattempted(Why::Leaving, _)));
    assert!(world.shards[0].site.is_idle(), "no connection is opened any more");
}
