//! The entries of suppression lists on disk: a redb database, `SPOOL/suppression.redb`.
//!
//! ```text
//! entries  list NUL subject                 → the octets of the entry
//! ends     when it expires, list NUL subject → nothing
//! bounces  list NUL subject                 → times of bounces that led to no entry yet
//! counts   list                             → its entries
//! read     name of an event file            → octets of it that were read for bounces
//! ```
//! Invariant: a commit holds all of a batch or none, and is on stable storage when it is answered;
//! the other tables say of `entries` what is so, at each commit. A process that is killed leaves a
//! database that opens at once: each commit says which pages are free, so that nothing is walked
//! through (redb's quick repair). Lives on: threads beside the shards; all calls block.

use std::fmt::Display;
use std::ops::Bound;
use std::path::Path;

use redb::{
    Database, Error, ReadTransaction, ReadableDatabase, ReadableTable, Table, TableDefinition,
    WriteTransaction,
};

use crate::base::limits::SUPPRESSION_CACHE_BYTES;
use crate::base::time::WallTime;
use crate::platform::reopened::Reopened;
use crate::policy::suppression::{
    Change, Done, Entries, Entry, ListName, Located, Subject, Unreadable,
};

type Bytes = TableDefinition<'static, &'static [u8], &'static [u8]>;
type Numbers = TableDefinition<'static, &'static str, u64>;

const ENTRIES: Bytes = TableDefinition::new("entries");
const ENDS: Bytes = TableDefinition::new("ends");
const BOUNCES: Bytes = TableDefinition::new("bounces");
const COUNTS: Numbers = TableDefinition::new("counts");
const READ: Numbers = TableDefinition::new("read");

/// Between a list's name and a subject: neither has it.
const NUL: u8 = 0;

/// See the file's first lines.
#[derive(Debug)]
pub(in crate::platform) struct Store(Reopened);

/// A batch under way.
pub(super) struct Batch<'t> {
    entries: Table<'t, &'static [u8], &'static [u8]>,
    ends: Table<'t, &'static [u8], &'static [u8]>,
    bounces: Table<'t, &'static [u8], &'static [u8]>,
    counts: Table<'t, &'static str, u64>,
    read: Table<'t, &'static str, u64>,
    /// What is on a list by it.
    put: Vec<(ListName, Subject)>,
    done: Done,
}

pub(super) fn wrong(error: impl Display) -> Unreadable {
    Unreadable(error.to_string())
}

impl From<Error> for Unreadable {
    fn from(error: Error) -> Self {
        wrong(error)
    }
}

/// Readers find all tables from now on.
fn prepare(database: &Database) -> Result<(), Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    for table in [ENTRIES, ENDS, BOUNCES] {
        transaction.open_table(table)?;
    }
    transaction.open_table(COUNTS)?;
    transaction.open_table(READ)?;
    Ok(transaction.commit()?)
}

fn begin(database: &Database) -> Result<ReadTransaction, Unreadable> {
    database.begin_read().map_err(wrong)
}

impl Store {
    /// Open it, or make an empty one.
    pub(in crate::platform) fn open(path: &Path) -> Result<Self, Unreadable> {
        Ok(Self(Reopened::new(path, SUPPRESSION_CACHE_BYTES, prepare)?))
    }

    /// Entries of each list.
    pub(super) fn counts(&self) -> Result<Vec<(ListName, u64)>, Unreadable> {
        self.0.with(|database| {
            let counts = begin(database)?.open_table(COUNTS).map_err(wrong)?;
            let mut all = Vec::new();
            for row in counts.iter().map_err(wrong)? {
                let (list, count) = row.map_err(wrong)?;
                all.push((list.value().parse().map_err(wrong)?, count.value()));
            }
            Ok(all)
        })
    }

    /// Call `each` with the list and the subject of every entry.
    pub(super) fn each(&self, mut each: impl FnMut(&ListName, &str)) -> Result<(), Unreadable> {
        self.0.with(|database| {
            let entries = begin(database)?.open_table(ENTRIES).map_err(wrong)?;
            // Entries of a list stand together.
            let mut list = ListName::GLOBAL;
            for row in entries.iter().map_err(wrong)? {
                let (key, _) = row.map_err(wrong)?;
                let (name, subject) = split(key.value())?;
                if name != list.as_str() {
                    list = name.parse().map_err(wrong)?;
                }
                each(&list, subject);
            }
            Ok(())
        })
    }

