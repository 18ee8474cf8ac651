//! Read a directory's segments after a start and say what is in the queue.
//!
//! In: the maps of all segments. Out: the messages that are not done and how their recipients
//! stand, what is damaged, and what the log goes on from.
//! Invariant: what was acknowledged and not done is found, or its damage is reported; what is found
//! is whole. Contents are read only in groups of which no later group says that they were
//! committed.
//! Cost: heads of groups; with an unclean end at most one group's contents a run.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::base::ids::MessageId;
use crate::base::limits::DAMAGE_MAX;
use crate::base::limits::EPOCHS_MAX;
use crate::spool::format::{
    GroupHead, HeaderBlock, LogEnd, Record, RecordKind, SEGMENT_HEADER_BYTES, SegmentHeader,
};
use crate::spool::letter::Segments;
use crate::spool::live::Live;
use crate::spool::scan::{Found, Scan};
use crate::spool::segment::{SegmentBytes, SegmentName};
use crate::spool::space::File;

mod drafts;
mod messages;

use drafts::{Drafts, Finished, Maps, Trust};
pub use messages::{Messages, PendingRecipient, RecoveredMessage};

/// Octets that are not what they were when they were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{segment} at {offset}, {bytes} octets: {fault}")]
pub struct Damage {
    /// Where.
    pub segment: SegmentName,
    /// The first octet.
    pub offset: u32,
    /// How many.
    pub bytes: u32,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with damaged octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Fault {
    /// A segment's header block.
    #[error("the segment's header is invalid")]
    Header,
    /// A segment of another spool, or of another directory.
    #[error("the segment belongs to another spool directory")]
    Foreign,
    /// A commit group, or the start of one.
    #[error("a commit group is missing or its header is invalid")]
    Group,
    /// A record.
    #[error("a record is invalid")]
    Record,
    /// A message's content.
    #[error("the content of message {0} is invalid")]
    Content(MessageId),
}

/// Why a directory cannot be opened at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoverError {
    /// Written by another version of the relay.
    #[error("{segment}: format {found} is not known to this version")]
    Version {
        /// The segment.
        segment: SegmentName,
        /// Its version.
        found: u32,
    },
    /// Segment numbers or directory epochs are used up.
    #[error("spool directory {directory:03} was opened too often: start with an empty one")]
    Spent {
        /// The directory.
        directory: u16,
    },
}

/// What `recover` found.
#[derive(Debug)]
pub struct Recovered {
    /// Every message that is not done, in order of its record; decoded one by one.
    pub messages: Messages,
    /// Damage in what was committed: to be reported as an error. At most `DAMAGE_MAX`.
    pub damage: Vec<Damage>,
    /// What commits that never ended left behind: harmless, nothing of it was acknowledged. At
    /// most `DAMAGE_MAX`.
    pub torn: Vec<Damage>,
    /// Messages that should be in the queue and are not whole: each is in `damage` too. What is
    /// left of them can be read.
    pub lost: Messages,
    /// What was read.
    pub tally: Tally,
    /// Messages that have an end; empty unless everything was read.
    pub(super) ended: HashSet<MessageId>,
    /// What the log goes on from.
    pub start: LogStart,
}

/// What was read of a directory, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Commit groups.
    pub groups: u64,
    /// Messages that are here and are done.
    pub done: u64,
}

/// How much of the segments is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Depth {
    /// All heads, and contents where no later group says that they were committed: a start.
    Heads,
    /// All contents that some record knows, those of ended messages too: a check.
    Everything,
}

/// What a log goes on from: made by `recover` alone.
#[derive(Debug)]
pub struct LogStart {
    pub(super) directory: u16,
    /// Of this run.
    pub(super) epoch: u32,
    /// Of the directory, if any segment says it.
    pub(super) identity: Option<u64>,
    /// Of the next record.
    pub(super) sequence: u64,
    pub(super) next_number: u32,
    pub(super) files: BTreeMap<u32, File>,
    pub(super) live: Live,
}

/// Read all segments of `directory`, empty and foreign ones included, in any order. They must have
/// been synced since they were opened: what a power cut could still take back must not be trusted.
pub fn recover(
    directory: u16,
    segments: &[(u32, Arc<dyn SegmentBytes>)],
) -> Result<Recovered, RecoverError> {
    let maps = segments.iter().map(|(number, map)| (*number, map));
    read(directory, &maps.collect(), Depth::Heads)
}

/// As `recover`, but with every content verified and all damage listed. A message whose content is
/// damaged is lost, unless an older copy of it is whole.
pub(super) fn verify(directory: u16, segments: &Segments) -> Result<Recovered, RecoverError> {
    let maps = segments.iter().map(|(number, map)| (*number, map));
    read(directory, &maps.collect(), Depth::Everything)
}

