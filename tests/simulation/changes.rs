//! What changes while mail flows: names of upstream relays, the configuration, a drain.

use std::net::{IpAddr, Ipv4Addr};

use relay_fast::shard::mesh::Crossing;
use relay_fast::shard::platform::Event;

use crate::agenda::{MS, SECOND};
use crate::node::settings;
use crate::peer::Reach;
use crate::scenarios::{STANDARD, relay_domain, world};
use crate::town::config;
use crate::world::World;
use crate::zone::Owner;

impl World {
    /// Work by another configuration from now on.
    fn reload(&mut self, more: &str) {
        self.settings = settings(&config(STANDARD, more));
        for shard in 0..self.shards() {
            let crossing = Crossing::Reload(self.settings.clone());
            self.hand(shard, Event::Crossing(crossing));
        }
    }

    fn left_from(&mut self) -> Vec<Option<IpAddr>> {
        (0..self.shards()).flat_map(|shard| self.row(shard).kernel.left_from.split_off(0)).collect()
    }
}

fn source(last: u8) -> String {
    format!("[[source]]\naddress = \"192.0.2.{last}\"\nhello = \"out{last}.example\"\n")
}

#[test]
fn an_upstream_without_an_address_is_passed_over() {
    let mut world = world(STANDARD, &relay_domain("nowhere.example;host102.example"));
    world.add_host(102);
    world.boot(2);
    world.submit(200, ("user", "corp.example"), 0);
    world.run_until(60 * SECOND);
    assert_eq!(world.delivered().len(), 200, "by the second one, without waiting for a retry");
    world.audit_rest();
}

#[test]
fn an_upstream_that_moves_is_found_at_its_new_address() {
    let mut world = world(STANDARD, &relay_domain("host101.example"));
    let (before, after) = (world.add_host(101), world.add_host(102));
    world.add_outage(before, 300 * SECOND, u64::MAX, Reach::Refuses);
    world.boot(2);
    // Mail all the time: its site is never forgotten.
    world.submit(1_500, ("user", "corp.example"), 4 * SECOND);
    world.run_until(300 * SECOND);
    assert!(world.hosts[after].attempts.is_empty());
    let moved = Owner::Host(vec![Ipv4Addr::new(203, 0, 113, 102)]);
    world.zone.names.insert("host101.example".into(), moved);
    // What DNS said holds for 300 s at most.
    world.run_until(300 * SECOND + 300 * SECOND + 70 * SECOND);
    assert!(!world.hosts[after].attempts.is_empty(), "its new address is tried");
    world.run_until(3_000 * SECOND);
    assert_eq!(world.delivered().len(), 1_500);
    world.audit_rest();
}

#[test]
fn names_that_no_longer_resolve_leave_an_upstream_where_it_was() {
    let mut world = world(STANDARD, &relay_domain("host101.example"));
    let host = world.add_host(101);
    world.boot(1);
    world.submit(500, ("user", "corp.example"), 4 * SECOND);
    world.run_until(100 * SECOND);
    world.zone.failing.insert("host101.example".into(), 800 * SECOND);
    world.run_until(700 * SECOND);
    assert_eq!(world.delivered().len(), 500, "its name servers fail; it does not");
    assert!(!world.hosts[host].attempts.is_empty());
    world.audit_rest();
}

#[test]
fn egress_sources_change_with_the_configuration_at_sites_that_are_in_use() {
    let mut world = world(STANDARD, &source(7));
    world.add_host(1);
    world.add_domain("a.example", &[(10, 1)]);
    world.boot(2);
    world.submit(40, ("user", "a.example"), 0);
    world.run_until(30 * SECOND);
    let seven = Some(IpAddr::from([192, 0, 2, 7]));
    assert!(world.left_from().iter().all(|source| *source == seven));
    world.reload(&source(8));
    world.submit(40, ("user", "a.example"), 0);
    world.run_until(60 * SECOND);
    assert_eq!(world.delivered().len(), 80);
    let (left_from, eight) = (world.left_from(), Some(IpAddr::from([192, 0, 2, 8])));
    assert!(!left_from.is_empty() && left_from.iter().all(|source| *source == eight));
    world.audit_rest();
}

#[test]
fn a_drain_ends_as_soon_as_what_is_under_way_has() {
    let mut world = world(STANDARD, "");
    world.add_host(1);
    world.add_domain("a.example", &[(10, 1)]);
    world.boot(2);
    world.submit(400, ("user", "a.example"), 0);
    while world.delivered().len() < 100 {
        world.run_for(SECOND / 100);
    }
    world.drain();
    // Its deadline, when connections are cut, is at 30 s.
    world.run_for(5 * SECOND);
    assert!(world.reap(), "no connection is waited for that has nothing to carry");
}

/// Seed 1175, while it was that storm: what the first process asked for came to pass in the second
/// one, which had asked for it too.
#[test]
fn a_segment_that_was_going_when_a_drain_ended_is_not_there_for_the_next_process() {
    let mut world = world(STANDARD, "");
    world.remove_time = SECOND;
    world.add_host(1);
    world.add_domain("a.example", &[(10, 1)]);
    world.boot(1);
    world.submit(400, ("user", "a.example"), 0);
    while !(world.delivered().len() == 400 && world.store.is_removing()) {
        assert!(world.agenda.now < 60 * SECOND, "the last segments go when all was delivered");
        world.run_for(MS);
    }
    world.drain();
    while !world.node.as_ref().is_some_and(|node| node.rows.iter().all(|row| row.over)) {
        world.run_for(MS);
    }
    assert!(world.store.is_removing(), "the drain does not wait for it");
    assert!(world.reap());
    world.boot(1);
    world.submit(400, ("user", "a.example"), 0);
    world.run_for(60 * SECOND);
    assert_eq!(world.delivered().len(), 800);
    world.audit_rest();
}
