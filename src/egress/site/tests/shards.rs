//! Several shards at one site: limits that hold over all of them, turns, and nobody who starves.

use super::*;

/// A new rate is kept after the old one's pace is forgotten.
const HOURLY: Rate = Rate { messages: 1, per: Duration::from_secs(3_600) };

fn limited(connections: u32) -> SiteLimits {
    SiteLimits { connections, ..FREE }
}

/// Answer whatever is asked for `time`, in steps of a message's time.
fn run(world: &mut World, time: Duration, message: Duration) {
    run_with(world, time, message, true);
}

fn run_with(world: &mut World, time: Duration, message: Duration, keep: bool) {
    let end = world.now + time;
    while world.now < end {
        for shard in 0..world.shards.len() {
            while !world.shards[shard].opening().is_empty() {
                world.ready(shard);
            }
            for connection in world.shards[shard].busy() {
                world.done_at(shard, connection, keep);
            }
        }
        world.pass(message);
    }
}

/// Every shard has something to do all the time; each must send a fair part of all.
fn assert_nobody_starves(limits: SiteLimits, message: Duration, keep: bool) {
    let mut world = World::new(5, limits, &[(1, 10)]);
    for _ in 0..250 {
        for shard in 0..world.shards.len() {
            while world.shards[shard].site.waiting() < 20 {
                world.push_many(shard, 1);
            }
        }
        run_with(&mut world, message * 10, message, keep);
    }
    let sent: Vec<usize> = world.shards.iter().map(|row| row.assigned.len()).collect();
    let all: usize = sent.iter().sum();
    assert!(sent.iter().all(|one| one * 10 > all), "{limits:?}, {message:?}, {keep}: {sent:?}");
    world.end();
}

#[test]
fn homes_take_turns_in_the_line() {
    let mut world = World::new(1, limited(1), &[(1, 10)]);
    for (home, count) in [(0, 6), (1, 2), (2, 1)] {
        for _ in 0..count {
            world.push(0, origin(home, 0), false).expect("room");
        }
    }
    world.finish();
    assert_eq!(world.shards[0].assigned, [1, 7, 9, 2, 8, 3, 4, 5, 6]);
}

#[test]
fn the_limit_of_connections_is_used_and_kept_over_all_shards() {
    let mut world = World::new(4, limited(10), &[(1, 10)]);
    for shard in 0..4 {
        world.push_many(shard, 200);
    }
    run(&mut world, Duration::from_millis(400), Duration::from_millis(20));
    let held: Vec<usize> = world.shards.iter().map(|row| row.connections.len()).collect();
    assert_eq!(world.shared.connections(), 10, "{held:?}");
    assert!(held.iter().all(|held| (2..=4).contains(held)), "{held:?}");
    world.end();
}

#[test]
fn who_has_more_than_its_share_gives_a_connection_up_to_who_waits() {
    let mut world = World::new(2, limited(4), &[(1, 10)]);
    world.push_many(0, 250);
    run(&mut world, Duration::from_millis(40), Duration::from_millis(2));
    assert_eq!(world.shards[0].connections.len(), 4);
    world.push_many(1, 100);
    run(&mut world, Duration::from_millis(200), Duration::from_millis(20));
    let held: Vec<usize> = world.shards.iter().map(|row| row.connections.len()).collect();
    assert_eq!(held, [2, 2]);
    world.end();
}

#[test]
fn with_more_shards_than_connections_each_has_its_turn() {
    for connections in 1..=3 {
        for message in [1, 7] {
            assert_nobody_starves(limited(connections), Duration::from_millis(message), true);
        }
    }
}

#[test]
fn turns_do_not_hang_on_connections_that_last() {
    let short = SiteLimits { messages_per_connection: 3, ..limited(1) };
    assert_nobody_starves(short, Duration::from_millis(5), true);
    assert_nobody_starves(limited(1), Duration::from_millis(5), false);
}

#[test]
fn a_connection_that_lies_idle_goes_to_the_shard_that_waits() {
    let mut world = World::new(2, limited(1), &[(1, 10)]);
    world.push_many(0, 1);
    world.answer_all();
    assert_eq!(world.shards[0].idle().len(), 1);
    world.push_many(1, 1);
    run(&mut world, Duration::from_millis(200), Duration::from_millis(20));
    assert_eq!(world.shards[1].assigned.len(), 1, "long before the idle one would have gone");
    world.end();
}

