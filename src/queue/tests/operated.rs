//! What operators see and do: verbs, selectors, pages, figures.

use super::*;

fn operate(bench: &mut Bench, verb: Verb, selector: &Selector) -> (usize, usize) {
    let said = bench.queue.operate(verb, selector, Place::default());
    assert_eq!(said.next, None);
    (said.touched.len(), said.pending)
}

/// Go on until all is done; how many were touched, and in how many calls.
fn operate_all(bench: &mut Bench, verb: Verb, selector: &Selector) -> (usize, usize) {
    let (mut place, mut touched, mut calls) = (Some(Place::default()), 0, 0);
    while let Some(from) = place {
        let said = bench.queue.operate(verb, selector, from);
        (place, calls) = (said.next, calls + 1);
        touched += said.touched.len();
    }
    (touched, calls)
}

#[test]
fn flush_tries_what_is_deferred_and_nothing_else() {
    let mut bench = Bench::new();
    let late = RecipientState { due: START + SECOND * 900, attempts: 2, ..Default::default() };
    let held = RecipientState { held: true, ..Default::default() };
    let message = bench.insert_as("a.example", 2, late);
    bench.insert_as("b.example", 1, late);
    bench.insert_as("a.example", 1, held);
    bench.insert("a.example", 1);
    assert_eq!(operate(&mut bench, Verb::Flush, &by_domain("a.example")), (2, 0));
    assert_eq!(bench.counts(), [3, 0, 0, 1, 1]);
    let view = bench.queue.recipient(message, 0).expect("queued");
    assert_eq!((view.state, view.attempts), (State::Ready, 2));
    assert_eq!(operate(&mut bench, Verb::Flush, &by_domain("none.example")), (0, 0));
}

#[test]
fn what_is_held_waits_until_it_is_released() {
    let mut bench = Bench::new();
    let late = RecipientState { due: START + SECOND, ..Default::default() };
    bench.insert_as("a.example", 1, late);
    let message = bench.insert("a.example", 2);
    assert_eq!(operate(&mut bench, Verb::Hold, &by_id(2)), (2, 0));
    assert_eq!(operate(&mut bench, Verb::Hold, &by_id(1)), (1, 0));
    assert_eq!(operate(&mut bench, Verb::Hold, &all()), (0, 0), "already");
    bench.pass(SECOND * 60);
    assert_eq!((bench.queue.pop_ready(), bench.counts()), (None, [0, 0, 0, 0, 3]));
    assert_eq!(operate(&mut bench, Verb::Release, &by_id(2)), (2, 0));
    assert_eq!(bench.pop().message, message);
}

#[test]
fn what_an_owner_has_is_held_or_gone_when_it_comes_back() {
    let mut bench = Bench::new();
    let message = bench.insert("a.example", 4);
    let departure = bench.pop();
    assert_eq!(operate(&mut bench, Verb::Hold, &all()), (4, 4));
    assert_eq!(bench.queue.defer(message, 0, 1, bench.now, None), Some(Deferral::Held));
    assert_eq!(operate(&mut bench, Verb::Release, &all()), (4, 3));
    assert_eq!(operate(&mut bench, Verb::Remove, &all()), (1, 3));
    assert_eq!(bench.queue.defer(message, 1, 1, bench.now, None), Some(Deferral::Removed));
    let left = Departure { recipients: Recipients::Many([2, 3].into()), ..departure };
    let over = bench.queue.park(&left, None);
    assert_eq!(over, [(3, Deferral::Removed), (2, Deferral::Removed)]);
    let said = bench.queue.finish(message, 2);
    assert_eq!(said, Some(Finished::Left(3)), "and may have been delivered all the same");
}

#[test]
fn what_is_removed_is_the_shards_to_finish() {
    let mut bench = Bench::new();
    let held = RecipientState { held: true, ..Default::default() };
    let late = RecipientState { due: START + SECOND, ..Default::default() };
    let slots = [
        bench.insert("a.example", 1),
        bench.insert_as("a.example", 1, held),
        bench.insert_as("a.example", 1, late),
    ];
    let said = bench.queue.operate(Verb::Remove, &by_domain("a.example"), Place::default());
    let mut touched = said.touched;
    touched.sort_unstable();
    assert_eq!((touched, said.pending), (slots.map(|slot| (slot, 0)).to_vec(), 0));
    assert_eq!((bench.queue.pop_ready(), bench.counts()), (None, [0, 0, 3, 0, 0]));
    for slot in slots {
        bench.queue.finish(slot, 0).expect("it is with the shard");
    }
    assert_eq!(bench.queue.stats().messages, 0);
}

