//! Verify a directory that no relay runs on, contents too, and say in words what is found.
//!
//! In: the maps of all segments. Out: figures, damage and torn tails with what each costs, and the
//! messages.
//! Invariant: every octet that a checksum covers is verified, but for what a failed commit wrote;
//! nothing is changed. What recovery at a start calls torn is torn here too: of the last group of a
//! run nobody knows whether it was acknowledged.
//! Cost: reads everything once.

use std::collections::HashSet;
use std::fmt;

use serde::Serialize;

use crate::base::ids::MessageId;
use crate::spool::format::{RECORD_ALIGN, Record, RecordKind};
use crate::spool::letter::{Letter, Segments};
use crate::spool::recovery::{
    Damage, Fault, LogStart, Messages, RecoverError, Recovered, RecoveredMessage, verify,
};
use crate::spool::stored::EnvelopeAt;

/// A directory's state.
#[derive(Debug)]
pub struct Checked {
    /// Its number.
    pub directory: u16,
    /// Counts.
    pub figures: Figures,
    /// Octets that are not what they were when they were committed.
    pub damage: Vec<Finding>,
    /// What commits that never ended left behind.
    pub torn: Vec<Finding>,
    pub(super) segments: Segments,
    messages: Messages,
    lost: Messages,
    /// Records of live messages whose checksums are right and whose envelopes make no sense.
    pub(super) senseless: Vec<(MessageId, EnvelopeAt)>,
    pub(super) start: LogStart,
}

/// What a directory holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Segment files.
    pub segments: u64,
    /// Commit groups.
    pub groups: u64,
    /// Messages in the queue, whole.
    pub live: u64,
    /// Messages that should be in the queue and cannot be delivered.
    pub lost: u64,
    /// Messages that are done and of which a record is left.
    pub done: u64,
    /// Recipients of live messages by standing.
    pub recipients: Recipients,
    /// Octets of all segment files.
    pub disk_bytes: u64,
    /// Octets of live messages: records and content.
    pub live_bytes: u64,
}

/// Recipients of messages in the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recipients {
    /// Never attempted.
    pub untried: u64,
    /// Attempted, and to be attempted again.
    pub deferred: u64,
    /// Held by an operator.
    pub held: u64,
    /// Delivered or bounced.
    pub ended: u64,
}

/// A place where octets are wrong, and what that costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where, and what is wrong.
    pub damage: Damage,
    /// The messages that it concerns, as far as that can be read.
    pub subjects: Vec<Subject>,
}

/// A message that damage concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Its name.
    pub id: MessageId,
    /// What is damaged of it.
    pub part: Part,
    /// The name itself is not damaged.
    pub is_sure: bool,
    /// What became of it.
    pub fate: Fate,
}

/// A part of what is stored of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Its content.
    Content,
    /// Its envelope and where its content is.
    Envelope,
    /// How a recipient stands.
    State,
    /// That it has ended.
    End,
}

/// What became of a message that damage concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It is in the queue and whole.
    Queued,
    /// It should be in the queue, and is not whole.
    Lost,
    /// It has ended.
    Ended,
    /// Nothing else is known of it.
    Missing,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, part, is_sure, fate } = self;
        let perhaps = if *is_sure { "" } else { "perhaps " };
        write!(f, "{perhaps}message {id}: ")?;
        f.write_str(match (part, fate) {
            (_, Fate::Ended) => "it has ended, nothing is lost",
            (Part::Content, Fate::Queued) => "an older copy of it is whole",
            (Part::Content | Part::Envelope, Fate::Lost) => "queued, and cannot be delivered",
            (Part::Content, Fate::Missing) => {
                "not in the queue; if its client was told 250, this is no torn tail and it is lost"
            }
            (Part::Envelope, Fate::Queued) => "another copy of it is whole",
            (Part::Envelope, Fate::Missing) => "not in the queue, its envelope cannot be trusted",
            (Part::State, Fate::Queued | Fate::Lost) => {
                "how a recipient stood is forgotten, it may be tried once more"
            }
            (Part::End, Fate::Queued | Fate::Lost) => {
                "that it ended is forgotten, it is queued again"
            }
            (Part::State | Part::End, Fate::Missing) => "not in the queue",
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.damage)?;
        self.subjects.iter().try_for_each(|subject| write!(f, "; {subject}"))
    }
}

