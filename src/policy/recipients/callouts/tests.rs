//! What is known, in every order of asking, answering and waiting too long.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::*;
use crate::base::prng::Prng;
use crate::mail::status::ReplyCode;

const START: Monotonic = Monotonic(1_000_000_000_000);

fn mailbox(text: &str) -> Mailbox {
    Mailbox::parse(text, true).unwrap()
}

fn unknown() -> Finding {
    Finding::Unknown(refused(EnhancedStatus::new(5, 1, 1), "nobody"))
}

fn found(finding: Finding) -> Standing {
    Standing::Found(finding)
}

/// Everyone who was told.
fn told(callouts: &mut Callouts<u32>) -> Vec<(u32, Finding)> {
    std::iter::from_fn(|| callouts.poll_found()).collect()
}

/// One recipient, asked about and answered.
fn settled(finding: Finding) -> (Callouts<u32>, Mailbox) {
    let (mut callouts, user) = (Callouts::default(), mailbox("user@corp.example"));
    assert_eq!(callouts.look_up(&user, 1, START), Standing::Waits);
    assert_eq!(callouts.poll_ask(), Some(user.clone()));
    callouts.answered(&user, finding.clone(), START);
    assert_eq!(told(&mut callouts), [(1, finding)]);
    (callouts, user)
}

#[test]
fn who_is_asked_about_is_asked_about_once_however_many_wait() {
    let mut callouts = Callouts::default();
    let (user, other) = (mailbox("user@corp.example"), mailbox("other@corp.example"));
    // Domains are the same in any case, local parts are not.
    for (number, to) in [(1, &user), (2, &other), (3, &mailbox("user@CORP.example")), (4, &user)] {
        assert_eq!(callouts.look_up(to, number, START), Standing::Waits);
    }
    assert_eq!(callouts.look_up(&mailbox("User@corp.example"), 5, START), Standing::Waits);
    let asked: Vec<_> = std::iter::from_fn(|| callouts.poll_ask()).collect();
    assert_eq!(asked, [user.clone(), other.clone(), mailbox("User@corp.example")]);
    callouts.answered(&other, unknown(), START);
    callouts.answered(&user, Finding::Known, START);
    let expected = [(2, unknown()), (1, Finding::Known), (3, Finding::Known), (4, Finding::Known)];
    assert_eq!(told(&mut callouts), expected);
    assert_eq!(callouts.look_up(&user, 6, START), found(Finding::Known));
    assert_eq!(callouts.look_up(&other, 7, START), found(unknown()));
    assert_eq!((callouts.poll_ask(), callouts.remembered()), (None, 2));
}

#[test]
fn each_answer_holds_for_its_time() {
    for (finding, holds_for) in
        [(unknown(), CALLOUT_UNKNOWN_FOR), (Finding::Unsure, CALLOUT_UNSURE_FOR)]
    {
        let (mut callouts, user) = settled(finding.clone());
        let just_before = START + (holds_for - Duration::from_nanos(1));
        assert_eq!(callouts.look_up(&user, 2, just_before), found(finding.clone()));
        assert_eq!(callouts.poll_ask(), None);
        assert_eq!(callouts.look_up(&user, 3, START + holds_for), Standing::Waits);
        assert_eq!(callouts.poll_ask(), Some(user));
    }
}

#[test]
fn who_was_known_is_taken_while_it_is_asked_about_again() {
    let (mut callouts, user) = settled(Finding::Known);
    let stale = START + CALLOUT_FRESH_FOR;
    for _ in 0..3 {
        assert_eq!(callouts.look_up(&user, 2, stale), found(Finding::Known));
    }
    assert_eq!((callouts.poll_ask(), callouts.poll_ask()), (Some(user.clone()), None));
    callouts.answered(&user, Finding::Known, stale);
    let next = stale + CALLOUT_FRESH_FOR;
    assert_eq!(callouts.look_up(&user, 2, Monotonic(next.0 - 1)), found(Finding::Known));
    assert_eq!(callouts.poll_ask(), None, "fresh again");
    assert_eq!(callouts.look_up(&user, 2, next), found(Finding::Known));
    assert_eq!(callouts.poll_ask(), Some(user.clone()));
    callouts.answered(&user, unknown(), next);
    assert_eq!(callouts.look_up(&user, 2, next), found(unknown()), "it has left");
    assert_eq!(told(&mut callouts), []);
}

