//! Make a damaged directory such that all in it is whole, and tell what that costs.
//!
//! In: what `check` found, what came of the I/O. Out: what is left of damaged messages, and I/O as
//! a running log asks for it.
//!
//! A relay goes on without what is damaged. But a message whose content is damaged can be neither
//! delivered nor bounced nor moved: it waits for ever, and pins its segment and all after it. So
//! every whole message up to the last damaged segment is moved to fresh segments by the log itself,
//! under its own commit rule; damaged messages get an end; the old segments are given out by
//! `Io::Remove`, oldest first, to be set aside.
//!
//! Invariant: at each instant the directory holds a whole copy of every whole message; a crash
//! leaves a spool that can be repaired again. Without damage there is nothing to do.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use crate::base::ids::MessageId;
use crate::base::prng::Prng;
use crate::spool::check::{Checked, Finding, Part};
use crate::spool::format::Record;
use crate::spool::letter::Letter;
use crate::spool::log::{Io, Log, LogEvent, MovedRecipient, Options};
use crate::spool::recovery::{Damage, Fault, RecoveredMessage};
use crate::spool::segment::{SegmentBytes, SegmentName};
use crate::spool::stored::{EnvelopeAt, Standing};

/// What is left of a damaged message, or of octets that no longer say what they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Salvage {
    /// How its files are to be called.
    pub name: String,
    /// What is known of it, for people: id, envelope, reason.
    pub notes: String,
    /// The message as it would be sent, damaged octets included; `None`: only `raw` is left.
    pub message: Option<Vec<u8>>,
    /// The damaged octets as they are.
    pub raw: Option<Vec<u8>>,
}

/// What became of a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Its number.
    pub directory: u16,
    /// Messages that were moved to fresh segments.
    pub moved: u64,
    /// Segments that were set aside.
    pub set_aside: Vec<SegmentName>,
    /// What was salvaged, without its octets: name and notes.
    pub salvaged: Vec<(String, String)>,
}

/// Why a repair cannot go on. Nothing is lost by that: all that was whole still is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RepairError {
    /// The disk does not take it.
    #[error("{segment} cannot be written (errno {errno})")]
    Write {
        /// A fresh segment.
        segment: SegmentName,
        /// As in errno.h.
        errno: i32,
    },
    /// What was whole a moment ago is not.
    #[error("it changes while it is read: {0}")]
    Changed(Damage),
    /// A message does not fit in a fresh segment.
    #[error("{0} cannot be emptied: a message in it does not fit in a fresh segment")]
    Stuck(SegmentName),
}

/// A repair under way: a log without clients.
#[derive(Debug)]
pub struct Repair {
    log: Log,
    /// The last segment to be emptied; 0: none.
    through: u32,
    queued: HashMap<MessageId, RecoveredMessage>,
    moved: u64,
    failed: Option<RepairError>,
}

impl Checked {
    /// Whether a repair would change anything.
    pub fn needs_repair(&self) -> bool {
        !self.damage.is_empty()
    }

