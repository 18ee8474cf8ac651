//! The store with its filter against a map, and the event log as it is read.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::base::ids::{MessageId, ShardId};
use crate::base::limits::SUPPRESSION_FILTER_MIN;
use crate::base::time::WallTime;
use crate::config::options::HardBounces;
use crate::mail::address::Mailbox;
use crate::mail::handling::TenantName;
use crate::outcome::event::{Event, Kind as EventKind, Returned};
use crate::policy::suppression::{Kind, Lists as Asked};

const LISTS: [&str; 3] = ["global", "t", "t2"];
const NOW: WallTime = WallTime(1_795_491_661_007);

fn open(path: &Path) -> Keeper {
    Keeper::new(Store::open(path).unwrap()).unwrap()
}

fn list(name: &str) -> ListName {
    name.parse().unwrap()
}

fn subject(text: &str) -> Subject {
    Subject::parse(text).unwrap()
}

fn located(name: &str, address: &str, entry: Entry) -> Located {
    Located { list: list(name), subject: subject(address), entry }
}

/// Few subjects, so that they meet: addresses, and the domains that they are in.
fn any_subject(prng: &mut Prng) -> Subject {
    let domain = format!("d{}.example", prng.below(6));
    match prng.below(8) {
        0 => subject(&format!("@{domain}")),
        _ => subject(&format!("user{}@{domain}", prng.below(12))),
    }
}

fn any_entry(prng: &mut Prng, now: WallTime) -> Entry {
    let kind = Kind::ALL[usize::try_from(prng.below(4)).unwrap()];
    let mut entry = Entry::new(kind, &format!("words {}", prng.below(1_000)), now);
    let away = Duration::from_millis(prng.below(200));
    entry.expires = (prng.below(3) == 0).then_some(now + away);
    entry.message = (prng.below(2) == 0).then_some(MessageId(1 + prng.below(99)));
    entry
}

type Model = BTreeMap<(ListName, Subject), Entry>;

/// Apply to the map what the store was told; what that comes to.
fn apply(model: &mut Model, change: &Change, now: WallTime) -> Done {
    let mut done = Done::default();
    match change {
        Change::Add(it)
            if model
                .get(&(it.list.clone(), it.subject.clone()))
                .is_some_and(|old| old.holds(now)) => {}
        Change::Put(it) | Change::Add(it) => {
            let key = (it.list.clone(), it.subject.clone());
            match model.insert(key, it.entry.clone()) {
                Some(_) => done.replaced = 1,
                None => done.added = 1,
            }
        }
        Change::Remove(list, subject) => {
            let gone = model.remove(&(list.clone(), subject.clone()));
            done.removed = gone.is_some().into();
        }
    }
    done
}

/// What the map says of a recipient.
fn expected(
    model: &Model,
    recipient: &Mailbox,
    tenant: Option<&TenantName>,
    now: WallTime,
) -> bool {
    let of = [subject(recipient.as_str()), subject(&format!("@{}", recipient.domain()))];
    let lists = [Some(ListName::GLOBAL), tenant.map(ListName::from)];
    let mut keys = lists.iter().flatten().flat_map(|list| of.iter().map(move |it| (list, it)));
    keys.any(|(list, it)| {
        model.get(&(list.clone(), it.clone())).is_some_and(|entry| entry.holds(now))
    })
}

fn compare(keeper: &Keeper, model: &Model, now: WallTime, seed: u64) {
    // A walk, in pages of odd sizes, of all lists and of each.
    for list_of in [None, Some("global"), Some("t"), Some("t2"), Some("other")] {
        let name = list_of.map(list);
        let mut walked: Vec<Located> = Vec::new();
        loop {
            let after = walked.last().map(|last| (last.list.clone(), last.subject.clone()));
            let after = after.as_ref().map(|(list, subject)| (list, subject));
            let page = keeper.page(name.as_ref(), after, 7).unwrap();
            if page.is_empty() {
                break;
            }
            walked.extend(page);
        }
        let all = model.iter().filter(|((list, _), _)| name.as_ref().is_none_or(|it| it == list));
        let all: Vec<Located> = all
            .map(|((list, subject), entry)| Located {
                list: list.clone(),
                subject: subject.clone(),
                entry: entry.clone(),
            })
            .collect();
        assert_eq!(walked, all, "seed {seed}, list {list_of:?}");
    }
    let totals = keeper.totals().unwrap();
    let count = totals.entries.iter().map(|(_, count)| count).sum::<u64>();
    assert_eq!((count, keeper.shown.count()), (model.len() as u64, count), "seed {seed}");
    for user in 0..12 {
        for domain in 0..6 {
            let recipient =
                Mailbox::parse(&format!("User{user}@D{domain}.example"), false).unwrap();
            for tenant in [None, Some(TenantName::parse("t").unwrap())] {
                let asked = Asked { tenant: tenant.as_ref() };
                let lookup = keeper.shown.suspects(&recipient, asked, now);
                let found = lookup.and_then(|lookup| lookup.run().unwrap());
                let expected = expected(model, &recipient, tenant.as_ref(), now);
                assert_eq!(found.is_some(), expected, "seed {seed}: {recipient} {tenant:?}");
            }
        }
    }
}

