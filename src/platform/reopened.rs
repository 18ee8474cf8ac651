//! Hold a redb database, and open it anew after a fault.
//!
//! Whatever came of reading or writing once, as of a disk that was full for a moment, redb answers
//! nothing any more before the file is opened again: it would fail until the process ends. Of a
//! file that is damaged it may panic: that is an error here too.
//! Invariant: after an error the next call opens the file again, and finds what the last commit
//! left. Lives on: threads beside the shards; all calls block.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::{Builder, Database, Error};

/// See the file's first lines.
#[derive(Debug)]
pub(super) struct Reopened {
    path: PathBuf,
    cache_bytes: usize,
    /// Makes the tables that readers look for.
    prepare: fn(&Database) -> Result<(), Error>,
    open: Mutex<Option<Arc<Database>>>,
}

impl Reopened {
    /// Open a file, or make an empty one.
    pub(super) fn new(
        path: &Path,
        cache_bytes: usize,
        prepare: fn(&Database) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let new = Self { path: path.to_owned(), cache_bytes, prepare, open: Mutex::default() };
        new.database()?;
        Ok(new)
    }

    /// Read or write.
    pub(super) fn with<T, E: From<Error>>(
        &self,
        act: impl FnOnce(&Database) -> Result<T, E>,
    ) -> Result<T, E> {
        let database = self.database()?;
        let done = careful(|| act(&database));
        if done.is_err() {
            let mut open = self.lock();
            if open.as_ref().is_some_and(|held| Arc::ptr_eq(held, &database)) {
                *open = None;
            }
        }
        done
    }

    /// Where another thread still has the former one, it cannot be opened yet.
    fn database(&self) -> Result<Arc<Database>, Error> {
        let mut open = self.lock();
        if let Some(database) = &*open {
            return Ok(database.clone());
        }
        let database = careful(|| {
            let database = Builder::new().set_cache_size(self.cache_bytes).create(&self.path)?;
            (self.prepare)(&database)?;
            Ok::<_, Error>(database)
        })?;
        Ok(open.insert(Arc::new(database)).clone())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Database>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Do it; a panic is an error.
fn careful<T, E: From<Error>>(act: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    let damaged = || Error::Corrupted("the file is damaged: see the log".to_owned());
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|_| Err(damaged().into()))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io;
    use std::os::unix::fs::FileExt as _;
    use std::sync::atomic::{AtomicBool, Ordering};

    use redb::{ReadableDatabase as _, StorageBackend, TableDefinition};

    use super::*;

    const TABLE: TableDefinition<'_, u8, u8> = TableDefinition::new("table");

    /// A file on a disk that is full at times.
    #[derive(Debug)]
    struct Disk(File, Arc<AtomicBool>);

    impl StorageBackend for Disk {
        fn len(&self) -> io::Result<u64> {
            Ok(self.0.metadata()?.len())
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.0.read_exact_at(out, offset)
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.0.set_len(len)
        }

        fn sync_data(&self) -> io::Result<()> {
            self.0.sync_data()
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            match self.1.load(Ordering::Relaxed) {
                true => Err(io::ErrorKind::StorageFull.into()),
                false => self.0.write_all_at(data, offset),
            }
        }
    }

    fn prepare(database: &Database) -> Result<(), Error> {
        let begun = database.begin_write()?;
        begun.open_table(TABLE)?;
        Ok(begun.commit()?)
    }

    fn put(database: &Database, value: u8) -> Result<(), Error> {
        let begun = database.begin_write()?;
        begun.open_table(TABLE)?.insert(1, value)?;
        Ok(begun.commit()?)
    }

    fn get(database: &Database) -> Result<Option<u8>, Error> {
        let table = database.begin_read()?.open_table(TABLE)?;
        Ok(table.get(1)?.map(|value| value.value()))
    }

    #[test]
    fn what_failed_on_a_full_disk_works_once_there_is_room() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.redb");
        let store = Reopened::new(&path, 1 << 20, prepare).expect("a store");
        store.with(|database| put(database, 1)).expect("there is room");
        *store.lock() = None;
        let file = File::options().read(true).write(true).open(&path).expect("the file");
        let is_full = Arc::new(AtomicBool::new(false));
        let disk = Builder::new().create_with_backend(Disk(file, is_full.clone()));
        let disk = Arc::new(disk.expect("the same"));
        *store.lock() = Some(disk.clone());
        is_full.store(true, Ordering::Relaxed);
        assert!(store.with(|database| put(database, 2)).is_err());
        is_full.store(false, Ordering::Relaxed);
        assert!(matches!(put(&disk, 3), Err(Error::PreviousIo)), "redb does not try again");
        drop(disk);
        assert_eq!(store.with(get).expect("it reads"), Some(1), "what was committed");
        store.with(|database| put(database, 4)).expect("it writes");
        assert_eq!(store.with(get).expect("it reads"), Some(4));
    }

    #[test]
    fn a_file_that_is_none_of_ours_is_an_error_and_may_be_mended_meanwhile() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.redb");
        std::fs::write(&path, vec![7; 9_000]).expect("written");
        assert!(Reopened::new(&path, 1 << 20, prepare).is_err());
        std::fs::remove_file(&path).expect("removed");
        let store = Reopened::new(&path, 1 << 20, prepare).expect("an empty one");
        assert_eq!(store.with(get).expect("it reads"), None);
        // As redb does of pages that make no sense.
        let damaged = store.with(|_| -> Result<(), Error> { panic!("no such kind of page") });
        assert!(matches!(damaged, Err(Error::Corrupted(_))));
        assert_eq!(store.with(get).expect("it reads"), None);
    }
}
