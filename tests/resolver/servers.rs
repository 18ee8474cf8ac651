//! Which server is asked when: failures, silence, TCP, EDNS.

use std::collections::HashMap;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use relay_fast::base::limits::{DNS_FAILURE_TTL, DNS_SERVER_REST, DNS_UDP_PAYLOAD_MAX};
use relay_fast::dns::{Finding, Kind, Transport};

use crate::world::*;

fn asked_of_two() -> World {
    let mut world = World::new(&two_servers());
    assert!(world.ask("www.example", Kind::A, 1).is_none());
    world
}

#[test]
fn a_query_asks_for_recursion_and_says_what_it_can_take() {
    let mut world = asked_of_two();
    let transmit = world.sent();
    assert_eq!((transmit.server, transmit.transport), (two_servers()[0], Transport::Udp));
    let query = query_of(&transmit);
    assert!(query.metadata.recursion_desired && query.queries.len() == 1);
    assert_eq!(query.edns.map(|edns| edns.max_payload()), Some(DNS_UDP_PAYLOAD_MAX));
}

#[test]
fn the_next_server_is_asked_when_one_fails_in_any_way() {
    type Failing = fn(&mut World, &relay_fast::dns::Transmit);
    let ways: [(&str, Failing); 7] = [
        ("SERVFAIL", |w, t| w.answer(t, |m| code(m, ResponseCode::ServFail))),
        ("REFUSED", |w, t| w.answer(t, |m| code(m, ResponseCode::Refused))),
        ("RCODE 9", |w, t| w.answer(t, |m| code(m, ResponseCode::NotAuth))),
        ("a referral: it does not recurse", |w, t| {
            w.answer(t, |m| {
                m.metadata.recursion_available = false;
                m.add_authority(ns("example", "ns.example"));
            });
        }),
        ("a malformed answer", |w, t| {
            let mut bytes = response_to(t).to_vec().unwrap();
            bytes[7] = 200; // 200 answers follow, it says.
            w.bring(t, &bytes);
        }),
        ("Connection refused", |w, t| w.fail(t, "Connection refused")),
        ("no answer in time", |w, _| w.pass(TIMEOUT)),
    ];
    for (said, failing) in ways {
        let mut world = asked_of_two();
        let first = world.sent();
        failing(&mut world, &first);
        assert_eq!(world.open_sockets(), 1, "{said}: the first socket is closed");
        let second = world.sent();
        assert_eq!(second.server, two_servers()[1], "{said}");
        world.answer(&second, |m| {
            m.add_answer(a("www.example", 60, "192.0.2.10"));
        });
        assert_eq!(*world.finding(1), v4(&["192.0.2.10"]), "{said}");
        assert_eq!(world.open_sockets(), 0);

        // When everyone fails so, the last one's words are the reason.
        let mut world = World::new(&two_servers()[..1]);
        assert!(world.ask("www.example", Kind::A, 1).is_none());
        for _ in 0..ATTEMPTS {
            let query = world.sent();
            failing(&mut world, &query);
        }
        let reason = format!("www.example A: {said} from 192.0.2.1");
        assert_eq!(*world.finding(1), Finding::Temporary(reason.into()));
        assert!(world.is_silent() && world.resolver.deadline().is_none());
    }
}

#[test]
fn silence_everywhere_ends_after_all_rounds() {
    let mut world = asked_of_two();
    let mut servers = Vec::new();
    world.serve(|query, _| {
        servers.push(query.server);
        false
    });
    let [first, second] = two_servers();
    assert_eq!(servers, [first, second, first, second]);
    assert_eq!(world.now.since(Default::default()), TIMEOUT * 2 * ATTEMPTS);
    assert!(matches!(world.finding(1), Finding::Temporary(_)));
    assert_eq!(world.resolver.counts().traffic.timed_out, 4);
}

//= RFC 9520 §3.2, type=test
//# Resolvers MUST cache resolution failures for at least 1 second.
#[test]
fn a_failure_is_kept_for_a_moment() {
    let mut world = asked_of_two();
    world.serve(|_, _| false);
    let kept = world.ask("www.example", Kind::A, 2).expect("the failure is kept");
    assert!(matches!(kept.finding, Finding::Temporary(_)));
    world.pass(DNS_FAILURE_TTL);
    assert!(world.ask("www.example", Kind::A, 3).is_none());
}

#[test]
fn a_dead_first_server_costs_one_wait_and_not_one_each() {
    let [dead, live] = two_servers();
    let mut world = World::new(&[dead, live]);
    let mut asked = HashMap::new();
    let mut server = |query: &relay_fast::dns::Transmit, m: &mut hickory_proto::op::Message| {
        *asked.entry(query.server).or_insert(0) += 1;
        m.add_answer(a(&asked_name(query), 60, "192.0.2.10"));
        query.server == live
    };
    for n in 0..100 {
        assert!(world.ask(&format!("n{n}.example"), Kind::A, n).is_none());
        world.serve(&mut server);
    }
    assert_eq!(world.now.since(Default::default()), TIMEOUT);
    // After its rest one question tries it again; meanwhile the others go to the live one.
    world.pass(DNS_SERVER_REST);
    for n in 100..200 {
        assert!(world.ask(&format!("n{n}.example"), Kind::A, n).is_none());
    }
    world.serve(&mut server);
    assert_eq!(asked[&dead], 2);
    assert!((0..200).all(|n| *world.finding(n) == v4(&["192.0.2.10"])));
}

