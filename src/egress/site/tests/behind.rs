//! A job that follows another on its connection, before the peer has answered.

use super::*;

/// One shard, proven, whose one connection carries job 1; a greeting took `greeting`.
fn one_is_carried(limits: SiteLimits, greeting: Duration) -> (World, PooledId) {
    let mut world = World::new(1, limits, &[(1, 10)]);
    world.push_many(0, 1);
    world.pass(greeting);
    world.ready(0);
    let connection = world.shards[0].busy()[0];
    (world, connection)
}

/// The same, once the peer has answered after `reply`, and job 2 is carried and sent.
fn the_next_is_sent(greeting: Duration, reply: Duration) -> (World, PooledId) {
    let (mut world, connection) = one_is_carried(FREE, greeting);
    world.sent_at(0, connection);
    world.pass(reply);
    world.done(0);
    world.push_many(0, 1);
    world.sent_at(0, connection);
    (world, connection)
}

const SHORT: Duration = Duration::from_millis(5);
const LONG: Duration = Duration::from_millis(50);

#[test]
fn at_the_limit_of_connections_one_job_follows_each_that_is_sent() {
    let (mut world, connection) =
        one_is_carried(SiteLimits { connections: 1, ..FREE }, Duration::ZERO);
    world.push_many(0, 3);
    assert_eq!(world.shards[0].assigned, [1], "it is not sent");
    world.sent_at(0, connection);
    assert_eq!(world.shards[0].assigned, [1, 2]);
    world.done(0);
    assert_eq!(world.shards[0].assigned, [1, 2], "the second is not sent");
    world.sent_at(0, connection);
    assert_eq!(world.shards[0].assigned, [1, 2, 3]);
    world.end();
}

#[test]
fn a_reply_is_waited_for_where_it_comes_sooner_than_a_greeting() {
    let (mut world, _) = the_next_is_sent(LONG, SHORT);
    world.push_many(0, 1);
    assert_eq!(world.shards[0].assigned, [1, 2, 3]);
    assert!(world.shards[0].opening().is_empty());
    world.push_many(0, 1);
    assert_eq!(world.shards[0].opening().len(), 1, "behind nobody is room");
    world.end();
}

#[test]
fn another_connection_is_opened_where_the_peer_answers_late() {
    let (mut world, _) = the_next_is_sent(SHORT, LONG);
    world.push_many(0, 1);
    assert_eq!(world.shards[0].assigned, [1, 2]);
    assert_eq!(world.shards[0].opening().len(), 1);
    world.end();
}

#[test]
fn what_followed_a_job_that_lost_its_connection_has_lost_nothing() {
    let limits = SiteLimits { connections: 1, ..FREE };
    let (mut world, first) = one_is_carried(limits, Duration::ZERO);
    world.push_many(0, 2);
    world.sent_at(0, first);
    assert_eq!(world.shards[0].carried(), [1, 2]);
    world.failed_at(0, first, Blame::Connection);
    world.ready(0);
    // Either may have been why: each goes alone.
    let second = world.shards[0].busy()[0];
    world.sent_at(0, second);
    assert_eq!(world.shards[0].carried(), [1]);
    world.failed_at(0, second, Blame::Connection);
    assert!(world.shards[0].back.contains_key(&1), "its second loss counts");
    world.ready(0);
    let third = world.shards[0].busy()[0];
    assert_eq!(world.shards[0].carried(), [2]);
    world.failed_at(0, third, Blame::Connection);
    assert!(!world.shards[0].back.contains_key(&2), "its first loss");
    world.ready(0);
    world.done(0);
    assert_eq!(world.shards[0].back[&2], Back::Done);
    world.end();
}

#[test]
fn when_nobody_failed_both_go_again_in_their_order() {
    let limits = SiteLimits { connections: 1, ..FREE };
    let (mut world, connection) = one_is_carried(limits, Duration::ZERO);
    world.push_many(0, 2);
    world.sent_at(0, connection);
    world.closed_at(0, connection);
    world.ready(0);
    world.done(0);
    world.done(0);
    assert_eq!(world.shards[0].assigned, [1, 2, 1, 2, 3]);
    world.end();
}

#[test]
fn nothing_follows_on_a_connection_that_is_spent() {
    let limits = SiteLimits { connections: 1, messages_per_connection: 2, ..FREE };
    let (mut world, connection) = one_is_carried(limits, Duration::ZERO);
    world.push_many(0, 2);
    world.sent_at(0, connection);
    world.done(0);
    world.sent_at(0, connection);
    assert_eq!(world.shards[0].assigned, [1, 2], "it carried its two");
    world.done(0);
    assert!(!world.shards[0].connections.contains_key(&connection), "it is closed");
    world.end();
}

#[test]
fn a_rate_holds_for_those_that_follow() {
    let rate = Rate { messages: 1, per: Duration::from_secs(60) };
    let limits = SiteLimits { connections: 1, rate: Some(rate), ..FREE };
    let (mut world, connection) = one_is_carried(limits, Duration::ZERO);
    world.push_many(0, 1);
    world.sent_at(0, connection);
    assert_eq!(world.shards[0].assigned, [1]);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.shards[0].assigned, [1, 2]);
    world.end();
}
