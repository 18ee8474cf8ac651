//! Boundaries of days and plans; leases; clocks that are set.

use std::sync::Arc;

use super::ledger::Refusal;
use super::saved::Line;
use super::status::{OrderError, Verb};
use super::*;
use crate::base::time::{Monotonic, Now, WallTime};

const DAY_S: u64 = 86_400;

/// So many seconds after the midnight before 2026-11-28, in UTC.
fn at(seconds: u64) -> Now {
    let midnight = WallTime::from_rfc3339("2026-11-28T00:00:00Z").expect("a time");
    let wall = WallTime(midnight.0 + i64::try_from(seconds).expect("small") * 1_000);
    Now { mono: Monotonic((1_000 + seconds) * 1_000_000_000), wall }
}

fn roster_of(from: &str, days: &[u32], gmail: Option<&[u32]>) -> Roster {
    let providers = gmail.map(|days| ("gmail".into(), days.into())).into_iter().collect();
    let plan = Arc::new(Plan { name: "slow".into(), usual: days.into(), providers });
    let from = from.parse().expect("a day");
    let sources = vec![Planned { source: "new".into(), plan, from }];
    Roster::new(sources, Days::of("UTC").expect("a zone"))
}

fn ledger(roster: &Roster, now: Now) -> Arc<Ledger> {
    let ledger = Arc::new(Ledger::default());
    ledger.set(roster);
    ledger.look(now, roster);
    ledger
}

/// Send as many as may go, at most `most`.
fn send(ration: &Ration, most: u32, now: Now) -> u32 {
    (0..most).take_while(|_| ration.take(now.mono).is_ok()).count().try_into().expect("few")
}

#[test]
fn each_day_has_its_number_and_each_provider_its_own() {
    let roster = roster_of("2026-11-28", &[3, 5], Some(&[1]));
    let ledger = ledger(&roster, at(0));
    let ration = |provider: &str| ledger.ration(&roster, "new", provider).expect("it is planned");
    let (yahoo, gmail) = (ration("yahoo"), ration("gmail"));
    assert_eq!((send(&yahoo, 10, at(0)), send(&gmail, 10, at(0))), (3, 1));
    // The same count, whoever asks.
    assert_eq!(send(&ration("yahoo"), 10, at(10)), 0);
    let midnight = at(DAY_S).mono;
    assert_eq!(yahoo.take(at(DAY_S - 1).mono), Err(Refusal::UsedUp(midnight)));
    assert_eq!(yahoo.used_up(at(DAY_S - 1).mono), Some(midnight));
    let why = yahoo.why(at(1).mono).to_string();
    assert_eq!(why, "the warm-up of new at yahoo is used up until 2026-11-29 00:00 UTC");
    // Past midnight it is no more used up; what may go is known once the clock was seen.
    assert_eq!(yahoo.used_up(midnight), None);
    assert!(matches!(yahoo.take(midnight), Err(Refusal::NotWritten(_))));
    ledger.see(at(DAY_S), &roster);
    assert_eq!(send(&yahoo, 10, at(DAY_S)), 5);
    assert_eq!(send(&gmail, 1_000, at(DAY_S)), 1_000, "its plan is over there");
    ledger.see(at(2 * DAY_S), &roster);
    assert_eq!(send(&yahoo, 1_000, at(2 * DAY_S)), 1_000, "warm");
    assert_eq!(ledger.standing(&roster), (0, 0));
    assert!(ledger.ration(&roster, "old", "yahoo").is_none());
}

#[test]
fn nothing_leaves_before_the_first_day_and_days_go_on_without_mail() {
    let roster = roster_of("2026-11-30", &[3, 5, 7], None);
    let ledger = ledger(&roster, at(0));
    let ration = ledger.ration(&roster, "new", "yahoo").expect("it is planned");
    assert_eq!((send(&ration, 1, at(0)), ledger.standing(&roster)), (0, (1, 0)));
    assert_eq!(ration.why(at(0).mono).to_string(), "the warm-up of new begins on 2026-11-30");
    // Four days later, with nothing sent on the first two: the third.
    ledger.see(at(4 * DAY_S + 5), &roster);
    assert_eq!(send(&ration, 100, at(4 * DAY_S + 5)), 7);
    assert_eq!(ledger.standing(&roster), (1, 1));
}

