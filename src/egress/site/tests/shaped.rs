//! Sites whose sources have limits of their own.

use super::*;
use crate::base::limits::SLOW_DOWN_PAUSE;
use crate::egress::shaping::Shape;
use crate::egress::shaping::outlets::{AllOutlets, Outlet, Override};
use crate::mail::route::PoolId;

const SECOND: Duration = Duration::from_secs(1);

fn per_second(messages: u32) -> Rate {
    Rate { messages, per: SECOND }
}

/// Shards that share a site, each of whose sources has this shape.
pub(super) struct Shapes {
    pub(super) world: World,
    pub(super) all: Arc<AllOutlets>,
    name: &'static str,
    pool: PoolId,
}

impl Shapes {
    fn new(shards: u8, sources: &[(&str, &Shape)]) -> Self {
        Self::of_pool(PoolId::DEFAULT, shards, sources, &Arc::default())
    }

    fn of_pool(
        pool: PoolId,
        shards: u8,
        sources: &[(&str, &Shape)],
        all: &Arc<AllOutlets>,
    ) -> Self {
        Self::of_site("mx1.example", pool, shards, sources, all)
    }

    pub(super) fn of_site(
        name: &'static str,
        pool: PoolId,
        shards: u8,
        sources: &[(&str, &Shape)],
        all: &Arc<AllOutlets>,
    ) -> Self {
        let world = World::new(shards, FREE, &[(1, 10)]);
        let mut shapes = Self { world, all: all.clone(), name, pool };
        shapes.shape(sources);
        shapes
    }

    fn shaped(&self, sources: &[(&str, &Shape)]) -> Shaped {
        let site = self.all.site(self.name, self.world.now);
        let (all, now) = (&self.all.together, self.world.now);
        let outlet = |(source, shape): &(&str, &Shape)| OutletHere {
            outlet: site.outlet(source),
            address: source.parse().ok(),
            weight: 1,
            shape: (*shape).clone(),
            scope: [].into(),
            member: shape.of_provider.as_ref().map(|of| Arc::new(all.join(of, source, now))),
            ration: None,
        };
        let outlets = sources.iter().map(outlet).collect();
        Shaped::new(site.clone(), Arc::default(), None, outlets, (self.pool, 0))
    }

    pub(super) fn shape(&mut self, sources: &[(&str, &Shape)]) {
        for shard in 0..self.world.shards.len() {
            let shaped = self.shaped(sources);
            self.world.shards[shard].site.shape(Some(shaped));
            self.world.settle(shard);
        }
    }

    fn outlet(&self, source: &str) -> Arc<Outlet> {
        self.all.site(self.name, self.world.now).outlet(source)
    }

    /// Open all connections that come, and finish jobs, until nothing moves.
    fn run(&mut self, shard: usize) {
        for _ in 0..ACTIONS_MAX {
            let row = &self.world.shards[shard];
            match (row.opening().first(), row.busy().first()) {
                (Some(id), _) => self.world.ready_at(shard, *id),
                (None, Some(id)) => self.world.done_at(shard, *id, true),
                (None, None) => return,
            }
        }
        panic!("it does not end");
    }

    /// How many connections are from each source.
    fn open(&self, shard: usize) -> Vec<(usize, usize)> {
        let mut count = BTreeMap::new();
        for connection in self.world.shards[shard].connections.values() {
            *count.entry(connection.source.expect("a shaped site says it")).or_default() += 1;
        }
        count.into_iter().collect()
    }
}