/// Verify all segments of `directory`.
pub fn check(directory: u16, segments: Segments) -> Result<Checked, RecoverError> {
    let Recovered { messages, mut damage, torn, lost, tally, ended, start } =
        verify(directory, &segments)?;
    let mut figures = Figures {
        segments: segments.len() as u64,
        groups: tally.groups,
        live: start.live.messages(),
        lost: lost.len() as u64,
        done: tally.done,
        recipients: Recipients::default(),
        disk_bytes: segments.values().map(|map| map.bytes().len() as u64).sum(),
        live_bytes: start.live.bytes(),
    };
    let mut fates = Fates { queued: HashSet::new(), lost: lost.ids().collect(), ended };
    let mut senseless = Vec::new();
    for (id, message) in messages.ids().zip(messages.iter()) {
        match message {
            Ok(message) => {
                figures.recipients.add(&message, &segments);
                fates.queued.insert(id);
            }
            Err(one) => {
                let Damage { segment, offset, bytes, .. } = one;
                senseless.push((id, EnvelopeAt { segment: segment.number, offset, bytes }));
                fates.lost.insert(id);
                damage.push(one);
            }
        }
    }
    figures.live -= senseless.len() as u64;
    figures.lost += senseless.len() as u64;
    let find = |damage: Damage| {
        let subjects = match damage.fault {
            Fault::Content(id) => vec![fates.subject(id, Part::Content, true)],
            Fault::Record | Fault::Group => fates.subjects(&damage, &segments, &start),
            Fault::Header | Fault::Foreign | Fault::Index => Vec::new(),
        };
        Finding { damage, subjects }
    };
    let damage = damage.into_iter().map(&find).collect();
    let torn = torn.into_iter().map(&find).collect();
    Ok(Checked { directory, figures, damage, torn, segments, messages, lost, senseless, start })
}

impl Recipients {
    fn add(&mut self, message: &RecoveredMessage, segments: &Segments) {
        for one in &message.pending {
            let count = match (one.held, one.attempts) {
                (true, _) => &mut self.held,
                (false, 0) => &mut self.untried,
                (false, _) => &mut self.deferred,
            };
            *count += 1;
        }
        let all = Letter::read(segments, message).map_or(0, |letter| letter.standings.len());
        self.ended += all.saturating_sub(message.pending.len()) as u64;
    }
}

impl Checked {
    /// Every message in the queue that is whole, in order of its record.
    pub fn messages(&self) -> impl Iterator<Item = Letter<'_>> {
        letters(&self.messages, &self.segments)
    }

    /// Every message that should be in the queue and is not whole.
    pub fn lost(&self) -> impl Iterator<Item = Letter<'_>> {
        letters(&self.lost, &self.segments)
    }

    /// The queue, as recovery knows it.
    pub(super) fn queued(&self) -> impl Iterator<Item = RecoveredMessage> + '_ {
        self.messages.iter().filter_map(Result::ok)
    }
}

fn letters<'a>(messages: &'a Messages, segments: &'a Segments) -> impl Iterator<Item = Letter<'a>> {
    let found = messages.iter().filter_map(Result::ok);
    found.filter_map(|message| Letter::read(segments, &message))
}

/// What became of which message.
struct Fates {
    queued: HashSet<MessageId>,
    lost: HashSet<MessageId>,
    ended: HashSet<MessageId>,
}

impl Fates {
    fn subject(&self, id: MessageId, part: Part, is_sure: bool) -> Subject {
        let fate = if self.queued.contains(&id) {
            Fate::Queued
        } else if self.lost.contains(&id) {
            Fate::Lost
        } else if self.ended.contains(&id) {
            Fate::Ended
        } else {
            Fate::Missing
        };
        Subject { id, part, is_sure, fate }
    }

    /// The records that can be made out in damaged octets.
    fn subjects(&self, damage: &Damage, segments: &Segments, start: &LogStart) -> Vec<Subject> {
        let number = damage.segment.number;
        let nonce = start.files.get(&number).and_then(|file| file.nonce);
        let Some((map, nonce)) = segments.get(&number).zip(nonce) else {
            return Vec::new();
        };
        // What a wrong length says reaches further than there is anything to be made out.
        let end = u32::try_from(map.bytes().len()).unwrap_or(u32::MAX);
        let end = damage.offset.saturating_add(damage.bytes).min(end);
        let places = (damage.offset.next_multiple_of(RECORD_ALIGN)..end).step_by(8);
        let records = places.filter_map(|offset| {
            let peeked = Record::peek(map.bytes(), offset)?;
            let part = match peeked.record.header.kind {
                RecordKind::Message => Part::Envelope,
                RecordKind::State => Part::State,
                RecordKind::Done => Part::End,
                RecordKind::Group | RecordKind::Index => return None,
            };
            let is_sure = peeked.is_header_whole && peeked.record.header.nonce == nonce;
            // Past the first octets only what is certainly a record is taken for one.
            (is_sure || offset == damage.offset)
                .then(|| self.subject(peeked.record.header.id, part, is_sure))
        });
        records.collect()
    }
}
