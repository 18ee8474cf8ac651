//! A pace that shards keep together, by asking at the very same moments.

use super::*;

const MS: u64 = 1_000_000;

fn at(ms: u64) -> Monotonic {
    Monotonic(1_000_000 * MS + ms * MS)
}

fn a_second(messages: u32) -> Rate {
    Rate { messages, per: Duration::from_secs(1) }
}

/// What each of `shards` sends within `seconds` if it always has something to send, and asks at
/// once when it may, the lowest first.
fn sent(shards: u8, rate: Rate, seconds: u64) -> Vec<u64> {
    let cell = Cell::default();
    let mut next = vec![at(0); usize::from(shards)];
    let mut sent = vec![0; usize::from(shards)];
    while let Some(now) = next.iter().min().copied().filter(|now| *now < at(seconds * 1_000)) {
        for shard in 0..shards {
            let place = usize::from(shard);
            while next[place] <= now {
                match cell.try_message(ShardId(shard), rate, now) {
                    Ok(()) => sent[place] += 1,
                    Err(later) => {
                        assert!(later > now, "it would ask for ever");
                        next[place] = later;
                    }
                }
            }
        }
    }
    sent
}

#[test]
fn shards_that_ask_at_the_same_moments_send_in_turn() {
    for (shards, messages) in [(2, 20), (2, 1), (3, 7), (8, 40), (64, 13)] {
        let sent = sent(shards, a_second(messages), 600);
        let (least, most) = (sent.iter().min().unwrap(), sent.iter().max().unwrap());
        assert!(most - least <= 2, "{shards} shards at {messages}/s: {sent:?}");
        assert!(sent.iter().sum::<u64>() >= 600 * u64::from(messages) - 1, "{sent:?}");
    }
}

#[test]
fn nothing_of_a_fast_rate_is_lost_by_turns() {
    for (shards, messages) in [(2, 50), (3, 400), (16, 1_000), (64, 20_000)] {
        let sent = sent(shards, a_second(messages), 60);
        let (all, wanted) = (sent.iter().sum::<u64>(), 60 * u64::from(messages));
        let burst = u64::from(messages) / 20 + 1;
        assert!((wanted..=wanted + burst).contains(&all), "{shards} at {messages}/s: {all}");
        let mean = all / u64::from(shards);
        let share = mean / 2..=mean * 2;
        assert!(sent.iter().all(|sent| share.contains(sent)), "{shards} at {messages}/s: {sent:?}");
    }
}

#[test]
fn who_does_not_come_is_waited_for_once() {
    let (cell, rate) = (Cell::default(), a_second(1));
    let ask = |shard, ms| cell.try_message(ShardId(shard), rate, at(ms));
    assert_eq!(ask(0, 0), Ok(()));
    assert_eq!(ask(1, 10), Err(at(1_000)), "and never asks again");
    assert_eq!(ask(0, 20), Err(at(1_020)), "it is the other's turn");
    assert_eq!(ask(0, 1_000), Err(at(1_020)));
    assert_eq!(ask(0, 1_020), Ok(()));
    assert_eq!(ask(0, 2_020), Ok(()), "nobody waits any more");
    // The other may come back, and then has its turn.
    assert_eq!(ask(1, 2_500), Err(at(3_020)));
    assert_eq!(ask(0, 3_019), Err(at(3_040)));
    assert_eq!(ask(1, 3_020), Ok(()));
    assert_eq!(ask(0, 3_040), Err(at(4_020)));
    assert_eq!(ask(0, 4_020), Ok(()));
}

#[test]
fn a_pace_is_kept_whoever_asks_when() {
    let (cell, rate) = (Cell::default(), a_second(100));
    let mut prng = crate::base::prng::Prng::from_number(7);
    let (mut now, mut sent) = (0, Vec::new());
    for _ in 0..20_000 {
        now += prng.below(7);
        let shard = ShardId(u8::try_from(prng.below(5)).unwrap());
        if cell.try_message(shard, rate, at(now)).is_ok() {
            sent.push(now);
        }
    }
    let burst = 6;
    for (place, from) in sent.iter().enumerate() {
        let within = sent[place..].iter().take_while(|at| **at <= from + 1_000).count();
        assert!(within <= 100 + burst, "{within} in the second from {from} ms");
    }
    assert!(sent.len() as u64 > now / 10 * 9 / 10, "{} in {now} ms", sent.len());
}

const RATE: Rate = Rate { messages: 2, per: Duration::from_secs(1) };

#[test]
fn what_is_given_back_may_be_taken_again() {
    let (cell, here) = (Cell::default(), ShardId(0));
    assert_eq!(cell.try_message(here, RATE, Monotonic(0)), Ok(()));
    assert_eq!(cell.try_message(here, RATE, Monotonic(0)), Err(Monotonic(500_000_000)));
    assert!(!cell.is_idle(Monotonic(499_999_999)) && cell.is_idle(Monotonic(500_000_000)));
    cell.give_back(RATE);
    assert_eq!(cell.try_message(here, RATE, Monotonic(1)), Ok(()));
    assert!(cell.try_message(here, RATE, Monotonic(2)).is_err());
}

#[test]
fn rates_are_shown_as_they_are_written() {
    let show = |per| Rate { messages: 10, per: Duration::from_secs(per) }.to_string();
    assert_eq!([1, 60, 3_600, 7].map(show), ["10/s", "10/m", "10/h", "10 in 7 s"]);
}