#[test]
fn each_source_has_its_own_limit_of_connections_and_messages() {
    let two = Shape::new(2, 3, None);
    let three = Shape { connections: 3, ..two.clone() };
    let mut shapes = Shapes::new(1, &[("192.0.2.8", &two), ("192.0.2.9", &three)]);
    shapes.world.push_many(0, 1);
    shapes.run(0);
    shapes.world.push_many(0, 40);
    for _ in 0..4 {
        let opening = shapes.world.shards[0].opening();
        opening.iter().for_each(|id| shapes.world.ready_at(0, *id));
        let busy = shapes.world.shards[0].busy();
        busy.iter().for_each(|id| shapes.world.done_at(0, *id, true));
        assert!(shapes.outlet("192.0.2.8").connections() <= 2);
        assert!(shapes.outlet("192.0.2.9").connections() <= 3);
    }
    assert_eq!(shapes.open(0), [(0, 2), (1, 3)]);
    shapes.run(0);
    assert!(shapes.world.shards[0].connections.values().all(|one| one.carried <= 3));
    assert_eq!(shapes.world.shards[0].back.len(), 41);
}

#[test]
fn pools_that_share_a_source_take_turns() {
    let one = Shape::new(1, 1_000, None);
    let sources = [("192.0.2.8", &one)];
    let all = Arc::default();
    let mut pools = [1, 2].map(|pool| Shapes::of_pool(PoolId(pool), 2, &sources, &all));
    let mut carried = [0; 2];
    for shapes in &mut pools {
        shapes.world.push_many(0, 200);
    }
    for _ in 0..400 {
        for (shapes, carried) in pools.iter_mut().zip(&mut carried) {
            let row = &shapes.world.shards[0];
            let (opening, busy) = (row.opening(), row.busy());
            opening.iter().for_each(|id| shapes.world.ready_at(0, *id));
            busy.iter().for_each(|id| shapes.world.done_at(0, *id, true));
            *carried += busy.len();
            shapes.world.pass(Duration::from_millis(10));
        }
        assert!(pools[0].outlet("192.0.2.8").connections() <= 1);
        let [one, other] = carried;
        assert!(one.abs_diff(other) <= 64, "{carried:?}");
    }
    assert!(carried.iter().all(|carried| *carried >= 100), "{carried:?}");
    // Who has nothing to send keeps no connection from the other.
    let [mut one, mut other] = pools;
    one.run(0);
    for _ in 0..20 {
        one.world.pass(Duration::from_millis(20));
        other.world.pass(Duration::from_millis(20));
        other.run(0);
    }
    assert_eq!(other.world.shards[0].back.len(), 200);
}

#[test]
fn limits_of_a_source_hold_over_all_shards_and_nothing_is_left_of_them() {
    let two = Shape::new(2, 5, Some(per_second(50)));
    let mut shapes = Shapes::new(3, &[("192.0.2.8", &two)]);
    for shard in 0..3 {
        shapes.world.push_many(shard, 30);
    }
    for _ in 0..400 {
        for shard in 0..3 {
            let row = &shapes.world.shards[shard];
            let (opening, busy) = (row.opening(), row.busy());
            opening.iter().for_each(|id| shapes.world.ready_at(shard, *id));
            busy.iter().for_each(|id| shapes.world.done_at(shard, *id, true));
            assert!(shapes.outlet("192.0.2.8").connections() <= 2);
        }
        shapes.world.pass(Duration::from_millis(50));
    }
    let back: usize = shapes.world.shards.iter().map(|row| row.back.len()).sum();
    assert_eq!(back, 90);
    let took = shapes.world.messages.last().map(|last| last.since(shapes.world.messages[0]));
    assert!(took >= Some(Duration::from_millis(1_700)), "{took:?} for 90 at 50 a second");
    shapes.world.shards.clear();
    assert_eq!(shapes.outlet("192.0.2.8").connections(), 0);
}