#[test]
fn who_cannot_use_a_connection_does_not_wait_for_one() {
    let mut world = World::new(2, limited(4), &[(1, 10)]);
    world.push_many(0, 250);
    run(&mut world, Duration::from_millis(40), Duration::from_millis(2));
    world.push_many(1, 1);
    assert!(world.shared.others_wait(ShardId(0)));
    // The other shard has no connection left to open, for this or any other site.
    world.shards[1].may_connect = false;
    world.pass(CONNECTION_LOOK_AGAIN);
    assert!(!world.shared.others_wait(ShardId(0)));
    run(&mut world, Duration::from_millis(40), Duration::from_millis(2));
    assert_eq!(world.shards[0].connections.len(), 4, "nobody gains by its giving one up");
    world.end();
}

#[test]
fn limits_that_were_lowered_hold_once_what_is_under_way_has_finished() {
    let mut world = World::new(3, limited(12), &[(1, 10)]);
    for shard in 0..3 {
        world.push_many(shard, 200);
    }
    run(&mut world, Duration::from_millis(200), Duration::from_millis(20));
    assert_eq!(world.shared.connections(), 12);
    world.set_limits(limited(4));
    for shard in 0..3 {
        for connection in world.shards[shard].busy() {
            world.done_at(shard, connection, true);
        }
    }
    assert!(world.shared.connections() <= 4, "{}", world.shared.connections());
    world.end();
}

#[test]
fn fewer_messages_a_connection_hold_for_the_connections_there_are() {
    let mut world = World::proven(FREE, &[(1, 10)]);
    world.push_many(0, 1);
    world.done(0);
    world.set_limits(SiteLimits { messages_per_connection: 2, ..FREE });
    world.push_many(0, 1);
    assert_eq!(world.shards[0].busy(), [], "it has carried two: another is opened");
    world.end();
}

#[test]
fn a_rate_is_kept_and_used_over_all_shards() {
    let rate = Rate { messages: 100, per: Duration::from_secs(1) };
    let mut world = World::new(3, SiteLimits { rate: Some(rate), ..limited(6) }, &[(1, 10)]);
    let began = world.now;
    for shard in 0..3 {
        world.push_many(shard, 200);
    }
    run(&mut world, Duration::from_secs(3), Duration::from_millis(5));
    let sent = world.messages.len();
    // Six messages in the first burst of 50 ms, then one each 10 ms: `World` checks that no span
    // has more. A shard may be late by the step in which this test plays.
    assert!((290..=306).contains(&sent), "{sent}");
    let alone = world.shards.iter().map(|row| row.assigned.len()).max();
    assert!(alone < Some(sent), "more than one took part");
    assert!(world.now.since(began) >= Duration::from_secs(3));
    world.end();
}

#[test]
fn why_says_that_the_rate_binds_and_next_due_when_it_does_not() {
    let rate = Rate { messages: 1, per: Duration::from_secs(10) };
    let mut world = World::proven(SiteLimits { rate: Some(rate), ..FREE }, &[(1, 10)]);
    let first = world.messages[0];
    world.push_many(0, 1);
    assert_eq!(world.shards[0].site.why(), Some(Why::Rate(rate)));
    assert_eq!(world.shards[0].site.next_due(), Some(first + rate.per));
    world.pass(rate.per);
    assert_eq!(world.shards[0].busy().len(), 1);
}

#[test]
fn a_rate_that_was_raised_holds_from_then_on() {
    let mut world = World::proven(SiteLimits { rate: Some(HOURLY), ..FREE }, &[(1, 10)]);
    let rate = Rate { messages: 10, per: Duration::from_secs(1) };
    world.set_limits(SiteLimits { rate: Some(rate), ..FREE });
    world.push_many(0, 10);
    run(&mut world, Duration::from_secs(2), Duration::from_millis(20));
    assert!(world.shards[0].inside.is_empty(), "not at the old pace, of one in an hour");
    world.end();
}

#[test]
fn a_site_that_is_dropped_gives_its_connections_back_and_waits_no_more() {
    let mut world = World::new(2, limited(3), &[(1, 10)]);
    world.push_many(0, 100);
    run(&mut world, Duration::from_millis(40), Duration::from_millis(2));
    world.push_many(1, 1);
    assert_eq!(world.shared.connections(), 3);
    assert!(world.shared.others_wait(ShardId(0)));
    let shared = world.shared.clone();
    drop(world);
    assert_eq!(shared.connections(), 0);
    assert!(!shared.others_wait(ShardId(0)) && !shared.others_wait(ShardId(1)));
}
