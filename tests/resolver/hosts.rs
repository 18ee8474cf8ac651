//! From domains and host names to the addresses to try, over a resolver and a small zone.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Record, RecordType};
use relay_fast::base::limits::{MX_ADDRESSES_MAX, MX_HOSTS_MAX};
use relay_fast::base::prng::Prng;
use relay_fast::dns::{Finding, HostLookup, HostOutcome, Kind, MxLookup, MxOutcome, OwnNames};
use relay_fast::mail::address::Domain;

use crate::world::*;

/// What the servers know: records, and names (with a type) that they fail to answer for.
#[derive(Default)]
struct Zone {
    records: Vec<Record>,
    failing: Vec<(&'static str, RecordType)>,
}

impl Zone {
    fn of(records: impl IntoIterator<Item = Record>) -> Self {
        Self { records: records.into_iter().collect(), failing: Vec::new() }
    }

    fn answer(&self, asked: &str, message: &mut Message) {
        let kind = message.queries[0].query_type;
        if self.failing.contains(&(asked, kind)) {
            return code(message, ResponseCode::ServFail);
        }
        let owned = self.records.iter().filter(|record| record.name == wire(asked));
        let mut exists = false;
        for record in owned {
            exists = true;
            if [kind, RecordType::CNAME].contains(&record.record_type()) {
                message.add_answer(record.clone());
            }
        }
        if message.answers.is_empty() {
            message.add_authority(soa("example", 60, 60));
        }
        if !exists {
            code(message, ResponseCode::NXDomain);
        }
    }
}

/// Run a lookup to its end; `waiter` 1.
fn mail_hosts(zone: &Zone, domain: &str, own: OwnNames, seed: u64) -> MxOutcome {
    let mut world = World::with(options(&two_servers()), seed);
    let mut prng = Prng::from_number(seed);
    let mut lookup = MxLookup::new(&Domain::parse(domain).unwrap(), Arc::new(own));
    for _ in 0..100 {
        if let Some(outcome) = lookup.advance(&mut world.resolver, &mut prng, 1, world.now) {
            assert_eq!(lookup.poll_question(), None);
            return outcome;
        }
        for answer in world.run(|asked, message| zone.answer(asked, message)) {
            lookup.handle_answer(&answer, &mut prng);
        }
    }
    panic!("a lookup that does not end");
}

fn of(zone: &Zone, domain: &str) -> MxOutcome {
    mail_hosts(zone, domain, OwnNames::default(), 1)
}

/// The hosts as `name/preference`.
fn listed(outcome: &MxOutcome) -> Vec<String> {
    let MxOutcome::Hosts(hosts) = outcome else { panic!("hosts, not {outcome:?}") };
    hosts.iter().map(|host| format!("{}/{}", host.name, host.preference)).collect()
}

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn own_name(text: &str) -> OwnNames {
    OwnNames { names: vec![name(text)], addresses: Vec::new() }
}

fn own_address(text: &str) -> OwnNames {
    OwnNames { names: Vec::new(), addresses: addresses(&[text]) }
}

//= RFC 5321 §5.1, type=test
//# Lower numbers are more preferred than higher ones.
#[test]
fn mx_hosts_are_tried_by_preference() {
    let zone = Zone::of([
        mx("d.example", 60, 30, "c.example"),
        mx("d.example", 60, 10, "a.example"),
        mx("d.example", 60, 20, "b.example"),
        a("a.example", 60, "192.0.2.1"),
        a("b.example", 60, "192.0.2.2"),
        a("c.example", 60, "192.0.2.3"),
        // An address of the domain itself is none of its MX hosts' business.
        a("d.example", 60, "192.0.2.66"),
    ]);
    let outcome = of(&zone, "D.example");
    assert_eq!(listed(&outcome), ["a.example/10", "b.example/20", "c.example/30"]);
    let MxOutcome::Hosts(hosts) = outcome else { unreachable!() };
    assert_eq!(hosts[0].addresses, addresses(&["192.0.2.1"]));
}

//= RFC 5321 §5.1, type=test
//# If there are multiple destinations with the same preference and there is no clear reason to
//# favor one [...], then the sender-SMTP MUST randomize them to spread the load
#[test]
fn hosts_of_equal_preference_come_in_any_order() {
    let mut records = vec![mx("d.example", 60, 5, "first.example")];
    records.push(a("first.example", 60, "192.0.2.9"));
    for host in ["x", "y", "z"] {
        records.push(mx("d.example", 60, 10, &format!("{host}.example")));
        records.push(a(&format!("{host}.example"), 60, "192.0.2.1"));
    }
    let zone = Zone::of(records);
    let orders: HashSet<Vec<String>> = (0..100)
        .map(|seed| listed(&mail_hosts(&zone, "d.example", OwnNames::default(), seed)))
        .collect();
    assert!(orders.iter().all(|order| order[0] == "first.example/5"));
    assert_eq!(orders.len(), 6, "{orders:?}");
}

//= RFC 5321 §5.1, type=test
//# If an empty list of MXs is returned, the address is treated as if it was associated with an
//# implicit MX RR, with a preference of 0, pointing to that host.
#[test]
fn without_mx_the_domain_is_its_own_host() {
    let zone = Zone::of([a("d.example", 60, "192.0.2.1")]);
    assert_eq!(listed(&of(&zone, "d.example")), ["d.example/0"]);
    let zone = Zone::of([aaaa("d.example", 60, "2001:db8::1")]);
    assert_eq!(listed(&of(&zone, "d.example")), ["d.example/0"]);
    let zone = Zone::of([txt("d.example", 60, &["no mail here"])]);
    assert_eq!(of(&zone, "d.example"), MxOutcome::NoSuchDomain);
}

//= RFC 5321 §5.1, type=test
//# If a CNAME record is found, the resulting name is processed as if it were the initial name.
#[test]
fn an_alias_is_followed_to_its_mx() {
    let zone = Zone::of([
        cname("d.example", 60, "real.example"),
        mx("real.example", 60, 10, "alias.example"),
        // RFC 2181 §10.3 forbids it; senders follow it all the same.
        cname("alias.example", 60, "host.example"),
        a("host.example", 60, "192.0.2.1"),
    ]);
    assert_eq!(listed(&of(&zone, "d.example")), ["alias.example/10"]);
}

//= RFC 5321 §5.1, type=test
//# If a non-existent domain error is returned, this situation MUST be reported as an error.
#[test]
fn a_domain_that_does_not_exist_is_no_domain() {
    assert_eq!(of(&Zone::default(), "gone.example"), MxOutcome::NoSuchDomain);
}

//= RFC 5321 §5.1, type=test
//# If a temporary error is returned, the message MUST be queued and retried later
#[test]
fn a_temporary_error_is_temporary() {
    let mut zone = Zone::of([a("d.example", 60, "192.0.2.1")]);
    zone.failing.push(("d.example", RecordType::MX));
    let outcome = of(&zone, "d.example");
    let reason = "d.example MX: SERVFAIL from 192.0.2.2";
    assert_eq!(outcome, MxOutcome::Temporary(reason.into()));

    let loops =
        Zone::of([cname("d.example", 60, "e.example"), cname("e.example", 60, "d.example")]);
    assert!(matches!(of(&loops, "d.example"), MxOutcome::Temporary(_)));
}

//= RFC 7505 §3, type=test
//# To indicate that a domain does not accept email, it advertises a single MX RR [...] with an
//# RDATA section consisting of preference number 0 and a zero-length label, [...] as the exchange
//# domain
#[test]
fn a_null_mx_takes_no_mail() {
    let zone = Zone::of([mx("d.example", 60, 0, "."), a("d.example", 60, "192.0.2.1")]);
    assert_eq!(of(&zone, "d.example"), MxOutcome::NullMx);
    // Beside real hosts it says nothing (RFC 7505 §3 forbids it).
    let zone = Zone::of([
        mx("d.example", 60, 0, "."),
        mx("d.example", 60, 10, "a.example"),
        a("a.example", 60, "192.0.2.1"),
    ]);
    assert_eq!(listed(&of(&zone, "d.example")), ["a.example/10"]);
}

//= RFC 5321 §5.1, type=test
//# If MX records are present, but none of them are usable, [...] this situation MUST be reported
//# as an error.
#[test]
fn hosts_without_an_address_are_skipped_and_none_left_is_an_error() {
    let mut records = vec![
        mx("d.example", 60, 10, "gone.example"),
        mx("d.example", 60, 20, "192.0.2.66"),
        mx("d.example", 60, 30, "nowhere.example"),
        mx("d.example", 60, 40, "odd!name.example"),
        a("nowhere.example", 60, "0.0.0.0"),
        aaaa("nowhere.example", 60, "ff02::1"),
        a("d.example", 60, "192.0.2.66"),
    ];
    assert_eq!(of(&Zone::of(records.clone()), "d.example"), MxOutcome::NoSuchDomain);
    records.push(mx("d.example", 60, 50, "a.example"));
    records.push(a("a.example", 60, "192.0.2.1"));
    assert_eq!(listed(&of(&Zone::of(records), "d.example")), ["a.example/50"]);
}

#[test]
fn a_host_that_cannot_be_looked_up_now_delays_only_when_no_other_is_left() {
    let mut zone = Zone::of([
        mx("d.example", 60, 10, "dark.example"),
        mx("d.example", 60, 20, "gone.example"),
    ]);
    zone.failing.push(("dark.example", RecordType::A));
    assert!(matches!(of(&zone, "d.example"), MxOutcome::Temporary(_)));
    zone.records.push(mx("d.example", 60, 30, "a.example"));
    zone.records.push(a("a.example", 60, "192.0.2.1"));
    assert_eq!(listed(&of(&zone, "d.example")), ["a.example/30"]);
    // One family that works is enough.
    zone.records.push(aaaa("dark.example", 60, "2001:db8::1"));
    assert_eq!(listed(&of(&zone, "d.example")), ["dark.example/10", "a.example/30"]);
}

//= RFC 5321 §5.1, type=test
//# If a matching record is found, all records at that preference level and higher-numbered ones
//# MUST be discarded from consideration. If there are no records left at that point, it is an error
//# condition, and the message MUST be returned as undeliverable.
#[test]
fn this_node_and_all_that_is_no_better_is_dropped() {
    let zone = Zone::of([
        mx("d.example", 60, 10, "better.example"),
        mx("d.example", 60, 20, "own.example"),
        mx("d.example", 60, 20, "equal.example"),
        mx("d.example", 60, 30, "worse.example"),
        a("better.example", 60, "192.0.2.1"),
        a("own.example", 60, "192.0.2.2"),
        a("equal.example", 60, "192.0.2.3"),
        a("worse.example", 60, "192.0.2.4"),
    ]);
    for own in [own_name("OWN.example"), own_address("192.0.2.2"), own_address("::ffff:192.0.2.2")]
    {
        assert_eq!(listed(&mail_hosts(&zone, "d.example", own, 1)), ["better.example/10"]);
    }
    for own in [own_name("better.example"), own_address("192.0.2.1")] {
        assert_eq!(mail_hosts(&zone, "d.example", own, 1), MxOutcome::Loop);
    }
    let implicit = Zone::of([a("d.example", 60, "192.0.2.1")]);
    for own in [own_name("d.example"), own_address("192.0.2.1")] {
        assert_eq!(mail_hosts(&implicit, "d.example", own, 1), MxOutcome::Loop);
    }
}

#[test]
fn a_better_host_that_cannot_be_looked_up_now_makes_no_loop() {
    let mut zone = Zone::of([
        mx("d.example", 60, 10, "better.example"),
        mx("d.example", 60, 20, "own.example"),
        a("own.example", 60, "192.0.2.2"),
    ]);
    assert_eq!(mail_hosts(&zone, "d.example", own_address("192.0.2.2"), 1), MxOutcome::Loop);
    assert_eq!(mail_hosts(&zone, "d.example", own_name("own.example"), 1), MxOutcome::Loop);
    zone.failing.push(("better.example", RecordType::A));
    for own in [own_name("own.example"), own_address("192.0.2.2")] {
        let outcome = mail_hosts(&zone, "d.example", own, 1);
        assert!(matches!(outcome, MxOutcome::Temporary(_)), "{outcome:?}");
    }
}

//= RFC 5321 §4.1.3, type=test
//# a special literal form of the address is allowed as an alternative to a domain name
#[test]
fn an_address_literal_needs_no_dns() {
    for (domain, address) in [("[192.0.2.1]", "192.0.2.1"), ("[IPv6:2001:db8::1]", "2001:db8::1")] {
        let MxOutcome::Hosts(hosts) = of(&Zone::default(), domain) else { panic!("a host") };
        assert_eq!((hosts.len(), hosts[0].preference), (1, 0));
        assert_eq!(hosts[0].addresses, addresses(&[address]));
        let own = own_address(address);
        assert_eq!(mail_hosts(&Zone::default(), domain, own, 1), MxOutcome::Loop);
    }
    assert_eq!(of(&Zone::default(), "[0.0.0.0]"), MxOutcome::NoSuchDomain);
}

#[test]
fn more_hosts_than_the_bound_lose_the_least_preferred() {
    let mut zone = Zone::default();
    for n in 0..MX_HOSTS_MAX + 20 {
        let host = format!("h{n}.example");
        zone.records.push(mx("d.example", 60, u16::try_from(100 - n).unwrap(), &host));
        zone.records.push(a(&host, 60, "192.0.2.1"));
    }
    let hosts = listed(&of(&zone, "d.example"));
    assert_eq!(hosts.len(), MX_HOSTS_MAX);
    let best = MX_HOSTS_MAX + 19;
    assert_eq!(hosts[0], format!("h{best}.example/{}", 100 - best));
}

#[test]
fn of_a_thousand_mx_records_as_many_hosts_as_the_bound_are_kept() {
    let mut zone = Zone::default();
    for n in 0..1_000 {
        let host = format!("h{n}.example");
        zone.records.push(mx("d.example", 60, 10, &host));
        zone.records.push(a(&host, 60, "192.0.2.1"));
    }
    assert_eq!(listed(&of(&zone, "d.example")).len(), MX_HOSTS_MAX);
}

#[test]
fn a_host_listed_twice_is_tried_once_at_its_better_preference() {
    let zone = Zone::of([
        mx("d.example", 60, 20, "a.example"),
        mx("d.example", 60, 10, "A.example"),
        a("a.example", 60, "192.0.2.1"),
    ]);
    assert_eq!(listed(&of(&zone, "d.example")), ["a.example/10"]);
}

/// Run the lookup of `host.example` to its end.
fn host(zone: &Zone, seed: u64) -> HostOutcome {
    let mut world = World::with(options(&two_servers()), seed);
    let mut prng = Prng::from_number(seed);
    let mut lookup = HostLookup::new(name("host.example"));
    loop {
        if let Some(outcome) = lookup.advance(&mut world.resolver, &mut prng, 1, world.now) {
            return outcome;
        }
        for answer in world.run(|asked, message| zone.answer(asked, message)) {
            lookup.handle_answer(&answer);
        }
    }
}

#[test]
fn families_take_turns_and_addresses_of_one_come_in_any_order() {
    let mut zone = Zone::default();
    for n in 1..=3 {
        zone.records.push(a("host.example", 60, &format!("192.0.2.{n}")));
    }
    zone.records.push(aaaa("host.example", 60, "2001:db8::1"));
    zone.records.push(aaaa("host.example", 60, "2001:db8::2"));
    let mut orders = HashSet::new();
    for seed in 0..200 {
        let HostOutcome::Addresses(found) = host(&zone, seed) else { panic!("addresses") };
        let families: Vec<bool> = found.iter().map(IpAddr::is_ipv4).collect();
        assert_eq!(families, [true, false, true, false, true], "seed {seed}");
        orders.insert(found);
    }
    assert_eq!(orders.len(), 12);
}

#[test]
fn a_host_has_addresses_or_none_or_nobody_knows() {
    assert_eq!(host(&Zone::default(), 1), HostOutcome::NoAddress);
    let mut zone = Zone::default();
    zone.failing.push(("host.example", RecordType::AAAA));
    assert!(matches!(host(&zone, 1), HostOutcome::Temporary(_)));
    zone.records.push(a("host.example", 60, "192.0.2.1"));
    assert_eq!(host(&zone, 1), HostOutcome::Addresses(addresses(&["192.0.2.1"])));
    // An IPv4 address in IPv6 form is the same address.
    let mapped = Zone::of([aaaa("host.example", 60, "::ffff:192.0.2.1")]);
    assert_eq!(host(&mapped, 1), HostOutcome::Addresses(addresses(&["192.0.2.1"])));
}

#[test]
fn a_host_with_many_addresses_keeps_some_of_each_family() {
    let mut zone = Zone::default();
    for n in 0..50 {
        zone.records.push(a("host.example", 60, &format!("192.0.2.{n}")));
        zone.records.push(aaaa("host.example", 60, &format!("2001:db8::{n}")));
    }
    let HostOutcome::Addresses(found) = host(&zone, 1) else { panic!("addresses") };
    assert_eq!(found.len(), MX_ADDRESSES_MAX);
    assert_eq!(found.iter().filter(|address| address.is_ipv4()).count(), MX_ADDRESSES_MAX / 2);
}

#[test]
fn an_outcome_holds_as_long_as_all_it_came_from() {
    let zone = Zone::of([
        mx("d.example", 300, 10, "a.example"),
        mx("d.example", 300, 10, "b.example"),
        a("a.example", 200, "192.0.2.1"),
        a("b.example", 40, "192.0.2.2"),
    ]);
    let mut world = World::new(&two_servers());
    let mut prng = Prng::from_number(1);
    let domain = Domain::parse("d.example").unwrap();
    let mut lookup = MxLookup::new(&domain, Arc::default());
    while lookup.advance(&mut world.resolver, &mut prng, 1, world.now).is_none() {
        for answer in world.run(|asked, message| zone.answer(asked, message)) {
            lookup.handle_answer(&answer, &mut prng);
        }
    }
    assert_eq!(lookup.holds_for(world.now), Duration::from_secs(40));
    let literal = MxLookup::new(&Domain::parse("[192.0.2.1]").unwrap(), Arc::default());
    assert!(literal.holds_for(world.now) > Duration::from_secs(3_600));
}

#[test]
fn answers_to_other_questions_change_nothing() {
    let mut world = World::new(&two_servers());
    let mut prng = Prng::from_number(1);
    let domain = Domain::parse("d.example").unwrap();
    let mut lookup = MxLookup::new(&domain, Arc::default());
    for (text, kind) in [("d.example", Kind::A), ("other.example", Kind::Mx)] {
        assert!(world.ask(text, kind, 7).is_none());
    }
    let answers = world.run(|_, message| code(message, ResponseCode::NXDomain));
    assert_eq!(answers.len(), 2);
    assert!(answers.iter().all(|answer| answer.finding == Finding::NoSuchName));
    assert!(lookup.poll_question().is_some());
    for answer in answers {
        lookup.handle_answer(&answer, &mut prng);
    }
    assert_eq!(lookup.outcome(&mut prng), None);
}