    /// Segments that belong elsewhere: to be set aside as they are.
    pub fn foreign(&self) -> impl Iterator<Item = SegmentName> + '_ {
        let all = self.damage.iter().map(|finding| finding.damage);
        all.filter(|damage| damage.fault == Fault::Foreign).map(|damage| damage.segment)
    }

    /// Octets that a repair writes, at most.
    pub fn repair_bytes(&self) -> u64 {
        2 * self.figures.live_bytes + 2 * u64::from(self.segment_bytes())
    }

    /// What is left of each damaged message, and of damaged octets that may have been one.
    pub fn salvage(&self) -> impl Iterator<Item = Salvage> + '_ {
        let lost = self.lost().map(|letter| self.salvage_lost(&letter));
        let own = self.damage.iter().filter(|one| self.is_unreadable(one));
        lost.chain(own.map(|finding| self.salvage_octets(finding)))
    }

    /// Damaged octets that are, or may be, the only ones that say of a message.
    fn is_unreadable(&self, finding: &Finding) -> bool {
        matches!(finding.damage.fault, Fault::Record | Fault::Group)
            && finding.damage.offset < self.length(finding.damage.segment.number)
    }

    fn length(&self, number: u32) -> u32 {
        let bytes = self.segments.get(&number).map_or(0, |map| map.bytes().len());
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }

    /// As large as the largest file here: what fitted there fits again.
    fn segment_bytes(&self) -> u32 {
        let largest = self.segments.keys().map(|number| self.length(*number)).max().unwrap_or(0);
        (largest / 4_096 * 4_096).max(32 * 1024)
    }

    fn salvage_lost(&self, letter: &Letter<'_>) -> Salvage {
        let is_its = |finding: &&Finding| {
            finding.subjects.iter().any(|one| one.id == letter.id && one.part == Part::Content)
        };
        let mut notes = String::new();
        self.damage.iter().filter(is_its).for_each(|one| line(&mut notes, "damage", one.damage));
        describe(letter, &mut notes);
        let message = Some(as_sent(letter));
        Salvage { name: letter.id.to_string(), notes, message, raw: None }
    }

    fn salvage_octets(&self, finding: &Finding) -> Salvage {
        let Damage { segment, offset, bytes, .. } = finding.damage;
        let map = self.segments.get(&segment.number);
        let octets = map.map_or(&[][..], |map| map.bytes());
        let end = (offset as usize).saturating_add(bytes as usize).min(octets.len());
        let raw = octets[(offset as usize).min(end)..end].to_vec();
        let mut notes = String::new();
        line(&mut notes, "damage", finding);
        let subject = finding.subjects.iter().find(|one| one.part == Part::Envelope);
        let peeked = Record::peek(octets, offset).map(|peeked| peeked.record);
        let letter = subject.zip(peeked).and_then(|(subject, record)| {
            let at = EnvelopeAt { segment: segment.number, offset, bytes };
            Letter::of_payload(&self.segments, subject.id, at, record.payload)
        });
        let message = letter.map(|letter| {
            line(&mut notes, "beware", "the envelope's checksum is wrong: some of it is not so");
            describe(&letter, &mut notes);
            as_sent(&letter)
        });
        let name = format!("{:03}-{:08}-{offset}", segment.directory, segment.number);
        Salvage { name, notes, message, raw: Some(raw) }
    }
}

fn line(notes: &mut String, name: &str, value: impl std::fmt::Display) {
    writeln!(notes, "{name}: {value}").expect("text takes all");
}

fn describe(letter: &Letter<'_>, notes: &mut String) {
    line(notes, "message", letter.id);
    line(notes, "received", letter.received.to_rfc3339());
    line(notes, "reverse-path", &letter.envelope.reverse_path);
    for (place, recipient) in letter.envelope.recipients.iter().enumerate() {
        let standing = letter.standings.get(place).map_or_else(String::new, in_words);
        line(notes, "recipient", format_args!("{}{standing}", recipient.forward_path));
    }
    let mut offset = letter.prefix.len() as u64;
    for stretch in &letter.content {
        let bytes = u64::from(stretch.extent.bytes);
        let range = format!("octets {offset} to {} of the message", offset + bytes);
        match (stretch.octets, stretch.is_whole) {
            (None, _) => line(notes, "missing", range),
            (Some(_), false) => line(notes, "not as written", range),
            (Some(_), true) => {}
        }
        offset += bytes;
    }
}

/// A standing, to follow an address.
pub fn in_words(standing: &Standing) -> String {
    match standing {
        Standing::Pending { attempts, due, held, reason } => {
            let word = match (held, attempts) {
                (true, _) => "held",
                (false, 0) => "untried",
                (false, _) => "deferred",
            };
            let due = due.to_rfc3339();
            let last = reason.as_ref().map_or_else(String::new, |one| format!(", last: {one}"));
            format!(" {word}, {attempts} attempts, due {due}{last}")
        }
        Standing::Delivered | Standing::Bounced | Standing::Ended => " ended".to_owned(),
    }
}