#[test]
fn a_source_that_was_slowed_down_leaves_the_rest_to_others() {
    let shape = Shape::new(1, 1_000, Some(per_second(10)));
    let mut shapes = Shapes::new(1, &[("192.0.2.8", &shape), ("192.0.2.9", &shape)]);
    shapes.world.push_many(0, 1);
    shapes.run(0);
    shapes.world.pass(SECOND);
    let slow = shapes.outlet("192.0.2.8");
    for _ in 0..4 {
        slow.slow_down(&shape, None, Duration::ZERO, shapes.world.now);
        shapes.world.pass(SLOW_DOWN_PAUSE);
    }
    shapes.world.push_many(0, 40);
    for _ in 0..30 {
        shapes.run(0);
        shapes.world.pass(Duration::from_millis(100));
    }
    let by = |source| {
        let of =
            shapes.world.shards[0].connections.values().filter(move |c| c.source == Some(source));
        of.map(|one| one.carried).sum::<u32>()
    };
    assert_eq!(shapes.open(0), [(0, 1), (1, 1)]);
    let (slow, fast) = (by(0), by(1));
    assert!((2..=8).contains(&slow) && (28..=33).contains(&fast), "{slow} and {fast}");
    assert!(matches!(
        shapes.world.shards[0].site.why(),
        None | Some(Why::Slowed(_) | Why::Rate(_))
    ));
}

#[test]
fn a_site_tells_that_it_was_slowed_down_or_that_an_operator_set_its_rate() {
    let shape = Shape::new(1, 1_000, Some(per_second(10)));
    let mut shapes = Shapes::new(1, &[("192.0.2.8", &shape)]);
    let outlet = shapes.outlet("192.0.2.8");
    assert!(outlet.slow_down(&shape, None, Duration::ZERO, shapes.world.now));
    shapes.world.push_many(0, 5);
    shapes.run(0);
    let why = |shapes: &Shapes| shapes.world.shards[0].site.why().map(|why| why.to_string());
    let slowed = "5/s to its site, which said that more is too much";
    assert_eq!(why(&shapes).as_deref(), Some(slowed));
    outlet.set(Some(Override::Rate(per_second(2))));
    shapes.world.pass(Duration::from_millis(300));
    shapes.run(0);
    assert_eq!(why(&shapes).as_deref(), Some("2/s to its site, as an operator set"));
    outlet.set(Some(Override::Unlimited));
    shapes.world.pass(SECOND);
    shapes.run(0);
    assert_eq!((why(&shapes), shapes.world.shards[0].back.len()), (None, 5));
}

#[test]
fn a_suspended_source_sends_nothing_and_a_suspended_site_rests() {
    let shape = Shape::new(2, 1_000, None);
    let mut shapes = Shapes::new(1, &[("192.0.2.8", &shape), ("192.0.2.9", &shape)]);
    shapes.world.push_many(0, 20);
    shapes.run(0);
    assert_eq!(shapes.open(0), [(0, 2), (1, 2)]);
    let until = shapes.world.now + 10 * SECOND;
    shapes.outlet("192.0.2.8").suspend(until, &"the rule".into());
    shapes.world.push_many(0, 20);
    shapes.run(0);
    assert_eq!(shapes.open(0), [(1, 2)], "its connections are gone");
    assert_eq!(shapes.world.shards[0].back.len(), 40);
    // Both: what waits goes home, and who comes is told until when.
    shapes.outlet("192.0.2.9").suspend(until + SECOND, &"the rule".into());
    let busy = shapes.world.push(0, origin(0, 7), false).expect_err("it rests");
    assert_eq!(busy, Busy { why: Why::SourcesPaused("the rule".into()), until });
    shapes.world.settle(0);
    assert!(shapes.open(0).is_empty());
    assert_eq!(shapes.world.shards[0].site.why(), Some(Why::SourcesPaused("the rule".into())));
    shapes.world.pass(10 * SECOND);
    let called = shapes.world.shards[0].calls.first().map(|(to, _)| *to);
    assert_eq!(called, Some(origin(0, 7)));
    shapes.world.push_many(0, 5);
    shapes.run(0);
    assert_eq!(shapes.open(0), [(0, 2)]);
}