#[test]
fn a_plan_that_changes_keeps_what_was_counted() {
    let roster = roster_of("2026-11-28", &[3], None);
    let ledger = ledger(&roster, at(0));
    let ration = |roster: &Roster| ledger.ration(roster, "new", "yahoo").expect("it is planned");
    assert_eq!(send(&ration(&roster), 10, at(0)), 3);
    let more = roster_of("2026-11-28", &[5], None);
    ledger.set(&more);
    assert_eq!(send(&ration(&more), 10, at(1)), 2);
    let less = roster_of("2026-11-28", &[2], None);
    ledger.set(&less);
    assert_eq!(send(&ration(&less), 10, at(2)), 0);
    // Another first day: the second day of this plan, of which five are sent.
    let earlier = roster_of("2026-11-27", &[2, 6], None);
    ledger.set(&earlier);
    assert_eq!(send(&ration(&earlier), 10, at(3)), 1);
}

#[test]
fn a_clock_that_is_set_gives_nothing_away() {
    let roster = roster_of("2026-11-27", &[3, 3, 3, 3, 3, 3], None);
    let ledger = ledger(&roster, at(DAY_S));
    let ration = ledger.ration(&roster, "new", "yahoo").expect("it is planned");
    assert_eq!(send(&ration, 2, at(DAY_S)), 2);
    // Right after midnight it is set back by a second: the day before is over all the same.
    let mono = at(DAY_S + 1).mono;
    let set_back = Now { mono, wall: at(DAY_S - 1).wall };
    ledger.look(set_back, &roster);
    assert_eq!(send(&ration, 10, set_back), 1);
    assert_eq!(ration.used_up(mono).map(|until| until.since(mono).as_secs()), Some(DAY_S + 1));
    // By two days and more: what was sent counts for that day.
    let far_back = Now { mono, wall: WallTime(at(0).wall.0 - 86_400_000) };
    ledger.look(far_back, &roster);
    assert_eq!(send(&ration, 10, far_back), 0);
    ledger.look(Now { mono, wall: at(0).wall }, &roster);
    assert_eq!(send(&ration, 10, far_back), 3, "the day after that");
    // A run that begins right before midnight, after one that has sent right after it.
    let next = Arc::new(Ledger::default());
    let line = Line::Sent {
        source: "new".into(),
        provider: "yahoo".into(),
        day: "2026-11-30".parse().expect("a day"),
        messages: 2,
    };
    assert_eq!(next.restore(&line.render()), 0);
    next.set(&roster);
    next.look(set_back, &roster);
    assert_eq!(next.status(&roster, None)[0].sent, 2, "set back by more than a day");
    let next = Arc::new(Ledger::default());
    assert_eq!(next.restore(&line.render()), 0);
    next.set(&roster);
    next.look(Now { mono, wall: at(2 * DAY_S - 1).wall }, &roster);
    next.look(Now { mono, wall: at(2 * DAY_S).wall }, &roster);
    let again = next.ration(&roster, "new", "yahoo").expect("it is planned");
    assert_eq!(send(&again, 10, set_back), 1);
    // Ahead: another day begins.
    ledger.look(Now { mono, wall: at(3 * DAY_S).wall }, &roster);
    assert_eq!(send(&ration, 10, far_back), 3);
}

/// Write down what is wished for.
fn write(ledger: &Ledger, disk: &mut String) -> usize {
    let wishes = ledger.wishes();
    let count = wishes.len();
    disk.extend(wishes.iter().map(|wish| Line::from(wish).render()));
    ledger.grant(wishes);
    count
}

#[test]
fn whenever_a_process_is_killed_no_more_is_sent_than_the_day_has() {
    const ALLOWED: u32 = 50;
    let roster = roster_of("2026-11-28", &[ALLOWED], None);
    let mut prng = crate::base::prng::Prng::from_number(7);
    for _ in 0..200 {
        let (mut disk, mut sent, mut lives) = (String::new(), 0, 0);
        loop {
            let life = ledger(&roster, at(0));
            assert_eq!(life.restore(&disk), 0);
            life.keep(|| ());
            let ration = life.ration(&roster, "new", "yahoo").expect("it is planned");
            let mut steps = prng.below(40);
            let is_over = loop {
                match ration.take(at(1).mono) {
                    Ok(()) => sent += 1,
                    Err(Refusal::UsedUp(_)) => break true,
                    Err(Refusal::NotWritten(_)) => {
                        // Killed before it is written, or after that and before it is granted.
                        if steps == 0 {
                            break false;
                        }
                        assert_eq!(write(&life, &mut disk), 1);
                    }
                }
                steps = steps.saturating_sub(1);
            };
            lives += 1;
            if is_over {
                break;
            }
        }
        assert!(sent <= ALLOWED, "{sent} in {lives} lives");
        assert!(sent + lives * 6 >= ALLOWED, "{sent} in {lives} lives");
    }
}

