//! Many questions at once: joined, in line, turned away; and a long random run.

use relay_fast::base::limits::{
    DNS_CACHE_MAX, DNS_IN_FLIGHT_MAX, DNS_LINE_WAIT_MAX, DNS_WAITING_MAX,
};
use relay_fast::base::prng::Prng;
use relay_fast::dns::{Finding, Kind};
use std::time::Duration;

use hickory_proto::op::ResponseCode;

use crate::world::*;

fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap()
}

#[test]
fn the_same_question_is_asked_once() {
    let mut world = World::new(&two_servers());
    for waiter in 0..100 {
        let text = if waiter % 2 == 0 { "www.example" } else { "WWW.Example." };
        assert!(world.ask(text, Kind::A, waiter).is_none());
    }
    assert!(world.ask("www.example", Kind::Aaaa, 100).is_none(), "another kind, another question");
    let query = world.sent();
    world.sent();
    assert!(world.is_silent());
    world.answer(&query, |m| {
        m.add_answer(a("www.example", 60, "192.0.2.10"));
    });
    assert!((0..100).all(|waiter| *world.finding(waiter) == v4(&["192.0.2.10"])));
    assert_eq!(world.heard(100), None);
    assert_eq!(world.resolver.counts().joined, 99);
}

#[test]
fn lookups_beyond_the_bound_stand_in_line_and_all_are_answered() {
    let mut world = World::new(&two_servers());
    let lookups = DNS_IN_FLIGHT_MAX * 3;
    for n in 0..lookups {
        assert!(world.ask(&format!("n{n}.example"), Kind::A, number(n)).is_none());
        assert!(world.open_sockets() <= DNS_IN_FLIGHT_MAX);
    }
    assert_eq!(world.open_sockets(), DNS_IN_FLIGHT_MAX);
    let mut order = Vec::new();
    world.serve(|query, m| {
        order.push(asked_name(query));
        m.add_answer(a(&asked_name(query), 60, "192.0.2.10"));
        true
    });
    assert!((0..lookups).all(|n| *world.finding(number(n)) == v4(&["192.0.2.10"])));
    assert!(order.iter().enumerate().all(|(n, asked)| *asked == format!("n{n}.example")));
}

#[test]
fn who_stands_in_line_too_long_is_told_to_come_later() {
    let mut world = World::new(&two_servers());
    for n in 0..=DNS_IN_FLIGHT_MAX {
        assert!(world.ask(&format!("n{n}.example"), Kind::A, number(n)).is_none());
    }
    let last = number(DNS_IN_FLIGHT_MAX);
    // Each server is silent until just before the line's patience ends.
    world.pass(TIMEOUT * 2 * ATTEMPTS - Duration::from_nanos(1));
    assert_eq!(world.heard(last), None);
    assert!(DNS_LINE_WAIT_MAX > TIMEOUT * 2 * ATTEMPTS);
    // The others gave up; now it is asked.
    world.pass(Duration::from_nanos(1));
    world.serve(|query, m| {
        m.add_answer(a(&asked_name(query), 60, "192.0.2.10"));
        asked_name(query) == format!("n{last}.example")
    });
    assert_eq!(*world.finding(last), v4(&["192.0.2.10"]));

    // With more patience than the line has, it is not.
    let patient = relay_fast::dns::Options { attempts: 5, ..options(&two_servers()) };
    let mut world = World::with(patient, 1);
    for n in 0..=DNS_IN_FLIGHT_MAX {
        assert!(world.ask(&format!("n{n}.example"), Kind::A, number(n)).is_none());
    }
    world.pass(DNS_LINE_WAIT_MAX);
    let Finding::Temporary(reason) = world.finding(last) else { panic!("an answer") };
    assert!(reason.contains("too many lookups"), "{reason}");
    assert_eq!(world.resolver.cached(), 0, "that we are busy says nothing about the name");
}