#[test]
fn the_store_and_its_filter_do_as_a_map_does() {
    for seed in 0..6 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.redb");
        let mut prng = Prng::from_number(seed);
        let mut model = Model::new();
        let mut now = NOW;
        let mut keeper = open(&path);
        for round in 0..25 {
            now = now + Duration::from_millis(prng.below(60));
            let changes: Vec<Change> = (0..prng.below(12))
                .map(|_| {
                    let name = list(LISTS[usize::try_from(prng.below(3)).unwrap()]);
                    let (of, kind) = (any_subject(&mut prng), prng.below(4));
                    let entry = any_entry(&mut prng, now);
                    match kind {
                        0 => Change::Remove(name, of),
                        1 => Change::Add(Located { list: name, subject: of, entry }),
                        _ => Change::Put(Located { list: name, subject: of, entry }),
                    }
                })
                .collect();
            let done = keeper.change_at(&changes, now).unwrap();
            let sum = |sum: Done, change| sum.plus(apply(&mut model, change, now));
            assert_eq!(done, changes.iter().fold(Done::default(), sum), "seed {seed}");
            match prng.below(5) {
                0 => {
                    keeper.sweep(now).unwrap();
                    model.retain(|_, entry| entry.holds(now));
                }
                1 => {
                    drop(keeper);
                    keeper = open(&path);
                    if prng.below(2) == 0 {
                        keeper.build().unwrap();
                    }
                }
                _ => {}
            }
            if round % 4 == 0 {
                compare(&keeper, &model, now, seed);
            }
        }
        compare(&keeper, &model, now, seed);
        drop(keeper);
        let keeper = open(&path);
        compare(&keeper, &model, now, seed);
        keeper.build().unwrap();
        compare(&keeper, &model, now, seed);
    }
}

/// More than there is room for: a larger one is built, amid changes.
#[test]
fn a_filter_that_is_full_is_built_anew() {
    let folder = tempfile::tempdir().unwrap();
    let keeper = open(&folder.path().join("s.redb"));
    keeper.build().unwrap();
    let before = keeper.shown.filter_bytes();
    let entry = Entry::new(Kind::Unsubscribe, "", NOW);
    let all = SUPPRESSION_FILTER_MIN + 1_000;
    let address = |number: u64| format!("user{number}@d.example");
    for batch in (0..all).collect::<Vec<_>>().chunks(SUPPRESSION_BATCH_MAX) {
        let put = |number: &u64| Change::Put(located("global", &address(*number), entry.clone()));
        let done = keeper.change(&batch.iter().map(put).collect::<Vec<_>>()).unwrap();
        assert_eq!(done.added, batch.len() as u64);
    }
    assert!(keeper.shown.filter_bytes() > before && !keeper.shown.wants_filter());
    for number in (0..all).step_by(997) {
        let recipient = Mailbox::parse(&address(number), false).unwrap();
        assert!(keeper.shown.suspects(&recipient, Asked::default(), NOW).is_some(), "{number}");
    }
}

fn event(kind: EventKind, recipient: &str, class: &str, time: WallTime) -> Event<'static> {
    Event {
        sequence: 1,
        reverse_path: "s@a.example".into(),
        recipient: recipient.to_owned().into(),
        domain: "b.example".into(),
        code: Some(550),
        status: Some(crate::mail::status::EnhancedStatus::new(5, 1, 1)),
        class: class.to_owned().into(),
        reply: "No such\nuser".into(),
        ..Event::new(kind, MessageId(77), time, ShardId(0))
    }
}

