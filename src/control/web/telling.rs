//! Tell the event log which links were used, and the suppression list who wants no more.
//!
//! Openings and clicks wait a moment ([`Visits`]), then go to the shard of their message in
//! batches; whoever used the link was answered long before. Who unsubscribes is answered once it
//! holds: it is in the event log, and on the list on stable storage. A process that ends loses what
//! waited.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::sleep;

use crate::base::ids::ShardId;
use crate::base::limits::VISITS_BATCH_MAX;
use crate::control::suppression::SuppressionLists;
use crate::control::web::Ways;
use crate::control::web::counts::{Counts, What};
use crate::mail::visit::{About, Action, By, Visit};
use crate::policy::links::Link;
use crate::policy::links::visits::{Taken, Visits};
use crate::policy::suppression::{Change, Entry, Kind, ListName, Located, Subject};
use crate::shard::commands::{Answer, Command};

/// Tells.
#[derive(Debug)]
pub(super) struct Teller {
    ways: Ways,
    visits: Mutex<Visits>,
    /// Something waits that did not.
    wake: Notify,
}

impl Teller {
    pub(super) fn new(ways: Ways) -> Arc<Self> {
        Arc::new(Self { ways, visits: Mutex::default(), wake: Notify::new() })
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.ways.counts
    }

    /// A picture was fetched, or a link followed.
    pub(super) fn note(&self, link: Link, by: By) {
        let what = match link.action {
            Action::Click(_) => What::Clicked,
            Action::Open | Action::Unsubscribe => What::Opened,
        };
        let visit = Visit { about: link.about, action: link.action, by };
        let taken = self.visits().handle_visit(visit, (self.ways.now)().mono);
        self.counts().increment(match taken {
            Taken::Once => what,
            Taken::Again => What::Repeated,
            Taken::Lost => What::Lost,
        });
        self.wake.notify_one();
    }

    /// Tell what is due, for ever.
    pub(super) async fn run(&self) {
        loop {
            let deadline = self.visits().deadline();
            match deadline {
                None => self.wake.notified().await,
                Some(due) => sleep(due.since((self.ways.now)().mono)).await,
            }
            for (shard, visits) in self.due() {
                for batch in visits.chunks(VISITS_BATCH_MAX) {
                    if !self.tell(shard, batch.to_vec()).await {
                        self.counts().add(What::Lost, batch.len() as u64);
                    }
                }
            }
        }
    }

    /// Put a recipient on the list of the tenant that wrote to it; whether it is there now. Whoever
    /// is there already stays so, and is not told of again.
    pub(super) async fn unsubscribe(&self, link: Link, lists: &SuppressionLists) -> bool {
        let Link { about, action } = link;
        let Some(recipient) = &about.recipient else { return false };
        let subject = Subject::from(recipient);
        let list = about.tenant.as_ref().map_or(ListName::GLOBAL, ListName::from);
        if lists.registry().is_ok() {
            let (list, subject) = (list.clone(), subject.clone());
            match lists.ask(move |registry| registry.entry(&list, subject.as_str())).await {
                Ok(entry) if entry.as_ref().is_some_and(is_for_good) => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
        if !self.visits().admits_unsubscribe((self.ways.now)().mono) {
            return false;
        }
        let (shard, message) = (self.shard_of(&about), about.message);
        if !self.tell(shard, vec![Visit { about, action, by: By::Person }]).await {
            return false;
        }
        if lists.registry().is_err() {
            // There is none: whoever reads the event log acts on it.
            return true;
        }
        let mut entry = Entry::new(Kind::Unsubscribe, "", (self.ways.now)().wall);
        entry.message = Some(message);
        let put = Change::Put(Located { list, subject, entry });
        lists.ask(move |registry| registry.change(&[put])).await.is_ok()
    }

    /// By shard.
    fn due(&self) -> BTreeMap<ShardId, Vec<Visit>> {
        let now = (self.ways.now)().mono;
        let mut due: BTreeMap<ShardId, Vec<Visit>> = BTreeMap::new();
        let mut visits = self.visits();
        while let Some(visit) = visits.poll_visit(now) {
            due.entry(self.shard_of(&visit.about)).or_default().push(visit);
        }
        due
    }

    /// The home of a message, or one that stands for it.
    fn shard_of(&self, about: &About) -> ShardId {
        let shards = self.ways.shards.ids().len().max(1);
        let place = usize::from(about.message.directory()) % shards;
        ShardId(u8::try_from(place).unwrap_or(0))
    }

    async fn tell(&self, shard: ShardId, visits: Vec<Visit>) -> bool {
        let answer = self.ways.shards.ask(shard, Command::Visited(visits)).await;
        matches!(answer, Ok(Answer::Changed(_)))
    }

    fn visits(&self) -> MutexGuard<'_, Visits> {
        self.visits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an entry says already that its subject unsubscribed, and goes on saying so.
fn is_for_good(entry: &Entry) -> bool {
    entry.kind == Kind::Unsubscribe && entry.expires.is_none()
}
