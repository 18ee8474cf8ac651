//! Append events to a file, for whoever reads files: each line whole, and on the disk before it
//! counts as taken.
//!
//! The file may be moved away or made empty at any moment: the next batch goes to the one that has
//! its name then. A line that a crash cut is taken back: it is written again.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::base::limits::EVENT_LINE_MAX;

/// The end of a file.
#[derive(Debug)]
pub(super) struct Appender {
    path: PathBuf,
    open: Option<File>,
}

impl Appender {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), open: None }
    }

    /// Append whole lines; blocks until they are on the disk.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let written = self.try_append(lines);
        if written.is_err() {
            // Whatever came of it is looked at when the file is opened again.
            self.open = None;
        }
        written
    }

    fn try_append(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut file = match self.open.take() {
            Some(file) if self.is_there(&file) => file,
            Some(_) | None => open(&self.path)?,
        };
        file.write_all(lines)?;
        file.sync_data()?;
        self.open = Some(file);
        Ok(())
    }

    /// Whether the file still has its name.
    fn is_there(&self, file: &File) -> bool {
        let named = self.path.metadata();
        let (Ok(named), Ok(open)) = (named, file.metadata()) else { return false };
        (named.dev(), named.ino()) == (open.dev(), open.ino())
    }
}

/// Its end is the end of a line.
fn open(path: &Path) -> io::Result<File> {
    let options = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o640)
        .custom_flags(libc::O_NONBLOCK)
        .clone();
    let mut file = options.open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("this is no file"));
    }
    let length = file.seek(SeekFrom::End(0))?;
    let start = length.saturating_sub(EVENT_LINE_MAX as u64);
    file.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    (&file).take(EVENT_LINE_MAX as u64).read_to_end(&mut tail)?;
    match memchr::memrchr(b'\n', &tail) {
        Some(last) => file.set_len(start + last as u64 + 1)?,
        None if start == 0 => file.set_len(0)?,
        None => return Err(io::Error::other("its end is none of this exporter's lines")),
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn lines_are_appended_over_crashes_and_moves() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let read = || fs::read_to_string(&path).unwrap();
        let mut file = Appender::new(&path);
        file.append(b"1\n2\n").unwrap();
        file.append(b"3\n").unwrap();
        assert_eq!(read(), "1\n2\n3\n");
        // A crash in the middle of a line.
        fs::write(&path, "1\n2\n3\n4").unwrap();
        let mut file = Appender::new(&path);
        file.append(b"4\n").unwrap();
        assert_eq!(read(), "1\n2\n3\n4\n");
        // Rotated.
        let moved = folder.path().join("events.jsonl.1");
        fs::rename(&path, &moved).unwrap();
        file.append(b"5\n").unwrap();
        assert_eq!(
            (read().as_str(), fs::read_to_string(&moved).unwrap().as_str()),
            ("5\n", "1\n2\n3\n4\n")
        );
        // Copied and truncated.
        fs::write(&path, "").unwrap();
        file.append(b"6\n").unwrap();
        assert_eq!(read(), "6\n");
        // Cut from the first line on.
        fs::write(&path, "7").unwrap();
        Appender::new(&path).append(b"7\n").unwrap();
        assert_eq!(read(), "7\n");
    }

    #[test]
    fn what_is_no_file_of_lines_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Appender::new(folder.path()).append(b"1\n").is_err());
        assert!(Appender::new(&folder.path().join("none/x")).append(b"1\n").is_err());
        let other = folder.path().join("other");
        let content = vec![b'x'; 2 * EVENT_LINE_MAX];
        fs::write(&other, &content).unwrap();
        assert!(Appender::new(&other).append(b"1\n").is_err());
        assert_eq!(fs::read(&other).unwrap(), content);
    }
}
