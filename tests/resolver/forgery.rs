//! Answers that are not answers: garbage, late, forged.

use std::collections::HashSet;

use hickory_proto::op::{MessageType, OpCode};
use hickory_proto::rr::{DNSClass, RecordType};
use proptest::prelude::*;
use relay_fast::base::limits::DNS_MISMATCHES_MAX;
use relay_fast::dns::{Finding, Kind, Transmit, Transport};

use crate::world::*;

const LONG: &str = "a-long-name-with-many-letters.example";

fn asked() -> (World, Transmit) {
    let mut world = World::new(&two_servers());
    assert!(world.ask(LONG, Kind::A, 1).is_none());
    let query = world.sent();
    (world, query)
}

fn answer_well(world: &mut World, query: &Transmit) {
    world.answer(query, |m| {
        m.add_answer(a(LONG, 60, "192.0.2.10"));
    });
}

//= RFC 5452 §9.1, type=test
//# A resolver implementation MUST match responses to all of the following attributes of the query:
//# [...] Query ID [...] Query name [...] Query class and type
#[test]
fn an_answer_that_does_not_match_in_all_is_ignored() {
    type Forging = fn(&mut hickory_proto::op::Message);
    let forgeries: [(&str, Forging); 9] = [
        ("id", |m| m.metadata.id = m.metadata.id.wrapping_add(1)),
        ("no response", |m| m.metadata.message_type = MessageType::Query),
        ("opcode", |m| m.metadata.op_code = OpCode::Status),
        ("no question", |m| m.queries.clear()),
        ("two questions", |m| m.queries.push(m.queries[0].clone())),
        ("name", |m| m.queries[0].name = wire("other.example")),
        ("case", |m| m.queries[0].name = m.queries[0].name.to_lowercase()),
        ("type", |m| m.queries[0].query_type = RecordType::AAAA),
        ("class", |m| m.queries[0].query_class = DNSClass::CH),
    ];
    for (what, forge) in forgeries {
        let (mut world, query) = asked();
        world.answer(&query, |m| {
            m.add_answer(a(LONG, 60, "192.0.2.66"));
            forge(m);
        });
        assert!(world.heard(1).is_none() && world.is_silent(), "{what}");
        assert_eq!(world.resolver.counts().traffic.mismatched, 1, "{what}");
        answer_well(&mut world, &query);
        assert_eq!(*world.finding(1), v4(&["192.0.2.10"]), "{what}");
    }
}

#[test]
fn ids_and_case_differ_from_query_to_query() {
    let mut world = World::new(&two_servers()[..1]);
    let mut ids = HashSet::new();
    let mut upper = 0;
    for n in 0..200 {
        assert!(world.ask(&format!("abcdefgh{n}.example"), Kind::A, n).is_none());
        let query = query_of(&world.sent());
        ids.insert(query.metadata.id);
        let text = query.queries[0].name.to_ascii();
        upper += text.bytes().filter(u8::is_ascii_uppercase).count();
    }
    assert!(ids.len() > 195, "{} ids of 200 queries", ids.len());
    assert!((1_300..1_700).contains(&upper), "{upper} of 3000 letters in upper case");
}

#[test]
fn someone_who_guesses_is_escaped_over_tcp() {
    let (mut world, query) = asked();
    for n in 1..=DNS_MISMATCHES_MAX {
        assert!(world.is_silent(), "after {} guesses", n - 1);
        world.answer(&query, |m| m.metadata.id = m.metadata.id.wrapping_add(1));
    }
    let again = world.sent();
    assert_eq!((again.server, again.transport), (query.server, Transport::Tcp));
    // Too late for UDP, even with a right guess.
    answer_well(&mut world, &query);
    assert!(world.heard(1).is_none());
    answer_well(&mut world, &again);
    assert_eq!(*world.finding(1), v4(&["192.0.2.10"]));
}