fn append(path: &Path, octets: &[u8]) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(octets).unwrap();
}

fn line(event: &Event<'_>) -> Vec<u8> {
    let mut line = Vec::new();
    event.write_line(&mut line);
    line
}

fn rule(count: u32) -> Rules {
    let hard_bounces = Some(HardBounces { count, within: Duration::from_secs(86_400) });
    Rules { hard_bounces, complaints: false, unsubscribes: false }
}

#[test]
fn hard_bounces_of_the_event_log_count_once_whatever_happens() {
    let folder = tempfile::tempdir().unwrap();
    let (path, events) = (folder.path().join("s.redb"), folder.path().join("events"));
    let keeper = open(&path);
    Feed::new(events.clone()).follow(&keeper, rule(2)).unwrap();
    std::fs::create_dir(&events).unwrap();
    let (one, two) = (events.join("shard-00-1.jsonl"), events.join("shard-01-1.jsonl"));
    let bounced = |to: &str, hours: u64| {
        let at = NOW + Duration::from_secs(hours * 3_600);
        line(&event(EventKind::Bounced, to, "bad-mailbox", at))
    };
    let suppressed = |keeper: &Keeper, to: &str| !keeper.find(&subject(to)).unwrap().is_empty();
    append(&one, &bounced("A@b.example", 0));
    append(&one, &line(&event(EventKind::Bounced, "c@b.example", "spam", NOW)));
    append(&one, &line(&event(EventKind::Deferred, "c@b.example", "bad-mailbox", NOW)));
    append(&one, b"no event\n");
    let null = Event {
        reverse_path: "".into(),
        ..event(EventKind::Bounced, "c@b.example", "bad-mailbox", NOW)
    };
    append(&one, &line(&null));
    append(&two, &bounced("far@b.example", 0));
    append(&two, &bounced("far@b.example", 25));
    let mut feed = Feed::new(events.clone());
    feed.follow(&keeper, rule(2)).unwrap();
    feed.follow(&keeper, rule(2)).unwrap();
    assert!(!suppressed(&keeper, "a@b.example"), "it bounced once");
    assert!(!suppressed(&keeper, "far@b.example"), "more than a day lies between");
    // A line that is being written, and a process that is another one.
    let second = bounced("a@b.example", 1);
    append(&two, &second[..30]);
    feed.follow(&keeper, rule(2)).unwrap();
    drop((keeper, feed));
    let keeper = open(&path);
    Feed::new(events.clone()).follow(&keeper, rule(2)).unwrap();
    assert!(!suppressed(&keeper, "a@b.example"));
    append(&two, &second[30..]);
    let mut feed = Feed::new(events.clone());
    feed.follow(&keeper, rule(2)).unwrap();
    let found = keeper.find(&subject("a@b.example")).unwrap();
    assert_eq!(found.len(), 1);
    let Entry { kind, words, when, expires, message } = &found[0].entry;
    assert_eq!((*kind, &**words), (Kind::HardBounce, "550 5.1.1 No such user"));
    assert_eq!((when.0, *expires), (NOW.0 + 3_600_000, None));
    assert_eq!(*message, Some(MessageId(77)));
    assert!(!suppressed(&keeper, "c@b.example"));
    // What an operator took out is not put back by what was read already.
    keeper.change(&[Change::Remove(ListName::GLOBAL, subject("a@b.example"))]).unwrap();
    Feed::new(events.clone()).follow(&keeper, rule(2)).unwrap();
    assert!(!suppressed(&keeper, "a@b.example"));
    // Files go, and names come again.
    std::fs::remove_file(&two).unwrap();
    feed.follow(&keeper, rule(2)).unwrap();
    append(&two, &bounced("g@b.example", 2));
    feed.follow(&keeper, rule(1)).unwrap();
    assert!(suppressed(&keeper, "g@b.example"));
}

