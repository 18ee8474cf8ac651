//! Find the number of the last event that a shard has on disk.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use serde::Deserialize;

use crate::base::ids::ShardId;
use crate::base::limits::EVENT_TAIL_MAX;
use crate::platform::event_log::{names, prefix};

#[derive(Deserialize)]
struct Numbered {
    sequence: u64,
}

/// The number of the last whole line of a shard's files under `spool`, newest file first; `None`
/// where there is none, or nothing can be read: then the clock alone says where to go on.
pub(in crate::platform) fn last_sequence(spool: &Path, shard: ShardId) -> Option<u64> {
    let directory = spool.join("events");
    let own = prefix(shard.index());
    let names = names(&directory).inspect_err(|error| {
        tracing::warn!(%shard, %error, "cannot look through the event log");
    });
    let files = names.ok()?.into_iter().rev().filter(|name| name.starts_with(&own));
    files.map(|name| directory.join(name)).find_map(|path| {
        let tail = tail(&path).inspect_err(|error| {
            tracing::warn!(path = %path.display(), %error, "cannot read the event log");
        });
        last(&tail.ok()?)
    })
}

/// The end of a file.
fn tail(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(EVENT_TAIL_MAX)))?;
    let mut octets = Vec::new();
    file.take(EVENT_TAIL_MAX).read_to_end(&mut octets)?;
    Ok(octets)
}

/// The number of the last whole line that has one. A line that was cut was in no reader's hands,
/// and is written again.
fn last(octets: &[u8]) -> Option<u64> {
    let end = memchr::memrchr(b'\n', octets)?;
    let number = |line| serde_json::from_slice::<Numbered>(line).ok().map(|line| line.sequence);
    octets[..end].rsplit(|octet| *octet == b'\n').find_map(number)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_last_whole_line_of_the_newest_file_that_has_one_counts() {
        let spool = tempfile::tempdir().unwrap();
        let events = spool.path().join("events");
        assert_eq!(last_sequence(spool.path(), ShardId(0)), None, "there is no folder");
        fs::create_dir(&events).unwrap();
        assert_eq!(last_sequence(spool.path(), ShardId(0)), None, "it is empty");
        let write = |name: &str, text: &str| fs::write(events.join(name), text).unwrap();
        write("shard-00-0000000000007.jsonl", "{\"sequence\":3}\n{\"sequence\":4,\"x\":1}\n");
        write("shard-01-0000000000009.jsonl", "{\"sequence\":99}\n");
        assert_eq!(last_sequence(spool.path(), ShardId(0)), Some(4));
        write("shard-00-0000000000008.jsonl", "");
        assert_eq!(last_sequence(spool.path(), ShardId(0)), Some(4), "nothing came to be in it");
        write("shard-00-0000000000008.jsonl", "{\"sequence\":5}\n{\"sequence\":6");
        assert_eq!(last_sequence(spool.path(), ShardId(0)), Some(5), "the last line was cut");
        write("shard-00-0000000000008.jsonl", "{\"sequence\":5}\n\0\0\0\n");
        assert_eq!(last_sequence(spool.path(), ShardId(0)), Some(5), "the disk lost a block");
    }

    #[test]
    fn the_end_of_a_long_file_is_enough() {
        let spool = tempfile::tempdir().unwrap();
        let events = spool.path().join("events");
        fs::create_dir(&events).unwrap();
        let count = 100_000;
        let text: String = (0..count).map(|n| format!("{{\"sequence\":{n}}}\n")).collect();
        assert!(text.len() as u64 > EVENT_TAIL_MAX);
        fs::write(events.join("shard-00-0000000000007.jsonl"), text).unwrap();
        assert_eq!(last_sequence(spool.path(), ShardId(0)), Some(count - 1));
    }
}
