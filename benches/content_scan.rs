//! Measure what an octet of content costs: in by DATA and BDAT, out by DATA, from 1 KB to 1 MB.
//!
//! Beside each size stand a copy of as many octets and their CRC, which nobody can do without: the
//! slope of the others is to be judged by these.

#![allow(missing_docs, reason = "the macros write functions without words")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

use relay_fast::base::limits::{CONTENT_WINDOW, RECEIVE_BUFFER_BYTES};
use relay_fast::smtp::content::{Decoder, Framing, LineEndings, Progress, Rules};
use relay_fast::smtp::stuffing::Stuffing;

#[path = "support/mail.rs"]
mod mail;

const KIB: usize = 1024;

/// Octets of content.
const SIZES: [usize; 4] = [KIB, 10 * KIB, 100 * KIB, KIB * KIB];

fn rules(framing: Framing) -> Rules {
    Rules { framing, line_endings: LineEndings::Strict, line_max: 2_048, bytes_max: 1 << 30 }
}

/// Read `wire` in pieces as they are received; `end` is what the last one brings.
fn decode(framing: Framing, wire: &[u8], out: &mut Vec<u8>, end: Progress) {
    out.clear();
    let mut decoder = Decoder::new(rules(framing));
    let mut progress = Progress::More;
    for piece in wire.chunks(RECEIVE_BUFFER_BYTES) {
        let used;
        (used, progress) = decoder.decode(piece, out, usize::MAX);
        assert_eq!(used, piece.len());
    }
    decoder.finish(out);
    assert!(progress == end && decoder.fault().is_none());
}

/// Write `content` in the windows in which it is given to a connection.
fn stuff(content: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let mut stuffing = Stuffing::default();
    content.chunks(CONTENT_WINDOW).for_each(|window| stuffing.push(window, out));
    stuffing.finish(out);
}

fn content(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("content");
    for size in SIZES {
        let content = mail::content(size);
        let mut wire = Vec::new();
        stuff(&content, &mut wire);
        let mut out = Vec::with_capacity(2 * size);
        group.throughput(Throughput::Bytes(content.len() as u64));
        group.bench_function(BenchmarkId::new("in by DATA", size), |bencher| {
            bencher.iter(|| decode(Framing::Dot, black_box(&wire), &mut out, Progress::End));
        });
        assert_eq!(out, content);
        group.bench_function(BenchmarkId::new("in by BDAT", size), |bencher| {
            bencher
                .iter(|| decode(Framing::Chunked, black_box(&content), &mut out, Progress::More));
        });
        assert_eq!(out, content);
        group.bench_function(BenchmarkId::new("out by DATA", size), |bencher| {
            bencher.iter(|| stuff(black_box(&content), &mut out));
        });
        assert_eq!(out, wire);
        group.bench_function(BenchmarkId::new("copy", size), |bencher| {
            bencher.iter(|| {
                out.clear();
                out.extend_from_slice(black_box(&content));
                black_box(&out);
            });
        });
        group.bench_function(BenchmarkId::new("CRC-32C", size), |bencher| {
            bencher.iter(|| crc32c::crc32c(black_box(&content)));
        });
    }
    group.finish();
}

criterion_group!(benches, content);
criterion_main!(benches);