#[test]
fn a_server_that_came_back_is_first_again() {
    let [first, second] = two_servers();
    let mut world = World::new(&[first, second]);
    assert!(world.ask("a.example", Kind::A, 1).is_none());
    let query = world.sent();
    world.fail(&query, "Connection refused");
    let query = world.sent();
    world.answer(&query, |m| code(m, ResponseCode::NXDomain));
    world.pass(DNS_SERVER_REST);
    for n in 2..4 {
        assert!(world.ask(&format!("n{n}.example"), Kind::A, n).is_none());
        let query = world.sent();
        assert_eq!(query.server, first);
        world.answer(&query, |m| code(m, ResponseCode::NXDomain));
    }
}

#[test]
fn servfail_is_not_held_against_the_server() {
    let mut world = asked_of_two();
    let query = world.sent();
    world.answer(&query, |m| code(m, ResponseCode::ServFail));
    assert!(world.ask("fine.example", Kind::A, 2).is_none());
    assert_eq!(world.sent().server, two_servers()[1]);
    assert_eq!(world.sent().server, two_servers()[0]);
}

//= RFC 2181 §9, type=test
//# When a DNS client receives a reply with TC set, it should ignore that response, and query again,
//# using a mechanism, such as a TCP connection, that will permit larger replies.
#[test]
fn a_truncated_answer_is_asked_for_over_tcp_from_the_same_server() {
    let mut world = asked_of_two();
    let query = world.sent();
    world.answer(&query, |m| {
        m.metadata.truncation = true;
        m.add_answer(a("www.example", 60, "192.0.2.66"));
    });
    let again = world.sent();
    assert_eq!((again.server, again.transport), (query.server, Transport::Tcp));
    assert_ne!(again.exchange, query.exchange);
    world.answer(&again, |m| {
        m.add_answer(a("www.example", 60, "192.0.2.10"));
    });
    assert_eq!(*world.finding(1), v4(&["192.0.2.10"]));
    assert_eq!(world.open_sockets(), 0);
}

#[test]
fn an_answer_over_tcp_may_be_cut_anywhere() {
    for cut in 0..80 {
        let mut world = asked_of_two();
        let query = world.sent();
        world.answer(&query, |m| m.metadata.truncation = true);
        let again = world.sent();
        let mut message = response_to(&again);
        message.add_answer(a("www.example", 60, "192.0.2.10"));
        let mut bytes = message.to_vec().unwrap();
        bytes.splice(0..0, u16::try_from(bytes.len()).unwrap().to_be_bytes());
        let cut = cut.min(bytes.len());
        for piece in [&bytes[..cut], &bytes[cut..]] {
            assert_eq!(world.heard(1), None);
            world.resolver.handle_tcp_bytes(again.exchange, piece, world.now);
            world.settle();
            if world.heard(1).is_some() {
                break;
            }
        }
        assert_eq!(*world.finding(1), v4(&["192.0.2.10"]), "cut at {cut}");
    }
}

#[test]
fn a_failure_over_tcp_leads_to_the_next_server_over_udp() {
    type Failing = fn(&mut World, &relay_fast::dns::Transmit);
    let ways: [Failing; 5] = [
        |w, t| w.fail(t, "Connection reset by peer"),
        |w, _| w.pass(TIMEOUT),
        |w, t| w.answer(t, |m| m.metadata.truncation = true),
        |w, t| w.answer(t, |m| m.metadata.id = m.metadata.id.wrapping_add(1)),
        |w, t| w.bring(t, &[]),
    ];
    for failing in ways {
        let mut world = asked_of_two();
        let query = world.sent();
        world.answer(&query, |m| m.metadata.truncation = true);
        let again = world.sent();
        failing(&mut world, &again);
        let next = world.sent();
        assert_eq!((next.server, next.transport), (two_servers()[1], Transport::Udp));
    }
}

//= RFC 6891 §6.2.2, type=test
//# If a requestor detects that the remote end does not support EDNS(0), it MAY issue queries
//# without an OPT record.
#[test]
fn a_server_without_edns_is_asked_without() {
    for rcode in [ResponseCode::FormErr, ResponseCode::NotImp] {
        let mut world = asked_of_two();
        let query = world.sent();
        world.answer(&query, |m| code(m, rcode));
        let again = world.sent();
        assert_eq!((again.server, query_of(&again).edns), (query.server, None));
        // Still the same: then it is the server's failure.
        world.answer(&again, |m| code(m, rcode));
        let next = world.sent();
        assert_eq!(next.server, two_servers()[1]);
        world.answer(&next, |m| code(m, ResponseCode::NXDomain));
        assert_eq!(*world.finding(1), Finding::NoSuchName);
    }
}

#[test]
fn new_options_hold_for_the_next_query() {
    let [first, second] = two_servers();
    let mut world = World::new(&[first]);
    assert!(world.ask("a.example", Kind::A, 1).is_none());
    let query = world.sent();
    world.resolver.reconfigure(options(&[second]));
    world.answer(&query, |m| code(m, ResponseCode::ServFail));
    let next = world.sent();
    assert_eq!(next.server, second);
    world.answer(&next, |m| code(m, ResponseCode::NXDomain));
    assert_eq!(*world.finding(1), Finding::NoSuchName);
    world.pass(Duration::from_secs(60));
    world.resolver.reconfigure(options(&[]));
    let answer = world.ask("b.example", Kind::A, 2).expect("nobody can be asked");
    let reason = "b.example A: no name server is configured";
    assert_eq!(answer.finding, Finding::Temporary(reason.into()));
}