#[test]
fn what_waits_goes_home_when_a_rule_suspends_the_site_and_busy_connections_finish() {
    let shape = Shape::new(1, 1_000, None);
    let mut shapes = Shapes::new(1, &[("192.0.2.8", &shape)]);
    shapes.world.push_many(0, 3);
    shapes.world.ready(0);
    let (site, now) = (shapes.all.site("mx1.example", shapes.world.now), shapes.world.now);
    site.suspend(now + SECOND, &"enough".into());
    shapes.world.settle(0);
    let back = &shapes.world.shards[0].back;
    let paused = Back::Unattempted(Why::Paused("enough".into()), now + SECOND);
    assert_eq!(back.values().collect::<Vec<_>>(), [&paused, &paused]);
    shapes.world.done(0);
    assert!(shapes.open(0).is_empty() && shapes.world.shards[0].back.len() == 3);
    site.resume();
    shapes.world.push_many(0, 1);
    shapes.run(0);
    assert_eq!(shapes.world.shards[0].back.len(), 4);
}

#[test]
fn what_waits_of_a_suspended_sender_goes_home_and_the_rest_goes_out() {
    let shape = Shape::new(1, 1_000, None);
    let mut shapes = Shapes::new(1, &[("192.0.2.8", &shape)]);
    shapes.world.push_many(0, 3);
    shapes.world.ready(0);
    let (site, now) = (shapes.all.site("mx1.example", shapes.world.now), shapes.world.now);
    // Nobody in particular sends these, and another tenant is meant.
    site.suspend_sender(Sender::all_of(7), now + SECOND, &"enough".into(), now);
    shapes.world.settle(0);
    assert!(shapes.world.shards[0].back.is_empty());
    let sender = Sender { name: 9, tenant: Sender::all_of(7), ..Sender::NOBODY };
    let row = &mut shapes.world.shards[0].site;
    let busy = row.push(1_000, (origin(0, 7), sender), false, now).expect_err("suspended");
    assert_eq!(busy, Busy { why: Why::SenderPaused("enough".into()), until: now + SECOND });
    shapes.run(0);
    assert_eq!(shapes.world.shards[0].back.len(), 3);
}

#[test]
fn other_rules_take_effect_on_connections_that_are_open() {
    let wide = Shape::new(4, 1_000, None);
    let narrow = Shape { connections: 1, ..wide.clone() };
    let mut shapes = Shapes::new(1, &[("192.0.2.8", &wide), ("192.0.2.9", &wide)]);
    shapes.world.push_many(0, 30);
    shapes.run(0);
    assert_eq!(shapes.open(0), [(0, 4), (1, 4)]);
    // The second is the first now, and there is one more; the first is gone.
    shapes.shape(&[("192.0.2.9", &narrow), ("192.0.2.10", &narrow)]);
    let counts = |shapes: &Shapes| {
        ["192.0.2.8", "192.0.2.9", "192.0.2.10"].map(|source| shapes.outlet(source).connections())
    };
    shapes.world.push_many(0, 10);
    shapes.run(0);
    shapes.world.pass(SECOND);
    assert_eq!(shapes.world.shards[0].back.len(), 40);
    let [gone, first, second] = counts(&shapes);
    assert!(gone == 0 && first <= 1 && second <= 1, "{gone} {first} {second}");
    // No rules any more: the limits of the site hold.
    shapes.world.shards[0].site.shape(None);
    shapes.world.shards[0].site.set_limits(FREE);
    shapes.world.settle(0);
    assert_eq!(counts(&shapes), [0, 0, 0]);
    shapes.world.push_many(0, 10);
    shapes.run(0);
    assert_eq!(shapes.world.shards[0].back.len(), 50);
}

#[test]
fn a_peer_of_the_other_family_is_not_for_a_source() {
    let shape = Shape::new(3, 1_000, None);
    let mut shapes = Shapes::new(1, &[("2001:db8::8", &shape), ("192.0.2.9", &shape)]);
    shapes.world.push_many(0, 10);
    shapes.run(0);
    assert_eq!(shapes.open(0), [(1, 3)]);
    assert_eq!(shapes.outlet("2001:db8::8").connections(), 0);
}
