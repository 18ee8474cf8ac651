//! Measure the spool without a disk: append and commit 10 KB messages, read a directory back.

#![allow(missing_docs, reason = "the macros write functions without words")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

use relay_fast::base::limits::SEGMENT_BYTES_DEFAULT;
use relay_fast::base::prng::Prng;
use relay_fast::base::time::WallTime;
use relay_fast::mail::durability::Durability;
use relay_fast::mail::envelope::Envelope;
use relay_fast::spool::log::{Io, Log, LogEvent, Options};
use relay_fast::spool::recovery::recover;
use relay_fast::spool::segment::SegmentBytes;
use relay_fast::spool::stored::{NewMessage, Origin};

#[path = "support/mail.rs"]
mod mail;

/// A segment in memory.
#[derive(Debug)]
struct Memory(Vec<u8>);

impl SegmentBytes for Memory {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A log whose disk takes everything at once.
struct Rig {
    log: Log,
    envelope: Arc<Envelope>,
    content: Vec<u8>,
    /// What a map shows of a segment that nobody reads.
    zeroes: Arc<Memory>,
    /// What was written, where that is kept.
    image: Option<Vec<(u32, Vec<u8>)>>,
}

impl Rig {
    fn new(keeps: bool, segment_bytes: u32) -> Self {
        let start = recover(1, &[]).expect("an empty directory").start;
        let options = Options { segment_bytes, reserve: 1, admits: true };
        Self {
            log: Log::new(start, options, Prng::from_number(1)),
            envelope: Arc::new(mail::envelope()),
            content: mail::content(10 * 1024),
            zeroes: Arc::new(Memory(vec![0; segment_bytes as usize])),
            image: keeps.then(Vec::new),
        }
    }

    /// Append `count` messages, commit them in as few groups as the log makes, and be done with
    /// them where `is_done`; how many were accepted.
    fn append(&mut self, count: usize, is_done: bool) -> usize {
        for _ in 0..count {
            let message = NewMessage {
                id: self.log.next_id(),
                envelope: Arc::clone(&self.envelope),
                received: WallTime(1_795_491_661_000),
                intake: std::time::Duration::ZERO,
                prefix: b"Received: from client.example by mx.example\r\n".to_vec(),
                content: self.content.clone(),
                has_eight_bit: false,
                origin: Origin::Client {
                    peer: [192, 0, 2, 1].into(),
                    listener: 0,
                    durability: Durability::Commit,
                },
            };
            black_box(self.log.append_message(message).expect("there is room"));
        }
        self.commit(is_done)
    }

    fn commit(&mut self, is_done: bool) -> usize {
        let mut accepted = 0;
        while let Some(io) = self.log.poll_io() {
            self.run(io);
            while let Some(event) = self.log.poll_event() {
                if let LogEvent::Accepted(message) = event {
                    accepted += 1;
                    if is_done {
                        self.log.append_done(message.id(), message.at());
                    }
                }
            }
        }
        accepted
    }

    fn run(&mut self, io: Io) {
        match io {
            Io::Create { segment, bytes, .. } => {
                if let Some(image) = &mut self.image {
                    image.push((segment.number, vec![0; bytes as usize]));
                }
                let map = Arc::clone(&self.zeroes) as Arc<dyn SegmentBytes>;
                self.log.handle_segment_ready(segment, Ok(map));
            }
            Io::Commit { segment, offset, buffers } => {
                if let Some(image) = &mut self.image {
                    let file = image.iter_mut().find(|(number, _)| *number == segment.number);
                    let (_, file) = file.expect("it was created");
                    let mut at = offset as usize;
                    for buffer in &buffers {
                        file[at..at + buffer.len()].copy_from_slice(buffer);
                        at += buffer.len();
                    }
                }
                black_box(&buffers);
                self.log.handle_committed(segment, Ok(()));
            }
            Io::Remove { .. } => {}
        }
    }
}

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
