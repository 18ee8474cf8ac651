//! The life of a message, crash by crash: each row of the table in `src/spool/mod.rs`.
//!
//! A crash in a state is tried three times: nothing, the first half and all of the write under way
//! reached the disk.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm,
    reason = "tests cut, match and unwrap freely"
)]

#[path = "support/disk.rs"]
#[allow(dead_code, reason = "not every test uses all of the disk")]
mod disk;
#[path = "support/mail.rs"]
#[allow(dead_code, reason = "not every test uses all kinds of states")]
mod mail;

use std::collections::BTreeMap;

use disk::{Disk, EIO, Image, maps};
use mail::{bounced, content, delivered, from_memory, message, pending, pending_state};
use relay_fast::base::ids::MessageId;
use relay_fast::base::prng::Prng;
use relay_fast::spool::check::check;
use relay_fast::spool::log::{Log, LogEvent, MovedRecipient, Options};
use relay_fast::spool::recovery::recover;
use relay_fast::spool::stored::{EnvelopeAt, NewMessage, Origin, Standing};

const DIRECTORY: u16 = 5;
const OPTIONS: Options = Options { segment_bytes: 32 * 1024, reserve: 0, admits: true };

/// The queue after a crash: each message's recipients with their attempts; `None`: final.
type Queue = BTreeMap<MessageId, Vec<Option<u32>>>;

struct Life {
    log: Log,
    disk: Disk,
    at: BTreeMap<MessageId, EnvelopeAt>,
    asked: Vec<MessageId>,
}

impl Life {
    fn new() -> Self {
        let start = recover(DIRECTORY, &[]).unwrap().start;
        let log = Log::new(start, OPTIONS, Prng::from_number(1));
        let disk = Disk::new(Image::new(), Vec::new());
        let mut life = Self { log, disk, at: BTreeMap::new(), asked: Vec::new() };
        life.commit();
        life
    }

    /// Write what was appended, and let the sync come back.
    fn commit(&mut self) {
        self.write();
        while self.disk.in_flight.is_some() {
            self.disk.finish(&mut self.log);
            self.write();
        }
    }