#[test]
fn a_lease_is_asked_for_before_it_is_needed_and_once() {
    let roster = roster_of("2026-11-28", &[160], None);
    let ledger = ledger(&roster, at(0));
    ledger.keep(|| ());
    let ration = ledger.ration(&roster, "new", "yahoo").expect("it is planned");
    let mut disk = String::new();
    ration.prepare(at(0).mono);
    ration.prepare(at(0).mono);
    assert_eq!(write(&ledger, &mut disk), 1);
    let mut sent = 0;
    while sent < 160 {
        sent += send(&ration, 3, at(0));
        write(&ledger, &mut disk);
    }
    assert_eq!(disk.lines().count(), 16);
    assert!(matches!(ration.take(at(0).mono), Err(Refusal::UsedUp(_))));
}

#[test]
fn operators_hold_a_plan_move_it_and_end_it() {
    let roster = roster_of("2026-11-28", &[3, 5, 7, 9], None);
    let ledger = ledger(&roster, at(0));
    let do_it = |verb: Verb| -> Result<(u32, String), OrderError> {
        let line = ledger.order(&roster, "new", verb)?;
        ledger.follow(&line);
        let row = ledger.status(&roster, Some("new")).remove(0);
        Ok((row.day, row.state))
    };
    let row = |day: u32, state: &str| Ok((day, state.to_owned()));
    ledger.look(at(DAY_S), &roster);
    assert_eq!(do_it(Verb::Hold), row(2, "held"));
    ledger.look(at(3 * DAY_S), &roster);
    let ration = ledger.ration(&roster, "new", "yahoo").expect("it is planned");
    assert_eq!(send(&ration, 100, at(3 * DAY_S)), 5);
    assert_eq!(do_it(Verb::Resume), row(2, "warming"));
    ledger.look(at(4 * DAY_S), &roster);
    assert_eq!(send(&ration, 100, at(4 * DAY_S)), 7);
    assert_eq!(do_it(Verb::Day(4)), row(4, "warming"));
    assert_eq!(send(&ration, 100, at(4 * DAY_S)), 2, "nine less seven");
    let told = &ledger.status(&roster, None)[0];
    assert_eq!(
        (told.sent, told.providers[0].allowed, told.providers[0].used_up),
        (9, Some(9), true)
    );
    assert_eq!(do_it(Verb::Finish), row(5, "warm"));
    assert_eq!(do_it(Verb::Hold), Err(OrderError::Over("new".into())));
    assert_eq!(do_it(Verb::Day(0)), Err(OrderError::NoDay("new".into(), 4)));
    assert_eq!(do_it(Verb::Day(1)), row(1, "warming"));
    // Another run knows.
    let next = super::tests::ledger(&roster, at(4 * DAY_S));
    let lines: String = ledger.save(false).iter().map(Line::render).collect();
    assert_eq!(next.restore(&lines), 0);
    next.set(&roster);
    let row = next.status(&roster, None).remove(0);
    assert_eq!((row.day, row.sent, row.began), (1, 9, "2026-12-02".to_owned()));
    let ahead = roster_of("2026-12-24", &[1], None);
    let ledger = super::tests::ledger(&ahead, at(0));
    let refused = ledger.order(&ahead, "new", Verb::Hold).expect_err("too early");
    assert_eq!(refused, OrderError::NotBegun("new".into()));
}

#[test]
fn sites_beyond_the_bound_share_a_count_and_those_of_former_days_make_room() {
    use crate::base::limits::WARM_UP_RATIONS_MAX;
    let roster = roster_of("2026-11-28", &[1, 1], None);
    let ledger = ledger(&roster, at(0));
    let ration = |number: usize| ledger.ration(&roster, "new", &format!("host{number}.example"));
    for number in 0..WARM_UP_RATIONS_MAX {
        let sent = send(&ration(number).expect("it is planned"), 2, at(0));
        assert_eq!(sent, 1);
    }
    let beyond = ration(WARM_UP_RATIONS_MAX).expect("it is planned");
    assert_eq!(send(&beyond, 2, at(0)), 1);
    assert_eq!(send(&ration(WARM_UP_RATIONS_MAX + 1).expect("it is planned"), 2, at(0)), 0);
    ledger.look(at(DAY_S), &roster);
    for number in 0..2 {
        let one = ration(WARM_UP_RATIONS_MAX + 10 + number).expect("it is planned");
        assert_eq!(send(&one, 2, at(DAY_S)), 1);
    }
    assert_eq!(ledger.status(&roster, None)[0].providers.len(), 3);
}

#[test]
fn the_plan_that_is_shipped_grows_by_two_fifths_a_day() {
    let plan = Plan::shipped();
    assert_eq!((plan.length(), plan.days("gmail")[0]), (24, 50));
    for pair in plan.usual.windows(2).take(22) {
        let growth = f64::from(pair[1]) / f64::from(pair[0]);
        assert!((1.33..1.45).contains(&growth), "{pair:?}");
    }
}