#[test]
fn removing_from_the_middle_of_a_run_leaves_the_others_in_order() {
    let mut bench = Bench::new();
    let [a, b] = [domain("a.example"), domain("b.example")];
    for id in 1..=3 {
        let rows = (0..6u16).map(|n| (n, if n < 4 { &a } else { &b }, RecipientState::default()));
        bench.queue.insert(message(id, START), rows, START).expect("new");
    }
    operate(&mut bench, Verb::Hold, &by_id(2));
    operate(&mut bench, Verb::Hold, &by_domain("b.example"));
    let runs = bench.pop_all();
    let order: Vec<u64> = runs.iter().map(|run| bench.number(run)).collect();
    assert_eq!(order, [1, 3]);
    assert!(runs.iter().all(|run| run.recipients.as_slice() == [0, 1, 2, 3]));
}

#[test]
fn verbs_go_in_parts_over_a_queue_of_any_length() {
    let many = OPERATED_BATCH_MAX * 2 + 10;
    for selector in [by_domain("a.example"), all(), by_reverse_path(1)] {
        let mut bench = Bench::new();
        bench.insert_many(many, "a.example", 1);
        let chosen = if selector == by_reverse_path(1) { many / 2 } else { many };
        for (verb, held) in [(Verb::Hold, chosen), (Verb::Release, 0)] {
            let (touched, calls) = operate_all(&mut bench, verb, &selector);
            assert_eq!((touched, bench.counts()[4]), (chosen, held as u64), "{selector:?}");
            assert!(calls > 1 || chosen < OPERATED_BATCH_MAX * 2, "{calls}");
        }
    }
}

#[test]
fn pages_show_every_message_once() {
    let mut bench = Bench::new();
    bench.insert_many(50, "a.example", 2);
    bench.insert_many(50, "b.example", 1);
    for (selector, count) in [
        (all(), 100),
        (by_domain("a.example"), 50),
        (by_reverse_path(0), 50),
        (by_id(7), 1),
        (Selector { reverse_path: Some(1), ..by_domain("b.example") }, 25),
        (Selector { domain: Some(domain("b.example")), ..by_id(7) }, 0),
        (by_id(700), 0),
        (by_domain("none.example"), 0),
    ] {
        let (mut place, mut seen) = (Some(Place::default()), Vec::new());
        while let Some(from) = place.map(|place| Place::from_bits(place.to_bits())) {
            let (page, next) = bench.queue.list(&selector, from, 7);
            let recipients = |view: &MessageView| view.recipients.len();
            assert!(page.iter().rev().skip(1).map(recipients).sum::<usize>() < 7);
            seen.extend(page.iter().map(|view| view.message.id.0));
            place = next;
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count, "{selector:?}");
    }
}

#[test]
fn pages_of_a_domain_show_every_recipient_once() {
    let mut bench = Bench::new();
    let [a, b] = [domain("a.example"), domain("b.example")];
    for id in 1..=10 {
        let rows = (0..5u16).map(|n| (n, if n < 4 { &a } else { &b }, RecipientState::default()));
        bench.queue.insert(message(id, START), rows, START).expect("new");
    }
    bench.pop();
    let (mut seen, mut place) = (Vec::new(), Some(Place::default()));
    while let Some(from) = place {
        let (page, next) = bench.queue.list(&by_domain("a.example"), from, 3);
        for view in page {
            seen.extend(view.recipients.iter().map(|row| (view.message.id.0, row.index)));
        }
        place = next;
    }
    seen.sort_unstable();
    let all: Vec<(u64, u16)> = (1..=10).flat_map(|id| (0..4).map(move |n| (id, n))).collect();
    assert_eq!(seen, all);
}