    /// Write what was appended; the sync is under way.
    fn write(&mut self) {
        self.disk.run(&mut self.log);
        while let Some(event) = self.log.poll_event() {
            match event {
                LogEvent::Accepted(accepted) => drop(self.at.insert(accepted.id(), accepted.at())),
                LogEvent::Moved { id, at, .. } => drop(self.at.insert(id, at)),
                LogEvent::Move { id } => self.asked.push(id),
                LogEvent::Noted { .. } | LogEvent::Healthy => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// What the disk holds if the power goes now and this share of the write reached it.
    fn cut(&self, share: usize) -> Image {
        let bytes = self.disk.in_flight.as_ref().map_or(0, |write| write.bytes.len());
        self.disk.cut(|place, old, new| if place < bytes * share / 2 { new } else { old })
    }

    /// The queue after a crash now, of which no part of a write under way may be damage.
    fn crash(&self, share: usize) -> Queue {
        let checked = check(DIRECTORY, maps(&self.cut(share)).into_iter().collect()).unwrap();
        assert!(checked.damage.is_empty(), "{:?}", checked.damage);
        let attempts = |standing: &Standing| match standing {
            Standing::Pending { attempts, .. } => Some(*attempts),
            _ => None,
        };
        let letters = checked.messages().map(|letter| {
            assert!(letter.is_whole());
            (letter.id, letter.standings.iter().map(attempts).collect())
        });
        letters.collect()
    }

    /// A crash now leads here, whatever of a write under way reached the disk.
    fn leads_to(&self, state: &str, queue: &Queue) {
        for share in 0..=2 {
            assert_eq!(&self.crash(share), queue, "{state}, {share} halves written");
        }
    }

    /// A crash now leads to `before`, and to `after` once all of the write reached the disk.
    fn is_between(&self, state: &str, before: &Queue, after: &Queue) {
        assert!(self.disk.in_flight.is_some(), "{state}: a write is under way");
        for (share, queue) in [(0, before), (1, before), (2, after)] {
            assert_eq!(&self.crash(share), queue, "{state}, {share} halves written");
        }
    }

    fn end(&mut self, id: MessageId) {
        self.log.append_done(id, self.at[&id]);
    }
}

fn queue(messages: &[(MessageId, &[Option<u32>])]) -> Queue {
    messages.iter().map(|(id, states)| (*id, states.to_vec())).collect()
}

/// A message for two recipients that is accepted.
fn accepted(life: &mut Life) -> MessageId {
    let id = life.log.next_id();
    life.log.append_message(message(id, 3_000, 2)).unwrap();
    life.commit();
    id
}

#[test]
fn before_250_a_crash_leaves_nothing_or_the_whole_message() {
    let mut life = Life::new();
    let id = life.log.next_id();
    let whole = content(id, 9_000);
    life.log.append_content(id, whole[..6_000].to_vec()).unwrap();
    life.leads_to("content appended", &Queue::new());
    life.write();
    life.leads_to("content being written", &Queue::new());
    life.commit();
    life.leads_to("content committed, no envelope yet", &Queue::new());
    let rest = NewMessage { content: whole[6_000..].to_vec(), ..message(id, 0, 2) };
    life.log.append_message(rest).unwrap();
    life.leads_to("message appended", &Queue::new());
    life.write();
    assert!(life.at.is_empty(), "not answered yet");
    let stored = queue(&[(id, &[Some(0), Some(0)])]);
    life.is_between("message being written", &Queue::new(), &stored);
    life.commit();
    assert!(life.at.contains_key(&id), "250");
    life.leads_to("committed", &stored);
}

#[test]
fn from_memory_a_crash_before_the_commit_loses_what_was_answered_and_a_failed_commit_does_not() {
    let mut life = Life::new();
    let id = life.log.next_id();
    let appended = life.log.append_message(from_memory(id, 9_000, 2)).unwrap();
    life.leads_to("appended: 250", &Queue::new());
    life.write();
    let stored = queue(&[(id, &[Some(0), Some(0)])]);
    life.is_between("being written", &Queue::new(), &stored);
    life.disk.fail(&mut life.log, EIO, |_| true);
    let refused = |event| matches!(event, LogEvent::Refused { id: one, .. } if one == id);
    assert!(life.log.poll_event().is_some_and(refused));
    assert!(matches!(life.log.poll_event(), Some(LogEvent::Unhealthy { .. })));
    life.leads_to("commit failed, group abandoned and the last one", &stored);
    life.log.append_again(&appended).unwrap();
    life.leads_to("appended again", &stored);
    life.write();
    life.commit();
    life.leads_to("committed", &stored);
    life.end(id);
    life.commit();
    life.leads_to("its end ends both copies", &Queue::new());
}

#[test]
fn what_was_not_noted_is_tried_again_and_what_was_is_kept() {
    let mut life = Life::new();
    let id = accepted(&mut life);
    let stored = queue(&[(id, &[Some(0), Some(0)])]);
    // Queued and dispatched are in memory alone.
    life.leads_to("dispatched", &stored);
    life.log.append_state(id, &pending_state(1, 1));
    life.leads_to("state appended", &stored);
    life.write();
    let noted = queue(&[(id, &[Some(0), Some(1)])]);
    life.is_between("state being written", &stored, &noted);
    life.commit();
    life.leads_to("state noted", &noted);
    life.log.append_state(id, &delivered(0));
    life.write();
    let half = queue(&[(id, &[None, Some(1)])]);
    life.is_between("final state being written", &noted, &half);
    life.commit();
    life.leads_to("one recipient is final", &half);
}

#[test]
fn a_bounce_is_final_only_after_its_dsn_is_stored() {
    let mut life = Life::new();
    let id = accepted(&mut life);
    let dsn = life.log.next_id();
    let stored = queue(&[(id, &[Some(0), Some(0)])]);
    let own = NewMessage { origin: Origin::Own, ..message(dsn, 500, 1) };
    life.log.append_message(own).unwrap();
    life.write();
    let both = queue(&[(id, &[Some(0), Some(0)]), (dsn, &[Some(0)])]);
    life.is_between("DSN being written", &stored, &both);
    life.commit();
    // It bounces again, and its sender is told twice: never not at all.
    life.leads_to("DSN stored", &both);
    life.log.append_state(id, &bounced(0));
    life.write();
    let told = queue(&[(id, &[None, Some(0)]), (dsn, &[Some(0)])]);
    life.is_between("bounce being written", &both, &told);
    life.commit();
    life.leads_to("bounce noted", &told);
}

#[test]
fn what_ended_stays_ended_even_when_its_segment_goes() {
    let mut life = Life::new();
    let id = accepted(&mut life);
    let stored = queue(&[(id, &[Some(0), Some(0)])]);
    life.end(id);
    // Delivered again: the one kind of duplicate.
    life.leads_to("end appended", &stored);
    life.write();
    life.is_between("end being written", &stored, &Queue::new());
    life.commit();
    life.leads_to("end committed", &Queue::new());
    let first = *life.disk.durable.keys().next().unwrap();
    while life.disk.removed.is_empty() {
        let next = accepted(&mut life);
        life.end(next);
        life.commit();
        life.leads_to("segments come and go", &Queue::new());
    }
    assert_eq!(life.disk.removed[0], first);
}

#[test]
fn a_message_that_moves_is_there_once_at_each_instant() {
    let mut life = Life::new();
    let id = accepted(&mut life);
    life.log.append_state(id, &pending_state(1, 4));
    life.commit();
    let stored = queue(&[(id, &[None, Some(4)])]);
    life.log.append_state(id, &delivered(0));
    life.commit();
    while !life.asked.contains(&id) {
        let next = accepted(&mut life);
        life.end(next);
        life.commit();
        life.leads_to("before it moves", &stored);
    }
    let one =
        MovedRecipient { recipient: 1, attempts: 4, due: pending().1, held: false, last: None };
    let before = life.at[&id];
    life.log.append_move(id, before, &[one]).unwrap();
    life.leads_to("copy appended", &stored);
    life.disk.run(&mut life.log);
    assert!(life.disk.in_flight.is_some() && life.disk.removed.is_empty());
    life.leads_to("copy being written", &stored);
    life.disk.finish(&mut life.log);
    life.leads_to("copy committed, the old one still there", &stored);
    life.commit();
    assert_ne!(life.at[&id], before, "moved");
    assert!(life.disk.removed.contains(&before.segment), "the old segment went");
    life.leads_to("moved", &stored);
}
