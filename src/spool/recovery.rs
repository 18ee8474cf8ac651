//! Read a directory's segments after a start and say what is in the queue.
//!
//! In: the heads of a few segments, then the maps of all, as they are opened. Out: what the log
//! goes on from, at once ([`begin`]); then, step by step, the messages that are not done and how
//! their recipients stand, and what is damaged.
//! Invariant: what was acknowledged and not done is found, or its damage is reported; what is found
//! is whole. Contents are read only in groups of which no later group says that they were
//! committed. A message is given out after everything was read: an end that comes later in the log
//! is known by then.
//! Cost: indexes; heads of groups where a segment has none; with an unclean end at most one group's
//! contents a run. Lives on: the shard that owns the directory; nothing here waits.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::base::ids::MessageId;
use crate::base::limits::EPOCHS_MAX;
use crate::spool::format::{
    GROUP_RECORD_BYTES, GroupHead, HeaderBlock, Record, SEGMENT_HEADER_BYTES, SegmentHeader,
};
use crate::spool::letter::Segments;
use crate::spool::live::Live;
use crate::spool::segment::{SegmentBytes, SegmentName};
use crate::spool::space::File;

mod audit;
mod drafts;
mod handing;
mod messages;
mod reading;

pub use messages::{Messages, PendingRecipient, RecoveredMessage};
pub use reading::Recovery;

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
    /// A segment's index: it does not say what the records say, or cannot be found.
    #[error("the segment's index is invalid")]
    Index,
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

/// How far recovery has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// `Recovery::poll_open` names segments that are needed first.
    Waits,
    /// There is more to do at once.
    GoesOn,
    /// Everything was found.
    Over,
}

/// What a log goes on from: made by `begin` and `recover` alone.
#[derive(Debug)]
pub struct LogStart {
    pub(super) directory: u16,
    /// Of this run.
    pub(super) epoch: u32,
    /// Of the directory, if any segment says it.
    pub(super) identity: Option<u64>,
    pub(super) next_number: u32,
    pub(super) files: BTreeMap<u32, File>,
    pub(super) live: Live,
    /// Files and what lives in them come by `Log::recover`.
    pub(super) is_partial: bool,
}

/// Octets at a segment's start that `begin` looks at.
pub const HEAD_BYTES: u32 = SEGMENT_HEADER_BYTES + GROUP_RECORD_BYTES;

/// Begin with `directory`, in which segments of these numbers lie, in order. A few heads are read,
/// however many there are: of the lowest one, which says whose the directory is, and of the highest
/// ones down to one that was written, which says how often it was opened. Nothing that is believed
/// here does harm if a power cut takes it back.
pub fn begin<E: From<RecoverError>>(
    directory: u16,
    numbers: Vec<u32>,
    head: impl FnMut(u32) -> Result<Vec<u8>, E>,
) -> Result<(LogStart, Recovery), E> {
    begin_with(directory, numbers, Depth::Heads, head)
}

fn begin_with<E: From<RecoverError>>(
    directory: u16,
    numbers: Vec<u32>,
    depth: Depth,
    mut head: impl FnMut(u32) -> Result<Vec<u8>, E>,
) -> Result<(LogStart, Recovery), E> {
    let mut identity = None;
    for number in &numbers {
        let name = SegmentName { directory, number: *number };
        if let Life::Whole(header) = Life::read(name, None, &head(*number)?)? {
            identity = Some(header.identity);
            break;
        }
    }
    let mut epoch = 0;
    for number in numbers.iter().rev() {
        let name = SegmentName { directory, number: *number };
        if let Some((_, last)) = Life::read(name, identity, &head(*number)?)?.said() {
            epoch = last;
            break;
        }
    }
    let next_number = numbers.last().map_or(Some(1), |newest| newest.checked_add(1));
    let next_number = next_number.filter(|_| epoch + 1 < EPOCHS_MAX);
    let start = LogStart {
        directory,
        epoch: epoch + 1,
        identity,
        next_number: next_number.ok_or(RecoverError::Spent { directory })?,
        files: BTreeMap::new(),
        live: Live::default(),
        is_partial: true,
    };
    Ok((start, Recovery::new(directory, numbers, identity, depth)))
}