#[test]
fn the_largest_domains_are_found_among_many_small_ones() {
    let mut bench = Bench::new();
    for number in 0..TOP_DOMAINS_LOOKED_MAX + 100 {
        bench.insert(&format!("small{number}.example"), 1);
    }
    for recipients in [3, 900, 40] {
        bench.insert(&format!("d{recipients}.example"), recipients);
    }
    let top = |bench: &Bench, count| -> Vec<u32> {
        bench.queue.top_domains(count).iter().map(|row| row.ready + row.dispatched).collect()
    };
    assert_eq!(top(&bench, 4), [900, 40, 3, 1]);
    assert_eq!(top(&bench, 2_000).len(), 2_000);
    let large: Vec<Departure> = bench.pop_all();
    let large = large.iter().filter(|departure| departure.recipients.as_slice().len() > 10);
    large.for_each(|departure| bench.finish(departure));
    assert_eq!(top(&bench, 2), [3, 1]);
}

#[test]
fn a_place_that_nobody_gave_out_is_the_beginning_or_the_end() {
    let mut bench = Bench::new();
    bench.insert("a.example", 1);
    for bits in [u64::MAX, u64::from(u32::MAX), 1 << 40, 77] {
        for selector in [all(), by_domain("a.example")] {
            let (page, next) = bench.queue.list(&selector, Place::from_bits(bits), 10);
            assert!(page.len() <= 1 && next.is_none(), "{bits}");
        }
        let said = bench.queue.operate(Verb::Hold, &all(), Place::from_bits(bits));
        assert_eq!(said.next, None);
    }
}

#[test]
fn figures_follow_what_happens() {
    let mut bench = Bench::new();
    bench.insert("a.example", 3);
    bench.now = bench.now + SECOND;
    bench.insert("b.example", 1);
    let stats = bench.queue.stats();
    assert_eq!((stats.messages, stats.domains, stats.content_bytes), (2, 2, 20_000));
    assert_eq!(stats.oldest, Some(START));
    let a = bench.pop();
    assert_eq!(bench.queue.dispatched(a.domain), 3);
    bench.queue.defer(a.message, 2, 1, bench.now + SECOND, None);
    bench.queue.finish(a.message, 1);
    let top = bench.queue.top_domains(1);
    assert_eq!(top.len(), 1);
    assert_eq!((top[0].domain.as_str(), top[0].dispatched, top[0].deferred), ("a.example", 1, 1));
    assert_eq!(bench.queue.top_domains(9).len(), 2);
    bench.queue.finish(a.message, 0);
    bench.pass(SECOND);
    let last = bench.pop_all();
    last.iter().for_each(|departure| bench.finish(departure));
    assert_eq!((bench.queue.stats().messages, bench.queue.stats().oldest), (0, None));
}

#[test]
fn what_the_spool_moved_is_found_at_its_new_place() {
    let mut bench = Bench::new();
    let slot = bench.insert("a.example", 2);
    let record = RecordAt { log: 3, segment: 9, offset: 128 };
    let reasons = [(1, record)].into_iter();
    bench.queue.relocate(MessageId(1), EnvelopeAt { record, bytes: 299 }, reasons);
    assert_eq!(bench.queue.message(slot).expect("queued").envelope.record, record);
    let reasons = [0, 1].map(|index| bench.queue.recipient(slot, index).expect("queued").reason_at);
    assert_eq!(reasons, [None, Some(record)]);
    bench.queue.note(MessageId(2), 0, record);
    bench.queue.note(MessageId(1), 9, record);
    bench.queue.relocate(MessageId(2), EnvelopeAt { record, bytes: 1 }, std::iter::empty());
}

/// However much of the domain is in line or held already, a verb looks at the rest once.
#[test]
fn a_large_domain_is_gone_through_once() {
    let mut bench = Bench::new();
    let late = RecipientState { due: START + SECOND * 60, ..Default::default() };
    let held = RecipientState { held: true, ..Default::default() };
    let batch = u64::try_from(OPERATED_BATCH_MAX).expect("a batch is small");
    for state in [late, RecipientState::default(), held] {
        for _ in 0..batch + 100 {
            bench.insert_as("a.example", 1, state);
        }
    }
    for (verb, touched) in [(Verb::Flush, 1), (Verb::Hold, 2), (Verb::Release, 3)] {
        let (mut from, mut count, mut calls) = (Place::default(), 0, 0);
        loop {
            let said = bench.queue.operate(verb, &by_domain("a.example"), from);
            (count, calls) = (count + said.touched.len() as u64, calls + 1);
            match said.next {
                Some(next) => from = next,
                None => break,
            }
        }
        assert_eq!(count, touched * (batch + 100), "{verb:?}");
        assert!(calls <= 8, "{verb:?} took {calls} calls");
    }
}