    /// See `Registry::page`.
    pub(super) fn page(
        &self,
        list: Option<&ListName>,
        after: Option<(&ListName, &Subject)>,
        limit: usize,
    ) -> Result<Vec<Located>, Unreadable> {
        self.0.with(|database| {
            let entries = begin(database)?.open_table(ENTRIES).map_err(wrong)?;
            let after = after.map(|(list, subject)| key(list, subject.as_str()));
            // A subject begins with something above NUL.
            let end = list.map(|list| [list.as_str().as_bytes(), &[NUL + 1]].concat());
            let begin = list.map(|list| key(list, "")).max(after.clone());
            let begin = match (&begin, begin == after) {
                (None, _) => Bound::Unbounded,
                (Some(begin), true) => Bound::Excluded(begin.as_slice()),
                (Some(begin), false) => Bound::Included(begin.as_slice()),
            };
            let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            if matches!((begin, end), (Bound::Excluded(from) | Bound::Included(from),
                Bound::Excluded(to)) if from >= to)
            {
                return Ok(Vec::new());
            }
            let rows = entries.range::<&[u8]>((begin, end)).map_err(wrong)?;
            let mut page = Vec::new();
            for row in rows.take(limit) {
                let (key, octets) = row.map_err(wrong)?;
                let (list, subject) = split(key.value())?;
                let (list, subject) = (list.parse().map_err(wrong)?, Subject::known(subject));
                page.push(Located { list, subject, entry: entry(octets.value())? });
            }
            Ok(page)
        })
    }

