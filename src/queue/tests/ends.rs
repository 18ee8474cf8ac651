//! How recipients end: final, expired, postponed; and the delay report before that.

use std::sync::Arc;

use super::*;
use crate::mail::campaigns::CampaignPattern;
use crate::mail::handling::{By, CampaignName, Handling, Late};

fn expired(message: Slot, recipients: &[u16]) -> Due {
    let recipients = match recipients {
        [one] => Recipients::One(*one),
        many => Recipients::Many(many.into()),
    };
    Due::Expired { message, recipients }
}

#[test]
fn the_last_recipient_takes_its_message_along() {
    let mut bench = Bench::new();
    let message = bench.insert("a.example", 3);
    bench.pop();
    assert_eq!(bench.queue.finish(message, 1), Some(Finished::Left(2)));
    assert_eq!(bench.queue.finish(message, 1), None, "once");
    assert_eq!(bench.queue.finish(message, 2), Some(Finished::Left(1)));
    let Some(Finished::Done { id, envelope }) = bench.queue.finish(message, 0) else {
        panic!("it was the last");
    };
    assert_eq!((id, envelope.bytes), (MessageId(1), 300));
    assert_eq!((bench.queue.message(message), bench.queue.show(id)), (None, None));
    assert_eq!(bench.queue.find_domain(&domain("a.example")), None);
    assert_eq!(bench.queue.next_due(), None);
}

#[test]
fn a_slot_that_is_used_again_is_another_message() {
    let mut bench = Bench::new();
    let first = bench.insert("a.example", 1);
    let departure = bench.pop();
    bench.finish(&departure);
    let second = bench.insert("a.example", 1);
    assert_eq!((first.index(), bench.queue.message(first)), (second.index(), None));
    bench.pop();
    assert_eq!(bench.queue.defer(first, 0, 1, START, None), None);
    assert_eq!(bench.queue.postpone(first, 0, START), None);
    assert_eq!(bench.queue.finish(first, 0), None);
    assert!(bench.queue.park(&departure, None).is_empty());
    assert_eq!(bench.counts(), [0, 0, 1, 0, 0], "what is late finds nothing");
}

#[test]
fn a_delay_is_reported_once() {
    let mut bench = Bench::new();
    let message = bench.insert("a.example", 2);
    assert_eq!(bench.pass(DELAY - SECOND), []);
    assert_eq!(bench.queue.next_due(), Some(START + DELAY));
    assert_eq!(bench.pass(SECOND), [Due::DelayReport(message)]);
    assert_eq!(bench.pass(LIFETIME - DELAY - SECOND), []);
    assert_eq!(bench.queue.next_due(), Some(START + LIFETIME));
}

#[test]
fn a_message_whose_delay_was_reported_before_is_not_reported_again() {
    let mut bench = Bench::new();
    let name = domain("a.example");
    let told = NewMessage { delay_reported: true, ..message(1, START) };
    let one = [(0, &name, RecipientState::default())];
    let slot = bench.queue.insert(told, one, START).expect("new");
    assert_eq!(bench.pass(LIFETIME), [expired(slot, &[0])]);
}

#[test]
fn a_last_attempt_is_made_and_is_the_last() {
    let mut bench = Bench::new();
    let name = domain("a.example");
    let old = NewMessage { last_attempt: true, delay_reported: true, ..message(1, START) };
    let two = [(0, &name, RecipientState::default()), (1, &name, RecipientState::default())];
    let slot = bench.queue.insert(old, two, START).expect("new");
    let departure = bench.pop();
    assert!(bench.queue.park(&departure, None).is_empty(), "nothing was tried");
    bench.queue.unpark(departure.domain, 1);
    bench.pop();
    let again = START + LIFETIME / 2;
    assert_eq!(bench.queue.defer(slot, 0, 1, again, None), Some(Deferral::Expired));
    assert_eq!(bench.queue.postpone(slot, 1, again), Some(Deferral::Waiting), "none was made");
    assert_eq!(bench.pass(LIFETIME), [expired(slot, &[1])]);
}

