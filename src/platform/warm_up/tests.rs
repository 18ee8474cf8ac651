//! The file, across runs that end well or do not.

use std::time::Duration;

use super::*;
use crate::base::days::Days;
use crate::base::time::Monotonic;
use crate::egress::warm_up::ledger::Refusal;
use crate::egress::warm_up::{Plan, Planned, Ration};

fn roster() -> Arc<Roster> {
    let usual = [64, 128].into();
    let plan = Arc::new(Plan { name: "slow".into(), usual, providers: Vec::new() });
    let days = Days::of("UTC").expect("a zone");
    let from = days.at(clock::now().wall).0;
    Arc::new(Roster::new(vec![Planned { source: "new".into(), plan, from }], days))
}

/// A process, so far as it warms sources up.
fn run(folder: &Path, roster: &Arc<Roster>) -> (Arc<Keeper>, Ration) {
    let keeper = Arc::new(Keeper::new(&SharedSites::default(), folder));
    keeper.set(Some(roster)).expect("a thread");
    let ration = keeper.ledger.ration(roster, "new", "gmail").expect("it is warmed up");
    (keeper, ration)
}

fn now() -> Monotonic {
    clock::now().mono
}

/// Send so many, waiting for what is to be written.
fn send(ration: &Ration, messages: u32) {
    for _ in 0..messages {
        while let Err(refusal) = ration.take(now()) {
            assert!(matches!(refusal, Refusal::NotWritten(_)), "{refusal:?}");
            thread::sleep(Duration::from_millis(1));
        }
    }
}

fn sent(keeper: &Keeper) -> u64 {
    keeper.status(Some("new"))[0].sent
}

#[test]
fn a_run_that_ends_is_known_exactly_and_one_that_is_killed_not_for_less_than_it_sent() {
    let folder = tempfile::tempdir().unwrap();
    let roster = roster();
    let (first, ration) = run(folder.path(), &roster);
    send(&ration, 10);
    first.finish();
    let (second, ration) = run(folder.path(), &roster);
    assert_eq!(sent(&second), 10);
    send(&ration, 5);
    // The second is killed: it finishes nothing, and a line of it was cut.
    let mut file = OpenOptions::new().append(true).open(folder.path().join(FILE)).unwrap();
    file.write_all(b"{\"sent\":{\"source\":\"new\"").unwrap();
    let (third, ration) = run(folder.path(), &roster);
    assert!((15..=15 + 8).contains(&sent(&third)), "{}", sent(&third));
    let left = 64 - u32::try_from(sent(&third)).unwrap();
    send(&ration, left);
    assert!(matches!(ration.take(now()), Err(Refusal::UsedUp(_))));
    let (fourth, ration) = run(folder.path(), &roster);
    assert_eq!(sent(&fourth), 64);
    assert!(matches!(ration.take(now()), Err(Refusal::UsedUp(_))));
}

#[test]
fn what_an_operator_says_is_kept_until_the_configuration_says_another_plan() {
    let folder = tempfile::tempdir().unwrap();
    let roster = roster();
    let (keeper, _) = run(folder.path(), &roster);
    let row = keeper.order("new", Verb::Day(2)).expect("it has two")[0].clone();
    assert_eq!((row.day, &*row.state), (2, "warming"));
    keeper.order("new", Verb::Hold).expect("it is under way");
    let wrong = keeper.order("new", Verb::Day(3)).expect_err("it has two").to_string();
    assert_eq!(wrong, "the plan of new has days 1 to 2");
    let wrong = keeper.order("old", Verb::Hold).expect_err("unknown").to_string();
    assert_eq!(wrong, "old is no source with a warm-up");
    let (keeper, _) = run(folder.path(), &roster);
    let row = keeper.status(None)[0].clone();
    assert_eq!((row.day, &*row.state), (2, "held"));
    let mut other = roster.sources()[0].clone();
    other.from = other.from.plus(-1);
    let other = Roster::new(vec![other], roster.days.clone());
    let (keeper, _) = run(folder.path(), &Arc::new(other));
    let row = keeper.status(None)[0].clone();
    assert_eq!((row.day, &*row.state), (2, "warming"), "as configured");
    keeper.set(None).expect("nothing to do");
    assert_eq!(keeper.status(None), []);
}

#[test]
fn a_file_that_is_long_is_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let roster = roster();
    let (keeper, ration) = run(folder.path(), &roster);
    send(&ration, 20);
    for _ in 0..2 * WARM_UP_LINES_SPARE {
        let text = Line::Sent {
            source: "new".into(),
            provider: "gmail".into(),
            day: roster.sources()[0].from,
            messages: 20,
        };
        keeper.state().book.as_mut().unwrap().lines += 1;
        keeper.state().book.as_mut().unwrap().file.write_all(text.render().as_bytes()).unwrap();
    }
    keeper.order("new", Verb::Hold).expect("it is under way");
    let lines = fs::read_to_string(folder.path().join(FILE)).unwrap().lines().count();
    assert!(lines < 10, "{lines}");
    let (keeper, _) = run(folder.path(), &roster);
    assert!((20..=28).contains(&sent(&keeper)) && keeper.status(None)[0].state == "held");
}

#[test]
fn a_file_that_cannot_be_read_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join(FILE)).unwrap();
    let keeper = Arc::new(Keeper::new(&SharedSites::default(), folder.path()));
    assert!(keeper.set(Some(&roster())).is_err());
}