/// Read all segments of `directory` at once, empty and foreign ones included, in any order. Those
/// without an index must have been synced since they were opened: what a power cut could still take
/// back must not be trusted.
pub fn recover(
    directory: u16,
    segments: &[(u32, Arc<dyn SegmentBytes>)],
) -> Result<Recovered, RecoverError> {
    let maps = segments.iter().map(|(number, map)| (*number, Arc::clone(map)));
    read(directory, &maps.collect(), Depth::Heads)
}

/// As `recover`, but with every record and content verified, indexes not believed, and all damage
/// listed. A message whose content is damaged is lost, unless an older copy of it is whole.
pub(super) fn verify(directory: u16, segments: &Segments) -> Result<Recovered, RecoverError> {
    read(directory, segments, Depth::Everything)
}

fn read(directory: u16, segments: &Segments, depth: Depth) -> Result<Recovered, RecoverError> {
    let head = |number| {
        let bytes = segments[&number].bytes();
        Ok::<_, RecoverError>(bytes[..bytes.len().min(HEAD_BYTES as usize)].to_vec())
    };
    let numbers = segments.keys().copied().collect();
    let (mut start, mut recovery) = begin_with(directory, numbers, depth, head)?;
    segments.iter().for_each(|(number, map)| recovery.handle_opened(*number, Arc::clone(map)));
    let mut found = Vec::new();
    let progress = recovery.go_on(usize::MAX, &mut start.live, |one, _| found.push(one))?;
    assert_eq!(progress, Progress::Over, "all segments are open");
    start.files = recovery.take_files().into_iter().collect();
    start.is_partial = false;
    let messages = Messages::new(directory, segments.clone(), found);
    Ok(recovery.into_recovered(messages, start))
}

/// What the head of a segment says of its life.
#[derive(Clone, Copy, Debug)]
enum Life {
    /// It is of another spool, or of another directory.
    Foreign,
    /// Its header is valid.
    Whole(SegmentHeader),
    /// Its header is not, and its first group says nonce and epoch, if there is one.
    Headless(Option<(u64, u32)>),
}

impl Life {
    /// Of the segment `name` in a directory with this identity, by its first octets.
    fn read(name: SegmentName, identity: Option<u64>, bytes: &[u8]) -> Result<Self, RecoverError> {
        Ok(match SegmentHeader::decode(bytes) {
            HeaderBlock::Version(found) => {
                return Err(RecoverError::Version { segment: name, found });
            }
            HeaderBlock::Valid(header)
                if header.directory != name.directory
                    || identity.is_some_and(|identity| identity != header.identity) =>
            {
                Self::Foreign
            }
            HeaderBlock::Valid(header) if header.number == name.number => Self::Whole(header),
            // A prepared file, perhaps recycled, whose header never reached the disk: unless the
            // first group says otherwise, nothing else did.
            HeaderBlock::Valid(_) | HeaderBlock::Blank | HeaderBlock::Invalid => {
                Self::Headless(life_by_first_group(name.number, bytes))
            }
        })
    }

    /// Nonce and epoch.
    fn said(&self) -> Option<(u64, u32)> {
        match self {
            Self::Foreign => None,
            Self::Whole(header) => Some((header.nonce, header.epoch)),
            Self::Headless(said) => *said,
        }
    }
}

/// Nonce and epoch of a segment whose header is lost, as its first group has them.
fn life_by_first_group(number: u32, bytes: &[u8]) -> Option<(u64, u32)> {
    let limit = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let record = Record::decode(bytes, SEGMENT_HEADER_BYTES, limit)?;
    // How far the group reaches is for those to ask who have the whole segment.
    let head = GroupHead::decode(&record, u32::MAX)?;
    (head.segment == number).then_some((record.header.nonce, head.epoch))
}