#[test]
fn what_waits_expires_with_its_message_ready_parked_or_deferred() {
    let mut bench = Bench::new();
    let late = RecipientState { due: START + LIFETIME * 2, ..Default::default() };
    let deferred = bench.insert_as("a.example", 2, late);
    let ready = bench.insert("b.example", 1);
    let parked = bench.insert("c.example", 1);
    let departures = bench.pop_all();
    departures.iter().for_each(|departure| drop(bench.queue.park(departure, None)));
    let b = bench.queue.find_domain(&domain("b.example")).expect("queued");
    bench.queue.unpark(b, 1);
    assert_eq!(bench.counts(), [1, 1, 0, 2, 0]);
    let due = bench.pass(LIFETIME);
    assert_eq!(due, [expired(deferred, &[0, 1]), expired(ready, &[0]), expired(parked, &[0])]);
    assert_eq!(bench.counts(), [0, 0, 4, 0, 0], "with the shard, to be bounced");
    assert_eq!(bench.pass(LIFETIME), [], "once");
}

#[test]
fn what_is_away_when_its_message_expires_is_expired_when_it_comes_back() {
    let mut bench = Bench::new();
    let message = bench.insert("a.example", 3);
    let departure = bench.pop();
    assert_eq!(bench.pass(LIFETIME), []);
    let due = bench.now + SECOND;
    assert_eq!(bench.queue.defer(message, 0, 1, due, None), Some(Deferral::Expired));
    assert_eq!(bench.state(message, 0), State::Dispatched);
    let left = Departure { recipients: Recipients::Many([1, 2].into()), ..departure };
    let over = bench.queue.park(&left, None);
    assert_eq!(over, [(2, Deferral::Expired), (1, Deferral::Expired)]);
    for index in 0..3 {
        bench.queue.finish(message, index).expect("it is with the shard");
    }
    assert_eq!(bench.queue.stats().messages, 0);
}

#[test]
fn what_is_held_when_its_message_expires_is_expired_when_it_is_released() {
    let mut bench = Bench::new();
    let held = RecipientState { held: true, ..Default::default() };
    let message = bench.insert_as("a.example", 2, held);
    assert_eq!(bench.pass(LIFETIME), [], "an operator wants it kept");
    bench.queue.operate(Verb::Release, &all(), Place::default());
    assert!(bench.queue.next_due().is_some_and(|due| due <= bench.now), "at once");
    assert_eq!(bench.pass(Duration::ZERO), [expired(message, &[0]), expired(message, &[1])]);
    assert_eq!(bench.pass(LIFETIME), [], "once");
}

#[test]
fn a_changed_lifetime_holds_for_what_is_queued() {
    let mut bench = Bench::new();
    let message = bench.insert("a.example", 1);
    bench.queue.set_ages(SECOND * 10, SECOND * 20);
    assert_eq!(bench.queue.next_due(), Some(START + SECOND * 10));
    assert_eq!(bench.pass(SECOND * 10), [Due::DelayReport(message)]);
    assert_eq!(bench.pass(SECOND * 10), [expired(message, &[0])]);
}

/// A storm of expiries is handed out in parts, each as it is due.
#[test]
fn what_expires_together_comes_in_parts_and_whole() {
    let mut bench = Bench::new();
    let many = crate::base::limits::DUE_BATCH_MAX * 2 + 1;
    bench.insert_many(many, "a.example", 1);
    bench.now = bench.now + LIFETIME;
    let (mut due, mut parts) = (Vec::new(), 0);
    while bench.queue.next_due().is_some() {
        bench.queue.expire_due(bench.now, &mut due);
        parts += 1;
    }
    assert_eq!((due.len(), parts), (many, 3));
}

#[test]
fn what_is_postponed_is_tried_again_and_its_attempts_stay() {
    let mut bench = Bench::new();
    let reason_at = Some(RecordAt { log: 0, segment: 3, offset: 4 });
    let state = RecipientState { attempts: 5, reason_at, ..Default::default() };
    let message = bench.insert_as("a.example", 1, state);
    bench.pop();
    let due = bench.now + SECOND * 60;
    assert_eq!(bench.queue.postpone(message, 0, due), Some(Deferral::Waiting));
    let view = bench.queue.recipient(message, 0).expect("queued");
    assert_eq!((view.state, view.attempts, view.due), (State::Deferred, 5, due));
    assert_eq!(view.reason_at, reason_at);
    bench.pass(SECOND * 60);
    bench.pop();
    assert_eq!(bench.queue.postpone(message, 1, due), None, "no such recipient");
}

