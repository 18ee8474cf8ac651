//! Keep the suppression lists: on disk, and in front of all shards.
//!
//! In: the configuration in force, changes by whoever steers the node, the event log. Out: lists as
//! shards see them. Opened once a configuration asks for it, and kept open. A thread of its own
//! builds the filter, reads the event log for bounces and takes out what has expired; whoever
//! changes something does so on a thread that may block, one at a time.

mod feed;
mod store;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::base::limits::{
    SUPPRESSION_BATCH_MAX, SUPPRESSION_EVERY, SUPPRESSION_FILTER_MAX, SUPPRESSION_SWEEP_EVERY,
};
use crate::base::prng::Prng;
use crate::base::time::{Monotonic, WallTime};
use crate::config::Config;
use crate::config::options::SuppressionOptions;
use crate::platform::suppression::feed::{Feed, Rules};
use crate::platform::suppression::store::{Batch, Store};
use crate::platform::{clock, machine};
use crate::policy::suppression::{
    At, Change, Done, Entries, Entry, Filter, ListName, Located, Registry, Subject, Suppression,
    Totals, Unreadable,
};

/// The file below a spool.
const FILE: &str = "suppression.redb";

/// Why there are no lists.
#[derive(Debug, thiserror::Error)]
pub enum SuppressionError {
    /// The file cannot be used.
    #[error("{}: {error}", path.display())]
    Store {
        /// Which.
        path: PathBuf,
        /// Why.
        error: Unreadable,
    },
    /// There can be no thread.
    #[error("no thread keeps the suppression list: {0}")]
    Thread(#[from] io::Error),
}

/// Opens the lists of a spool once they are asked for.
#[derive(Debug)]
pub(super) struct Lists {
    spool: PathBuf,
    keeper: Mutex<Option<Arc<Keeper>>>,
}

impl Lists {
    /// Of this spool; nothing is opened.
    pub(super) fn new(spool: PathBuf) -> Self {
        Self { spool, keeper: Mutex::default() }
    }

    /// The lists as shards see them, if `config` asks for them.
    pub(super) fn open(
        &self,
        config: &Config,
    ) -> Result<Option<Arc<Suppression>>, SuppressionError> {
        if config.suppression.at == At::Off {
            return Ok(None);
        }
        let mut keeper = lock(&self.keeper);
        if let Some(keeper) = &*keeper {
            return Ok(Some(keeper.shown.clone()));
        }
        let path = self.spool.join(FILE);
        let opened = Store::open(&path).and_then(Keeper::new);
        let opened = opened.map_err(|error| SuppressionError::Store { path, error })?;
        let opened = keeper.insert(Arc::new(opened)).clone();
        let (shown, feed) = (opened.shown.clone(), Feed::new(self.spool.join("events")));
        let thread = thread::Builder::new().name("suppression".to_owned());
        thread.spawn(move || opened.run(feed))?;
        Ok(Some(shown))
    }

    /// Work by `config` from now on.
    pub(super) fn set(&self, config: &Config) {
        if let Some(keeper) = &*lock(&self.keeper) {
            // Without addresses that they come back to there are no complaints to be read.
            let complaints = config.suppression.complaints && config.returns.is_some();
            let unsubscribes = config.suppression.unsubscribes && config.web.is_some();
            let options = SuppressionOptions { complaints, unsubscribes, ..config.suppression };
            *lock(&keeper.options) = Some(options);
        }
    }

    /// The lists, for whoever steers the node; `None` where nobody is looked for on them.
    pub(super) fn registry(&self) -> Option<Arc<dyn Registry>> {
        let keeper = lock(&self.keeper).clone()?;
        let is_on = lock(&keeper.options).is_some_and(|options| options.at != At::Off);
        is_on.then_some(keeper)
    }
}

/// Lists that are open.
#[derive(Debug)]
pub(super) struct Keeper {
    store: Arc<Store>,
    shown: Arc<Suppression>,
    /// Held by whoever changes entries or builds the filter.
    writing: Mutex<()>,
    /// What was changed so far.
    done: Mutex<Done>,
    options: Mutex<Option<SuppressionOptions>>,
}

/// What is behind a lock is whole, whoever panicked while holding it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Keeper {
    /// Of this store.
    pub(super) fn new(store: Store) -> Result<Self, Unreadable> {
        let store = Arc::new(store);
        let count = total(&store)?;
        let shown = Arc::new(Suppression::new(store.clone(), count));
        let (writing, done, options) = Default::default();
        Ok(Self { store, shown, writing, done, options })
    }

