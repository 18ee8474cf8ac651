//! What answers mean: records, aliases, negative answers, and how long they hold.

use std::time::Duration;

use hickory_proto::op::ResponseCode;
use relay_fast::base::limits::{
    DNS_CNAME_MAX, DNS_NEGATIVE_TTL_MAX, DNS_RECORDS_MAX, DNS_TTL_MAX, DNS_TTL_MIN,
};
use relay_fast::dns::{Finding, Kind, MxRecord, Options, Records};

use crate::world::*;

fn one_server() -> World {
    World::new(&two_servers()[..1])
}

/// Ask for `kind` of `www.example` and answer with what `fill` writes.
fn asked(kind: Kind, fill: impl FnOnce(&mut hickory_proto::op::Message)) -> World {
    let mut world = one_server();
    assert!(world.ask("www.example", kind, 1).is_none());
    let query = world.sent();
    world.answer(&query, fill);
    world
}

fn expires_in(world: &World) -> Duration {
    world.heard(1).unwrap().expires.since(world.now)
}

#[test]
fn records_of_each_kind_are_read() {
    let world = asked(Kind::A, |m| {
        m.add_answer(a("www.example", 60, "192.0.2.10"));
        m.add_answer(a("WWW.example", 60, "192.0.2.11"));
    });
    assert_eq!(*world.finding(1), v4(&["192.0.2.10", "192.0.2.11"]));

    let world = asked(Kind::Aaaa, |m| {
        m.add_answer(aaaa("www.example", 60, "2001:db8::1"));
    });
    let expected = Records::Aaaa(vec!["2001:db8::1".parse().unwrap()]);
    assert_eq!(*world.finding(1), Finding::Records(expected));

    let world = asked(Kind::Mx, |m| {
        m.add_answer(mx("www.example", 60, 10, "MX1.example"));
        m.add_answer(mx("www.example", 60, 20, "."));
    });
    let expected = Records::Mx(vec![
        MxRecord { preference: 10, exchange: Some(name("mx1.example")) },
        MxRecord { preference: 20, exchange: None },
    ]);
    assert_eq!(*world.finding(1), Finding::Records(expected));

    let world = asked(Kind::Ptr, |m| {
        m.add_answer(ptr("www.example", 60, "host.example"));
    });
    assert_eq!(*world.finding(1), Finding::Records(Records::Ptr(vec![name("host.example")])));
}

//= RFC 7208 §3.3, type=test
//# If a published record contains multiple character-strings, then the record MUST be treated as
//# if those strings are concatenated together without adding spaces.
#[test]
fn strings_of_a_text_record_are_joined() {
    let world = asked(Kind::Txt, |m| {
        m.add_answer(txt("www.example", 60, &["v=spf1 ", "-all"]));
        m.add_answer(txt("www.example", 60, &["other"]));
    });
    let texts = [b"v=spf1 -all".as_slice(), b"other"].map(Box::from);
    assert_eq!(*world.finding(1), Finding::Records(Records::Txt(texts.into())));
}

#[test]
fn only_the_answer_to_the_question_counts() {
    // Records of other names, of other kinds, and of other sections: none is believed or cached.
    let mut world = asked(Kind::A, |m| {
        m.add_answer(a("evil.example", 60, "192.0.2.66"));
        m.add_answer(aaaa("www.example", 60, "2001:db8::66"));
        m.add_answer(a("www.example", 60, "192.0.2.10"));
        m.add_authority(a("www.example", 60, "192.0.2.67"));
        m.add_additional(a("www.example", 60, "192.0.2.68"));
        m.add_additional(a("evil.example", 60, "192.0.2.69"));
    });
    assert_eq!(*world.finding(1), v4(&["192.0.2.10"]));
    for (waiter, kind) in [(2, Kind::A), (3, Kind::Aaaa)] {
        assert!(world.ask("evil.example", kind, waiter).is_none(), "nothing was cached");
    }
    assert!(world.ask("www.example", Kind::Aaaa, 4).is_none());
}

#[test]
fn an_alias_leads_to_its_records_inside_the_answer() {
    let world = asked(Kind::A, |m| {
        // In any order, and with a record at the alias that no zone can have beside it.
        m.add_answer(a("c.example", 300, "192.0.2.10"));
        m.add_answer(cname("b.example", 30, "c.example"));
        m.add_answer(cname("www.example", 300, "B.Example"));
        m.add_answer(a("b.example", 300, "192.0.2.66"));
    });
    assert_eq!(*world.finding(1), v4(&["192.0.2.10"]));
    assert_eq!(expires_in(&world), Duration::from_secs(30), "the shortest on the way");
    assert_eq!(world.heard(1).unwrap().question, question("www.example", Kind::A));
}

