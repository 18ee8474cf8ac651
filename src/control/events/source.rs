//! Read the event logs of a spool from a cursor on, all shards together, oldest event first.
//!
//! In: the files below `SPOOL/events`, whether a node writes them or not. Out: lines that a filter
//! wants, and where a reader stands behind each. Shards are put in order by the times of their
//! events, as far as they have been written. Nothing waits, and memory is bounded by what one read
//! of each shard brings.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::base::ids::ShardId;
use crate::base::limits::EVENT_READ_MAX;
use crate::base::time::WallTime;
use crate::outcome::event::cursor::{Cursor, FileName, Mark};
use crate::outcome::event::filter::{Filter, Glance};
use crate::outcome::event::follow::{Follower, Gap};

/// Where a reader without a cursor begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum From {
    /// With the oldest event that there is.
    #[default]
    Start,
    /// With what is written from now on.
    End,
    /// With events of at least this number.
    Sequence(u64),
    /// With events of at least this time.
    Time(WallTime),
}

/// A reader of all shards' logs.
#[derive(Debug)]
pub struct Source {
    directory: PathBuf,
    filter: Filter,
    from: From,
    shards: BTreeMap<u8, Reader>,
    gaps: Vec<(ShardId, Gap)>,
    buffer: Vec<u8>,
}

/// One shard's.
#[derive(Debug)]
struct Reader {
    follower: Follower,
    open: Option<(i64, File)>,
}

impl Reader {
    fn new(mark: Option<Mark>) -> Self {
        Self { follower: Follower::new(mark), open: None }
    }

    /// Read until there is a line, or nothing more.
    fn fill(
        &mut self,
        shard: u8,
        directory: &Path,
        filter: &Filter,
        buffer: &mut Vec<u8>,
    ) -> io::Result<()> {
        while let Some((start, offset)) = self.follower.wants() {
            let Some(file) = self.file(shard, start, directory)? else {
                self.follower.handle_gone();
                continue;
            };
            buffer.resize(EVENT_READ_MAX, 0);
            match file.read_at(buffer, offset)? {
                0 => {
                    let length = file.metadata()?.len();
                    self.follower.handle_end(length);
                }
                count => self.follower.handle_octets(&buffer[..count], filter),
            }
        }
        Ok(())
    }

