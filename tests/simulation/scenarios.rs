//! Outages and recoveries, one at a time, on virtual time.

use std::collections::BTreeSet;

use relay_fast::shard::commands::QueuedMessage;

use crate::agenda::{Happening, MS, SECOND};
use crate::client::{Abort, Client, Habits};
use crate::ledger::{Notify, Verdict};
use crate::node::settings;
use crate::peer::{Moods, Reach};
use crate::town::config;
use crate::world::World;

/// The schedule as it is by default, without jitter.
pub(crate) const STANDARD: &str = "retry_first = \"5m\"\nretry_jitter = 0";
/// One that fits a short run.
const QUICK: &str = "retry_first = \"1m\"\nretry_jitter = 0";

pub(crate) fn relay_domain(hosts: &str) -> String {
    format!(
        "[[upstream]]\nname = \"pair\"\nhosts = \"{hosts}\"\n\
         [[relay_domain]]\ndomains = [\"corp.example\"]\nupstream = \"pair\"\n"
    )
}

pub(crate) fn world(queue: &str, more: &str) -> World {
    let mut world = World::new(11, settings(&config(queue, more)));
    world.ledger.lifetime = 5 * 24 * 3_600 * SECOND;
    world.add_back();
    world
}

impl World {
    /// So many messages to `address` at a domain, over a few connections.
    pub(crate) fn submit(&mut self, messages: usize, (kind, domain): (&str, &str), pause: u64) {
        let numbers: Vec<u64> =
            (0..messages).map(|_| self.add_mail(&[(kind, domain, Notify::Default)], 0)).collect();
        let habits = Habits { pipelines: true, chunks: true, eager: false, pause };
        let each = numbers.len().div_ceil(4);
        let first = self.clients.len();
        for share in numbers.chunks(each) {
            let queue = share.iter().map(|number| (*number, Abort::Never)).collect();
            self.clients.push(Client::new(habits, queue));
        }
        for index in first..self.clients.len() {
            self.agenda.at(self.agenda.now + MS, Happening::Client { index, wakes: 0 });
        }
    }

    /// Numbers of the messages that were delivered and heard of.
    pub(crate) fn delivered(&self) -> BTreeSet<u64> {
        let heard = self.ledger.deliveries.iter().filter(|(_, _, delivery)| delivery.heard);
        heard.map(|(number, _, _)| *number).collect()
    }

    /// When message `number` was acknowledged, and when and where it was delivered.
    fn story(&self, number: u64) -> (u64, u64, usize) {
        let index = usize::try_from(number).unwrap();
        let Verdict::Acknowledged(taken) = self.ledger.mail[index].verdict else {
            panic!("mail {number} was not taken")
        };
        let mut deliveries = self.ledger.deliveries.iter().filter(|(one, _, _)| *one == number);
        let (_, _, delivery) = deliveries.next().unwrap_or_else(|| panic!("mail {number} waits"));
        (taken.min(delivery.at), delivery.at, delivery.host)
    }

    /// Recipients that have an attempt behind them.
    fn attempted(&mut self) -> usize {
        let queue = self.queue();
        let stories = queue.iter().flat_map(|message| &message.recipients);
        stories.filter(|story| story.attempts > 0).count()
    }
}

//= RFC 5321 §4.5.4.1, type=test
//# the client SHOULD keep a list of hosts it cannot reach and corresponding connection timeouts,
//# rather than just retrying queued mail items
#[test]
fn a_server_that_was_down_for_a_minute_gets_its_backlog_soon_after() {
    Outage { messages: 2_500, from: 0, reach: Reach::Refuses, restart: false, tried_max: 40 }.run();
}

#[test]
fn a_server_that_goes_down_amid_a_backlog_gets_the_rest_soon_after() {
    let from = SECOND;
    Outage { messages: 1_000, from, reach: Reach::Refuses, restart: false, tried_max: 40 }.run();
}

#[test]
fn a_server_that_falls_silent_gets_the_rest_soon_after() {
    // Those that are being opened, up to the limit of 100, learn nothing for 30 s.
    let (from, tried_max) = (SECOND, 140);
    Outage { messages: 1_000, from, reach: Reach::Silent, restart: false, tried_max }.run();
}

#[test]
fn a_backlog_that_a_restart_found_goes_soon_after_the_outage() {
    Outage { messages: 1_000, from: 0, reach: Reach::Refuses, restart: true, tried_max: 40 }.run();
}

/// The only upstream is down for a minute, whatever waits for it.
struct Outage {
    messages: usize,
    from: u64,
    reach: Reach,
    restart: bool,
    /// Connection attempts meanwhile.
    tried_max: usize,
}

