//! Lists, shares and health of upstream relays.

use super::*;
use crate::base::limits::EJECTION_FIRST;
use crate::base::prng::Prng;
use crate::egress::domain_hash;
use crate::egress::health::{Purpose, Signal};
use crate::mail::address::Domain;

const DOMAINS: u64 = 100_000;

fn group(list: &str) -> Group {
    Group::parse(list).unwrap()
}

fn hash(number: u64) -> u64 {
    domain_hash(&Domain::parse(&format!("d{number}.example")).unwrap())
}

/// The member of each domain while all are as `health` knows them.
fn choices(group: &Group, health: &mut GroupHealth, now: Monotonic) -> Vec<u16> {
    (0..DOMAINS).map(|domain| group.choose(hash(domain), health, now).member).collect()
}

fn share(choices: &[u16], member: u16) -> f64 {
    choices.iter().filter(|chosen| **chosen == member).count() as f64 / choices.len() as f64
}

fn shown(group: &Group) -> Vec<String> {
    let show = |m: &Member| format!("{} *{} /{}", m.host, m.weight, m.preference);
    group.members().iter().map(show).collect()
}

#[test]
fn a_list_is_read_as_people_write_it() {
    let read = group("Relay-1.Example.com, 192.0.2.1:2525*3 ;[2001:db8::1]*2,[::1]:26; localhost.");
    assert_eq!(
        shown(&read),
        [
            "relay-1.example.com:25 *1 /0",
            "192.0.2.1:2525 *3 /0",
            "[2001:db8::1]:25 *2 /1",
            "[::1]:26 *1 /1",
            "localhost:25 *1 /2",
        ]
    );
    assert_eq!(shown(&group("[192.0.2.1] * 7")), ["192.0.2.1:25 *7 /0"]);
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for (list, at, what) in [
        ("", 1, "a host is missing"),
        ("a,", 3, "a host is missing"),
        ("a;;b", 3, "a host is missing"),
        ("a, b:0", 6, "the port is a number from 1 to 65535, not \"0\""),
        ("a:65536", 3, "the port is a number from 1 to 65535, not \"65536\""),
        ("a:+25", 3, "the port is a number from 1 to 65535, not \"+25\""),
        ("a:", 3, "the port is a number from 1 to 65535, not \"\""),
        ("a*0", 3, "the weight is a number from 1 to 1000000, not \"0\""),
        ("a,b*1000001", 5, "the weight is a number from 1 to 1000000, not \"1000001\""),
        ("a*", 3, "the weight is a number from 1 to 1000000, not \"\""),
        ("2001:db8::1", 1, "an IPv6 address stands in brackets: [2001:db8::1]"),
        ("[2001:db8::1", 1, "a bracket is not closed"),
        ("[2001:db8::1]25", 14, "expected :port, not \"25\""),
        ("[relay]:25", 1, "\"relay\" in brackets is no IP address"),
        ("a,-b", 3, "\"-b\" is neither a host name nor an IP address"),
        ("192.0.2.300", 1, "\"192.0.2.300\" is neither a host name nor an IP address"),
        ("ä:25", 1, "\"ä\" is neither a host name nor an IP address"),
        ("a,b:25;B", 8, "b:25 is listed twice"),
        ("a b", 1, "\"a b\" is neither a host name nor an IP address"),
    ] {
        let what = what.to_string();
        assert_eq!(Group::parse(list), Err(ListError { at, what }), "{list:?}");
    }
    let long = (0..=UPSTREAMS_MAX).map(|n| format!("r{n}")).collect::<Vec<_>>().join(",");
    assert!(Group::parse(&long).is_err_and(|error| error.what == "more than 256 relays"));
}

#[test]
fn no_list_makes_the_reader_panic() {
    let alphabet: Vec<char> = "a1.:*,;[] -é\0".chars().collect();
    for seed in 0..20_000 {
        let mut prng = Prng::from_number(seed);
        let length = prng.below(12);
        let mut one = || alphabet[prng.below(alphabet.len() as u64) as usize];
        let list: String = (0..length).map(|_| one()).collect();
        if let Err(error) = Group::parse(&list) {
            assert!(error.at <= list.chars().count() + 1, "seed {seed}: {list:?}: {error}");
        }
    }
}