fn as_sent(letter: &Letter<'_>) -> Vec<u8> {
    let mut out = letter.prefix.to_vec();
    letter.content.iter().for_each(|one| out.extend_from_slice(one.octets.unwrap_or_default()));
    out
}

impl Repair {
    /// Begin, once what `salvage` gave is on stable storage. `prng`: as for `Log::new`.
    pub fn new(checked: Checked, prng: Prng) -> Self {
        let is_own = |damage: &Damage| damage.fault != Fault::Foreign;
        let damage = checked.damage.iter().map(|finding| finding.damage).filter(is_own);
        let through = damage.map(|damage| damage.segment.number).max().unwrap_or(0);
        let options = Options { segment_bytes: checked.segment_bytes(), reserve: 0, admits: false };
        let queued = checked.queued().map(|message| (message.id, message)).collect();
        let lost = checked.lost().map(|letter| (letter.id, letter.at));
        let lost: Vec<_> = lost.chain(checked.senseless.iter().copied()).collect();
        let mut log = Log::new(checked.start, options, prng);
        lost.into_iter().for_each(|(id, at)| log.append_done(id, at));
        log.evacuate(through);
        Self { log, through, queued, moved: 0, failed: None }
    }

    /// The next thing to do; `None`: it is done. `Io::Remove` means: set the file aside.
    pub fn poll_io(&mut self) -> Result<Option<Io>, RepairError> {
        if self.through == 0 {
            return Ok(None);
        }
        while let Some(event) = self.log.poll_event() {
            self.note(event);
        }
        self.failed.map_or(Ok(()), Err)?;
        let io = self.log.poll_io();
        match io {
            Some(Io::Remove { .. }) => self.log.evacuate(self.through),
            Some(Io::Create { .. } | Io::Commit { .. }) => {}
            None => self.log.evacuated().map_err(RepairError::Stuck)?,
        }
        Ok(io)
    }

    /// As `Log::handle_segment_ready`.
    pub fn handle_segment_ready(
        &mut self,
        segment: SegmentName,
        result: Result<Arc<dyn SegmentBytes>, i32>,
    ) {
        if let Err(errno) = result {
            self.failed = Some(RepairError::Write { segment, errno });
        }
        self.log.handle_segment_ready(segment, result);
    }

    /// As `Log::handle_committed`.
    pub fn handle_committed(&mut self, segment: SegmentName, result: Result<(), i32>) {
        self.log.handle_committed(segment, result);
    }

    /// Messages moved so far.
    pub fn moved(&self) -> u64 {
        self.moved
    }

    fn note(&mut self, event: LogEvent) {
        match event {
            LogEvent::Move { id } => self.move_message(id),
            LogEvent::Moved { .. } => self.moved += 1,
            LogEvent::Unhealthy { segment, errno } => {
                self.failed = Some(RepairError::Write { segment, errno });
            }
            LogEvent::Healthy | LogEvent::Noted { .. } => {}
            LogEvent::Accepted(_) | LogEvent::Refused { .. } => unreachable!("nothing comes in"),
        }
    }

    fn move_message(&mut self, id: MessageId) {
        let Some(message) = self.queued.get(&id) else {
            return;
        };
        let pending = message.pending.iter().map(|one| MovedRecipient {
            recipient: one.recipient,
            attempts: one.attempts,
            due: one.due,
            held: one.held,
            last: one.last,
        });
        let pending: Vec<MovedRecipient> = pending.collect();
        if let Err(damage) = self.log.append_move(id, message.at, &pending) {
            self.failed = Some(RepairError::Changed(damage));
        }
    }
}