impl Outage {
    fn run(&self) {
        let mut world = world(STANDARD, &relay_domain("203.0.113.101"));
        let host = world.add_host(101);
        let back = self.from + 60 * SECOND;
        world.add_outage(host, self.from, back, self.reach);
        world.boot(2);
        world.submit(self.messages, ("user", "corp.example"), 0);
        world.run_until(back - 30 * SECOND);
        if self.restart {
            world.crash();
            world.boot(3);
        }
        world.run_until(back - SECOND);
        assert!(world.clients.iter().all(Client::is_done), "all is accepted meanwhile");
        let attempts = world.hosts[host].attempts.iter();
        let tried = attempts.filter(|at| **at >= self.from).count();
        let (before, put_off) = (world.delivered().len(), world.attempted());
        assert!(before < self.messages / 2, "{before} were delivered before");
        world.run_until(back + 130 * SECOND);
        let delivered = world.delivered().len();
        let report = format!("{tried} connections, {put_off} put off, {delivered} delivered");
        // Each shard tries after 1 s, 2 s, 4 s, and so on, and not for each message; and nobody
        // waits for the second attempt of the schedule, at 5 minutes.
        let is_bounded = tried <= self.tried_max && put_off <= 40;
        assert!(is_bounded && delivered == self.messages, "{report}");
        world.audit_rest();
    }
}

#[test]
fn mail_goes_to_the_second_upstream_while_the_first_is_down_and_back() {
    let mut world = world(STANDARD, &relay_domain("203.0.113.101;203.0.113.102"));
    let (first, second) = (world.add_host(101), world.add_host(102));
    world.add_outage(first, 20 * SECOND, 80 * SECOND, Reach::Refuses);
    world.boot(2);
    world.submit(1_200, ("user", "corp.example"), SECOND);
    world.run_until(400 * SECOND);
    assert!(world.clients.iter().all(Client::is_done));
    for number in 0..1_200 {
        let (taken, at, host) = world.story(number);
        assert!(at - taken < 2 * SECOND, "mail {number} waited {} s", (at - taken) / SECOND);
        if (25 * SECOND..80 * SECOND).contains(&taken) {
            assert_eq!(host, second, "mail {number}, while the first is down");
        } else if !(20 * SECOND..=(80 + 130) * SECOND).contains(&taken) {
            assert_eq!(host, first, "mail {number}, while the first is up");
        }
    }
    let last = (0..1_200).map(|number| world.story(number).0).max().unwrap();
    assert!(last > 230 * SECOND, "mail came long enough: {} s", last / SECOND);
    let tried = world.hosts[first].attempts.iter();
    let tried = tried.filter(|at| (20 * SECOND..80 * SECOND).contains(*at)).count();
    assert!(tried <= 40, "{tried} attempts while it was down");
    world.audit_rest();
}

/// Nothing else happens on the node meanwhile that would give its shard a turn.
#[test]
fn mail_goes_to_the_second_upstream_once_the_first_was_silent_for_its_time() {
    let mut world = world(STANDARD, &relay_domain("203.0.113.101;203.0.113.102"));
    let (first, second) = (world.add_host(101), world.add_host(102));
    world.add_outage(first, 0, 300 * SECOND, Reach::Silent);
    world.boot(1);
    world.submit(4, ("user", "corp.example"), 0);
    world.run_until(35 * SECOND);
    assert_eq!((world.delivered().len(), world.hosts[second].attempts.is_empty()), (4, false));
    world.audit_rest();
}

#[test]
fn mail_waits_while_name_servers_fail_and_goes_once_they_answer() {
    let mut world = world(QUICK, "");
    let host = world.add_host(1);
    world.add_domain("shaky.example", &[(10, 1)]);
    world.zone.failing.insert("shaky.example".into(), 40 * SECOND);
    world.boot(2);
    world.submit(50, ("user", "shaky.example"), 0);
    world.run_until(39 * SECOND);
    assert_eq!((world.queued(), world.hosts[host].attempts.len()), (50, 0));
    let asked = world.zone.asked;
    assert!(asked < 100, "{asked} questions: failures are remembered (RFC 9520 §3.2)");
    for message in world.queue() {
        let story = &message.recipients[0];
        let last = story.last.as_ref().expect("it was tried").to_owned();
        assert_eq!((story.attempts, last.status.to_string().as_str()), (1, "4.4.3"));
    }
    world.run_until(70 * SECOND);
    assert_eq!(world.delivered().len(), 50, "at the second attempt");
    assert_eq!(world.ledger.notices, [], "nothing bounced");
    world.audit_rest();
}

#[test]
fn a_greylisting_server_is_tried_again_by_the_schedule() {
    let mut world = world(QUICK, "");
    let host = world.add_host(1);
    world.add_domain("grey.example", &[(10, 1)]);
    world.hosts[host].greylists_for = 300 * SECOND;
    world.boot(1);
    world.submit(20, ("user", "grey.example"), 0);
    world.run_until(419 * SECOND);
    assert_eq!(world.delivered().len(), 0, "put off at 0, 60 and 180 s");
    let attempts: BTreeSet<u32> =
        world.queue().iter().map(|message| message.recipients[0].attempts).collect();
    assert_eq!(attempts, [3].into());
    world.run_until(426 * SECOND);
    // Each due time is rounded up to a whole second.
    assert_eq!(world.delivered().len(), 20, "at 60 + 120 + 240 s");
    world.audit_rest();
}

