//! Figures on disk: a redb database, `SPOOL/kpis.redb`.
//!
//! ```text
//! figures  resolution, start, dimension, 0, key   → the octets of the figures
//!          resolution, start, dimension, 1        → those of all other keys together
//! keys     resolution, start, dimension           → how many keys are apart
//! shards   shard                                  → how far its events are counted
//! numbers  `octets`                               → of keys and values in `figures`
//! told     number                                 → nothing: that report is counted
//! ```
//! Invariant: figures and how far they reach are one commit, on stable storage when it is answered:
//! what is counted is counted once, whenever the process is killed. A process that is killed leaves
//! a database that opens at once (redb's quick repair). All calls block.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::Range;
use std::path::Path;

use redb::{
    Builder, Database, ReadableDatabase, ReadableTable, Table, TableDefinition, WriteTransaction,
};
use serde::{Deserialize, Serialize};

use crate::base::limits::{KPI_CACHE_BYTES, KPI_KEYS_SLACK};
use crate::base::time::WallTime;
use crate::config::options::KpiOptions;
use crate::control::kpis::told::Changes;
use crate::outcome::event::cursor::Mark;
use crate::outcome::kpi::ranking::{Ranked, small};
use crate::outcome::kpi::tally::{Rows, Tally};
use crate::outcome::kpi::{Dimension, Figures, Resolution};

type Octets = TableDefinition<'static, &'static [u8], &'static [u8]>;

const FIGURES: Octets = TableDefinition::new("figures");
const KEYS: TableDefinition<'static, &'static [u8], u64> = TableDefinition::new("keys");
const SHARDS: TableDefinition<'static, u8, &'static [u8]> = TableDefinition::new("shards");
const NUMBERS: TableDefinition<'static, &'static str, u64> = TableDefinition::new("numbers");
const TOLD: TableDefinition<'static, u64, ()> = TableDefinition::new("told");
const OCTETS: &str = "octets";

/// Behind a dimension: a key of its own, or all others.
const OWN: u8 = 0;
const OTHERS: u8 = 1;

/// The store cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct StoreError(String);

fn wrong(error: impl Display) -> StoreError {
    StoreError(error.to_string())
}

/// How far a shard's events are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reached {
    /// Where reading goes on.
    pub(super) mark: Mark,
    /// The highest number that is counted: what is read again counts no more.
    pub(super) counted: u64,
}

/// See the file's first lines.
#[derive(Debug)]
pub(super) struct Store(Database);

/// Whose figures, of which intervals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) resolution: Resolution,
    pub(super) dimension: Dimension,
    /// Starts of intervals; both are such.
    pub(super) starts: Range<WallTime>,
}

impl Span {
    /// The start of each interval.
    pub(super) fn intervals(&self) -> impl Iterator<Item = WallTime> {
        let (Range { start, end }, resolution) = (self.starts.clone(), self.resolution);
        let next = move |start: &WallTime| Some(resolution.next(*start));
        std::iter::successors(Some(start), next).take_while(move |start| *start < end)
    }
}

