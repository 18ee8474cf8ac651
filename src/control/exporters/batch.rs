//! Take events together that are handed over together.
//!
//! In: a source, bounds. Out: whole lines as they stand in the log, and which events they are.

use std::io;
use std::ops::Range;

use crate::base::ids::ShardId;
use crate::base::limits::{EXPORT_BATCH_BYTES_MAX, EXPORT_LOOK_MAX};
use crate::base::time::WallTime;
use crate::control::events::source::Source;

/// One event of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct One {
    pub(super) shard: ShardId,
    pub(super) sequence: u64,
    pub(super) time: WallTime,
    /// Its line in the text, without the line feed.
    pub(super) place: Range<usize>,
}

/// What is handed over together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    /// A JSON object a line.
    pub(super) text: Vec<u8>,
    pub(super) events: Vec<One>,
}

impl Batch {
    /// The line of one of its events.
    pub(super) fn line(&self, one: &One) -> &[u8] {
        &self.text[one.place.clone()]
    }
}

/// A batch, and how many events were looked at for it, wanted or not.
pub(super) fn collect(source: &mut Source, most: usize) -> io::Result<(Batch, usize)> {
    let (mut batch, mut looked) = (Batch::default(), 0);
    while looked < EXPORT_LOOK_MAX.max(most)
        && batch.events.len() < most
        && batch.text.len() < EXPORT_BATCH_BYTES_MAX
    {
        let start = batch.text.len();
        let Some((shard, glance)) = source.next(&mut batch.text)? else { break };
        looked += 1;
        if glance.is_wanted {
            let place = start..batch.text.len() - 1;
            let (sequence, time) = (glance.sequence, glance.time);
            batch.events.push(One { shard, sequence, time, place });
        }
    }
    Ok((batch, looked))
}
