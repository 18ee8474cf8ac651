//! A listener that answers from memory: 250 before the commit, and what becomes of the message.

use relay_fast::shard::commands::{Answer, Command};

use crate::agenda::{MS, SECOND};
use crate::ledger::Verdict;
use crate::node::settings;
use crate::scenarios::STANDARD;
use crate::town::{config, from_memory};
use crate::world::World;

/// One shard behind such a listener, and a host that takes everything.
fn world() -> World {
    let mut world = World::new(5, settings(&from_memory(&config(STANDARD, ""))));
    world.ledger.answers_from_memory = true;
    world.ledger.lifetime = 5 * 24 * 3_600 * SECOND;
    world.add_back();
    world.add_host(1);
    world.add_domain("a.example", &[(10, 1)]);
    world.boot(1);
    world.run_for(SECOND);
    world
}

impl World {
    pub(crate) fn acknowledged(&self) -> usize {
        let verdicts = self.ledger.mail.iter().map(|mail| mail.verdict);
        verdicts.filter(|verdict| matches!(verdict, Verdict::Acknowledged(_))).count()
    }

    /// Acknowledged messages that wait in memory since their commit failed.
    fn owed(&mut self) -> usize {
        match self.ask(0, Command::Snapshot) {
            Answer::Snapshot(snapshot) => snapshot.owed,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_answer_does_not_wait_for_the_sync_and_delivery_does() {
    let mut world = world();
    world.commit_time = 3_600 * SECOND;
    world.submit(20, ("user", "a.example"), 0);
    world.run_for(5 * SECOND);
    assert_eq!(world.acknowledged(), 20);
    assert_eq!((world.delivered().len(), world.queued()), (0, 0), "nothing is committed yet");
    world.commit_time = 5 * MS;
    world.run_for(3_700 * SECOND);
    assert_eq!(world.delivered().len(), 20);
    world.ledger.audit();
    world.audit_rest();
}

#[test]
fn a_failed_commit_costs_no_message() {
    let mut world = world();
    world.store.failing = 1_000;
    world.submit(20, ("user", "a.example"), 0);
    world.run_for(30 * SECOND);
    let acknowledged = world.acknowledged();
    assert!(acknowledged > 0 && acknowledged < 20, "admission ends once commits fail");
    assert_eq!((world.owed(), world.delivered().len()), (acknowledged, 0));
    world.store.failing = 0;
    world.run_for(600 * SECOND);
    // One may have been refused after its content: that client gave up.
    assert!(world.owed() == 0 && world.acknowledged() > acknowledged);
    assert_eq!(world.delivered().len(), world.acknowledged());
    world.ledger.audit();
    world.audit_rest();
}

#[test]
fn a_crash_before_the_commit_loses_what_was_acknowledged_and_nothing_else() {
    let mut world = world();
    world.submit(10, ("user", "a.example"), 0);
    world.run_for(10 * SECOND);
    world.commit_time = 3_600 * SECOND;
    world.submit(5, ("user", "a.example"), 0);
    world.run_for(SECOND);
    assert_eq!(world.acknowledged(), 15);
    world.crash();
    assert_eq!(world.ledger.unsaved.len(), 5);
    world.commit_time = 5 * MS;
    world.boot(2);
    world.run_for(600 * SECOND);
    world.ledger.audit();
    world.audit_rest();
}

/// A drain waits for the commit, and a DSN about such a message is itself committed first.
#[test]
fn a_stop_in_good_order_loses_nothing() {
    let mut world = world();
    world.ledger.hopeless.insert("missing.example".into());
    world.commit_time = 2 * SECOND;
    world.submit(10, ("user", "a.example"), 0);
    world.submit(10, ("user", "missing.example"), 0);
    world.run_for(SECOND);
    assert!(world.acknowledged() > 10);
    world.drain();
    while !world.reap() {
        world.run_for(100 * MS);
    }
    world.boot(3);
    world.run_for(600 * SECOND);
    assert_eq!(world.acknowledged(), 20);
    world.ledger.audit();
    world.audit_rest();
}