    /// Whether an entry is of a whole domain, going by the order of keys: `@` comes before letters.
    pub(super) fn has_domains(&self) -> Result<bool, Unreadable> {
        self.0.with(|database| {
            let entries = begin(database)?.open_table(ENTRIES).map_err(wrong)?;
            for (list, _) in self.counts()? {
                let (from, to) = (key(&list, "@"), key(&list, "A"));
                let mut rows = entries.range(from.as_slice()..to.as_slice()).map_err(wrong)?;
                if rows.next().transpose().map_err(wrong)?.is_some() {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    /// How far each event file was read.
    pub(super) fn read_up_to(&self) -> Result<Vec<(String, u64)>, Unreadable> {
        self.0.with(|database| {
            let read = begin(database)?.open_table(READ).map_err(wrong)?;
            let mut all = Vec::new();
            for row in read.iter().map_err(wrong)? {
                let (file, octets) = row.map_err(wrong)?;
                all.push((file.value().to_owned(), octets.value()));
            }
            Ok(all)
        })
    }

    /// Change something: all of it, or nothing where `act` or the disk fails. What is to be on a
    /// list by it is announced before it is.
    pub(super) fn write(
        &self,
        act: impl FnOnce(&mut Batch<'_>) -> Result<(), Unreadable>,
        announce: impl Fn(&ListName, &Subject),
    ) -> Result<Done, Unreadable> {
        self.0.with(|database| {
            let mut transaction = database.begin_write().map_err(wrong)?;
            transaction.set_quick_repair(true);
            let done = {
                let mut batch = Batch::new(&transaction)?;
                act(&mut batch)?;
                batch.put.iter().for_each(|(list, subject)| announce(list, subject));
                batch.done
            };
            transaction.commit().map_err(wrong)?;
            Ok(done)
        })
    }
}

impl Entries for Store {
    fn entry(&self, list: &ListName, subject: &str) -> Result<Option<Entry>, Unreadable> {
        self.0.with(|database| {
            let entries = begin(database)?.open_table(ENTRIES).map_err(wrong)?;
            let found = entries.get(key(list, subject).as_slice()).map_err(wrong)?;
            found.map(|octets| entry(octets.value())).transpose()
        })
    }
}

impl<'t> Batch<'t> {
    fn new(transaction: &'t WriteTransaction) -> Result<Self, Unreadable> {
        let bytes = |table: Bytes| transaction.open_table(table).map_err(wrong);
        let numbers = |table: Numbers| transaction.open_table(table).map_err(wrong);
        Ok(Self {
            entries: bytes(ENTRIES)?,
            ends: bytes(ENDS)?,
            bounces: bytes(BOUNCES)?,
            counts: numbers(COUNTS)?,
            read: numbers(READ)?,
            put: Vec::new(),
            done: Done::default(),
        })
    }

    /// Make one change.
    pub(super) fn change(&mut self, change: &Change, now: WallTime) -> Result<(), Unreadable> {
        match change {
            Change::Put(located) => self.put(located),
            Change::Add(Located { list, subject, entry: new }) => {
                let key = key(list, subject.as_str());
                let old = self.entries.get(key.as_slice()).map_err(wrong)?;
                let old = old.map(|octets| entry(octets.value())).transpose()?;
                if old.is_some_and(|old| old.holds(now)) {
                    return Ok(());
                }
                let located =
                    Located { list: list.clone(), subject: subject.clone(), entry: new.clone() };
                self.put(&located)
            }
            Change::Remove(list, subject) => self.remove(list, subject.as_str()),
        }
    }

    fn put(&mut self, located: &Located) -> Result<(), Unreadable> {
        let key = key(&located.list, located.subject.as_str());
        let mut octets = Vec::new();
        located.entry.write(&mut octets);
        let old = self.entries.insert(key.as_slice(), octets.as_slice()).map_err(wrong)?;
        let old = old.map(|octets| entry(octets.value())).transpose()?;
        match old {
            Some(old) => {
                self.forget_end(&old, &key)?;
                self.done.replaced += 1;
            }
            None => {
                self.count(&located.list, |count| count + 1)?;
                self.done.added += 1;
            }
        }
        self.put.push((located.list.clone(), located.subject.clone()));
        if let Some(end) = end_key(&located.entry, &key) {
            self.ends.insert(end.as_slice(), [].as_slice()).map_err(wrong)?;
        }
        Ok(())
    }

    fn remove(&mut self, list: &ListName, subject: &str) -> Result<(), Unreadable> {
        let key = key(list, subject);
        self.bounces.remove(key.as_slice()).map_err(wrong)?;
        let old = self.entries.remove(key.as_slice()).map_err(wrong)?;
        let Some(old) = old.map(|octets| entry(octets.value())).transpose()? else { return Ok(()) };
        self.forget_end(&old, &key)?;
        self.count(list, |count| count.saturating_sub(1))?;
        self.done.removed += 1;
        Ok(())
    }

    fn forget_end(&mut self, old: &Entry, key: &[u8]) -> Result<(), Unreadable> {
        if let Some(end) = end_key(old, key) {
            self.ends.remove(end.as_slice()).map_err(wrong)?;
        }
        Ok(())
    }

    fn count(&mut self, list: &ListName, change: fn(u64) -> u64) -> Result<(), Unreadable> {
        let before = self.counts.get(list.as_str()).map_err(wrong)?.map_or(0, |it| it.value());
        match change(before) {
            0 => self.counts.remove(list.as_str()).map_err(wrong)?,
            after => self.counts.insert(list.as_str(), after).map_err(wrong)?,
        };
        Ok(())
    }

    /// Take out entries that have expired, `limit` at most; how many.
    pub(super) fn sweep(&mut self, now: WallTime, limit: usize) -> Result<usize, Unreadable> {
        let until = sortable(WallTime(now.0.saturating_add(1)));
        let mut due = Vec::new();
        for row in self.ends.range::<&[u8]>(..until.as_slice()).map_err(wrong)?.take(limit) {
            due.push(row.map_err(wrong)?.0.value()[8..].to_vec());
        }
        for key in &due {
            let (list, subject) = split(key)?;
            self.remove(&list.parse().map_err(wrong)?, subject)?;
        }
        Ok(due.len())
    }

    /// An address bounced: how often it has within the last `window_ms`. Once that is enough it is
    /// forgotten here.
    pub(super) fn bounced(
        &mut self,
        list: &ListName,
        subject: &str,
        when: WallTime,
        (window_ms, enough): (i64, usize),
    ) -> Result<bool, Unreadable> {
        let key = key(list, subject);
        let before = self.bounces.get(key.as_slice()).map_err(wrong)?;
        let before = before.map_or(Vec::new(), |octets| octets.value().to_vec());
        let times = before.chunks_exact(8);
        let times = times.map(|time| i64::from_le_bytes(time.try_into().expect("8 octets")));
        let mut times: Vec<i64> =
            times.filter(|time| when.0.saturating_sub(*time) <= window_ms).collect();
        times.push(when.0);
        if times.len() >= enough {
            self.bounces.remove(key.as_slice()).map_err(wrong)?;
            return Ok(true);
        }
        let octets: Vec<u8> = times.into_iter().flat_map(i64::to_le_bytes).collect();
        self.bounces.insert(key.as_slice(), octets.as_slice()).map_err(wrong)?;
        Ok(false)
    }

    /// An event file was read so far.
    pub(super) fn set_read(&mut self, file: &str, octets: u64) -> Result<(), Unreadable> {
        self.read.insert(file, octets).map_err(wrong).map(drop)
    }

    /// An event file is gone.
    pub(super) fn forget_read(&mut self, file: &str) -> Result<(), Unreadable> {
        self.read.remove(file).map_err(wrong).map(drop)
    }
}

fn key(list: &ListName, subject: &str) -> Vec<u8> {
    [list.as_str().as_bytes(), &[NUL], subject.as_bytes()].concat()
}

fn split(key: &[u8]) -> Result<(&str, &str), Unreadable> {
    let text = std::str::from_utf8(key).map_err(wrong)?;
    text.split_once('\0').ok_or_else(|| wrong("a key names no list"))
}

/// Where an entry that expires stands in the order of that.
fn end_key(entry: &Entry, key: &[u8]) -> Option<Vec<u8>> {
    entry.expires.map(|at| [sortable(at).as_slice(), key].concat())
}

/// Octets that compare as times do.
fn sortable(time: WallTime) -> [u8; 8] {
    (time.0.cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

fn entry(octets: &[u8]) -> Result<Entry, Unreadable> {
    Entry::read(octets).ok_or_else(|| wrong("an entry is of a later version, or damaged"))
}
