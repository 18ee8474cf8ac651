//! Take events together that are handed over together.
//!
//! In: a source, bounds. Out: whole lines as they stand in the log, and which events they are.

use std::io;
use std::ops::Range;

use serde::Deserialize;

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

impl One {
    /// The same however often it is handed over, and no other's.
    pub(super) fn id(&self, node: &str) -> String {
        format!("{node}/{}/{}", self.shard, self.sequence)
    }
}

#[derive(Deserialize)]
struct Kinded<'a> {
    kind: &'a str,
}

/// The kind of the event that is `line`.
pub(super) fn kind_of(line: &[u8]) -> &str {
    serde_json::from_slice::<Kinded<'_>>(line).map_or("other", |line| line.kind)
}

/// `pattern`, with the kind of the event that is `line` where it says `{kind}`.
pub(super) fn named_by(pattern: &str, line: &[u8]) -> String {
    pattern.replace("{kind}", kind_of(line))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_named_by_its_kind_and_has_an_id_of_its_own() {
        let line = b"{\"sequence\":7,\"kind\":\"bounced\"}";
        assert_eq!(named_by("mail.{kind}.node1", line), "mail.bounced.node1");
        assert_eq!(named_by("mail.events", line), "mail.events");
        assert_eq!(named_by("mail.{kind}", b"{}"), "mail.other");
        let one = One { shard: ShardId(3), sequence: 7, time: WallTime(0), place: 0..1 };
        assert_eq!(one.id("mx1.example"), "mx1.example/3/7");
    }
}
