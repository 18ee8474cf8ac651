//! What comes back stays until the event log is sure to have it, and is told again where it may
//! not.

use std::sync::Arc;
use std::time::Duration;

use relay_fast::mail::address::Mailbox;
use relay_fast::outcome::counters::Count;
use relay_fast::policy::returns::{Mode, Returns};
use relay_fast::policy::verp::{Secrets, Verp};
use relay_fast::shard::commands::{Answer, Command};

use crate::agenda::{MS, SECOND};
use crate::node::settings;
use crate::scenarios::STANDARD;
use crate::town::config;
use crate::world::World;

/// Messages that come back, each to an address of its own.
const REPORTS: usize = 100;
const ALL: u64 = REPORTS as u64;

/// One shard to which the addresses of its clients' next messages are those of complaints.
fn world() -> World {
    let mailbox = |text: &str| Mailbox::parse(text, false).expect("an address");
    let secrets = Secrets::parse(&"a".repeat(40)).expect("a secret").into();
    let lifetime = Duration::from_secs(30 * 86_400);
    let verp = Verp::new(mailbox("bounces@back.example"), secrets, lifetime).expect("it fits");
    let complaints = (0..2 * REPORTS).map(|n| mailbox(&format!("fbl.{n}.0@back.example")));
    let returns = Returns {
        verp,
        mode: Mode::Message,
        classic: false,
        complaints: complaints.collect(),
        announces: false,
        forward_to: None,
        tenants: Default::default(),
        campaigns: Default::default(),
    };
    let mut settings = Arc::into_inner(settings(&config(STANDARD, ""))).expect("nobody has it yet");
    settings.returns = Some(Arc::new(returns));
    let mut world = World::new(5, Arc::new(settings));
    world.add_back();
    world.boot(1);
    world.run_for(SECOND);
    world
}

impl World {
    /// Reports that this run has told of.
    fn told(&mut self) -> u64 {
        match self.ask(0, Command::Snapshot) {
            Answer::Snapshot(snapshot) => snapshot.counters.count(Count::ReturnsOther),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_report_is_final_once_the_event_log_is_sure_to_have_it() {
    let mut world = world();
    world.submit(REPORTS, ("fbl", "back.example"), 0);
    world.run_for(30 * SECOND);
    assert_eq!(world.acknowledged(), REPORTS);
    assert_eq!((world.told(), world.queued()), (ALL, ALL));
    // What was told may not be on disk: it is told again.
    world.crash();
    world.boot(1);
    world.run_for(30 * SECOND);
    assert_eq!((world.told(), world.queued()), (ALL, ALL));
    world.run_for(30 * SECOND);
    assert_eq!((world.told(), world.queued()), (ALL, 0));
    world.crash();
    world.boot(1);
    world.run_for(30 * SECOND);
    assert_eq!((world.told(), world.queued()), (0, 0), "it is over");
}

#[test]
fn a_drain_reads_what_waits_and_ends_with_it() {
    let mut world = world();
    world.submit(REPORTS, ("fbl", "back.example"), 0);
    world.run_for(10 * SECOND);
    assert_eq!((world.told(), world.queued()), (ALL, ALL));
    world.drain();
    while !world.reap() {
        world.run_for(100 * MS);
    }
    world.boot(1);
    world.run_for(60 * SECOND);
    assert_eq!((world.told(), world.queued()), (0, 0));
}
