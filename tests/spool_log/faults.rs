//! What a log does when its disk fails, fills up or is too slow.

use super::*;

#[test]
fn a_failed_commit_refuses_messages_seals_the_segment_and_repeats_facts() {
    let mut rig = rig();
    let (kept, _) = rig.append(100);
    rig.settle();
    rig.log.append_state(kept, &pending_state(0, 1));
    let (lost, _) = rig.append(100);
    rig.run();
    let sealed = rig.disk.in_flight.as_ref().expect("in flight").segment;
    rig.fail(EIO);
    assert_eq!(
        (&rig.refused[..], &rig.healthy[..]),
        (&[(lost, Refusal::Failed)][..], &[false][..])
    );
    let next = rig.disk.in_flight.as_ref().expect("the state is written again").segment;
    assert!(next.number > sealed.number);
    rig.settle();
    assert_eq!(rig.healthy, [false, true]);
    let at = rig.noted[&(kept, 0)];
    assert_eq!((at.segment, rig.log.load_state(at)), (next.number, Ok(pending_state(0, 1))));
    let (_, recovered) = open(rig.disk.cut(|_, old, _| old), OPTIONS);
    assert_eq!((recovered.damage, recovered.torn), (vec![], vec![]));
    let found: Vec<_> = recovered.messages.map(|one| one.expect("decodes").id).collect();
    assert_eq!(found, [kept], "what was refused is not found, though it reached the disk");
}

#[test]
fn a_transaction_whose_chunk_was_lost_cannot_be_completed() {
    let mut rig = rig();
    let (early, late) = (rig.log.next_id(), rig.log.next_id());
    rig.log.append_content(early, vec![1; 100]).expect("there is room");
    rig.log.append_content(late, vec![1; 100]).expect("there is room");
    rig.run();
    rig.log.append_message(message(early, 10, 1)).expect("there is room");
    rig.fail(EIO);
    assert_eq!(rig.refused, [(early, Refusal::Failed)], "it was waiting in the next group");
    assert_eq!(rig.log.append_content(late, vec![1; 100]), Err(LogError::Lost));
    let completed = rig.log.append_message(message(late, 10, 1));
    assert_eq!(completed.map(|_| ()), Err(LogError::Lost));
    rig.settle();
    assert!(rig.accepted.is_empty());
}

#[test]
fn commits_that_fail_one_after_another_wait_to_be_told_to_go_on() {
    let mut rig = rig();
    let (id, _) = rig.append(100);
    rig.settle();
    rig.done(id);
    rig.run();
    rig.fail(EIO);
    rig.fail(EIO);
    assert!(rig.disk.in_flight.is_none());
    assert_eq!(rig.log.room(), Room::Failing);
    let next = rig.log.next_id();
    let refused = rig.log.append_message(message(next, 1, 1)).map(|_| ());
    assert_eq!(refused, Err(LogError::Failing));
    rig.log.retry();
    rig.settle();
    assert_eq!((rig.log.room(), rig.healthy), (Room::Open, vec![false, false, true]));
    assert_eq!(rig.log.stats().live_messages, 0, "the end was not forgotten");
}

#[test]
fn one_failed_commit_is_followed_by_an_attempt_that_nobody_has_to_ask_for() {
    let mut rig = rig();
    rig.append(100);
    rig.run();
    rig.fail(EIO);
    rig.run();
    assert!(rig.disk.in_flight.is_some(), "an empty group, in another segment");
    rig.settle();
    assert_eq!((rig.log.room(), rig.healthy), (Room::Open, vec![false, true]));
}

#[test]
fn a_disk_that_fails_for_long_is_not_filled_with_segments() {
    let mut rig = rig();
    let (id, _) = rig.append(100);
    rig.settle();
    rig.append(100);
    for _ in 0..100 {
        rig.log.retry();
        rig.run();
        rig.fail(EIO);
    }
    let files = rig.disk.durable.len();
    assert!(files <= 5, "{files}: the written one, those prepared, and no more");
    rig.log.retry();
    rig.settle();
    assert_eq!(rig.log.room(), Room::Open);
    assert!(rig.accepted.contains_key(&id));
}

