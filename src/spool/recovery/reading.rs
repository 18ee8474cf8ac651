//! Read segments in order: what each group is, and what its records say.
//!
//! Invariant: segments are read in the order of the log, each once, by its index where it has one
//! that counts and else record by record; both ways say the same.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use crate::base::limits::{DAMAGE_MAX, OPENED_AHEAD_MAX};
use crate::spool::format::{GroupHead, LogEnd, Record, RecordKind, SEGMENT_HEADER_BYTES};
use crate::spool::index::{Entry, Index};
use crate::spool::letter::Segments;
use crate::spool::live::Live;
use crate::spool::recovery::audit::Audit;
use crate::spool::recovery::drafts::{Drafts, Trust};
use crate::spool::recovery::handing::Handing;
use crate::spool::recovery::messages::{Found, Messages};
use crate::spool::recovery::{
    Damage, Depth, Fault, Life, LogStart, Progress, RecoverError, Recovered, Tally,
};
use crate::spool::scan::{self, Scan};
use crate::spool::segment::{SegmentBytes, SegmentName};
use crate::spool::space::File;

/// A group, or what is left of one, whose fate the next group's head tells.
#[derive(Debug)]
struct Waiting {
    epoch: u32,
    start: LogEnd,
    /// `None`: its head is lost.
    end: Option<LogEnd>,
    /// Where its valid records are.
    records: Vec<u32>,
}

impl Waiting {
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

/// Where in a segment its messages are named.
#[derive(Clone, Debug)]
pub(super) enum Named {
    /// In these entries of its index.
    Entries(Range<u32>),
    /// By Message records at these offsets.
    Records(Vec<u32>),
}

/// The reading of one directory, step by step: `Log::recover`.
#[derive(Debug)]
pub struct Recovery {
    pub(super) directory: u16,
    depth: Depth,
    identity: Option<u64>,
    /// Its segments, in order.
    pub(super) numbers: Vec<u32>,
    /// So many of them were asked for.
    asked: usize,
    /// So many of them were read.
    read: usize,
    /// What is left of the index of the one that is being read.
    entries: Option<Range<u32>>,
    pub(super) segments: Segments,
    pub(super) named: BTreeMap<u32, Named>,
    pub(super) drafts: Drafts,
    pub(super) handing: Handing,
    /// Not yet known to be proven; the last has the records that are being read.
    waiting: Vec<Waiting>,
    /// Invalid octets of which it is not yet known whether they were committed.
    suspects: Vec<Damage>,
    /// Where the last group that was read ends.
    seen: LogEnd,
    /// The last segment with a group whose commit failed.
    abandoned: Option<u32>,
    files: Vec<(u32, File)>,
    tally: Tally,
    damage: Vec<Damage>,
    torn: Vec<Damage>,
}

impl Recovery {
    pub(super) fn new(
        directory: u16,
        numbers: Vec<u32>,
        identity: Option<u64>,
        depth: Depth,
    ) -> Self {
        Self {
            directory,
            depth,
            identity,
            numbers,
            asked: 0,
            read: 0,
            entries: None,
            segments: Segments::new(),
            named: BTreeMap::new(),
            drafts: Drafts::new(directory, depth),
            handing: Handing::default(),
            waiting: Vec::new(),
            suspects: Vec::new(),
            seen: LogEnd::default(),
            abandoned: None,
            files: Vec::new(),
            tally: Tally::default(),
            damage: Vec::new(),
            torn: Vec::new(),
        }
    }

    /// The next segment to open; `None`: enough are open for now.
    pub fn poll_open(&mut self) -> Option<u32> {
        let number = *self.numbers.get(self.asked)?;
        (self.asked < self.read + OPENED_AHEAD_MAX).then(|| {
            self.asked += 1;
            number
        })
    }

    /// A segment is open, and what `index::ahead` says of it is in memory.
    pub fn handle_opened(&mut self, number: u32, segment: Arc<dyn SegmentBytes>) {
        self.segments.insert(number, segment);
    }

    /// Damage in what was committed: to be reported as an error. Complete when all is over; at most
    /// `DAMAGE_MAX`.
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// What commits that never ended left behind: harmless, nothing of it was acknowledged. At most
    /// `DAMAGE_MAX`.
    pub fn torn(&self) -> &[Damage] {
        &self.torn
    }

    /// Files that were read since this was last asked.
    pub(in crate::spool) fn take_files(&mut self) -> Vec<(u32, File)> {
        std::mem::take(&mut self.files)
    }

