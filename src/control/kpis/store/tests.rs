//! Figures over commits, faults and bounds.

use super::*;
use crate::base::ids::{MessageId, ShardId};
use crate::outcome::event::{Event, Kind};
use crate::outcome::kpi::Figure;

const HOUR: i64 = 3_600_000;
/// The start of a day, long after 1970.
const NOW: i64 = 20_000 * 24 * HOUR;

fn event(domain: &str, time: i64) -> Event<'_> {
    let event = Event::new(Kind::Received, MessageId(1), WallTime(time), ShardId(0));
    Event { domain: domain.into(), ..event }
}

fn tally<'e>(events: impl IntoIterator<Item = Event<'e>>) -> Tally {
    let mut tally = Tally::default();
    events.into_iter().for_each(|event| tally.add(&event));
    tally
}

fn open(folder: &tempfile::TempDir) -> Store {
    Store::open(&folder.path().join("k.redb")).unwrap()
}

fn commit(store: &Store, tally: &Tally, options: &KpiOptions, now: i64) {
    let unchanged = (&BTreeMap::new(), &Changes::default());
    store.commit(tally, unchanged, options, WallTime(now)).unwrap();
}

fn span(resolution: Resolution, dimension: Dimension, starts: Range<i64>) -> Span {
    Span { resolution, dimension, starts: WallTime(starts.start)..WallTime(starts.end) }
}

/// Injected, by key; the last one is of all others.
fn injected(store: &Store, span: &Span) -> Vec<(String, u64)> {
    let (rows, others) = store.totals(span, None, 10_000).unwrap().top(10_000);
    let count = |figures: &Figures| figures.count(Figure::Injected);
    let mut all: Vec<_> = rows.iter().map(|(key, figures)| (key.clone(), count(figures))).collect();
    all.sort();
    all.push(("others".to_owned(), count(&others)));
    all
}

fn pairs(pairs: &[(&str, u64)]) -> Vec<(String, u64)> {
    pairs.iter().map(|(key, count)| ((*key).to_owned(), *count)).collect()
}

/// What the figures say that they take, and what they take.
fn assert_octets(store: &Store) {
    let figures = store.0.begin_read().unwrap().open_table(FIGURES).unwrap();
    let octets = figures.iter().unwrap().map(|row| {
        let (place, octets) = row.unwrap();
        (place.value().len() + octets.value().len()) as u64
    });
    assert_eq!(store.octets().unwrap(), octets.sum::<u64>());
}

#[test]
fn commits_add_up_and_outlive_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let reached =
        Reached { mark: Mark { file: 1, offset: 2, sequence: 3, time: WallTime(4) }, counted: 9 };
    {
        let store = open(&folder);
        let first = tally([event("a", NOW), event("a", NOW + 1), event("b", NOW + HOUR)]);
        commit(&store, &first, &KpiOptions::default(), NOW);
        let second = tally([event("a", NOW + 59_999), event("a", NOW + 60_000)]);
        let reached = [(7, reached)].into();
        let reached = (&reached, &Changes::default());
        store.commit(&second, reached, &KpiOptions::default(), WallTime(NOW)).unwrap();
    }
    let store = open(&folder);
    assert_eq!(store.reached().unwrap(), [(7, reached)].into());
    for (resolution, starts, expected) in [
        (Resolution::Minute, NOW..NOW + 60_000, &[("a", 3), ("others", 0)][..]),
        (Resolution::Minute, NOW..NOW + 2 * HOUR, &[("a", 4), ("b", 1), ("others", 0)]),
        (Resolution::Hour, NOW..NOW + HOUR, &[("a", 4), ("others", 0)]),
        (Resolution::Hour, NOW - HOUR..NOW, &[("others", 0)]),
        (Resolution::Day, NOW..NOW + 24 * HOUR, &[("a", 4), ("b", 1), ("others", 0)]),
    ] {
        let found = injected(&store, &span(resolution, Dimension::Domain, starts));
        assert_eq!(found, pairs(expected), "{resolution}");
    }
    let hours = span(Resolution::Hour, Dimension::Domain, NOW..NOW + 5 * HOUR);
    let series = store.series(&hours, "b").unwrap();
    assert_eq!(series.keys().copied().collect::<Vec<_>>(), [WallTime(NOW + HOUR)]);
    let one = store.totals(&hours, Some("a"), 10).unwrap().top(10);
    assert_eq!((one.0.len(), one.0[0].1.count(Figure::Injected)), (1, 4));
    assert_octets(&store);
}