fn read(directory: u16, segments: &Maps<'_>, depth: Depth) -> Result<Recovered, RecoverError> {
    let mut recovery = Recovery::new(directory, segments, depth);
    for (number, map) in segments {
        recovery.read_segment(*number, map)?;
    }
    recovery.finish()
}

/// A group, or what is left of one, whose fate the next group's head tells.
#[derive(Debug)]
struct Waiting<'a> {
    epoch: u32,
    start: LogEnd,
    /// `None`: its head is lost.
    end: Option<LogEnd>,
    records: Vec<Record<'a>>,
}

impl Waiting<'_> {
    /// What `head`, which was written next in the same epoch, says of the group.
    fn trust(&self, head: &GroupHead) -> Trust {
        if head.committed <= self.start {
            Trust::Abandoned
        } else if self.end == Some(head.committed) {
            Trust::Proven
        } else {
            Trust::Unproven
        }
    }
}

/// The state of reading a directory.
#[derive(Debug)]
struct Recovery<'a> {
    directory: u16,
    depth: Depth,
    segments: &'a Maps<'a>,
    drafts: Drafts<'a>,
    /// Not yet known to be proven; the last has the records that are being read.
    waiting: Vec<Waiting<'a>>,
    /// Invalid octets of which it is not yet known whether they were committed.
    suspects: Vec<Damage>,
    /// Where the last group that was read ends.
    seen: LogEnd,
    identity: Option<u64>,
    epoch: u32,
    sequence: u64,
    files: BTreeMap<u32, File>,
    tally: Tally,
    damage: Vec<Damage>,
    torn: Vec<Damage>,
}

impl<'a> Recovery<'a> {
    fn new(directory: u16, segments: &'a Maps<'a>, depth: Depth) -> Self {
        Self {
            directory,
            depth,
            segments,
            drafts: Drafts::new(directory, segments, depth),
            waiting: Vec::new(),
            suspects: Vec::new(),
            seen: LogEnd::default(),
            identity: None,
            epoch: 0,
            sequence: 0,
            files: BTreeMap::new(),
            tally: Tally::default(),
            damage: Vec::new(),
            torn: Vec::new(),
        }
    }

    fn read_segment(
        &mut self,
        number: u32,
        map: &'a Arc<dyn SegmentBytes>,
    ) -> Result<(), RecoverError> {
        let bytes = map.bytes();
        let mut is_headless = false;
        let life = match SegmentHeader::decode(bytes) {
            HeaderBlock::Version(found) => {
                return Err(RecoverError::Version { segment: self.name(number), found });
            }
            HeaderBlock::Valid(header) if self.is_foreign(&header) => {
                let whole = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                let damage = self.at(number, 0, whole, Fault::Foreign);
                self.damaged(damage);
                return Ok(());
            }
            HeaderBlock::Valid(header) if header.number == number => {
                self.identity = Some(header.identity);
                Some((header.nonce, header.epoch))
            }
            // A prepared file, perhaps recycled, whose header never reached the disk: unless the
            // first group says otherwise, nothing else did.
            HeaderBlock::Valid(_) | HeaderBlock::Blank | HeaderBlock::Invalid => {
                is_headless = true;
                life_by_first_group(number, bytes)
            }
        };
        if bytes.len() < SEGMENT_HEADER_BYTES as usize {
            // No crash shortens a file that got its name when it had its size.
            self.damaged(self.at(number, 0, SEGMENT_HEADER_BYTES, Fault::Header));
        }
        let nonce = life.map(|(nonce, _)| nonce);
        self.files.insert(number, File { map: Arc::clone(map), nonce });
        if let Some((nonce, epoch)) = life {
            self.epoch = self.epoch.max(epoch);
            for found in Scan::new(bytes, number, nonce) {
                self.take(number, epoch, found);
                // It was written with the first group: what says that this was committed says so
                // of the header.
                if std::mem::take(&mut is_headless) {
                    let damage = self.at(number, 0, SEGMENT_HEADER_BYTES, Fault::Header);
                    self.suspects.push(damage);
                }
            }
        }
        Ok(())
    }

    /// Whether a segment with a valid header is none of this directory's.
    fn is_foreign(&self, header: &SegmentHeader) -> bool {
        let other_spool = self.identity.is_some_and(|identity| identity != header.identity);
        other_spool || header.directory != self.directory
    }

    fn take(&mut self, number: u32, epoch: u32, found: Found<'a>) {
        match found {
            Found::Group { offset, sequence, head } => {
                self.settle(&head);
                self.tally.groups += 1;
                let start = LogEnd { segment: number, offset };
                let end = LogEnd { segment: number, offset: offset + head.bytes };
                let epoch = head.epoch;
                self.waiting.push(Waiting { epoch, start, end: Some(end), records: Vec::new() });
                self.seen = end;
                self.epoch = self.epoch.max(epoch);
                self.sequence = self.sequence.max(sequence);
            }
            Found::Record(record) => {
                self.sequence = self.sequence.max(record.header.sequence);
                let waiting = self.waiting.last_mut();
                waiting.expect("records come after a group or a hole").records.push(record);
            }
            Found::Hole { offset, bytes, fault } => {
                let damage = self.at(number, offset, bytes, fault);
                self.suspects.push(damage);
                if fault == Fault::Group {
                    let start = LogEnd { segment: number, offset };
                    self.waiting.push(Waiting { epoch, start, end: None, records: Vec::new() });
                }
            }
        }
    }

