//! Keep answers on disk, so that a request that comes again is not done twice: a redb database,
//! `SPOOL/injected.redb`.
//!
//! ```text
//! answers  key        → when (8 octets), the mark of the request (32), status (2), the body
//! ages     when, key  → octets of the body
//! totals   "count", "octets" → of all of them
//! ```
//! Invariant: a commit holds an answer in all three, and is on stable storage when `keep` returns;
//! there are no more answers and octets than the limits say. Opened once somebody asks for it.
//! Lives on: threads beside the shards; all calls block.

use std::fmt::Display;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use redb::{Database, Error, ReadableDatabase, ReadableTable, Table, TableDefinition};

use crate::base::limits::{
    INJECT_ANSWERS_MAX, INJECT_CACHE_BYTES, INJECT_KEYS_KEPT, INJECT_KEYS_MAX,
};
use crate::base::time::WallTime;
use crate::platform::reopened::Reopened;
use crate::policy::repeats::{Answered, Key, Mark, Repeats, Unkept};

type Bytes = TableDefinition<'static, &'static [u8], &'static [u8]>;
type Ages = TableDefinition<'static, (i64, &'static [u8]), u64>;
type Totals = TableDefinition<'static, &'static str, u64>;

const ANSWERS: Bytes = TableDefinition::new("answers");
const AGES: Ages = TableDefinition::new("ages");
const TOTALS: Totals = TableDefinition::new("totals");

/// The file below a spool.
const FILE: &str = "injected.redb";
/// Octets before the body.
const HEAD: usize = 8 + 32 + 2;

/// Opens the store of a spool once it is asked for.
#[derive(Debug)]
pub(super) struct Opener {
    path: PathBuf,
    store: Mutex<Option<Arc<Store>>>,
}

/// See the file's first lines.
#[derive(Debug)]
struct Store {
    database: Reopened,
    limits: Limits,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    count: u64,
    octets: u64,
}

fn wrong(error: impl Display) -> Unkept {
    Unkept(error.to_string())
}

impl From<Error> for Unkept {
    fn from(error: Error) -> Self {
        wrong(error)
    }
}

impl Opener {
    /// Of this spool; nothing is opened.
    pub(super) fn new(spool: &std::path::Path) -> Self {
        Self { path: spool.join(FILE), store: Mutex::default() }
    }

    fn store(&self) -> Result<Arc<Store>, Unkept> {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = &*store {
            return Ok(store.clone());
        }
        let limits = Limits { count: INJECT_KEYS_MAX, octets: INJECT_ANSWERS_MAX };
        let opened = Arc::new(Store::open(&self.path, limits)?);
        Ok(store.insert(opened).clone())
    }
}

impl Repeats for Opener {
    fn find(&self, key: &Key, now: WallTime) -> Result<Option<Answered>, Unkept> {
        self.store()?.find(key, now)
    }

    fn keep(&self, key: &Key, answered: &Answered) -> Result<(), Unkept> {
        self.store()?.keep(key, answered)
    }
}

impl Store {
    fn open(path: &std::path::Path, limits: Limits) -> Result<Self, Unkept> {
        let database = Reopened::new(path, INJECT_CACHE_BYTES, prepare).map_err(wrong)?;
        Ok(Self { database, limits })
    }
}

/// Readers find all tables from now on.
fn prepare(database: &Database) -> Result<(), Error> {
    let begun = database.begin_write()?;
    begun.open_table(ANSWERS)?;
    begun.open_table(AGES)?;
    begun.open_table(TOTALS)?;
    Ok(begun.commit()?)
}

impl Repeats for Store {
    fn find(&self, key: &Key, now: WallTime) -> Result<Option<Answered>, Unkept> {
        self.database.with(|database| {
            let answers = database.begin_read().map_err(wrong)?;
            let answers = answers.open_table(ANSWERS).map_err(wrong)?;
            let Some(found) = answers.get(&key.0[..]).map_err(wrong)? else { return Ok(None) };
            let answered = read(found.value())?;
            Ok((now.since(answered.at) < INJECT_KEYS_KEPT).then_some(answered))
        })
    }

    fn keep(&self, key: &Key, answered: &Answered) -> Result<(), Unkept> {
        self.database.with(|database| {
            let begun = database.begin_write().map_err(wrong)?;
            {
                let mut rows = Rows {
                    answers: begun.open_table(ANSWERS).map_err(wrong)?,
                    ages: begun.open_table(AGES).map_err(wrong)?,
                    totals: begun.open_table(TOTALS).map_err(wrong)?,
                };
                rows.remove(key)?;
                rows.make_room(answered, self.limits)?;
                rows.insert(key, answered)?;
            }
            begun.commit().map_err(wrong)
        })
    }
}

/// The tables, in a commit to come.
struct Rows<'t> {
    answers: Table<'t, &'static [u8], &'static [u8]>,
    ages: Table<'t, (i64, &'static [u8]), u64>,
    totals: Table<'t, &'static str, u64>,
}

