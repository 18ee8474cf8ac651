//! Find a message by its id.
//!
//! Linear hashing (Litwin, VLDB 1980): buckets are lists that run through the messages' own rows,
//! and with every second message one more bucket comes, which takes its share from one other. So
//! nothing ever doubles: no insert waits for a million others to be moved, and no table that was
//! outgrown leaves a hole in the heap. Cost: 2 bytes a message beside the link in its row; a bucket
//! holds two messages on average.

use crate::base::ids::MessageId;
use crate::queue::entry::Message;
use crate::queue::list::NONE;
use crate::queue::table::Table;

/// Messages a bucket, on average, from which on there is one more.
const LOAD: usize = 2;
/// Buckets that are allocated at once.
const CHUNK: usize = 1_024;

/// Rows by message id.
#[derive(Debug, Default)]
pub(super) struct IdIndex {
    /// The first row of each bucket.
    heads: Vec<Box<[u32; CHUNK]>>,
    buckets: usize,
    len: usize,
}

impl IdIndex {
    /// Octets that it takes, without the links in the rows.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.heads.len() * size_of::<[u32; CHUNK]>()
    }

    pub(super) fn find(&self, id: MessageId, messages: &Table<Message>) -> Option<u32> {
        if self.buckets == 0 {
            return None;
        }
        let mut row = self.head(self.bucket(id));
        while row != NONE && messages[row].id() != id {
            row = messages[row].same_bucket;
        }
        (row != NONE).then_some(row)
    }

    /// Enter `row`, whose id is not here.
    pub(super) fn insert(&mut self, row: u32, messages: &mut Table<Message>) {
        if self.len >= self.buckets * LOAD {
            self.split(messages);
        }
        self.len += 1;
        self.push(row, messages);
    }

    /// Take out `row`, which is here.
    pub(super) fn remove(&mut self, row: u32, messages: &mut Table<Message>) {
        let bucket = self.bucket(messages[row].id());
        let next = messages[row].same_bucket;
        let mut at = self.head(bucket);
        if at == row {
            *self.head_mut(bucket) = next;
        } else {
            while messages[at].same_bucket != row {
                at = messages[at].same_bucket;
            }
            messages[at].same_bucket = next;
        }
        self.len -= 1;
    }

    /// One more bucket: what belongs there of the bucket with the same hash less its highest bit.
    fn split(&mut self, messages: &mut Table<Message>) {
        let new = self.buckets;
        if new.is_multiple_of(CHUNK) {
            self.heads.push(Box::new([NONE; CHUNK]));
        }
        self.buckets += 1;
        let Some(highest) = new.checked_ilog2() else { return };
        let old = new - (1 << highest);
        let mut row = std::mem::replace(self.head_mut(old), NONE);
        while row != NONE {
            let next = messages[row].same_bucket;
            self.push(row, messages);
            row = next;
        }
    }

    fn push(&mut self, row: u32, messages: &mut Table<Message>) {
        let bucket = self.bucket(messages[row].id());
        messages[row].same_bucket = self.head(bucket);
        *self.head_mut(bucket) = row;
    }

    /// By as many bits of the hash as number all buckets, or one less where that one is not there.
    #[expect(clippy::cast_possible_truncation, reason = "the lower bits are what is wanted")]
    fn bucket(&self, id: MessageId) -> usize {
        let mask = self.buckets.next_power_of_two() - 1;
        let bucket = spread(id) as usize & mask;
        if bucket < self.buckets { bucket } else { bucket & mask >> 1 }
    }

    fn head(&self, bucket: usize) -> u32 {
        self.heads[bucket / CHUNK][bucket % CHUNK]
    }

    fn head_mut(&mut self, bucket: usize) -> &mut u32 {
        &mut self.heads[bucket / CHUNK][bucket % CHUNK]
    }
}

/// Ids count up: spread them over all bits (the finalizer of MurmurHash3). Nobody outside chooses
/// an id, so that no secret is needed.
fn spread(id: MessageId) -> u64 {
    let mut hash = id.0;
    hash = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ hash >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ hash >> 33
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::WallTime;
    use crate::queue::clock::Clock;
    use crate::queue::entry::{EnvelopeAt, NewMessage, RecordAt};

    fn enter(index: &mut IdIndex, messages: &mut Table<Message>, id: u64) -> u32 {
        let record = RecordAt { log: 0, segment: 1, offset: 0 };
        let message = NewMessage::<()> {
            id: MessageId(id),
            envelope: EnvelopeAt { record, bytes: 0 },
            received: WallTime(0),
            delay_reported: false,
            last_attempt: false,
            reverse_path: 0,
            content_bytes: 0,
            handling: None,
            hot: None,
        };
        let row = messages.insert(Message::new(&message, 0, Clock::default()));
        index.insert(row, messages);
        row
    }

    fn lengths(index: &IdIndex, messages: &Table<Message>) -> Vec<usize> {
        let length = |bucket: usize| {
            let after = |row: &u32| Some(messages[*row].same_bucket).filter(|next| *next != NONE);
            let first = Some(index.head(bucket)).filter(|row| *row != NONE);
            std::iter::successors(first, after).count()
        };
        (0..index.buckets).map(length).collect()
    }

    #[test]
    fn an_id_is_found_from_its_entering_to_its_removal_at_every_size() {
        let (mut index, mut messages) = (IdIndex::default(), Table::default());
        assert_eq!(index.find(MessageId(1), &messages), None);
        let mut rows = Vec::new();
        for id in 0..5_000 {
            rows.push(enter(&mut index, &mut messages, id));
            assert_eq!(index.find(MessageId(id), &messages), rows.last().copied());
            assert_eq!(index.find(MessageId(id / 2), &messages), Some(rows[id as usize / 2]));
            assert_eq!(index.find(MessageId(id + 1), &messages), None);
        }
        for (id, row) in (0..).zip(&rows).step_by(3) {
            index.remove(*row, &mut messages);
            messages.remove(*row);
            assert_eq!(index.find(MessageId(id), &messages), None);
        }
        for (id, row) in (0..).zip(&rows) {
            let found = index.find(MessageId(id), &messages);
            assert_eq!(found, (id % 3 != 0).then_some(*row), "{id}");
        }
    }

    #[test]
    fn buckets_grow_in_number_and_not_in_length() {
        let (mut index, mut messages) = (IdIndex::default(), Table::default());
        // Shards count up ids in steps.
        for n in 0..100_000 {
            enter(&mut index, &mut messages, n * 64);
        }
        let lengths = lengths(&index, &messages);
        assert_eq!((lengths.iter().sum::<usize>(), lengths.len()), (100_000, 50_000));
        assert!(lengths.iter().all(|length| *length <= 16), "{:?}", lengths.iter().max());
        assert!(index.bytes() <= 100_000 * 2 + size_of::<[u32; CHUNK]>());
    }
}
