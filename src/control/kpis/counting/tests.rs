//! Nothing counts twice and nothing is passed over, whenever a process ends and whatever a disk
//! loses; what the log has no more is told of.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use super::*;
use crate::base::ids::MessageId;
use crate::base::prng::Prng;
use crate::base::time::Now;
use crate::control::kpis::store::Span;
use crate::outcome::event::cursor::FileName;
use crate::outcome::event::{Kind, Returned};
use crate::outcome::kpi::{Dimension, Figure, Figures, Resolution};

/// In the middle of a day.
const NOON: i64 = 20_000 * 86_400_000 + 43_200_000;

fn noon() -> Now {
    Now { mono: Monotonic(0), wall: WallTime(NOON) }
}

fn any(kind: Kind) -> Event<'static> {
    Event::new(kind, MessageId(1), WallTime(0), ShardId(0))
}

/// A spool that a node might have, and its log.
struct World {
    folder: tempfile::TempDir,
    inner: Inner,
    options: KpiOptions,
    /// The file that each shard writes, and its last number.
    shards: [(i64, u64); 2],
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("events")).unwrap();
        let (state, store, progress) = Default::default();
        let spool = folder.path().to_owned();
        let inner = Inner { spool, now: noon, state, store, progress };
        Self { folder, inner, options: KpiOptions::default(), shards: [(1, 0), (1, 0)] }
    }

    fn path(&self, shard: usize) -> std::path::PathBuf {
        let name = FileName { shard: ShardId(shard as u8), start: self.shards[shard].0 };
        self.folder.path().join("events").join(name.to_string())
    }

    /// Something happens to a recipient.
    fn write(&mut self, shard: usize, kind: Kind, domain: &str) {
        self.append(shard, Event { domain: domain.into(), source: "here".into(), ..any(kind) });
    }

    /// A bounce, in a report with this id, of what had been taken.
    fn write_bounce(&mut self, report: u64) {
        let returned = Returned { vouched: "recipient".into(), ..Returned::default() };
        let event = Event { returned: Some(returned), ..any(Kind::BouncedLater) };
        self.append(0, Event { id: MessageId(report), ..event });
    }

    fn append(&mut self, shard: usize, event: Event<'_>) {
        self.shards[shard].1 += 1;
        let sequence = self.shards[shard].1;
        let time = WallTime(NOON - 3_600_000 + i64::try_from(sequence).unwrap() * 100);
        let event = Event { sequence, time, shard: ShardId(shard as u8), ..event };
        let mut line = Vec::new();
        event.write_line(&mut line);
        let file = OpenOptions::new().append(true).create(true).open(self.path(shard));
        file.unwrap().write_all(&line).unwrap();
    }

    fn open(&self) -> Counting<'_> {
        let store = Store::open(&self.folder.path().join(FILE)).unwrap();
        Counting::new(&self.inner, Arc::new(store)).unwrap()
    }

    /// All that the log has is counted and kept.
    fn count_all(&self) {
        let mut counting = self.open();
        while !counting.turn(&self.options).unwrap() {}
        counting.commit(&self.options).unwrap();
    }

    /// Figures of a key, over the day.
    fn figures(&self, dimension: Dimension, key: &str) -> Figures {
        let starts = Resolution::Day.start(WallTime(NOON))..WallTime(NOON);
        let span = Span { resolution: Resolution::Day, dimension, starts };
        let store = Store::open(&self.folder.path().join(FILE)).unwrap();
        store.series(&span, key).unwrap().into_values().next().unwrap_or_default()
    }

    fn injected(&self) -> u64 {
        self.figures(Dimension::All, "").count(Figure::Injected)
    }
}