impl Store {
    /// Open it, or make an empty one.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let mut builder = Builder::new();
        builder.set_cache_size(KPI_CACHE_BYTES);
        let store = Self(builder.create(path).map_err(wrong)?);
        // Readers find all tables from now on.
        store.write(|_| Ok(()))?;
        Ok(store)
    }

    /// How far each shard's events are counted.
    pub(super) fn reached(&self) -> Result<BTreeMap<u8, Reached>, StoreError> {
        let shards = self.0.begin_read().map_err(wrong)?.open_table(SHARDS).map_err(wrong)?;
        let mut all = BTreeMap::new();
        for row in shards.iter().map_err(wrong)? {
            let (shard, text) = row.map_err(wrong)?;
            all.insert(shard.value(), serde_json::from_slice(text.value()).map_err(wrong)?);
        }
        Ok(all)
    }

    /// Reports that are counted, of late.
    pub(super) fn told(&self) -> Result<Vec<u64>, StoreError> {
        let told = self.0.begin_read().map_err(wrong)?.open_table(TOLD).map_err(wrong)?;
        let numbers = told.iter().map_err(wrong)?;
        numbers.map(|row| Ok(row.map_err(wrong)?.0.value())).collect()
    }

    /// Octets of all figures.
    pub(super) fn octets(&self) -> Result<u64, StoreError> {
        let numbers = self.0.begin_read().map_err(wrong)?.open_table(NUMBERS).map_err(wrong)?;
        Ok(numbers.get(OCTETS).map_err(wrong)?.map_or(0, |octets| octets.value()))
    }

    /// Add what was counted, and that it is; take out what is too much.
    pub(super) fn commit(
        &self,
        tally: &Tally,
        (reached, told): (&BTreeMap<u8, Reached>, &Changes),
        options: &KpiOptions,
        now: WallTime,
    ) -> Result<(), StoreError> {
        self.write(|batch| {
            for resolution in Resolution::ALL {
                let oldest = oldest(resolution, options, now);
                let intervals = tally.intervals(resolution);
                for (start, interval) in intervals.iter().filter(|(start, _)| **start >= oldest) {
                    for dimension in Dimension::ALL {
                        let prefix = prefix(resolution, *start, dimension);
                        batch.add(&prefix, &interval[dimension as usize], options.keys)?;
                    }
                }
            }
            for (shard, reached) in reached {
                let text = serde_json::to_vec(reached).map_err(wrong)?;
                batch.shards.insert(*shard, text.as_slice()).map_err(wrong)?;
            }
            for number in &told.new {
                batch.told.insert(number, ()).map_err(wrong)?;
            }
            for number in &told.gone {
                batch.told.remove(number).map_err(wrong)?;
            }
            batch.expire(options, now)?;
            batch.shrink(options.bytes)
        })
    }

    /// Figures over all intervals of a span, of one key or of all, the biggest `keep` apart.
    pub(super) fn totals(
        &self,
        span: &Span,
        key: Option<&str>,
        keep: usize,
    ) -> Result<Ranked, StoreError> {
        let figures = self.0.begin_read().map_err(wrong)?.open_table(FIGURES).map_err(wrong)?;
        let mut ranked = Ranked::default();
        for start in span.intervals() {
            let prefix = prefix(span.resolution, start, span.dimension);
            if let Some(key) = key {
                if let Some(found) = figures.get(own(&prefix, key).as_slice()).map_err(wrong)? {
                    ranked.add(key, &read(found.value())?, keep);
                }
                continue;
            }
            let end = end_of(&prefix);
            for row in figures.range(prefix.as_slice()..end.as_slice()).map_err(wrong)? {
                let (place, octets) = row.map_err(wrong)?;
                match key_of(place.value(), prefix.len())? {
                    Some(key) => ranked.add(key, &read(octets.value())?, keep),
                    None => ranked.add_others(&read(octets.value())?),
                }
            }
        }
        Ok(ranked)
    }

    /// Figures of one key in each interval of a span that has any.
    pub(super) fn series(
        &self,
        span: &Span,
        key: &str,
    ) -> Result<BTreeMap<WallTime, Figures>, StoreError> {
        let figures = self.0.begin_read().map_err(wrong)?.open_table(FIGURES).map_err(wrong)?;
        let mut series = BTreeMap::new();
        for start in span.intervals() {
            let place = own(&prefix(span.resolution, start, span.dimension), key);
            if let Some(found) = figures.get(place.as_slice()).map_err(wrong)? {
                series.insert(start, read(found.value())?);
            }
        }
        Ok(series)
    }

    /// All of it, or nothing where `act` or the disk fails.
    fn write(
        &self,
        act: impl FnOnce(&mut Batch<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut transaction = self.0.begin_write().map_err(wrong)?;
        transaction.set_quick_repair(true);
        {
            let mut batch = Batch::new(&transaction)?;
            act(&mut batch)?;
            batch.finish()?;
        }
        transaction.commit().map_err(wrong)
    }
}

