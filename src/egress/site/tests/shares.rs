//! Tenants and campaigns that may have a share of a site alone.

use super::*;
use crate::base::limits::{SHARE_PAUSE, SITE_READY_MAX};
use crate::base::share::Share;

const HALF: Option<Share> = Some(Share::Percent(50));

fn of(tenant: u64, name: u64, shares: [Option<Share>; 2]) -> Sender {
    Sender { name, tenant, shares, ..Sender::NOBODY }
}

fn push(world: &mut World, shard: usize, sender: Sender, count: usize) {
    for _ in 0..count {
        world.push_of(shard, (origin(0, 0), sender), false).expect("room");
    }
}

/// Every connection that is being opened is there, and every message taken, 10 ms later.
fn step(world: &mut World) {
    for shard in 0..world.shards.len() {
        let row = &world.shards[shard];
        let (opening, busy) = (row.opening(), row.busy());
        opening.iter().for_each(|id| world.ready_at(shard, *id));
        busy.iter().for_each(|id| world.done_at(shard, *id, true));
    }
    world.pass(Duration::from_millis(10));
}

fn limits(connections: u32) -> SiteLimits {
    SiteLimits { connections, ..FREE }
}

#[test]
fn a_tenant_has_its_share_and_others_the_rest() {
    let mut world = World::proven(limits(8), &[(1, 10)]);
    let (acme, other) = (of(1, 11, [HALF, None]), of(2, 21, [None; 2]));
    push(&mut world, 0, acme, 100);
    (0..12).for_each(|_| step(&mut world));
    assert_eq!(world.under_way(|one| one.tenant == 1), 4);
    assert_eq!(world.shards[0].connections.len(), 4, "no more are opened than are of use");
    let why = Why::Share { limit: 4, of_tenant: true };
    assert_eq!(world.shards[0].site.why_of(11), Some(&why));
    assert_eq!(world.shards[0].site.why(), Some(why));
    push(&mut world, 0, other, 100);
    (0..8).for_each(|_| step(&mut world));
    assert_eq!(world.under_way(|one| one.tenant == 1), 4);
    assert_eq!(world.under_way(|one| one.tenant == 2), 4);
    assert_eq!(world.shards[0].site.why_of(21), None);
    // Also where it is lowered by other limits, and where these are lifted.
    world.set_limits(limits(4));
    (0..3).for_each(|_| step(&mut world));
    assert_eq!(world.under_way(|one| one.tenant == 1), 2);
    world.end();
}

#[test]
fn a_campaigns_share_is_within_its_tenants() {
    let mut world = World::proven(limits(8), &[(1, 10)]);
    let one = Some(Share::Count(1));
    push(&mut world, 0, of(1, 11, [HALF, one]), 18);
    push(&mut world, 0, of(1, 12, [HALF, None]), 50);
    push(&mut world, 0, of(2, 22, [None, one]), 18);
    for _ in 0..14 {
        step(&mut world);
        assert!(world.under_way(|sender| sender.name == 11) <= 1);
    }
    assert_eq!(world.under_way(|sender| sender.tenant == 1), 4);
    let count = |name| world.under_way(|sender| sender.name == name);
    assert_eq!([count(11), count(12), count(22)], [1, 3, 1]);
    let why = Why::Share { limit: 1, of_tenant: false };
    assert_eq!(world.shards[0].site.why_of(22), Some(&why));
    world.end();
}

#[test]
fn a_share_holds_over_all_shards_and_each_has_some_of_it() {
    for share in [Share::Count(1), Share::Count(4)] {
        let mut world = World::new(3, limits(12), &[(1, 10)]);
        let acme = of(1, 11, [Some(share), None]);
        (0..3).for_each(|shard| push(&mut world, shard, acme, 100));
        (0..150).for_each(|_| step(&mut world));
        let done: Vec<usize> = world.shards.iter().map(|row| row.back.len()).collect();
        assert!(done.iter().all(|done| *done >= 20), "{share}: {done:?}");
        let most = 150 * share.of(12) as usize;
        let all: usize = done.iter().sum();
        assert!(all >= (most * 6 / 10).min(290), "{share}: {done:?} of {most}");
        world.end();
    }
}

#[test]
fn what_waits_for_its_share_holds_up_nobody() {
    let mut world = World::proven(limits(4), &[(1, 10)]);
    let acme = of(1, 11, [Some(Share::Count(1)), None]);
    push(&mut world, 0, acme, 18);
    (0..3).for_each(|_| step(&mut world));
    let busy = world.push_of(0, (origin(0, 0), acme), false).map(|_| ());
    let taken = world.push_of(0, (origin(1, 0), acme), false).is_ok();
    let until = world.now + SHARE_PAUSE;
    let why = Why::Share { limit: 1, of_tenant: true };
    if world.shards[0].back.len() < 2 {
        assert_eq!(busy, Err(Busy { why, until }));
    }
    assert!(taken, "another home has none here");
    let others = of(2, 21, [None; 2]);
    push(&mut world, 0, others, SITE_READY_MAX);
    let before = world.shards[0].back.len();
    (0..20).for_each(|_| step(&mut world));
    let went = world.shards[0].back.len() - before;
    assert!(went >= 70, "{went} went with four connections");
    world.end();
}

#[test]
fn a_job_that_loses_its_connection_keeps_its_seat_and_gives_it_up_with_its_end() {
    let mut world = World::proven(limits(4), &[(1, 10)]);
    let acme = of(1, 11, [Some(Share::Count(2)), None]);
    push(&mut world, 0, acme, 12);
    (0..3).for_each(|_| step(&mut world));
    for blame in [Blame::Connection, Blame::Connection, Blame::Endpoint, Blame::Site] {
        if let Some(connection) = world.shards[0].busy().first().copied() {
            world.failed_at(0, connection, blame);
        }
        assert!(world.under_way(|one| one.tenant == 1) <= 2);
        step(&mut world);
    }
    world.pass(SITE_SUSPENSION_MAX * 2);
    push(&mut world, 0, acme, 10);
    (0..3).for_each(|_| step(&mut world));
    assert!(world.under_way(|one| one.tenant == 1) > 0, "nothing holds its seats any more");
    world.end();
}