    /// Go on for about `budget` records; a segment without an index is read in one go. What is
    /// found is counted in `live` and given to `found`.
    pub(in crate::spool) fn go_on(
        &mut self,
        budget: usize,
        live: &mut Live,
        mut found: impl FnMut(Found, &Segments),
    ) -> Result<Progress, RecoverError> {
        let mut left = budget;
        while let Some(number) = self.numbers.get(self.read).copied() {
            let Some(map) = self.segments.get(&number).map(Arc::clone) else {
                return Ok(Progress::Waits);
            };
            if left == 0 {
                return Ok(Progress::GoesOn);
            }
            left = left.saturating_sub(self.read_some(number, &map, left)?);
            if self.entries.is_none() {
                self.read += 1;
                if self.read == self.numbers.len() {
                    self.settle_rest();
                }
            }
        }
        if !self.hand_over(left, live, &mut found) {
            return Ok(Progress::GoesOn);
        }
        let known: HashSet<Fault> = self.damage.iter().map(|damage| damage.fault).collect();
        // What is wrong with a content was said where that lies, if it lies anywhere.
        let lost: Vec<_> = self.handing.lost.iter().map(|one| one.damage(self.directory)).collect();
        let unknown = lost.into_iter().filter(|damage| !known.contains(&damage.fault));
        unknown.for_each(|damage| self.damaged(damage));
        Ok(Progress::Over)
    }

    pub(super) fn into_recovered(self, messages: Messages, start: LogStart) -> Recovered {
        let lost = Messages::new(self.directory, self.segments, self.handing.lost);
        let tally = Tally { done: self.drafts.done, ..self.tally };
        let (damage, torn, ended) = (self.damage, self.torn, self.drafts.ended);
        Recovered { messages, damage, torn, lost, tally, ended, start }
    }

    /// Begin a segment, or go on with its index; how many records were taken in.
    fn read_some(
        &mut self,
        number: u32,
        map: &Arc<dyn SegmentBytes>,
        budget: usize,
    ) -> Result<usize, RecoverError> {
        match self.entries.take() {
            Some(entries) => Ok(self.take_entries(number, map.bytes(), entries, budget)),
            None => self.read_segment(number, map),
        }
    }

    fn read_segment(
        &mut self,
        number: u32,
        map: &Arc<dyn SegmentBytes>,
    ) -> Result<usize, RecoverError> {
        let bytes = map.bytes();
        let life = Life::read(self.name(number), self.identity, bytes)?;
        if matches!(life, Life::Foreign) {
            let whole = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            self.damaged(self.at(number, 0, whole, Fault::Foreign));
            return Ok(1);
        }
        if bytes.len() < SEGMENT_HEADER_BYTES as usize {
            // No crash shortens a file that got its name when it had its size.
            self.damaged(self.at(number, 0, SEGMENT_HEADER_BYTES, Fault::Header));
        }
        let said = life.said();
        let file = File { map: Arc::clone(map), nonce: said.map(|(nonce, _)| nonce) };
        self.files.push((number, file));
        if let (Life::Whole(header), Depth::Heads) = (life, self.depth)
            && let Some(index) = Index::find(bytes, &header)
        {
            self.begin_index(number, bytes, index);
            return Ok(1);
        }
        let Some((nonce, epoch)) = said else { return Ok(1) };
        Ok(self.scan(number, bytes, (nonce, epoch), matches!(life, Life::Headless(_))))
    }

    /// Read a segment record by record.
    fn scan(
        &mut self,
        number: u32,
        bytes: &[u8],
        (nonce, epoch): (u64, u32),
        mut is_headless: bool,
    ) -> usize {
        let mut count = 1;
        let mut audit = (self.depth == Depth::Everything).then(|| Audit::new(number, nonce));
        self.named.insert(number, Named::Records(Vec::new()));
        for found in Scan::new(bytes, number, nonce) {
            count += 1;
            let wrong = audit.as_mut().and_then(|audit| {
                audit.see(&found, bytes).or_else(|| self.beside_abandoned(number, &found))
            });
            self.take(number, epoch, found);
            // It was written with the first group: what says that this was committed says so of
            // the header.
            if std::mem::take(&mut is_headless) {
                self.suspects.push(self.at(number, 0, SEGMENT_HEADER_BYTES, Fault::Header));
            }
            if let Some((offset, bytes)) = wrong {
                self.suspects.push(self.at(number, offset, bytes, Fault::Index));
            }
        }
        count
    }

    /// The stretch of an index in a segment with a group whose commit failed: such a segment is
    /// left without an index, and a start would take that group's messages from this one.
    fn beside_abandoned(&self, number: u32, found: &scan::Found<'_>) -> Option<(u32, u32)> {
        match found {
            scan::Found::Record(record) if record.header.kind == RecordKind::Index => {
                (self.abandoned == Some(number)).then(|| (record.offset, record.bytes()))
            }
            scan::Found::Record(_) | scan::Found::Group { .. } | scan::Found::Hole { .. } => None,
        }
    }

    fn take(&mut self, number: u32, epoch: u32, found: scan::Found<'_>) {
        match found {
            scan::Found::Group { offset, head } => {
                self.settle(&head);
                self.tally.groups += 1;
                let start = LogEnd { segment: number, offset };
                let end = LogEnd { segment: number, offset: offset + head.bytes };
                let epoch = head.epoch;
                self.waiting.push(Waiting { epoch, start, end: Some(end), records: Vec::new() });
                self.seen = end;
            }
            scan::Found::Record(record) => {
                let waiting = self.waiting.last_mut();
                let waiting = waiting.expect("records come after a group or a hole");
                waiting.records.push(record.offset);
            }
            scan::Found::Hole { offset, bytes, fault } => {
                self.suspects.push(self.at(number, offset, bytes, fault));
                if fault == Fault::Group {
                    let start = LogEnd { segment: number, offset };
                    self.waiting.push(Waiting { epoch, start, end: None, records: Vec::new() });
                }
            }
        }
    }