    /// Until the process ends.
    fn run(&self, mut feed: Feed) {
        if let Err(error) = self.build() {
            tracing::error!(%error, "everybody is looked for in the store");
        }
        let mut swept: Option<Monotonic> = None;
        let mut is_well = true;
        loop {
            thread::sleep(SUPPRESSION_EVERY);
            let now = clock::now();
            let is_due = swept.is_none_or(|at| now.mono.since(at) >= SUPPRESSION_SWEEP_EVERY);
            let done = if is_due { self.sweep(now.wall) } else { Ok(()) };
            if is_due {
                swept = Some(now.mono);
            }
            match done.and_then(|()| self.follow(&mut feed)) {
                Ok(()) => is_well = true,
                Err(error) => {
                    if std::mem::replace(&mut is_well, false) {
                        tracing::error!(%error, "bounces wait to be put on the list");
                    }
                }
            }
        }
    }

    /// Put the filter in force that holds all entries, unless there is one that does.
    pub(super) fn build(&self) -> Result<(), Unreadable> {
        let _writing = lock(&self.writing);
        self.build_filter()
    }

    /// While nothing is being changed.
    fn build_filter(&self) -> Result<(), Unreadable> {
        if !self.shown.wants_filter() {
            return Ok(());
        }
        let count = self.shown.count();
        let filter = Filter::with_room(count, Prng::from_seed(machine::seed()).next_u64());
        self.store.each(|list, subject| filter.insert(list.as_str(), subject))?;
        let bytes = filter.memory();
        self.shown.set_filter(filter, self.store.has_domains()?);
        tracing::info!(entries = count, bytes, "the suppression list is in front of all shards");
        if count > SUPPRESSION_FILTER_MAX {
            tracing::warn!("more entries than the filter has room for: more are looked up in vain");
        }
        Ok(())
    }

    /// Read the event log as far as it goes, by the rule in force.
    fn follow(&self, feed: &mut Feed) -> Result<(), Unreadable> {
        let options = *lock(&self.options);
        let Some(options) = options.filter(|options| options.at != At::Off) else { return Ok(()) };
        let SuppressionOptions { hard_bounces, complaints, unsubscribes, .. } = options;
        if hard_bounces.is_none() && !complaints && !unsubscribes {
            return Ok(());
        }
        feed.follow(self, Rules { hard_bounces, complaints, unsubscribes })
    }

    /// Take out what has expired.
    pub(super) fn sweep(&self, now: WallTime) -> Result<(), Unreadable> {
        loop {
            let mut swept = 0;
            self.write(|batch| {
                swept = batch.sweep(now, SUPPRESSION_BATCH_MAX)?;
                Ok(())
            })?;
            if swept < SUPPRESSION_BATCH_MAX {
                return Ok(());
            }
        }
    }

    /// See `Registry::change`.
    pub(super) fn change_at(&self, changes: &[Change], now: WallTime) -> Result<Done, Unreadable> {
        self.write(|batch| changes.iter().try_for_each(|change| batch.change(change, now)))
    }

    fn count(&self, done: Done) {
        let mut sum = lock(&self.done);
        *sum = sum.plus(done);
    }

    /// Change something.
    fn write(
        &self,
        act: impl FnOnce(&mut Batch<'_>) -> Result<(), Unreadable>,
    ) -> Result<Done, Unreadable> {
        let _writing = lock(&self.writing);
        // Before it is in the store: whoever is told that it is finds it everywhere.
        let announce = |list: &ListName, subject: &Subject| self.shown.on_adding(list, subject);
        let done = self.store.write(act, announce)?;
        self.shown.set_count(total(&self.store)?);
        self.count(done);
        if let Err(error) = self.build_filter() {
            tracing::error!(%error, "the filter in front of the suppression list stays full");
        }
        Ok(done)
    }
}

/// Entries of all lists.
fn total(store: &Store) -> Result<u64, Unreadable> {
    Ok(store.counts()?.iter().map(|(_, count)| count).sum())
}

impl Entries for Keeper {
    fn entry(&self, list: &ListName, subject: &str) -> Result<Option<Entry>, Unreadable> {
        self.store.entry(list, subject)
    }
}

impl Registry for Keeper {
    fn change(&self, changes: &[Change]) -> Result<Done, Unreadable> {
        self.change_at(changes, clock::now().wall)
    }

    fn page(
        &self,
        list: Option<&ListName>,
        after: Option<(&ListName, &Subject)>,
        limit: usize,
    ) -> Result<Vec<Located>, Unreadable> {
        self.store.page(list, after, limit)
    }

    fn find(&self, subject: &Subject) -> Result<Vec<Located>, Unreadable> {
        let mut found = Vec::new();
        for (list, _) in self.store.counts()? {
            if let Some(entry) = self.store.entry(&list, subject.as_str())? {
                found.push(Located { list, subject: subject.clone(), entry });
            }
        }
        Ok(found)
    }

    fn now(&self) -> WallTime {
        clock::now().wall
    }

    fn totals(&self) -> Result<Totals, Unreadable> {
        let entries = self.store.counts()?;
        let filter_bytes = self.shown.filter_bytes();
        Ok(Totals { entries, done: *lock(&self.done), filter_bytes })
    }
}