#[test]
fn a_server_that_folds_names_is_understood_over_tcp() {
    let (mut world, query) = asked();
    let fold = |m: &mut hickory_proto::op::Message| {
        m.queries[0].name = m.queries[0].name.to_lowercase();
        m.add_answer(a(LONG, 60, "192.0.2.10"));
    };
    world.answer(&query, fold);
    world.pass(TIMEOUT);
    let again = world.sent();
    assert_eq!((again.server, again.transport), (query.server, Transport::Tcp));
    world.answer(&again, fold);
    assert_eq!(*world.finding(1), v4(&["192.0.2.10"]));
}

#[test]
fn what_comes_late_or_twice_changes_nothing() {
    let (mut world, query) = asked();
    world.pass(TIMEOUT);
    let second = world.sent();
    answer_well(&mut world, &query);
    assert_eq!(world.heard(1), None, "its socket is closed");
    answer_well(&mut world, &second);
    assert_eq!(*world.finding(1), v4(&["192.0.2.10"]));
    answer_well(&mut world, &second);
    world.fail(&second, "Connection refused");
    world.fail(&query, "Connection refused");
    assert!(world.is_silent() && world.open_sockets() == 0);
    assert_eq!(world.resolver.counts().traffic.mismatched, 2);
}

#[test]
fn octets_of_the_other_transport_change_nothing() {
    let (mut world, query) = asked();
    world.answer(&query, |m| m.metadata.truncation = true);
    let again = world.sent();
    let as_datagram = Transmit { transport: Transport::Udp, ..again.clone() };
    let bytes = response_to(&again).to_vec().unwrap();
    world.bring(&as_datagram, &bytes);
    assert!(world.heard(1).is_none() && world.open_sockets() == 1);
}

/// An answer whose record's owner is written so: octets, given where they stand in the message.
fn with_owner(query: &Transmit, owner: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
    let mut bytes = response_to(query).to_vec().unwrap();
    bytes[6..8].copy_from_slice(&1_u16.to_be_bytes());
    let owner = owner(bytes.len());
    bytes.extend(owner);
    // A, IN, 60 seconds, four octets.
    bytes.extend([0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 66]);
    bytes
}

fn pointer(to: usize) -> [u8; 2] {
    (0xc000 | u16::try_from(to).unwrap()).to_be_bytes()
}

//= RFC 1035 §4.1.4, type=test
//# an entire domain name or a list of labels at the end of a domain name is replaced with a pointer
//# to a prior occurance of the same name.
#[test]
fn names_that_point_in_circles_or_ahead_are_malformed() {
    type Owner = fn(usize) -> Vec<u8>;
    let owners: [(&str, Owner); 5] = [
        ("to itself", |at| pointer(at).into()),
        ("to its own label", |at| [&b"\x01a"[..], &pointer(at)].concat()),
        ("to one that points back", |at| [pointer(at + 2), pointer(at)].concat()),
        ("ahead", |at| [&pointer(at + 2)[..], b"\x01a\0"].concat()),
        ("beyond the end", |_| pointer(0x3fff).into()),
    ];
    for (how, owner) in owners {
        let (mut world, query) = asked();
        let bytes = with_owner(&query, owner);
        world.bring(&query, &bytes);
        // As with any server that talks nonsense: another one is asked.
        let again = world.sent();
        assert_ne!(again.server, query.server, "{how}");
        answer_well(&mut world, &again);
        assert_eq!(*world.finding(1), v4(&["192.0.2.10"]), "{how}");
    }
    // The name that was asked for stands at 12: that is what pointers are for.
    let (mut world, query) = asked();
    world.bring(&query, &with_owner(&query, |_| pointer(12).into()));
    assert_eq!(*world.finding(1), v4(&["192.0.2.66"]));
}