#[test]
fn members_share_by_weight_to_a_percentage_point() {
    for (list, shares) in [
        ("a*3,b*2,c*1", vec![3.0 / 6.0, 2.0 / 6.0, 1.0 / 6.0]),
        ("a,b,c,d", vec![0.25; 4]),
        ("a*1000,b", vec![1_000.0 / 1_001.0, 1.0 / 1_001.0]),
        ("a*2,b*2;c*9", vec![0.5, 0.5, 0.0]),
    ] {
        let group = group(list);
        let chosen = choices(&group, &mut GroupHealth::new(shares.len()), Monotonic(0));
        for (member, expected) in (0..).zip(shares) {
            let share = share(&chosen, member);
            assert!((share - expected).abs() < 0.01, "{list}: member {member} has {share}");
        }
    }
}

#[test]
fn only_the_dead_ones_domains_move_and_they_come_back_exactly() {
    let group = group("a*3,b*2,c*1");
    let (mut health, mut prng) = (GroupHealth::new(3), Prng::from_number(1));
    let before = choices(&group, &mut health, Monotonic(0));
    assert!(health.report(1, Purpose::Delivery, Signal::Unreachable, Monotonic(0), &mut prng));
    let during = choices(&group, &mut health, Monotonic(1));
    for (was, is) in before.iter().zip(&during) {
        assert!(*is != 1 && (*was == 1 || was == is), "{was} moved to {is}");
    }
    // Its domains are shared by the others' weights.
    let moved: Vec<u16> =
        before.iter().zip(&during).filter(|(was, _)| **was == 1).map(|(_, is)| *is).collect();
    assert!((share(&moved, 0) - 0.75).abs() < 0.02);
    let later = Monotonic(0) + EJECTION_FIRST * 2;
    let mut choice = |n| group.choose(hash(n), &mut health, later).choice;
    let probes = (0..DOMAINS).filter(|n| choice(*n) == Choice::Probe);
    assert_eq!(probes.count(), 1, "one job finds out");
    assert!(health.report(1, Purpose::Trial, Signal::Answered, later, &mut prng));
    assert_eq!(choices(&group, &mut health, later), before);
}

#[test]
fn a_member_that_joins_takes_only_its_share() {
    let (three, four) = (group("a,b,c"), group("d,c,b,a"));
    let before = choices(&three, &mut GroupHealth::new(3), Monotonic(0));
    let after = choices(&four, &mut GroupHealth::new(4), Monotonic(0));
    let name = |group: &Group, member: &u16| group.members()[usize::from(*member)].host.to_string();
    let mut moved = 0;
    for (was, is) in before.iter().zip(&after) {
        let (was, is) = (name(&three, was), name(&four, is));
        assert!(was == is || is == "d:25", "{was} moved to {is}");
        moved += u64::from(was != is);
    }
    assert!((DOMAINS * 24 / 100..DOMAINS * 26 / 100).contains(&moved), "{moved}");
}

#[test]
fn a_preference_is_used_only_when_all_before_it_fail() {
    let group = group("a,b;c;d");
    let (mut health, mut prng) = (GroupHealth::new(4), Prng::from_number(2));
    let now = Monotonic(0);
    for (gone, left) in [(0, vec![1]), (1, vec![2]), (2, vec![3])] {
        health.report(gone, Purpose::Delivery, Signal::Unreachable, now, &mut prng);
        let used = choices(&group, &mut health, now);
        assert!(used.iter().all(|member| left.contains(member)), "after {gone}");
    }
}

#[test]
fn where_none_works_each_domain_goes_where_it_goes_when_all_do() {
    let group = group("a*2,b;c");
    let (mut health, mut prng) = (GroupHealth::new(3), Prng::from_number(2));
    let now = Monotonic(0);
    let before = choices(&group, &mut health, now);
    for member in 0..3 {
        health.report(member, Purpose::Delivery, Signal::Unreachable, now, &mut prng);
    }
    assert_eq!(group.choose(7, &mut health, now).choice, Choice::NoneWorks);
    assert_eq!(choices(&group, &mut health, now), before);
    let later = now + EJECTION_FIRST * 2;
    assert_eq!(group.choose(7, &mut health, later).choice, Choice::Probe);
}