/// A commit under way.
struct Batch<'t> {
    figures: Table<'t, &'static [u8], &'static [u8]>,
    keys: Table<'t, &'static [u8], u64>,
    shards: Table<'t, u8, &'static [u8]>,
    told: Table<'t, u64, ()>,
    numbers: Table<'t, &'static str, u64>,
    octets: u64,
}

impl<'t> Batch<'t> {
    fn new(transaction: &'t WriteTransaction) -> Result<Self, StoreError> {
        let numbers = transaction.open_table(NUMBERS).map_err(wrong)?;
        let octets = numbers.get(OCTETS).map_err(wrong)?.map_or(0, |octets| octets.value());
        Ok(Self {
            figures: transaction.open_table(FIGURES).map_err(wrong)?,
            keys: transaction.open_table(KEYS).map_err(wrong)?,
            shards: transaction.open_table(SHARDS).map_err(wrong)?,
            told: transaction.open_table(TOLD).map_err(wrong)?,
            numbers,
            octets,
        })
    }

    fn finish(mut self) -> Result<(), StoreError> {
        self.numbers.insert(OCTETS, self.octets).map_err(wrong).map(drop)
    }

    /// Add figures to an interval's, of a dimension; with more than twice `keep` keys apart the
    /// small ones go together.
    fn add(&mut self, prefix: &[u8], rows: &Rows, keep: usize) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        let before = self.keys.get(prefix).map_err(wrong)?.map_or(0, |count| count.value());
        let mut count = usize::try_from(before).unwrap_or(usize::MAX);
        // What is big comes first, and what goes together is small.
        let mut rows: Vec<_> = rows.iter().collect();
        rows.sort_unstable_by_key(|(key, figures)| (std::cmp::Reverse(figures.volume()), *key));
        for (key, figures) in rows {
            let place = own(prefix, key);
            if self.merge(&place, figures)? {
                count += 1;
                if count > keep.saturating_mul(KPI_KEYS_SLACK) {
                    count = self.prune(prefix, keep)?;
                }
            }
        }
        self.keys.insert(prefix, count as u64).map_err(wrong).map(drop)
    }

    /// Add figures to those at a place; whether there were none.
    fn merge(&mut self, place: &[u8], figures: &Figures) -> Result<bool, StoreError> {
        let before = self.figures.get(place).map_err(wrong)?;
        let before = before.map(|octets| read(octets.value())).transpose()?;
        let is_new = before.is_none();
        let mut octets = Vec::new();
        match before {
            Some(mut sum) => {
                sum.merge(figures);
                sum.write(&mut octets);
            }
            None => figures.write(&mut octets),
        }
        let old = self.figures.insert(place, octets.as_slice()).map_err(wrong)?;
        let old = old.map_or(0, |old| place.len() + old.value().len());
        self.octets = (self.octets + (place.len() + octets.len()) as u64) - old as u64;
        Ok(is_new)
    }

    /// Put the small keys of an interval's dimension together; how many are apart then.
    fn prune(&mut self, prefix: &[u8], keep: usize) -> Result<usize, StoreError> {
        let (first, end) = (own(prefix, ""), others(prefix));
        let mut sizes = Vec::new();
        for row in self.figures.range(first.as_slice()..end.as_slice()).map_err(wrong)? {
            let (place, octets) = row.map_err(wrong)?;
            sizes.push((place.value().to_vec(), read(octets.value())?.volume()));
        }
        let mut together = Figures::default();
        let gone = small(&sizes, keep);
        for place in &gone {
            let place = sizes[*place].0.as_slice();
            if let Some(octets) = self.figures.remove(place).map_err(wrong)? {
                self.octets -= (place.len() + octets.value().len()) as u64;
                together.merge(&read(octets.value())?);
            }
        }
        self.merge(&end, &together)?;
        Ok(sizes.len() - gone.len())
    }

    /// Take out what is too old.
    fn expire(&mut self, options: &KpiOptions, now: WallTime) -> Result<(), StoreError> {
        for resolution in Resolution::ALL {
            let first = [resolution as u8];
            let end = [&first[..], &sortable(oldest(resolution, options, now))].concat();
            self.remove(&first, &end)?;
        }
        Ok(())
    }

    /// Take out the oldest intervals until no more than so many octets are left, but for the last
    /// of each resolution.
    fn shrink(&mut self, most: u64) -> Result<(), StoreError> {
        while self.octets > most {
            let mut oldest = None;
            for resolution in Resolution::ALL {
                oldest = oldest.or(self.oldest_but_last(resolution)?);
            }
            let Some(first) = oldest else { return Ok(()) };
            self.remove(&first, &end_of(&first))?;
        }
        Ok(())
    }

    /// The oldest interval of a resolution, if it is not the only one.
    fn oldest_but_last(&self, resolution: Resolution) -> Result<Option<Vec<u8>>, StoreError> {
        let (first, end) = (vec![resolution as u8], vec![resolution as u8 + 1]);
        let mut rows = self.figures.range(first.as_slice()..end.as_slice()).map_err(wrong)?;
        let Some(oldest) = rows.next() else { return Ok(None) };
        let oldest = oldest.map_err(wrong)?.0.value()[..INTERVAL].to_vec();
        let Some(last) = rows.next_back() else { return Ok(None) };
        let last = last.map_err(wrong)?.0.value()[..INTERVAL].to_vec();
        Ok((oldest != last).then_some(oldest))
    }

    /// Take out all that lies between.
    fn remove(&mut self, first: &[u8], end: &[u8]) -> Result<(), StoreError> {
        let mut gone = 0;
        let count = |place: &[u8], octets: &[u8]| {
            gone += (place.len() + octets.len()) as u64;
            false
        };
        self.figures.retain_in(first..end, count).map_err(wrong)?;
        self.keys.retain_in(first..end, |_, _| false).map_err(wrong)?;
        self.octets -= gone;
        Ok(())
    }
}