#[test]
fn whenever_the_process_ends_each_event_counts_once() {
    let domains = ["a.example", "b.example", ""];
    for seed in 0..20 {
        let (mut world, mut prng) = (World::new(), Prng::from_number(seed));
        let mut written = [[0u64; 3]; 2];
        for _ in 0..12 {
            for _ in 0..prng.below(60) {
                let (shard, domain) = (prng.below(2) as usize, prng.below(3) as usize);
                let kind = prng.below(2) as usize;
                written[kind][domain] += 1;
                world.write(shard, [Kind::Received, Kind::Deferred][kind], domains[domain]);
                if prng.below(40) == 0 {
                    world.shards[shard].0 += 1;
                }
            }
            let mut counting = world.open();
            for _ in 0..prng.below(4) {
                counting.turn(&world.options).unwrap();
            }
            // Else it is killed: what was not kept is counted again.
            if prng.below(2) == 0 {
                counting.commit(&world.options).unwrap();
            }
        }
        world.count_all();
        for (kind, figure) in [Figure::Injected, Figure::Deferred].into_iter().enumerate() {
            let sum: u64 = written[kind].iter().sum();
            for (place, domain) in domains.into_iter().enumerate() {
                let counted = world.figures(Dimension::Domain, domain).count(figure);
                assert_eq!(counted, written[kind][place], "seed {seed}: {domain}");
            }
            for (dimension, key) in
                [(Dimension::All, ""), (Dimension::Source, "here"), (Dimension::Tenant, "")]
            {
                assert_eq!(world.figures(dimension, key).count(figure), sum, "seed {seed}");
            }
        }
        assert_eq!(lock(&world.inner.progress).gaps, 0, "seed {seed}");
    }
}

/// `RETURN_KEPT_FOR`.
#[test]
fn what_came_back_counts_once_however_often_a_killed_node_tells_it() {
    let mut world = World::new();
    for (report, expected) in [(1, 1), (2, 2), (1, 2), (3, 3), (1, 3), (2, 3)] {
        world.write_bounce(report);
        world.count_all();
        let later = world.figures(Dimension::All, "").count(Figure::BouncedLater);
        assert_eq!(later, expected, "{report}");
    }
}

#[test]
fn what_a_power_cut_took_from_the_log_is_not_counted_again_when_it_is_read_anew() {
    let mut world = World::new();
    (0..10).for_each(|_| world.write(0, Kind::Received, "a.example"));
    world.count_all();
    // The figures are on disk; the last lines of the log were not.
    let path = world.path(0);
    let text = fs::read_to_string(&path).unwrap();
    let left = text.split_inclusive('\n').take(4).collect::<String>();
    fs::write(&path, left).unwrap();
    world.count_all();
    assert_eq!(world.injected(), 10);
    (0..3).for_each(|_| world.write(0, Kind::Received, "a.example"));
    world.count_all();
    assert_eq!(world.injected(), 13);
}

#[test]
fn what_retention_took_is_told_of_and_the_rest_is_counted() {
    let mut world = World::new();
    for file in 1..=3 {
        world.shards[0].0 = file;
        (0..5).for_each(|_| world.write(0, Kind::Received, "a.example"));
        if file == 1 {
            world.count_all();
        }
    }
    for start in [1, 2] {
        let name = FileName { shard: ShardId(0), start };
        fs::remove_file(world.folder.path().join("events").join(name.to_string())).unwrap();
    }
    world.count_all();
    assert_eq!(world.injected(), 10, "five of them were never seen");
    assert_eq!(lock(&world.inner.progress).gaps, 1);
}

#[test]
fn a_store_that_cannot_be_written_costs_nothing_but_time() {
    let mut world = World::new();
    world.write(0, Kind::Received, "a.example");
    fs::create_dir(world.folder.path().join(FILE)).unwrap();
    let trouble = count(&world.inner).unwrap_err();
    failed(&world.inner, &trouble);
    assert!(trouble.to_string().starts_with("figures cannot be kept: "), "{trouble}");
    assert!(lock(&world.inner.progress).failing.is_some());
    fs::remove_dir(world.folder.path().join(FILE)).unwrap();
    world.count_all();
    assert_eq!(world.injected(), 1);
    assert!(lock(&world.inner.progress).failing.is_none());
}

#[test]
fn the_store_lies_where_the_spool_is() {
    let world = World::new();
    world.count_all();
    assert!(Path::new(&world.folder.path().join(FILE)).exists());
}
