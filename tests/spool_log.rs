//! The log of a spool directory on a disk in memory: commit groups, failures, a full disk, reclaim.

#![allow(clippy::wildcard_enum_match_arm, reason = "tests match freely")]

#[path = "support/disk.rs"]
#[allow(dead_code, reason = "not every test uses all of the disk")]
mod disk;
#[path = "support/mail.rs"]
mod mail;

#[path = "spool_log/faults.rs"]
mod faults;

use std::collections::BTreeMap;
use std::sync::Arc;

use disk::{Disk, EIO, ENOSPC, Image, maps};
use mail::{content, from_memory, message, pending, pending_state, whole};
use relay_fast::base::ids::MessageId;
use relay_fast::base::limits::{COMMIT_PENDING_MAX, RECORD_CONTENT_MAX};
use relay_fast::base::prng::Prng;
use relay_fast::mail::durability::Durability;
use relay_fast::spool::log::{Log, LogError, LogEvent, MovedRecipient, Options, Refusal, Room};
use relay_fast::spool::recovery::{Fault, Recovered, recover};
use relay_fast::spool::stored::{EnvelopeAt, NewMessage, Origin, StateAt, Stored};

const SEGMENT: u32 = 64 * 1024;
const OPTIONS: Options = Options { segment_bytes: SEGMENT, reserve: 1, admits: true };

/// A log, its disk, and what the shard would know.
struct Rig {
    log: Log,
    disk: Disk,
    accepted: BTreeMap<MessageId, EnvelopeAt>,
    refused: Vec<(MessageId, Refusal)>,
    noted: BTreeMap<(MessageId, u16), StateAt>,
    healthy: Vec<bool>,
    moved: usize,
}

fn open(image: Image, options: Options) -> (Rig, Recovered) {
    let opened = maps(&image);
    let mut recovered = recover(7, &opened).expect("it can be opened");
    let fresh = recover(7, &[]).expect("empty").start;
    let start = std::mem::replace(&mut recovered.start, fresh);
    let prng = Prng::from_number(image.len() as u64 + 1);
    let rig = Rig {
        log: Log::new(start, options, prng),
        disk: Disk::new(image, opened),
        accepted: BTreeMap::new(),
        refused: Vec::new(),
        noted: BTreeMap::new(),
        healthy: Vec::new(),
        moved: 0,
    };
    (rig, recovered)
}

fn rig() -> Rig {
    rig_with(OPTIONS)
}

fn rig_with(options: Options) -> Rig {
    let (mut rig, _) = open(Image::new(), options);
    rig.settle();
    rig
}

impl Rig {
    fn note(&mut self, event: LogEvent) {
        match event {
            LogEvent::Accepted(accepted) => {
                self.accepted.insert(accepted.id(), accepted.at());
            }
            LogEvent::Refused { id, why } => self.refused.push((id, why)),
            LogEvent::Noted { id, recipient, at } => {
                self.noted.insert((id, recipient), at);
            }
            LogEvent::Move { id } => self.move_message(id),
            LogEvent::Moved { id, at, states } => {
                self.moved += 1;
                self.accepted.insert(id, at);
                self.noted.extend(states.into_iter().map(|(recipient, at)| ((id, recipient), at)));
            }
            LogEvent::Unhealthy { .. } => self.healthy.push(false),
            LogEvent::Healthy => self.healthy.push(true),
        }
    }

    fn move_message(&mut self, id: MessageId) {
        let Some(at) = self.accepted.get(&id).copied() else {
            return;
        };
        let last = self.noted.get(&(id, 0)).copied();
        let one = MovedRecipient { recipient: 0, attempts: 9, due: pending().1, held: false, last };
        self.log.append_move(id, at, &[one]).expect("readable");
    }

    fn events(&mut self) {
        while let Some(event) = self.log.poll_event() {
            self.note(event);
        }
    }

    fn run(&mut self) {
        self.disk.run(&mut self.log);
        self.events();
    }

    fn finish(&mut self) {
        self.disk.finish(&mut self.log);
        self.events();
        self.run();
    }

    fn fail(&mut self, errno: i32) {
        self.disk.fail(&mut self.log, errno, |_| true);
        self.events();
        self.run();
    }

    fn settle(&mut self) {
        self.run();
        while self.disk.in_flight.is_some() {
            self.finish();
        }
    }

    fn append(&mut self, bytes: usize) -> (MessageId, Arc<Stored>) {
        let id = self.log.next_id();
        let stored = self.log.append_message(message(id, bytes, 1)).expect("there is room");
        (id, stored)
    }

