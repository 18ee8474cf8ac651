//! A spool's log over a disk in memory that takes everything at once.

#![allow(dead_code, reason = "each benchmark uses a part")]

use std::hint::black_box;
use std::sync::Arc;

use relay_fast::base::prng::Prng;
use relay_fast::base::time::WallTime;
use relay_fast::mail::durability::Durability;
use relay_fast::mail::envelope::Envelope;
use relay_fast::spool::log::{Io, Log, LogEvent, Options};
use relay_fast::spool::recovery::recover;
use relay_fast::spool::segment::SegmentBytes;
use relay_fast::spool::stored::{NewMessage, Origin};

use crate::mail;

/// A segment in memory.
#[derive(Debug)]
pub(crate) struct Memory(pub(crate) Vec<u8>);

impl SegmentBytes for Memory {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A log whose disk takes everything at once.
pub(crate) struct Rig {
    log: Log,
    envelope: Arc<Envelope>,
    content: Vec<u8>,
    /// What a map shows of a segment that nobody reads.
    zeroes: Arc<Memory>,
    /// What was written, where that is kept.
    pub(crate) image: Option<Vec<(u32, Vec<u8>)>>,
}

impl Rig {
    pub(crate) fn new(keeps: bool, segment_bytes: u32) -> Self {
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
    pub(crate) fn append(&mut self, count: usize, is_done: bool) -> usize {
        for _ in 0..count {
            let message = NewMessage {
                id: self.log.next_id(),
                envelope: Arc::clone(&self.envelope),
                received: WallTime(1_795_491_661_000),
                intake: std::time::Duration::ZERO,
                prefix: b"Received: from client.example by mx.example\r\n".to_vec(),
                content: self.content.clone(),
                has_eight_bit: false,
                is_quarantined: false,
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

    pub(crate) fn commit(&mut self, is_done: bool) -> usize {
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
