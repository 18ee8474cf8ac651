//! What shards know of a source together.

use super::*;
use crate::mail::route::PoolId;

const HERE: ShardId = ShardId(0);

fn at(seconds: u64) -> Monotonic {
    Monotonic(seconds * 1_000_000_000)
}

fn shape(rate: Option<u32>) -> Shape {
    let rate = rate.map(|messages| Rate { messages, per: Duration::from_secs(1) });
    Shape::new(2, 10, rate)
}

fn a_second(rate: Option<Rate>) -> Option<f64> {
    rate.map(|rate| f64::from(rate.messages) / rate.per.as_secs_f64())
}

#[test]
fn a_outlet_is_slowed_down_for_all_shards_and_climbs_back() {
    let all = AllOutlets::default();
    let (here, there) = (all.site("mx.example", at(0)), all.site("mx.example", at(0)));
    let (here, there) = (here.outlet("192.0.2.1"), there.outlet("192.0.2.1"));
    let shape = shape(Some(10));
    assert_eq!(there.rate(&shape, at(0)), (shape.rate, By::Shape));
    assert!(here.slow_down(&shape, None, Duration::ZERO, at(0)));
    let (rate, slowed) = there.rate(&shape, at(0));
    assert_eq!((a_second(rate), slowed), (Some(5.0), By::Peer));
    assert_eq!(there.rate(&shape, at(1_800)), (shape.rate, By::Shape), "half of `recovery` later");
}

#[test]
fn without_a_rate_what_it_went_at_is_known() {
    let outlet = Outlet::new("");
    let shape = shape(None);
    for second in 0..30 {
        for _ in 0..8 {
            assert_eq!(outlet.try_message(HERE, &shape, at(1_000 + second)), Ok(()));
        }
    }
    assert!(outlet.slow_down(&shape, None, Duration::ZERO, at(1_030)));
    let (rate, slowed) = outlet.rate(&shape, at(1_030));
    assert_eq!((a_second(rate), slowed), (Some(4.0), By::Peer));
    assert!(outlet.try_message(HERE, &shape, at(1_031)).is_ok());
    let refused = outlet.try_message(HERE, &shape, at(1_031)).expect_err("4 a second");
    assert!(refused.1 == By::Peer && refused.2 > at(1_031) && refused.2 < at(1_032));
    assert_eq!(outlet.rate(&shape, at(1_030 + 3_600)), (None, By::Shape), "free again");
}

#[test]
fn what_an_operator_says_goes_over_rules_and_replies_until_it_is_reset() {
    let outlet = Outlet::new("");
    let shape = shape(Some(10));
    let two = Rate { messages: 2, per: Duration::from_secs(1) };
    outlet.slow_down(&shape, None, Duration::ZERO, at(0));
    outlet.set(Some(Override::Rate(two)));
    assert_eq!(a_second(outlet.rate(&shape, at(0)).0), Some(2.0));
    outlet.set(Some(Override::Unlimited));
    assert_eq!(outlet.rate(&shape, at(0)), (None, By::Operator));
    assert_eq!(outlet.fixed(), Some(Override::Unlimited));
    outlet.suspend(at(100), &"because".into());
    assert_eq!((outlet.suspended(at(50)), outlet.suspended(at(100))), (Some(at(100)), None));
    outlet.reset();
    assert_eq!(
        (outlet.rate(&shape, at(0)), outlet.suspended(at(50))),
        ((shape.rate, By::Shape), None)
    );
}

#[test]
fn connections_are_counted_over_all_shards() {
    let outlet = Outlet::new("");
    let take = || outlet.held.take(2, PoolId::DEFAULT, at(0));
    assert!(take() && take() && !take());
    outlet.held.release();
    assert!(take() && outlet.connections() == 2);
}

#[test]
fn only_what_is_as_any_other_is_forgotten() {
    let all = AllOutlets::default();
    let names = |all: &AllOutlets| -> Vec<String> {
        all.sites().iter().map(|site| site.name().to_owned()).collect()
    };
    drop(all.site("plain", at(0)));
    let used = all.site("used", at(0));
    all.site("slow", at(0)).outlet("").slow_down(&shape(Some(1)), None, Duration::ZERO, at(0));
    all.site("alone", at(0)).suspend(at(10), &"".into());
    ["plain", "used", "slow", "alone"].iter().for_each(|name| all.forget(name, at(0)));
    assert_eq!(names(&all), ["alone", "slow", "used"]);
    all.site("alone", at(0)).outlet("");
    assert_eq!((all.held_up(at(9)), all.held_up(at(10))), ((1, 1), (1, 0)));
    drop(used);
    ["used", "alone"].iter().for_each(|name| all.forget(name, at(10)));
    assert_eq!(names(&all), ["slow"]);
}