    fn done(&mut self, id: MessageId) {
        let at = self.accepted.remove(&id).expect("accepted");
        self.log.append_done(id, at);
    }
}

#[test]
fn a_message_is_accepted_when_its_group_is_synced_and_not_before() {
    let mut rig = rig();
    let (id, hot) = rig.append(10_000);
    assert!(hot.is_hot());
    assert_eq!(whole(&hot), (message(id, 10_000, 1).prefix, content(id, 10_000)).concat_all());
    rig.run();
    assert!(rig.disk.in_flight.is_some() && rig.accepted.is_empty() && !rig.log.is_idle());
    rig.finish();
    let at = rig.accepted[&id];
    assert!(rig.log.is_idle());
    let cold = rig.log.load(id, at).expect("readable");
    assert!(!cold.is_hot());
    assert_eq!((whole(&cold), &cold.envelope), (whole(&hot), &hot.envelope));
    assert_eq!((cold.received, cold.origin), (hot.received, hot.origin));
    let spans = rig.log.spans(id, at).expect("readable");
    assert_eq!(spans.iter().map(|span| span.bytes).sum::<u32>(), at.bytes + 10_000);
    assert!(rig.log.load(MessageId(1), at).is_err(), "another message's place");
}

trait ConcatAll {
    fn concat_all(self) -> Vec<u8>;
}

impl ConcatAll for (Vec<u8>, Vec<u8>) {
    fn concat_all(self) -> Vec<u8> {
        [self.0, self.1].concat()
    }
}

#[test]
fn all_that_comes_during_a_commit_goes_into_the_next() {
    let mut rig = rig();
    let commits = rig.disk.commits;
    rig.append(100);
    rig.run();
    (0..50).for_each(|_| drop(rig.append(100)));
    rig.run();
    rig.finish();
    assert_eq!(rig.accepted.len(), 1);
    rig.finish();
    assert_eq!((rig.accepted.len(), rig.disk.commits), (51, commits + 2));
    assert!(rig.log.is_idle() && rig.disk.in_flight.is_none(), "an idle log writes nothing");
}

#[test]
fn an_empty_message_and_one_of_many_chunks_are_kept() {
    let mut rig = rig();
    let (empty, _) = rig.append(0);
    let id = rig.log.next_id();
    for (number, chunk) in content(id, 150_000).chunks(20_000).enumerate() {
        rig.log.append_content(id, chunk.to_vec()).expect("there is room");
        rig.run();
        if number % 2 == 0 {
            rig.finish();
        }
    }
    let last = NewMessage { content: Vec::new(), ..message(id, 0, 1) };
    let hot = rig.log.append_message(last).expect("there is room");
    assert_eq!(hot.content_bytes, 150_000);
    assert!(!hot.is_hot(), "what is on disk has left RAM");
    rig.settle();
    let expected = whole(&hot);
    assert!(expected.ends_with(&content(id, 150_000)));
    assert_eq!(whole(&rig.log.load(id, rig.accepted[&id]).expect("readable")), expected);
    let (reopened, recovered) = open(rig.disk.cut(|_, old, _| old), OPTIONS);
    assert_eq!((recovered.damage, recovered.torn), (vec![], vec![]));
    let found: Vec<_> = recovered.messages.map(|one| one.expect("decodes").id).collect();
    assert_eq!(found, [empty, id]);
    assert_eq!(whole(&reopened.log.load(id, rig.accepted[&id]).expect("readable")), expected);
}

#[test]
fn chunks_of_many_transactions_may_alternate_through_queued_groups() {
    let mut rig = rig_with(Options { segment_bytes: 1 << 20, ..OPTIONS });
    let ids: Vec<_> = (0..20).map(|_| rig.log.next_id()).collect();
    for part in 0..5 {
        for id in &ids {
            let bytes = content(*id, 50_000)[part * 10_000..][..10_000].to_vec();
            rig.log.append_content(*id, bytes).expect("there is room");
        }
        rig.run();
    }
    for id in &ids {
        rig.log.append_message(message(*id, 0, 1)).expect("there is room");
    }
    rig.settle();
    for id in &ids {
        let stored = rig.log.load(*id, rig.accepted[id]).expect("readable");
        assert!(whole(&stored).ends_with(&content(*id, 50_000)), "{id}");
    }
}