#[test]
fn what_is_postponed_after_its_messages_lifetime_comes_back_as_expired() {
    let mut bench = Bench::new();
    let message = bench.insert("a.example", 2);
    assert_eq!(bench.pass(LIFETIME), [expired(message, &[0, 1])]);
    for round in 0..3 {
        let due = bench.now + SECOND * 60;
        for index in 0..2 {
            let said = bench.queue.postpone(message, index, due);
            assert_eq!(said, Some(Deferral::Waiting), "round {round}");
        }
        assert_eq!((bench.counts(), bench.queue.next_due()), ([0, 0, 0, 2, 0], Some(due)));
        let told = bench.pass(SECOND * 60);
        assert_eq!(told, [expired(message, &[0]), expired(message, &[1])]);
    }
    for index in 0..2 {
        bench.queue.finish(message, index).expect("it is with the shard");
    }
    assert_eq!((bench.queue.stats().messages, bench.queue.next_due()), (0, None));
}

#[test]
fn what_an_operator_removed_or_held_meanwhile_is_not_postponed() {
    let mut bench = Bench::new();
    let message = bench.insert("a.example", 2);
    bench.insert("b.example", 1);
    bench.pass(LIFETIME);
    let id = by_id(1);
    bench.queue.operate(Verb::Hold, &id, Place::default());
    assert_eq!(bench.queue.postpone(message, 0, bench.now), Some(Deferral::Held));
    assert_eq!(bench.state(message, 0), State::Held);
    bench.queue.operate(Verb::Remove, &id, Place::default());
    assert_eq!(bench.queue.postpone(message, 1, bench.now), Some(Deferral::Removed));
    assert_eq!(bench.state(message, 1), State::Dispatched, "the shard's to finish");
}

#[test]
fn what_was_postponed_and_flushed_comes_back_at_once_and_once() {
    let mut bench = Bench::new();
    let message = bench.insert("a.example", 1);
    bench.pass(LIFETIME);
    bench.queue.postpone(message, 0, bench.now + SECOND * 3_600);
    bench.queue.operate(Verb::Flush, &all(), Place::default());
    assert_eq!(bench.queue.pop_ready(), None, "it is not tried any more");
    assert_eq!(bench.pass(Duration::ZERO), [expired(message, &[0])]);
    assert_eq!(bench.pass(SECOND * 3_600), []);
}

/// A lifetime for all that `acme` sends, and one for its codes.
fn lifetimes(of_acme: Duration, of_codes: Duration) -> Tenants {
    let mut all = AllTerms::default();
    let acme = TenantName::parse("acme").expect("a name");
    let terms = |lifetime| Terms { lifetime: Some(lifetime), ..Terms::default() };
    let of_tenant = TenantTerms { terms: terms(of_acme), ..TenantTerms::default() };
    let of_campaign = CampaignTerms { terms: terms(of_codes), ..CampaignTerms::default() };
    let pattern = CampaignPattern::parse("codes*").expect("a pattern");
    all.campaigns.insert(Some(&acme), pattern, of_campaign);
    all.tenants.insert(acme, of_tenant);
    Arc::new(all)
}

/// A message of a campaign of `acme`.
fn of_acme(bench: &mut Bench, campaign: &str) -> Slot {
    bench.ids += 1;
    let handling = Handling {
        tenant: TenantName::parse("acme").ok(),
        campaign: CampaignName::parse(campaign).ok(),
        ..Handling::default()
    };
    let new = NewMessage { handling: handling.boxed(), ..message(bench.ids, bench.now) };
    let name = domain("a.example");
    let one = [(0, &name, RecipientState::default())];
    bench.queue.insert(new, one, bench.now).expect("new")
}