#[test]
fn too_many_who_wait_are_turned_away_at_once() {
    let mut world = World::new(&two_servers());
    for n in 0..DNS_WAITING_MAX {
        let text = format!("n{}.example", n % 5_000);
        assert!(world.ask(&text, Kind::A, number(n)).is_none());
    }
    let one_more = number(DNS_WAITING_MAX);
    for text in ["n1.example", "new.example"] {
        let answer = world.ask(text, Kind::A, one_more).expect("turned away");
        assert!(matches!(answer.finding, Finding::Temporary(_)));
    }
    assert_eq!(world.resolver.counts().turned_away, 2);
    world.serve(|query, m| {
        m.add_answer(a(&asked_name(query), 60, "192.0.2.10"));
        true
    });
    assert!((0..DNS_WAITING_MAX).all(|n| world.heard(number(n)).is_some()));
    // Now there is room again, for exactly as many.
    for n in 0..DNS_WAITING_MAX {
        assert!(world.ask("new.example", Kind::A, one_more + number(n)).is_none());
    }
    assert!(world.ask("new.example", Kind::A, u32::MAX).is_some());
}

#[test]
fn the_cache_keeps_no_more_than_its_bound() {
    let mut world = World::new(&two_servers()[..1]);
    for n in 0..DNS_CACHE_MAX + 1_000 {
        assert!(world.ask(&format!("n{n}.example"), Kind::A, number(n)).is_none());
        let query = world.sent();
        world.answer(&query, |m| code(m, ResponseCode::NXDomain));
    }
    assert_eq!(world.resolver.cached(), DNS_CACHE_MAX);
    let newest = format!("n{}.example", DNS_CACHE_MAX + 999);
    assert!(world.ask(&newest, Kind::A, u32::MAX).is_some());
    assert!(world.ask("n0.example", Kind::A, u32::MAX).is_none());
}

/// Servers that answer, fail, forge, truncate and sleep at random: everyone who asks hears once,
/// a true answer or a failure, and nothing stays behind.
#[test]
fn everyone_who_asks_hears_once_whatever_servers_do() {
    for seed in 0..100 {
        let mut prng = Prng::from_number(seed);
        let mut world = World::with(options(&two_servers()), seed);
        let mut asked = Vec::new();
        for waiter in 0..300 {
            let text = format!("n{}.example", prng.below(60));
            if world.ask(&text, Kind::A, waiter).is_none() {
                asked.push(waiter);
            }
            if prng.below(3) == 0 {
                misbehave(&mut world, &mut prng);
            }
            world.pass(Duration::from_millis(prng.below(2_000)));
        }
        world.serve(|query, m| {
            m.add_answer(a(&asked_name(query), 1, "192.0.2.10"));
            true
        });
        for waiter in asked {
            let finding = world.finding(waiter);
            let fine = *finding == v4(&["192.0.2.10"]) || matches!(finding, Finding::Temporary(_));
            assert!(fine, "seed {seed}: {waiter} heard {finding:?}");
        }
        assert_eq!((world.open_sockets(), world.resolver.under_way()), (0, 0), "seed {seed}");
        assert_eq!(world.resolver.deadline(), None, "seed {seed}");
    }
}

fn misbehave(world: &mut World, prng: &mut Prng) {
    while !world.is_silent() {
        let query = world.sent();
        let text = asked_name(&query);
        match prng.below(8) {
            0 => {}
            1 => world.fail(&query, "Connection refused"),
            2 => world.answer(&query, |m| code(m, ResponseCode::ServFail)),
            3 => world.answer(&query, |m| m.metadata.truncation = true),
            4 => world.answer(&query, |m| m.metadata.id ^= 1),
            5 => world.answer(&query, |m| code(m, ResponseCode::FormErr)),
            6 => world.answer(&query, |m| {
                m.add_answer(a(&text, 1, "192.0.2.66"));
                m.queries[0].name = wire("forged.example");
            }),
            _ => world.answer(&query, |m| {
                m.add_answer(a(&text, 1, "192.0.2.10"));
            }),
        }
    }
}
