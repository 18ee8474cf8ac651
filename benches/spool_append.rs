//! Measure the spool without a disk: append and commit 10 KB messages, read a directory back.

#![allow(missing_docs, reason = "the macros write functions without words")]

use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

use relay_fast::base::limits::SEGMENT_BYTES_DEFAULT;
use relay_fast::spool::recovery::recover;
use relay_fast::spool::segment::SegmentBytes;

#[path = "support/mail.rs"]
mod mail;
#[path = "support/spool.rs"]
mod spool;

use spool::{Memory, Rig};

fn append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append and commit 10 KB");
    for count in [1, 64] {
        let mut rig = Rig::new(false, SEGMENT_BYTES_DEFAULT);
        rig.commit(true);
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::new("group of", count), |bencher| {
            bencher.iter(|| assert_eq!(rig.append(count, true), count));
        });
    }
    group.finish();
}

/// Segments of a size that many are filled.
const SMALL_SEGMENT: u32 = 1024 * 1024;
/// What names a segment's index, at its end.
const TRAILER_BYTES: usize = 32;

fn read_back(criterion: &mut Criterion) {
    let messages = mail::size(5_000);
    let mut rig = Rig::new(true, SMALL_SEGMENT);
    rig.commit(false);
    for _ in 0..messages / 50 {
        assert_eq!(rig.append(50, false), 50);
    }
    let image = rig.image.take().expect("it was kept");
    let mut group = criterion.benchmark_group("recover");
    group.sample_size(20);
    group.throughput(Throughput::Elements(messages as u64));
    for (by, is_indexed) in [("by index", true), ("by scan", false)] {
        let map = |(number, bytes): &(u32, Vec<u8>)| {
            let mut bytes = bytes.clone();
            let trailer = bytes.len() - TRAILER_BYTES;
            if !is_indexed {
                bytes[trailer..].fill(0);
            }
            (*number, Arc::new(Memory(bytes)) as Arc<dyn SegmentBytes>)
        };
        let segments: Vec<_> = image.iter().map(map).collect();
        group.bench_function(BenchmarkId::new(by, messages), |bencher| {
            bencher.iter(|| {
                let recovered = recover(1, &segments).expect("it can be read");
                assert_eq!(recovered.messages.count(), messages);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, append, read_back);
criterion_main!(benches);