    /// A group's head was read: it settles what the groups before it are.
    fn settle(&mut self, head: &GroupHead) {
        let last = self.seen;
        for waiting in std::mem::take(&mut self.waiting) {
            let same_run = waiting.epoch == head.epoch;
            let trust = if same_run { waiting.trust(head) } else { Trust::Unproven };
            self.apply(&waiting, trust);
        }
        let mut is_gap_known = false;
        for damage in std::mem::take(&mut self.suspects) {
            let at = LogEnd { segment: damage.segment.number, offset: damage.offset };
            if at < head.committed {
                is_gap_known |= at >= last || damage.fault == Fault::Group;
                self.damaged(damage);
            } else {
                self.left_behind(damage);
            }
        }
        let oldest = self.segments.first_key_value().map_or(0, |(number, _)| *number);
        if head.committed > last && !is_gap_known && head.committed.segment >= oldest {
            let LogEnd { segment, offset: end } = head.committed;
            let start = if last.segment == segment { last.offset } else { 0 };
            let damage = self.at(segment, start, end - start, Fault::Group);
            self.damaged(damage);
        }
    }

    fn apply(&mut self, waiting: &Waiting<'a>, trust: Trust) {
        let segment = waiting.start.segment;
        for record in &waiting.records {
            match record.header.kind {
                RecordKind::Message => {
                    let damaged = self.drafts.message(record, waiting.start, trust);
                    self.suspects.extend(damaged);
                    if self.depth == Depth::Everything {
                        let rotten = self.drafts.rotten(record, waiting.start, trust);
                        self.damage.extend(rotten);
                    }
                }
                RecordKind::State => self.drafts.state(record, segment),
                RecordKind::Done => self.drafts.done(record.header.id),
                RecordKind::Group => unreachable!("a group's head is no record of it"),
            }
        }
    }

    fn finish(mut self) -> Result<Recovered, RecoverError> {
        for waiting in std::mem::take(&mut self.waiting) {
            self.apply(&waiting, Trust::Unproven);
        }
        for damage in std::mem::take(&mut self.suspects) {
            self.left_behind(damage);
        }
        let (directory, epoch) = (self.directory, self.epoch + 1);
        let newest = self.segments.last_key_value().map_or(0, |(number, _)| *number);
        let next_number = newest.checked_add(1).filter(|_| epoch < EPOCHS_MAX);
        let next_number = next_number.ok_or(RecoverError::Spent { directory })?;
        let room = self.damage_max();
        let Finished { messages, live, lost, done, ended } = self.drafts.finish();
        let (mut damage, torn) = (self.damage, self.torn);
        let known: HashSet<Fault> = damage.iter().map(|damage| damage.fault).collect();
        // What is wrong with a content was said where that lies, if it lies anywhere.
        let unknown = lost.damage().into_iter().filter(|damage| !known.contains(&damage.fault));
        damage.extend(unknown);
        damage.truncate(room);
        let tally = Tally { done, ..self.tally };
        let start = LogStart {
            directory,
            epoch,
            identity: self.identity,
            sequence: self.sequence + 1,
            next_number,
            files: self.files,
            live,
        };
        Ok(Recovered { messages, damage, torn, lost, tally, ended, start })
    }

    fn damaged(&mut self, damage: Damage) {
        if self.damage.len() < self.damage_max() {
            self.damage.push(damage);
        }
    }

    fn left_behind(&mut self, torn: Damage) {
        if self.torn.len() < self.damage_max() {
            self.torn.push(torn);
        }
    }

    fn damage_max(&self) -> usize {
        match self.depth {
            Depth::Heads => DAMAGE_MAX,
            Depth::Everything => usize::MAX,
        }
    }

    fn name(&self, number: u32) -> SegmentName {
        SegmentName { directory: self.directory, number }
    }

    fn at(&self, number: u32, offset: u32, bytes: u32, fault: Fault) -> Damage {
        Damage { segment: self.name(number), offset, bytes, fault }
    }
}

/// Nonce and epoch of a segment whose header is lost, as its first group has them.
fn life_by_first_group(number: u32, bytes: &[u8]) -> Option<(u64, u32)> {
    let limit = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let record = Record::decode(bytes, SEGMENT_HEADER_BYTES, limit)?;
    let head = GroupHead::decode(&record, limit - SEGMENT_HEADER_BYTES)?;
    (head.segment == number).then_some((record.header.nonce, head.epoch))
}
