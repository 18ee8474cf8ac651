//! Decide what to move so that old segments become free.
//!
//! Segments go in the order in which they came, so the oldest one that holds anything live pins all
//! after it. Once the files take more than twice what lives in them (and a few segments), the
//! messages of the oldest one are moved to the head of the log; it goes when they are committed
//! there. So a deferral of a week does not pin what was written after it.

use crate::base::limits::{MOVE_BYTES_MAX, MOVES_MAX};

/// Segments that may be in use beside twice what lives. The more there are, the fewer messages are
/// moved for each new one, where what lives takes little room.
const SLACK_SEGMENTS: u64 = 4;

/// What the decision rests on, in octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Situation {
    /// Of written segment files.
    pub(super) written: u64,
    /// Of live messages.
    pub(super) live: u64,
    /// Of one segment.
    pub(super) segment: u64,
    /// Live in the oldest segment.
    pub(super) oldest_live: u64,
    /// That can be written before a file must be created, if the disk gives no more files.
    pub(super) left_on_full_disk: Option<u64>,
}

/// Whether messages of the oldest segment should be moved.
pub(super) fn should_move(situation: &Situation) -> bool {
    let Situation { written, live, segment, oldest_live, left_on_full_disk } = *situation;
    let bloated = written > 2 * live + SLACK_SEGMENTS * segment;
    // On a full disk moving must free the segment with what room there is, or it only takes room.
    let affordable = left_on_full_disk.is_none_or(|left| oldest_live < left / 2);
    bloated && oldest_live > 0 && affordable
}

/// How many of the messages with these octets to move now, where some are under way already.
pub(super) fn batch(
    under_way: usize,
    under_way_bytes: u64,
    candidates: impl Iterator<Item = u32>,
) -> usize {
    let mut bytes = under_way_bytes;
    let room = MOVES_MAX.saturating_sub(under_way);
    let taken = candidates.take(room).take_while(|candidate| {
        let fits = bytes == 0 || bytes + u64::from(*candidate) <= MOVE_BYTES_MAX as u64;
        bytes += u64::from(*candidate);
        fits
    });
    taken.count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn situation(written: u64, live: u64, oldest_live: u64) -> Situation {
        let (written, live) = (written * MIB, live * MIB);
        let (segment, oldest_live) = (64 * MIB, oldest_live * MIB);
        Situation { written, live, segment, oldest_live, left_on_full_disk: None }
    }

    #[test]
    fn messages_move_when_files_take_twice_what_lives_and_some_segments() {
        assert!(!should_move(&situation(128, 0, 0)));
        assert!(!should_move(&situation(256, 1, 1)), "a few segments are always allowed");
        assert!(should_move(&situation(320, 1, 1)));
        assert!(!should_move(&situation(1_024, 512, 10)), "half of it lives");
        assert!(!should_move(&situation(1_024, 1, 0)), "nothing pins the oldest");
    }

    #[test]
    fn a_full_disk_moves_only_what_surely_fits() {
        let left = |left| Some(left * MIB);
        let bloated = situation(1_024, 20, 10);
        assert!(should_move(&Situation { left_on_full_disk: left(30), ..bloated }));
        assert!(!should_move(&Situation { left_on_full_disk: left(20), ..bloated }));
    }

    #[test]
    fn a_batch_is_bounded_in_number_and_octets_but_never_stuck() {
        assert_eq!(batch(0, 0, [1; 1_000].into_iter()), MOVES_MAX);
        assert_eq!(batch(MOVES_MAX, 1, [1; 10].into_iter()), 0);
        assert_eq!(batch(0, 0, [1 << 19; 10].into_iter()), 2);
        assert_eq!(batch(0, 0, [1 << 30; 10].into_iter()), 1, "a large one alone");
        assert_eq!(batch(1, 1 << 30, [1; 10].into_iter()), 0);
    }
}