#[test]
fn an_alias_that_ends_outside_the_answer_is_asked_for() {
    let mut world = asked(Kind::A, |m| {
        m.add_answer(cname("www.example", 20, "b.example"));
    });
    assert_eq!(world.heard(1), None);
    let query = world.sent();
    assert_eq!(asked_name(&query), "b.example");
    world.answer(&query, |m| {
        m.add_answer(a("b.example", 300, "192.0.2.10"));
    });
    assert_eq!(*world.finding(1), v4(&["192.0.2.10"]));
    assert_eq!(expires_in(&world), Duration::from_secs(20));
    assert_eq!(world.heard(1).unwrap().question, question("www.example", Kind::A));
}

fn link(n: usize) -> String {
    if n == 0 { "www.example".to_owned() } else { format!("n{n}.example") }
}

#[test]
fn chains_of_aliases_are_followed_up_to_the_bound() {
    for links in [1, DNS_CNAME_MAX - 1, DNS_CNAME_MAX, DNS_CNAME_MAX + 1, DNS_CNAME_MAX + 40] {
        let fits = links <= DNS_CNAME_MAX;
        let world = asked(Kind::A, |m| {
            for n in 0..links {
                m.add_answer(cname(&link(n), 300, &link(n + 1)));
            }
            m.add_answer(a(&link(links), 300, "192.0.2.10"));
        });
        let found = *world.finding(1) == v4(&["192.0.2.10"]);
        assert_eq!(found, fits, "{links} links in one answer: {:?}", world.heard(1));
        assert_eq!(matches!(world.finding(1), Finding::Temporary(_)), !fits);

        let mut world = one_server();
        assert!(world.ask(&link(0), Kind::A, 1).is_none());
        let mut n = 0;
        world.serve(|query, m| {
            assert_eq!(asked_name(query), link(n));
            if n < links {
                m.add_answer(cname(&link(n), 300, &link(n + 1)));
            } else {
                m.add_answer(a(&link(n), 300, "192.0.2.10"));
            }
            n += 1;
            true
        });
        let found = *world.finding(1) == v4(&["192.0.2.10"]);
        assert_eq!(found, fits, "{links} links in as many answers: {:?}", world.heard(1));
    }
}

#[test]
fn a_loop_of_aliases_is_a_temporary_failure() {
    let world = asked(Kind::Mx, |m| {
        m.add_answer(cname("www.example", 300, "b.example"));
        m.add_answer(cname("b.example", 300, "www.example"));
    });
    let expected = "www.example MX: a loop or too long a chain of CNAMEs";
    assert_eq!(*world.finding(1), Finding::Temporary(expected.into()));

    // A loop over several answers ends too.
    let mut world = one_server();
    assert!(world.ask("www.example", Kind::A, 1).is_none());
    world.serve(|query, m| {
        let from = asked_name(query);
        let to = if from == "www.example" { "b.example" } else { "www.example" };
        m.add_answer(cname(&from, 300, to));
        true
    });
    assert!(matches!(world.finding(1), Finding::Temporary(_)));
}

#[test]
fn negative_answers_hold_as_long_as_the_soa_says() {
    let long = u32::try_from(DNS_NEGATIVE_TTL_MAX.as_secs()).unwrap() + 1;
    let cases = [
        (Some((300, 600)), Duration::from_secs(300)),
        (Some((600, 300)), Duration::from_secs(300)),
        (Some((long, long)), DNS_NEGATIVE_TTL_MAX),
        (Some((0, 300)), DNS_TTL_MIN),
        (None, DNS_TTL_MIN),
    ];
    for (times, expected) in cases {
        for (rcode, finding) in [
            (ResponseCode::NoError, Finding::NoRecords),
            (ResponseCode::NXDomain, Finding::NoSuchName),
        ] {
            let world = asked(Kind::A, |m| {
                code(m, rcode);
                if let Some((ttl, minimum)) = times {
                    // Of another zone: says nothing about this name.
                    m.add_authority(soa("other", 1, 1));
                    m.add_authority(soa("example", ttl, minimum));
                }
            });
            assert_eq!(*world.finding(1), finding);
            assert_eq!(expires_in(&world), expected, "{times:?}");
        }
    }
}