#[test]
fn a_sender_can_have_a_lifetime_of_its_own() {
    let mut bench = Bench::new();
    bench.queue.set_tenants(lifetimes(LIFETIME * 2, SECOND * 60));
    let (codes, news) = (of_acme(&mut bench, "codes/1"), of_acme(&mut bench, "news"));
    let nobodys = bench.insert("a.example", 1);
    let expires = |bench: &Bench, slot| bench.queue.message(slot).expect("queued").expires;
    assert_eq!(expires(&bench, codes), START + SECOND * 60);
    assert_eq!(expires(&bench, news), START + LIFETIME * 2);
    assert_eq!(expires(&bench, nobodys), START + LIFETIME);
    assert_eq!(bench.queue.stats().oldest, Some(START));
    assert_eq!(
        (bench.queue.next_due(), bench.pass(SECOND * 59)),
        (Some(START + SECOND * 60), vec![])
    );
    assert_eq!(bench.pass(SECOND), [expired(codes, &[0])]);
    let told = bench.pass(DELAY - SECOND * 60);
    assert_eq!(told, [Due::DelayReport(nobodys), Due::DelayReport(news)]);
    assert_eq!(bench.pass(LIFETIME - DELAY), [expired(nobodys, &[0])]);
    assert_eq!(bench.queue.stats().oldest, Some(START), "of what has not expired");
    assert_eq!(bench.pass(LIFETIME), [expired(news, &[0])]);
    assert_eq!((bench.queue.stats().oldest, bench.queue.next_due()), (None, None));
}

#[test]
fn another_lifetime_of_a_sender_holds_for_what_comes_in() {
    let mut bench = Bench::new();
    bench.queue.set_tenants(lifetimes(SECOND * 60, SECOND * 60));
    let before = of_acme(&mut bench, "news");
    bench.queue.set_tenants(lifetimes(SECOND * 120, SECOND * 60));
    let after = of_acme(&mut bench, "news");
    bench.queue.set_tenants(Tenants::default());
    let nodes = of_acme(&mut bench, "news");
    assert_eq!(bench.pass(SECOND * 60), [expired(before, &[0])]);
    assert_eq!(bench.pass(SECOND * 60), [expired(after, &[0])]);
    let departure = bench.pop();
    assert_eq!(departure.message, nodes, "it lives as long as any");
    bench.finish(&departure);
    for slot in [before, after] {
        bench.queue.finish(slot, 0).expect("it is with the shard");
    }
    assert_eq!((bench.queue.stats().messages, bench.queue.next_due()), (0, None));
}

/// A message that is wanted by so many seconds from now.
fn wanted(bench: &mut Bench, seconds: i32, late: Late) -> Slot {
    bench.ids += 1;
    let by = By { seconds, late, trace: false }.at(bench.now);
    let handling = Handling { deliver_by: Some(by), ..Handling::default() };
    let new = NewMessage { handling: handling.boxed(), ..message(bench.ids, bench.now) };
    let name = domain("a.example");
    let one = [(0, &name, RecipientState::default())];
    bench.queue.insert(new, one, bench.now).expect("new")
}

#[test]
fn what_is_wanted_by_a_time_is_over_then_or_told_then() {
    let mut bench = Bench::new();
    let back = wanted(&mut bench, 100, Late::Return);
    let told = wanted(&mut bench, 200, Late::Notify);
    let late_before = wanted(&mut bench, -5, Late::Notify);
    let far = wanted(&mut bench, 999_999_999, Late::Return);
    assert_eq!(bench.pass(SECOND * 99), []);
    assert_eq!(bench.pass(SECOND), [expired(back, &[0])]);
    assert_eq!(bench.pass(SECOND * 100), [Due::DelayReport(told)]);
    let delay = bench.pass(DELAY - SECOND * 200);
    assert_eq!(delay, [Due::DelayReport(far)], "the others' delay was told");
    let over = bench.pass(LIFETIME);
    assert_eq!(over, [expired(told, &[0]), expired(late_before, &[0]), expired(far, &[0])]);
    assert_eq!(bench.queue.next_due(), None);
}