#[test]
fn what_was_answered_from_memory_is_appended_again_under_its_name() {
    let mut rig = rig();
    let id = rig.log.next_id();
    let octets = content(id, 9_000);
    // One chunk is committed, one is being written, the last waits with the envelope.
    rig.log.append_content(id, octets[..3_000].to_vec()).expect("there is room");
    rig.settle();
    rig.log.append_content(id, octets[3_000..6_000].to_vec()).expect("there is room");
    rig.run();
    let end = NewMessage { content: octets[6_000..].to_vec(), ..from_memory(id, 0, 2) };
    let stored = rig.log.append_message(end).expect("there is room");
    rig.disk.fail(&mut rig.log, EIO, |_| true);
    rig.events();
    assert_eq!(rig.refused, [(id, Refusal::Failed)]);
    rig.log.append_again(&stored).expect("one failure is no reason to wait");
    rig.run();
    rig.fail(EIO);
    assert_eq!(rig.refused.len(), 2);
    assert_eq!(rig.log.append_again(&stored), Err(LogError::Failing));
    rig.log.retry();
    rig.settle();
    rig.log.append_again(&stored).expect("commits succeed again");
    rig.settle();
    let cold = rig.log.load(id, rig.accepted[&id]).expect("readable");
    assert_eq!((whole(&cold), &cold.envelope), (whole(&stored), &stored.envelope));
    assert_eq!(cold.origin.durability(), Durability::Memory, "whatever it took to store it");
    let found = |rig: &Rig| {
        let (_, recovered) = open(rig.disk.cut(|_, old, _| old), OPTIONS);
        assert_eq!((recovered.damage, recovered.torn), (vec![], vec![]));
        recovered.messages.map(|one| one.expect("decodes").id).collect::<Vec<_>>()
    };
    assert_eq!(found(&rig), [id], "once, however often it was written");
    rig.done(id);
    rig.settle();
    assert_eq!(found(&rig), [], "its end ends all that was ever written of it");
}

#[test]
fn what_was_answered_from_memory_waits_for_space_and_leaves_the_reserve_alone() {
    let mut rig = rig();
    rig.disk.files_max = 3;
    // All at once, before any file is asked for.
    let mut taken = BTreeMap::new();
    for _ in 0..100 {
        let id = rig.log.next_id();
        let stored = rig.log.append_message(from_memory(id, 3_000, 1)).expect("not known full");
        taken.insert(id, stored);
    }
    rig.settle();
    let again = |rig: &mut Rig| {
        let mut owed = std::mem::take(&mut rig.refused);
        let mut is_taken = |id| rig.log.append_again(&taken[id]).is_ok();
        let appended = owed.iter().take_while(|(id, _)| is_taken(id)).count();
        rig.refused = owed.split_off(appended);
        rig.settle();
        appended
    };
    // What space is left takes some of it, in a few steps.
    while again(&mut rig) > 0 {}
    let left = rig.refused.len();
    assert!(left > 0 && left + rig.accepted.len() == taken.len());
    let used = rig.accepted.values().map(|at| at.segment).max();
    assert!(used < rig.disk.durable.keys().next_back().copied(), "the reserve was not touched");
    rig.disk.files_max = 100;
    rig.log.retry();
    rig.settle();
    assert_eq!(again(&mut rig), left);
    assert_eq!((rig.accepted.len(), rig.refused.len()), (taken.len(), 0));
}

#[test]
fn a_message_that_was_answered_lets_others_come_with_it() {
    let mut rig = rig();
    let id = rig.log.next_id();
    rig.log.append_message(from_memory(id, 100, 1)).expect("there is room");
    assert!(rig.log.is_patient() && !rig.log.is_gathering(), "no client waits");
    rig.append(100);
    assert!(!rig.log.is_patient() && rig.log.is_gathering(), "one does");
}