//= RFC 5321 §4.5.4.1, type=test
//# The sender MUST delay retrying a particular destination after one attempt has failed.
#[test]
fn who_puts_off_in_any_place_is_tried_by_the_schedule_and_never_tightly() {
    const DAY: u64 = 24 * 3_600 * SECOND;
    let places: [(&str, fn(&mut Moods)); 7] = [
        ("greeting", |moods| moods.greet_421 = 1_000),
        ("MAIL, and leaves", |moods| moods.mail_421 = 1_000),
        ("MAIL", |moods| moods.mail_451 = 1_000),
        ("RCPT", |moods| moods.rcpt_450 = 1_000),
        ("DATA", |moods| moods.data_451 = 1_000),
        ("the end of content", |moods| moods.end_451 = 1_000),
        ("anywhere, by cutting", |moods| moods.cut = 1_000),
    ];
    for (place, set) in places {
        for messages in [1, 20] {
            let mut world = world(QUICK, "");
            let host = world.add_host(1);
            world.add_domain("mood.example", &[(10, 1)]);
            set(&mut world.hosts[host].moods);
            world.hosts[host].chunking = place != "DATA";
            world.hosts[host].calm_at = u64::MAX;
            world.boot(1);
            world.submit(messages, ("user", "mood.example"), 0);
            world.run_until(DAY);
            assert_eq!(world.delivered().len(), 0, "{place}");
            let by_schedule = |attempts: u32| (15..=18).contains(&attempts);
            let tried = world.hosts[host].attempts.clone();
            let within = |from: &u64| {
                tried.iter().filter(|at| (*from..*from + 60 * SECOND).contains(at)).count()
            };
            let busiest = tried.iter().map(within).max().unwrap_or(0);
            // A message that lost its connection for no fault of its own has another at once.
            let most = 2 * messages;
            assert!(busiest <= most, "{place}: {busiest} connections in a minute");
            assert!((15..=18 * most).contains(&tried.len()), "{place}: {} in all", tried.len());
            let queue = world.queue();
            let stories = queue.iter().flat_map(|message| &message.recipients);
            assert!(stories.clone().all(|story| by_schedule(story.attempts)), "{place}");
            assert_eq!(stories.count(), messages, "{place}");
        }
    }
}

/// The queue once nothing is under way, and what was found out is on disk.
fn at_rest(world: &mut World) -> Vec<QueuedMessage> {
    loop {
        world.run_for(500 * MS);
        if world.stats().iter().all(|stats| stats.ready + stats.attempting == 0) {
            return world.queue();
        }
    }
}

#[test]
fn a_restart_keeps_attempts_and_due_times_exactly() {
    let mut world = world(QUICK, "");
    let host = world.add_host(1);
    world.hosts[host].moods = Moods { rcpt_450: 300, end_451: 300, ..Moods::default() };
    world.hosts[host].calm_at = u64::MAX;
    world.add_domain("a.example", &[(10, 1)]);
    world.boot(3);
    world.submit(60, ("full", "a.example"), 0);
    world.submit(40, ("user", "a.example"), SECOND);
    world.run_until(20 * SECOND);
    for shards in [2, 4, 1] {
        world.run_for(100 * SECOND);
        let before = at_rest(&mut world);
        assert!(before.len() > 60 && before.iter().all(|one| one.recipients[0].attempts > 0));
        world.crash();
        world.boot(shards);
        world.recover();
        let after = world.queue();
        assert_eq!(before.len(), after.len(), "{shards} shards");
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(before, after, "{shards} shards");
        }
    }
    let attempts = world.queue().iter().map(|one| one.recipients[0].attempts).max();
    assert!(attempts >= Some(3), "{attempts:?}");
}

/// The host refuses one recipient and leaves before it has heard of the other.
#[test]
fn a_host_that_leaves_amid_the_recipients_gets_the_rest_later() {
    let mut world = world(QUICK, "");
    world.add_host(1);
    world.add_domain("a.example", &[(10, 1)]);
    world.boot(1);
    let recipients =
        [("full", "a.example", Notify::Default), ("bye", "a.example", Notify::Default)];
    let number = world.add_mail(&recipients, 0);
    let habits = Habits { pipelines: true, chunks: true, eager: false, pause: 0 };
    let first = world.clients.len();
    world.clients.push(Client::new(habits, [(number, Abort::Never)].into()));
    world.agenda.at(world.agenda.now + MS, Happening::Client { index: first, wakes: 0 });
    world.run_until(300 * SECOND);
    let rest = world.rest();
    assert!(world.delivered().contains(&number), "{rest}");
}