//= RFC 2181 §5.4.1, type=test
//# Unauthenticated RRs received and cached from the least trustworthy of those groupings, that is
//# data from the additional data section, and data from the authority section of a
//# non-authoritative answer, should not be cached in such a way that they would ever be returned as
//# answers to a received query.
#[test]
fn what_an_answer_says_of_names_that_were_not_asked_for_is_not_believed() {
    let (mut world, query) = asked();
    world.answer(&query, |m| {
        m.add_answer(a("victim.example", 3_600, "192.0.2.66"));
        m.add_answer(a(LONG, 3_600, "192.0.2.10"));
        m.add_answer(cname("other.victim.example", 3_600, LONG));
        m.add_authority(ns("victim.example", "ns.evil.example"));
        m.add_authority(a("ns.victim.example", 3_600, "192.0.2.66"));
        m.add_additional(a("mx.victim.example", 3_600, "192.0.2.66"));
        m.add_additional(mx("victim.example", 3_600, 0, LONG));
    });
    assert_eq!(*world.finding(1), v4(&["192.0.2.10"]));
    let others = [
        ("victim.example", Kind::A),
        ("other.victim.example", Kind::A),
        ("ns.victim.example", Kind::A),
        ("mx.victim.example", Kind::A),
        ("victim.example", Kind::Mx),
    ];
    for (waiter, (name, kind)) in (2..).zip(others) {
        assert!(world.ask(name, kind, waiter).is_none(), "{name} was believed");
        let query = world.sent();
        world.answer(&query, |_| {});
        assert_eq!(*world.finding(waiter), Finding::NoRecords, "{name}");
    }
    assert!(world.ask(LONG, Kind::A, 9).is_some(), "what was asked for is known");
}

/// A name's owner may say what it is an alias of, and not what there is at the other end of it.
#[test]
fn an_alias_into_another_zone_is_followed_there_and_what_comes_along_is_not_cached() {
    let (mut world, query) = asked();
    world.answer(&query, |m| {
        m.add_answer(cname(LONG, 60, "bank.test"));
        m.add_answer(a("bank.test", 3_600, "192.0.2.66"));
    });
    // For the name that was asked for it counts: whoever owns that could say so without an alias.
    assert_eq!(*world.finding(1), v4(&["192.0.2.66"]));
    assert!(world.ask("bank.test", Kind::A, 2).is_none(), "its neighbour was believed");
    let query = world.sent();
    world.answer(&query, |m| {
        m.add_answer(a("bank.test", 60, "192.0.2.77"));
    });
    assert_eq!(*world.finding(2), v4(&["192.0.2.77"]));
}

proptest! {
    #[test]
    fn any_octets_are_survived(
        datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 1..40),
    ) {
        let (mut world, query) = asked();
        for bytes in &datagrams {
            world.resolver.handle_datagram(query.exchange, bytes, world.now);
            world.settle();
        }
        world.serve(|query, m| {
            m.add_answer(a(&asked_name(query), 60, "192.0.2.10"));
            true
        });
        answer_well(&mut world, &query);
        prop_assert!(world.heard(1).is_some());
    }

    #[test]
    fn any_damage_to_an_answer_is_survived(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
        length in any::<prop::sample::Index>(),
        over_tcp in any::<bool>(),
    ) {
        let (mut world, mut query) = asked();
        if over_tcp {
            world.answer(&query, |m| m.metadata.truncation = true);
            query = world.sent();
        }
        let mut message = response_to(&query);
        message.add_answer(cname(LONG, 60, "b.example"));
        message.add_answer(mx("b.example", 60, 10, "c.example"));
        message.add_answer(a("b.example", 60, "192.0.2.10"));
        message.add_authority(soa("example", 60, 60));
        message.add_additional(a("c.example", 60, "192.0.2.11"));
        let mut bytes = message.to_vec().unwrap();
        for (place, value) in damage {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        bytes.truncate(length.index(bytes.len() * 2).max(1));
        world.bring(&query, &bytes);
        world.serve(|_, _| false);
        prop_assert!(world.heard(1).is_some());
        prop_assert_eq!(world.open_sockets(), 0);
        prop_assert_eq!(world.resolver.under_way(), 0);
    }

    #[test]
    fn any_octets_over_tcp_are_survived(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..70), 1..10),
    ) {
        let (mut world, query) = asked();
        world.answer(&query, |m| m.metadata.truncation = true);
        let again = world.sent();
        for piece in &pieces {
            world.resolver.handle_tcp_bytes(again.exchange, piece, world.now);
            world.settle();
        }
        world.serve(|_, _| false);
        prop_assert!(world.heard(1).is_some());
    }
}