#[test]
fn who_was_known_stays_so_for_long_while_nobody_answers() {
    let (mut callouts, user) = settled(Finding::Known);
    let mut now = START + CALLOUT_FRESH_FOR;
    let mut asked = 0;
    while now < START + CALLOUT_KNOWN_FOR {
        assert_eq!(callouts.look_up(&user, 2, now), found(Finding::Known));
        if let Some(recipient) = callouts.poll_ask() {
            asked += 1;
            callouts.answered(&recipient, Finding::Unsure, now);
        }
        now = now + Duration::from_secs(20);
    }
    let minutes = (CALLOUT_KNOWN_FOR - CALLOUT_FRESH_FOR).as_secs() / 60;
    assert_eq!(asked, minutes, "once a minute");
    assert_eq!(callouts.look_up(&user, 3, now), Standing::Waits);
}

#[test]
fn nobody_waits_for_longer_than_they_are_to_and_a_late_answer_counts() {
    let mut callouts = Callouts::default();
    let (user, other) = (mailbox("user@corp.example"), mailbox("other@corp.example"));
    assert_eq!(callouts.deadline(), None);
    assert_eq!(callouts.look_up(&user, 1, START), Standing::Waits);
    let later = START + Duration::from_secs(4);
    assert_eq!(callouts.look_up(&other, 2, later), Standing::Waits);
    assert_eq!(callouts.look_up(&user, 3, later), Standing::Waits, "by the first one's time");
    let due = START + CALLOUT_PATIENCE;
    assert_eq!(callouts.deadline(), Some(due));
    callouts.handle_deadline(Monotonic(due.0 - 1));
    assert_eq!(told(&mut callouts), []);
    callouts.handle_deadline(due);
    assert_eq!(told(&mut callouts), [(1, Finding::Unsure), (3, Finding::Unsure)]);
    assert!(!callouts.is_wanted(&user) && callouts.is_wanted(&other));
    assert_eq!(callouts.deadline(), Some(later + CALLOUT_PATIENCE));
    assert_eq!(callouts.look_up(&user, 4, due), found(Finding::Unsure));
    // Not asked about twice at a time, however long that takes.
    let long_after = due + CALLOUT_UNSURE_FOR;
    callouts.handle_deadline(long_after);
    assert_eq!(told(&mut callouts), [(2, Finding::Unsure)]);
    assert_eq!(callouts.look_up(&user, 5, long_after), found(Finding::Unsure));
    callouts.answered(&user, unknown(), long_after);
    assert_eq!(callouts.look_up(&user, 6, long_after), found(unknown()));
    callouts.answered(&other, Finding::Unsure, long_after);
    let again = long_after + CALLOUT_UNSURE_FOR;
    assert_eq!(callouts.look_up(&other, 7, again), Standing::Waits);
}

#[test]
fn those_who_are_asked_about_are_so_many_at_most() {
    let mut callouts: Callouts<usize> = Callouts::default();
    let user = |number: usize| mailbox(&format!("user{number}@corp.example"));
    for number in 0..CALLOUTS_MAX {
        assert_eq!(callouts.look_up(&user(number), number, START), Standing::Waits);
    }
    assert_eq!(callouts.look_up(&user(CALLOUTS_MAX), 0, START), Standing::Busy);
    assert_eq!(callouts.look_up(&user(7), 0, START), Standing::Waits, "it joins");
    // Those that are late are being asked about still.
    callouts.handle_deadline(START + CALLOUT_PATIENCE);
    let later = START + CALLOUT_PATIENCE;
    assert_eq!(callouts.look_up(&user(CALLOUTS_MAX), 0, later), Standing::Busy);
    callouts.answered(&user(7), Finding::Known, later);
    assert_eq!(callouts.look_up(&user(CALLOUTS_MAX), 0, later), Standing::Waits);
    let asked = std::iter::from_fn(|| callouts.poll_ask()).count();
    assert_eq!(asked, CALLOUTS_MAX + 1);
}

#[test]
fn memory_is_bounded_and_guesses_push_out_nobody_who_is_known() {
    let (mut callouts, known) = settled(Finding::Known);
    let mut answer = |prefix: &str, count: usize, finding: &Finding| {
        for number in 0..count {
            let recipient = mailbox(&format!("{prefix}{number}@corp.example"));
            assert_eq!(callouts.look_up(&recipient, 0, START), Standing::Waits);
            callouts.answered(&recipient, finding.clone(), START);
            callouts.poll_ask();
        }
        told(&mut callouts);
        let tables = (callouts.known.len(), callouts.unknown.len(), callouts.unsure.len());
        let is_known = callouts.look_up(&known, 0, START) == found(Finding::Known);
        (tables, is_known)
    };
    let (most_unknown, most_unsure) = (CALLOUT_UNKNOWN_MAX, CALLOUT_UNSURE_MAX);
    let guessed = answer("guess", CALLOUT_UNKNOWN_MAX + 100, &unknown());
    assert_eq!(guessed, ((1, most_unknown, 0), true));
    let unsure = answer("unsure", CALLOUT_UNSURE_MAX + 100, &Finding::Unsure);
    assert_eq!(unsure, ((1, most_unknown, most_unsure), true));
    let more = answer("known", CALLOUT_KNOWN_MAX + 100, &Finding::Known);
    assert_eq!(more.0, (CALLOUT_KNOWN_MAX, most_unknown, most_unsure));
    assert!(!more.1, "the one that nobody had named for longest");
}

