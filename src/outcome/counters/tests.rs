//! Rows, counts and how they add up.

use super::*;
use std::collections::BTreeSet;

#[test]
fn rows_stand_where_their_count_points() {
    for (place, row) in COUNTS.iter().enumerate() {
        assert_eq!(row.count as usize, place, "{row:?}");
    }
    for (place, row) in LATENCIES.iter().enumerate() {
        assert_eq!(row.latency as usize, place, "{row:?}");
    }
    for (place, row) in SIZES.iter().enumerate() {
        assert_eq!(row.size as usize, place, "{row:?}");
    }
}

/// <https://prometheus.io/docs/practices/naming/>
#[test]
fn names_follow_the_rules_of_prometheus() {
    for row in COUNTS {
        assert!(row.name.starts_with("relay_fast_"), "{row:?}");
        assert!(row.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{row:?}");
        assert_eq!(row.name.ends_with("_total"), row.kind == Kind::Counter, "{row:?}");
    }
    assert!(LATENCIES.iter().all(|row| row.name.ends_with("_seconds")));
}

#[test]
fn a_family_stands_together_and_has_one_kind_and_help() {
    let mut seen = BTreeSet::new();
    for (before, row) in std::iter::once(None).chain(COUNTS.iter().map(Some)).zip(COUNTS) {
        let goes_on = before.is_some_and(|before| before.name == row.name);
        assert!(goes_on || seen.insert(row.name), "{} is split", row.name);
        if let Some(before) = before.filter(|_| goes_on) {
            assert_eq!((before.kind, before.help), (row.kind, row.help));
            assert_ne!(before.labels, row.labels);
        }
    }
}

#[test]
fn shards_add_up() {
    let (mut one, mut two) = (Counters::default(), Counters::default());
    one.increment(Count::Delivered);
    two.add(Count::Delivered, 4);
    one.set(Count::QueueReady, 7);
    two.set(Count::QueueReady, 3);
    one.record(Latency::Commit, Duration::from_millis(1));
    two.record(Latency::Commit, Duration::from_secs(1));
    one.measure(Size::GroupMessages, 7);
    two.measure(Size::GroupMessages, 1);
    one.refused(Class::Quota, true);
    two.refused(Class::Quota, true);
    two.refused(Class::Greylisted, false);
    one.merge(&two);
    let refused: Vec<_> = one.refusals().filter(|(_, counts)| *counts != [0, 0]).collect();
    assert_eq!(refused, [(Class::Quota, [0, 2]), (Class::Greylisted, [1, 0])]);
    assert_eq!(one.size(Size::GroupMessages).sum(), 8);
    assert_eq!(one.count(Count::Delivered), 5);
    assert_eq!(one.count(Count::QueueReady), 10);
    assert_eq!(one.latency(Latency::Commit).count(), 2);
    assert_eq!(one.samples().count(), COUNTS.len() + LATENCIES.len() + SIZES.len());
}