//= RFC 6604 §3, type=test
//# The RCODE in the ultimate DNS response MUST BE set based on the final query cycle leading to
//# that response.
#[test]
fn an_alias_of_a_name_that_does_not_exist_does_not_exist() {
    let world = asked(Kind::Mx, |m| {
        code(m, ResponseCode::NXDomain);
        m.add_answer(cname("www.example", 300, "gone.example"));
        m.add_authority(soa("example", 600, 600));
    });
    assert_eq!(*world.finding(1), Finding::NoSuchName);
    let world = asked(Kind::Mx, |m| {
        m.add_answer(cname("www.example", 300, "bare.example"));
        m.add_authority(soa("example", 600, 600));
    });
    assert_eq!(*world.finding(1), Finding::NoRecords);
    assert_eq!(expires_in(&world), Duration::from_secs(300));
}

#[test]
fn positive_answers_hold_as_long_as_their_shortest_ttl_within_bounds() {
    let day = u32::try_from(DNS_TTL_MAX.as_secs()).unwrap();
    let cases = [
        (&[300, 60, 900][..], Duration::from_secs(60)),
        (&[0], DNS_TTL_MIN),
        (&[day + 1], DNS_TTL_MAX),
        // RFC 2181 §8: the top bit set means zero.
        (&[u32::MAX], DNS_TTL_MIN),
    ];
    for (ttls, expected) in cases {
        let world = asked(Kind::A, |m| {
            for &ttl in ttls {
                m.add_answer(a("www.example", ttl, "192.0.2.10"));
            }
        });
        assert_eq!(expires_in(&world), expected, "{ttls:?}");
    }
}

#[test]
fn an_answer_is_asked_for_again_when_its_time_is_over() {
    let mut world = asked(Kind::A, |m| {
        m.add_answer(a("www.example", 60, "192.0.2.10"));
    });
    world.pass(Duration::from_secs(59));
    let cached = world.ask("WWW.EXAMPLE.", Kind::A, 2).expect("from the cache, in any case");
    assert_eq!(cached.finding, v4(&["192.0.2.10"]));
    world.pass(Duration::from_secs(1));
    assert!(world.ask("www.example", Kind::A, 3).is_none());
    let query = world.sent();
    world.answer(&query, |m| {
        m.add_answer(a("www.example", 60, "192.0.2.20"));
    });
    assert_eq!(*world.finding(3), v4(&["192.0.2.20"]));
}

#[test]
fn the_ad_bit_is_kept_where_it_may_be_believed() {
    let near = "127.0.0.53:53".parse().unwrap();
    let far = two_servers()[0];
    for (server, trust_ad, ad) in [
        (near, false, true),
        (near, false, false),
        (far, false, true),
        (far, true, true),
        (far, true, false),
    ] {
        let mut world = World::with(Options { trust_ad, ..options(&[server]) }, 1);
        assert!(world.ask("www.example", Kind::A, 1).is_none());
        let query = world.sent();
        assert!(query_of(&query).metadata.authentic_data, "RFC 6840 §5.7: we ask for it");
        // An unauthenticated alias spoils what it leads to.
        let alias = |authentic: bool| {
            move |m: &mut hickory_proto::op::Message| {
                m.metadata.authentic_data = authentic;
                m.add_answer(cname("www.example", 60, "b.example"));
            }
        };
        world.answer(&query, alias(ad));
        let query = world.sent();
        world.answer(&query, |m| {
            m.metadata.authentic_data = true;
            m.add_answer(a("b.example", 60, "192.0.2.10"));
        });
        let believed = ad && (trust_ad || server == near);
        assert_eq!(world.heard(1).unwrap().authenticated, believed);
    }
}

#[test]
fn records_beyond_the_bound_are_dropped() {
    let mut world = one_server();
    assert!(world.ask("www.example", Kind::A, 1).is_none());
    world.serve(|_, m| {
        for n in 0..DNS_RECORDS_MAX + 50 {
            m.add_answer(a("www.example", 60, &format!("192.0.{}.{}", n / 256, n % 256)));
        }
        true
    });
    let Finding::Records(Records::A(found)) = world.finding(1) else { panic!("addresses") };
    assert_eq!(found.len(), DNS_RECORDS_MAX);
}