    fn file(&mut self, shard: u8, start: i64, directory: &Path) -> io::Result<Option<&File>> {
        if self.open.as_ref().is_none_or(|(open, _)| *open != start) {
            let name = FileName { shard: ShardId(shard), start };
            match File::open(directory.join(name.to_string())) {
                Ok(file) => self.open = Some((start, file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(self.open.as_ref().map(|(_, file)| file))
    }
}

impl Source {
    /// Below `spool`, behind `cursor`; shards that it does not know are read from their beginning,
    /// and all of them from `from` on where it knows none.
    pub fn new(spool: &Path, cursor: &Cursor, from: From, filter: Filter) -> io::Result<Self> {
        let directory = spool.join("events");
        let mut source = Self {
            directory,
            filter,
            from: From::Start,
            shards: BTreeMap::new(),
            gaps: Vec::new(),
            buffer: Vec::new(),
        };
        if cursor.shards.is_empty() {
            source.from = from;
            if from == From::End {
                source.go_to_end()?;
            }
        }
        for (shard, mark) in &cursor.shards {
            source.shards.insert(*shard, Reader::new(Some(*mark)));
        }
        Ok(source)
    }

    /// Below `spool`, from `time` on: files that ended before are not read.
    pub fn since(spool: &Path, time: WallTime, filter: Filter) -> io::Result<Self> {
        let mut source = Self::new(spool, &Cursor::default(), From::Time(time), filter)?;
        for (shard, starts) in files(&source.directory)? {
            let later = starts.partition_point(|start| *start <= time.0);
            if let Some(start) = starts.get(later.saturating_sub(1)) {
                source.shards.insert(shard, Reader::new(Some(Mark::beginning(*start))));
            }
        }
        Ok(source)
    }

    fn go_to_end(&mut self) -> io::Result<()> {
        for (shard, starts) in files(&self.directory)? {
            let Some(start) = starts.last().copied() else { continue };
            let name = FileName { shard: ShardId(shard), start };
            let offset = end_of_lines(&self.directory.join(name.to_string()))?;
            let mark = Mark { offset, ..Mark::beginning(start) };
            self.shards.insert(shard, Reader::new(Some(mark)));
        }
        Ok(())
    }

    /// Look at what files there are. Behind what was there then, nothing is read.
    pub fn look(&mut self) -> io::Result<()> {
        let files = files(&self.directory)?;
        for shard in files.keys() {
            self.shards.entry(*shard).or_insert_with(|| Reader::new(None));
        }
        for (shard, reader) in &mut self.shards {
            let starts = files.get(shard).map_or(&[][..], Vec::as_slice);
            reader.follower.handle_files(starts);
            reader.fill(*shard, &self.directory, &self.filter, &mut self.buffer)?;
        }
        Ok(())
    }

    /// Pass the oldest line; appended to `into` where it is wanted. `None` until the next look,
    /// where nothing is left.
    pub fn next(&mut self, into: &mut Vec<u8>) -> io::Result<Option<(ShardId, Glance)>> {
        let heads = self.shards.iter().filter_map(|(shard, reader)| {
            let glance = reader.follower.head()?;
            Some((glance.time, *shard, glance))
        });
        let Some((_, shard, mut glance)) = heads.min_by_key(|(time, shard, _)| (*time, *shard))
        else {
            return Ok(None);
        };
        glance.is_wanted &= match self.from {
            From::Start | From::End => true,
            From::Sequence(first) => glance.sequence >= first,
            From::Time(first) => glance.time >= first,
        };
        let Some(reader) = self.shards.get_mut(&shard) else { return Ok(None) };
        match glance.is_wanted {
            true => reader.follower.take(into, &self.filter),
            false => reader.follower.pass(&self.filter),
        }
        reader.fill(shard, &self.directory, &self.filter, &mut self.buffer)?;
        let gaps = std::iter::from_fn(|| reader.follower.poll_gap());
        self.gaps.extend(gaps.map(|gap| (ShardId(shard), gap)));
        Ok(Some((ShardId(shard), glance)))
    }

    /// What was missing, once.
    pub fn take_gaps(&mut self) -> Vec<(ShardId, Gap)> {
        for (shard, reader) in &mut self.shards {
            let gaps = std::iter::from_fn(|| reader.follower.poll_gap());
            self.gaps.extend(gaps.map(|gap| (ShardId(*shard), gap)));
        }
        std::mem::take(&mut self.gaps)
    }

    /// Behind the last line that was passed.
    pub fn cursor(&self) -> Cursor {
        let marks = self.shards.iter();
        let marks = marks.filter_map(|(shard, reader)| Some((*shard, reader.follower.mark()?)));
        Cursor { shards: marks.collect() }
    }
}

/// The starts of all files, by shard, in order; none where there is no folder yet.
fn files(directory: &Path) -> io::Result<BTreeMap<u8, Vec<i64>>> {
    let mut files: BTreeMap<u8, Vec<i64>> = BTreeMap::new();
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
        entries => entries?,
    };
    for entry in entries {
        let name = entry?.file_name();
        let Some(name) = name.to_str().and_then(|name| name.parse::<FileName>().ok()) else {
            continue;
        };
        files.entry(name.shard.0).or_default().push(name.start);
    }
    files.values_mut().for_each(|starts| starts.sort_unstable());
    Ok(files)
}

/// Octets of a file's whole lines.
fn end_of_lines(path: &Path) -> io::Result<u64> {
    let file = File::open(path)?;
    let mut end = file.metadata()?.len();
    let mut buffer = vec![0; EVENT_READ_MAX];
    while end > 0 {
        let start = end.saturating_sub(EVENT_READ_MAX as u64);
        let length = usize::try_from(end - start).unwrap_or(EVENT_READ_MAX);
        file.read_exact_at(&mut buffer[..length], start)?;
        if let Some(last) = memchr::memrchr(b'\n', &buffer[..length]) {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Octets of the log that are behind a cursor.
pub fn octets_behind(spool: &Path, cursor: &Cursor) -> io::Result<u64> {
    let directory = spool.join("events");
    let mut octets = 0;
    for (shard, starts) in files(&directory)? {
        let mark = cursor.shards.get(&shard);
        let passed = mark.map_or(i64::MIN, |mark| mark.file);
        for start in starts.into_iter().filter(|start| *start >= passed) {
            let name = FileName { shard: ShardId(shard), start };
            let length = match fs::metadata(directory.join(name.to_string())) {
                Ok(metadata) => metadata.len(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let offset = mark.filter(|mark| mark.file == start).map_or(0, |mark| mark.offset);
            octets += length.saturating_sub(offset);
        }
    }
    Ok(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(sequence: u64, ms: u64) -> String {
        format!("{{\"sequence\":{sequence},\"time\":\"1970-01-01T00:00:00.{ms:03}Z\"}}\n")
    }

    fn all(source: &mut Source) -> Vec<u64> {
        source.look().unwrap();
        let mut numbers = Vec::new();
        let mut text = Vec::new();
        while let Some((_, glance)) = source.next(&mut text).unwrap() {
            if glance.is_wanted {
                numbers.push(glance.sequence);
            }
        }
        assert_eq!(text.iter().filter(|octet| **octet == b'\n').count(), numbers.len());
        numbers
    }

    fn spool() -> tempfile::TempDir {
        let spool = tempfile::tempdir().unwrap();
        let events = spool.path().join("events");
        fs::create_dir(&events).unwrap();
        let write = |name: &str, text: String| fs::write(events.join(name), text).unwrap();
        write("shard-00-0000000000001.jsonl", line(1, 1) + &line(2, 5));
        write("shard-00-0000000000006.jsonl", line(3, 6) + &line(4, 9) + "{\"cut");
        write("shard-05-0000000000002.jsonl", line(11, 2) + &line(12, 7));
        write("else", "else".into());
        spool
    }

    fn source(spool: &Path, from: From) -> Source {
        Source::new(spool, &Cursor::default(), from, Filter::default()).unwrap()
    }

    #[test]
    fn shards_are_read_together_in_the_order_of_time() {
        let spool = spool();
        let mut start = source(spool.path(), From::Start);
        assert_eq!(all(&mut start), [1, 11, 2, 3, 12, 4]);
        assert!(all(&mut start).is_empty(), "each once");
        assert_eq!(octets_behind(spool.path(), &start.cursor()).unwrap(), 5, "what was cut");
        assert_eq!(all(&mut source(spool.path(), From::Sequence(4))), [11, 12, 4]);
        assert_eq!(all(&mut source(spool.path(), From::Time(WallTime(6)))), [3, 12, 4]);
        let mut end = source(spool.path(), From::End);
        assert!(all(&mut end).is_empty());
        let more = spool.path().join("events/shard-05-0000000000010.jsonl");
        fs::write(more, line(13, 10)).unwrap();
        assert_eq!(all(&mut end), [13]);
        assert_eq!(all(&mut start), [13]);
        assert_eq!(start.take_gaps(), []);
    }

    #[test]
    fn a_cursor_goes_on_and_what_it_does_not_know_is_new() {
        let spool = spool();
        let mut first = source(spool.path(), From::Start);
        first.look().unwrap();
        for _ in 0..3 {
            first.next(&mut Vec::new()).unwrap();
        }
        let cursor: Cursor = first.cursor().to_text().parse().unwrap();
        let resume = |cursor| Source::new(spool.path(), cursor, From::End, Filter::default());
        assert_eq!(all(&mut resume(&cursor).unwrap()), [3, 12, 4]);
        let without = Cursor { shards: cursor.shards.clone().into_iter().take(1).collect() };
        assert_eq!(all(&mut resume(&without).unwrap()), [11, 3, 12, 4]);
        fs::remove_file(spool.path().join("events/shard-00-0000000000001.jsonl")).unwrap();
        fs::remove_file(spool.path().join("events/shard-00-0000000000006.jsonl")).unwrap();
        fs::write(spool.path().join("events/shard-00-0000000000020.jsonl"), line(9, 20)).unwrap();
        let mut late = resume(&without).unwrap();
        assert_eq!(all(&mut late), [11, 12, 9]);
        assert_eq!(late.take_gaps(), [(ShardId(0), Gap::Removed { after: 2, before: 9 })]);
    }

    #[test]
    fn a_spool_without_events_is_an_empty_log() {
        let spool = tempfile::tempdir().unwrap();
        for from in [From::Start, From::End] {
            assert!(all(&mut source(spool.path(), from)).is_empty());
        }
        assert_eq!(octets_behind(spool.path(), &Cursor::default()).unwrap(), 0);
    }
}
