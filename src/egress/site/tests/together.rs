//! Sites of one provider, which takes so much at all of them together.

use super::shaped::Shapes;
use super::*;
use crate::egress::shaping::Shape;
use crate::egress::shaping::together::OfProvider;
use crate::mail::route::PoolId;

/// What all of them may, beside the ten connections of each.
fn said(connections: Option<u32>, a_second: Option<u32>) -> Shape {
    let rate = a_second.map(|messages| Rate { messages, per: Duration::from_secs(1) });
    let of_provider = Some(OfProvider { provider: "big".into(), connections, rate });
    Shape { of_provider, ..Shape::new(10, 1_000, None) }
}

/// Two sites of it, each on so many shards, with so many jobs for each shard.
fn two(shards: u8, shape: &Shape, jobs: usize) -> [Shapes; 2] {
    let all = Arc::default();
    let mut sites = ["mx1.example", "mx2.example"]
        .map(|name| Shapes::of_site(name, PoolId::DEFAULT, shards, &[("192.0.2.8", shape)], &all));
    for site in &mut sites {
        (0..usize::from(shards)).for_each(|shard| site.world.push_many(shard, jobs));
    }
    sites
}

/// Every connection that is being opened is there, and every message taken, 10 ms later.
fn step(site: &mut Shapes) -> usize {
    let mut carried = 0;
    for shard in 0..site.world.shards.len() {
        let row = &site.world.shards[shard];
        let (opening, busy) = (row.opening(), row.busy());
        opening.iter().for_each(|id| site.world.ready_at(shard, *id));
        busy.iter().for_each(|id| site.world.done_at(shard, *id, true));
        carried += busy.len();
    }
    site.world.pass(Duration::from_millis(10));
    carried
}

fn open(sites: &[Shapes]) -> usize {
    let rows = sites.iter().flat_map(|site| &site.world.shards);
    rows.map(|row| row.connections.len()).sum()
}

#[test]
fn sites_of_a_provider_share_its_connections_over_all_shards() {
    let mut sites = two(2, &said(Some(3), None), 250);
    let mut carried = [0; 2];
    for _ in 0..300 {
        for (site, carried) in sites.iter_mut().zip(&mut carried) {
            *carried += step(site);
        }
        assert!(open(&sites) <= 3, "{} connections", open(&sites));
    }
    assert!(carried.iter().all(|carried| *carried > 150), "{carried:?}");
    assert!(carried.iter().sum::<usize>() > 600, "hardly any time is lost: {carried:?}");
    let whys = sites.iter().flat_map(|site| &site.world.shards).filter_map(|row| row.site.why());
    let words = "limit of 3 connections to all sites of big";
    assert!(whys.into_iter().any(|why| why.to_string() == words));
    for _ in 0..2_000 {
        sites.iter_mut().for_each(|site| {
            step(site);
        });
    }
    let back = sites.iter().flat_map(|site| &site.world.shards).map(|row| row.back.len());
    assert_eq!(back.sum::<usize>(), 1_000, "everything went out");
    let all = sites[0].all.clone();
    drop(sites);
    let together = all.together.find(&"big".into(), "192.0.2.8").expect("known");
    assert_eq!(together.connections(), 0, "and nothing is left of it");
}

#[test]
fn sites_of_a_provider_keep_its_rate_together() {
    let mut sites = two(2, &said(None, Some(40)), 100);
    let mut carried = [0; 2];
    for _ in 0..500 {
        for (site, carried) in sites.iter_mut().zip(&mut carried) {
            *carried += step(site);
        }
    }
    // Five seconds, and what comes at once.
    let all: usize = carried.iter().sum();
    assert!((190..=204).contains(&all), "{carried:?}");
    assert!(carried.iter().all(|carried| (70..=130).contains(carried)), "{carried:?}");
    let why = sites[0].world.shards[0].site.why().expect("it waits").to_string();
    assert_eq!(why, "limit of 40/s to all sites of big");
}

#[test]
fn a_site_with_nothing_to_send_keeps_no_connection_from_another() {
    let mut sites = two(2, &said(Some(2), None), 0);
    sites[0].world.push_many(0, 4);
    for _ in 0..6 {
        step(&mut sites[0]);
    }
    assert_eq!((sites[0].world.shards[0].back.len(), open(&sites[..1])), (4, 2), "both are idle");
    sites[1].world.push_many(0, 4);
    for _ in 0..20 {
        sites.iter_mut().for_each(|site| {
            step(site);
        });
    }
    assert_eq!(sites[1].world.shards[0].back.len(), 4);
}

#[test]
fn rules_that_change_take_effect_on_connections_that_are_open() {
    let (free, tight) = (Shape::new(10, 1_000, None), said(Some(2), None));
    let mut sites = two(2, &free, 200);
    for _ in 0..5 {
        sites.iter_mut().for_each(|site| {
            step(site);
        });
    }
    assert!(open(&sites) > 10);
    for shape in [&tight, &said(Some(3), None), &free, &tight] {
        sites.iter_mut().for_each(|site| site.shape(&[("192.0.2.8", shape)]));
        for _ in 0..4 {
            sites.iter_mut().for_each(|site| {
                step(site);
            });
        }
        let most = shape.of_provider.as_ref().map_or(20, |of| of.connections.expect("said"));
        assert!(open(&sites) <= most as usize, "{} of {most}", open(&sites));
    }
}