//= RFC 5321 §4.2.2, type=test
//# 452 Requested action not taken: insufficient system storage
#[test]
fn a_full_disk_refuses_clients_keeps_a_reserve_for_outcomes_and_resumes_by_itself() {
    let mut rig = rig();
    rig.disk.files_max = 3;
    let mut refused = 0;
    for _ in 0..200 {
        let id = rig.log.next_id();
        match rig.log.append_message(message(id, 3_000, 1)) {
            Ok(_) => rig.settle(),
            Err(error) => {
                assert_eq!(error, LogError::Full);
                refused += 1;
            }
        }
    }
    assert!(refused > 100 && rig.accepted.len() > 20, "{refused}");
    assert_eq!(rig.log.room(), Room::Full);
    assert!(rig.refused.is_empty(), "what was taken was accepted");
    // Outcomes and DSNs still go to disk.
    let id = rig.log.next_id();
    let dsn = NewMessage { origin: Origin::Own, ..message(id, 3_000, 1) };
    rig.log.append_message(dsn).expect("the reserve is for it");
    let ids: Vec<_> = rig.accepted.keys().copied().collect();
    rig.settle();
    assert!(rig.accepted.contains_key(&id));
    ids.into_iter().for_each(|id| rig.done(id));
    rig.settle();
    assert_eq!(rig.log.room(), Room::Open, "segments went, so the disk has space again");
    let (id, _) = rig.append(3_000);
    rig.settle();
    assert!(rig.accepted.contains_key(&id));
}

#[test]
fn space_that_others_free_is_found_by_retrying() {
    let mut rig = rig();
    rig.disk.files_max = 3;
    while rig.log.room() == Room::Open {
        rig.append(3_000);
        rig.settle();
    }
    rig.disk.files_max = 10;
    rig.run();
    assert_eq!(rig.log.room(), Room::Full, "nobody asked yet");
    rig.log.retry();
    rig.run();
    assert_eq!(rig.log.room(), Room::Open);
}

#[test]
fn what_was_taken_before_the_disk_was_found_full_is_refused_and_the_reserve_is_kept() {
    let mut rig = rig();
    rig.disk.files_max = 3;
    // All at once, before any file is asked for.
    let taken: Vec<_> = (0..100).map(|_| rig.append(3_000).0).collect();
    let open = rig.log.next_id();
    rig.log.append_content(open, vec![7; 3_000]).expect("not known to be full");
    rig.settle();
    let full = rig.refused.iter().filter(|(_, why)| *why == Refusal::Full).count();
    assert_eq!((rig.accepted.len() + full, rig.refused.len()), (taken.len(), full));
    assert!(full > 0 && rig.log.is_idle());
    assert_eq!(rig.log.append_content(open, vec![7; 10]), Err(LogError::Full));
    let prepared = rig.disk.durable.keys().next_back().copied();
    let used = rig.accepted.values().map(|at| at.segment).max();
    assert!(used < prepared, "the reserve was not touched");
}

#[test]
fn a_write_that_finds_the_disk_full_is_a_failed_commit() {
    let mut rig = rig();
    let (id, _) = rig.append(100);
    rig.run();
    rig.fail(ENOSPC);
    assert_eq!(rig.refused, [(id, Refusal::Failed)]);
    let (id, _) = rig.append(100);
    rig.settle();
    assert!(rig.accepted.contains_key(&id), "the next segment had its space already");
}

#[test]
fn too_much_waiting_for_the_disk_is_refused() {
    let (mut rig, _) = open(Image::new(), Options { segment_bytes: 64 << 20, ..OPTIONS });
    rig.settle();
    rig.append(100);
    rig.run();
    let chunk = vec![0; RECORD_CONTENT_MAX];
    let id = rig.log.next_id();
    let mut taken = 0;
    while rig.log.append_content(id, chunk.clone()).is_ok() {
        taken += chunk.len();
    }
    assert!(taken <= COMMIT_PENDING_MAX && taken + 2 * chunk.len() > COMMIT_PENDING_MAX);
    assert_eq!(rig.log.room(), Room::Busy);
    rig.log.abandon(id);
    rig.settle();
    assert_eq!(rig.log.stats().pending_bytes, 0);
}

#[test]
fn what_no_record_can_hold_is_too_large() {
    let mut rig = rig();
    let id = rig.log.next_id();
    let large = vec![0; RECORD_CONTENT_MAX + 1];
    assert_eq!(rig.log.append_content(id, large), Err(LogError::TooLarge));
    let prefix = vec![b'x'; 1 << 20];
    let large = NewMessage { prefix, ..message(rig.log.next_id(), 1, 1) };
    assert_eq!(rig.log.append_message(large).map(|_| ()), Err(LogError::TooLarge));
    rig.settle();
    assert!(rig.log.is_idle());
}
