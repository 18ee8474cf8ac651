//! Count events as they are written: read, tally, commit; and begin anew where it left off.
//!
//! Invariant: what a commit holds and how far it reaches are one. So a fault is dealt with by
//! opening the store anew and reading on from what it says: nothing is counted twice, and nothing
//! is passed over that the log still has. What it has no more is told of.

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use crate::base::ids::ShardId;
use crate::base::limits::{
    EVENT_POLL, KPI_BATCH_EVENTS, KPI_BATCH_ROWS, KPI_COMMIT_EVERY, KPI_RETRY, KPI_TURN_EVENTS,
};
use crate::base::time::{Monotonic, WallTime};
use crate::config::options::KpiOptions;
use crate::control::events::source::{From, Source};
use crate::control::kpis::store::{Reached, Store, StoreError};
use crate::control::kpis::told::Told;
use crate::control::kpis::{FILE, Inner, lock};
use crate::outcome::event::Event;
use crate::outcome::event::cursor::{Cursor, Mark};
use crate::outcome::event::filter::{Filter, Glance};
use crate::outcome::kpi::Figure;
use crate::outcome::kpi::tally::Tally;

/// Why nothing can be counted now.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("figures cannot be kept: {0}")]
    Store(#[from] StoreError),
    #[error("the event log cannot be read: {0}")]
    Log(#[from] io::Error),
    #[error("a fault of ours")]
    Panic,
}

/// Until nothing is to be counted.
pub(super) fn run(inner: &Inner) {
    loop {
        let counted = catch_unwind(AssertUnwindSafe(|| count(inner)));
        *lock(&inner.store) = None;
        if let Err(trouble) = counted.unwrap_or(Err(Trouble::Panic)) {
            failed(inner, &trouble);
            thread::sleep(KPI_RETRY);
        }
        let mut state = lock(&inner.state);
        if !state.options.count {
            state.is_running = false;
            return;
        }
    }
}

/// Told once, until it works again.
fn failed(inner: &Inner, trouble: &Trouble) {
    let mut progress = lock(&inner.progress);
    if progress.failing.is_none() {
        tracing::error!(%trouble, "figures are behind; mail is not");
        progress.failing = Some(((inner.now)().wall, trouble.to_string()));
    }
}

fn count(inner: &Inner) -> Result<(), Trouble> {
    let store = Arc::new(Store::open(&inner.spool.join(FILE))?);
    let mut counting = Counting::new(inner, store.clone())?;
    *lock(&inner.store) = Some(store);
    loop {
        let options = lock(&inner.state).options;
        let is_idle = counting.turn(&options)?;
        if !options.count {
            return counting.commit(&options);
        }
        if is_idle {
            thread::sleep(EVENT_POLL);
        }
    }
}

struct Counting<'i> {
    inner: &'i Inner,
    store: Arc<Store>,
    source: Source,
    reached: BTreeMap<u8, Reached>,
    tally: Tally,
    told: Told,
    /// When the oldest event was counted that is not kept yet,
    waits: Option<Monotonic>,
    /// and when the newest of them happened.
    until: Option<WallTime>,
    line: Vec<u8>,
}

impl<'i> Counting<'i> {
    /// From where it left off.
    fn new(inner: &'i Inner, store: Arc<Store>) -> Result<Self, Trouble> {
        let reached = store.reached()?;
        let marks = reached.iter().map(|(shard, reached)| (*shard, reached.mark));
        let cursor = Cursor { shards: marks.collect() };
        let source = Source::new(&inner.spool, &cursor, From::Start, Filter::default())?;
        {
            let mut progress = lock(&inner.progress);
            progress.octets = store.octets()?;
            let times = reached.values().map(|reached| reached.mark.time);
            progress.until = times.max().filter(|time| *time > WallTime(0));
            progress.cursor = cursor;
        }
        let told = Told::restore(store.told()?, (inner.now)().mono);
        let (tally, line) = Default::default();
        Ok(Self { inner, store, source, reached, tally, told, waits: None, until: None, line })
    }

    /// Read some, and keep it once that is worth it; whether there is nothing to read.
    fn turn(&mut self, options: &KpiOptions) -> Result<bool, Trouble> {
        let mut read = self.take_in()?;
        if read == 0 {
            self.source.look()?;
            read = self.take_in()?;
        }
        self.tell_gaps();
        let now = (self.inner.now)().mono;
        if self.tally.events() > 0 {
            let waits = *self.waits.get_or_insert(now);
            let is_full =
                self.tally.events() >= KPI_BATCH_EVENTS || self.tally.rows() >= KPI_BATCH_ROWS;
            if is_full || now.since(waits) >= KPI_COMMIT_EVERY {
                self.commit(options)?;
            }
        }
        Ok(read == 0)
    }

    /// Count the next events; how many were passed.
    fn take_in(&mut self) -> io::Result<usize> {
        for read in 0..KPI_TURN_EVENTS {
            self.line.clear();
            let Some((shard, glance)) = self.source.next(&mut self.line)? else { return Ok(read) };
            self.count(shard, glance);
        }
        Ok(KPI_TURN_EVENTS)
    }

    /// Count one, unless it was: a file that became shorter is read anew.
    fn count(&mut self, shard: ShardId, glance: Glance) {
        let new = Reached { mark: Mark::beginning(0), counted: 0 };
        let reached = self.reached.entry(shard.0).or_insert(new);
        if glance.sequence <= reached.counted {
            return;
        }
        reached.counted = glance.sequence;
        self.until = self.until.max(Some(glance.time));
        match Event::parse(&self.line) {
            Ok(event) => {
                let figure = Figure::of(&event).filter(|_| event.returned.is_some());
                let now = || (self.inner.now)().mono;
                match figure.is_some_and(|it| self.told.is_repeat(it, &event, now())) {
                    // How far the figures reach is to be kept all the same.
                    true => self.tally.pass(),
                    false => self.tally.add(&event),
                }
            }
            // Of a later version: this one does not know what to count it as.
            Err(error) => tracing::debug!(%shard, %error, "an event is in no figures"),
        }
    }

    fn tell_gaps(&mut self) {
        for (shard, gap) in self.source.take_gaps() {
            lock(&self.inner.progress).gaps += 1;
            tracing::warn!(%shard, "missing in figures: {gap}");
        }
    }

    /// Keep what was counted.
    fn commit(&mut self, options: &KpiOptions) -> Result<(), Trouble> {
        let cursor = self.source.cursor();
        for (shard, mark) in &cursor.shards {
            let new = Reached { mark: *mark, counted: 0 };
            self.reached.entry(*shard).or_insert(new).mark = *mark;
        }
        let tally = std::mem::take(&mut self.tally);
        let now = (self.inner.now)();
        let changes = self.told.take_changes(now.mono);
        self.store.commit(&tally, (&self.reached, &changes), options, now.wall)?;
        self.waits = None;
        let mut progress = lock(&self.inner.progress);
        progress.events += tally.events() as u64;
        progress.octets = self.store.octets()?;
        progress.cursor = cursor;
        progress.until = progress.until.max(self.until);
        if progress.failing.take().is_some() {
            tracing::info!("figures are counted again");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
