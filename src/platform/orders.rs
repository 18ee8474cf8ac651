//! Keep what operators order in files of JSON below the spool.
//!
//! An order is on stable storage before it is answered: nobody learns of a power cut by mail that
//! goes where it was not to go.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use serde::Serialize;

/// What a file keeps; nothing, where there is none yet.
pub(super) fn read<T: Default>(
    path: &Path,
    parse: impl FnOnce(&[u8]) -> io::Result<T>,
) -> io::Result<T> {
    match fs::read(path) {
        Ok(octets) => parse(&octets),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(T::default()),
        Err(error) => Err(error),
    }
}

/// Write a file anew: it is on stable storage before it has the name.
pub(super) fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let mut file = File::create(&new)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Lines as a file has them.
pub(super) fn text<L: Serialize>(lines: impl Iterator<Item = L>) -> Vec<u8> {
    let lines: Vec<L> = lines.collect();
    let mut text = serde_json::to_vec_pretty(&lines).expect("plain data");
    text.push(b'\n');
    text
}