    /// A segment ends with an index: it settles what the groups before it are, and all of its own
    /// groups are proven.
    fn begin_index(&mut self, number: u32, bytes: &[u8], index: Index) {
        let Index { facts, entries } = index;
        self.settle(&GroupHead {
            segment: number,
            epoch: facts.epoch,
            head_bytes: 0,
            bytes: 0,
            records: 0,
            committed: facts.before,
        });
        self.tally.groups += u64::from(facts.groups) + 1;
        let offset = u32::try_from(bytes.len()).expect("its trailer was found");
        self.seen = LogEnd { segment: number, offset };
        self.named.insert(number, Named::Entries(entries.clone()));
        self.entries = (!entries.is_empty()).then_some(entries);
    }

    /// Take in some of the entries of an index; how many.
    fn take_entries(
        &mut self,
        number: u32,
        bytes: &[u8],
        entries: Range<u32>,
        budget: usize,
    ) -> usize {
        let mut rest = &bytes[entries.start as usize..entries.end as usize];
        let mut count = 0;
        while count < budget
            && let Some((entry, after)) = Entry::split(rest)
        {
            self.take_entry(number, bytes, &entry);
            (rest, count) = (after, count + 1);
        }
        let left = u32::try_from(rest.len()).expect("inside a segment");
        self.entries = (left > 0).then(|| entries.end - left..entries.end);
        count
    }

    fn take_entry(&mut self, number: u32, bytes: &[u8], entry: &Entry<'_>) {
        match entry {
            Entry::Message(message) if message.see_record => {
                let end = message.offset.saturating_add(message.bytes);
                match Record::decode(bytes, message.offset, end) {
                    Some(record) => {
                        let group = LogEnd { segment: number, offset: message.offset };
                        let damaged =
                            self.drafts.message(&self.segments, &record, group, Trust::Proven);
                        self.suspects.extend(damaged);
                    }
                    None => {
                        let damage = self.at(number, message.offset, message.bytes, Fault::Record);
                        self.damaged(damage);
                    }
                }
            }
            Entry::Message(message) => self.drafts.indexed(number, message),
            Entry::State { id, standing } => self.drafts.stands(*id, number, standing),
            Entry::Done { id } => self.drafts.done(*id),
        }
    }

    /// A group's head was read: it settles what the groups before it are.
    fn settle(&mut self, head: &GroupHead) {
        let last = self.seen;
        for waiting in std::mem::take(&mut self.waiting) {
            let same_run = waiting.epoch == head.epoch;
            let trust = if same_run { waiting.trust(head) } else { Trust::Unproven };
            if trust == Trust::Abandoned {
                self.abandoned = Some(waiting.start.segment);
            }
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
        let oldest = self.numbers.first().copied().unwrap_or(0);
        if head.committed > last && !is_gap_known && head.committed.segment >= oldest {
            let LogEnd { segment, offset: end } = head.committed;
            let start = if last.segment == segment { last.offset } else { 0 };
            self.damaged(self.at(segment, start, end - start, Fault::Group));
        }
    }

    /// Nothing comes after the last group.
    fn settle_rest(&mut self) {
        for waiting in std::mem::take(&mut self.waiting) {
            self.apply(&waiting, Trust::Unproven);
        }
        for damage in std::mem::take(&mut self.suspects) {
            self.left_behind(damage);
        }
    }

    fn apply(&mut self, waiting: &Waiting, trust: Trust) {
        let segment = waiting.start.segment;
        let Some(map) = self.segments.get(&segment).map(Arc::clone) else { return };
        for offset in &waiting.records {
            // Valid when it was scanned.
            let Some(record) = Record::decode(map.bytes(), *offset, u32::MAX) else { continue };
            match record.header.kind {
                RecordKind::Message => self.apply_message(&record, waiting.start, trust),
                RecordKind::State => self.drafts.state(&record, segment),
                RecordKind::Done => self.drafts.done(record.header.id),
                RecordKind::Index => {}
                RecordKind::Group => unreachable!("a group's head is no record of it"),
            }
        }
    }

    fn apply_message(&mut self, record: &Record<'_>, group: LogEnd, trust: Trust) {
        if let Some(Named::Records(offsets)) = self.named.get_mut(&group.segment) {
            offsets.push(record.offset);
        }
        let damaged = self.drafts.message(&self.segments, record, group, trust);
        self.suspects.extend(damaged);
        if self.depth == Depth::Everything {
            let rotten = self.drafts.rotten(&self.segments, record, group, trust);
            self.damage.extend(rotten);
        }
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