impl Rows<'_> {
    fn insert(&mut self, key: &Key, answered: &Answered) -> Result<(), Unkept> {
        let octets = written(answered);
        self.answers.insert(&key.0[..], octets.as_slice()).map_err(wrong)?;
        let size = octets.len() as u64;
        self.ages.insert((answered.at.0, &key.0[..]), size).map_err(wrong)?;
        let (count, all) = self.totals()?;
        self.set_totals(count + 1, all + size)
    }

    fn remove(&mut self, key: &Key) -> Result<(), Unkept> {
        let Some(found) = self.answers.remove(&key.0[..]).map_err(wrong)? else { return Ok(()) };
        let (at, size) = (read(found.value())?.at, found.value().len() as u64);
        drop(found);
        self.ages.remove((at.0, &key.0[..])).map_err(wrong)?;
        let (count, all) = self.totals()?;
        self.set_totals(count.saturating_sub(1), all.saturating_sub(size))
    }

    /// What is too old goes, and of the rest the oldest.
    fn make_room(&mut self, answered: &Answered, limits: Limits) -> Result<(), Unkept> {
        let size = written(answered).len() as u64;
        loop {
            let oldest = self.ages.first().map_err(wrong)?;
            let oldest = oldest.map(|(age, _)| {
                let (at, key) = age.value();
                (WallTime(at), <[u8; 32]>::try_from(key))
            });
            let Some((at, Ok(key))) = oldest else { return Ok(()) };
            let (count, all) = self.totals()?;
            let is_full = count >= limits.count || all + size > limits.octets;
            if !is_full && answered.at.since(at) < INJECT_KEYS_KEPT {
                return Ok(());
            }
            self.remove(&Key(key))?;
        }
    }

    fn totals(&self) -> Result<(u64, u64), Unkept> {
        let get = |name| {
            let value = self.totals.get(name).map_err(wrong)?;
            Ok::<u64, Unkept>(value.map_or(0, |value| value.value()))
        };
        Ok((get("count")?, get("octets")?))
    }

    fn set_totals(&mut self, count: u64, octets: u64) -> Result<(), Unkept> {
        self.totals.insert("count", count).map_err(wrong)?;
        self.totals.insert("octets", octets).map_err(wrong)?;
        Ok(())
    }
}

fn written(answered: &Answered) -> Vec<u8> {
    let Answered { request, at, status, body } = answered;
    let mut octets = Vec::with_capacity(HEAD + body.len());
    octets.extend_from_slice(&at.0.to_be_bytes());
    octets.extend_from_slice(&request.0);
    octets.extend_from_slice(&status.to_be_bytes());
    octets.extend_from_slice(body);
    octets
}

fn read(octets: &[u8]) -> Result<Answered, Unkept> {
    let (head, body) = octets.split_at_checked(HEAD).ok_or_else(|| wrong("an answer is cut"))?;
    let (at, rest) = head.split_at(8);
    let (request, status) = rest.split_at(32);
    Ok(Answered {
        request: Mark(request.try_into().map_err(wrong)?),
        at: WallTime(i64::from_be_bytes(at.try_into().map_err(wrong)?)),
        status: u16::from_be_bytes(status.try_into().map_err(wrong)?),
        body: body.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: WallTime = WallTime(1_795_491_661_007);

    fn answered(at: WallTime, body: &str) -> Answered {
        Answered { request: Mark::new(b"request"), at, status: 200, body: body.into() }
    }

    fn key(name: &str) -> Key {
        Key::new("who", name)
    }

    #[test]
    fn an_answer_is_found_again_also_by_the_next_process() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = Opener::new(folder.path());
        assert_eq!(first.find(&key("a"), NOW), Ok(None));
        first.keep(&key("a"), &answered(NOW, "one")).expect("kept");
        drop(first);
        let second = Opener::new(folder.path());
        assert_eq!(second.find(&key("a"), NOW), Ok(Some(answered(NOW, "one"))));
        assert_eq!(second.find(&key("b"), NOW), Ok(None));
        assert_eq!(second.find(&key("a"), NOW + INJECT_KEYS_KEPT), Ok(None), "it is too old");
    }

    #[test]
    fn the_oldest_go_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let limits = Limits { count: 3, octets: 4 * HEAD as u64 };
        let store = Store::open(&folder.path().join(FILE), limits).expect("a store");
        let at = |seconds| NOW + Duration::from_secs(seconds);
        let held = |names: &[&'static str], now| {
            let is_held =
                |name: &&&'static str| store.find(&key(name), now).expect("it says").is_some();
            names.iter().filter(is_held).copied().collect::<Vec<_>>()
        };
        let all = ["a", "b", "c", "d", "e"];
        for (number, name) in (0..).zip(["b", "a", "c", "d"]) {
            store.keep(&key(name), &answered(at(number), "")).expect("kept");
        }
        assert_eq!(held(&all, at(9)), ["a", "c", "d"], "three at most");
        store.keep(&key("e"), &answered(at(9), &"x".repeat(2 * HEAD))).expect("kept");
        assert_eq!(held(&all, at(9)), ["d", "e"], "and so many octets");
        store.keep(&key("d"), &answered(at(10), "")).expect("kept anew");
        let later = at(11) + INJECT_KEYS_KEPT;
        store.keep(&key("a"), &answered(later, "")).expect("kept");
        let totals = |name: &str| {
            store.database.with(|database| {
                let totals = database.begin_read().map_err(wrong)?.open_table(TOTALS);
                let total = totals.map_err(wrong)?.get(name).map_err(wrong)?;
                Ok::<_, Unkept>(total.map(|total| total.value()))
            })
        };
        assert_eq!(totals("count"), Ok(Some(1)));
        assert_eq!(totals("octets"), Ok(Some(HEAD as u64)));
    }
}
