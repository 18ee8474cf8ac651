//! The subcommand `relay-fast report`: read the event logs of a spool and sum them up.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use crate::base::time::WallTime;
use crate::outcome::event::Event;
use crate::outcome::report::Report;

/// Sum up what happened since `since`, from the event logs under `spool`.
pub fn since(spool: &Path, since: WallTime) -> io::Result<Report> {
    let mut report = Report::default();
    for file in files(&spool.join("events"))? {
        read(&file, since, &mut report)?;
    }
    Ok(report)
}

/// All event logs, in order of name: by shard, then by age.
fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// A last line without its end is still being written: it is left out.
fn read(path: &Path, since: WallTime, report: &mut Report) -> io::Result<()> {
    let mut lines = BufReader::new(File::open(path)?);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        if line.ends_with(b"\n") {
            match Event::parse(&line) {
                Ok(event) if event.time >= since => report.add(&event),
                Ok(_) => {}
                Err(error) => tracing::warn!(path = %path.display(), %error, "not an event"),
            }
        }
        line.clear();
    }
    Ok(())
}
