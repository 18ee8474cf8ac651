//! Say how far a reader has come in the event log, in a form that outlives it.
//!
//! In: names of files, marks. Out: the same as text. A cursor holds a [`Mark`] for each shard: the
//! place behind the last line that was passed, and which line that was.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::base::ids::ShardId;
use crate::base::time::WallTime;

/// The name of a file of the event log: `shard-NN-START.jsonl`, START in milliseconds since 1970.
/// Files of a shard in the order of their starts are its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName {
    /// Whose events are in it.
    pub shard: ShardId,
    /// When it began; grows from file to file.
    pub start: i64,
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shard-{:02}-{:013}.jsonl", self.shard.0, self.start)
    }
}

/// It is the name of something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no file of an event log")]
pub struct OtherFile;

impl FromStr for FileName {
    type Err = OtherFile;

    fn from_str(name: &str) -> Result<Self, OtherFile> {
        let rest = name.strip_prefix("shard-").and_then(|name| name.strip_suffix(".jsonl"));
        let (shard, start) = rest.and_then(|rest| rest.split_once('-')).ok_or(OtherFile)?;
        let shard = shard.parse().map_err(|_| OtherFile)?;
        let start = start.parse().map_err(|_| OtherFile)?;
        Ok(Self { shard: ShardId(shard), start })
    }
}

/// How far a reader has come in a shard's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The start of the file.
    pub file: i64,
    /// Octets of it that are passed: whole lines.
    pub offset: u64,
    /// The number of the last event that was passed; 0 where there was none.
    pub sequence: u64,
    /// When that was.
    pub time: WallTime,
}

impl Mark {
    /// At the beginning of a file, with nothing passed.
    pub fn beginning(file: i64) -> Self {
        Self { file, offset: 0, sequence: 0, time: WallTime(0) }
    }
}

/// How far a reader has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// By shard. One that is not in it was not there yet: it is read from its beginning.
    pub shards: BTreeMap<u8, Mark>,
}

impl Cursor {
    /// As it is kept: a line of JSON.
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).expect("numbers") + "\n"
    }
}

impl FromStr for Cursor {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_others_are_told_apart() {
        for (name, shard, start) in [
            ("shard-00-1795491661007.jsonl", 0, 1_795_491_661_007),
            ("shard-07-0000000000042.jsonl", 7, 42),
            ("shard-255-10000000000000.jsonl", 255, 10_000_000_000_000),
        ] {
            let read: FileName = name.parse().expect(name);
            assert_eq!(read, FileName { shard: ShardId(shard), start });
            assert_eq!(read.to_string(), name);
        }
        for other in
            ["", "shard-00.jsonl", "shard-00-x.jsonl", "shard-256-1.jsonl", "shard-00-1.json", "x"]
        {
            assert_eq!(other.parse::<FileName>(), Err(OtherFile), "{other}");
        }
    }

    #[test]
    fn a_cursor_reads_back() {
        let mark = Mark { file: 42, offset: 7, sequence: u64::MAX, time: WallTime(9) };
        let cursor = Cursor { shards: [(0, mark), (31, Mark::beginning(1))].into() };
        assert_eq!(cursor.to_text().parse::<Cursor>().expect("a cursor"), cursor);
        assert!(cursor.to_text().ends_with("}\n"));
        for cut in 0..cursor.to_text().len() - 1 {
            assert!(cursor.to_text()[..cut].parse::<Cursor>().is_err(), "cut at {cut}");
        }
    }
}