#[test]
fn another_configuration_asks_anew_and_keeps_who_is_known() {
    let (mut callouts, known) = settled(Finding::Known);
    let (gone, waits, late) =
        (mailbox("gone@a.example"), mailbox("waits@a.example"), mailbox("late@a.example"));
    callouts.look_up(&gone, 2, START);
    callouts.answered(&gone, unknown(), START);
    callouts.look_up(&late, 3, START);
    let later = START + CALLOUT_PATIENCE;
    callouts.handle_deadline(later);
    callouts.look_up(&waits, 4, later);
    while callouts.poll_ask().is_some() {}
    told(&mut callouts);

    callouts.restart();
    assert_eq!((callouts.poll_ask(), callouts.poll_ask()), (Some(waits.clone()), None));
    assert_eq!(callouts.look_up(&known, 5, later), found(Finding::Known));
    assert_eq!(callouts.look_up(&gone, 6, later), Standing::Waits);
    assert_eq!(callouts.look_up(&late, 7, later), Standing::Waits);
    callouts.answered(&waits, Finding::Known, later);
    assert_eq!(told(&mut callouts), [(4, Finding::Known)]);
}

/// By chance: everyone who waits is told once, in time, and nobody is asked about twice at a time.
#[test]
fn in_any_order_everyone_who_waits_is_told_once_and_in_time() {
    for seed in 0..64 {
        let mut prng = Prng::from_number(seed);
        let mut callouts: Callouts<u32> = Callouts::default();
        let (mut now, mut next) = (START, 0);
        let mut waiting: HashMap<u32, Monotonic> = HashMap::new();
        let mut asked: HashSet<Mailbox> = HashSet::new();
        for _ in 0..2_000 {
            let user = mailbox(&format!("user{}@corp.example", prng.next_u64() % 12));
            match prng.next_u64() % 8 {
                0..4 => {
                    next += 1;
                    if callouts.look_up(&user, next, now) == Standing::Waits {
                        waiting.insert(next, now + CALLOUT_PATIENCE);
                    }
                }
                4 => now = now + Duration::from_millis(prng.next_u64() % 20_000),
                _ => {
                    if let Some(one) = asked.iter().next().cloned() {
                        asked.remove(&one);
                        let finding = match prng.next_u64() % 3 {
                            0 => Finding::Known,
                            1 => unknown(),
                            _ => Finding::Unsure,
                        };
                        callouts.answered(&one, finding, now);
                    }
                }
            }
            callouts.handle_deadline(now);
            while let Some(one) = callouts.poll_ask() {
                assert!(asked.insert(one.clone()), "seed {seed}: {one} is asked about already");
            }
            while let Some((waiter, _)) = callouts.poll_found() {
                assert!(waiting.remove(&waiter).is_some(), "seed {seed}: {waiter} did not wait");
            }
            assert!(waiting.values().all(|due| *due > now), "seed {seed}: someone waits for long");
        }
        for one in asked {
            callouts.answered(&one, Finding::Known, now);
        }
        while let Some((waiter, _)) = callouts.poll_found() {
            waiting.remove(&waiter);
        }
        assert!(waiting.is_empty() && callouts.deadline().is_none(), "seed {seed}");
    }
}

#[test]
fn a_client_is_told_what_the_server_said_in_one_safe_line() {
    let none = EnhancedStatus::new(2, 1, 5);
    for (status, words, expected) in [
        ("5.1.1".parse().unwrap(), "gone", "550 5.1.1 The server behind says: gone"),
        ("5.2.1".parse().unwrap(), "off", "550 5.2.1 The server behind says: off"),
        (none, "", "550 5.1.1 No such recipient at the server behind"),
        (none, " \r\n", "550 5.1.1 No such recipient at the server behind"),
        (none, "one\ntwo\r\n250 é ok\u{7f}", "550 5.1.1 The server behind says: one two  250   ok"),
    ] {
        assert_eq!(refused(status, words).to_string(), expected);
    }
    let lacks = unfit("5.6.7".parse().unwrap(), "does not offer SMTPUTF8").to_string();
    assert_eq!(lacks, "550 5.6.7 The server behind does not offer SMTPUTF8");
    let long = refused(none, &"x".repeat(5_000));
    assert_eq!(long.text.len(), "The server behind says: ".len() + CALLOUT_WORDS_MAX);
    let codes = [deferred(), busy(), refused(none, "")].map(|reply| reply.code);
    assert_eq!(codes, [451, 451, 550].map(ReplyCode::known));
}
