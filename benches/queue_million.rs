//! Measure what a recipient costs in the queue when it is empty, and when a million or ten wait.

#![allow(missing_docs, reason = "the macros write functions without words")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

#[path = "support/mail.rs"]
mod mail;
#[path = "support/waiting.rs"]
mod waiting;

use waiting::Waiting;

/// Octets of memory that a recipient may take here, while the tables grow too.
const RECIPIENT_BYTES: usize = 200;

/// How many wait in each case: none, a million, and ten where there is memory for them.
fn cases() -> Vec<usize> {
    let mut cases = vec![0, mail::size(1_000_000), mail::size(10_000_000)];
    cases.dedup();
    let room = memory_available() / RECIPIENT_BYTES;
    for case in cases.iter().filter(|case| **case > room) {
        eprintln!("SKIPPED: {case} waiting: there is memory for {room}");
    }
    cases.retain(|case| *case <= room);
    cases
}

/// Octets, as the kernel sees it; all that can be counted where it does not say.
fn memory_available() -> usize {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<usize>().ok());
    kib.map_or(usize::MAX, |kib| kib * 1024)
}

fn queue(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("queue");
    group.throughput(Throughput::Elements(1));
    for count in cases() {
        let mut waiting = Waiting::new(count / 2, count - count / 2);
        group.bench_function(BenchmarkId::new("insert, pop, finish", count), |bencher| {
            bencher.iter(|| waiting.deliver());
        });
        // Its memory is needed for the next, in which there is always one to defer.
        drop(waiting);
        let mut waiting = Waiting::new(count / 2 + 1, count - count / 2);
        group.bench_function(BenchmarkId::new("pop, defer, due", count), |bencher| {
            bencher.iter(|| waiting.defer());
        });
    }
    group.finish();
}

criterion_group!(benches, queue);
criterion_main!(benches);