#[test]
fn states_are_noted_and_survive() {
    let mut rig = rig();
    let (id, _) = rig.append(100);
    rig.settle();
    for attempts in 1..4 {
        rig.log.append_state(id, &pending_state(0, attempts));
    }
    rig.settle();
    let at = rig.noted[&(id, 0)];
    assert_eq!(rig.log.load_state(at).expect("readable"), pending_state(0, 3));
    let (reopened, recovered) = open(rig.disk.cut(|_, old, _| old), OPTIONS);
    let found: Vec<_> = recovered.messages.map(|one| one.expect("decodes")).collect();
    assert_eq!((found.len(), found[0].id), (1, id));
    let recipient = &found[0].pending[0];
    assert_eq!((recipient.attempts, recipient.due, recipient.last), (3, pending().1, Some(at)));
    assert_eq!(recipient.domain.as_ref().map(|one| one.as_str()), Some("example0.com"));
    assert_eq!(reopened.log.load_state(at).expect("readable"), pending_state(0, 3));
}

#[test]
fn an_ended_message_frees_its_segment_and_is_forgotten() {
    let mut rig = rig();
    for _ in 0..40 {
        let (id, _) = rig.append(10_000);
        rig.settle();
        rig.done(id);
        rig.settle();
    }
    assert!(rig.disk.removed.len() > 5, "{:?}", rig.disk.removed);
    let stats = rig.log.stats();
    assert_eq!((stats.live_bytes, stats.live_messages), (0, 0));
    let (_, recovered) = open(rig.disk.cut(|_, old, _| old), OPTIONS);
    assert_eq!(recovered.messages.count(), 0);
}

#[test]
fn a_message_whose_recipients_are_all_final_is_ended() {
    let mut rig = rig();
    let id = rig.log.next_id();
    rig.log.append_message(message(id, 10, 2)).expect("there is room");
    rig.settle();
    rig.log.append_state(id, &mail::bounced(0));
    rig.settle();
    let (_, recovered) = open(rig.disk.cut(|_, old, _| old), OPTIONS);
    let found: Vec<_> = recovered.messages.map(|one| one.expect("decodes")).collect();
    let left: Vec<u16> = found[0].pending.iter().map(|one| one.recipient).collect();
    assert_eq!((found.len(), left), (1, vec![1]));
    rig.log.append_state(id, &mail::delivered(1));
    rig.settle();
    let (_, recovered) = open(rig.disk.cut(|_, old, _| old), OPTIONS);
    assert_eq!(recovered.messages.count(), 0);
}

#[test]
fn ids_are_new_in_each_run_even_if_nothing_was_accepted() {
    let mut image = Image::new();
    let mut ids = std::collections::HashSet::new();
    for _ in 0..5 {
        let (mut rig, _) = open(image, OPTIONS);
        assert_eq!(rig.log.room(), Room::Opening);
        rig.settle();
        assert_eq!(rig.log.room(), Room::Open);
        (0..3).for_each(|_| assert!(ids.insert(rig.log.next_id())));
        image = rig.disk.cut(|_, old, _| old);
    }
}

#[test]
fn an_adopted_directory_makes_files_only_for_outcomes() {
    let mut rig = rig();
    let ids: Vec<_> = (0..3).map(|_| rig.append(100).0).collect();
    rig.settle();
    let options = Options { admits: false, ..OPTIONS };
    let (mut adopted, recovered) = open(rig.disk.cut(|_, old, _| old), options);
    adopted.accepted =
        recovered.messages.map(|one| one.expect("decodes")).map(|m| (m.id, m.at)).collect();
    adopted.settle();
    let before = adopted.disk.durable.len();
    assert_eq!((adopted.log.room(), adopted.disk.commits), (Room::Closed, 0));
    ids.into_iter().for_each(|id| adopted.done(id));
    adopted.settle();
    assert_eq!(adopted.disk.commits, 1);
    assert!(adopted.disk.durable.len() <= before && adopted.log.is_idle());
}

