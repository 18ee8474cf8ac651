//! What may be asked and changed of the lists, by whoever steers a node. All of it blocks.

use serde::{Deserialize, Serialize};

use crate::base::time::WallTime;
use crate::policy::suppression::{Entries, ListName, Located, Subject, Unreadable};

/// One thing that is to be otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is on the list from now on, for this reason, whatever was there before.
    Put(Located),
    /// The same, unless it is there already and that holds.
    Add(Located),
    /// It is not.
    Remove(ListName, Subject),
}

/// What changes came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Entries that were not there before.
    pub added: u64,
    /// Entries that took the place of others.
    pub replaced: u64,
    /// Entries that are there no more.
    pub removed: u64,
}

impl Done {
    /// Both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            added: self.added + other.added,
            replaced: self.replaced + other.replaced,
            removed: self.removed + other.removed,
        }
    }
}

/// How the lists stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Entries of each list, those that have expired and were not taken out yet included.
    pub entries: Vec<(ListName, u64)>,
    /// What was changed since the process began.
    pub done: Done,
    /// Octets of the filter in front of the store; 0 until it is built.
    pub filter_bytes: usize,
}

/// The lists. Changes are on stable storage, and in force at all shards, when they are answered.
pub trait Registry: Entries {
    /// Make all of these changes or, where it fails, none. `SUPPRESSION_BATCH_MAX` at most.
    fn change(&self, changes: &[Change]) -> Result<Done, Unreadable>;

    /// Entries in their order behind `after`, `limit` at most: of this list, or of all.
    fn page(
        &self,
        list: Option<&ListName>,
        after: Option<(&ListName, &Subject)>,
        limit: usize,
    ) -> Result<Vec<Located>, Unreadable>;

    /// All entries of exactly this address or domain, on whichever list.
    fn find(&self, subject: &Subject) -> Result<Vec<Located>, Unreadable>;

    /// The time, for entries that do not say since when.
    fn now(&self) -> WallTime;

    /// How they stand.
    fn totals(&self) -> Result<Totals, Unreadable>;
}