/// The start of the oldest interval that is kept.
fn oldest(resolution: Resolution, options: &KpiOptions, now: WallTime) -> WallTime {
    resolution.start(now - options.keep[resolution as usize])
}

/// Octets of a resolution and a start.
const INTERVAL: usize = 9;

fn prefix(resolution: Resolution, start: WallTime, dimension: Dimension) -> Vec<u8> {
    [&[resolution as u8][..], &sortable(start), &[dimension as u8]].concat()
}

fn own(prefix: &[u8], key: &str) -> Vec<u8> {
    [prefix, &[OWN], key.as_bytes()].concat()
}

fn others(prefix: &[u8]) -> Vec<u8> {
    [prefix, &[OTHERS]].concat()
}

/// What all that begins so comes before: no prefix ends with the last octet there is.
fn end_of(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while end.pop_if(|octet| *octet == u8::MAX).is_some() {}
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

/// The key at a place; `None`: all others.
fn key_of(place: &[u8], prefix: usize) -> Result<Option<&str>, StoreError> {
    match place[prefix..].split_first() {
        Some((&OWN, key)) => std::str::from_utf8(key).map(Some).map_err(wrong),
        Some(_) | None => Ok(None),
    }
}

/// Octets that compare as times do.
fn sortable(time: WallTime) -> [u8; 8] {
    (time.0.cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

fn read(octets: &[u8]) -> Result<Figures, StoreError> {
    Figures::read(octets).ok_or_else(|| wrong("figures are of a later version, or damaged"))
}

#[cfg(test)]
mod tests;