#[test]
fn keys_of_an_interval_are_bounded_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let options = KpiOptions { keys: 5, ..KpiOptions::default() };
    let names: Vec<String> = (0..40).map(|number| format!("d{number}")).collect();
    for round in 0..3 {
        let events = names.iter().enumerate().flat_map(|(place, name)| {
            // The first ones are the big ones.
            let count = if place < 5 { 20 } else { 1 };
            (0..count).map(|_| event(name, NOW))
        });
        commit(&store, &tally(events), &options, NOW);
        let day = span(Resolution::Day, Dimension::Domain, NOW..NOW + HOUR);
        let found = injected(&store, &day);
        assert!(found.len() <= 5 * KPI_KEYS_SLACK + 1, "{found:?}");
        for name in &names[..5] {
            assert!(found.contains(&(name.clone(), 20 * (round + 1))), "{name}: {found:?}");
        }
        let sum: u64 = found.iter().map(|(_, count)| count).sum();
        assert_eq!(sum, 135 * (round + 1));
        assert_octets(&store);
    }
}

#[test]
fn what_is_too_old_goes_by_its_resolution_and_is_not_counted_there_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let hours = |count: i64| std::time::Duration::from_millis((count * HOUR).unsigned_abs());
    let keep = [hours(1), hours(24), hours(24 * 30)];
    let options = KpiOptions { keep, ..KpiOptions::default() };
    commit(&store, &tally([event("a", NOW)]), &options, NOW);
    let left = |now: i64| {
        commit(&store, &tally([event("a", NOW)]), &options, now);
        assert_octets(&store);
        Resolution::ALL.map(|resolution| {
            injected(&store, &span(resolution, Dimension::All, NOW..NOW + 1))[0].1
        })
    };
    assert_eq!(left(NOW + HOUR), [2, 2, 2]);
    assert_eq!(left(NOW + 2 * HOUR), [0, 3, 3]);
    assert_eq!(left(NOW + 26 * HOUR), [0, 0, 4]);
}

#[test]
fn octets_are_bounded_and_the_oldest_minutes_go_first() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let names: Vec<String> = (0..100).map(|number| format!("domain-{number}.example")).collect();
    let options = KpiOptions { bytes: 40_000, ..KpiOptions::default() };
    for minute in 0..60 {
        let time = NOW + minute * 60_000;
        commit(&store, &tally(names.iter().map(|name| event(name, time))), &options, time);
        assert!(store.octets().unwrap() <= 40_000);
        assert_octets(&store);
    }
    let count = |resolution| {
        let hour = span(resolution, Dimension::All, NOW..NOW + HOUR);
        injected(&store, &hour)[0].1
    };
    assert_eq!(count(Resolution::Hour), 6_000);
    let minutes = count(Resolution::Minute);
    assert!((100..3_000).contains(&minutes), "{minutes}");
    let last = span(Resolution::Minute, Dimension::All, NOW + 59 * 60_000..NOW + HOUR);
    assert_eq!(injected(&store, &last)[0].1, 100, "the last one stays");
}

#[test]
fn an_end_of_a_prefix_comes_behind_all_that_begins_so() {
    assert_eq!(end_of(&[1, 2]), [1, 3]);
    assert_eq!(end_of(&[1, 255, 255]), [2]);
    assert!(sortable(WallTime(-1)) < sortable(WallTime(0)));
}
