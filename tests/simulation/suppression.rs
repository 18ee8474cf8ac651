//! Suppression lists whose store is slow, or cannot be read, on virtual time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use relay_fast::base::time::WallTime;
use relay_fast::policy::suppression::{Entries, Entry, Kind, ListName, Suppression, Unreadable};
use relay_fast::shard::settings::Surroundings;

use crate::agenda::SECOND;
use crate::client::Client;
use crate::ledger::Verdict;
use crate::node::settings_around;
use crate::scenarios::{STANDARD, relay_domain};
use crate::town::config;
use crate::world::World;

/// Whoever is called `gone…` is on the node's list, unless it cannot be read.
#[derive(Debug, Default)]
struct Gone {
    is_broken: AtomicBool,
}

impl Entries for Gone {
    fn entry(&self, list: &ListName, subject: &str) -> Result<Option<Entry>, Unreadable> {
        if self.is_broken.load(Ordering::Relaxed) {
            return Err(Unreadable("a bad sector".to_owned()));
        }
        let is_on = *list == ListName::GLOBAL && subject.starts_with("gone");
        Ok(is_on.then(|| Entry::new(Kind::Unsubscribe, "", WallTime(0))))
    }
}

/// A relay that has no filter yet: everybody is looked up.
fn world(at: &str) -> (World, Arc<Gone>) {
    let entries = Arc::new(Gone::default());
    let lists = Suppression::new(entries.clone(), 1);
    let around = Surroundings { suppression: Some(Arc::new(lists)), ..Surroundings::default() };
    let more = format!("{}[suppression]\nat = \"{at}\"\n", relay_domain("203.0.113.101"));
    let mut world = World::new(11, settings_around(&config(STANDARD, &more), &around));
    world.ledger.lifetime = 5 * 24 * 3_600 * SECOND;
    world.add_back();
    world.add_host(101);
    world.boot(2);
    (world, entries)
}

impl World {
    fn refused(&self) -> usize {
        let is_refused = |verdict: &Verdict| matches!(verdict, Verdict::Refused(_));
        self.ledger.mail.iter().filter(|mail| is_refused(&mail.verdict)).count()
    }
}

#[test]
fn who_is_on_a_list_is_refused_and_nobody_else_though_all_are_looked_up() {
    let (mut world, _) = world("rcpt");
    world.submit(100, ("gone", "corp.example"), 0);
    world.submit(100, ("user", "corp.example"), 0);
    world.run_until(60 * SECOND);
    assert!(world.clients.iter().all(Client::is_done));
    assert_eq!((world.refused(), world.delivered().len(), world.queued()), (100, 100, 0));
    world.ledger.audit();
    world.audit_rest();
}

#[test]
fn clients_are_told_to_come_again_while_the_store_cannot_be_read() {
    let (mut world, entries) = world("rcpt");
    entries.is_broken.store(true, Ordering::Relaxed);
    world.submit(20, ("user", "corp.example"), 0);
    world.run_until(60 * SECOND);
    assert_eq!((world.refused(), world.queued()), (20, 0));
    entries.is_broken.store(false, Ordering::Relaxed);
    world.submit(20, ("user", "corp.example"), 0);
    world.run_until(120 * SECOND);
    assert_eq!((world.delivered().len(), world.queued()), (20, 0));
    world.ledger.audit();
    world.audit_rest();
}

/// Also across a crash: what waits for the store has had no attempt.
#[test]
fn mail_waits_in_the_queue_while_the_store_cannot_be_read() {
    let (mut world, entries) = world("queue");
    entries.is_broken.store(true, Ordering::Relaxed);
    world.submit(30, ("gone", "corp.example"), 0);
    world.submit(30, ("user", "corp.example"), 0);
    world.run_until(50 * SECOND);
    assert_eq!((world.acknowledged(), world.delivered().len(), world.queued()), (60, 0, 60));
    world.crash();
    world.boot(2);
    world.run_for(30 * SECOND);
    assert_eq!((world.delivered().len(), world.queued()), (0, 60));
    entries.is_broken.store(false, Ordering::Relaxed);
    world.run_for(90 * SECOND);
    assert_eq!((world.delivered().len(), world.queued()), (30, 0));
    assert_eq!(world.ledger.notices, [], "nobody is told by a DSN");
    let is_gone = |number: &u64| {
        let mail = &world.ledger.mail[usize::try_from(*number).unwrap()];
        mail.to[0].address.starts_with("gone")
    };
    assert!(!world.delivered().iter().any(is_gone));
    world.audit_rest();
}