#[test]
fn what_came_back_counts_where_its_token_says_of_which_recipient() {
    let folder = tempfile::tempdir().unwrap();
    let (path, events) = (folder.path().join("s.redb"), folder.path().join("events"));
    let keeper = open(&path);
    std::fs::create_dir(&events).unwrap();
    let log = events.join("shard-00-1.jsonl");
    let told = |kind, to: &str, vouched: &'static str| {
        let (original, vouched) = (Some(MessageId(5)), vouched.into());
        let returned = Some(Returned { original, vouched, ..Returned::default() });
        line(&Event { returned, ..event(kind, to, "bad-mailbox", NOW) })
    };
    append(&log, &told(EventKind::Complained, "abuse@b.example", "recipient"));
    append(&log, &told(EventKind::Complained, "forged@b.example", "message"));
    append(&log, &told(EventKind::Complained, "stranger@b.example", ""));
    append(&log, &told(EventKind::BouncedLater, "gone@b.example", "recipient"));
    append(&log, &told(EventKind::BouncedLater, "named@b.example", "message"));
    append(&log, &told(EventKind::Returned, "away@b.example", "recipient"));
    let complaints = Rules { hard_bounces: None, complaints: true, unsubscribes: false };
    Feed::new(events.clone()).follow(&keeper, complaints).unwrap();
    let kinds = |to: &str| {
        let found = keeper.find(&subject(to)).unwrap();
        found.iter().map(|one| (one.entry.kind, one.entry.message)).collect::<Vec<_>>()
    };
    let of = |kind| vec![(kind, Some(MessageId(5)))];
    assert_eq!(kinds("abuse@b.example"), of(Kind::Complaint));
    for to in ["forged", "stranger", "gone", "named", "away"] {
        assert_eq!(kinds(&format!("{to}@b.example")), [], "{to}");
    }
    append(&log, &told(EventKind::BouncedLater, "gone@b.example", "recipient"));
    append(&log, &told(EventKind::BouncedLater, "named@b.example", "message"));
    append(&log, &told(EventKind::Complained, "late@b.example", "recipient"));
    Feed::new(events).follow(&keeper, rule(1)).unwrap();
    assert_eq!(kinds("gone@b.example"), of(Kind::HardBounce));
    assert_eq!((kinds("named@b.example"), kinds("late@b.example")), (vec![], vec![]));
}

/// Nobody else can have a link that says so: it counts as it is, on its sender's list alone.
#[test]
fn whoever_unsubscribes_is_on_the_list_of_the_sender() {
    let folder = tempfile::tempdir().unwrap();
    let (path, events) = (folder.path().join("s.redb"), folder.path().join("events"));
    let keeper = open(&path);
    std::fs::create_dir(&events).unwrap();
    let log = events.join("shard-00-1.jsonl");
    let of = |kind, to: &str| Event {
        tenant: "acme".into(),
        reverse_path: "".into(),
        reply: "".into(),
        code: None,
        status: None,
        ..event(kind, to, "", NOW)
    };
    append(&log, &line(&of(EventKind::Unsubscribed, "Enough@b.example")));
    append(&log, &line(&of(EventKind::Opened, "reader@b.example")));
    let mut feed = Feed::new(events);
    let rules = Rules { hard_bounces: None, complaints: false, unsubscribes: true };
    feed.follow(&keeper, rules).unwrap();
    let found = keeper.find(&subject("enough@b.example")).unwrap();
    let [Located { list, entry, .. }] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((list.as_str(), entry.kind), ("acme", Kind::Unsubscribe));
    assert_eq!((&*entry.words, entry.message), ("", Some(MessageId(77))));
    assert_eq!(keeper.find(&subject("reader@b.example")).unwrap(), []);
    append(&log, &line(&of(EventKind::Unsubscribed, "other@b.example")));
    feed.follow(&keeper, Rules { unsubscribes: false, complaints: true, ..rules }).unwrap();
    assert_eq!(keeper.find(&subject("other@b.example")).unwrap(), []);
}

#[test]
fn what_is_there_already_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let keeper = open(&folder.path().join("s.redb"));
    let complaint = Entry::new(Kind::Complaint, "spam", NOW);
    let bounce = Entry::new(Kind::HardBounce, "gone", NOW);
    let add = |entry: &Entry| vec![Change::Add(located("global", "a@b.example", entry.clone()))];
    assert_eq!(keeper.change_at(&add(&complaint), NOW).unwrap().added, 1);
    assert_eq!(keeper.change_at(&add(&bounce), NOW).unwrap(), Done::default());
    assert_eq!(keeper.find(&subject("a@b.example")).unwrap()[0].entry, complaint);
}
