//! A spool that two runs left, and a third whose last write is under way.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::OnceLock;

use relay_fast::base::ids::MessageId;
use relay_fast::base::prng::Prng;
use relay_fast::spool::format::{GroupHead, HeaderBlock, Record, SegmentHeader};
use relay_fast::spool::log::{Log, LogEvent};
use relay_fast::spool::recovery::recover;
use relay_fast::spool::stored::{EnvelopeAt, NewMessage};

use super::disk::{Disk, Image, maps};
use super::mail::{content, delivered, message, pending_state};
use super::{DIRECTORY, OPTIONS};

/// Where a record's payload begins in it.
const PAYLOAD: usize = 40;

/// The spool.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) image: Image,
    /// In the queue, whole.
    pub(crate) queued: BTreeSet<MessageId>,
    /// Not any more.
    pub(crate) ended: BTreeSet<MessageId>,
    /// The same a little later; in flight: a message and a state.
    pub(crate) torn: Disk,
    /// That message.
    pub(crate) new: MessageId,
    /// Segment headers, as segment and octets; then records, Index records among them.
    records: Vec<(u32, Range<usize>)>,
}

/// Made once.
pub(crate) fn scene() -> &'static Scene {
    static SCENE: OnceLock<Scene> = OnceLock::new();
    SCENE.get_or_init(Scene::new)
}

struct Run {
    log: Log,
    disk: Disk,
}

impl Run {
    fn new(image: &Image, seed: u64) -> Self {
        let opened = maps(image);
        let recovered = recover(DIRECTORY, &opened).expect("a whole spool");
        let log = Log::new(recovered.start, OPTIONS, Prng::from_number(seed));
        let mut run = Self { log, disk: Disk::new(image.clone(), opened) };
        run.commit();
        run
    }

    fn commit(&mut self) -> Option<EnvelopeAt> {
        let mut at = None;
        self.disk.settle(&mut self.log, |_, event| {
            if let LogEvent::Accepted(accepted) = event {
                at = Some(accepted.at());
            }
        });
        at
    }

    /// A message of these chunks, in a group of its own, for three recipients.
    fn message(&mut self, chunks: &[usize]) -> (MessageId, EnvelopeAt) {
        let id = self.log.next_id();
        let octets = content(id, chunks.iter().sum());
        let (last, before) = chunks.split_last().expect("one chunk at least");
        let mut start = 0;
        for bytes in before {
            let chunk = octets[start..start + bytes].to_vec();
            self.log.append_content(id, chunk).expect("room");
            self.commit();
            start += bytes;
        }
        let new = NewMessage { content: octets[start..start + last].to_vec(), ..message(id, 0, 3) };
        self.log.append_message(new).expect("room");
        (id, self.commit().expect("it is accepted"))
    }
}

impl Scene {
    fn new() -> Self {
        let (mut queued, mut ended) = (BTreeSet::new(), BTreeSet::new());
        let mut first = Run::new(&Image::new(), 1);
        let (early, at) = first.message(&[300]);
        let (tried, _) = first.message(&[2_000, 3_000, 77]);
        queued.extend([tried, first.message(&[0]).0]);
        first.log.append_state(tried, &pending_state(1, 4));
        first.log.append_state(tried, &delivered(2));
        first.log.append_done(early, at);
        first.commit();
        queued.extend((0..3).map(|_| first.message(&[7_000]).0));
        let (late, at) = first.message(&[100]);
        first.log.append_done(late, at);
        first.commit();
        ended.extend([early, late]);
        let mut second = Run::new(&first.disk.durable, 2);
        queued.insert(second.message(&[500]).0);
        queued.insert(second.message(&[200, 800]).0);
        let image = second.disk.durable.clone();
        let mut third = Run::new(&image, 3);
        let new = third.log.next_id();
        third.log.append_state(tried, &pending_state(0, 1));
        third.log.append_message(message(new, 900, 2)).expect("room");
        third.disk.run(&mut third.log);
        assert!(third.disk.in_flight.is_some());
        let records = records(&image);
        Self { image, queued, ended, torn: third.disk, new, records }
    }

    /// The header of a segment of this spool, of another number than it has.
    pub(crate) fn header(&self, number: u32) -> Vec<u8> {
        let HeaderBlock::Valid(header) = SegmentHeader::decode(&self.image[&1]) else {
            panic!("a valid header")
        };
        let mut block = Vec::new();
        SegmentHeader { number, ..header }.encode(&mut block);
        block
    }

    /// Write `value` at `place` of a record or a segment's header, and make its checksums right.
    pub(crate) fn write(
        &self,
        image: &mut Image,
        record: usize,
        place: usize,
        value: u8,
        kind: u8,
    ) {
        let (number, range) = &self.records[record % self.records.len()];
        let file = image.get_mut(number).expect("a segment");
        let octets = &mut file[range.clone()];
        if range.start == 0 {
            // Magic and checksum first.
            octets[12 + place % 52] = value;
            let crc = crc32c::crc32c(&octets[12..64]);
            return octets[8..12].copy_from_slice(&crc.to_le_bytes());
        }
        let place = match kind % 3 {
            0 => 8 + place % 32,
            _ if octets.len() > PAYLOAD => PAYLOAD + place % (octets.len() - PAYLOAD),
            _ => return,
        };
        octets[place] = value;
        let length = u32::from_le_bytes(octets[8..12].try_into().expect("four octets"));
        if let Some(payload) = octets[PAYLOAD..].get(..length as usize) {
            let crc = crc32c::crc32c(payload);
            octets[4..8].copy_from_slice(&crc.to_le_bytes());
        }
        let crc = crc32c::crc32c(&octets[4..PAYLOAD]);
        octets[..4].copy_from_slice(&crc.to_le_bytes());
    }
}

/// Headers first: they are what an input of zeros changes.
fn records(image: &Image) -> Vec<(u32, Range<usize>)> {
    let mut records: Vec<_> = image.keys().map(|number| (*number, 0..64)).collect();
    for (number, bytes) in image {
        let limit = u32::try_from(bytes.len()).expect("32 KiB");
        let mut start = 4_096;
        while let Some(record) = Record::decode(bytes, start, limit) {
            let head = GroupHead::decode(&record, limit - start).expect("a group");
            let mut offset = start;
            while offset < start + head.head_bytes {
                let end = start + head.head_bytes;
                let record = Record::decode(bytes, offset, end).expect("a record");
                let range = offset as usize..(offset + record.bytes()) as usize;
                records.push((*number, range));
                offset = record.end();
            }
            start = (start + head.bytes).next_multiple_of(4_096);
        }
    }
    records
}