/// Disk use ≤ 2 × live octets + a constant, with 1% of all messages deferred for long.
#[test]
fn long_deferrals_do_not_pin_the_disk() {
    let mut rig = rig();
    let mut prng = Prng::from_number(3);
    let mut deferred = Vec::new();
    let (mut ended, mut worst) = (0u32, 0.0f64);
    for round in 0..3_000u32 {
        let (id, _) = rig.append(500 + usize::try_from(prng.below(4_000)).expect("small"));
        rig.settle();
        if prng.below(100) == 0 {
            rig.log.append_state(id, &pending_state(0, 9));
            deferred.push(id);
        } else {
            rig.done(id);
            ended += 1;
        }
        rig.settle();
        let stats = rig.log.stats();
        let files: usize = rig.disk.durable.values().map(Vec::len).sum();
        assert_eq!(stats.disk_bytes, files as u64, "what is counted is what is there");
        let constant = u64::from(SEGMENT) * (u64::from(OPTIONS.reserve) + 5);
        worst = worst.max(stats.disk_bytes as f64 / (2 * stats.live_bytes + constant) as f64);
        assert!(worst <= 1.0, "round {round}: {stats:?}");
    }
    assert!(rig.moved > 30 && ended > 2_900, "{} moved", rig.moved);
    let (reopened, recovered) = open(rig.disk.cut(|_, old, _| old), OPTIONS);
    assert_eq!((recovered.damage, recovered.torn), (vec![], vec![]));
    let mut found: Vec<_> = recovered.messages.map(|one| one.expect("decodes")).collect();
    found.sort_by_key(|one| one.id);
    assert_eq!(found.iter().map(|one| one.id).collect::<Vec<_>>(), deferred);
    for one in found {
        let stored = reopened.log.load(one.id, one.at).expect("readable");
        let bytes = usize::try_from(stored.content_bytes).expect("small");
        assert!(whole(&stored).ends_with(&content(one.id, bytes)));
        let last = one.pending[0].last.expect("it was deferred");
        assert_eq!(reopened.log.load_state(last), Ok(pending_state(0, 9)), "reason kept");
    }
}

#[test]
fn a_message_that_ends_while_it_is_moved_stays_ended() {
    let mut rig = rig();
    let (pinning, _) = rig.append(100);
    rig.settle();
    let at = rig.accepted.remove(&pinning).expect("accepted");
    let mut asked = false;
    while !asked {
        let (id, _) = rig.append(10_000);
        rig.settle_without_moves(&mut asked);
        rig.done(id);
        rig.settle_without_moves(&mut asked);
    }
    let one =
        MovedRecipient { recipient: 0, attempts: 0, due: pending().1, held: false, last: None };
    rig.log.append_move(pinning, at, &[one]).expect("readable");
    rig.run();
    rig.log.append_done(pinning, at);
    rig.settle();
    assert_eq!((rig.moved, rig.log.stats().live_messages), (0, 0));
    let (_, recovered) = open(rig.disk.cut(|_, old, _| old), OPTIONS);
    assert_eq!((recovered.messages.count(), recovered.damage), (0, vec![]));
}

impl Rig {
    fn settle_without_moves(&mut self, asked: &mut bool) {
        loop {
            self.disk.run(&mut self.log);
            while let Some(event) = self.log.poll_event() {
                match event {
                    LogEvent::Move { .. } => *asked = true,
                    other => self.note(other),
                }
            }
            if self.disk.in_flight.is_none() {
                return;
            }
            self.disk.finish(&mut self.log);
        }
    }
}

#[test]
fn damaged_content_is_never_handed_out() {
    let mut rig = rig();
    let (id, _) = rig.append(10_000);
    rig.settle();
    let span = rig.log.spans(id, rig.accepted[&id]).expect("readable")[1];
    let mut image = rig.disk.cut(|_, old, _| old);
    image.get_mut(&span.segment).expect("there")[span.offset as usize + 5_000] ^= 1;
    // A later group proves that this one was committed, so recovery does not read the content.
    let (next, _) = rig.append(10);
    rig.settle();
    let proof = rig.disk.durable[&span.segment].clone();
    let start = rig.accepted[&next].offset as usize & !4_095;
    image.get_mut(&span.segment).expect("there")[start..].copy_from_slice(&proof[start..]);
    let (reopened, recovered) = open(image, OPTIONS);
    assert_eq!(recovered.messages.count(), 2);
    let damage = reopened.log.load(id, rig.accepted[&id]).expect_err("it is damaged");
    assert_eq!((damage.fault, damage.offset), (Fault::Content(id), span.offset));
    let shown = damage.to_string();
    assert!(
        shown.starts_with("007/00000001.seg at ") && shown.contains(&id.to_string()),
        "{shown}"
    );
}

#[test]
fn what_waits_for_a_commit_may_wait_for_more() {
    let mut rig = rig();
    let waits = |rig: &Rig| (rig.log.is_patient(), rig.log.is_gathering());
    assert_eq!(waits(&rig), (false, false), "nothing waits");
    let (id, _) = rig.append(100);
    assert_eq!(waits(&rig), (false, true), "a client waits for this");
    rig.run();
    rig.log.append_state(id, &pending_state(0, 1));
    assert_eq!(waits(&rig), (false, false), "a commit is under way: the next begins as it ends");
    rig.disk.finish(&mut rig.log);
    assert_eq!(waits(&rig), (true, false), "nobody waits for a state");
    rig.append(100);
    assert_eq!(waits(&rig), (false, true));
    rig.settle();
    assert_eq!(rig.disk.commits, 3, "the first is the epoch's; the state went with the message");
}
