//! Make the device as a power cut would have left it.
//!
//! What was written before the last flush before the cut is there. Of the writes after it the disk
//! may have done any part, in any order: the four ways to [`Lose`] cover the ends and, by seed, the
//! middle. A sector is written or not; that much disks promise.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use relay_fast::base::prng::Prng;

use crate::recorder::copy;
use crate::tape::{Entry, Moment, SECTOR};

/// What becomes of writes that no flush followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lose {
    /// None of them was done.
    All,
    /// All were.
    Nothing,
    /// Some were, others not: whatever order the disk chose.
    Writes,
    /// Some sectors or pages of each were: few, half of them, most.
    Sectors,
}

const LOSSES: [Lose; 4] = [Lose::All, Lose::Nothing, Lose::Writes, Lose::Sectors];

/// A power cut: behind so many entries of the tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) entries: usize,
    pub(crate) lose: Lose,
    pub(crate) seed: u64,
}

impl Cut {
    /// Behind so many entries, with any loss.
    pub(crate) fn at(entries: usize, prng: &mut Prng) -> Self {
        Self { entries, lose: LOSSES[prng.below(4) as usize], seed: prng.next_u64() }
    }
}

/// `count` cuts by seed, in the order of the tape, between two moments: of eight three
/// just after a message got its 250, two just before a flush, when most is at stake, one before
/// anything was acknowledged, while the spool is laid out, and two anywhere.
pub(crate) fn choose(
    tape: &[Entry],
    count: usize,
    span: (Moment, Moment),
    acknowledged: &[Moment],
    seed: u64,
) -> Vec<Cut> {
    let mut prng = Prng::from_number(seed);
    let (from, to) = span;
    let first = acknowledged.iter().copied().min().unwrap_or(to);
    let mut cuts: Vec<Cut> = (0..count)
        .map(|place| {
            let anywhere = from + prng.below((to - from) as u64) as usize;
            let entries = match place % 8 {
                0..=2 => acknowledged[prng.below(acknowledged.len() as u64) as usize],
                3 | 4 => {
                    let mut rest = tape[anywhere..to].iter();
                    anywhere + rest.position(|entry| matches!(entry, Entry::Flush)).unwrap_or(0)
                }
                5 => from + prng.below((first - from) as u64) as usize,
                _ => anywhere,
            };
            Cut::at(entries, &mut prng)
        })
        .collect();
    cuts.sort_by_key(|cut| cut.entries);
    cuts
}

/// A device that goes forward through a tape, and is copied at each cut.
#[derive(Debug)]
pub(crate) struct Device<'a> {
    tape: &'a [Entry],
    path: PathBuf,
    file: File,
    /// Entries that are done, all of them flushed.
    done: usize,
}

impl<'a> Device<'a> {
    /// The device at `path`, before the first entry.
    pub(crate) fn new(tape: &'a [Entry], path: &Path) -> Self {
        let file = OpenOptions::new().write(true).open(path).unwrap();
        Self { tape, path: path.to_owned(), file, done: 0 }
    }

    /// Make `image` as `cut`, which is not before the last one, leaves the device. How many octets
    /// no flush had followed.
    pub(crate) fn cut(&mut self, cut: &Cut, image: &Path) -> usize {
        let before = &self.tape[..cut.entries];
        let last_flush = before.iter().rposition(|entry| matches!(entry, Entry::Flush));
        let flushed = last_flush.map_or(0, |place| place + 1).max(self.done);
        for (offset, octets) in writes(&self.tape[self.done..flushed]) {
            self.file.write_all_at(octets, offset).unwrap();
        }
        self.done = flushed;
        copy(&self.path, image);
        let file = OpenOptions::new().write(true).open(image).unwrap();
        let mut prng = Prng::from_number(cut.seed);
        let mut unsure = 0;
        let unit = [SECTOR, 8 * SECTOR][prng.below(2) as usize];
        let share = [1, 8, 15][prng.below(3) as usize];
        for (mut offset, octets) in writes(&before[flushed..]) {
            unsure += octets.len();
            let keeps_write = prng.below(2) == 0;
            for sector in octets.chunks(unit) {
                let keeps = match cut.lose {
                    Lose::All => false,
                    Lose::Nothing => true,
                    Lose::Writes => keeps_write,
                    Lose::Sectors => prng.below(16) < share,
                };
                if keeps {
                    file.write_all_at(sector, offset).unwrap();
                }
                offset += sector.len() as u64;
            }
        }
        unsure
    }
}

fn writes(entries: &[Entry]) -> impl Iterator<Item = (u64, &[u8])> {
    entries.iter().filter_map(|entry| match entry {
        Entry::Write { offset, octets } => Some((*offset, octets.as_slice())),
        Entry::Flush => None,
    })
}
