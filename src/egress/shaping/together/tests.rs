//! Sites of a provider that share what it takes.

use std::time::Duration;

use super::*;
use crate::base::prng::Prng;

const MS: u64 = 1_000_000;

fn at(ms: u64) -> Monotonic {
    Monotonic(1_000_000 * MS + ms * MS)
}

fn said(connections: Option<u32>, a_second: Option<u32>) -> OfProvider {
    let rate = a_second.map(|messages| Rate { messages, per: Duration::from_secs(1) });
    OfProvider { provider: "big".into(), connections, rate }
}

fn members(count: usize, said: &OfProvider) -> Vec<Member> {
    let all = AllTogether::default();
    (0..count).map(|_| all.join(said, "out1", at(0))).collect()
}

#[test]
fn what_sites_have_together_is_never_above_and_each_that_asks_has_some() {
    for seed in 0..10 {
        let mut prng = Prng::from_number(seed);
        let limit = 1 + u32::try_from(prng.below(6)).expect("small");
        let sites = members(12, &said(Some(limit), None));
        let (mut held, mut served) = ([0_u32; 12], [0_u32; 12]);
        for step in 0..20_000 {
            // Each always wants more.
            let site = usize::try_from(prng.below(12)).expect("small");
            if held[site] > 0 && sites[site].makes_room(step % 20) {
                sites[site].release();
                held[site] -= 1;
            } else if sites[site].take() {
                held[site] += 1;
                served[site] += 1;
            }
            let open: u32 = held.iter().sum();
            assert!(open <= limit && open == sites[0].all.connections(), "seed {seed}: {held:?}");
        }
        let (least, most) = (served.iter().min(), served.iter().max());
        assert!(least >= Some(&20) && most <= Some(&(4 * least.unwrap())), "{seed}: {served:?}");
    }
}

/// What each site sends within 20 seconds if it always has something to send; asked in their order.
fn sent(sites: &[Member]) -> Vec<u64> {
    let mut next = vec![at(0); sites.len()];
    let mut sent = vec![0; sites.len()];
    while let Some(now) = next.iter().min().copied().filter(|now| *now < at(20_000)) {
        for (place, site) in sites.iter().enumerate() {
            while next[place] <= now {
                match site.try_message(now) {
                    Ok(()) => sent[place] += 1,
                    Err((_, later)) => next[place] = later,
                }
            }
        }
    }
    sent
}

#[test]
fn sites_that_ask_at_the_same_moments_send_in_turn_however_many_there_are() {
    for (count, a_second) in [(2, 20), (7, 50), (64, 100), (150, 300)] {
        let sent = sent(&members(count, &said(None, Some(a_second))));
        let (all, wanted) = (sent.iter().sum::<u64>(), 20 * u64::from(a_second));
        assert!((wanted * 95 / 100..=wanted + 21).contains(&all), "{count}: {all} of {wanted}");
        let mean = all / sent.len() as u64;
        assert!(sent.iter().all(|sent| *sent >= mean / 3), "{count} sites: {sent:?}");
    }
}

#[test]
fn sources_and_providers_are_apart_and_the_idle_are_forgotten() {
    let (all, one) = (AllTogether::default(), said(Some(1), Some(1)));
    let here = all.join(&one, "out1", at(0));
    let other = OfProvider { provider: "small".into(), ..one.clone() };
    for beside in [all.join(&one, "out2", at(0)), all.join(&other, "out1", at(0))] {
        assert!(here.take() && beside.take(), "each has its own");
        here.release();
    }
    let again = all.join(&one, "out1", at(0));
    assert!(here.take() && !again.take() && again.is_full() && !again.is_above());
    assert!(here.is_wanted() && !again.is_wanted() && !here.makes_room(15) && here.makes_room(16));
    again.stop_waiting();
    assert!(!here.is_wanted());
    again.adopt();
    assert!(here.is_above(), "it was open before");
    assert!(here.try_message(at(0)).is_ok() && !again.would_send(at(1)));
    drop((here, again));
    for number in 0..10 * TOGETHER_SWEEP_LEAST {
        all.join(&one, &number.to_string(), at(1));
    }
    let known = |source: &str| all.find(&one.provider, source).is_some();
    assert!(known("out1"), "its second is not over");
    assert!(!known("0") && known(&(10 * TOGETHER_SWEEP_LEAST - 1).to_string()));
    assert!(all.0.lock().expect("whole").by_name.len() <= 2 * TOGETHER_SWEEP_LEAST);
}

#[test]
fn with_more_sites_than_numbers_none_waits_for_ever_beside_those_that_have_all() {
    let sites = members(200, &said(Some(10), None));
    let (mut held, mut served) = (vec![0_u32; 200], vec![0_u32; 200]);
    for step in 0..4_000 {
        // The same ones are always the first to ask.
        for site in 0..200 {
            if held[site] > 0 && sites[site].makes_room(step) {
                sites[site].release();
                held[site] -= 1;
            } else if sites[site].take() {
                held[site] += 1;
                served[site] += 1;
            }
        }
        assert!(held.iter().sum::<u32>() <= 10);
    }
    assert!(served.iter().all(|served| *served > 0), "{served:?}");
}
